"""Cohere's second chat dialect, `/v2/chat`.

Requests are written in `cohere_request.py` and `cohere_messages.py`, answers read in `cohere_answer.py`.
"""

from __future__ import annotations

import orjson

from llmgateway_server.errors import GatewayError, invalid_field
from llmgateway_server.ports.provider import ProviderCall
from llmgateway_server.providers.cohere_answer import AnswerDecoder
from llmgateway_server.providers.cohere_failures import failure_of
from llmgateway_server.providers.cohere_messages import WIRE_FORMAT
from llmgateway_server.providers.cohere_request import chat_body
from llmgateway_server.providers.failures import read_report
from llmgateway_server.providers.omissions import Omissions
from llmgateway_server.providers.wire import Framing, Headers, HttpRequest

BASE_URL = "https://api.cohere.com"
"""Without a version, since parts of the API are of different ones."""


class CohereChat:
    """The wire format of Cohere's chat."""

    framing = Framing.SSE

    def encode(self, call: ProviderCall) -> HttpRequest:
        endpoint = call.endpoint
        if endpoint.vendor not in ("", WIRE_FORMAT):
            raise invalid_field("provider.vendor", f"{endpoint.vendor!r} is not known; use {WIRE_FORMAT!r} or none.")
        omissions = Omissions(strict=call.request.strict)
        body = chat_body(call, omissions)
        headers = {
            "content-type": "application/json",
            "accept": Framing.SSE.value if call.stream else "application/json",
            **endpoint.headers,
        }
        if endpoint.credential:
            headers["authorization"] = f"Bearer {endpoint.credential.secret}"
        return HttpRequest(
            method="POST",
            url=f"{endpoint.base_url or BASE_URL}/v2/chat",
            headers=headers,
            body=orjson.dumps(body),
            warnings=omissions.warnings,
        )

    def decoder(self, call: ProviderCall) -> AnswerDecoder:
        return AnswerDecoder()

    def failure(self, status: int, headers: Headers, body: bytes) -> GatewayError:
        return failure_of(status, read_report(body))
