"""The innermost stage: plans the call, tries the candidates in order and passes on the first answer that begins."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from llmgateway.v1.chat_service_pb2 import ChatEvent, Finished, Started
from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway.v1.routing_service_pb2 import Attempt
from llmgateway_server.errors import GatewayError
from llmgateway_server.events import broken, carries_content
from llmgateway_server.pipeline.attempts import (
    Attempts,
    falls_back,
    merged_timeouts,
    most_attempts,
    tell_attempts,
    too_late,
    total_cost,
)
from llmgateway_server.pipeline.call import Call
from llmgateway_server.pipeline.closing import closing
from llmgateway_server.ports.provider import ChatAdapter, Endpoint, ProviderCall, Timeouts
from llmgateway_server.ports.system import Clock, Ids
from llmgateway_server.routing.catalogue import Served
from llmgateway_server.routing.planner import Plan, Planner
from llmgateway_server.times import set_time


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
        self._attempts = Attempts(clock, ids)
        self._timeouts = timeouts

    async def __call__(self, call: Call) -> AsyncIterator[ChatEvent]:
        plan = self._planner.plan(call.request)
        policy = plan.retry_policy
        timeouts = merged_timeouts(plan.timeouts, self._timeouts)
        failure: GatewayError | None = None
        for served in plan.candidates[: most_attempts(policy)]:
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
                if committed or not falls_back(error, policy):
                    tell_attempts(error, call)
                    raise
                failure = error
            else:
                return
        if failure is None:
            raise too_late()
        tell_attempts(failure, call)
        raise failure

    async def _attempt(self, call: Call, plan: Plan, served: Served, timeouts: Timeouts) -> AsyncIterator[ChatEvent]:
        """One try. Yields the whole answer or raises, and leaves its `Attempt` with the call in either case."""
        trying = self._attempts.begin(call, served)
        attempt, endpoint = trying.attempt, trying.endpoint
        provider_call = ProviderCall(
            request=call.request,
            endpoint=endpoint,
            stream=call.stream,
            deadline=min(call.deadline, trying.started + timeouts.total),
            timeouts=timeouts,
            request_id=call.request_id,
        )
        sequence = 0
        mark = self._clock.monotonic()
        try:
            async with closing(self._adapter(endpoint).chat(provider_call)) as events:
                async for event in events:
                    call.upstream_seconds += self._clock.monotonic() - mark
                    sequence += 1
                    event.sequence = sequence
                    if sequence == 1:
                        if not event.HasField("started"):
                            raise broken("the provider's answer did not begin with its first event.")
                        self._attempts.note_first_event(trying)
                        _tell(event.started, call, plan, endpoint)
                    elif event.HasField("finished"):
                        self._attempts.succeed(trying, event.finished.usage)
                        _tell_cost(event.finished, call)
                    yield event
                    mark = self._clock.monotonic()
        except GatewayError as error:
            call.upstream_seconds += self._clock.monotonic() - mark
            self._attempts.fail(trying, error.reason)
            raise
        except Exception:
            self._attempts.fail(trying, ErrorReason.ERROR_REASON_INTERNAL)
            raise
        finally:
            self._attempts.end(trying)
        if attempt.outcome != Attempt.OUTCOME_SUCCEEDED:
            self._attempts.fail(trying, ErrorReason.ERROR_REASON_STREAM_BROKEN)
            raise broken("the provider's answer ended without its last event.")


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
        set_time(started.create_time, call.create_time)


def _tell_cost(finished: Finished, call: Call) -> None:
    """Completes the last event by what was tried and what it cost."""
    finished.attempts.extend(call.attempts)
    cost = total_cost(call)
    if cost is not None:
        finished.cost_nanos = cost
