"""Ollama's own dialect, `/api/chat`: JSON objects, one a line, from a server on the spot or from Ollama's cloud.

Requests are written in `ollama_request.py` and `ollama_messages.py`, answers read in `ollama_answer.py`.
"""

from __future__ import annotations

import orjson

from llmgateway_server.errors import GatewayError, invalid_field
from llmgateway_server.ports.provider import ProviderCall
from llmgateway_server.providers.failures import read_report
from llmgateway_server.providers.ollama_answer import AnswerDecoder
from llmgateway_server.providers.ollama_failures import failure_of
from llmgateway_server.providers.ollama_messages import WIRE_FORMAT
from llmgateway_server.providers.ollama_request import chat_body
from llmgateway_server.providers.omissions import Omissions
from llmgateway_server.providers.wire import Framing, Headers, HttpRequest

BASE_URL = "http://localhost:11434"
"""Where the server listens unless it is told otherwise."""


class OllamaChat:
    """The wire format of Ollama's native API."""

    framing = Framing.NDJSON

    def encode(self, call: ProviderCall) -> HttpRequest:
        endpoint = call.endpoint
        if endpoint.vendor not in ("", WIRE_FORMAT):
            raise invalid_field("provider.vendor", f"{endpoint.vendor!r} is not known; use {WIRE_FORMAT!r} or none.")
        omissions = Omissions(strict=call.request.strict)
        body = chat_body(call, omissions)
        headers = {
            "content-type": "application/json",
            "accept": Framing.NDJSON.value if call.stream else "application/json",
            **endpoint.headers,
        }
        if endpoint.credential:
            # A server on the spot wants none; the cloud does.
            headers["authorization"] = f"Bearer {endpoint.credential.secret}"
        return HttpRequest(
            method="POST",
            url=f"{endpoint.base_url or BASE_URL}/api/chat",
            headers=headers,
            body=orjson.dumps(body),
            warnings=omissions.warnings,
        )

    def decoder(self, call: ProviderCall) -> AnswerDecoder:
        return AnswerDecoder(request_id=call.request_id)

    def failure(self, status: int, headers: Headers, body: bytes) -> GatewayError:
        return failure_of(status, read_report(body))
