"""How usage records reach the database."""

from collections.abc import Sequence

from llmgateway.v1.admin_resources_pb2 import UsageRecord
from llmgateway_server.filters import Filter
from llmgateway_server.ports.storage import Page
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
        raise NotImplementedError


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
