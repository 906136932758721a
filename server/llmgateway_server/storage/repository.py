"""The resources of one kind in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from google.protobuf.message import Message
from sqlalchemy import delete, select, update

from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server import names
from llmgateway_server.errors import Aborted, AlreadyExists, invalid_field, not_found
from llmgateway_server.ports.storage import Page
from llmgateway_server.resources import resource_view
from llmgateway_server.storage.indexes import index_rows, indexed_conditions
from llmgateway_server.storage.schema import resource_values, resources

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from sqlalchemy import ColumnElement

    from llmgateway_server.filters import Filter
    from llmgateway_server.storage.session import Session
    from llmgateway_server.storage.tokens import PageTokens

R = TypeVar("R", bound=Message)

_CHUNK: Final = 500
"""How many rows are read at a time."""


class SqlReader(Generic[R]):
    """Reads resources, within a session."""

    def __init__(self, kind: type[R], session: Session, tokens: PageTokens) -> None:
        self._kind = kind
        self._name = kind.DESCRIPTOR.name
        self._session = session
        self._tokens = tokens

    async def get(self, name: str) -> R:
        """As in `ports.storage.Reader`."""
        statement = select(resources.c.message).where(*self._is(name))
        rows = await self._session.rows(statement)
        if not rows:
            raise not_found(name)
        return self._kind.FromString(rows[0].message)

    async def page(self, parent: str, after: str, size: int, filter: Filter) -> Page[R]:  # noqa: A002 - as in the port
        """As in `ports.storage.Reader`."""
        scope = (self._name, parent, filter.text)
        position = self._tokens.open(after, *scope) if after else ""
        looked_up = indexed_conditions(self._kind, filter)
        # One more than the page holds, to learn whether there is another page; more where the filter has to choose.
        chunk = size + 1 if not filter.conditions else max(size + 1, _CHUNK)
        items: list[R] = []
        while True:
            rows = await self._rows(parent, position, chunk, looked_up)
            for row in rows:
                resource = self._kind.FromString(row.message)
                if not filter.matches(resource):
                    continue
                if len(items) == size:
                    return Page(items, self._tokens.seal(resource_view(items[-1]).name, *scope))
                items.append(resource)
            if len(rows) < chunk:
                return Page(items, "")
            position = rows[-1].name

    async def all(self, parent: str) -> AsyncIterator[R]:
        """As in `ports.storage.Reader`."""
        position = ""
        while True:
            rows = await self._rows(parent, position, _CHUNK, ())
            for row in rows:
                yield self._kind.FromString(row.message)
            if len(rows) < _CHUNK:
                return
            position = rows[-1].name

    async def _rows(
        self, parent: str, after: str, limit: int, conditions: Sequence[ColumnElement[bool]]
    ) -> Sequence[Any]:  # rows of name and message
        statement = (
            select(resources.c.name, resources.c.message)
            .where(resources.c.kind == self._name, resources.c.name > after, *conditions)
            .order_by(resources.c.name)
            .limit(limit)
        )
        if parent != names.ANY_TENANT:
            statement = statement.where(resources.c.parent == parent)
        return await self._session.rows(statement)

    def _is(self, name: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
        return resources.c.kind == self._name, resources.c.name == name


class SqlRepository(SqlReader[R]):
    """Reads and changes resources, within a session. Calls back after every change."""

    def __init__(self, kind: type[R], session: Session, tokens: PageTokens, *, changed: Callable[[], None]) -> None:
        super().__init__(kind, session, tokens)
        self._changed = changed

    async def add(self, resource: R) -> None:
        """As in `ports.storage.Repository`."""
        name = resource_view(resource).name
        columns = {"kind": self._name, "name": name, "parent": names.parent_of(name), **_columns(resource)}
        values = _storable(index_rows(resource))
        if not await self._session.insert_new(resources, _storable([columns])):
            raise AlreadyExists(
                ErrorReason.ERROR_REASON_RESOURCE_EXISTS,
                f"{name!r} exists already; choose another id, or update it.",
                metadata={"resource": name},
            )
        await self._index(values)

    async def replace(self, resource: R, expected: str) -> None:
        """As in `ports.storage.Repository`."""
        name = resource_view(resource).name
        values = _storable(index_rows(resource))
        statement = update(resources).where(*self._is(name), resources.c.etag == expected).values(**_columns(resource))
        if not await self._session.change(statement):
            raise await self._missed(name)
        await self._unindex(name)
        await self._index(values)

    async def remove(self, name: str, expected: str = "") -> None:
        """As in `ports.storage.Repository`."""
        statement = delete(resources).where(*self._is(name))
        if expected:
            statement = statement.where(resources.c.etag == expected)
        if not await self._session.change(statement):
            raise await self._missed(name)
        await self._unindex(name)
        self._changed()

    async def _index(self, values: Sequence[Mapping[str, Any]]) -> None:
        if values:
            await self._session.change(resource_values.insert(), values)
        self._changed()

    async def _unindex(self, name: str) -> None:
        mine = (resource_values.c.kind == self._name, resource_values.c.name == name)
        await self._session.change(delete(resource_values).where(*mine))

    async def _missed(self, name: str) -> Aborted:
        """Why no row was touched: raises when there is none, returns the error when its etag is another."""
        await self.get(name)
        return Aborted(
            ErrorReason.ERROR_REASON_ETAG_MISMATCH,
            f"{name!r} changed since it was read; read it again and repeat the change.",
            metadata={"resource": name},
        )


def _columns(resource: Message) -> dict[str, Any]:
    """The columns that change with a resource."""
    view = resource_view(resource)
    return {
        "etag": view.etag,
        "create_micros": view.create_time.ToMicroseconds(),
        "update_micros": view.update_time.ToMicroseconds(),
        "message": resource.SerializeToString(deterministic=True),
    }


def _storable(rows: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Refuses what PostgreSQL cannot hold in a text, on every engine alike."""
    for row in rows:
        for column, value in row.items():
            if isinstance(value, str) and "\0" in value:
                raise invalid_field(str(row.get("path", column)), "has a NUL character; leave it out.")
    return rows
