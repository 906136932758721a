"""Records in the database: audit events and usage records, added once and read newest first."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from google.protobuf.message import Message
from sqlalchemy import Table, and_, or_, select

from llmgateway.v1.admin_resources_pb2 import AuditEvent, UsageRecord
from llmgateway_server import names
from llmgateway_server.filters import Operator
from llmgateway_server.ports.storage import Page
from llmgateway_server.resources import record_view
from llmgateway_server.storage.schema import audit_events, usage_records
from llmgateway_server.storage.session import Session

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import ColumnElement

    from llmgateway_server.filters import Condition, Filter
    from llmgateway_server.storage.tokens import PageTokens

R = TypeVar("R", bound=Message)

OpenSession = Callable[[], AbstractAsyncContextManager[Session]]
"""Opens a session to read in, or to write in and commit at its end."""

_CHUNK: Final = 500
"""How many rows are read at a time."""

_MAX_SCANNED: Final = 20_000
"""How many rows one page looks at before it ends short: a ledger may have millions, and a filter may want none."""

_NANOS_IN_MICRO: Final = 1000


@dataclass(frozen=True, slots=True)
class RecordTable(Generic[R]):
    """Where the records of one kind are kept."""

    kind: type[R]
    table: Table
    row: Callable[[R], dict[str, Any]]
    """The columns of its own that a record fills."""
    looked_up: tuple[str, ...]
    """Fields that are columns of the same name, in which the database can look texts up."""

    def rows(self, records: Sequence[R]) -> Sequence[Mapping[str, Any]]:
        """The rows of records."""
        return [
            {
                "name": record_view(record).name,
                "tenant": names.tenant_of(record_view(record).name),
                "create_micros": record_view(record).create_time.ToMicroseconds(),
                "message": record.SerializeToString(deterministic=True),
                **self.row(record),
            }
            for record in records
        ]


def _audit_row(event: AuditEvent) -> dict[str, Any]:
    return {
        "actor": event.actor,
        "action": event.action,
        "resource": event.resource,
        "request_id": event.request_id,
    }


def _usage_row(record: UsageRecord) -> dict[str, Any]:
    return {
        "request_id": record.request_id,
        "api_key": record.api_key,
        "method": record.method,
        "requested": record.requested,
        "finish_reason": int(record.finish_reason),
        "reason": int(record.reason),
        "attempts": len(record.attempts),
        "input_tokens": record.usage.input_tokens,
        "output_tokens": record.usage.output_tokens,
        "cost_nanos": record.cost_nanos if record.HasField("cost_nanos") else None,
        "first_event_micros": record.first_event_micros,
        "latency_micros": record.latency_micros,
    }


AUDIT_EVENTS: Final = RecordTable(AuditEvent, audit_events, _audit_row, ("actor", "action", "resource", "request_id"))
USAGE_RECORDS: Final = RecordTable(
    UsageRecord, usage_records, _usage_row, ("request_id", "api_key", "method", "requested")
)


class SqlRecordLog(Generic[R]):
    """Reads records of one kind."""

    def __init__(self, records: RecordTable[R], reading: OpenSession, tokens: PageTokens) -> None:
        self._records = records
        self._reading = reading
        self._tokens = tokens

    async def page(self, tenant: str, after: str, size: int, filter: Filter) -> Page[R]:  # noqa: A002 - as in the port
        """As in `ports.storage.AuditLog`."""
        scope = (self._records.kind.DESCRIPTOR.name, tenant, filter.text)
        position = self._tokens.open(after, *scope) if after else ""
        items: list[R] = []
        scanned = 0
        chunk = size + 1 if not filter.conditions else max(size + 1, _CHUNK)
        async with self._reading() as session:
            while scanned < _MAX_SCANNED:
                rows = await self._rows(session, tenant, position, chunk, filter)
                for row in rows:
                    record = self._records.kind.FromString(row.message)
                    if not filter.matches(record):
                        position = _position(row)
                    elif len(items) == size:
                        return Page(items, self._tokens.seal(position, *scope))
                    else:
                        items.append(record)
                        position = _position(row)
                if len(rows) < chunk:
                    return Page(items, "")
                scanned += len(rows)
        return Page(items, self._tokens.seal(position, *scope))

    async def _rows(self, session: Session, tenant: str, after: str, limit: int, filter: Filter) -> Sequence[Any]:  # noqa: A002 - as in the port
        columns = self._records.table.c
        statement = (
            select(columns.name, columns.create_micros, columns.message)
            .where(*self._looked_up(filter))
            .order_by(columns.create_micros.desc(), columns.name.desc())
            .limit(limit)
        )
        if tenant != names.ANY_TENANT:
            statement = statement.where(columns.tenant == tenant)
        if after:
            micros, _, name = after.partition(" ")
            earlier = columns.create_micros < int(micros)
            same_time = and_(columns.create_micros == int(micros), columns.name < name)
            statement = statement.where(or_(earlier, same_time))
        return await session.rows(statement)

    def _looked_up(self, filter: Filter) -> list[ColumnElement[bool]]:  # noqa: A002 - as in the port
        """What the database can do of a filter. It lets through no less than the filter."""
        columns = self._records.table.c
        found: list[ColumnElement[bool]] = []
        for condition in filter.conditions:
            if condition.path == "create_time":
                found += _times(columns.create_micros, condition)
            elif condition.exact is not None and condition.path in self._records.looked_up:
                found.append(columns[condition.path] == condition.exact)
        return found


class SqlUsageRecords(SqlRecordLog[UsageRecord]):
    """The ledger in the database."""

    def __init__(self, reading: OpenSession, appending: OpenSession, tokens: PageTokens) -> None:
        super().__init__(USAGE_RECORDS, reading, tokens)
        self._appending = appending

    async def append(self, records: Sequence[UsageRecord]) -> None:
        """As in `ports.storage.UsageRecords`."""
        if not records:
            return
        rows = USAGE_RECORDS.rows(records)
        async with self._appending() as session:
            await session.insert_new(usage_records, rows)


def _position(row: Any) -> str:  # noqa: ANN401 - a row of the statement above
    return f"{row.create_micros} {row.name}"


def _times(column: ColumnElement[int], condition: Condition) -> list[ColumnElement[bool]]:
    """A comparison with a time, in whole microseconds and never too strict."""
    if not isinstance(condition.value, int):
        return []
    least = condition.value // _NANOS_IN_MICRO
    if condition.operator in {Operator.GREATER, Operator.GREATER_OR_EQUAL}:
        return [column >= least]
    if condition.operator in {Operator.LESS, Operator.LESS_OR_EQUAL}:
        return [column <= least + 1]
    return []
