"""Dispatch: which candidate is asked, when the next one is, and what is told of it."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain
from typing import Any, cast

import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st

from llmgateway.v1.chat_service_pb2 import ChatEvent
from llmgateway.v1.content_pb2 import Usage
from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway.v1.routing_service_pb2 import Attempt
from llmgateway_server.errors import CLASSES, DeadlineExceeded, GatewayError
from llmgateway_server.pipeline.attempts import FALLS_BACK
from llmgateway_server.pipeline.call import Call
from llmgateway_server.pipeline.dispatch import Dispatch
from llmgateway_server.ports.provider import Timeouts
from llmgateway_server.routing.planner import Planner
from tests.support.calls import PROVIDER, call_of, catalogue_of, collect, deployment, question, read
from tests.support.doubles import (
    ScriptedAdapter,
    Step,
    answer,
    empty_delta,
    finished,
    started,
    text,
)
from tests.support.system import CountingIds, StillClock

_R = ErrorReason
_NEVER_RAISED = {_R.ERROR_REASON_UNSPECIFIED}
_FALLING_BACK = {
    _R.ERROR_REASON_UNSUPPORTED_FEATURE,
    _R.ERROR_REASON_PROVIDER_RATE_LIMITED,
    _R.ERROR_REASON_PROVIDER_UNAVAILABLE,
    _R.ERROR_REASON_PROVIDER_REJECTED_CREDENTIAL,
    _R.ERROR_REASON_PROVIDER_PROTOCOL_ERROR,
}


def failure(reason: ErrorReason, message: str = "no.") -> GatewayError:
    return CLASSES[reason](reason, message)


UNAVAILABLE = failure(_R.ERROR_REASON_PROVIDER_UNAVAILABLE, "the provider is down.")


@dataclass(slots=True)
class Bench:
    """A dispatch over a route of deployments `d0`, `d1`, ... that follow scripts."""

    scripts: Sequence[Sequence[Step]]
    route: dict[str, Any] = field(default_factory=dict[str, Any])
    prices: Sequence[dict[str, int] | None] = ()
    clock: StillClock = field(default_factory=StillClock)
    adapter: ScriptedAdapter = field(init=False)
    dispatch: Dispatch = field(init=False)

    def __post_init__(self) -> None:
        names = [f"d{number}" for number in range(len(self.scripts))]
        deployments = [deployment(name) for name in names]
        for fields, price in zip(deployments, self.prices, strict=False):
            if price is not None:
                fields["price"] = price
        route = {
            "name": "routes/r",
            "strategy": "STRATEGY_PRIORITY",
            "targets": [{"deployment": f"deployments/{name}"} for name in names],
            **self.route,
        }
        catalogue = catalogue_of(PROVIDER, {"name": "models/a"}, *deployments, route)
        self.adapter = ScriptedAdapter(
            {f"deployments/{name}": script for name, script in zip(names, self.scripts, strict=True)}
        )
        self.dispatch = Dispatch(
            Planner(catalogue, lambda: 0.5),
            self.adapter,
            clock=self.clock,
            ids=CountingIds(),
            timeouts=Timeouts(connect=1.0, first_event=2.0, idle=3.0, total=100.0),
        )

    def call(self, **fields: Any) -> Call:
        return call_of(question(model="routes/r"), self.clock, **fields)

    @property
    def asked(self) -> list[str]:
        return [call.endpoint.deployment.removeprefix("deployments/") for call in self.adapter.asked]

    @property
    def closed(self) -> list[str]:
        return [name.removeprefix("deployments/") for name in self.adapter.closed]


def wait(clock: StillClock, seconds: float) -> Callable[[], None]:
    """A step that takes time."""
    return lambda: clock.move(timedelta(seconds=seconds))


def kinds(events: Sequence[ChatEvent]) -> list[str]:
    return [str(event.WhichOneof("event")) for event in events]


async def test_the_first_candidate_answers() -> None:
    bench = Bench([answer("one", "two"), answer("never")])
    call = bench.call()
    events = await collect(bench.dispatch(call))

    assert kinds(events) == ["started", "part_delta", "part_delta", "finished"]
    assert [event.sequence for event in events] == [1, 2, 3, 4]
    assert bench.asked == bench.closed == ["d0"]
    first = events[0].started
    assert (first.deployment, first.provider, first.model) == ("deployments/d0", "providers/p", "routes/r")
    assert (first.upstream_model, first.request_id, first.response_id) == ("up-d0", "request-1", "gw-request-1")
    assert first.create_time.ToDatetime(call.create_time.tzinfo) == call.create_time


async def test_what_the_provider_says_of_itself_is_kept() -> None:
    bench = Bench([[started(response_id="r1", upstream_model="m-2026"), finished()]])
    events = await collect(bench.dispatch(bench.call()))
    assert events[0].started.response_id == "r1"
    assert events[0].started.upstream_model == "m-2026"


@pytest.mark.parametrize("reason", [reason for reason in CLASSES if reason in _FALLING_BACK])
async def test_another_candidate_is_tried_before_the_answer_begins(reason: ErrorReason) -> None:
    bench = Bench([[failure(reason)], answer("one")])
    call = bench.call()
    events = await collect(bench.dispatch(call))

    assert bench.asked == ["d0", "d1"]
    assert events[0].started.deployment == "deployments/d1"
    attempts = events[-1].finished.attempts
    assert [(attempt.outcome, attempt.reason) for attempt in attempts] == [
        (Attempt.OUTCOME_FAILED, reason),
        (Attempt.OUTCOME_SUCCEEDED, _R.ERROR_REASON_UNSPECIFIED),
    ]
    assert list(attempts) == call.attempts


@pytest.mark.parametrize("reason", [reason for reason in CLASSES if reason not in _FALLING_BACK | _NEVER_RAISED])
async def test_other_failures_end_the_call(reason: ErrorReason) -> None:
    bench = Bench([[failure(reason)], answer("never")])
    with pytest.raises(GatewayError) as raised:
        await collect(bench.dispatch(bench.call()))
    assert raised.value.reason == reason
    assert bench.asked == ["d0"]
    assert "attempts" not in raised.value.metadata


def test_the_table_of_reasons_that_fall_back_is_the_documented_one() -> None:
    assert {reason for reason, falls in FALLS_BACK.items() if falls} == _FALLING_BACK


@pytest.mark.parametrize("allowed", [True, False])
async def test_a_content_filter_falls_back_where_the_route_says_so(allowed: bool) -> None:
    bench = Bench(
        [[failure(_R.ERROR_REASON_CONTENT_FILTERED)], answer("one")],
        route={"retryPolicy": {"fallBackOnContentFilter": allowed}},
    )
    if allowed:
        events = await collect(bench.dispatch(bench.call()))
        assert events[0].started.deployment == "deployments/d1"
    else:
        with pytest.raises(GatewayError):
            await collect(bench.dispatch(bench.call()))


@pytest.mark.parametrize("held", [[started()], [started(), empty_delta()], [started(), empty_delta(), empty_delta()]])
async def test_what_says_nothing_is_held_back(held: list[ChatEvent]) -> None:
    bench = Bench([[*held, UNAVAILABLE], answer("one")])
    events = await collect(bench.dispatch(bench.call()))
    assert kinds(events) == ["started", "part_delta", "finished"]
    assert [event.sequence for event in events] == [1, 2, 3]
    assert events[0].started.deployment == "deployments/d1"


async def test_held_events_come_out_in_order() -> None:
    bench = Bench([[started(), empty_delta(), text("one"), finished()]])
    events = await collect(bench.dispatch(bench.call()))
    assert kinds(events) == ["started", "part_delta", "part_delta", "finished"]
    assert [event.sequence for event in events] == [1, 2, 3, 4]


async def test_nothing_is_sent_before_the_first_content() -> None:
    """The first event arrives together with content, so that a failure until then is a failure and not an answer."""
    reached = asyncio.Event()
    proceed = asyncio.Event()

    async def pause() -> None:
        reached.set()
        await proceed.wait()

    bench = Bench([[started(), pause, text("one"), finished()]])
    async with aclosing(cast("Any", bench.dispatch(bench.call()))) as events:
        first = asyncio.ensure_future(anext(events))
        await reached.wait()
        assert not first.done()
        proceed.set()
        assert (await first).HasField("started")


@pytest.mark.parametrize("words", [["one"], ["one"] * 10])
async def test_nothing_is_tried_after_the_first_content(words: list[str]) -> None:
    bench = Bench([[started(), *(text(word) for word in words), UNAVAILABLE], answer("never")])
    events, error = await read(bench.dispatch(bench.call()))
    assert error is UNAVAILABLE
    assert bench.asked == ["d0"]
    assert "".join(event.part_delta.text for event in events) == "".join(words)


async def test_an_answer_that_is_only_an_end_is_an_answer() -> None:
    bench = Bench([[started(), finished()], answer("never")])
    assert kinds(await collect(bench.dispatch(bench.call()))) == ["started", "finished"]


@pytest.mark.parametrize("script", [[], [started()], [started(), text("one")]])
async def test_an_answer_without_its_last_event_is_broken(script: list[ChatEvent]) -> None:
    bench = Bench([script, answer("never")])
    call = bench.call()
    with pytest.raises(GatewayError) as raised:
        await collect(bench.dispatch(call))
    assert raised.value.reason == _R.ERROR_REASON_STREAM_BROKEN
    assert [attempt.reason for attempt in call.attempts] == [_R.ERROR_REASON_STREAM_BROKEN]
    assert bench.asked == ["d0"]


async def test_an_answer_that_does_not_begin_is_broken() -> None:
    bench = Bench([[text("one"), finished()], answer("never")])
    with pytest.raises(GatewayError) as raised:
        await collect(bench.dispatch(bench.call()))
    assert raised.value.reason == _R.ERROR_REASON_STREAM_BROKEN


async def test_when_all_fail_the_last_error_names_the_attempts() -> None:
    bench = Bench([[failure(_R.ERROR_REASON_PROVIDER_RATE_LIMITED)], [failure(_R.ERROR_REASON_PROVIDER_UNAVAILABLE)]])
    with pytest.raises(GatewayError) as raised:
        await collect(bench.dispatch(bench.call()))
    assert raised.value.reason == _R.ERROR_REASON_PROVIDER_UNAVAILABLE
    assert raised.value.metadata["attempts"] == (
        "deployments/d0: PROVIDER_RATE_LIMITED, deployments/d1: PROVIDER_UNAVAILABLE"
    )


async def test_an_error_after_a_fallback_names_the_attempts_too() -> None:
    bench = Bench([[UNAVAILABLE], [failure(_R.ERROR_REASON_PROVIDER_REJECTED_REQUEST)], answer("never")])
    with pytest.raises(GatewayError) as raised:
        await collect(bench.dispatch(bench.call()))
    assert raised.value.reason == _R.ERROR_REASON_PROVIDER_REJECTED_REQUEST
    assert raised.value.metadata["attempts"].startswith("deployments/d0: PROVIDER_UNAVAILABLE")
    assert bench.asked == ["d0", "d1"]


@pytest.mark.parametrize(("most", "asked"), [(None, 4), (1, 1), (3, 3), (10, 6)])
async def test_there_is_a_limit_to_attempts(most: int | None, asked: int) -> None:
    policy = {} if most is None else {"retryPolicy": {"maxAttempts": most}}
    bench = Bench([[UNAVAILABLE]] * 6, route=policy)
    with pytest.raises(GatewayError):
        await collect(bench.dispatch(bench.call()))
    assert len(bench.asked) == asked


async def test_no_attempt_begins_after_the_deadline() -> None:
    clock = StillClock()
    bench = Bench([[wait(clock, 10.0), UNAVAILABLE], answer("never")], clock=clock)
    with pytest.raises(GatewayError) as raised:
        await collect(bench.dispatch(bench.call(seconds=10.0)))
    assert raised.value is UNAVAILABLE
    assert bench.asked == ["d0"]


async def test_a_call_that_comes_too_late_asks_nobody() -> None:
    bench = Bench([answer("never")])
    call = bench.call(seconds=0.0)
    with pytest.raises(DeadlineExceeded):
        await collect(bench.dispatch(call))
    assert bench.asked == []
    assert call.attempts == []


@pytest.mark.parametrize(("left", "expected"), [(40.0, 40.0), (1000.0, 100.0)])
async def test_an_attempt_has_the_lesser_of_the_callers_time_and_the_gateways(left: float, expected: float) -> None:
    bench = Bench([answer("one")])
    await collect(bench.dispatch(bench.call(seconds=left)))
    assert bench.adapter.asked[0].deadline == bench.clock.monotonic() + expected


async def test_a_route_sets_its_own_timeouts() -> None:
    bench = Bench([answer("one")], route={"timeouts": {"firstEvent": "0.5s", "total": "7s"}})
    await collect(bench.dispatch(bench.call()))
    asked = bench.adapter.asked[0]
    assert asked.timeouts == Timeouts(connect=1.0, first_event=0.5, idle=3.0, total=7.0)
    assert asked.deadline == bench.clock.monotonic() + 7.0


@pytest.mark.parametrize("stream", [True, False])
async def test_the_provider_is_asked_for_what_the_caller_wants(stream: bool) -> None:
    bench = Bench([answer("one")])
    call = bench.call(stream=stream)
    await collect(bench.dispatch(call))
    assert bench.adapter.asked[0].stream is stream
    assert bench.adapter.asked[0].request == call.request
    assert bench.adapter.asked[0].request_id == "request-1"


async def test_a_caller_who_stops_reading_closes_the_provider() -> None:
    bench = Bench([answer("one", "two", "three"), answer("never")])
    call = bench.call()
    async with aclosing(cast("Any", bench.dispatch(call))) as events:
        await anext(events)
        await anext(events)
    assert bench.closed == ["d0"]
    assert call.attempts[0].outcome == Attempt.OUTCOME_CANCELLED


async def test_a_cancelled_call_closes_the_provider() -> None:
    waiting = asyncio.Event()

    async def hang() -> None:
        waiting.set()
        await asyncio.Event().wait()

    clock = StillClock()
    bench = Bench([[started(), text("one"), hang], answer("never")], clock=clock)
    call = bench.call()
    task = asyncio.create_task(collect(bench.dispatch(call)))
    await waiting.wait()
    clock.move(timedelta(seconds=2.5))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.closed == bench.asked == ["d0"]
    assert call.attempts[0].outcome == Attempt.OUTCOME_CANCELLED
    assert call.attempts[0].latency == Duration(seconds=2, nanos=500_000_000)


async def test_every_attempt_is_closed_before_the_next_begins() -> None:
    order: list[str] = []
    bench = Bench([[UNAVAILABLE], [lambda: order.append(",".join(bench.closed)), *answer("one")]])
    await collect(bench.dispatch(bench.call()))
    assert order == ["d0"]
    assert bench.closed == ["d0", "d1"]


async def test_a_bug_in_an_adapter_ends_the_call_and_is_written_down() -> None:
    bench = Bench([[RuntimeError("bug")], answer("never")])
    call = bench.call()
    with pytest.raises(RuntimeError):
        await collect(bench.dispatch(call))
    assert bench.closed == ["d0"]
    assert call.attempts[0].outcome == Attempt.OUTCOME_FAILED
    assert call.attempts[0].reason == _R.ERROR_REASON_INTERNAL


async def test_latencies_are_measured_per_attempt() -> None:
    clock = StillClock()
    bench = Bench(
        [
            [wait(clock, 0.5), UNAVAILABLE],
            [
                wait(clock, 0.25),
                started(),
                wait(clock, 1.0),
                text("one"),
                finished(),
            ],
        ],
        clock=clock,
    )
    call = bench.call()
    await collect(bench.dispatch(call))
    failed, served = call.attempts
    assert failed.latency.ToTimedelta() == timedelta(seconds=0.5)
    assert not failed.HasField("first_event_latency")
    assert served.first_event_latency.ToTimedelta() == timedelta(seconds=0.25)
    assert served.latency.ToTimedelta() == timedelta(seconds=1.25)
    assert call.upstream_seconds == pytest.approx(1.75)


async def test_time_the_caller_takes_is_not_the_providers() -> None:
    clock = StillClock()
    bench = Bench([answer("one", "two")], clock=clock)
    call = bench.call()
    async for _ in bench.dispatch(call):
        clock.move(timedelta(seconds=3.0))
    assert call.upstream_seconds == 0.0


async def test_the_cost_is_of_all_attempts_that_have_one() -> None:
    bench = Bench(
        [[started(), finished(1_000_000, 2_000_000)]],
        prices=[{"input": 3, "output": 5}],
    )
    call = bench.call()
    events = await collect(bench.dispatch(call))
    assert events[-1].finished.cost_nanos == 13
    assert call.attempts[0].cost_nanos == 13
    assert call.attempts[0].usage == Usage(input_tokens=1_000_000, output_tokens=2_000_000)


async def test_without_a_price_there_is_no_cost() -> None:
    bench = Bench([answer("one")])
    events = await collect(bench.dispatch(bench.call()))
    assert not events[-1].finished.HasField("cost_nanos")


async def test_a_price_of_zero_is_a_price() -> None:
    bench = Bench([answer("one")], prices=[{"input": 0, "output": 0}])
    events = await collect(bench.dispatch(bench.call()))
    assert events[-1].finished.HasField("cost_nanos")
    assert events[-1].finished.cost_nanos == 0


async def test_the_models_price_counts_where_the_deployment_has_none() -> None:
    catalogue = catalogue_of(
        PROVIDER, {"name": "models/a", "price": {"input": 1_000_000, "output": 0}}, deployment("d")
    )
    dispatch = Dispatch(
        Planner(catalogue, lambda: 0.5),
        ScriptedAdapter({"deployments/d": answer("one")}),
        clock=StillClock(),
        ids=CountingIds(),
        timeouts=Timeouts(),
    )
    events = await collect(dispatch(call_of(question(), StillClock())))
    assert events[-1].finished.cost_nanos == 3


_BEGINNINGS = st.sampled_from([[], [started()]])
_MIDDLES = st.lists(st.sampled_from([empty_delta(), text("x")]), max_size=3)
_ENDS = st.sampled_from([[], [finished()], [UNAVAILABLE], [failure(_R.ERROR_REASON_INVALID_FIELD)]])
_SCRIPTS = st.lists(st.tuples(_BEGINNINGS, _MIDDLES, _ENDS).map(lambda parts: [*chain(*parts)]), min_size=1, max_size=5)


@given(_SCRIPTS)
def test_whatever_adapters_do_the_stream_keeps_its_grammar(scripts: list[list[Step]]) -> None:
    """One `started`, sequence numbers without gaps, events of one deployment only, every iterator closed."""

    async def run() -> None:
        bench = Bench(scripts)
        call = bench.call()
        events, error = await read(bench.dispatch(call))
        assert kinds(events[:1]) in ([], ["started"])
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        if error is None:
            assert kinds(events)[-1] == "finished"
        assert bench.closed == bench.asked
        assert len(call.attempts) == len(bench.asked) <= 4

    asyncio.run(run())
