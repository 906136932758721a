"""The meter: one record a call, however the call ends."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import pytest

from llmgateway.v1.admin_resources_pb2 import UsageRecord
from llmgateway.v1.chat_service_pb2 import ChatEvent
from llmgateway.v1.content_pb2 import FinishReason, Usage
from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway.v1.routing_service_pb2 import Attempt
from llmgateway_server.errors import GatewayError, Unavailable, invalid_field
from llmgateway_server.pipeline.call import Call, Handler
from llmgateway_server.pipeline.meter import Meter
from tests.support.calls import KEY, TENANT, call_of, collect, question
from tests.support.doubles import KeptRecords, finished, started, text
from tests.support.system import CountingIds, StillClock

BUSY = Unavailable(ErrorReason.ERROR_REASON_PROVIDER_UNAVAILABLE, "busy.")


@dataclass(slots=True)
class Bench:
    """A meter around a handler, and what it writes down."""

    clock: StillClock
    sink: KeptRecords

    def handler(self, inner: Handler) -> Handler:
        meter = Meter(self.sink, self.clock, CountingIds())
        return lambda call: meter(call, inner)

    def wait(self, seconds: float) -> Callable[[], None]:
        """A step that takes time."""
        return lambda: self.clock.move(timedelta(seconds=seconds))

    def call(self, **fields: Any) -> Call:
        return call_of(question(), self.clock, **fields)


@pytest.fixture
def bench() -> Bench:
    return Bench(StillClock(), KeptRecords())


def handler_of(*steps: ChatEvent | Exception | Callable[[], None]) -> Handler:
    async def handle(call: Call) -> AsyncIterator[ChatEvent]:
        for step in steps:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, ChatEvent):
                yield step
            else:
                step()

    return handle


async def test_a_whole_answer_is_recorded_once(bench: Bench) -> None:
    call = bench.call()
    call.request.labels["team"] = "search"
    call.attempts.append(Attempt(attempt_id="a1", usage=Usage(input_tokens=3, output_tokens=5), cost_nanos=70))
    inner = handler_of(
        bench.wait(0.25),
        started(),
        text("one"),
        bench.wait(1.5),
        finished(),
    )

    await collect(bench.handler(inner)(call))

    expected = UsageRecord(
        name=f"{TENANT}/usageRecords/id00000001",
        request_id="request-1",
        api_key=KEY,
        method="llmgateway.v1.ChatService/StreamChat",
        requested="models/a",
        attempts=call.attempts,
        finish_reason=FinishReason.FINISH_REASON_STOP,
        usage=Usage(input_tokens=3, output_tokens=5),
        cost_nanos=70,
        labels={"team": "search"},
        first_event_micros=250_000,
        latency_micros=1_750_000,
    )
    expected.create_time.FromDatetime(call.create_time)
    assert bench.sink.only == expected


async def test_tokens_and_costs_of_all_attempts_are_added(bench: Bench) -> None:
    call = bench.call()
    call.attempts += [
        Attempt(usage=Usage(input_tokens=3, estimated=True), cost_nanos=7),
        Attempt(),
        Attempt(usage=Usage(input_tokens=4, output_tokens=9), cost_nanos=0),
    ]
    await collect(bench.handler(handler_of(started(), finished()))(call))
    assert bench.sink.only.usage == Usage(input_tokens=7, output_tokens=9, estimated=True)
    assert bench.sink.only.cost_nanos == 7


async def test_a_call_without_a_price_has_no_cost(bench: Bench) -> None:
    call = bench.call()
    call.attempts.append(Attempt(usage=Usage(input_tokens=3)))
    await collect(bench.handler(handler_of(started(), finished()))(call))
    assert not bench.sink.only.HasField("cost_nanos")


@pytest.mark.parametrize("before", [(), (started(),), (started(), text("one"))])
async def test_a_failure_is_recorded_once_and_passes_on(bench: Bench, before: tuple[ChatEvent, ...]) -> None:
    with pytest.raises(Unavailable) as failure:
        await collect(bench.handler(handler_of(*before, BUSY))(bench.call()))
    assert failure.value is BUSY
    assert bench.sink.only.reason == ErrorReason.ERROR_REASON_PROVIDER_UNAVAILABLE
    assert bench.sink.only.finish_reason == FinishReason.FINISH_REASON_UNSPECIFIED
    assert bool(bench.sink.only.first_event_micros) is False


async def test_a_refusal_before_the_first_generator_is_recorded(bench: Bench) -> None:
    def refuse(call: Call) -> AsyncIterator[ChatEvent]:
        raise invalid_field("messages", "send at least one message.")

    with pytest.raises(GatewayError):
        await collect(bench.handler(refuse)(bench.call()))
    assert bench.sink.only.reason == ErrorReason.ERROR_REASON_INVALID_FIELD


async def test_a_bug_is_recorded_as_internal(bench: Bench) -> None:
    with pytest.raises(RuntimeError):
        await collect(bench.handler(handler_of(started(), RuntimeError("bug")))(bench.call()))
    assert bench.sink.only.reason == ErrorReason.ERROR_REASON_INTERNAL


async def test_a_caller_who_stops_reading_is_recorded_once(bench: Bench) -> None:
    events = bench.handler(handler_of(started(), text("one"), text("two"), finished()))(bench.call())
    async with aclosing(cast("Any", events)) as opened:
        await anext(opened)
    assert bench.sink.only.reason == ErrorReason.ERROR_REASON_CANCELLED


async def test_a_caller_who_stops_after_the_last_event_got_a_whole_answer(bench: Bench) -> None:
    events = bench.handler(handler_of(started(), finished()))(bench.call())
    async with aclosing(cast("Any", events)) as opened:
        await anext(opened)
        await anext(opened)
    assert bench.sink.only.reason == ErrorReason.ERROR_REASON_UNSPECIFIED
    assert bench.sink.only.finish_reason == FinishReason.FINISH_REASON_STOP


async def _cancel_within(bench: Bench, **fields: Any) -> None:
    waiting = asyncio.Event()

    async def handle(call: Call) -> AsyncIterator[ChatEvent]:
        yield started()
        waiting.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(collect(bench.handler(handle)(bench.call(**fields))))
    await waiting.wait()
    bench.clock.move(timedelta(seconds=5.0))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancelled_call_is_recorded_once(bench: Bench) -> None:
    await _cancel_within(bench, seconds=60.0)
    assert bench.sink.only.reason == ErrorReason.ERROR_REASON_CANCELLED
    assert bench.sink.only.latency_micros == 5_000_000


async def test_a_call_cut_at_its_deadline_says_so(bench: Bench) -> None:
    await _cancel_within(bench, seconds=5.0)
    assert bench.sink.only.reason == ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED


async def test_what_was_refused_unchecked_is_not_kept(bench: Bench) -> None:
    call = bench.call()
    call.request.model = "no\x00pe" * 1000
    call.request.labels.update({f"key{number}": "\x00" for number in range(1000)})
    with pytest.raises(GatewayError):
        await collect(bench.handler(handler_of(invalid_field("model", "no.")))(call))
    assert bench.sink.only.requested == ""
    assert not bench.sink.only.labels


async def test_parallel_calls_have_a_record_each(bench: Bench) -> None:
    handler = bench.handler(handler_of(started(), finished()))
    await asyncio.gather(*(collect(handler(bench.call())) for _ in range(8)))
    assert len({record.name for record in bench.sink.records}) == 8
