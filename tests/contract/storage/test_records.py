"""Records: added once, read newest first."""

from collections.abc import Sequence
from itertools import chain

import pytest

from llmgateway.v1.admin_resources_pb2 import AuditEvent, UsageRecord
from llmgateway.v1.content_pb2 import FinishReason, Usage
from llmgateway_server.errors import InvalidArgument
from llmgateway_server.filters import EVERYTHING, parse_filter
from llmgateway_server.storage import SqlStore, records


def usage(number: int, *, tenant: str = "a", seconds: int | None = None, key: str = "k") -> UsageRecord:
    record = UsageRecord(
        name=f"tenants/{tenant}/usageRecords/{number:05}",
        request_id=f"r{number}",
        api_key=f"tenants/{tenant}/apiKeys/{key}",
        requested="models/fake/echo",
        finish_reason=FinishReason.FINISH_REASON_STOP,
        usage=Usage(input_tokens=number, output_tokens=2),
        cost_nanos=2**62,
    )
    record.create_time.FromSeconds(1_700_000_000 + (number if seconds is None else seconds))
    return record


async def read(store: SqlStore, *, size: int, tenant: str = "tenants/a", text: str = "") -> list[list[str]]:
    """The ids on each page of a tenant's records."""
    pages: list[list[str]] = []
    after = ""
    filtered = parse_filter(text, UsageRecord)
    while True:
        page = await store.usage_records.page(tenant, after, size, filtered)
        pages.append([item.name.rpartition("/")[2] for item in page.items])
        after = page.next_token
        if not after:
            return pages


def ids(numbers: Sequence[int]) -> list[str]:
    return [f"{number:05}" for number in numbers]


async def test_come_back_as_they_were_kept(store: SqlStore) -> None:
    records_kept = [usage(2), usage(1)]
    await store.usage_records.append(records_kept)
    page = await store.usage_records.page("tenants/a", "", 9, EVERYTHING)
    assert page.items == records_kept


async def test_are_added_once_however_often_they_come(store: SqlStore) -> None:
    await store.usage_records.append([usage(1), usage(2)])
    changed = usage(2)
    changed.request_id = "other"
    await store.usage_records.append([changed, usage(3), usage(3)])
    await store.usage_records.append([])
    page = await store.usage_records.page("tenants/a", "", 9, EVERYTHING)
    assert [item.request_id for item in page.items] == ["r3", "r2", "r1"]


async def test_come_newest_first_and_by_name_within_a_moment(store: SqlStore) -> None:
    await store.usage_records.append([usage(1), usage(3), usage(2), usage(9, seconds=2), usage(8, seconds=2)])
    assert await read(store, size=2) == [ids([3, 9]), ids([8, 2]), ids([1])]


async def test_pages_stand_still_while_newer_ones_come(store: SqlStore) -> None:
    await store.usage_records.append([usage(number) for number in range(4)])
    first = await store.usage_records.page("tenants/a", "", 2, EVERYTHING)
    await store.usage_records.append([usage(number) for number in range(4, 8)])
    second = await store.usage_records.page("tenants/a", first.next_token, 2, EVERYTHING)
    assert [item.request_id for item in second.items] == ["r1", "r0"]
    assert not second.next_token


async def test_belong_to_a_tenant(store: SqlStore) -> None:
    await store.usage_records.append([usage(1), usage(2, tenant="b"), usage(3, tenant="a-b")])
    assert await read(store, size=9) == [ids([1])]
    assert await read(store, size=9, tenant="tenants/-") == [ids([3, 2, 1])]


FILTERS = {
    'api_key = "tenants/a/apiKeys/k"': [4, 2, 0],
    'api_key != "tenants/a/apiKeys/k"': [5, 3, 1],
    'create_time >= "2023-11-14T22:13:22Z" AND create_time < "2023-11-14T22:13:24Z"': [3, 2],
    'create_time > "2023-11-14T22:13:24Z"': [5],
    "usage.input_tokens > 3": [5, 4],
    "finish_reason = FINISH_REASON_STOP AND request_id = r2": [2],
    'requested : "echo" AND usage.input_tokens <= 1': [1, 0],
    'request_id = "nobody"': [],
}


async def test_are_filtered(store: SqlStore) -> None:
    await store.usage_records.append([usage(number, key="kl"[number % 2]) for number in range(6)])
    found = {text: list(chain.from_iterable(await read(store, size=2, text=text))) for text in FILTERS}
    assert found == {text: ids(numbers) for text, numbers in FILTERS.items()}


async def test_a_filter_that_wants_little_ends_a_page_early(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_CHUNK", 10)
    monkeypatch.setattr(records, "_MAX_SCANNED", 20)
    await store.usage_records.append([usage(number) for number in range(50)])
    pages = await read(store, size=5, text="usage.input_tokens = 3")
    assert pages == [[], [], ids([3])]


async def test_tokens_belong_to_one_list(store: SqlStore) -> None:
    await store.usage_records.append([usage(1), usage(2)])
    token = (await store.usage_records.page("tenants/a", "", 1, EVERYTHING)).next_token
    with pytest.raises(InvalidArgument) as caught:
        await store.usage_records.page("tenants/b", token, 1, EVERYTHING)
    assert caught.value.field == "page_token"
    with pytest.raises(InvalidArgument):
        await store.audit_log.page("tenants/a", token, 1, EVERYTHING)


async def test_audit_events_hold_with_their_unit_of_work(store: SqlStore) -> None:
    events = [AuditEvent(name=f"tenants/a/auditEvents/{number}", actor="system") for number in range(3)]
    for number, event in enumerate(events):
        event.create_time.FromSeconds(number)
        async with store.writing() as unit:
            await unit.audit(event)
            if number:
                await unit.commit()
    page = await store.audit_log.page("tenants/a", "", 9, parse_filter("actor = system", AuditEvent))
    assert page.items == [events[2], events[1]]
