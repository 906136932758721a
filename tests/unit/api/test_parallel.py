"""Several calls as one: all of them or an error, and nothing left behind either way."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import pytest

from llmgateway.v1.chat_service_pb2 import ChatEvent, ChatResponse
from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server.api.openai.parallel import interleave, together
from llmgateway_server.errors import GatewayError, Unavailable
from tests.support.doubles import text

BUSY = Unavailable(ErrorReason.ERROR_REASON_PROVIDER_UNAVAILABLE, "busy.")
OTHER = Unavailable(ErrorReason.ERROR_REASON_STREAM_BROKEN, "broken.")


@pytest.fixture(autouse=True)
async def _no_task_is_left() -> AsyncIterator[None]:
    yield
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert left == []


class Streams:
    """Streams that note when they are closed."""

    def __init__(self) -> None:
        self.closed: list[str] = []

    async def of(
        self, name: str, *steps: str | Exception | Callable[[], Awaitable[object]]
    ) -> AsyncIterator[ChatEvent]:
        try:
            for step in steps:
                if isinstance(step, str):
                    yield text(step)
                elif isinstance(step, Exception):
                    raise step
                else:
                    await step()
        finally:
            self.closed.append(name)

    async def endless(self, name: str) -> AsyncIterator[ChatEvent]:
        try:
            while True:
                yield text(name)
        finally:
            self.closed.append(name)


async def never() -> None:
    await asyncio.Event().wait()


async def read(streams: list[AsyncIterator[ChatEvent]], most: int = 1000) -> list[tuple[int, str]]:
    """What comes, up to a number of events, after which the reader goes away."""
    seen: list[tuple[int, str]] = []
    async with asyncio.timeout(2.0), aclosing(interleave(streams)) as events:
        async for index, event in events:
            seen.append((index, event.part_delta.text))
            if len(seen) == most:
                break
    return seen


async def test_one_stream_passes_through() -> None:
    streams = Streams()
    assert await read([streams.of("a", "1", "2")]) == [(0, "1"), (0, "2")]
    assert streams.closed == ["a"]


async def test_each_stream_keeps_its_order() -> None:
    streams = Streams()
    seen = await read([streams.of("a", "1", "2", "3"), streams.of("b", "4", "5"), streams.of("c")])
    assert [words for index, words in seen if index == 0] == ["1", "2", "3"]
    assert [words for index, words in seen if index == 1] == ["4", "5"]
    assert sorted(streams.closed) == ["a", "b", "c"]


async def test_streams_run_at_the_same_time() -> None:
    streams, first, second = Streams(), asyncio.Event(), asyncio.Event()

    async def meet(mine: asyncio.Event, other: asyncio.Event) -> None:
        mine.set()
        await other.wait()

    seen = await read(
        [streams.of("a", lambda: meet(first, second), "1"), streams.of("b", lambda: meet(second, first), "2")]
    )
    assert len(seen) == 2


@pytest.mark.parametrize("before", [0, 1, 5])
async def test_a_failure_ends_all_and_is_raised_as_it_is(before: int) -> None:
    streams = Streams()
    with pytest.raises(GatewayError) as failure:
        await read([streams.of("a", *["x"] * before, BUSY), streams.of("b", "y", never), streams.of("c", never)])
    assert failure.value is BUSY
    assert sorted(streams.closed) == ["a", "b", "c"]


async def test_what_came_before_a_failure_is_read_first() -> None:
    streams = Streams()
    async with aclosing(interleave([streams.of("a", "1", "2", BUSY), streams.of("b", never)])) as events:
        assert [(await anext(events))[1].part_delta.text for _ in range(2)] == ["1", "2"]
        with pytest.raises(GatewayError):
            await anext(events)


async def test_of_several_failures_one_is_raised() -> None:
    streams = Streams()
    with pytest.raises(GatewayError) as failure:
        await read([streams.of("a", BUSY), streams.of("b", OTHER)])
    assert failure.value in (BUSY, OTHER)


async def test_a_bug_is_not_taken_for_a_failure() -> None:
    streams = Streams()
    with pytest.raises(ExceptionGroup) as failure:
        await read([streams.of("a", RuntimeError("bug")), streams.of("b", never)])
    assert isinstance(failure.value.exceptions[0], RuntimeError)
    assert sorted(streams.closed) == ["a", "b"]


@pytest.mark.parametrize("most", [1, 2, 40])
@pytest.mark.parametrize("count", [1, 2, 8])
async def test_a_reader_who_goes_away_closes_all(most: int, count: int) -> None:
    """Also where as much waits for him as may wait."""
    streams = Streams()
    names = [f"s{number}" for number in range(count)]
    await read([streams.endless(name) for name in names], most)
    assert set(streams.closed) <= set(names)
    assert streams.closed


async def test_a_slow_reader_is_waited_for() -> None:
    sent = 0

    async def counting() -> AsyncIterator[ChatEvent]:
        nonlocal sent
        while True:
            sent += 1
            yield text("x")

    async with aclosing(interleave([counting(), counting()])) as events:
        await anext(events)
        for _ in range(100):
            await asyncio.sleep(0)
        assert sent < 40


async def test_a_cancelled_reader_closes_all() -> None:
    streams, reached = Streams(), asyncio.Event()

    async def signal() -> None:
        reached.set()
        await never()

    task = asyncio.create_task(read([streams.of("a", "1", signal), streams.of("b", never)]))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(streams.closed) == ["a", "b"]


async def answer_of(name: str, before: Awaitable[object] | None = None) -> ChatResponse:
    if before is not None:
        await before
    return ChatResponse(response_id=name)


async def test_answers_come_in_the_order_of_the_calls() -> None:
    first = asyncio.Event()

    async def last() -> ChatResponse:
        first.set()
        return ChatResponse(response_id="b")

    answers = await together([answer_of("a", first.wait()), last()])
    assert [answer.response_id for answer in answers] == ["a", "b"]


async def test_one_answer_needs_no_company() -> None:
    (answer,) = await together([answer_of("a")])
    assert answer.response_id == "a"


@pytest.mark.parametrize("count", [1, 2, 8])
async def test_when_one_call_fails_the_others_are_cancelled(count: int) -> None:
    cancelled: list[str] = []

    async def waiting(name: str) -> ChatResponse:
        try:
            await never()
        except asyncio.CancelledError:
            cancelled.append(name)
            raise
        return ChatResponse()

    async def failing() -> ChatResponse:
        raise BUSY

    others = [waiting(str(number)) for number in range(count - 1)]
    with pytest.raises(GatewayError) as failure:
        async with asyncio.timeout(2.0):
            await together([*others, failing()])
    assert failure.value is BUSY
    assert len(cancelled) == count - 1


async def test_a_bug_in_one_call_is_not_taken_for_a_failure() -> None:
    async def buggy() -> ChatResponse:
        raise RuntimeError("bug")

    with pytest.raises(ExceptionGroup):
        await together([answer_of("a"), buggy()])
