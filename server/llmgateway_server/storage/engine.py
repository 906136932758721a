"""SQLAlchemy engines, set up so that writers wait for each other instead of failing."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import event
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import StaticPool

from llmgateway_server.storage.address import DatabaseRefused

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncEngine

    from llmgateway_server.storage.address import Address

LOCK_SECONDS: Final = 5
"""How long a statement waits for another process's transaction."""

STATEMENT_SECONDS: Final = 10
"""How long a PostgreSQL statement may take."""

CONNECT_SECONDS: Final = 5
"""How long a connection may take: to be made, or to come free."""

_READERS: Final = 4
"""Connections to a SQLite file that only read."""

_POOL: Final = 8
"""Connections to PostgreSQL."""


@dataclass(frozen=True, slots=True)
class Engines:
    """What a store works with."""

    writer: AsyncEngine
    reader: AsyncEngine
    """For transactions that only read, and see one moment."""
    one_connection: bool
    """Whether readers and writers share one connection, and so must take turns: SQLite in memory."""

    @property
    def is_sqlite(self) -> bool:
        """Whether it is SQLite, and PostgreSQL otherwise."""
        return self.writer.dialect.name == "sqlite"

    async def close(self) -> None:
        """Closes all connections."""
        await self.writer.dispose()
        if self.reader.pool is not self.writer.pool:
            await self.reader.dispose()


def open_engines(address: Address) -> Engines:
    """Makes the engines for a database. Nothing connects yet."""
    if not address.is_sqlite:
        writer = _postgresql(address)
        reader = writer.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        return Engines(writer, reader, one_connection=False)
    if address.file is None:
        engine = _sqlite(address, begin="BEGIN IMMEDIATE", pragmas=(), poolclass=StaticPool)
        return Engines(engine, engine, one_connection=True)
    _create_private(address)
    # One connection writes. WAL lets others read meanwhile, and FULL makes a commit outlast a power cut, which a ledger
    # and an audit log must.
    pragmas = ("journal_mode=WAL", "synchronous=FULL")
    pool = {"max_overflow": 0, "pool_timeout": CONNECT_SECONDS}
    writer = _sqlite(address, begin="BEGIN IMMEDIATE", pragmas=pragmas, pool_size=1, **pool)
    reader = _sqlite(address, begin="BEGIN", pragmas=("query_only=ON",), pool_size=_READERS, **pool)
    return Engines(writer, reader, one_connection=False)


def _create_private(address: Address) -> None:
    """Makes the file, and its folder, for nobody else to read: it holds hashes of keys."""
    path = address.file
    if path is None or path.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise DatabaseRefused(f"cannot create {str(path)!r}: {error.strerror}; choose another path.") from error


def _sqlite(address: Address, *, begin: str, pragmas: tuple[str, ...], **pool: Any) -> AsyncEngine:  # noqa: ANN401 - options of SQLAlchemy's pools
    engine = create_async_engine(address.url, hide_parameters=True, **pool)

    def connected(connection: Any, _record: object) -> None:  # noqa: ANN401 - SQLAlchemy's adapter has no public type
        # The driver begins no transactions of its own: `begun` says which kind.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (f"busy_timeout={LOCK_SECONDS * 1000}", *pragmas):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def begun(connection: Connection) -> None:
        # IMMEDIATE takes the write lock at once. A transaction that reads first and writes later would fail at the
        # write, without waiting, if anybody wrote in between.
        connection.exec_driver_sql(begin)

    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine, "begin", begun)
    return engine


def _postgresql(address: Address) -> AsyncEngine:
    if importlib.util.find_spec("asyncpg") is None:
        raise DatabaseRefused("PostgreSQL needs the driver asyncpg; install 'llm-gateway[postgres]'.")
    return create_async_engine(
        address.url,
        hide_parameters=True,
        pool_size=_POOL,
        max_overflow=0,
        pool_timeout=CONNECT_SECONDS,
        pool_pre_ping=True,
        connect_args={
            "timeout": CONNECT_SECONDS,
            # The server's own limits come first; this one is for a server that says nothing at all.
            "command_timeout": STATEMENT_SECONDS + CONNECT_SECONDS,
            "server_settings": {
                "application_name": "llm-gateway",
                "lock_timeout": str(LOCK_SECONDS * 1000),
                "statement_timeout": str(STATEMENT_SECONDS * 1000),
            },
        },
    )
