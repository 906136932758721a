"""The store: opens a database, and moments and units of work on it."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from llmgateway.v1.admin_resources_pb2 import AuditEvent
from llmgateway_server.errors import Unavailable
from llmgateway_server.ports.storage import CreateRequest
from llmgateway_server.storage import indexes
from llmgateway_server.storage.address import DatabaseRefused, parse_address
from llmgateway_server.storage.engine import open_engines
from llmgateway_server.storage.failures import unavailable
from llmgateway_server.storage.migrate import migrate, starting
from llmgateway_server.storage.records import AUDIT_EVENTS, SqlRecordLog, SqlUsageRecords
from llmgateway_server.storage.repository import SqlReader, SqlRepository
from llmgateway_server.storage.schema import audit_events, create_requests, store_state
from llmgateway_server.storage.session import Session
from llmgateway_server.storage.settle import settle
from llmgateway_server.storage.tokens import PageTokens

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from datetime import datetime

    from sqlalchemy import Executable
    from sqlalchemy.ext.asyncio import AsyncEngine

    from llmgateway_server.storage.address import Address
    from llmgateway_server.storage.engine import Engines
    from llmgateway_server.storage.migrate import Migration

R = TypeVar("R", bound=Message)

REMEMBERED: Final = timedelta(hours=24)
"""How long the request id of a creation is known."""

TURN_SECONDS: Final = 10
"""How long a unit of work waits for those before it in this process."""

_STATE: Final = 1
"""The id of the one row of `store_state`."""

_WRITE_LOCK: Final = 0x6C67772D77726974
"""PostgreSQL's advisory lock of units of work; the number has no meaning."""


async def open_store(url: str, *, allow_data_loss: bool = False) -> SqlStore:
    """Opens the database at a SQLAlchemy URL, making or migrating its tables first.

    Raises `DatabaseRefused`, with a message for the operator, when the URL is none, the database does not answer, or
    its schema is not one that this version can use.
    """
    address = parse_address(url)
    engines = open_engines(address)
    try:
        async with starting(address):
            migration, secret = await settle(_prepare(engines.writer, allow_data_loss=allow_data_loss))
    except (SQLAlchemyError, OSError) as error:
        await engines.close()
        raise DatabaseRefused(f"cannot open {address.text}: {_cause(error, address)}") from error
    except BaseException:
        await engines.close()
        raise
    return SqlStore(engines, PageTokens(secret), migration)


class SqlStore:
    """A database, as `ports.storage.Store` describes it. Close it at the end."""

    def __init__(self, engines: Engines, tokens: PageTokens, migration: Migration) -> None:
        self.migration = migration
        """What was done to the schema when the store was opened."""
        self._engines = engines
        self._tokens = tokens
        self._turns = asyncio.Lock()
        self._probes: set[asyncio.Future[int]] = set()
        self._audit_log = SqlRecordLog(AUDIT_EVENTS, self._reading, tokens)
        self._usage_records = SqlUsageRecords(self._reading, self._appending, tokens)

    @property
    def audit_log(self) -> SqlRecordLog[AuditEvent]:
        """The audit events."""
        return self._audit_log

    @property
    def usage_records(self) -> SqlUsageRecords:
        """The usage records."""
        return self._usage_records

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[SqlReading]:
        """As in `ports.storage.Store`."""
        async with self._reading() as session:
            yield SqlReading(session, self._tokens)

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[SqlUnitOfWork]:
        """As in `ports.storage.Store`."""
        # SQLite's BEGIN IMMEDIATE keeps other processes out; PostgreSQL needs to be told.
        lock = () if self._engines.is_sqlite else (text(f"SELECT pg_advisory_xact_lock({_WRITE_LOCK})"),)
        async with self._turn(), self._session(self._engines.writer, *lock) as session:
            yield SqlUnitOfWork(session, self._tokens)

    async def revision(self) -> int:
        """As in `ports.storage.Store`. Cancellation does not wait here: probes have little time."""
        probe = asyncio.ensure_future(self._revision())
        self._probes.add(probe)
        probe.add_done_callback(self._probed)
        return await asyncio.shield(probe)

    async def _revision(self) -> int:
        async with self._reading() as session:
            rows = await session.rows(select(store_state.c.revision).where(store_state.c.id == _STATE))
        return int(rows[0].revision)

    def _probed(self, probe: asyncio.Future[int]) -> None:
        self._probes.discard(probe)
        if not probe.cancelled():
            probe.exception()  # looked at, so that the loop does not report one that nobody waits for any more

    async def close(self) -> None:
        """Closes all connections, after the unit of work that is open if it ends in time."""
        if self._probes:
            await asyncio.wait(self._probes)
        with suppress(Unavailable):
            async with self._turn():
                pass
        await self._engines.close()

    @asynccontextmanager
    async def _reading(self) -> AsyncGenerator[Session]:
        if self._engines.one_connection:
            async with self._turn(), self._session(self._engines.reader) as session:
                yield session
        else:
            async with self._session(self._engines.reader) as session:
                yield session

    @asynccontextmanager
    async def _appending(self) -> AsyncGenerator[Session]:
        """A session for records, which need not take turns on PostgreSQL. It commits at its end."""
        if self._engines.is_sqlite:
            async with self._turn(), self._session(self._engines.writer) as session:
                yield session
                await session.commit()
        else:
            async with self._session(self._engines.writer) as session:
                yield session
                await session.commit()

    @asynccontextmanager
    async def _session(self, engine: AsyncEngine, *first: Executable) -> AsyncGenerator[Session]:
        session = Session(engine.connect())
        try:
            await session.start(*first)
            yield session
        finally:
            await session.close()

    @asynccontextmanager
    async def _turn(self) -> AsyncGenerator[None]:
        """One at a time, first come first served."""
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await self._turns.acquire()
        except TimeoutError as error:
            raise unavailable() from error
        try:
            yield
        finally:
            self._turns.release()


class SqlReading:
    """One moment of the store."""

    def __init__(self, session: Session, tokens: PageTokens) -> None:
        self._session = session
        self._tokens = tokens

    def of(self, kind: type[R]) -> SqlReader[R]:
        """The resources of one kind."""
        return SqlReader(kind, self._session, self._tokens)


class SqlUnitOfWork:
    """Changes that happen together or not at all."""

    def __init__(self, session: Session, tokens: PageTokens) -> None:
        self._session = session
        self._tokens = tokens
        self._changed = False
        self._callbacks: list[Callable[[], None]] = []
        self._create_requests = SqlCreateRequests(session)

    @property
    def create_requests(self) -> SqlCreateRequests:
        """The request ids of creations."""
        return self._create_requests

    def of(self, kind: type[R]) -> SqlRepository[R]:
        """The resources of one kind."""
        return SqlRepository(kind, self._session, self._tokens, changed=self._note_change)

    async def audit(self, event: AuditEvent) -> None:
        """As in `ports.storage.UnitOfWork`."""
        await self._session.change(insert(audit_events), AUDIT_EVENTS.rows([event]))

    def after_commit(self, callback: Callable[[], None]) -> None:
        """As in `ports.storage.UnitOfWork`."""
        self._callbacks.append(callback)

    async def commit(self) -> None:
        """As in `ports.storage.UnitOfWork`."""
        await settle(self._commit())

    async def _commit(self) -> None:
        if self._changed:
            grown = store_state.c.revision + 1
            await self._session.change(update(store_state).where(store_state.c.id == _STATE).values(revision=grown))
        await self._session.commit()
        for callback in self._callbacks:
            callback()

    def _note_change(self) -> None:
        self._changed = True


class SqlCreateRequests:
    """The creations of the last day that had a request id."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def find(self, scope: str, request_id: str) -> CreateRequest | None:
        """As in `ports.storage.CreateRequests`."""
        columns = create_requests.c
        statement = select(columns.digest, columns.name).where(columns.scope == scope, columns.request_id == request_id)
        rows = await self._session.rows(statement)
        return CreateRequest(scope, request_id, bytes(rows[0].digest), rows[0].name) if rows else None

    async def add(self, request: CreateRequest, now: datetime) -> None:
        """As in `ports.storage.CreateRequests`."""
        forgotten = create_requests.c.create_micros < _micros(now - REMEMBERED)
        await self._session.change(delete(create_requests).where(forgotten))
        row = {
            "scope": request.scope,
            "request_id": request.request_id,
            "digest": request.digest,
            "name": request.name,
            "create_micros": _micros(now),
        }
        await self._session.change(insert(create_requests), [row])


async def _prepare(writer: AsyncEngine, *, allow_data_loss: bool) -> tuple[Migration, bytes]:
    """Makes the tables and the indexes what they should be. Returns what it did, and the secret of the page tokens."""
    async with writer.begin() as connection:
        migration = await migrate(connection, allow_data_loss=allow_data_loss)
        session = Session(connection)
        state = {"id": _STATE, "revision": 1, "token_secret": secrets.token_bytes(32), "indexes": ""}
        await session.insert_new(store_state, [state])
        [row] = await session.rows(select(store_state.c.token_secret, store_state.c.indexes))
        if row.indexes != indexes.signature():
            await indexes.rebuild(session)
            await session.change(update(store_state).values(indexes=indexes.signature()))
        return migration, bytes(row.token_secret)


def _micros(moment: datetime) -> int:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp.ToMicroseconds()


def _cause(error: Exception, address: Address) -> str:
    """Why a database cannot be opened, for the operator: the driver's first line, without the password."""
    lines = str(getattr(error, "orig", None) or error).splitlines()
    reason = lines[0] if lines else type(error).__name__
    password = address.url.password
    return reason.replace(str(password), "***") if password else reason
