"""What the core needs of a database: resources with compare-and-set, append-only records, units of work.

The same rules hold for every engine, and one suite proves them:

- **Order.** Resources come by name, records newest first; names compare byte by byte. A list that is paged through
  while others write shows every resource that was there all the time, once.
- **Ownership.** What is returned belongs to the caller. What is passed in is copied and may be changed afterwards.
- **Errors.** What the caller did wrong is one of the errors stated here. A database that is gone, locked, full or
  read-only is `STORAGE_UNAVAILABLE` (`Unavailable`, with `retry_after`). Neither holds text of the driver or the URL.
- **Cancellation.** A cancelled task waits for the statement under way and then unwinds: no transaction stays open and
  no connection is lost. A cancelled `commit` has happened or has not; read by name to learn which.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from google.protobuf.message import Message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from datetime import datetime

    from llmgateway.v1.admin_resources_pb2 import AuditEvent, UsageRecord
    from llmgateway_server.filters import Filter

R = TypeVar("R", bound=Message)
"""A resource: a message with `name`, `create_time`, `update_time` and `etag`; or a record: one with the first two."""


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """Some of a list."""

    items: Sequence[R]
    next_token: str
    """Pass it as `after` to read on. Empty on the last page."""


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """A creation that happened, kept so that its repeat creates nothing."""

    scope: str
    """Where the id is unique: the kind, the parent and the caller."""
    request_id: str
    digest: bytes
    """SHA-256 of what was asked for."""
    name: str
    """What it created."""


class Reader(Protocol[R]):
    """Reads the resources of one kind."""

    async def get(self, name: str) -> R:
        """The resource of that name, or `RESOURCE_NOT_FOUND`."""
        ...

    async def page(self, parent: str, after: str, size: int, filter: Filter) -> Page[R]:  # noqa: A002 - as in the API
        """Up to `size` (1 or more) resources under a parent that the filter lets through, by name.

        The parent of top-level kinds is empty; `tenants/-` means all tenants. `after` is the `next_token` of the page
        before, or empty for the first; a token that was tampered with, or belongs to another parent or filter, is
        `INVALID_FIELD` for `page_token`. A page is short only at the end of the list.
        """
        ...

    def all(self, parent: str) -> AsyncIterator[R]:
        """Every resource under a parent, by name, read piece by piece."""
        ...


class Repository(Reader[R], Protocol[R]):
    """Reads and changes the resources of one kind, within a unit of work."""

    async def add(self, resource: R) -> None:
        """Keeps a new resource, or raises `RESOURCE_EXISTS`. The unit of work stays usable either way."""
        ...

    async def replace(self, resource: R, expected: str) -> None:
        """Puts a resource in the place of the one of its name whose etag is `expected`.

        Raises `RESOURCE_NOT_FOUND` when there is none, `ETAG_MISMATCH` when it has another etag.
        """
        ...

    async def remove(self, name: str, expected: str = "") -> None:
        """Removes a resource, if its etag is `expected` or `expected` is empty. Errors as in `replace`."""
        ...


class CreateRequests(Protocol):
    """The creations of the last day that had a request id, within a unit of work."""

    async def find(self, scope: str, request_id: str) -> CreateRequest | None:
        """The creation that had this id, if it is still known."""
        ...

    async def add(self, request: CreateRequest, now: datetime) -> None:
        """Keeps a creation, and forgets those of more than 24 hours before `now`."""
        ...


class Reading(Protocol):
    """One moment of the store: whatever is read in it was true at the same time."""

    def of(self, kind: type[R]) -> Reader[R]:
        """The resources of one kind."""
        ...


class UnitOfWork(Protocol):
    """Changes that happen together or not at all. It rolls back unless it is committed.

    One is open at a time in the whole system; the others wait, and give up with `STORAGE_UNAVAILABLE` after some
    seconds. So what one reads stays true until it commits. Keep it short, and await nothing else inside.
    """

    def of(self, kind: type[R]) -> Repository[R]:
        """The resources of one kind."""
        ...

    @property
    def create_requests(self) -> CreateRequests:
        """The request ids of creations."""
        ...

    async def audit(self, event: AuditEvent) -> None:
        """Keeps an audit event, which holds if and only if the unit of work is committed."""
        ...

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Calls back once the changes hold, even if the task that commits is cancelled meanwhile.

        Callbacks run in the order of the commits. They neither wait nor raise.
        """
        ...

    async def commit(self) -> None:
        """Makes the changes hold. The unit of work is over."""
        ...


class AuditLog(Protocol):
    """What was changed, and by whom. It is written through `UnitOfWork.audit`."""

    async def page(self, tenant: str, after: str, size: int, filter: Filter) -> Page[AuditEvent]:  # noqa: A002
        """Up to `size` events of a tenant (`tenants/-`: of all), newest first. Tokens as in `Reader.page`.

        A filter that lets few through may make a page short before the end of the list; `next_token` tells.
        """
        ...


class UsageRecords(Protocol):
    """The ledger in the database."""

    async def append(self, records: Sequence[UsageRecord]) -> None:
        """Keeps records, all or none. A record whose name is there already is left as it is, so a repeat is safe."""
        ...

    async def page(self, tenant: str, after: str, size: int, filter: Filter) -> Page[UsageRecord]:  # noqa: A002
        """Up to `size` records of a tenant (`tenants/-`: of all), newest first, as `AuditLog.page`."""
        ...


class Store(Protocol):
    """A database. Open it, use it from any task of one event loop, close it."""

    def reading(self) -> AbstractAsyncContextManager[Reading]:
        """Opens a moment to read in. It never waits for writers."""
        ...

    def writing(self) -> AbstractAsyncContextManager[UnitOfWork]:
        """Opens a unit of work, when no other is open."""
        ...

    @property
    def audit_log(self) -> AuditLog:
        """The audit events."""
        ...

    @property
    def usage_records(self) -> UsageRecords:
        """The usage records."""
        ...

    async def revision(self) -> int:
        """A number that grows with every committed unit of work, in whichever process.

        Also the probe of readiness: it raises `STORAGE_UNAVAILABLE` when the database does not answer.
        """
        ...

    async def close(self) -> None:
        """Closes all connections, after the unit of work that is open."""
        ...
