"""Lists: the arguments that all of them share, and the lists of records that are only read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from google.protobuf.message import Message

from llmgateway_server import names
from llmgateway_server.errors import invalid_field
from llmgateway_server.filters import parse_filter

if TYPE_CHECKING:
    from llmgateway_server.filters import Filter
    from llmgateway_server.ports.storage import Page

R = TypeVar("R", bound=Message)

DEFAULT_PAGE_SIZE: Final = 50
"""How many items a page has when the request does not say."""

MAX_PAGE_SIZE: Final = 1000
"""Most items of a page."""


def bounded_size(page_size: int) -> int:
    """How many items a page has, as the request asks for it; `INVALID_FIELD` when that is below zero."""
    if page_size < 0:
        raise invalid_field("page_size", f"is {page_size}; use 0 for the default, or up to {MAX_PAGE_SIZE}.")
    return min(page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


class RecordLog(Protocol[R]):
    """Records of tenants, as a store keeps them."""

    async def page(self, tenant: str, after: str, size: int, filter: Filter) -> Page[R]:  # noqa: A002 - as in the port
        """Up to `size` records of a tenant, newest first."""
        ...


class RecordList(Generic[R]):
    """The list method of records, such as audit events, newest first."""

    def __init__(self, kind: type[R], log: RecordLog[R]) -> None:
        self._kind = kind
        self._log = log

    async def list(
        self,
        *,
        parent: str,
        page_size: int = 0,
        page_token: str = "",
        filter: str = "",  # noqa: A002 - as in the API
    ) -> Page[R]:
        """A page of the records of a tenant; `tenants/-` reads all tenants."""
        names.check_parent(self._kind.DESCRIPTOR.name, parent, wildcard=True)
        conditions = parse_filter(filter, self._kind)
        return await self._log.page(parent, page_token, bounded_size(page_size), conditions)
