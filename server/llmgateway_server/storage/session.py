"""One connection in one transaction: every statement settled, every failure translated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy.dialects import postgresql, sqlite

from llmgateway_server.storage.failures import storage_failures
from llmgateway_server.storage.settle import settle

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence
    from typing import TypeVar

    from sqlalchemy import Executable, Table
    from sqlalchemy.ext.asyncio import AsyncConnection

    T = TypeVar("T")


class Session:
    """A transaction on a connection that is not open yet. Used by one task at a time.

    `start` it, work in it, `close` it whatever happened: what was not committed is rolled back. Cancellation waits for
    the operation under way.
    """

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def start(self, *first: Executable) -> None:
        """Takes the connection, begins the transaction and runs the first statements."""
        await self._settled(self._start(first))

    async def rows(self, statement: Executable) -> Sequence[Any]:  # a row has the columns of its statement
        """All rows of a query."""
        return (await self._settled(self._connection.execute(statement))).all()

    async def change(self, statement: Executable, rows: Sequence[Mapping[str, Any]] | None = None) -> int:
        """Runs a statement, once for each of `rows` where they are given, and counts the rows that it touched.

        The count of a statement that ran for many rows means nothing.
        """
        return (await self._settled(self._connection.execute(statement, rows))).rowcount

    async def insert_new(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
        """Inserts the rows whose key is new and leaves the others alone. Counts as `change` does."""
        dialect = sqlite if self._connection.dialect.name == "sqlite" else postgresql
        statement = dialect.insert(table).on_conflict_do_nothing()
        if len(rows) == 1:
            return await self.change(statement.values(rows[0]))
        return await self.change(statement, rows)

    async def commit(self) -> None:
        """Makes the changes hold."""
        await self._settled(self._connection.commit())

    async def close(self) -> None:
        """Rolls back what was not committed and gives the connection back."""
        if self._connection.sync_connection is not None:
            await self._settled(self._connection.close())

    async def _start(self, statements: Sequence[Executable]) -> None:
        await self._connection.start()
        await self._connection.begin()
        for statement in statements:
            await self._connection.execute(statement)

    async def _settled(self, operation: Coroutine[Any, Any, T]) -> T:
        with storage_failures():
            return await settle(operation)
