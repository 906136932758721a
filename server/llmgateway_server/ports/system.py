"""Time and identity, so that rules can be tested with a clock that stands still and ids that repeat."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time. Both methods may be called from any task and never wait."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC. It may step; never measure a span with it."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment. Never goes back; the same base as the event loop's clock."""
        ...


class Ids(Protocol):
    """Makes identifiers."""

    def new(self) -> str:
        """A unique id of lower-case letters and digits; later ids sort after earlier ones of this process."""
        ...

    def secret(self, characters: int) -> str:
        """A text of base62 characters from a cryptographic source."""
        ...
