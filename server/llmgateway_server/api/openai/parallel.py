"""Several calls at the same time, as one: a caller who asks for n answers gets all of them or an error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Generator, Sequence
from contextlib import contextmanager
from typing import Any, TypeGuard

from llmgateway.v1.chat_service_pb2 import ChatEvent, ChatResponse
from llmgateway_server.errors import GatewayError
from llmgateway_server.pipeline.closing import closing

_AHEAD = 16
"""How many events may wait for a slow reader."""


async def together(answers: Sequence[Coroutine[Any, Any, ChatResponse]]) -> list[ChatResponse]:
    """Runs calls at the same time. When one fails, the others are cancelled and its error is raised."""
    if len(answers) == 1:
        return [await answers[0]]
    with _ungrouped():
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(answer) for answer in answers]
    return [task.result() for task in tasks]


async def interleave(streams: Sequence[AsyncIterator[ChatEvent]]) -> AsyncGenerator[tuple[int, ChatEvent]]:
    """The events of several streams as they come, each with the number of its stream. The first failure ends all."""
    if len(streams) == 1:
        async with closing(streams[0]) as events:
            async for event in events:
                yield 0, event
        return
    # The queue has no limit of its own, so that the end can be told even where nobody reads any more.
    queue: asyncio.Queue[tuple[int, ChatEvent] | None] = asyncio.Queue()
    room = asyncio.Semaphore(_AHEAD)

    async def read(index: int, stream: AsyncIterator[ChatEvent]) -> None:
        async with closing(stream) as events:
            async for event in events:
                await room.acquire()
                queue.put_nowait((index, event))

    async def read_all() -> None:
        async with asyncio.TaskGroup() as group:
            for index, stream in enumerate(streams):
                group.create_task(read(index, stream))

    reading = asyncio.create_task(read_all())
    reading.add_done_callback(lambda _: queue.put_nowait(None))
    try:
        while (item := await queue.get()) is not None:
            room.release()
            yield item
        with _ungrouped():
            await reading
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


@contextmanager
def _ungrouped() -> Generator[None]:
    """Raises the first of several `GatewayError` as it is. A group that holds anything else stays a group.

    `except*` would say it in a line, but before Python 3.11.4 what is raised inside it comes out in a group again.
    """
    try:
        yield
    except BaseExceptionGroup as failures:
        if not _all_ours(failures):
            raise
        raise _first(failures) from failures


def _all_ours(failures: BaseExceptionGroup[BaseException]) -> TypeGuard[BaseExceptionGroup[GatewayError]]:
    return failures.split(GatewayError)[1] is None


def _first(failures: BaseExceptionGroup[GatewayError]) -> GatewayError:
    failure: BaseException = failures
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    assert isinstance(failure, GatewayError)  # noqa: S101 - `_all_ours` let nothing else in
    return failure
