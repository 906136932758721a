"""How usage records reach the database."""

from collections.abc import Sequence

import pytest

from llmgateway.v1.admin_resources_pb2 import UsageRecord
from llmgateway_server.filters import Filter
from llmgateway_server.ports.storage import Page
from llmgateway_server.storage import usage_writer
from llmgateway_server.storage.usage_writer import BATCH, UsageWriter


class BusyLedger:
    """A ledger that another call is metered into whenever it writes, as happens under load."""

    def __init__(self) -> None:
        self.writer = UsageWriter(self)
        self.batches: list[int] = []

    async def append(self, records: Sequence[UsageRecord]) -> None:
        self.batches.append(len(records))
        self.writer.record(UsageRecord())

    async def page(self, tenant: str, after: str, size: int, filter: Filter) -> Page[UsageRecord]:  # noqa: A002
        raise AssertionError("nobody reads this ledger")


async def test_records_that_come_during_a_write_wait_for_the_next_one() -> None:
    ledger = BusyLedger()
    for _ in range(3):
        ledger.writer.record(UsageRecord())
    await ledger.writer._write()
    assert ledger.batches == [3]
    await ledger.writer._write()
    assert ledger.batches == [3, 1]


async def test_many_records_are_written_in_batches() -> None:
    ledger = BusyLedger()
    for _ in range(2 * BATCH + 1):
        ledger.writer.record(UsageRecord())
    await ledger.writer._write()
    assert ledger.batches == [BATCH, BATCH, 1]


class FullLedger(BusyLedger):
    """A ledger during whose writes more comes than may wait."""

    def __init__(self, coming: int) -> None:
        super().__init__()
        self.written: list[str] = []
        self._coming = coming

    async def append(self, records: Sequence[UsageRecord]) -> None:
        self.written += [record.name for record in records]
        for number in range(self._coming):
            self.writer.record(UsageRecord(name=f"later-{number}"))
        self._coming = 0


async def test_an_overflow_during_a_write_costs_only_the_oldest_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_writer, "MAX_WAITING", 3)
    ledger = FullLedger(coming=4)
    for number in range(3):
        ledger.writer.record(UsageRecord(name=f"early-{number}"))
    await ledger.writer._write()
    await ledger.writer._write()
    assert ledger.written == ["early-0", "early-1", "early-2", "later-1", "later-2", "later-3"]
