"""What a gateway needs before anybody can tell it anything: a tenant, and a key that may do everything."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from google.protobuf.message import Message

from llmgateway.v1.admin_resources_pb2 import ApiKey, Tenant
from llmgateway_server import names
from llmgateway_server.admin.caller import DEFAULT_TENANT, SYSTEM
from llmgateway_server.admin.keys import hash_key, mint_key, set_secret
from llmgateway_server.admin.scopes import SCOPES
from llmgateway_server.admin.versions import audit_event, stamp
from llmgateway_server.errors import NotFound
from llmgateway_server.filters import EVERYTHING, where
from llmgateway_server.resources import resource_view

if TYPE_CHECKING:
    from datetime import datetime

    from llmgateway_server.ports.storage import Store, UnitOfWork
    from llmgateway_server.ports.system import Clock, Ids

ADMIN_KEY: Final = f"{DEFAULT_TENANT}/apiKeys/admin"
"""The name of the first key. Another admin key gets an id of its own."""


@dataclass(frozen=True, slots=True)
class FirstStart:
    """What a start found and made."""

    empty: bool
    """Whether there was no tenant, so that this start was the first."""
    key: str = ""
    """Name of the key that was made. Empty when there was one."""
    secret: str = field(default="", repr=False)
    """The key itself, when the gateway made it up. Show it once; nobody can read it again."""


async def ensure_first_resources(store: Store, *, clock: Clock, ids: Ids, admin_key: str = "") -> FirstStart:
    """Makes a tenant and an admin key in a store that has no tenant, and sees to it that `admin_key` works.

    `admin_key` is a key that the operator chose, of 32 or more characters that begin with `lgw_`; `ValueError` for any
    other text. Where a key with this text exists nothing happens, so every start may say it. All of it is one unit of
    work: a start that is cut short leaves nothing half made.
    """
    async with store.writing() as unit:
        now = clock.now()
        empty = not (await unit.of(Tenant).page("", "", 1, EVERYTHING)).items
        if not empty and (not admin_key or await _is_known(unit, admin_key)):
            return FirstStart(empty=False)
        if not await _exists(unit, DEFAULT_TENANT):
            await _add(unit, Tenant(name=DEFAULT_TENANT, display_name="Default"), now, ids)
        name = ADMIN_KEY if not await _exists(unit, ADMIN_KEY) else f"{ADMIN_KEY}-{ids.new()}"
        key = ApiKey(name=name, display_name="Administrator", scopes=SCOPES)
        text = admin_key or mint_key(ids)
        set_secret(key, text)
        key.ClearField("secret")
        await _add(unit, key, now, ids)
        await unit.commit()
    return FirstStart(empty=empty, key=name, secret="" if admin_key else text)


async def _is_known(unit: UnitOfWork, text: str) -> bool:
    probe = ApiKey()
    set_secret(probe, text)
    same_prefix = where(ApiKey, "prefix", probe.prefix)
    after = ""
    while True:
        page = await unit.of(ApiKey).page(names.ANY_TENANT, after, 100, same_prefix)
        if any(key.secret_hash == hash_key(text) for key in page.items):
            return True
        after = page.next_token
        if not after:
            return False


async def _exists(unit: UnitOfWork, name: str) -> bool:
    kind: type[Message] = ApiKey if names.is_name("ApiKey", name) else Tenant
    try:
        await unit.of(kind).get(name)
    except NotFound:
        return False
    return True


async def _add(unit: UnitOfWork, resource: Message, now: datetime, ids: Ids) -> None:
    stamp(resource, now)
    await unit.of(type(resource)).add(resource)
    name = resource_view(resource).name
    await unit.audit(audit_event("create", name, caller=SYSTEM, changed=(), event_id=ids.new(), now=now))
