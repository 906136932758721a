"""Where the API keys are that the commands of `keys` work on: in the database, or behind a running gateway."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

from llmgateway.v1.admin_resources_pb2 import ApiKey
from llmgateway_server.admin.caller import SYSTEM
from llmgateway_server.admin.collection import Collection
from llmgateway_server.admin.kinds import kinds
from llmgateway_server.command.report import Mistake
from llmgateway_server.errors import NotFound
from llmgateway_server.system import SystemClock, SystemIds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.message import Message

    from llmgateway_server.command.database import Database

_PAGE: Final = 1000
_LIFETIME: Final = re.compile(r"([1-9][0-9]{0,4})([smhdw])")
_UNITS: Final = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}


class Keyring(Protocol):
    """The API keys of a gateway. Every method raises `GatewayError`."""

    @property
    def where(self) -> str:
        """Where they are, for people."""
        ...

    def create_key(self, tenant: str, key: ApiKey) -> ApiKey:
        """Makes a key of a tenant (`tenants/{tenant}`). What it returns has the secret."""
        ...

    def list_keys(self, tenant: str) -> list[ApiKey]:
        """All keys of a tenant, by name."""
        ...

    def delete_key(self, name: str) -> None:
        """Removes a key, which stops working."""
        ...


class DatabaseKeyring:
    """Keys in the database, changed by whoever can open it. Running gateways follow the database within two seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Wire formats are for providers, which are not touched here.
        kind = kinds(wire_formats=frozenset())["api_keys"]
        self._keys: Collection[ApiKey] = Collection(
            kind, database.store, clock=SystemClock(), ids=SystemIds(), on_change=_nobody_listens
        )

    @property
    def where(self) -> str:
        return self._database.where

    def create_key(self, tenant: str, key: ApiKey) -> ApiKey:
        try:
            return self._database.wait(self._keys.create(key, caller=SYSTEM, parent=tenant))
        except NotFound as error:
            raise Mistake(
                f"there is no {tenant!r} in {self.where!r}; name another with --tenant, "
                "or run `llm-gateway serve` once, which makes the tenant 'default'"
            ) from error

    def list_keys(self, tenant: str) -> list[ApiKey]:
        return self._database.wait(self._list(tenant))

    async def _list(self, tenant: str) -> list[ApiKey]:
        found: list[ApiKey] = []
        token = ""
        while True:
            page = await self._keys.list(parent=tenant, page_size=_PAGE, page_token=token)
            found += page.items
            token = page.next_token
            if not token:
                return found

    def delete_key(self, name: str) -> None:
        self._database.wait(self._keys.delete(name, caller=SYSTEM))


def _nobody_listens(kind: type[Message], name: str, resource: Message | None, /) -> None:
    """This process serves nobody, so nothing in it has to hear of a change."""


def find_key(keys: Iterable[ApiKey], wanted: str) -> str:
    """The name of the one key that goes by a text: by its name, its id, its prefix or its display name.

    Raises `Mistake` when there is none, or more than one.
    """
    found = [
        key.name
        for key in keys
        if wanted in (key.name, key.name.rpartition("/")[2], key.prefix) or (wanted and wanted == key.display_name)
    ]
    if not found:
        raise Mistake(f"there is no key {wanted!r}; see `llm-gateway keys list`, and name its tenant with --tenant")
    if len(found) > 1:
        raise Mistake(f"{wanted!r} may be any of {', '.join(found)}; say which by its name")
    return found[0]


def parse_lifetime(text: str) -> timedelta:
    """A span of time such as `30d`: a number and one of s, m, h, d, w. Raises `Mistake`."""
    match = _LIFETIME.fullmatch(text)
    if match is None:
        raise Mistake(f"{text!r} is not a span of time; use a number and s, m, h, d or w, such as '30d'")
    return int(match[1]) * _UNITS[match[2]]
