"""OpenAI's surface through Envoy: bodies pass as they are, whole or as they come, and failures look like OpenAI's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import openai
import pytest
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.message import Message

from llmgateway_server.edge import Edge
from tests.e2e.edge.upstream import MEBIBYTE, Context, Upstream, answers, fails

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

CHAT = "/v1/chat/completions"
JSON = {"content-type": "application/json"}
ERROR = r'{"error":{"message":"no such mod\u00e8le: \ud83d\ude00","type":"t","param":"model","code":"x"}}'


def event(text: str) -> HttpBody:
    return HttpBody(content_type="text/event-stream", data=f"data: {text}\n\n".encode())


async def test_a_whole_answer_is_the_body_of_one_message(http: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.answer = answers(HttpBody(content_type="application/json; charset=utf-8", data=b'{"id": "1"}'))
    response = await http.post(CHAT, content=b'{ "model": "m" }', headers=JSON)
    assert (response.status_code, response.content) == (200, b'{"id": "1"}')
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert upstream.last.method == "llmgateway.compat.v1.OpenAIService.CreateChatCompletion"
    assert upstream.last.request == HttpBody(content_type="application/json", data=b'{ "model": "m" }')


async def test_each_message_of_a_stream_arrives_before_the_next_is_sent(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    arrived = asyncio.Event()

    async def stepwise(request: HttpBody, context: Context) -> AsyncIterator[Message]:
        for text in ("1", "2", "[DONE]"):
            yield event(text)
            await arrived.wait()
            arrived.clear()

    upstream.answer = stepwise
    seen: list[str] = []
    async with http.stream("POST", CHAT, content=b"{}", headers=JSON) as response:
        assert response.headers["content-type"] == "text/event-stream"
        async for text in response.aiter_text():
            seen.append(text)
            arrived.set()
    assert seen == ["data: 1\n\n", "data: 2\n\n", "data: [DONE]\n\n"]


async def test_metadata_sent_with_the_first_message_become_headers(http: httpx.AsyncClient, upstream: Upstream) -> None:
    async def with_headers(request: HttpBody, context: Context) -> AsyncIterator[Message]:
        await context.send_initial_metadata((("x-gw-attempts", "2"), ("x-request-id", "theirs")))
        yield event("1")

    upstream.answer = with_headers
    response = await http.post(CHAT, content=b"{}", headers=JSON)
    assert response.headers["x-gw-attempts"] == "2"
    assert response.headers["x-request-id"] == "theirs"
    assert not [name for name in response.headers if name.startswith("grpc-")]


async def test_a_failure_before_the_first_message_has_its_status_body_and_headers(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    trailers = (("x-error-body", ERROR), ("retry-after", "7"), ("x-should-retry", "false"), ("x-request-id", "r-1"))
    upstream.answer = fails(grpc.StatusCode.RESOURCE_EXHAUSTED, "for gRPC", trailers)
    response = await http.post(CHAT, content=b"{}", headers=JSON)
    assert response.status_code == 429
    assert response.text == ERROR
    assert response.json()["error"]["message"] == "no such modèle: 😀"
    assert response.headers["content-type"] == "application/json"
    assert int(response.headers["content-length"]) == len(ERROR)
    assert (response.headers["retry-after"], response.headers["x-should-retry"]) == ("7", "false")
    assert response.headers["x-request-id"] == "r-1"
    assert not {"x-error-body", "grpc-status", "grpc-message"} & set(response.headers)


async def test_the_server_may_name_another_status(http: httpx.AsyncClient, upstream: Upstream) -> None:
    trailers = (("x-error-body", ERROR), ("x-http-status", "413"))
    upstream.answer = fails(grpc.StatusCode.INVALID_ARGUMENT, "", trailers)
    response = await http.post(CHAT, content=b"{}", headers=JSON)
    assert (response.status_code, response.text) == (413, ERROR)
    assert "x-http-status" not in response.headers


@pytest.mark.parametrize(
    ("code", "status", "exception"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, 400, openai.BadRequestError),
        (grpc.StatusCode.UNAUTHENTICATED, 401, openai.AuthenticationError),
        (grpc.StatusCode.PERMISSION_DENIED, 403, openai.PermissionDeniedError),
        (grpc.StatusCode.NOT_FOUND, 404, openai.NotFoundError),
        (grpc.StatusCode.ABORTED, 409, openai.ConflictError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 429, openai.RateLimitError),
        (grpc.StatusCode.INTERNAL, 500, openai.InternalServerError),
        (grpc.StatusCode.UNAVAILABLE, 503, openai.InternalServerError),
    ],
)
async def test_the_sdk_raises_its_own_exceptions(
    edge: Edge, upstream: Upstream, code: grpc.StatusCode, status: int, exception: type[openai.APIStatusError]
) -> None:
    upstream.answer = fails(code, "", (("x-error-body", ERROR),))
    async with openai.AsyncOpenAI(base_url=f"http://{edge.address}/v1", api_key="k", max_retries=0) as client:
        with pytest.raises(exception) as caught:
            await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    assert caught.value.status_code == status
    assert (caught.value.code, caught.value.param) == ("x", "model")


async def test_a_failure_after_the_first_message_is_a_200_with_a_clean_end(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    """Which is why the server writes an error line into the stream before it fails."""
    line = event('{"error":{}}')
    upstream.answer = fails(grpc.StatusCode.UNAVAILABLE, "broken", (("x-error-body", ERROR),), event("1"), line)
    response = await http.post(CHAT, content=b"{}", headers=JSON)
    assert response.status_code == 200
    assert response.text == 'data: 1\n\ndata: {"error":{}}\n\n'


async def test_a_failure_after_early_metadata_loses_its_body(http: httpx.AsyncClient, upstream: Upstream) -> None:
    """Which is why the server sends its metadata with the first message and never before."""

    async def early(request: HttpBody, context: Context) -> AsyncIterator[Message]:
        await context.send_initial_metadata((("x-gw-attempts", "1"),))
        trailers = (("x-error-body", ERROR), ("retry-after", "7"))
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "no", trailing_metadata=trailers)
        yield event("never")

    upstream.answer = early
    response = await http.post(CHAT, content=b"{}", headers=JSON)
    assert (response.status_code, response.json()) == (403, {"code": 7, "message": "no"})
    assert "retry-after" not in response.headers


@pytest.mark.parametrize("size", [5 * MEBIBYTE, 31 * MEBIBYTE, 32 * MEBIBYTE])
async def test_large_bodies_arrive_whole(http: httpx.AsyncClient, upstream: Upstream, size: int) -> None:
    async def measure(request: HttpBody, context: Context) -> AsyncIterator[Message]:
        yield HttpBody(content_type="application/json", data=b"%d" % len(request.data))

    upstream.answer = measure
    response = await http.post(CHAT, content=b" " * size, headers=JSON)
    assert (response.status_code, response.text) == (200, str(size))


async def test_an_upload_arrives_with_its_boundary(http: httpx.AsyncClient, upstream: Upstream) -> None:
    sound = bytes(range(256)) * 20_000
    await http.post("/v1/audio/transcriptions", files={"file": ("a.wav", sound)}, data={"model": "m"})
    body: HttpBody = upstream.last.request
    assert body.content_type.startswith("multipart/form-data; boundary=")
    assert sound in body.data


async def test_binary_messages_of_any_size_stream_back(http: httpx.AsyncClient, upstream: Upstream) -> None:
    sound = bytes(range(256)) * 4096
    pieces = [HttpBody(content_type="audio/mpeg", data=sound), HttpBody(data=sound * 8), HttpBody(data=b"end")]
    upstream.answer = answers(*pieces)
    response = await http.post("/v1/audio/speech", content=b"{}", headers=JSON)
    assert response.headers["content-type"] == "audio/mpeg"
    assert response.content == sound * 9 + b"end"


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("meta/llama-3/8b", "meta/llama-3/8b"),
        ("meta%2Fllama-3", "meta/llama-3"),
        ("ollama/llama3:8b", "ollama/llama3:8b"),
        ("models:completeChat", "models:completeChat"),
        ("a%20b", "a b"),
    ],
)
async def test_model_ids_may_hold_slashes_and_colons(
    http: httpx.AsyncClient, upstream: Upstream, path: str, model: str
) -> None:
    response = await http.get(f"/v1/models/{path}")
    assert response.status_code == 200
    assert upstream.last.request.model == model


async def test_the_sdk_finds_a_model_with_slashes(edge: Edge, upstream: Upstream) -> None:
    async with openai.AsyncOpenAI(base_url=f"http://{edge.address}/v1", api_key="k") as client:
        await client.models.retrieve("meta/llama-3")
    assert upstream.last.request.model == "meta/llama-3"


async def test_unknown_query_parameters_reach_the_server_by_name(http: httpx.AsyncClient, upstream: Upstream) -> None:
    query = "?api-version=2026-01-01&content_type=text/html&data=eA=="
    response = await http.post(CHAT + query, content=b"{}", headers=JSON)
    assert response.status_code == 200
    assert upstream.last.request == HttpBody(content_type="application/json", data=b"{}")
    assert upstream.last.metadata["x-envoy-original-path"] == CHAT + query


@pytest.mark.parametrize(
    "content_type", [None, "application/json", "Application/JSON; charset=utf-8", "application/a+json"]
)
async def test_json_by_any_of_its_names_is_taken(
    http: httpx.AsyncClient, upstream: Upstream, content_type: str | None
) -> None:
    headers: dict[str, Any] = {} if content_type is None else {"content-type": content_type}
    response = await http.post(CHAT, content=b"{}", headers=headers)
    assert response.status_code == 200
    assert upstream.last.request.data == b"{}"
