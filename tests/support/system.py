"""A clock that moves when it is told to, and ids that count: the ports of `ports/system.py`, repeatable."""

from datetime import UTC, datetime, timedelta


class StillClock:
    """Stands still until it is moved."""

    def __init__(self, now: datetime = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)) -> None:
        self._now = now
        self._elapsed = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._elapsed

    def move(self, span: timedelta) -> None:
        self._now += span
        self._elapsed += span.total_seconds()


class CountingIds:
    """Counts. Secrets are the count too, padded with zeros: no two are the same, and none is secret."""

    def __init__(self) -> None:
        self._count = 0

    def new(self) -> str:
        self._count += 1
        return f"id{self._count:08}"

    def secret(self, characters: int) -> str:
        self._count += 1
        return f"{self._count:0{characters}}"
