"""Database URLs: which are taken, and how they are shown without their password."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

_DRIVERS: Final = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}
_EXAMPLES: Final = "use 'sqlite:///path/to/file.db' or 'postgresql://user:password@host/database'"


class DatabaseRefused(Exception):
    """The database cannot be used as it is. The message is for the operator and holds no password."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a database is."""

    url: URL
    """With the driver that is used. It holds the password: show `text` instead."""

    @property
    def text(self) -> str:
        """The URL for people, without password, options and driver."""
        return self.url.set(drivername=self.url.get_backend_name(), query={}).render_as_string(hide_password=True)

    @property
    def is_sqlite(self) -> bool:
        """Whether it is SQLite, and PostgreSQL otherwise."""
        return self.url.get_backend_name() == "sqlite"

    @property
    def file(self) -> Path | None:
        """The file of a SQLite database. None when there is none: in memory, or PostgreSQL."""
        database = self.url.database
        return Path(database) if self.is_sqlite and database and database != ":memory:" else None

    def __repr__(self) -> str:
        return f"Address({self.text!r})"


def parse_address(text: str) -> Address:
    """Reads a SQLAlchemy URL, or raises `DatabaseRefused`, which never quotes it."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # The cause quotes the URL, and with it the password.
        raise DatabaseRefused(f"the database URL cannot be read; {_EXAMPLES}.") from None
    driver = _DRIVERS.get(url.drivername)
    if driver is None:
        raise DatabaseRefused(f"{url.drivername!r} is not a database that the gateway speaks; {_EXAMPLES}.")
    url = url.set(drivername=driver)
    if url.get_backend_name() == "sqlite":
        if url.query or url.host:
            raise DatabaseRefused(f"a SQLite URL has a path and nothing else; {_EXAMPLES}.")
        return Address(url)
    if not url.host and "host" not in url.query:
        raise DatabaseRefused(f"a PostgreSQL URL names a host; {_EXAMPLES}.")
    if "sslmode" in url.query:  # libpq's word for what asyncpg calls ssl
        url = url.update_query_dict({"ssl": url.query["sslmode"]}).difference_update_query(["sslmode"])
    return Address(url)
