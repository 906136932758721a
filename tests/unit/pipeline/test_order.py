"""The order of the stages: one list, and the pairs in it that matter."""

from collections.abc import AsyncIterator

from llmgateway.v1.chat_service_pb2 import ChatEvent
from llmgateway_server.pipeline import STAGES, Handler, Stage, build
from llmgateway_server.pipeline.call import Call
from tests.support.calls import call_of, collect, question
from tests.support.doubles import started
from tests.support.system import StillClock

MUST_COME_BEFORE = (("meter", "authorize"), ("authorize", "validate"))


def test_the_meter_is_outermost() -> None:
    assert STAGES[0] == "meter"


def test_pairs_that_matter_keep_their_order() -> None:
    for outer, inner in MUST_COME_BEFORE:
        assert STAGES.index(outer) < STAGES.index(inner), (outer, inner)


def test_no_stage_comes_twice() -> None:
    assert len(set(STAGES)) == len(STAGES)


async def test_stages_wrap_dispatch_in_the_order_of_the_list() -> None:
    seen: list[str] = []

    def noting(name: str) -> Stage:
        async def stage(call: Call, next_handler: Handler, /) -> AsyncIterator[ChatEvent]:
            seen.append(f"{name} in")
            async for event in next_handler(call):
                yield event
            seen.append(f"{name} out")

        return stage

    async def dispatch(call: Call) -> AsyncIterator[ChatEvent]:
        seen.append("dispatch")
        yield started()

    handler = build({name: noting(name) for name in STAGES}, dispatch)
    await collect(handler(call_of(question(), StillClock())))

    inward, outward = [f"{name} in" for name in STAGES], [f"{name} out" for name in reversed(STAGES)]
    assert seen == [*inward, "dispatch", *outward]


async def test_a_handler_serves_many_calls() -> None:
    async def dispatch(call: Call) -> AsyncIterator[ChatEvent]:
        yield started(request_id=call.request.model)

    def passing(call: Call, next_handler: Handler, /) -> AsyncIterator[ChatEvent]:
        return next_handler(call)

    handler = build(dict.fromkeys(STAGES, passing), dispatch)
    models = ["models/a", "models/b"]
    for model in models:
        (event,) = await collect(handler(call_of(question(model=model), StillClock())))
        assert event.started.request_id == model


def test_another_order_can_be_asked_for() -> None:
    calls: list[str] = []

    def stage_of(name: str) -> Stage:
        def stage(call: Call, next_handler: Handler, /) -> AsyncIterator[ChatEvent]:
            calls.append(name)
            return next_handler(call)

        return stage

    async def dispatch(call: Call) -> AsyncIterator[ChatEvent]:
        yield started()

    handler = build({name: stage_of(name) for name in ("one", "two")}, dispatch, order=("two", "one"))
    handler(call_of(question(), StillClock()))
    assert calls == ["two", "one"]
