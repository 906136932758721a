"""The innermost stage: plans the call, tries the candidates in order and passes on the first answer that begins."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration

from llmgateway.v1.chat_service_pb2 import ChatEvent, Started
from llmgateway.v1.content_pb2 import Usage
from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway.v1.model_service_pb2 import Price
from llmgateway.v1.routing_service_pb2 import Attempt, RetryPolicy
from llmgateway.v1.routing_service_pb2 import Timeouts as RouteTimeouts
from llmgateway_server.errors import DeadlineExceeded, GatewayError
from llmgateway_server.events import broken, carries_content
from llmgateway_server.money import cost_nanos
from llmgateway_server.pipeline.call import Call
from llmgateway_server.pipeline.closing import closing
from llmgateway_server.ports.provider import ChatAdapter, Endpoint, ProviderCall, Timeouts
from llmgateway_server.ports.system import Clock, Ids
from llmgateway_server.routing.catalogue import Served
from llmgateway_server.routing.planner import Plan, Planner

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
class _Try:
    """One attempt under way."""

    attempt: Attempt
    served: Served
    endpoint: Endpoint
    started: float


class Dispatch:
    """Sends a call to the candidates of its plan, one after the other, until one begins to answer."""

    def __init__(
        self,
        planner: Planner,
        adapter: Callable[[Endpoint], ChatAdapter],
        *,
        clock: Clock,
        ids: Ids,
        timeouts: Timeouts,
    ) -> None:
        self._planner = planner
        self._adapter = adapter
        self._clock = clock
        self._ids = ids
        self._timeouts = timeouts

    async def __call__(self, call: Call) -> AsyncIterator[ChatEvent]:
        plan = self._planner.plan(call.request)
        policy = plan.retry_policy
        most = policy.max_attempts if policy.HasField("max_attempts") else DEFAULT_MAX_ATTEMPTS
        timeouts = _timeouts(plan.timeouts, self._timeouts)
        failure: GatewayError | None = None
        for served in plan.candidates[:most]:
            if self._clock.monotonic() >= call.deadline:
                break
            committed = False
            held: list[ChatEvent] = []  # Says nothing of the answer yet: until more comes, another may still serve.
            try:
                async with closing(self._attempt(call, plan, served, timeouts)) as events:
                    async for event in events:
                        if not committed:
                            held.append(event)
                            if not carries_content(event):
                                continue
                            committed = True
                            for earlier in held:
                                yield earlier
                        else:
                            yield event
            except GatewayError as error:
                if committed or not _falls_back(error, policy):
                    _tell_attempts(error, call)
                    raise
                failure = error
            else:
                return
        if failure is None:
            raise DeadlineExceeded(
                ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED,
                "the deadline passed before a provider was asked; allow more time.",
            )
        _tell_attempts(failure, call)
        raise failure

    async def _attempt(self, call: Call, plan: Plan, served: Served, timeouts: Timeouts) -> AsyncIterator[ChatEvent]:
        """One try. Yields the whole answer or raises, and leaves its `Attempt` with the call in either case."""
        endpoint = served.endpoint
        if endpoint is None:
            raise broken(f"{served.deployment.name!r} was planned although it cannot be called.")
        trying = self._begin(call, served, endpoint)
        provider_call = ProviderCall(
            request=call.request,
            endpoint=endpoint,
            stream=call.stream,
            deadline=min(call.deadline, trying.started + timeouts.total),
            timeouts=timeouts,
            request_id=call.request_id,
        )
        attempt = trying.attempt
        attempt.outcome = Attempt.OUTCOME_CANCELLED
        sequence = 0
        mark = self._clock.monotonic()
        try:
            async with closing(self._adapter(endpoint).chat(provider_call)) as events:
                async for event in events:
                    now = self._clock.monotonic()
                    call.upstream_seconds += now - mark
                    sequence += 1
                    event.sequence = sequence
                    if sequence == 1:
                        if not event.HasField("started"):
                            raise broken("the provider's answer did not begin with its first event.")
                        _set_seconds(attempt.first_event_latency, now - trying.started)
                        _tell(event.started, call, plan, endpoint)
                    elif event.HasField("finished"):
                        self._settle(trying, event.finished.usage, Attempt.OUTCOME_SUCCEEDED)
                        event.finished.attempts.extend(call.attempts)
                        _add_cost(event, call)
                    yield event
                    mark = self._clock.monotonic()
        except GatewayError as error:
            call.upstream_seconds += self._clock.monotonic() - mark
            attempt.reason = error.reason
            attempt.outcome = Attempt.OUTCOME_FAILED
            raise
        except Exception:
            attempt.reason = ErrorReason.ERROR_REASON_INTERNAL
            attempt.outcome = Attempt.OUTCOME_FAILED
            raise
        finally:
            if attempt.outcome != Attempt.OUTCOME_SUCCEEDED:
                _set_seconds(attempt.latency, self._clock.monotonic() - trying.started)
        if attempt.outcome != Attempt.OUTCOME_SUCCEEDED:
            attempt.outcome = Attempt.OUTCOME_FAILED
            attempt.reason = ErrorReason.ERROR_REASON_STREAM_BROKEN
            raise broken("the provider's answer ended without its last event.")

    def _begin(self, call: Call, served: Served, endpoint: Endpoint) -> _Try:
        attempt = Attempt(
            attempt_id=self._ids.new(),
            deployment=endpoint.deployment,
            provider=endpoint.provider,
            upstream_model=endpoint.upstream_model,
        )
        attempt.start_time.FromDatetime(self._clock.now())
        call.attempts.append(attempt)
        return _Try(attempt, served, endpoint, self._clock.monotonic())

    def _settle(self, trying: _Try, usage: Usage, outcome: Attempt.Outcome) -> None:
        attempt = trying.attempt
        attempt.outcome = outcome
        attempt.usage.CopyFrom(usage)
        _set_seconds(attempt.latency, self._clock.monotonic() - trying.started)
        price = _price(trying.served)
        cost = cost_nanos(usage, price) if price is not None else None
        if cost is not None:
            attempt.cost_nanos = cost


def _price(served: Served) -> Price | None:
    if served.deployment.HasField("price"):
        return served.deployment.price
    if served.model is not None and served.model.HasField("price"):
        return served.model.price
    return None


def _tell(started: Started, call: Call, plan: Plan, endpoint: Endpoint) -> None:
    """Completes the first event by what only the gateway knows."""
    started.deployment = endpoint.deployment
    started.provider = endpoint.provider
    started.model = plan.requested
    started.request_id = call.request_id
    started.warnings.extend(plan.warnings)
    if not started.upstream_model:
        started.upstream_model = endpoint.upstream_model
    if not started.response_id:
        started.response_id = f"gw-{call.request_id}"
    if not started.HasField("create_time"):
        started.create_time.FromDatetime(call.create_time)


def _add_cost(event: ChatEvent, call: Call) -> None:
    costs = [attempt.cost_nanos for attempt in call.attempts if attempt.HasField("cost_nanos")]
    if costs:
        event.finished.cost_nanos = sum(costs)


def _falls_back(error: GatewayError, policy: RetryPolicy) -> bool:
    if error.reason == ErrorReason.ERROR_REASON_CONTENT_FILTERED:
        return policy.fall_back_on_content_filter
    return FALLS_BACK.get(error.reason, False)


def _tell_attempts(failure: GatewayError, call: Call) -> None:
    """Adds what was tried to the error of a call that more than one deployment was tried for."""
    if len(call.attempts) > 1:
        failure.metadata["attempts"] = ", ".join(
            f"{attempt.deployment}: {ErrorReason.Name(attempt.reason).removeprefix('ERROR_REASON_')}"
            for attempt in call.attempts
        )


def _set_seconds(duration: Duration, seconds: float) -> None:
    whole = int(seconds)
    duration.seconds = whole
    duration.nanos = int((seconds - whole) * 1_000_000_000)


def _timeouts(route: RouteTimeouts, default: Timeouts) -> Timeouts:
    if not route.ListFields():
        return default
    return Timeouts(
        connect=_seconds(route.connect) if route.HasField("connect") else default.connect,
        first_event=_seconds(route.first_event) if route.HasField("first_event") else default.first_event,
        idle=_seconds(route.idle) if route.HasField("idle") else default.idle,
        total=_seconds(route.total) if route.HasField("total") else default.total,
    )


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1_000_000_000
