"""The follower: reloads on news, outlives a database that is away, and says so once."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server import follower
from llmgateway_server.errors import Unavailable

AWAY = Unavailable(ErrorReason.ERROR_REASON_STORAGE_UNAVAILABLE, "away.")


@dataclass(slots=True)
class Revisions:
    """A store that answers with revisions from a list, and ends the test when they are over."""

    answers: list[int | Exception]
    asked: int = 0
    reloaded: list[int] = field(default_factory=list[int])

    async def revision(self) -> int:
        if self.asked == len(self.answers):
            raise asyncio.CancelledError
        answer = self.answers[self.asked]
        self.asked += 1
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def reload(self) -> None:
        self.reloaded.append(self.asked)


async def follow(revisions: Revisions, reload: Callable[[], Awaitable[None]] | None = None) -> None:
    with pytest.raises(asyncio.CancelledError):
        await follower.follow(cast("Any", revisions), reload or revisions.reload)


@pytest.fixture(autouse=True)
def _without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "INTERVAL", 0.0)


async def test_it_reloads_when_the_revision_changes_and_only_then() -> None:
    revisions = Revisions([1, 1, 2, 2, 2, 5, 5])
    await follow(revisions)
    assert revisions.reloaded == [1, 3, 6]


async def test_it_outlives_a_database_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    revisions = Revisions([1, AWAY, AWAY, AWAY, 1, 2])
    await follow(revisions)
    assert revisions.reloaded == [1, 6]
    assert [record.message for record in caplog.records] == [
        "the catalogue cannot follow the database",
        "the database answers again",
    ]


async def test_a_reload_that_fails_is_tried_again() -> None:
    revisions = Revisions([1, 1, 1])
    tries: list[int] = []

    async def reload() -> None:
        tries.append(revisions.asked)
        if len(tries) < 3:
            raise AWAY

    await follow(revisions, reload)
    assert tries == [1, 2, 3]


async def test_a_bug_is_not_outlived() -> None:
    async def reload() -> None:
        raise RuntimeError("bug")

    with pytest.raises(RuntimeError):
        await follower.follow(cast("Any", Revisions([1])), reload)
