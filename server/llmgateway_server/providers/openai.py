"""OpenAI's chat-completions dialect, which most other providers speak as well.

What is particular to a vendor is data in `vendors.py`. Requests are written in `openai_request.py`, answers read in
`openai_answer.py`.
"""

from __future__ import annotations

import orjson

from llmgateway_server.errors import GatewayError
from llmgateway_server.ports.provider import ProviderCall
from llmgateway_server.providers import failures
from llmgateway_server.providers.omissions import Omissions
from llmgateway_server.providers.openai_answer import ChatDecoder
from llmgateway_server.providers.openai_request import audio_format, chat_body
from llmgateway_server.providers.vendors import vendor_of
from llmgateway_server.providers.wire import Framing, Headers, HttpRequest

_AUDIO_TYPES = {
    "wav": "audio/wav",
    "aac": "audio/aac",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "opus": "audio/opus",
    "pcm16": "audio/pcm",
}


class OpenAIChat:
    """The chat-completions wire format."""

    framing = Framing.SSE

    def encode(self, call: ProviderCall) -> HttpRequest:
        endpoint = call.endpoint
        vendor = vendor_of(endpoint)
        omissions = Omissions(strict=call.request.strict)
        body = chat_body(call, vendor, omissions)
        headers = {
            "content-type": "application/json",
            "accept": "text/event-stream" if call.stream else "application/json",
            **endpoint.headers,
        }
        if endpoint.credential:
            headers[vendor.key_header] = vendor.key_prefix + endpoint.credential.secret
        return HttpRequest(
            method="POST",
            url=f"{endpoint.base_url or vendor.base_url}/chat/completions",
            headers=headers,
            body=orjson.dumps(body),
            warnings=omissions.warnings,
        )

    def decoder(self, call: ProviderCall) -> ChatDecoder:
        vendor = vendor_of(call.endpoint)
        spoken = audio_format(call.request.generation, stream=call.stream)
        return ChatDecoder(
            vendor=vendor.name,
            request_id=call.request_id,
            audio_type=_AUDIO_TYPES.get(spoken, ""),
            reasoning_beside_output=vendor.profile.reasoning_beside_output,
        )

    def failure(self, status: int, headers: Headers, body: bytes) -> GatewayError:
        return failures.failure(status, failures.read_report(body))
