"""Carries the generated stubs over grpc.aio.

betterproto2 writes its asynchronous stubs for the `Channel` of grpclib, of which they use one method, `request`. The
`Channel` here has that method and nothing else, and does the work with grpc.aio. Two facts make that worth a file:
grpclib ends every open answer when the server lets a connection age out, and grpc.aio leaves a call running that is
dropped without being cancelled. The first is why grpclib is not used, the second why every call here is a context.
"""

import asyncio
from collections.abc import Collection, Generator, Iterable, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar, cast

import betterproto2
import grpc
import grpc.aio
from grpclib.const import Cardinality

from llmgateway_client import errors

Value = str | bytes
Metadata = Mapping[str, Value] | Collection[tuple[str, Value]]

Reply = TypeVar("Reply", bound=betterproto2.Message)

_MEBIBYTE = 1024 * 1024

OPTIONS: tuple[tuple[str, int], ...] = (
    # The most that a gateway can be set to send. What it takes it says itself.
    ("grpc.max_receive_message_length", 512 * _MEBIBYTE),
    # Error details travel as metadata. Between the default limits, 8 and 16 KiB, they would be refused at random.
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.absolute_max_metadata_size", 32 * 1024),
    # A peer that is frozen or cut off is noticed within 40 seconds. Without the last line it takes a minute more.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    # The gateway decides what is tried again; nothing found in DNS does.
    ("grpc.service_config_disable_resolution", 1),
)


class Deadline(Protocol):
    """A moment before which a call must be done."""

    def time_remaining(self) -> float:
        """Seconds until then; zero when it has passed."""
        ...


class Channel:
    """What a generated stub needs of a channel. Sends the API key with every call, and gives every call a deadline."""

    def __init__(self, channel: grpc.aio.Channel, *, api_key: str, timeout: float | None) -> None:
        self._channel = channel
        self._credential = ("authorization", f"Bearer {api_key}")
        self._timeout = timeout

    def request(
        self,
        route: str,
        cardinality: Cardinality,
        request_type: type[betterproto2.Message],
        reply_type: type[Reply],
        *,
        timeout: float | None = None,
        deadline: Deadline | None = None,
        metadata: Metadata | None = None,
    ) -> "Call[Reply]":
        """Prepares a call. Nothing is sent until its message is.

        `timeout` is in seconds; without it and a deadline the client's own holds. Calls with many requests are not
        supported: the gateway has none.
        """
        return Call(
            self._channel,
            route,
            reply_type,
            streams=cardinality is Cardinality.UNARY_STREAM,
            timeout=self._seconds(timeout, deadline),
            metadata=(*_pairs(metadata), self._credential),
        )

    def _seconds(self, timeout: float | None, deadline: Deadline | None) -> float | None:
        limits = [timeout] if timeout is not None else []
        if deadline is not None:
            limits.append(deadline.time_remaining())
        return min(limits) if limits else self._timeout


class Call(Generic[Reply]):
    """One call, as a context: to leave it is to end the call, on the gateway and at the provider too."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        route: str,
        reply_type: type[Reply],
        *,
        streams: bool,
        timeout: float | None,
        metadata: tuple[tuple[str, Value], ...],
    ) -> None:
        self._channel = channel
        self._route = route
        self._reply_type = reply_type
        self._streams = streams
        self._timeout = timeout
        self._metadata = metadata
        self._stream: grpc.aio.UnaryStreamCall[bytes, bytes] | None = None
        self._unary: grpc.aio.UnaryUnaryCall[bytes, bytes] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for call in (self._stream, self._unary):
            if call is not None:
                call.cancel()

    async def send_message(self, message: betterproto2.Message, *, end: bool = False) -> None:
        """Sends the one request. `end` is always true for the calls the gateway has."""
        if self._streams:
            open_stream: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = self._channel.unary_stream(self._route)
            self._stream = open_stream(bytes(message), timeout=self._timeout, metadata=self._metadata)
        else:
            ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(self._route)
            self._unary = ask(bytes(message), timeout=self._timeout, metadata=self._metadata)

    async def recv_message(self) -> Reply | None:
        """Waits for the one reply of a call that does not stream."""
        if self._unary is None:
            return None
        with _typed_errors():
            reply = await self._unary
        return self._reply_type.parse(reply)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Reply:
        if self._stream is None:
            raise StopAsyncIteration
        with _typed_errors():
            reply = await self._stream.read()
        if not isinstance(reply, bytes):  # grpc.aio.EOF
            raise StopAsyncIteration
        return self._reply_type.parse(reply)


def _pairs(metadata: Metadata | None) -> Iterable[tuple[str, Value]]:
    if metadata is None:
        return ()
    if isinstance(metadata, Mapping):
        return cast("Mapping[str, Value]", metadata).items()
    return metadata


@contextmanager
def _typed_errors() -> Generator[None]:
    """Turns what grpc.aio raises into the client's own errors.

    grpc.aio raises `CancelledError` also when the channel was closed under the call. A task that nobody cancelled must
    not see one: whoever waits for the task would take it for the task's own end.
    """
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise errors.from_status(error) from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise errors.closed() from error
