"""Carries usage records from the hot path to the database, many at a time."""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from llmgateway.v1.admin_resources_pb2 import UsageRecord
from llmgateway_server.errors import GatewayError
from llmgateway_server.ports.storage import UsageRecords

_log = logging.getLogger(__name__)

INTERVAL = 0.25
"""How long records gather before they are written, in seconds. A write costs the same for one as for hundreds."""

BATCH = 500
"""Most records of one write."""

MAX_WAITING = 200_000
"""Most records that wait while the database is away. Beyond it the oldest is lost, and the log says so."""


class UsageWriter:
    """A `UsageSink`. Run `run` beside the server, then `close` it: what waits is written before it returns."""

    def __init__(self, records: UsageRecords) -> None:
        self._records = records
        self._waiting: deque[UsageRecord] = deque()
        self._closing = asyncio.Event()
        self._lost = 0

    def record(self, record: UsageRecord) -> None:
        """Takes a record and returns at once."""
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            self._lost += 1
        self._waiting.append(record)

    async def run(self) -> None:
        """Writes what comes until `close`; keeps what the database does not take, and tries again."""
        while not self._closing.is_set():
            try:
                async with asyncio.timeout(INTERVAL):
                    await self._closing.wait()
            except TimeoutError:
                await self._write()

    async def close(self) -> None:
        """Writes what waits. What cannot be written is counted in the log."""
        self._closing.set()
        await self._write()
        if self._waiting:
            _log.error("usage records were not written", extra={"records": len(self._waiting)})

    async def _write(self) -> None:
        if self._lost:
            _log.error("usage records were lost while the database was away", extra={"records": self._lost})
            self._lost = 0
        # What comes during a write waits for the next interval: writing it at once would make many small writes, and
        # a write costs a millisecond however little it holds.
        left = len(self._waiting)
        while left:
            # Taken out while it is written, so that an overflow meanwhile cannot touch it.
            batch = [self._waiting.popleft() for _ in range(min(BATCH, left))]
            try:
                await self._records.append(batch)
            except BaseException as error:
                self._waiting.extendleft(reversed(batch))
                if not isinstance(error, GatewayError):
                    raise
                _log.warning("usage records wait for the database", extra={"reason": error.reason_name})
                return
            left = min(left - len(batch), len(self._waiting))
