"""Brings a database to the newest schema, at start, while everybody else who starts waits."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from llmgateway_server.storage.address import DatabaseRefused

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection

    from llmgateway_server.storage.address import Address

MIGRATIONS: Final = Path(__file__).parent / "migrations"
"""The folder of the migrations. They only go forward; one that drops data says `drops_data = True`."""

START_SECONDS: Final = 120
"""How long a start waits for another one that migrates the same database."""

_LOCK_KEY: Final = 0x6C67772D6D696772
"""PostgreSQL's advisory lock of those who migrate; the number has no meaning."""

_POLL_SECONDS: Final = 0.05

_logger = logging.getLogger(__name__)


@asynccontextmanager
async def starting(address: Address) -> AsyncGenerator[None]:
    """Holds the start of a SQLite database alone, among all processes of the machine.

    A lock on a file beside the database, which dies with its process. SQLite's own locks do not do: of eight processes
    that switched a new file to WAL mode together, one in eighty was told at once that it is locked, whatever the busy
    timeout (SQLite 3.40).
    """
    if address.file is None:
        yield
        return
    descriptor = os.open(f"{address.file}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        await _lock(descriptor, address)
        yield
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Migration:
    """What was done to a schema, by the names of its revisions. Nothing, when they are the same."""

    before: str | None
    """None in a database that was empty."""
    after: str


async def migrate(
    connection: AsyncConnection, *, allow_data_loss: bool = False, scripts: Path = MIGRATIONS
) -> Migration:
    """Runs the missing migrations in the connection's transaction, which the caller began and commits.

    Raises `DatabaseRefused`, and leaves everything as it was, when the schema is one that this version does not know,
    or when a missing migration drops data and that was not allowed.
    """
    if connection.dialect.name == "postgresql":
        await connection.execute(text(f"SET LOCAL lock_timeout = '{START_SECONDS}s'"))
        await connection.execute(text("SET LOCAL statement_timeout = 0"))
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK_KEY})"))
    return await connection.run_sync(_migrate, scripts, allow_data_loss)


def _migrate(connection: Connection, scripts: Path, allow_data_loss: bool) -> Migration:  # noqa: FBT001 - run_sync passes by position
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    directory = ScriptDirectory.from_config(config)
    known = {script.revision: script for script in directory.walk_revisions()}
    present = MigrationContext.configure(connection).get_current_revision()
    if present is not None and present not in known:
        raise DatabaseRefused(
            f"the database has schema {present!r}, which this version does not know; "
            "run the version that made it, or a newer one."
        )
    missing = [script for script in directory.iterate_revisions("head", present) if script.revision != present]
    losing = [script.revision for script in missing if getattr(script.module, "drops_data", False)]
    if losing and not allow_data_loss:
        raise DatabaseRefused(
            f"migration {losing[-1]!r} drops data; make a backup, then run `llm-gateway migrate --allow-data-loss`."
        )
    if not missing:
        return Migration(before=present, after=present or "")
    newest = missing[0].revision
    _logger.info("storage.migrating", extra={"from": present, "to": newest})
    command.upgrade(config, "head")
    return Migration(before=present, after=newest)


async def _lock(descriptor: int, address: Address) -> None:
    try:
        async with asyncio.timeout(START_SECONDS):
            while not _locked(descriptor):  # noqa: ASYNC110 - another process cannot set an event of ours
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError as error:
        raise DatabaseRefused(f"another process has been starting on {address.text} for too long; end it.") from error


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
