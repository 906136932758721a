"""Units of work: together or not at all, one at a time, whatever happens to those who wait."""

import asyncio
import random
import time
from datetime import UTC, datetime, timedelta

import pytest

from llmgateway.v1.admin_resources_pb2 import AuditEvent
from llmgateway.v1.model_service_pb2 import Provider
from llmgateway_server.errors import AlreadyExists, NotFound
from llmgateway_server.filters import EVERYTHING
from llmgateway_server.ports.storage import CreateRequest
from llmgateway_server.storage import SqlStore, open_store

NOW = datetime(2030, 1, 2, tzinfo=UTC)


async def count(store: SqlStore) -> int:
    """The number in the label of `providers/a`."""
    async with store.reading() as moment:
        return int((await moment.of(Provider).get("providers/a")).labels["count"])


async def increase(store: SqlStore) -> None:
    """Reads, and writes what it read plus one: lost when anybody comes between."""
    async with store.writing() as unit:
        current = await unit.of(Provider).get("providers/a")
        number = int(current.labels["count"])
        grown = Provider(name="providers/a", etag=str(number + 1), labels={"count": str(number + 1)})
        await unit.of(Provider).replace(grown, current.etag)
        await unit.commit()


async def start_count(store: SqlStore) -> None:
    async with store.writing() as unit:
        await unit.of(Provider).add(Provider(name="providers/a", etag="0", labels={"count": "0"}))
        await unit.commit()


async def add_one_and_fail(store: SqlStore) -> None:
    async with store.writing() as unit:
        await unit.of(Provider).add(Provider(name="providers/b", etag="1"))
        await unit.of(Provider).get("providers/nobody")
        await unit.commit()


async def test_what_is_not_committed_never_was(store: SqlStore) -> None:
    async with store.writing() as unit:
        await unit.of(Provider).add(Provider(name="providers/a", etag="1"))
        await unit.audit(AuditEvent(name="tenants/a/auditEvents/1"))
    with pytest.raises(NotFound):
        await add_one_and_fail(store)
    async with store.reading() as moment:
        assert not (await moment.of(Provider).page("", "", 9, EVERYTHING)).items
    assert not (await store.audit_log.page("tenants/-", "", 9, EVERYTHING)).items


async def test_readers_see_one_moment_and_do_not_wait(shared_url: str) -> None:
    store = await open_store(shared_url)
    await start_count(store)
    async with store.reading() as moment:
        before = await moment.of(Provider).get("providers/a")
        await increase(store)
        assert await moment.of(Provider).get("providers/a") == before
    assert await count(store) == 1
    await store.close()


async def test_writers_take_turns(store: SqlStore) -> None:
    await start_count(store)
    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(increase(store))
    assert await count(store) == 20


async def test_writers_of_two_stores_take_turns(shared_url: str) -> None:
    stores = [await open_store(shared_url), await open_store(shared_url)]
    await start_count(stores[0])
    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(increase(stores[number % 2]))
    assert await count(stores[0]) == 20
    for store in stores:
        await store.close()


async def test_the_revision_grows_with_every_change(store: SqlStore) -> None:
    before = await store.revision()
    await start_count(store)
    after = await store.revision()
    assert after > before
    async with store.writing() as unit:
        await unit.commit()
    assert await store.revision() == after


async def test_callbacks_run_once_the_changes_hold(store: SqlStore) -> None:
    heard: list[str] = []
    async with store.writing() as unit:
        unit.after_commit(lambda: heard.append("first"))
        unit.after_commit(lambda: heard.append("second"))
        assert not heard
        await unit.commit()
        assert heard == ["first", "second"]
    async with store.writing() as unit:
        unit.after_commit(lambda: heard.append("never"))
    assert heard == ["first", "second"]


async def test_cancelled_at_any_moment_it_is_whole_or_nothing(store: SqlStore) -> None:
    """No transaction stays open, no connection is lost, and a change that holds was heard of."""
    await start_count(store)
    heard = 0
    chance = random.Random(7)

    async def add(number: int) -> None:
        nonlocal heard
        async with store.writing() as unit:
            await unit.of(Provider).add(Provider(name=f"providers/{number:03}-a", etag="1"))
            await unit.of(Provider).add(Provider(name=f"providers/{number:03}-b", etag="1"))

            def hear() -> None:
                nonlocal heard
                heard += 1

            unit.after_commit(hear)
            await unit.commit()

    began = time.perf_counter()
    await add(999)
    took = time.perf_counter() - began
    cancelled = 0
    for number in range(40):
        task = asyncio.create_task(add(number))
        await asyncio.sleep(chance.uniform(0, took))
        task.cancel()
        await asyncio.wait({task})
        cancelled += task.cancelled()
    assert cancelled > 5
    async with store.reading() as moment:
        found = [item.name async for item in moment.of(Provider).all("")]
    pairs = {name[:-2] for name in found if name != "providers/a"}
    assert len(found) == 2 * len(pairs) + 1
    assert heard == len(pairs)
    await increase(store)
    assert await count(store) == 1


async def test_a_reader_that_is_cancelled_gives_its_connection_back(store: SqlStore) -> None:
    await start_count(store)
    chance = random.Random(7)
    for _ in range(40):
        task = asyncio.create_task(count(store))
        await asyncio.sleep(chance.uniform(0, 0.003))
        task.cancel()
        await asyncio.wait({task})
    counts = await asyncio.gather(*(count(store) for _ in range(12)))
    assert counts == [0] * 12


async def test_a_probe_that_is_cancelled_does_not_wait(store: SqlStore) -> None:
    for _ in range(10):
        task = asyncio.create_task(store.revision())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await store.revision() > 0


class TestCreateRequests:
    """Ids of requests that created something."""

    async def test_are_known_for_a_day(self, store: SqlStore) -> None:
        request = CreateRequest("Provider", "1", b"\0\xff", "providers/a")
        async with store.writing() as unit:
            assert await unit.create_requests.find("Provider", "1") is None
            await unit.create_requests.add(request, NOW)
            await unit.commit()
        async with store.writing() as unit:
            later = CreateRequest("Provider", "2", b"", "providers/b")
            await unit.create_requests.add(later, NOW + timedelta(hours=23))
            assert await unit.create_requests.find("Provider", "1") == request
            assert await unit.create_requests.find("Tenant", "1") is None
            latest = CreateRequest("Provider", "3", b"", "providers/c")
            await unit.create_requests.add(latest, NOW + timedelta(hours=25))
            assert await unit.create_requests.find("Provider", "1") is None
            assert await unit.create_requests.find("Provider", "2") == later


async def test_errors_inside_do_not_end_it(store: SqlStore) -> None:
    async with store.writing() as unit:
        with pytest.raises(NotFound):
            await unit.of(Provider).get("providers/a")
        await unit.of(Provider).add(Provider(name="providers/a", etag="1"))
        with pytest.raises(AlreadyExists):
            await unit.of(Provider).add(Provider(name="providers/a", etag="1"))
        await unit.commit()
    async with store.reading() as moment:
        assert (await moment.of(Provider).get("providers/a")).etag == "1"
