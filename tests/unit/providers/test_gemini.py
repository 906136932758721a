"""Where requests to Gemini go and with which key, at the Gemini API and at Vertex AI, and what only one takes."""

from __future__ import annotations

from math import inf

import orjson
import pytest

from llmgateway.v1.chat_service_pb2 import ChatRequest
from llmgateway.v1.content_pb2 import Role
from llmgateway_server.errors import GatewayError
from llmgateway_server.ports.provider import Credential, Endpoint, ProviderCall
from llmgateway_server.providers.gemini import Gemini

VERTEX = "https://europe-west4-aiplatform.googleapis.com/v1/projects/p/locations/europe-west4"
EXPRESS = "https://aiplatform.googleapis.com/v1"


def call(base_url: str = "", model: str = "gemini-3-pro", *, stream: bool = False, url: str = "") -> ProviderCall:
    """A call to an address, with a picture at a URL."""
    request = ChatRequest(model="models/m")
    parts = request.messages.add(role=Role.ROLE_USER).parts
    parts.add(text="Hello")
    if url:
        parts.add().image.url = url
    endpoint = Endpoint("deployments/d", "providers/p", "gemini", model, base_url, Credential("secret"))
    return ProviderCall(request=request, endpoint=endpoint, stream=stream, deadline=inf)


@pytest.mark.parametrize(
    ("base_url", "model", "url"),
    [
        ("", "gemini-3-pro", "https://generativelanguage.googleapis.com/v1beta/models/gemini-3-pro"),
        ("", "tunedModels/mine", "https://generativelanguage.googleapis.com/v1beta/tunedModels/mine"),
        ("", "a b?c", "https://generativelanguage.googleapis.com/v1beta/models/a%20b%3Fc"),
        ("http://proxy.example/gemini", "m", "http://proxy.example/gemini/models/m"),
        (VERTEX, "gemini-3-pro", f"{VERTEX}/publishers/google/models/gemini-3-pro"),
        (VERTEX, "endpoints/123", f"{VERTEX}/endpoints/123"),
        (EXPRESS, "m", f"{EXPRESS}/publishers/google/models/m"),
    ],
)
def test_address(base_url: str, model: str, url: str) -> None:
    assert Gemini().encode(call(base_url, model)).url == f"{url}:generateContent"
    assert Gemini().encode(call(base_url, model, stream=True)).url == f"{url}:streamGenerateContent?alt=sse"


@pytest.mark.parametrize(
    ("base_url", "name", "value"),
    [
        ("", "x-goog-api-key", "secret"),
        (EXPRESS, "x-goog-api-key", "secret"),
        (VERTEX, "authorization", "Bearer secret"),
        ("http://proxy.example/v1/projects/p/locations/l", "authorization", "Bearer secret"),
    ],
)
def test_key(base_url: str, name: str, value: str) -> None:
    request = Gemini().encode(call(base_url))

    assert request.headers[name] == value
    assert {"x-goog-api-key", "authorization"} & request.headers.keys() == {name}
    assert "secret" not in request.url


def test_vertex_fetches_addresses() -> None:
    body = orjson.loads(Gemini().encode(call(VERTEX, url="https://example.com/a.PNG")).body)

    assert body["contents"][0]["parts"][1] == {
        "fileData": {"fileUri": "https://example.com/a.PNG", "mimeType": "image/png"}
    }


def test_vertex_wants_types() -> None:
    with pytest.raises(GatewayError) as caught:
        Gemini().encode(call(VERTEX, url="https://example.com/picture"))

    assert caught.value.field == "messages[0].parts[1].image.mime_type"


def test_vertex_has_no_files_api() -> None:
    wanted = call(VERTEX)
    wanted.request.messages[0].parts.add().image.file_id = "files/abc"
    with pytest.raises(GatewayError) as caught:
        Gemini().encode(wanted)

    assert caught.value.field == "messages[0].parts[1].image.file_id"
