"""Our own REST, transcoded: messages as JSON, streams as server-sent events, failures as google.rpc.Status."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import grpc
import httpx
import pytest
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from llmgateway.v1.chat_service_pb2 import ChatEvent, ChatRequest, ChatResponse, Failed
from llmgateway.v1.content_pb2 import Usage
from tests.e2e.edge.upstream import MEBIBYTE, Context, Upstream, answers, fails

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

COMPLETE = "/api/v1/models/m:completeChat"
STREAM = "/api/v1/models/m:streamChat"
QUESTION = {"messages": [{"role": "ROLE_USER", "parts": [{"text": "hi"}]}], "generation": {"maxOutputTokens": 7}}


def delta(sequence: int, text: str) -> ChatEvent:
    event = ChatEvent(sequence=sequence)
    event.part_delta.text = text
    return event


async def test_json_becomes_a_message_and_back(http: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.answer = answers(ChatResponse(response_id="r", usage=Usage(input_tokens=3)))
    response = await http.post("/api/v1/models/meta/llama3:8b:completeChat", json=QUESTION)
    assert response.status_code == 200
    # As protobuf's JSON has it: 64-bit numbers are text.
    assert response.json() == {"responseId": "r", "usage": {"inputTokens": "3"}}
    request: ChatRequest = upstream.last.request
    assert request.model == "models/meta/llama3:8b"
    assert request.messages[0].parts[0].text == "hi"
    assert request.generation.max_output_tokens == 7


async def test_a_large_answer_comes_whole(http: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.answer = answers(ChatResponse(response_id="x" * (5 * MEBIBYTE)))
    assert len((await http.post(COMPLETE, json=QUESTION)).json()["responseId"]) == 5 * MEBIBYTE


@pytest.mark.parametrize("model", ["routes/fast", "useCases/chat"])
async def test_further_bindings_reach_the_same_method(http: httpx.AsyncClient, upstream: Upstream, model: str) -> None:
    await http.post(f"/api/v1/{model}:completeChat", json=QUESTION)
    assert upstream.last.method == "llmgateway.v1.ChatService.CompleteChat"
    assert upstream.last.request.model == model


async def test_a_stream_is_server_sent_events_each_as_it_comes(http: httpx.AsyncClient, upstream: Upstream) -> None:
    arrived = asyncio.Event()

    async def stepwise(request: ChatRequest, context: Context) -> AsyncIterator[Message]:
        for sequence in (1, 2):
            yield delta(sequence, "word")
            await arrived.wait()
            arrived.clear()

    upstream.answer = stepwise
    seen: list[object] = []
    async with http.stream("POST", STREAM, json=QUESTION) as response:
        assert response.headers["content-type"] == "text/event-stream"
        async for line in response.aiter_lines():
            if line:
                seen.append(json.loads(line.removeprefix("data: ")))
                arrived.set()
    assert seen == [{"sequence": str(n), "partDelta": {"text": "word"}} for n in (1, 2)]


async def test_a_failure_before_the_first_event_has_its_status(http: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.answer = fails(grpc.StatusCode.NOT_FOUND, "no such route", (("retry-after", "1"),))
    response = await http.post(STREAM, json=QUESTION)
    assert (response.status_code, response.json()) == (404, {"code": 5, "message": "no such route"})
    assert response.headers["content-type"] == "application/json"
    assert response.headers["retry-after"] == "1"


async def test_a_failure_after_the_first_event_is_a_200_with_a_clean_end(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    """Which is why the last event of a stream says whether it failed."""
    failed = ChatEvent(sequence=2, failed=Failed(message="broken"))
    upstream.answer = fails(grpc.StatusCode.UNAVAILABLE, "broken", (), delta(1, "word"), failed)
    response = await http.post(STREAM, json=QUESTION)
    assert response.status_code == 200
    assert [json.loads(line[6:]) for line in response.text.split("\n\n") if line] == [
        {"sequence": "1", "partDelta": {"text": "word"}},
        {"sequence": "2", "failed": {"message": "broken"}},
    ]


async def test_a_failure_after_early_metadata_is_a_200_with_a_bare_body(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    """Which is why the server sends its metadata with the first message and never before."""

    async def early(request: ChatRequest, context: Context) -> AsyncIterator[Message]:
        await context.send_initial_metadata((("x-gw-attempts", "1"),))
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "no")
        yield ChatEvent()

    upstream.answer = early
    response = await http.post(STREAM, json=QUESTION)
    assert (response.status_code, response.headers["content-type"]) == (200, "text/event-stream")


async def test_the_details_of_a_failure_are_in_its_body(http: httpx.AsyncClient, upstream: Upstream) -> None:
    """They are there because their types are in the descriptor set; a type that is not drops the whole body."""
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason="INVALID_FIELD", domain="llmgateway.dev", metadata={"field": "model"}),
        error_details_pb2.RequestInfo(request_id="r"),
        error_details_pb2.RetryInfo(),
        error_details_pb2.BadRequest(field_violations=[{"field": "model", "description": "d"}]),
        error_details_pb2.QuotaFailure(violations=[{"subject": "s"}]),
        error_details_pb2.PreconditionFailure(violations=[{"type": "t"}]),
        error_details_pb2.ResourceInfo(resource_name="n"),
    ]
    status = status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message="é")
    for detail in details:
        status.details.add().Pack(detail)
    trailers = (("grpc-status-details-bin", status.SerializeToString()),)
    upstream.answer = fails(grpc.StatusCode.INVALID_ARGUMENT, "é", trailers)
    response = await http.post(COMPLETE, json=QUESTION)
    body = response.json()
    assert (response.status_code, body["code"], body["message"]) == (400, 3, "é")
    assert [detail["@type"] for detail in body["details"]] == [
        f"type.googleapis.com/{detail.DESCRIPTOR.full_name}" for detail in details
    ]
    assert body["details"][0]["metadata"] == {"field": "model"}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{bad", "Unexpected end of string"),
        (b"not json", ""),
        (b'{"generation": {"maxOutputTokens": "many"}}', "generation.max_output_tokens"),
        (b'{"generation": {"maxOutputTokens": 1.5}}', "generation.max_output_tokens"),
        (b'{"messages": "hi"}', "messages"),
        (b'{"messages": [{"role": "ROLE_KING"}]}', "ROLE_KING"),
        (b'{"endUser": "\xff\xfe"}', "UTF-8"),
        (b'{"endUser": "\\ud800"}', ""),
        (b'{"model": "models/other"}', "conflicting"),
        (b'{"messages": ' + b"[" * 200 + b"]" * 200 + b"}", ""),
    ],
)
async def test_json_that_is_no_such_message_is_refused_in_json(
    http: httpx.AsyncClient, upstream: Upstream, body: bytes, says: str
) -> None:
    response = await http.post(COMPLETE, content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/json"
    assert response.json()["code"] == code_pb2.INVALID_ARGUMENT
    assert says in response.json()["message"]
    assert response.json()["details"][0]["reason"] == "INVALID_FIELD"
    assert not upstream.received


async def test_an_unknown_query_parameter_is_refused(http: httpx.AsyncClient, upstream: Upstream) -> None:
    response = await http.get("/api/v1/models?pagesize=3")
    assert response.status_code == 400
    assert "pagesize" in response.json()["message"]
    assert not upstream.received


async def test_unknown_fields_of_a_body_are_dropped_and_queries_reach_its_fields(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    """The transcoder does both, so the server validates what it gets, and the documentation says the first."""
    response = await http.post(f"{COMPLETE}?endUser=me&strict=true", json={**QUESTION, "typo": 1})
    assert response.status_code == 200
    assert (upstream.last.request.end_user, upstream.last.request.strict) == ("me", True)


async def test_a_query_wins_over_the_path(http: httpx.AsyncClient, upstream: Upstream) -> None:
    """So the server judges by the message that it got, and never by x-envoy-original-path."""
    await http.post(f"{COMPLETE}?model=models/other", json=QUESTION)
    assert upstream.last.request.model == "models/other"


async def test_a_method_without_a_body_needs_no_content_type(http: httpx.AsyncClient, upstream: Upstream) -> None:
    assert (await http.post("/api/v1/deployments/d:check")).status_code == 200
    assert upstream.last.request.name == "deployments/d"
