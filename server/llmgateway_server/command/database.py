"""The configured database, for commands that work without a running gateway."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from llmgateway_server.command.report import Mistake
from llmgateway_server.storage import DatabaseRefused, open_store
from llmgateway_server.storage.address import parse_address

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator

    from llmgateway_server.ports.storage import Store
    from llmgateway_server.settings import Settings

T = TypeVar("T")


class Database:
    """An open database. The command waits for whatever it asks of it."""

    def __init__(self, runner: asyncio.Runner, store: Store, where: str) -> None:
        self._runner = runner
        self.store = store
        self.where = where
        """Its URL, without the password."""

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs the work to its end. `Any`: what coroutines yield and are sent, which is the event loop's."""
        return self._runner.run(work)


def exists(settings: Settings) -> bool:
    """Whether there may be a database: for SQLite whether its file is there, for PostgreSQL always."""
    file = parse_address(settings.database_url.get_secret_value()).file
    return file is None or file.exists()


@contextmanager
def opened(settings: Settings) -> Generator[Database]:
    """Opens the database that a gateway with these settings uses, and brings its schema up to date.

    Raises `Mistake` where there is none, rather than making one, and `DatabaseRefused` where it cannot be used.
    """
    url = settings.database_url.get_secret_value()
    where = parse_address(url).text
    if not exists(settings):
        raise Mistake(f"there is no database {where!r}; run `llm-gateway serve` once, or set LLMGATEWAY_DATABASE_URL")
    with asyncio.Runner() as runner:
        store = runner.run(open_store(url))
        try:
            yield Database(runner, store, where)
        finally:
            runner.run(store.close())


REFUSALS = (Mistake, DatabaseRefused)
"""What `opened` raises."""
