"""The Python client against a server on a real socket."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2
from grpclib.const import Cardinality

from llmgateway.v1.chat_service_pb2 import ChatEvent, ChatRequest, ChatResponse, Failed, PartDelta, Started
from llmgateway.v1.chat_service_pb2_grpc import ChatServiceServicer
from llmgateway.v1.content_pb2 import Message, Part, Role, Usage
from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_client import (
    ChatStream,
    GatewayClient,
    assistant,
    errors,
    function_tool,
    system,
    text_of,
    tool_calls_of,
    user,
    v1,
)
from llmgateway_client.transport import Channel
from tests.clients.chat_server import KEY, end_with, numbered, serving, whole_answer
from tests.clients.reading import read_until_error

Context = grpc.aio.ServicerContext[Any, Any]


@asynccontextmanager
async def connected(
    service: ChatServiceServicer,
    *,
    options: Sequence[tuple[str, int]] = (),
    timeout: float | None = None,  # noqa: ASYNC109, the client's own
) -> AsyncGenerator[GatewayClient]:
    """A client of a server of that service."""
    async with serving(service, options=options) as address, GatewayClient(address, KEY, timeout=timeout) as client:
        yield client


def streamed_answer(client: GatewayClient, *, request_id: str = "") -> ChatStream:
    """An answer to a question of no importance."""
    return client.stream(model="fake/echo", messages=[user("Hi")], request_id=request_id)


class Scripted(ChatServiceServicer):
    """Streams the events it was given, then ends as it was told."""

    def __init__(self, events: list[ChatEvent], *, code: int = code_pb2.OK, details: tuple[Any, ...] = ()) -> None:
        self.events = events
        self.code = code
        self.details = details
        self.metadata: dict[str, str | bytes] = {}
        self.request = ChatRequest()

    async def StreamChat(self, request: ChatRequest, context: Context) -> AsyncIterator[ChatEvent]:
        self.request = request
        self.metadata = dict(context.invocation_metadata() or ())
        for event in self.events:
            yield event
        if self.code:
            await end_with(context, self.code, "The provider broke off.", *self.details)


class Waiting(ChatServiceServicer):
    """Begins an answer and never ends it; says when the call began and when it was ended from outside."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.ended = asyncio.Event()
        self.remaining: float | None = None

    async def StreamChat(self, request: ChatRequest, context: Context) -> AsyncIterator[ChatEvent]:
        yield numbered(ChatEvent(started=Started()))[0]
        await self._wait(context)

    async def CompleteChat(self, request: ChatRequest, context: Context) -> ChatResponse:
        await self._wait(context)
        return ChatResponse()

    async def _wait(self, context: Context) -> None:
        self.remaining = context.time_remaining()
        self.began.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()


class Refusing(ChatServiceServicer):
    """Refuses every call with details of every kind."""

    async def CompleteChat(self, request: ChatRequest, context: Context) -> ChatResponse:
        await end_with(
            context,
            code_pb2.RESOURCE_EXHAUSTED,
            "Too many requests; try again in 2 s.",
            error_details_pb2.ErrorInfo(
                reason="RATE_LIMITED", domain="llmgateway.dev", metadata={"limit": "requests per minute"}
            ),
            error_details_pb2.RequestInfo(request_id="request-7"),
            error_details_pb2.RetryInfo(retry_delay=Duration(seconds=2)),
            error_details_pb2.BadRequest(
                field_violations=[error_details_pb2.BadRequest.FieldViolation(field="model", description="is busy")]
            ),
        )
        return ChatResponse()


async def test_a_whole_answer_comes_as_one_message() -> None:
    class Answering(ChatServiceServicer):
        async def CompleteChat(self, request: ChatRequest, context: Context) -> ChatResponse:
            text = " ".join(part.text for message in request.messages for part in message.parts)
            return ChatResponse(
                message=Message(role=Role.ROLE_ASSISTANT, parts=[Part(text=text)]), usage=Usage(input_tokens=3)
            )

    async with connected(Answering()) as client:
        answer = await client.complete(
            model="fake/echo", messages=[system("Be"), user("kind"), assistant("please")], labels={"team": "a"}
        )
    assert text_of(answer.message) == "Be kind please"
    assert answer.usage == v1.Usage(input_tokens=3)


async def test_a_request_says_all_it_was_given() -> None:
    service = Scripted(whole_answer("ok"))
    tool = function_tool("clock", "Tells the time.", parameters={"type": "object"}, strict=True)
    async with (
        connected(service) as client,
        client.stream(
            model="routes/fast",
            messages=[user("What time is it?")],
            tools=[tool],
            tool_choice=v1.ToolChoice(mode=v1.ToolChoiceMode.REQUIRED, names=["clock"]),
            generation=v1.Generation(temperature=0.0, max_output_tokens=9),
            labels={"team": "a"},
            request_id="mine-1",
            provider_options={"fake": "{}"},
            strict=True,
            end_user="somebody",
            session_id="session-1",
        ) as stream,
    ):
        await stream.final_response()
    assert service.metadata["authorization"] == f"Bearer {KEY}"
    assert service.metadata["x-request-id"] == "mine-1"
    request = service.request
    assert request.model == "routes/fast"
    assert request.tools[0].function.strict
    assert request.tools[0].function.parameters_schema == '{"type": "object"}'
    assert list(request.tool_choice.names) == ["clock"]
    assert request.generation.HasField("temperature")
    assert request.generation.temperature == 0
    assert not request.generation.HasField("top_p")
    assert request.generation.max_output_tokens == 9
    assert dict(request.labels) == {"team": "a"}
    assert (request.request_id, request.end_user, request.session_id) == ("mine-1", "somebody", "session-1")
    assert dict(request.provider_options) == {"fake": "{}"}
    assert request.strict


async def test_text_comes_piece_by_piece_and_the_whole_after_it() -> None:
    async with connected(Scripted(whole_answer("Hello", ", ", "you"))) as client, streamed_answer(client) as stream:
        pieces = [text async for text in stream.text_stream()]
        answer = await stream.final_response()
    assert pieces == ["Hello", ", ", "you"]
    assert text_of(answer.message) == "Hello, you"
    assert answer.finish_reason is v1.FinishReason.STOP
    assert answer.deployment == "deployments/fake"


async def test_tool_calls_are_put_together_from_interleaved_pieces() -> None:
    def call(index: int, **fields: str) -> ChatEvent:
        event = ChatEvent(part_delta=PartDelta(part_index=index))
        for name, value in fields.items():
            setattr(event.part_delta.tool_call, name, value)
        return event

    first, *_, last = whole_answer()
    events = numbered(
        first,
        call(0, id="a", name="add", arguments='{"x"'),
        call(1, id="b", name="clock"),
        call(0, arguments=":1}"),
        call(1, arguments="{}"),
        last,
    )
    async with connected(Scripted(events)) as client:
        answer = await streamed_answer(client).final_response()
    assert tool_calls_of(answer.message) == [
        v1.ToolCall(id="a", name="add", arguments='{"x":1}'),
        v1.ToolCall(id="b", name="clock", arguments="{}"),
    ]


async def test_a_stream_that_ends_early_is_not_passed_off_as_whole() -> None:
    events = whole_answer("Hello", ", you")[:-1]
    async with connected(Scripted(events)) as client, streamed_answer(client) as stream:
        seen, error = await read_until_error(stream.text_stream())
    assert seen == ["Hello", ", you"]
    assert isinstance(error, errors.Unavailable)
    assert error.reason is v1.ErrorReason.STREAM_BROKEN
    assert "without its last event" in error.message


async def test_a_gap_in_the_events_is_an_error() -> None:
    events = whole_answer("a", "b", "c")
    del events[2]
    async with connected(Scripted(events)) as client:
        with pytest.raises(errors.Unavailable, match="event 3 was expected and event 4 came"):
            await streamed_answer(client).final_response()


@pytest.mark.parametrize("status", [code_pb2.UNAVAILABLE, code_pb2.OK], ids=["with the status", "by the event alone"])
async def test_an_answer_that_breaks_off_says_why_and_what_it_used(status: int) -> None:
    failed = Failed(
        reason=ErrorReason.ERROR_REASON_PROVIDER_UNAVAILABLE,
        code=code_pb2.UNAVAILABLE,
        message="The provider broke off.",
        retry_delay=Duration(seconds=1),
        usage=Usage(output_tokens=1),
    )
    events = numbered(*whole_answer("Hello")[:-1], ChatEvent(failed=failed))
    details = (
        error_details_pb2.ErrorInfo(reason="PROVIDER_UNAVAILABLE", domain="llmgateway.dev"),
        error_details_pb2.RetryInfo(retry_delay=Duration(seconds=1)),
    )
    async with connected(Scripted(events, code=status, details=details)) as client, streamed_answer(client) as stream:
        seen, error = await read_until_error(stream)
    assert [event.failed is not None for event in seen] == [False, False, True]
    assert isinstance(error, errors.Unavailable)
    assert error.message == "The provider broke off."
    assert error.reason is v1.ErrorReason.PROVIDER_UNAVAILABLE
    assert error.retry_after is not None
    assert error.retry_after.total_seconds() == 1
    assert error.failed is not None
    assert error.failed.usage == v1.Usage(output_tokens=1)


async def test_an_error_carries_every_detail() -> None:
    async with connected(Refusing()) as client:
        with pytest.raises(errors.ResourceExhausted) as caught:
            await client.complete(model="fake/echo", messages=[user("Hi")])
    error = caught.value
    assert error.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error.reason is v1.ErrorReason.RATE_LIMITED
    assert str(error) == error.message == "Too many requests; try again in 2 s."
    assert error.metadata == {"limit": "requests per minute"}
    assert error.request_id == "request-7"
    assert error.retry_after is not None
    assert error.retry_after.total_seconds() == 2
    assert [violation.field for violation in error.violations] == ["model"]
    assert len(error.details) == 4


async def test_the_generated_stubs_raise_the_same_errors() -> None:
    async with connected(ChatServiceServicer()) as client:
        with pytest.raises(errors.Unimplemented):
            await client.chat.embed_content(v1.EmbedContentRequest(model="models/none", texts=["a"]))
        with pytest.raises(errors.Unimplemented):
            await client.models.list_models(v1.ListModelsRequest())


async def test_a_gateway_that_is_not_there_is_unavailable() -> None:
    async with serving(ChatServiceServicer()) as address:
        pass
    async with GatewayClient(address, KEY) as client:
        with pytest.raises(errors.Unavailable) as caught:
            await client.complete(model="fake/echo", messages=[user("Hi")])
    assert caught.value.reason is v1.ErrorReason.UNSPECIFIED


async def test_leaving_the_context_ends_the_call() -> None:
    service = Waiting()
    async with connected(service) as client:
        async with streamed_answer(client) as stream:
            await anext(stream)
            await service.began.wait()
            assert not service.ended.is_set()
        async with asyncio.timeout(5):
            await service.ended.wait()


@pytest.mark.parametrize("streamed", [True, False])
async def test_cancelling_the_task_ends_the_call(streamed: bool) -> None:
    service = Waiting()

    async def ask(client: GatewayClient) -> None:
        if streamed:
            await streamed_answer(client).final_response()
        else:
            await client.complete(model="fake/echo", messages=[user("Hi")])

    async with connected(service) as client:
        task = asyncio.create_task(ask(client))
        await service.began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(5):
            await service.ended.wait()


async def test_closing_the_client_ends_its_calls_without_cancelling_their_tasks() -> None:
    service = Waiting()
    async with serving(service) as address:
        async with GatewayClient(address, KEY) as client:
            task = asyncio.create_task(client.complete(model="fake/echo", messages=[user("Hi")]))
            await service.began.wait()
        with pytest.raises(errors.Cancelled, match="closed before the call was done"):
            await task


async def test_the_deadline_travels_with_the_call() -> None:
    service = Waiting()
    async with connected(service, timeout=60) as client:
        with pytest.raises(errors.DeadlineExceeded):
            await client.complete(model="fake/echo", messages=[user("Hi")], timeout=0.2)
        assert service.remaining is not None
        assert service.remaining < 1
        async with streamed_answer(client) as stream:
            service.began.clear()
            await anext(stream)
            await service.began.wait()
        assert service.remaining == pytest.approx(60, abs=1)


async def test_a_server_that_cancels_does_not_cancel_the_task() -> None:
    async with connected(Scripted([], code=code_pb2.CANCELLED)) as client:
        with pytest.raises(errors.Cancelled):
            await streamed_answer(client).final_response()


async def test_an_open_answer_outlives_its_connection() -> None:
    """A server that lets connections age out, as the gateway does, ends no answer by it."""

    class Held(ChatServiceServicer):
        def __init__(self) -> None:
            self.release = asyncio.Event()
            self.peers: list[str] = []

        async def StreamChat(self, request: ChatRequest, context: Context) -> AsyncIterator[ChatEvent]:
            self.peers.append(context.peer())
            first, *rest = whole_answer("a", "b")
            yield first
            if request.request_id == "held":
                await self.release.wait()
            for event in rest:
                yield event

    service = Held()
    aging = (("grpc.max_connection_age_ms", 50), ("grpc.max_connection_age_grace_ms", 30_000))
    async with (
        connected(service, options=aging) as client,
        streamed_answer(client, request_id="held") as stream,
        asyncio.timeout(10),
    ):
        await anext(stream)
        while len(set(service.peers)) == 1:
            await streamed_answer(client).final_response()
        service.release.set()
        assert text_of((await stream.final_response()).message) == "ab"


async def test_secrets_show_nowhere() -> None:
    async with connected(Refusing()) as client:
        with pytest.raises(errors.ResourceExhausted) as caught:
            await client.complete(model="fake/echo", messages=[user("Hi")])
        stream = streamed_answer(client)
        shown = [client, client.chat, client.chat.channel, stream, caught.value, caught.value.__cause__]
        key = v1.ApiKey(name="tenants/a/apiKeys/b", secret=KEY)
        for thing in [*shown, key, v1.ListApiKeysResponse(api_keys=[key])]:
            assert KEY not in repr(thing)
            assert KEY not in str(thing)
        await stream.aclose()
    assert key.secret == KEY


@pytest.mark.parametrize(
    ("address", "encrypted"),
    [
        ("127.0.0.1:50051", False),
        ("[::1]:50051", False),
        ("localhost:50051", False),
        ("unix:/run/gateway.sock", False),
        ("gateway.internal:50051", True),
        ("10.0.0.7:50051", True),
        ("dns:///localhost:50051", True),
    ],
)
async def test_a_key_does_not_cross_a_network_in_the_clear_by_accident(address: str, encrypted: bool) -> None:
    async with GatewayClient(address, KEY) as client, GatewayClient(address, KEY, tls=False) as plain:
        assert repr(client) == f"GatewayClient({address!r}, tls={encrypted})"
        assert repr(plain) == f"GatewayClient({address!r}, tls=False)"


async def test_metadata_and_the_sooner_of_two_limits_go_out() -> None:
    class Clock:
        def time_remaining(self) -> float:
            return 3.0

    service = Waiting()
    async with serving(service) as address, grpc.aio.insecure_channel(address) as connection:
        channel = Channel(connection, api_key=KEY, timeout=None)
        route = "/llmgateway.v1.ChatService/StreamChat"
        async with channel.request(
            route,
            Cardinality.UNARY_STREAM,
            v1.ChatRequest,
            v1.ChatEvent,
            timeout=9,
            deadline=Clock(),
            metadata={"x-team": "a"},
        ) as call:
            await call.send_message(v1.ChatRequest(), end=True)
            await anext(call)
            await service.began.wait()
    assert service.remaining is not None
    assert service.remaining < 4
