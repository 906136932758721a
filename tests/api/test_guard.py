"""The guard on a real server: whatever a method does, its caller learns what he may, soon, and nothing else."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from hypothesis import given
from hypothesis import strategies as st

from llmgateway.v1 import chat_service_pb2, chat_service_pb2_grpc, health_service_pb2, health_service_pb2_grpc
from llmgateway.v1.admin_resources_pb2 import ApiKey, Tenant
from llmgateway.v1.chat_service_pb2 import ChatEvent, ChatRequest, ChatResponse
from llmgateway.v1.content_pb2 import Message as PromptMessage
from llmgateway.v1.content_pb2 import Part, ToolResult
from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server.admin.identity import Authenticator
from llmgateway_server.admin.keys import hash_key
from llmgateway_server.api.guard import Guard
from llmgateway_server.api.health import Health, HealthService
from llmgateway_server.api.rpc import CURRENT, Rpc
from llmgateway_server.api.server import ServerOptions, Service, build_server, rules
from llmgateway_server.api.status import on_the_wire
from llmgateway_server.errors import CLASSES, GatewayError
from llmgateway_server.routing.catalogue import Catalogue
from llmgateway_server.system import SystemClock, SystemIds
from tests.support.calls import KEY, TENANT, credential_of

_R = ErrorReason
CANARY = "CaNaRy-0123456789"
SECRET = "lgw_a-key-of-the-tests-0123456789"
AUTHORIZED = (("authorization", f"Bearer {SECRET}"),)
COMPLETE = "/llmgateway.v1.ChatService/CompleteChat"
STREAM = "/llmgateway.v1.ChatService/StreamChat"
METADATA_LIMIT = 8 * 1024
"""What a gRPC client takes with certainty, in bytes."""

Unary = Callable[[ChatRequest, Any], Awaitable[Any]]
Streaming = Callable[[ChatRequest, Any], AsyncIterator[Any]]


async def _answer(request: ChatRequest, context: Any) -> ChatResponse:
    return ChatResponse(model=request.model)


async def _stream(request: ChatRequest, context: Any) -> AsyncIterator[ChatEvent]:
    yield ChatEvent(sequence=1)


@dataclass(slots=True)
class Behaviour:
    """What the methods of the service do in a test."""

    unary: Unary = _answer
    stream: Streaming = _stream


class Servicer(chat_service_pb2_grpc.ChatServiceServicer):
    """Does what the test says."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour

    async def CompleteChat(self, request: ChatRequest, context: Any) -> ChatResponse:
        return await self._behaviour.unary(request, context)

    async def StreamChat(self, request: ChatRequest, context: Any) -> AsyncIterator[ChatEvent]:
        async for event in self._behaviour.stream(request, context):
            yield event


@dataclass(slots=True)
class Failure:
    """How a call ended, as its caller saw it."""

    code: grpc.StatusCode
    message: str
    metadata: dict[str, str | bytes]
    details: list[Any] = field(default_factory=list[Any])

    @property
    def reason(self) -> str:
        """The reason of the error's details; empty when they have none."""
        infos = [detail for detail in self.details if isinstance(detail, error_details_pb2.ErrorInfo)]
        return infos[0].reason if infos else ""

    @property
    def request_id(self) -> str:
        (info,) = [detail for detail in self.details if isinstance(detail, error_details_pb2.RequestInfo)]
        return info.request_id

    @property
    def size(self) -> int:
        """The bytes of the trailers as HTTP/2 counts them."""
        status = (("grpc-message", self.message), ("grpc-status", "13"), ("content-type", "application/grpc"))
        pairs: Iterable[tuple[str, str | bytes]] = (*self.metadata.items(), *status)
        return sum(len(key) + _wire_size(key, value) + 32 for key, value in pairs)


def _wire_size(key: str, value: str | bytes) -> int:
    if isinstance(value, bytes):
        return (len(value) + 2) // 3 * 4
    if key == "grpc-message":
        return sum(1 if 0x20 <= byte <= 0x7E and byte != 0x25 else 3 for byte in value.encode())
    return len(value)


_DETAILS: tuple[type[Message], ...] = (
    error_details_pb2.ErrorInfo,
    error_details_pb2.RequestInfo,
    error_details_pb2.BadRequest,
    error_details_pb2.RetryInfo,
)


def _failure(error: grpc.aio.AioRpcError) -> Failure:
    metadata = dict(cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata() or ()))
    details: list[Any] = []
    packed = metadata.get("grpc-status-details-bin")
    if isinstance(packed, bytes):
        for detail in status_pb2.Status.FromString(packed).details:
            for kind in _DETAILS:
                message = kind()
                if detail.Unpack(message):
                    details.append(message)
    return Failure(error.code(), error.details() or "", metadata, details)


@dataclass(slots=True)
class Door:
    """A guarded server, and a channel to it."""

    behaviour: Behaviour
    guard: Guard
    health: Health
    channel: grpc.aio.Channel
    address: str

    async def unary(self, data: bytes = b"", metadata: Any = AUTHORIZED, *, path: str = COMPLETE) -> bytes:
        call = self.channel.unary_unary(path)(data, metadata=metadata, timeout=10)
        return cast("bytes", await call)

    async def stream(self, data: bytes = b"", metadata: Any = AUTHORIZED, *, path: str = STREAM) -> list[bytes]:
        call = self.channel.unary_stream(path)(data, metadata=metadata, timeout=10)
        return [message async for message in call]

    async def refusal(self, called: Awaitable[Any]) -> Failure:
        """The failure of a call. Every one comes soon, is short enough for any client and holds no secret."""
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            async with asyncio.timeout(2.0):
                await called
        failure = _failure(raised.value)
        assert CANARY not in f"{raised.value!r} {failure.metadata!r}"
        assert failure.size <= METADATA_LIMIT
        await self.settled()
        return failure

    async def settled(self) -> None:
        """Waits until no call is under way."""
        async with asyncio.timeout(1.0):
            while self.guard.in_flight:  # noqa: ASYNC110 - nothing tells that a call has ended, and nothing should
                await asyncio.sleep(0)


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    clock, ids = SystemClock(), SystemIds()
    catalogue = Catalogue(credential_of)
    catalogue.load([Tenant(name=TENANT), ApiKey(name=KEY, secret_hash=hash_key(SECRET), scopes=["chat"])])
    behaviour = Behaviour()
    health = Health(["llmgateway.v1.ChatService"], [], clock.now())
    services = [
        Service(
            chat_service_pb2.DESCRIPTOR.services_by_name["ChatService"],
            Servicer(behaviour),
            chat_service_pb2_grpc.add_ChatServiceServicer_to_server,
        ),
        Service(
            health_service_pb2.DESCRIPTOR.services_by_name["HealthService"],
            HealthService(health),
            health_service_pb2_grpc.add_HealthServiceServicer_to_server,
        ),
    ]
    guard = Guard(
        rules(services),
        Authenticator(lambda: catalogue.snapshot, clock),
        clock=clock,
        ids=ids,
        default_timeout=60.0,
        max_timeout=600.0,
    )
    options = ServerOptions(1 << 22, 16_384, 100, 30.0, 10.0, 1800.0, 3600.0)
    server = build_server(services, guard, options, health=health.servicer, reflect=True)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    await health.set_ready(ready=True)
    async with grpc.aio.insecure_channel(address) as channel:
        yield Door(behaviour, guard, health, channel, address)
    await server.stop(None)
    await _tasks_end()


async def _tasks_end() -> None:
    """Waits until only this task is left; fails when one stays."""
    own = asyncio.current_task()
    async with asyncio.timeout(2.0):
        while left := [task for task in asyncio.all_tasks() if task is not own and not _of_grpc(task)]:
            await asyncio.wait(left, timeout=0.05)


def _of_grpc(task: asyncio.Task[Any]) -> bool:
    """Whether a task is one that gRPC keeps for as long as the loop runs."""
    return "_poll" in repr(task.get_coro()) or "AioServer" in repr(task.get_coro())


def raising(error: BaseException) -> Unary:
    async def unary(request: ChatRequest, context: Any) -> Any:
        raise error

    return unary


def streaming(*steps: Any) -> Streaming:
    """A stream that sends what can be sent, and raises what can be raised."""

    async def stream(request: ChatRequest, context: Any) -> AsyncIterator[Any]:
        for step in steps:
            if isinstance(step, BaseException):
                raise step
            yield step

    return stream


FAULTS: dict[str, Callable[[], BaseException]] = {
    "ValueError": lambda: ValueError(CANARY),
    "KeyError": lambda: KeyError(CANARY),
    "OSError": lambda: OSError(5, CANARY, f"/{CANARY}"),
    "UnicodeDecodeError": lambda: UnicodeDecodeError("utf-8", CANARY.encode(), 0, 1, CANARY),
    "TimeoutError": lambda: TimeoutError(CANARY),
    "a group": lambda: ExceptionGroup(CANARY, [ValueError(CANARY)]),
    "a usage error of gRPC": lambda: grpc.aio.UsageError(CANARY),
    "an error of another call": lambda: grpc.aio.AioRpcError(
        grpc.StatusCode.NOT_FOUND, grpc.aio.Metadata(), grpc.aio.Metadata(("x", CANARY)), CANARY, CANARY
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_a_fault_in_a_method_tells_nothing(
    door: Door, fault: Callable[[], BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    door.behaviour.unary = raising(fault())
    failure = await door.refusal(door.unary())
    assert failure.code == grpc.StatusCode.INTERNAL
    assert failure.message == "the gateway failed; report the request id to its operator."
    assert failure.reason == ""
    (logged,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert vars(logged)["request_id"] == failure.request_id
    assert CANARY in caplog.text  # The operator learns what the caller does not.


@pytest.mark.parametrize("before", [0, 1, 3])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_a_fault_in_a_stream_tells_nothing(door: Door, fault: Callable[[], BaseException], before: int) -> None:
    door.behaviour.stream = streaming(*[ChatEvent(sequence=1)] * before, fault())
    failure = await door.refusal(door.stream())
    assert failure.code == grpc.StatusCode.INTERNAL


@pytest.mark.parametrize("wrong", [CANARY, None, 7, ChatRequest(model=CANARY), object()], ids=repr)
async def test_an_answer_that_is_none_tells_nothing(door: Door, wrong: Any) -> None:
    async def unary(request: ChatRequest, context: Any) -> Any:
        return wrong

    door.behaviour.unary = unary
    door.behaviour.stream = streaming(ChatEvent(sequence=1), wrong)
    if not isinstance(wrong, Message):  # gRPC would send another message's bytes; only types could tell.
        assert (await door.refusal(door.unary())).code == grpc.StatusCode.INTERNAL
        assert (await door.refusal(door.stream())).code == grpc.StatusCode.INTERNAL


@pytest.mark.parametrize("before", [0, 2])
async def test_a_stray_cancellation_ends_a_stream_at_once(door: Door, before: int) -> None:
    door.behaviour.stream = streaming(*[ChatEvent(sequence=1)] * before, asyncio.CancelledError(CANARY))
    failure = await door.refusal(door.stream())
    assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "STREAM_BROKEN")


async def test_a_stray_cancellation_ends_a_call_at_once(door: Door) -> None:
    async def unary(request: ChatRequest, context: Any) -> Any:
        inner = asyncio.ensure_future(asyncio.sleep(3600))
        inner.cancel()
        await inner

    door.behaviour.unary = unary
    failure = await door.refusal(door.unary())
    assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "STREAM_BROKEN")


async def test_a_method_may_abort_by_itself(door: Door) -> None:
    async def unary(request: ChatRequest, context: Any) -> Any:
        await context.abort(grpc.StatusCode.DATA_LOSS, "mine")

    async def stream(request: ChatRequest, context: Any) -> AsyncIterator[ChatEvent]:
        yield ChatEvent(sequence=1)
        await context.abort(grpc.StatusCode.DATA_LOSS, "mine")

    door.behaviour.unary, door.behaviour.stream = unary, stream
    for called in (door.unary(), door.stream()):
        failure = await door.refusal(called)
        assert (failure.code, failure.message) == (grpc.StatusCode.DATA_LOSS, "mine")


@pytest.mark.parametrize("reason", CLASSES, ids=ErrorReason.Name)
async def test_every_reason_has_its_code_and_details(door: Door, reason: ErrorReason) -> None:
    error = CLASSES[reason](reason, "what happened.", retry_after=1.5, metadata={"limit": "l"})
    door.behaviour.unary = raising(error)
    door.behaviour.stream = streaming(ChatEvent(sequence=1), error)
    for called in (door.unary(), door.stream()):
        failure = await door.refusal(called)
        assert failure.code.value[0] == error.code
        assert failure.message == "what happened."
        assert failure.metadata["retry-after"] == "2"
        internal = reason == ErrorReason.ERROR_REASON_INTERNAL
        assert failure.reason == ("" if internal else error.reason_name)


def nested(depth: int) -> bytes:
    """A request in which messages are nested this deep: a message, its part, and results and parts in turn."""
    inner = b""
    for level in range(depth, 0, -1):
        number = _RESULT if level > 2 and level % 2 else _PARTS
        inner = bytes([number << 3 | 2]) + _length(len(inner)) + inner
    return inner


_PARTS = 2
"""Number of `ChatRequest.messages`, `Message.parts` and `ToolResult.parts` alike."""
_RESULT = Part.DESCRIPTOR.fields_by_name["tool_result"].number


def _length(value: int) -> bytes:
    """A length as the wire has it: seven bits a byte, the least first."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


BAD_BYTES = {
    "a tag without a field": b"\x07",
    "a length beyond the end": b"\x0a\x7fabc",
    "text that is not UTF-8": b"\x0a\x02\xc3\x28",
    "half a surrogate": b"\x0a\x03\xed\xa0\x80",
    "an endless number": b"\x40" + b"\xff" * 11,
    "an open group": b"\x0b",
    "random bytes": bytes(range(256)),
}


@pytest.mark.parametrize("data", BAD_BYTES.values(), ids=BAD_BYTES.keys())
async def test_bytes_that_are_no_request_are_the_callers_error(
    door: Door, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    for called in (door.unary(data), door.stream(data), door.unary(data, path="/grpc.health.v1.Health/Check")):
        failure = await door.refusal(called)
        assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert not caplog.records  # A caller's mistake is no news for the operator.


@pytest.mark.parametrize("data", BAD_BYTES.values(), ids=BAD_BYTES.keys())
async def test_bytes_that_are_no_question_of_reflection(door: Door, data: bytes) -> None:
    path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    call = door.channel.stream_stream(path)(iter([data]), metadata=AUTHORIZED, timeout=10)

    async def read() -> list[bytes]:
        return [message async for message in call]

    failure = await door.refusal(read())
    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")


async def test_nesting_has_a_limit(door: Door) -> None:
    await door.unary(nested(100))
    for called in (door.unary(nested(101)), door.stream(nested(101)), door.unary(nested(20_000))):
        failure = await door.refusal(called)
        assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")


def test_the_numbers_of_nested_fields_are_these() -> None:
    assert ChatRequest.DESCRIPTOR.fields_by_name["messages"].number == _PARTS
    assert PromptMessage.DESCRIPTOR.fields_by_name["parts"].number == _PARTS
    assert ToolResult.DESCRIPTOR.fields_by_name["parts"].number == _PARTS
    assert ChatRequest.FromString(nested(4)).messages[0].parts[0].tool_result.parts[0] == Part()


async def test_a_caller_who_goes_away_ends_the_call(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    entered, closed = asyncio.Event(), asyncio.Event()

    async def unary(request: ChatRequest, context: Any) -> Any:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            closed.set()

    door.behaviour.unary = unary
    call = door.channel.unary_unary(COMPLETE)(b"", metadata=AUTHORIZED)
    await entered.wait()
    assert door.guard.in_flight == 1
    call.cancel()
    async with asyncio.timeout(1.0):
        await closed.wait()
    await door.settled()
    assert not caplog.records


@pytest.mark.parametrize("read", [0, 1])
async def test_a_caller_who_goes_away_closes_the_stream(
    door: Door, read: int, caplog: pytest.LogCaptureFixture
) -> None:
    entered, closed = asyncio.Event(), asyncio.Event()

    async def stream(request: ChatRequest, context: Any) -> AsyncIterator[ChatEvent]:
        try:
            for number in range(read):
                yield ChatEvent(sequence=number)
            entered.set()
            await asyncio.Event().wait()
        finally:
            closed.set()

    door.behaviour.stream = stream
    call = door.channel.unary_stream(STREAM)(b"", metadata=AUTHORIZED)
    for _ in range(read):
        await call.read()
    await entered.wait()
    call.cancel()
    async with asyncio.timeout(1.0):
        await closed.wait()
    await door.settled()
    assert not caplog.records


async def test_a_caller_who_stops_reading_and_goes_away_closes_the_stream(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    """The method stands at its `yield` when the caller goes: nothing but the guard can close it then."""
    sent, closed = 0, asyncio.Event()
    big = ChatEvent()
    big.part_delta.text = "x" * 1_000_000

    async def stream(request: ChatRequest, context: Any) -> AsyncIterator[ChatEvent]:
        nonlocal sent
        try:
            while True:
                yield big
                sent += 1
        finally:
            closed.set()

    door.behaviour.stream = stream
    call = door.channel.unary_stream(STREAM)(b"", metadata=AUTHORIZED)
    await call.read()
    seen = -1
    while seen != sent:  # Until the transport takes no more.
        seen = sent
        await asyncio.sleep(0.1)
    assert not closed.is_set()
    call.cancel()
    async with asyncio.timeout(1.0):
        await closed.wait()
    await door.settled()
    assert not caplog.records


async def test_a_caller_whose_time_runs_out_ends_the_call(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    closed = asyncio.Event()

    async def unary(request: ChatRequest, context: Any) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            closed.set()

    door.behaviour.unary = unary
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await door.channel.unary_unary(COMPLETE)(b"", metadata=AUTHORIZED, timeout=0.2)
    assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    async with asyncio.timeout(1.0):
        await closed.wait()
    await door.settled()
    assert not caplog.records


async def test_a_header_bounds_a_call_too(door: Door) -> None:
    async def unary(request: ChatRequest, context: Any) -> Any:
        await asyncio.Event().wait()

    door.behaviour.unary = unary
    failure = await door.refusal(door.unary(metadata=(*AUTHORIZED, ("x-request-timeout-ms", "100"))))
    assert (failure.code, failure.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")


@pytest.mark.parametrize(
    "value", ["", "0", "-1", "1.5", "1e3", "soon", "00000000001", "99999999999", "٣"[:0] + "0x1", " 5"]
)
async def test_a_time_that_is_none_is_refused(door: Door, value: str) -> None:
    failure = await door.refusal(door.unary(metadata=(*AUTHORIZED, ("x-request-timeout-ms", value))))
    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    (bad,) = [detail for detail in failure.details if isinstance(detail, error_details_pb2.BadRequest)]
    assert bad.field_violations[0].field == "x-request-timeout-ms"


@pytest.mark.parametrize(
    ("seconds", "header", "low", "high"),
    [
        (None, None, 59.0, 60.0),
        (5.0, None, 4.0, 5.0),
        (5.0, "2000", 1.0, 2.0),
        (5.0, "9999999999", 4.0, 5.0),
        (100_000.0, None, 599.0, 600.0),
    ],
)
async def test_every_call_has_a_deadline(
    door: Door, seconds: float | None, header: str | None, low: float, high: float
) -> None:
    left: list[float] = []

    async def unary(request: ChatRequest, context: Any) -> ChatResponse:
        rpc = CURRENT.get()
        left.append(rpc.deadline - rpc.started)
        return ChatResponse()

    door.behaviour.unary = unary
    metadata = AUTHORIZED if header is None else (*AUTHORIZED, ("x-request-timeout-ms", header))
    await door.channel.unary_unary(COMPLETE)(b"", metadata=metadata, timeout=seconds)
    assert low <= left[0] <= high + 0.1


CREDENTIALS = {
    "none": ((), "API_KEY_MISSING"),
    "another header": ((("x-api-key", SECRET),), "API_KEY_MISSING"),
    "empty": ((("authorization", ""),), "API_KEY_INVALID"),
    "no scheme": ((("authorization", SECRET),), "API_KEY_INVALID"),
    "wrong": ((("authorization", f"Bearer lgw_{CANARY}{CANARY}"),), "API_KEY_INVALID"),
    "two": ((*AUTHORIZED, *AUTHORIZED), "API_KEY_INVALID"),
    "one right, one wrong": ((*AUTHORIZED, ("authorization", "Bearer x")), "API_KEY_INVALID"),
    "long": ((("authorization", "Bearer lgw_" + "x" * 7_000),), "API_KEY_INVALID"),
    "very long": ((("authorization", "Bearer lgw_" + "x" * 12_000),), "API_KEY_INVALID"),
}


@pytest.mark.parametrize(("metadata", "reason"), CREDENTIALS.values(), ids=CREDENTIALS.keys())
async def test_nobody_gets_past_unknown(door: Door, metadata: tuple[tuple[str, str], ...], reason: str) -> None:
    for called in (door.unary(metadata=metadata), door.stream(metadata=metadata)):
        failure = await door.refusal(called)
        assert (failure.code, failure.reason) == (grpc.StatusCode.UNAUTHENTICATED, reason)


async def test_metadata_below_the_limit_always_passes(door: Door) -> None:
    """gRPC refuses at random between its two limits, so the lower one must not be in reach."""
    for _ in range(40):
        await door.unary(metadata=(*AUTHORIZED, ("x-long", "x" * 12_000)))


async def test_nobody_is_known_by_other_headers(door: Door) -> None:
    seen: list[Rpc] = []

    async def unary(request: ChatRequest, context: Any) -> ChatResponse:
        seen.append(CURRENT.get())
        return ChatResponse()

    door.behaviour.unary = unary
    spoofed = (
        ("x-tenant-id", "tenants/other"),
        ("x-user", "root"),
        ("x-forwarded-for", "127.0.0.1"),
        ("tenant-bin", b"x"),
    )
    await door.unary(metadata=(*AUTHORIZED, *spoofed))
    assert seen[0].principal.tenant == TENANT
    assert seen[0].principal.scopes == {"chat"}


async def test_a_key_without_the_scope_is_refused(door: Door) -> None:
    failure = await door.refusal(door.unary(path="/llmgateway.v1.ChatService/Unknown"))
    assert failure.code == grpc.StatusCode.UNIMPLEMENTED


async def test_a_method_that_is_not_built_says_so(door: Door) -> None:
    failure = await door.refusal(door.unary(path="/llmgateway.v1.ChatService/EmbedContent"))
    assert (failure.code, failure.reason) == (grpc.StatusCode.UNIMPLEMENTED, "FEATURE_DISABLED")


@pytest.mark.parametrize("given_id", ["my-id-1", "x" * 128, "~!@#$%^&*()"])
async def test_a_callers_request_id_is_kept(door: Door, given_id: str) -> None:
    door.behaviour.unary = raising(ValueError())
    failure = await door.refusal(door.unary(metadata=(*AUTHORIZED, ("x-request-id", given_id))))
    assert failure.request_id == failure.metadata["x-request-id"] == given_id
    call = door.channel.unary_stream(STREAM)(b"", metadata=(*AUTHORIZED, ("x-request-id", given_id)))
    assert [message async for message in call]
    assert ("x-request-id", given_id) in tuple(cast("Any", await call.trailing_metadata()))


@pytest.mark.parametrize("given_id", ["", " ", "x" * 129, "two words"])
async def test_another_request_id_is_made(door: Door, given_id: str) -> None:
    door.behaviour.unary = raising(ValueError())
    failure = await door.refusal(door.unary(metadata=(*AUTHORIZED, ("x-request-id", given_id))))
    assert failure.request_id == failure.metadata["x-request-id"] != given_id
    assert re.fullmatch("[0-9a-z]{20,40}", failure.request_id)


HOSTILE = {
    "long": "x" * 1_000_000,
    "wide": "模型" * 100_000,
    "astral": "😀" * 100_000,
    "control": "".join(map(chr, range(256))) * 100,
    "percent": "%" * 100_000,
    "quotes": '"\\' * 100_000,
    "delete": "\x7f",
    "lines": "a\r\nx-injected: 1\r\n\r\n",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize(
    "reason", [ErrorReason.ERROR_REASON_INVALID_FIELD, ErrorReason.ERROR_REASON_RESOURCE_NOT_FOUND]
)
async def test_an_error_fits_into_metadata_whatever_it_quotes(door: Door, text: str, reason: ErrorReason) -> None:
    error = CLASSES[reason](
        reason, text, field=text, metadata={"resource": text, text[:3] + "y": text}, retry_after=1.0
    )
    door.behaviour.unary = raising(error)
    door.behaviour.stream = streaming(ChatEvent(sequence=1), error)
    for called in (door.unary(), door.stream()):
        failure = await door.refusal(called)
        assert failure.code.value[0] == error.code
        assert failure.reason == error.reason_name
        assert "x-injected" not in failure.metadata


async def test_health_needs_no_key(door: Door) -> None:
    stub = cast("Any", health_pb2_grpc.HealthStub(door.channel))
    for service in ("", "llmgateway.v1.ChatService"):
        reply = await stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await stub.Check(health_pb2.HealthCheckRequest(service="none"))
    assert unknown.value.code() == grpc.StatusCode.NOT_FOUND
    await health_service_pb2_grpc.HealthServiceStub(door.channel).CheckLiveness(
        health_service_pb2.CheckLivenessRequest()
    )


async def test_a_watched_health_changes_and_does_not_hold_up_the_end(door: Door) -> None:
    stub = cast("Any", health_pb2_grpc.HealthStub(door.channel))
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="llmgateway.v1.ChatService"))
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    await door.health.set_ready(ready=False)
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert door.guard.in_flight == 0
    watch.cancel()


async def test_reflection_lists_services_for_those_with_a_key(door: Door) -> None:
    stub = cast("Any", reflection_pb2_grpc).ServerReflectionStub(door.channel)
    question = reflection_pb2.ServerReflectionRequest(list_services="")
    call = stub.ServerReflectionInfo(iter([question]), metadata=AUTHORIZED)
    (reply,) = [reply async for reply in call]
    names = {service.name for service in reply.list_services_response.service}
    assert {"llmgateway.v1.ChatService", "grpc.health.v1.Health"} <= names

    call = stub.ServerReflectionInfo(iter([question]))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call.read()
    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_many_calls_at_once_leave_nothing_behind(door: Door) -> None:
    """Half of them fail and a third of them are given up."""

    async def unary(request: ChatRequest, context: Any) -> ChatResponse:
        await asyncio.sleep(0.01)
        if request.strict:
            raise ValueError(CANARY)
        return ChatResponse()

    door.behaviour.unary = unary

    async def one(number: int) -> None:
        data = ChatRequest(strict=bool(number % 2)).SerializeToString()
        call = door.channel.unary_unary(COMPLETE)(data, metadata=AUTHORIZED)
        if number % 3 == 0:
            call.cancel()
        with suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
            await call

    await asyncio.gather(*(one(number) for number in range(60)))
    await door.settled()
    assert door.guard.in_flight == 0


@given(st.text(max_size=2000), st.text(max_size=2000), st.dictionaries(st.text(max_size=300), st.text(max_size=2000)))
def test_any_error_fits_into_metadata(message: str, field_name: str, metadata: dict[str, str]) -> None:
    error = GatewayError(ErrorReason.ERROR_REASON_INVALID_FIELD, message, field=field_name, metadata=metadata)
    text, trailers = on_the_wire(error, "r" * 128, openai=True)
    pairs = (("grpc-message", text), *trailers)
    for key, value in trailers:
        assert isinstance(value, bytes) or all(" " <= character <= "~" for character in value), key
    assert sum(len(key) + _wire_size(key, value) + 32 for key, value in pairs) <= METADATA_LIMIT
