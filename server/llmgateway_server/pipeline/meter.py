"""The outermost stage: writes down what every call used and how it ended, whatever happens."""

from __future__ import annotations

from collections.abc import AsyncIterator

from llmgateway.v1.admin_resources_pb2 import UsageRecord
from llmgateway.v1.chat_service_pb2 import ChatEvent
from llmgateway.v1.content_pb2 import FinishReason
from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server.errors import GatewayError
from llmgateway_server.events import add_usage
from llmgateway_server.pipeline.call import AnyCall, Call, Handler, OperationHandler
from llmgateway_server.pipeline.closing import closing, closing_operation
from llmgateway_server.ports.operations import OperationRequest, OperationResponse
from llmgateway_server.ports.system import Clock, Ids
from llmgateway_server.ports.usage import UsageSink
from llmgateway_server.routing.planner import is_model_name
from llmgateway_server.times import set_time

_MICROS = 1_000_000
_UNCHECKED = frozenset({ErrorReason.ERROR_REASON_INVALID_FIELD, ErrorReason.ERROR_REASON_MODEL_NOT_ALLOWED})
"""Refusals that may come before the request was checked. What it says of itself is then not fit to be kept."""


class Meter:
    """Hands one usage record a call to the sink, also for calls that fail or that nobody waits for any more."""

    def __init__(self, sink: UsageSink, clock: Clock, ids: Ids) -> None:
        self._sink = sink
        self._clock = clock
        self._ids = ids

    async def __call__(self, call: Call, next_handler: Handler, /) -> AsyncIterator[ChatEvent]:
        first_event: float | None = None
        finish_reason = FinishReason.FINISH_REASON_UNSPECIFIED
        reason = ErrorReason.ERROR_REASON_CANCELLED
        try:
            async with closing(next_handler(call)) as events:
                async for event in events:
                    if first_event is None:
                        first_event = self._clock.monotonic()
                    if event.HasField("finished"):
                        finish_reason = event.finished.finish_reason
                        reason = ErrorReason.ERROR_REASON_UNSPECIFIED
                    yield event
        except GatewayError as error:
            reason = error.reason
            raise
        except Exception:
            reason = ErrorReason.ERROR_REASON_INTERNAL
            raise
        finally:
            self._keep(call, first_event, finish_reason, reason)

    async def operation(
        self, call: Call[OperationRequest], next_handler: OperationHandler
    ) -> AsyncIterator[OperationResponse]:
        """The same for what is not a conversation: it is over when the answer has told how it came about."""
        first_answer: float | None = None
        reason = ErrorReason.ERROR_REASON_CANCELLED
        try:
            async with closing_operation(next_handler(call)) as answers:
                async for answer in answers:
                    if first_answer is None:
                        first_answer = self._clock.monotonic()
                    if answer.HasField("serving"):
                        reason = ErrorReason.ERROR_REASON_UNSPECIFIED
                    yield answer
        except GatewayError as error:
            reason = error.reason
            raise
        except Exception:
            reason = ErrorReason.ERROR_REASON_INTERNAL
            raise
        finally:
            self._keep(call, first_answer, FinishReason.FINISH_REASON_UNSPECIFIED, reason)

    def _keep(self, call: AnyCall, first_event: float | None, finish_reason: FinishReason, reason: ErrorReason) -> None:
        if reason == ErrorReason.ERROR_REASON_CANCELLED and self._clock.monotonic() >= call.deadline:
            reason = ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED
        self._sink.record(self._record(call, first_event, finish_reason, reason))

    def _record(
        self, call: AnyCall, first_event: float | None, finish_reason: FinishReason, reason: ErrorReason
    ) -> UsageRecord:
        record = UsageRecord(
            name=f"{call.principal.tenant}/usageRecords/{self._ids.new()}",
            request_id=call.request_id,
            api_key=call.principal.api_key,
            method=call.method,
            requested=call.request.model if is_model_name(call.request.model) else "",
            attempts=call.attempts,
            finish_reason=finish_reason,
            reason=reason,
            labels=None if reason in _UNCHECKED else getattr(call.request, "labels", None),
            latency_micros=int((self._clock.monotonic() - call.started) * _MICROS),
            first_event_micros=0 if first_event is None else int((first_event - call.started) * _MICROS),
        )
        if len(call.attempts) == 1:
            record.usage.CopyFrom(call.attempts[0].usage)
        else:
            record.usage.CopyFrom(add_usage(attempt.usage for attempt in call.attempts))
        set_time(record.create_time, call.create_time)
        costs = [attempt.cost_nanos for attempt in call.attempts if attempt.HasField("cost_nanos")]
        if costs:
            record.cost_nanos = sum(costs)
        return record
