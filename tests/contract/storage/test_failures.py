"""Failures: callers hear that the database does not answer, when to come back, and nothing of the driver."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from sqlalchemy import event, text

from llmgateway.v1.admin_resources_pb2 import UsageRecord
from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway.v1.model_service_pb2 import Provider
from llmgateway_server.errors import Unavailable
from llmgateway_server.filters import EVERYTHING
from llmgateway_server.storage import DatabaseRefused, SqlStore, engine, open_store
from llmgateway_server.storage import store as store_module
from llmgateway_server.storage.address import parse_address
from llmgateway_server.storage.engine import open_engines
from tests.support.postgres import Postgres

KEEP_ADDING = """
import asyncio, sys
from llmgateway.v1.admin_resources_pb2 import UsageRecord
from llmgateway.v1.model_service_pb2 import Provider
from llmgateway_server.storage import open_store
async def main():
    store = await open_store(sys.stdin.readline().strip())
    number = 0
    while True:
        number += 1
        async with store.writing() as unit:
            await unit.of(Provider).add(Provider(name=f"providers/{number:05}-a", etag="1"))
            await unit.of(Provider).add(Provider(name=f"providers/{number:05}-b", etag="1"))
            await unit.commit()
        await store.usage_records.append([UsageRecord(name=f"tenants/a/usageRecords/{number:05}")])
        print(number, flush=True)
asyncio.run(main())
"""


def is_unavailable(error: Unavailable) -> bool:
    return (
        error.reason == ErrorReason.ERROR_REASON_STORAGE_UNAVAILABLE
        and error.retryable
        and error.retry_after is not None
        and error.message == "the gateway's database does not answer; try again."
    )


async def add(store: SqlStore, name: str) -> None:
    async with store.writing() as unit:
        await unit.of(Provider).add(Provider(name=name, etag="1"))
        await unit.commit()


async def test_kill_leaves_what_was_committed_and_nothing_half_done(shared_url: str) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KEEP_ADDING, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(shared_url.encode() + b"\n")
    await child.stdin.drain()
    for _ in range(20):
        await child.stdout.readline()
    os.kill(child.pid, signal.SIGKILL)
    said = 20 + len((await child.stdout.read()).split())
    await child.wait()
    store = await open_store(shared_url)
    async with store.reading() as moment:
        found = [item.name async for item in moment.of(Provider).all("")]
    pairs = {name[:-2] for name in found}
    assert len(found) == 2 * len(pairs)
    assert said <= len(pairs) <= said + 1
    records = await store.usage_records.page("tenants/a", "", 1000, EVERYTHING)
    assert said <= len(records.items) <= len(pairs)
    await add(store, "providers/after")
    await store.close()


async def test_a_lock_that_another_process_keeps(shared_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LOCK_SECONDS", 0.1)
    store = await open_store(shared_url)
    other = await open_store(shared_url)
    async with other.writing():
        with pytest.raises(Unavailable) as caught:
            await add(store, "providers/a")
        async with store.reading() as moment:
            assert not (await moment.of(Provider).page("", "", 9, EVERYTHING)).items
    assert is_unavailable(caught.value)
    await add(store, "providers/a")
    await store.close()
    await other.close()


async def test_a_turn_that_never_comes(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "TURN_SECONDS", 0.05)
    async with store.writing():
        with pytest.raises(Unavailable) as caught:
            await add(store, "providers/a")
    assert is_unavailable(caught.value)
    await add(store, "providers/a")


async def test_a_disk_that_is_full(tmp_path: Path) -> None:
    store = await open_store(f"sqlite:///{tmp_path / 'gateway.db'}")
    async with store._engines.writer.connect() as connection:
        pages = (await connection.execute(text("PRAGMA page_count"))).scalar_one()
        await connection.execute(text(f"PRAGMA max_page_count={pages + 2}"))
    with pytest.raises(Unavailable) as caught:
        await store.usage_records.append(
            [UsageRecord(name=f"tenants/a/usageRecords/{number}", request_id="r" * 1000) for number in range(100)]
        )
    assert is_unavailable(caught.value)
    await add(store, "providers/a")
    await store.close()


async def test_a_disk_that_takes_no_writes(tmp_path: Path) -> None:
    store = await open_store(f"sqlite:///{tmp_path / 'gateway.db'}")
    async with store._engines.writer.connect() as connection:
        await connection.execute(text("PRAGMA query_only=ON"))
    with pytest.raises(Unavailable) as caught:
        await add(store, "providers/a")
    assert is_unavailable(caught.value)
    await store.close()


async def test_a_server_that_ends_the_connection(postgres: Postgres) -> None:
    database = postgres.new_database()
    store = await open_store(postgres.url(database))
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
    async with store.writing() as unit:
        await unit.of(Provider).add(Provider(name="providers/a", etag="1"))
        postgres.run(end)
        with pytest.raises(Unavailable) as caught:
            await unit.of(Provider).add(Provider(name="providers/b", etag="1"))
    assert is_unavailable(caught.value)
    postgres.run(end)
    await add(store, "providers/a")
    await store.close()


async def test_a_server_that_takes_no_connections(postgres: Postgres) -> None:
    database = postgres.new_database()
    store = await open_store(postgres.url(database))
    postgres.run(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
    postgres.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")
    for call in (store.revision(), add(store, "providers/a")):
        with pytest.raises(Unavailable) as caught:
            await call
        assert is_unavailable(caught.value)
    postgres.run(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")
    await add(store, "providers/a")
    await store.close()


class TestOpening:
    """What an operator reads when a database cannot be opened."""

    async def test_says_why_and_never_the_password(self, postgres: Postgres) -> None:
        with pytest.raises(DatabaseRefused) as caught:
            await open_store(postgres.guarded_url("hunter2-wrong"))
        assert "password authentication failed" in str(caught.value)
        assert "hunter2" not in str(caught.value)

    async def test_names_a_database_that_is_not_there(self, postgres: Postgres) -> None:
        with pytest.raises(DatabaseRefused, match='database "nowhere" does not exist'):
            await open_store(postgres.url("nowhere"))

    async def test_names_a_server_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(DatabaseRefused, match="cannot open postgresql") as caught:
            await open_store(f"postgresql://user:hunter2@/gateway?host={tmp_path}")
        assert "hunter2" not in str(caught.value)

    async def test_names_a_path_that_cannot_be(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(DatabaseRefused, match="cannot create"):
            await open_store(f"sqlite:///{tmp_path}/file/gateway.db")

    async def test_refuses_a_file_that_is_no_database(self, tmp_path: Path) -> None:
        (tmp_path / "gateway.db").write_text("not a database at all, but long enough to look like one" * 20)
        with pytest.raises(DatabaseRefused, match="file is not a database"):
            await open_store(f"sqlite:///{tmp_path}/gateway.db")


@pytest.mark.parametrize(
    ("text", "driver"),
    [
        ("sqlite://", "sqlite+aiosqlite"),
        ("sqlite:///:memory:", "sqlite+aiosqlite"),
        ("sqlite:////var/lib/gateway.db", "sqlite+aiosqlite"),
        ("sqlite+aiosqlite:///gateway.db", "sqlite+aiosqlite"),
        ("postgresql://u:hunter2@h/d", "postgresql+asyncpg"),
        ("postgres://u:hunter2@h:5432/d?sslmode=require", "postgresql+asyncpg"),
        ("postgresql+asyncpg://u:hunter2@h/d", "postgresql+asyncpg"),
    ],
)
def test_urls_are_taken_as_people_write_them(text: str, driver: str) -> None:
    address = parse_address(text)
    assert address.url.drivername == driver
    assert "hunter2" not in address.text
    assert "hunter2" not in repr(address)
    assert "sslmode" not in address.url.query


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gateway.db",
        "mysql://u:hunter2@h/d",
        "postgresql+psycopg://u:hunter2@h/d",
        "postgresql:///d",
        "postgresql://u:hunter2@h:port/d",
        "sqlite:///a.db?mode=ro",
        "sqlite://host/a.db",
        "://hunter2",
    ],
)
def test_other_urls_are_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(DatabaseRefused) as caught:
        parse_address(text)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_statements_show_no_values(tmp_path: Path) -> None:
    """What a driver says of a failed statement may end in a log."""
    engines = open_engines(parse_address(f"sqlite:///{tmp_path / 'gateway.db'}"))
    shown: list[str] = []
    event.listen(
        engines.writer.sync_engine, "handle_error", lambda context: shown.append(str(context.sqlalchemy_exception))
    )
    async with engines.writer.connect() as connection:
        with pytest.raises(Exception, match="no such table"):
            await connection.execute(text("SELECT :secret FROM nowhere"), {"secret": "hunter2"})
    assert shown
    assert "hunter2" not in shown[0]
    await engines.close()
