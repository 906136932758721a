"""Health: one state, told by gRPC's own service and by REST."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import Any

import grpc.aio
from grpc_health.v1 import health, health_pb2

from llmgateway.v1 import health_service_pb2 as pb
from llmgateway.v1 import health_service_pb2_grpc
from llmgateway.v1.admin_resources_pb2 import HealthSummary
from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server import __version__
from llmgateway_server.errors import Unavailable

Context = grpc.aio.ServicerContext[Any, Any]
Component = HealthSummary.Component
Probe = Callable[[], Awaitable[Component]]
"""Says how one part is doing; bounded in time by itself, and never raises."""

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Health:
    """Whether the gateway takes calls, and how its parts are doing."""

    def __init__(self, services: Iterable[str], probes: Iterable[Probe], start_time: datetime) -> None:
        self.servicer = health.aio.HealthServicer()
        self._services = ("", *services)
        self._probes = tuple(probes)
        self._start_time = start_time
        self.ready = False

    async def set_ready(self, *, ready: bool) -> None:
        """Tells every service's health, by both protocols."""
        self.ready = ready
        for service in self._services:
            await self.servicer.set(service, _SERVING if ready else _NOT_SERVING)

    async def summary(self) -> HealthSummary:
        """The state of each part, and the worst of them."""
        components = [await probe() for probe in self._probes]
        serving = Component(component="server", state=HealthSummary.STATE_OK)
        if not self.ready:
            serving.state = HealthSummary.STATE_DOWN
            serving.message = "starting or stopping"
        components.insert(0, serving)
        summary = HealthSummary(
            state=max(component.state for component in components), components=components, version=__version__
        )
        summary.start_time.FromDatetime(self._start_time)
        return summary


class HealthService(health_service_pb2_grpc.HealthServiceServicer):
    """Health by REST."""

    def __init__(self, health_state: Health) -> None:
        self._health = health_state

    async def CheckLiveness(
        self,
        request: pb.CheckLivenessRequest,
        context: Context,
    ) -> pb.CheckLivenessResponse:
        return pb.CheckLivenessResponse(status="ok")

    async def CheckReadiness(
        self,
        request: pb.CheckReadinessRequest,
        context: Context,
    ) -> pb.CheckReadinessResponse:
        if not self._health.ready:
            raise Unavailable(
                ErrorReason.ERROR_REASON_OVERLOADED, "the gateway is starting or stopping; try again.", retry_after=1.0
            )
        return pb.CheckReadinessResponse(status="ok")

    async def DescribeHealth(
        self,
        request: pb.DescribeHealthRequest,
        context: Context,
    ) -> pb.DescribeHealthResponse:
        return pb.DescribeHealthResponse(summary=await self._health.summary())
