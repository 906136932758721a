"""The benchmark's own tools tell the truth: they count exactly and notice every answer that is not whole."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from array import array
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest

from llmgateway.v1.chat_service_pb2 import ChatEvent, ChatRequest, ChatResponse, Finished, PartDelta, Started
from llmgateway.v1.chat_service_pb2_grpc import ChatServiceServicer, add_ChatServiceServicer_to_server
from llmgateway.v1.content_pb2 import Message, Part, Usage
from tests.bench.answers import WORD, stream_events, text, whole_answer
from tests.bench.grpc_client import header_block, literal
from tests.bench.http_client import Answer, BrokenAnswer
from tests.bench.load import run
from tests.bench.micro import costs
from tests.bench.rows import ROWS
from tests.bench.tally import Job, Percentiles, Result
from tests.bench.upstream import Answers, Upstream

WORDS = 5


def job(port: int, **changes: object) -> Job:
    body = {"model": "bench", "messages": [{"role": "user", "content": "hello"}]}
    if changes.get("stream"):
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    whole = Job(
        protocol="http",
        host="127.0.0.1",
        port=port,
        path="/v1/chat/completions",
        body=json.dumps(body, separators=(",", ":")),
        word=WORD,
        words=WORDS,
        stream=False,
        connections=2,
        warmup=0,
        duration=5,
        requests=20,
    )
    return dataclasses.replace(whole, **changes)


async def load(work: Job) -> Result:
    return await run(work, lambda: None)


@asynccontextmanager
async def listening(protocol: Callable[[], asyncio.Protocol]) -> AsyncGenerator[int]:
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def upstream() -> AsyncGenerator[int]:
    answers = Answers(whole_words=WORDS, stream_words=WORDS, events_per_write=2)
    loop = asyncio.get_running_loop()
    async with listening(lambda: Upstream(answers, loop)) as port:
        yield port


class Scripted(asyncio.Protocol):
    """Answers every read with the same bytes, whatever was asked, and hangs up if told to."""

    def __init__(self, answer: bytes, *, hang_up: bool) -> None:
        self._answer = answer
        self._hang_up = hang_up

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(self._answer)
        if self._hang_up:
            self._transport.close()


def with_length(status: str, body: bytes) -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def chunked(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


EVENTS = stream_events(WORDS, include_usage=True)
STREAM = b"".join(EVENTS)


@pytest.mark.parametrize("connections", [1, 7])
async def test_whole_answers_are_counted_exactly(connections: int) -> None:
    async with upstream() as port:
        result = await load(job(port, connections=connections))
    assert (result.requests, result.messages, result.errors) == (20, 20, 0)
    assert 0 < result.first.p50 <= result.latency.p50 <= result.latency.p99


async def test_streams_are_counted_by_their_data_lines() -> None:
    async with upstream() as port:
        result = await load(job(port, stream=True))
    assert (result.requests, result.errors) == (20, 0)
    assert result.messages == 20 * len(EVENTS) == 20 * (WORDS + 4)


async def test_a_run_ends_when_its_time_is_over() -> None:
    async with upstream() as port:
        result = await load(job(port, requests=0, duration=0.05, warmup=0.02))
    assert result.requests > 0
    assert result.errors == 0
    assert 0 < result.elapsed < 0.06


@pytest.mark.parametrize(
    ("answer", "stream", "complaint"),
    [
        (with_length("503 Service Unavailable", b"busy"), False, "status 503: busy"),
        (with_length("200 OK", whole_answer(WORDS - 1)), False, "4 of 5 words"),
        (with_length("200 OK", text(WORDS).encode()), False, "no usage"),
        (chunked(b"".join(EVENTS[:-1])), True, "does not end with [DONE]"),
        (chunked(b"".join(EVENTS[:-3]) + EVENTS[-1]), True, "no finish reason"),
        (chunked(STREAM.replace(b" word,", b"", 1)), True, "4 of 5 words"),
    ],
)
async def test_an_answer_that_is_not_right_is_a_failure_and_the_run_goes_on(
    answer: bytes, stream: bool, complaint: str
) -> None:
    async with listening(lambda: Scripted(answer, hang_up=False)) as port:
        result = await load(job(port, stream=stream))
    assert (result.requests, result.errors) == (0, 20)
    assert [complaint in each for each in result.failures] == [True]


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (chunked(STREAM)[:-5], "closed before"),
        (chunked(STREAM)[:200], "closed before"),
        (with_length("200 OK", whole_answer(WORDS))[:-1], "closed before"),
        (b"", "closed before"),
        (b"SSH-2.0-server\r\n\r\n", "not HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "neither"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", "no size"),
        (chunked(STREAM) + b"more", "4 bytes came after"),
    ],
)
async def test_a_broken_answer_ends_its_connection(answer: bytes, complaint: str) -> None:
    async with listening(lambda: Scripted(answer, hang_up=True)) as port:
        result = await load(job(port, stream=True))
    assert (result.requests, result.errors) == (0, 2)
    assert [complaint in each for each in result.failures] == [True]


async def test_an_answer_that_never_comes_is_a_failure() -> None:
    async with listening(lambda: Scripted(chunked(STREAM)[:-5], hang_up=False)) as port:
        result = await load(job(port, stream=True, duration=0.05, patience=0.05))
    assert result.requests == 0
    assert any("did not come within" in each for each in result.failures)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_an_answer_is_the_same_however_it_is_split(size: int) -> None:
    wire = chunked(STREAM)
    answer = Answer()
    for at in range(0, len(wire), size):
        assert not answer.done
        answer.feed(wire[at : at + size])
    assert answer.done
    assert answer.body == STREAM


def test_a_chunk_longer_than_its_size_is_broken() -> None:
    with pytest.raises(BrokenAnswer, match="longer"):
        Answer().feed(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nabc\r\n")


async def test_the_upstream_takes_split_and_pipelined_requests() -> None:
    request = b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 15\r\n\r\n{'stream':false"
    stream = b'POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 15\r\n\r\n{"stream":true}'
    async with upstream() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request[:20])
        await asyncio.sleep(0)
        writer.write(request[20:] + stream + b"GET /nothing HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(5):
            answers = await reader.readuntil(b"Not found.")
        writer.close()
    whole = with_length("200 OK", whole_answer(WORDS))
    assert answers.startswith(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
    assert whole.partition(b"\r\n\r\n")[2] in answers
    assert answers.count(b"data: [DONE]") == 1
    assert b"0\r\n\r\nHTTP/1.1 404 Not Found" in answers


class Chat(ChatServiceServicer):
    """What a method of this chat answers depends on the model that is asked for."""

    async def CompleteChat(
        self, request: ChatRequest, context: grpc.aio.ServicerContext[ChatRequest, ChatResponse]
    ) -> ChatResponse:
        if request.model == "refused":
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not for you")
        words = WORDS - 1 if request.model == "short" else WORDS
        return ChatResponse(message=Message(parts=[Part(text=text(words))]), usage=Usage(output_tokens=words))

    async def StreamChat(
        self, request: ChatRequest, context: grpc.aio.ServicerContext[ChatRequest, ChatEvent]
    ) -> AsyncIterator[ChatEvent]:
        yield ChatEvent(sequence=1, started=Started(response_id="bench"))
        for index in range(WORDS):
            yield ChatEvent(sequence=index + 2, part_delta=PartDelta(text=WORD))
        if request.model == "refused":
            await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
        if request.model != "short":
            yield ChatEvent(sequence=WORDS + 2, finished=Finished())


@pytest.fixture
async def chat() -> AsyncIterator[int]:
    server = grpc.aio.server()
    add_ChatServiceServicer_to_server(Chat(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield port
    await server.stop(None)


def grpc_job(port: int, model: str, **changes: object) -> Job:
    method = "StreamChat" if changes.get("stream") else "CompleteChat"
    return job(
        port,
        protocol="grpc",
        path=f"/llmgateway.v1.ChatService/{method}",
        body=ChatRequest(model=model).SerializeToString().decode("latin-1"),
        # Long enough that its length takes two bytes.
        key="k" * 300,
        **changes,
    )


@pytest.mark.parametrize(("stream", "messages"), [(False, 20), (True, 20 * (WORDS + 2))])
async def test_grpc_answers_are_counted_exactly(chat: int, stream: bool, messages: int) -> None:
    result = await load(grpc_job(chat, "bench", stream=stream))
    assert (result.requests, result.messages, result.errors, result.failures) == (20, messages, 0, [])


@pytest.mark.parametrize(
    ("model", "stream", "complaint"),
    [
        ("refused", False, "gRPC status 7: not for you"),
        ("refused", True, "gRPC status 14: gone"),
        ("short", False, "4 of 5 words"),
        ("short", True, "the last event is 'part_delta'"),
    ],
)
async def test_grpc_answers_that_are_not_right_are_failures(
    chat: int, model: str, stream: bool, complaint: str
) -> None:
    result = await load(grpc_job(chat, model, stream=stream))
    assert (result.requests, result.errors) == (0, 20)
    assert [complaint in each for each in result.failures] == [True]


async def test_a_method_that_grpc_does_not_know_is_a_failure(chat: int) -> None:
    result = await load(dataclasses.replace(grpc_job(chat, "bench"), path="/nobody/Knows"))
    assert (result.requests, result.errors) == (0, 20)
    assert ["gRPC status 12" in each for each in result.failures] == [True]


async def test_a_server_that_does_not_speak_http_2_is_a_failure() -> None:
    async with listening(lambda: Scripted(b"HTTP/1.1 400 Bad Request\r\n\r\n", hang_up=True)) as port:
        result = await load(grpc_job(port, "bench"))
    assert (result.requests, result.errors) == (0, 2)


def test_headers_are_found_only_whole() -> None:
    block = header_block([("grpc-status", "13"), ("grpc-message", "x" * 200)])
    assert literal(block, "grpc-status") == "13"
    assert literal(block, "grpc-message") is None
    assert literal(block, "status-details") is None


def test_percentiles_take_the_nearest_rank() -> None:
    seconds = array("d", [each / 1000 for each in range(100, 0, -1)])
    assert Percentiles.of(seconds) == Percentiles(p50=50.0, p90=90.0, p99=99.0)
    assert Percentiles.of(array("d", [0.002])) == Percentiles(p50=2.0, p90=2.0, p99=2.0)
    assert Percentiles.of(array("d")) == Percentiles(p50=0.0, p90=0.0, p99=0.0)


def test_rows_have_names_of_their_own() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS) == 20


def test_steps_have_costs() -> None:
    assert all(0 < cost.microseconds < 1e6 for cost in costs(0.001))
