"""Health: one state, the worst of its parts, told in the same way everywhere."""

from typing import Any, cast

import pytest
from grpc_health.v1 import health_pb2

from llmgateway.v1 import health_service_pb2 as pb
from llmgateway.v1.admin_resources_pb2 import HealthSummary
from llmgateway_server.api.health import Component, Health, HealthService, Probe
from llmgateway_server.errors import Unavailable
from tests.support.system import StillClock

NOW = StillClock().now()
CONTEXT: Any = None


def probe_of(name: str, state: HealthSummary.State) -> Probe:
    async def probe() -> Component:
        return Component(component=name, state=state)

    return probe


async def status(health: Health, service: str) -> str:
    reply = await health.servicer.Check(health_pb2.HealthCheckRequest(service=service), cast("Any", None))
    return health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)


async def test_readiness_is_told_for_every_service() -> None:
    health = Health(["a.A", "b.B"], [], NOW)
    for ready, expected in ((True, "SERVING"), (False, "NOT_SERVING")):
        await health.set_ready(ready=ready)
        assert health.ready is ready
        assert [await status(health, service) for service in ("", "a.A", "b.B")] == [expected] * 3


async def test_a_gateway_that_is_not_ready_lives() -> None:
    service = HealthService(Health([], [], NOW))
    assert (await service.CheckLiveness(pb.CheckLivenessRequest(), CONTEXT)).status == "ok"
    with pytest.raises(Unavailable) as refusal:
        await service.CheckReadiness(pb.CheckReadinessRequest(), CONTEXT)
    assert refusal.value.retry_after == 1.0


async def test_a_gateway_that_is_ready_says_so() -> None:
    health = Health([], [], NOW)
    await health.set_ready(ready=True)
    assert (await HealthService(health).CheckReadiness(pb.CheckReadinessRequest(), CONTEXT)).status == "ok"


@pytest.mark.parametrize(
    ("ready", "states", "worst"),
    [
        (True, (), HealthSummary.STATE_OK),
        (True, (HealthSummary.STATE_OK,), HealthSummary.STATE_OK),
        (True, (HealthSummary.STATE_OK, HealthSummary.STATE_DEGRADED), HealthSummary.STATE_DEGRADED),
        (True, (HealthSummary.STATE_DOWN, HealthSummary.STATE_OK), HealthSummary.STATE_DOWN),
        (False, (HealthSummary.STATE_OK,), HealthSummary.STATE_DOWN),
    ],
)
async def test_the_whole_is_as_well_as_its_worst_part(
    ready: bool, states: tuple[HealthSummary.State, ...], worst: HealthSummary.State
) -> None:
    health = Health([], [probe_of(f"part{number}", state) for number, state in enumerate(states)], NOW)
    await health.set_ready(ready=ready)
    summary = (await HealthService(health).DescribeHealth(pb.DescribeHealthRequest(), CONTEXT)).summary
    assert summary.state == worst
    assert [part.component for part in summary.components] == ["server", *(f"part{n}" for n in range(len(states)))]
    assert summary.version
    assert summary.start_time.ToDatetime(NOW.tzinfo) == NOW
