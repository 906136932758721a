"""Google's Gemini dialect, `generateContent`, at the Gemini API and at Vertex AI.

The base address tells the two apart: one that ends in `/projects/{project}/locations/{location}` is Vertex AI, whose
credential is an OAuth token; at any other it is an API key. Requests are written in `gemini_request.py`, answers read
in `gemini_answer.py`, refusals in `gemini_failures.py`.
"""

from __future__ import annotations

import re
from urllib.parse import quote

import orjson

from llmgateway_server.errors import GatewayError
from llmgateway_server.ports.provider import Endpoint, ProviderCall
from llmgateway_server.providers.gemini_answer import GeminiDecoder
from llmgateway_server.providers.gemini_failures import refusal
from llmgateway_server.providers.gemini_request import chat_body, only_one_call
from llmgateway_server.providers.omissions import Omissions
from llmgateway_server.providers.wire import Framing, Headers, HttpRequest

BASE_URL = "https://generativelanguage.googleapis.com/v1beta"
"""The Gemini API, which AI Studio's keys are for."""

_PROJECT = re.compile(r"/projects/[^/]+/locations/[^/]+$")
_VERTEX = re.compile(r"https://([a-z0-9-]+-)?aiplatform\.googleapis\.com(/|$)")


class Gemini:
    """The `generateContent` wire format."""

    framing = Framing.SSE

    def encode(self, call: ProviderCall) -> HttpRequest:
        endpoint = call.endpoint
        base_url = endpoint.base_url or BASE_URL
        in_project = _PROJECT.search(base_url) is not None
        vertex = in_project or _VERTEX.match(base_url) is not None
        omissions = Omissions(strict=call.request.strict)
        body = chat_body(call, omissions, vertex=vertex)
        # Without `alt=sse` a stream is one long JSON list.
        method = "streamGenerateContent?alt=sse" if call.stream else "generateContent"
        return HttpRequest(
            method="POST",
            url=f"{base_url}/{_model_path(endpoint, vertex=vertex)}:{method}",
            headers=_headers(call, bearer=in_project),
            body=orjson.dumps(body),
            warnings=omissions.warnings,
        )

    def decoder(self, call: ProviderCall) -> GeminiDecoder:
        return GeminiDecoder(request_id=call.request_id, one_call=only_one_call(call.request))

    def failure(self, status: int, headers: Headers, body: bytes) -> GatewayError:
        return refusal(status, body)


def _model_path(endpoint: Endpoint, *, vertex: bool) -> str:
    """The path of the model. A name with a slash is one already, such as `tunedModels/mine` or `endpoints/123`."""
    name = quote(endpoint.upstream_model, safe="/")
    if "/" in name:
        return name
    return f"publishers/google/models/{name}" if vertex else f"models/{name}"


def _headers(call: ProviderCall, *, bearer: bool) -> dict[str, str]:
    endpoint = call.endpoint
    headers = {
        "content-type": "application/json",
        "accept": "text/event-stream" if call.stream else "application/json",
        **endpoint.headers,
    }
    if endpoint.credential:
        # Never as `?key=`, which ends up in logs.
        name, prefix = ("authorization", "Bearer ") if bearer else ("x-goog-api-key", "")
        headers[name] = prefix + endpoint.credential.secret
    return headers
