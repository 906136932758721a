"""The engines that the storage suite runs on."""

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
from sqlalchemy import text

from llmgateway_server.storage import SqlStore, open_store
from llmgateway_server.storage.schema import metadata
from tests.support.postgres import Postgres, find_postgres, running_postgres

ENGINES = ("memory", "file", "postgresql")


@pytest.fixture(scope="session")
def postgres() -> Generator[Postgres]:
    binaries = find_postgres()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed: no initdb in PATH or /usr/lib/postgresql/*/bin")
    with running_postgres(binaries) as server:
        yield server


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, on each engine in turn."""
    return new_url(request, tmp_path)


@pytest.fixture(params=[engine for engine in ENGINES if engine != "memory"])
def shared_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database that several processes can open."""
    return new_url(request, tmp_path)


def new_url(request: pytest.FixtureRequest, folder: Path) -> str:
    if request.param == "memory":
        return "sqlite://"
    if request.param == "file":
        return f"sqlite:///{folder / 'gateway.db'}"
    return str(request.getfixturevalue("emptied_url"))


@pytest.fixture(scope="session")
def kept_url(postgres: Postgres) -> str:
    """The URL of a database that outlives a test: making one takes longer than most tests."""
    return postgres.url(postgres.new_database())


@pytest.fixture(scope="session")
def scratch_database(postgres: Postgres) -> str:
    return postgres.new_database()


@pytest.fixture
def emptied_url(postgres: Postgres, scratch_database: str) -> str:
    """The URL of a database without any tables."""
    postgres.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public", database=scratch_database)
    return postgres.url(scratch_database)


@pytest.fixture(params=ENGINES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[SqlStore]:
    """An empty store, on each engine in turn."""
    if request.param == "postgresql":
        opened = await open_store(request.getfixturevalue("kept_url"))
        async with opened._engines.writer.begin() as connection:
            tables = ", ".join(table for table in metadata.tables if table != "store_state")
            await connection.execute(text(f"TRUNCATE {tables}"))
    else:
        opened = await open_store("sqlite://" if request.param == "memory" else f"sqlite:///{tmp_path / 'store.db'}")
    yield opened
    await opened.close()
