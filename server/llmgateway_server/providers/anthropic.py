"""Anthropic's Messages dialect, which other hosts of its models and a few other providers speak as well.

Requests are written in `anthropic_request.py` and `anthropic_messages.py`, answers read in `anthropic_answer.py`. What
is particular to a generation of models is data in `claude_models.py`.
"""

from __future__ import annotations

import orjson

from llmgateway_server.errors import GatewayError, invalid_field
from llmgateway_server.ports.provider import Endpoint, ProviderCall
from llmgateway_server.providers.anthropic_answer import MessageDecoder
from llmgateway_server.providers.anthropic_failures import failure_of
from llmgateway_server.providers.anthropic_messages import WIRE_FORMAT
from llmgateway_server.providers.anthropic_request import fallback_tool, messages_body
from llmgateway_server.providers.omissions import Omissions
from llmgateway_server.providers.wire import Framing, Headers, HttpRequest

BASE_URL = "https://api.anthropic.com/v1"
_VERSION = "2023-06-01"
"""The version of the dialect that takes sampling parameters from those models that have them."""


def check_vendor(endpoint: Endpoint) -> None:
    """Raises INVALID_FIELD for a vendor that is not known. Models differ here, and hosts do not."""
    if endpoint.vendor not in ("", WIRE_FORMAT):
        raise invalid_field("provider.vendor", f"{endpoint.vendor!r} is not known; use {WIRE_FORMAT!r} or none.")


class AnthropicMessages:
    """The Messages wire format."""

    framing = Framing.SSE

    def encode(self, call: ProviderCall) -> HttpRequest:
        endpoint = call.endpoint
        check_vendor(endpoint)
        omissions = Omissions(strict=call.request.strict)
        body = messages_body(call, omissions)
        headers = {
            "content-type": "application/json",
            "accept": "text/event-stream" if call.stream else "application/json",
            "anthropic-version": _VERSION,
            **endpoint.headers,
        }
        if endpoint.credential:
            headers["x-api-key"] = endpoint.credential.secret
        return HttpRequest(
            method="POST",
            url=f"{endpoint.base_url or BASE_URL}/messages",
            headers=headers,
            body=orjson.dumps(body),
            warnings=omissions.warnings,
        )

    def decoder(self, call: ProviderCall) -> MessageDecoder:
        tool = fallback_tool(call.request, call.endpoint.upstream_model)
        return MessageDecoder(answer_tool=tool.name if tool is not None else "")

    def failure(self, status: int, headers: Headers, body: bytes) -> GatewayError:
        return failure_of(status, body)
