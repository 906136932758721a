"""What all dispatching shares: one try and what it cost, and whether another one follows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llmgateway.v1.content_pb2 import Usage
from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway.v1.model_service_pb2 import Price
from llmgateway.v1.routing_service_pb2 import Attempt, RetryPolicy
from llmgateway.v1.routing_service_pb2 import Timeouts as RouteTimeouts
from llmgateway_server.errors import DeadlineExceeded, GatewayError
from llmgateway_server.events import broken
from llmgateway_server.money import cost_nanos
from llmgateway_server.pipeline.call import AnyCall
from llmgateway_server.ports.provider import Endpoint, Timeouts
from llmgateway_server.ports.system import Clock, Ids
from llmgateway_server.routing.catalogue import Served
from llmgateway_server.times import set_seconds, set_time, to_seconds

DEFAULT_MAX_ATTEMPTS = 4

FALLS_BACK: Mapping[ErrorReason, bool] = {
    ErrorReason.ERROR_REASON_UNSUPPORTED_FEATURE: True,
    ErrorReason.ERROR_REASON_PROVIDER_RATE_LIMITED: True,
    ErrorReason.ERROR_REASON_PROVIDER_UNAVAILABLE: True,
    ErrorReason.ERROR_REASON_PROVIDER_REJECTED_CREDENTIAL: True,
    ErrorReason.ERROR_REASON_PROVIDER_PROTOCOL_ERROR: True,
}
"""Reasons after which the next candidate is tried. All others end the call."""


@dataclass(slots=True)
class Try:
    """One attempt under way."""

    attempt: Attempt
    served: Served
    endpoint: Endpoint
    started: float
    """On the monotonic clock, in seconds."""


class Attempts:
    """Begins and settles attempts. Each is left with its call, however it ends."""

    def __init__(self, clock: Clock, ids: Ids) -> None:
        self._clock = clock
        self._ids = ids

    def begin(self, call: AnyCall, served: Served) -> Try:
        """Writes down that a deployment is tried now."""
        endpoint = served.endpoint
        if endpoint is None:
            raise broken(f"{served.deployment.name!r} was planned although it cannot be called.")
        attempt = Attempt(
            attempt_id=self._ids.new(),
            deployment=endpoint.deployment,
            provider=endpoint.provider,
            upstream_model=endpoint.upstream_model,
            outcome=Attempt.OUTCOME_CANCELLED,  # Until something better is known.
        )
        set_time(attempt.start_time, self._clock.now())
        call.attempts.append(attempt)
        return Try(attempt, served, endpoint, self._clock.monotonic())

    def note_first_event(self, trying: Try) -> None:
        """Writes down how long the first event took."""
        set_seconds(trying.attempt.first_event_latency, self._clock.monotonic() - trying.started)

    def succeed(self, trying: Try, usage: Usage) -> None:
        """Writes down that the answer is whole, and what it cost."""
        attempt = trying.attempt
        attempt.outcome = Attempt.OUTCOME_SUCCEEDED
        attempt.usage.CopyFrom(usage)
        price = _price(trying.served)
        cost = cost_nanos(usage, price) if price is not None else None
        if cost is not None:
            attempt.cost_nanos = cost
        self.end(trying)

    def fail(self, trying: Try, reason: ErrorReason) -> None:
        """Writes down why it failed."""
        trying.attempt.outcome = Attempt.OUTCOME_FAILED
        trying.attempt.reason = reason

    def end(self, trying: Try) -> None:
        """Writes down how long it took, once."""
        if not trying.attempt.HasField("latency"):
            set_seconds(trying.attempt.latency, self._clock.monotonic() - trying.started)


def most_attempts(policy: RetryPolicy) -> int:
    """How many tries a call has."""
    return policy.max_attempts if policy.HasField("max_attempts") else DEFAULT_MAX_ATTEMPTS


def too_late() -> DeadlineExceeded:
    """The error of a call that had no time for a single try."""
    return DeadlineExceeded(
        ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED,
        "the deadline passed before a provider was asked; allow more time.",
    )


def total_cost(call: AnyCall) -> int | None:
    """What all tries of a call cost, in nano-dollars; None when no price is known."""
    costs = [attempt.cost_nanos for attempt in call.attempts if attempt.HasField("cost_nanos")]
    return sum(costs) if costs else None


def _price(served: Served) -> Price | None:
    if served.deployment.HasField("price"):
        return served.deployment.price
    if served.model is not None and served.model.HasField("price"):
        return served.model.price
    return None


def falls_back(error: GatewayError, policy: RetryPolicy) -> bool:
    """Whether the next candidate is tried after this error."""
    if error.reason == ErrorReason.ERROR_REASON_CONTENT_FILTERED:
        return policy.fall_back_on_content_filter
    return FALLS_BACK.get(error.reason, False)


def tell_attempts(failure: GatewayError, call: AnyCall) -> None:
    """Adds what was tried to the error of a call that more than one deployment was tried for."""
    if len(call.attempts) > 1:
        failure.metadata["attempts"] = ", ".join(
            f"{attempt.deployment}: {ErrorReason.Name(attempt.reason).removeprefix('ERROR_REASON_')}"
            for attempt in call.attempts
        )


def merged_timeouts(route: RouteTimeouts, default: Timeouts) -> Timeouts:
    """The route's timeouts, and the gateway's where it sets none."""
    if not route.ListFields():
        return default
    return Timeouts(
        connect=to_seconds(route.connect) if route.HasField("connect") else default.connect,
        first_event=to_seconds(route.first_event) if route.HasField("first_event") else default.first_event,
        idle=to_seconds(route.idle) if route.HasField("idle") else default.idle,
        total=to_seconds(route.total) if route.HasField("total") else default.total,
    )
