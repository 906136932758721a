"""A gRPC server that answers every method of the gateway as the test at hand says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import grpc
import grpc.aio
from google.api.httpbody_pb2 import HttpBody
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection

MEBIBYTE = 1024 * 1024

ROOT = Path(__file__).resolve().parents[3]


def _services() -> Iterator[ServiceDescriptor]:
    """Every service of the protos, and gRPC's health."""
    protos = FileDescriptorSet.FromString((ROOT / "gen/descriptors.binpb").read_bytes())
    for file in protos.file:
        if file.service:
            module = import_module(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")
            yield from module.DESCRIPTOR.services_by_name.values()
    yield cast("ServiceDescriptor", health_pb2.DESCRIPTOR.services_by_name["Health"])


SERVICES = list(_services())

Context = grpc.aio.ServicerContext[Any, Any]
Behaviour = Callable[[Any, Context], AsyncIterator[Message]]

OPTIONS = {
    # What the edge lets through, the server has to take: a body of 32 MiB is a larger message than that.
    "grpc.max_receive_message_length": 64 * MEBIBYTE,
    "grpc.max_send_message_length": -1,
    "grpc.max_metadata_size": 32 * 1024,
    "grpc.absolute_max_metadata_size": 64 * 1024,
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.http2.min_ping_interval_without_data_ms": 10_000,
    "grpc.so_reuseport": 0,
}


@dataclass(frozen=True, slots=True)
class Received:
    """What reached the server of one call."""

    method: str
    request: Any
    metadata: dict[str, str | bytes]
    time_remaining: float | None


@dataclass(slots=True)
class Upstream:
    """Answers with `answer`, and keeps what it was asked."""

    address: str
    options: Mapping[str, int] = field(default_factory=lambda: OPTIONS)
    answer: Behaviour | None = None
    received: list[Received] = field(default_factory=list)
    reached: list[str] = field(default_factory=list)
    """Every path that was asked for, of known services or not."""
    server: grpc.aio.Server | None = None
    port: int = 0

    async def start(self) -> None:
        self.server = grpc.aio.server(options=list(self.options.items()))
        self.server.add_generic_rpc_handlers((_Handlers(self),))
        reflection.enable_server_reflection([service.full_name for service in SERVICES], self.server)
        self.port = self.server.add_insecure_port(self.address)
        await self.server.start()

    async def stop(self) -> None:
        assert self.server is not None
        await self.server.stop(0)

    def reset(self) -> None:
        self.answer = None
        self.received.clear()
        self.reached.clear()

    @property
    def last(self) -> Received:
        return self.received[-1]


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        self._upstream.reached.append(handler_call_details.method)
        service, _, name = handler_call_details.method.removeprefix("/").partition("/")
        if not any(service == known.full_name for known in SERVICES):
            return None
        method = descriptor_pool.Default().FindMethodByName(f"{service}.{name}")
        parse, serialize = (
            GetMessageClass(method.input_type).FromString,
            GetMessageClass(method.output_type).SerializeToString,
        )
        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(self._stream(method), parse, serialize)
        return grpc.unary_unary_rpc_method_handler(self._unary(method), parse, serialize)

    def _stream(self, method: MethodDescriptor) -> Behaviour:
        async def stream(request: Message, context: Context) -> AsyncIterator[Message]:
            answer = self._note(method, request, context)
            async for message in answer(request, context):
                yield message

        return stream

    def _unary(self, method: MethodDescriptor) -> Callable[[Any, Context], Any]:
        async def unary(request: Message, context: Context) -> Message:
            answer = self._note(method, request, context)
            async for message in answer(request, context):
                return message
            raise AssertionError("a unary method needs a message")

        return unary

    def _note(self, method: MethodDescriptor, request: Message, context: Context) -> Behaviour:
        metadata = dict(context.invocation_metadata() or ())
        self._upstream.received.append(Received(method.full_name, request, metadata, context.time_remaining()))
        return self._upstream.answer or _default(method)


def _default(method: MethodDescriptor) -> Behaviour:
    """One empty message; for a body, JSON that says who answered."""
    message = GetMessageClass(method.output_type)()
    if isinstance(message, HttpBody):
        message.content_type = "application/json"
        message.data = json.dumps({"method": method.full_name}).encode()
    return answers(message)


def answers(*messages: Message) -> Behaviour:
    """Sends the messages."""

    async def behaviour(request: Message, context: Context) -> AsyncIterator[Message]:
        for message in messages:
            yield message

    return behaviour


def fails(
    code: grpc.StatusCode, message: str = "", trailers: tuple[tuple[str, str | bytes], ...] = (), *first: Message
) -> Behaviour:
    """Sends the messages, if there are any, and fails."""

    async def behaviour(request: Message, context: Context) -> AsyncIterator[Message]:
        for sent in first:
            yield sent
        await context.abort(code, message, trailing_metadata=trailers)

    return behaviour
