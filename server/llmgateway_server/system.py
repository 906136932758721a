"""The machine's own clock and sources of randomness."""

from __future__ import annotations

import os
import secrets
import string
import time
from datetime import UTC, datetime

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class SystemIds:
    """Ids of 32 hexadecimal digits: 48 bits of milliseconds, then 80 random ones.

    Within a millisecond the random part counts up, so that the ids of one process stay in order.
    """

    def __init__(self) -> None:
        self._last_millis = 0
        self._random = 0

    def new(self) -> str:
        millis = time.time_ns() // 1_000_000
        if millis > self._last_millis:
            self._last_millis = millis
            self._random = int.from_bytes(os.urandom(10), "big") >> 1
        else:
            self._random += 1
        return f"{self._last_millis:012x}{self._random:020x}"

    def secret(self, characters: int) -> str:
        return "".join(secrets.choice(_BASE62) for _ in range(characters))
