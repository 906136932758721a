"""Migrations: forward only, once, and never at the price of data."""

import asyncio
import re
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, delete, text

from llmgateway.v1.model_service_pb2 import Deployment
from llmgateway_server.filters import where
from llmgateway_server.storage import DatabaseRefused, SqlStore, indexes, open_store
from llmgateway_server.storage.address import parse_address
from llmgateway_server.storage.engine import open_engines
from llmgateway_server.storage.migrate import MIGRATIONS, migrate
from llmgateway_server.storage.schema import metadata, resource_values, store_state

OPEN = """
import asyncio, sys
from llmgateway_server.storage import open_store
async def main():
    store = await open_store(sys.stdin.readline().strip())
    print(await store.revision())
    await store.close()
asyncio.run(main())
"""

LATER = """
from alembic import op
import sqlalchemy as sa
revision = "{revision}"
down_revision = "{before}"
drops_data = {drops_data}
def upgrade():
    op.{operation}
"""


async def test_leave_the_schema_that_the_code_expects(url: str) -> None:
    engines = open_engines(parse_address(url))

    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata))

    async with engines.writer.begin() as connection:
        await migrate(connection)
        assert await connection.run_sync(differences) == []
    await engines.close()


async def test_run_once_however_many_processes_start(shared_url: str) -> None:
    starts = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", OPEN, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        for _ in range(3)
    ]
    answers = await asyncio.gather(*(start.communicate(shared_url.encode()) for start in starts))
    assert [start.returncode for start in starts] == [0, 0, 0]
    assert [answer for answer, _ in answers] == [b"1\n"] * 3


async def test_refuse_a_schema_that_they_do_not_know(shared_url: str) -> None:
    await (await open_store(shared_url)).close()
    engines = open_engines(parse_address(shared_url))
    async with engines.writer.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await engines.close()
    with pytest.raises(DatabaseRefused, match=r"schema '9999', which this version does not know"):
        await open_store(shared_url)


def scripts_with(folder: Path, *later: tuple[str, str, bool]) -> Path:
    """A copy of the migrations with more of them: the operation, the revision, whether data is dropped."""
    (folder / "versions").mkdir(parents=True)
    for name in ("env.py", *(f"versions/{path.name}" for path in (MIGRATIONS / "versions").glob("*.py"))):
        (folder / name).write_text((MIGRATIONS / name).read_text(encoding="utf-8"), encoding="utf-8")
    before = "0001"
    for operation, revision, drops_data in later:
        script = LATER.format(operation=operation, revision=revision, before=before, drops_data=drops_data)
        (folder / "versions" / f"{revision}_later.py").write_text(script, encoding="utf-8")
        before = revision
    return folder


async def test_that_drop_data_ask_first_and_leave_everything_as_it_was(shared_url: str, tmp_path: Path) -> None:
    await (await open_store(shared_url)).close()
    scripts = scripts_with(
        tmp_path / "scripts",
        ('add_column("store_state", sa.Column("more", sa.Integer))', "8001", False),
        ('drop_table("usage_records")', "8002", True),
    )
    engines = open_engines(parse_address(shared_url))
    with pytest.raises(DatabaseRefused, match="'8002' drops data"):
        async with engines.writer.begin() as connection:
            await migrate(connection, scripts=scripts)
    async with engines.writer.connect() as connection:
        version = await connection.execute(text("SELECT version_num FROM alembic_version"))
        assert version.scalar_one() == "0001"
    async with engines.writer.begin() as connection:
        await migrate(connection, scripts=scripts, allow_data_loss=True)
        version = await connection.execute(text("SELECT version_num FROM alembic_version"))
        assert version.scalar_one() == "8002"
    await engines.close()


async def test_that_fail_halfway_change_nothing(shared_url: str, tmp_path: Path) -> None:
    await (await open_store(shared_url)).close()
    scripts = scripts_with(
        tmp_path / "scripts",
        ('add_column("store_state", sa.Column("more", sa.Integer))', "8001", False),
        ('execute("SELECT nothing FROM nowhere")', "8002", False),
    )
    engines = open_engines(parse_address(shared_url))
    with pytest.raises(Exception, match="nowhere"):
        async with engines.writer.begin() as connection:
            await migrate(connection, scripts=scripts)
    async with engines.writer.connect() as connection:
        version = await connection.execute(text("SELECT version_num FROM alembic_version"))
        assert version.scalar_one() == "0001"
    await engines.close()
    await (await open_store(shared_url)).close()


async def test_indexes_that_changed_are_filled_anew(shared_url: str) -> None:
    store = await open_store(shared_url)
    async with store.writing() as unit:
        await unit.of(Deployment).add(Deployment(name="deployments/a", etag="1", provider="providers/p"))
        await unit.commit()
    await store.close()
    engines = open_engines(parse_address(shared_url))
    async with engines.writer.begin() as connection:
        await connection.execute(delete(resource_values))
        await connection.execute(store_state.update().values(indexes="Deployment.region"))
    await engines.close()
    store = await open_store(shared_url)
    assert await found_at(store, "providers/p") == ["deployments/a"]
    await store.close()
    assert "Deployment.provider" in indexes.signature()


async def found_at(store: SqlStore, provider: str) -> list[str]:
    async with store.reading() as moment:
        page = await moment.of(Deployment).page("", "", 9, where(Deployment, "provider", provider))
    return [item.name for item in page.items]


def test_that_drop_something_say_so() -> None:
    for script in (MIGRATIONS / "versions").glob("*.py"):
        source = script.read_text(encoding="utf-8")
        if re.search(r"op\.drop_(table|column)|DELETE|DROP", source):
            assert "drops_data = True" in source, script.name
        assert "def downgrade" not in source, script.name


async def test_a_file_is_made_for_nobody_else_to_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "gateway.db"
    store = await open_store(f"sqlite:///{path}")
    assert oct(path.stat().st_mode & 0o777) == "0o600"
    await store.close()
