"""The machine's own clock and sources of randomness."""

from __future__ import annotations

import os
import secrets
import string
import time
from datetime import UTC, datetime

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class SystemIds:
    """Ids of 26 characters: 50 bits of milliseconds and counter order, then randomness.

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
        value = (self._last_millis << 80) | self._random
        characters: list[str] = []
        for _ in range(26):
            value, digit = divmod(value, 32)
            characters.append(_BASE32[digit])
        return "".join(reversed(characters))

    def secret(self, characters: int) -> str:
        return "".join(secrets.choice(_BASE62) for _ in range(characters))
