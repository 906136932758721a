"""The gRPC server: its options, its services, and how it stops."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import grpc
import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from llmgateway.v1 import authorization_pb2
from llmgateway_server.api.guard import Guard
from llmgateway_server.api.rpc import PUBLIC, Rule
from llmgateway_server.api.unbuilt import fill_unbuilt

# Services that are not ours carry no authorization option.
_FOREIGN_RULES: Mapping[str, Rule] = {
    "/grpc.health.v1.Health/Check": Rule(PUBLIC),
    "/grpc.health.v1.Health/List": Rule(PUBLIC),
    "/grpc.health.v1.Health/Watch": Rule(PUBLIC),
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Rule(""),
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": Rule(""),
}


@dataclass(frozen=True, slots=True)
class Service:
    """A service with what implements it."""

    descriptor: ServiceDescriptor
    servicer: object
    add: Callable[[Any, Any], None]
    """The generated function that adds the servicer to a server. `Any`: each takes its own servicer."""


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What gRPC is told. Sizes in bytes, times in seconds."""

    message_bytes: int
    metadata_bytes: int
    streams_per_connection: int
    keepalive_interval: float
    keepalive_timeout: float
    max_age: float
    max_age_grace: float


def channel_arguments(options: ServerOptions) -> Sequence[tuple[str, int]]:
    """The options by gRPC's names.

    `ping_timeout_ms` is what bounds the life of a frozen peer: without it, keepalive alone takes a minute. The two
    metadata limits are twice and four times what is promised, because gRPC counts 32 bytes more for every entry and
    refuses at random between the two.
    """
    millis = 1000
    return (
        ("grpc.max_receive_message_length", options.message_bytes),
        ("grpc.max_send_message_length", options.message_bytes),
        ("grpc.max_metadata_size", 2 * options.metadata_bytes),
        ("grpc.absolute_max_metadata_size", 4 * options.metadata_bytes),
        ("grpc.max_concurrent_streams", options.streams_per_connection),
        ("grpc.keepalive_time_ms", int(options.keepalive_interval * millis)),
        ("grpc.keepalive_timeout_ms", int(options.keepalive_timeout * millis)),
        ("grpc.http2.ping_timeout_ms", int(options.keepalive_timeout * millis)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10 * millis),
        ("grpc.max_connection_age_ms", int(options.max_age * millis)),
        ("grpc.max_connection_age_grace_ms", int(options.max_age_grace * millis)),
        ("grpc.so_reuseport", 0),
    )


def rules(services: Iterable[Service]) -> dict[str, Rule]:
    """Who may call what, by path, as the protos say."""
    found = dict(_FOREIGN_RULES)
    for service in services:
        for method in service.descriptor.methods:
            extensions = cast("Any", method.GetOptions().Extensions)  # The stubs know no extensions of options.
            found[f"/{service.descriptor.full_name}/{method.name}"] = Rule(
                scope=extensions[authorization_pb2.required_scope],
                tenant_field=extensions[authorization_pb2.tenant_field],
                platform=extensions[authorization_pb2.platform],
            )
    return found


def build_server(
    services: Sequence[Service],
    guard: Guard,
    options: ServerOptions,
    *,
    health: object,
    reflect: bool,
) -> grpc.aio.Server:
    """A server with the guard before everything. It listens nowhere yet."""
    server = grpc.aio.server(interceptors=(guard,), options=channel_arguments(options))
    registrar = _GenericOnly(server)
    for service in services:
        fill_unbuilt(service.servicer, service.descriptor)
        service.add(service.servicer, registrar)
    health_pb2_grpc.add_HealthServicer_to_server(health, registrar)  # pyright: ignore[reportArgumentType]
    if reflect:
        shown = [service.descriptor.full_name for service in services]
        health_name = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
        # The server itself: for anything else reflection would take its servicer that blocks.
        reflection.enable_server_reflection((*shown, health_name, reflection.SERVICE_NAME), server)
    return server


class _GenericOnly:
    """Takes the handlers that generated code offers to a server, but not as registered methods.

    For every registered method gRPC keeps a task that waits for its next call, and for every call it waits for all of
    those tasks anew. With the hundred methods of this gateway that costs 30 µs a call; generic handlers cost the same
    whatever their number.
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """As on a server."""
        self._server.add_generic_rpc_handlers(tuple(handlers))

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, object]) -> None:
        """Leaves them out: the same handlers came as generic ones."""
