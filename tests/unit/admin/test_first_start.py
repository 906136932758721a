"""The first start, and later ones."""

import asyncio

import pytest

from llmgateway.v1.admin_resources_pb2 import ApiKey, Tenant
from llmgateway_server.admin.first_start import ADMIN_KEY, FirstStart, ensure_first_resources
from llmgateway_server.admin.keys import hash_key, parse_key
from llmgateway_server.admin.scopes import SCOPES
from llmgateway_server.errors import NotFound
from tests.support.control_plane import OPERATOR, Plane

CHOSEN = "lgw_" + "chosen-by-the-operator-himself"


async def start(plane: Plane, admin_key: str = "") -> FirstStart:
    return await ensure_first_resources(plane.store, clock=plane.clock, ids=plane.ids, admin_key=admin_key)


async def hashes(plane: Plane) -> dict[str, bytes]:
    async with plane.store.reading() as moment:
        return {key.name: key.secret_hash async for key in moment.of(ApiKey).all("tenants/-")}


async def test_an_empty_store_gets_a_tenant_and_a_key(plane: Plane) -> None:
    found = await start(plane)
    assert found.empty
    parts = parse_key(found.secret)
    assert parts is not None
    assert not parts.mistyped
    assert found.secret not in repr(found)
    assert await hashes(plane) == {ADMIN_KEY: parts.hash}
    key = await plane.api_keys.get(ADMIN_KEY)
    assert set(key.scopes) == set(SCOPES)
    assert key.etag
    assert key.HasField("create_time")
    assert (await plane.tenants.get("tenants/default")).display_name == "Default"
    assert [(event.actor, event.resource) for event in await plane.audit()] == [
        ("system", "tenants/default"),
        ("system", ADMIN_KEY),
    ]


async def test_a_later_start_makes_nothing(plane: Plane) -> None:
    await start(plane)
    before = await hashes(plane)
    assert await start(plane) == FirstStart(empty=False)
    assert await hashes(plane) == before


async def test_a_chosen_key_is_taken_and_not_shown(plane: Plane) -> None:
    found = await start(plane, CHOSEN)
    assert found == FirstStart(empty=True, key=ADMIN_KEY)
    assert await hashes(plane) == {ADMIN_KEY: hash_key(CHOSEN)}
    assert await start(plane, CHOSEN) == FirstStart(empty=False)


async def test_a_key_chosen_later_is_added(plane: Plane) -> None:
    await start(plane)
    found = await start(plane, CHOSEN)
    assert not found.empty
    assert found.key.startswith(f"{ADMIN_KEY}-")
    assert not found.secret
    assert (await hashes(plane))[found.key] == hash_key(CHOSEN)
    assert await start(plane, CHOSEN) == FirstStart(empty=False)
    other = await start(plane, CHOSEN + "-too")
    assert len(await hashes(plane)) == 3
    assert other.key != found.key


async def test_a_chosen_key_brings_back_its_tenant(plane: Plane) -> None:
    await plane.tenants.create(Tenant(), caller=OPERATOR, resource_id="acme")
    assert await start(plane) == FirstStart(empty=False)
    with pytest.raises(NotFound):
        await plane.tenants.get("tenants/default")
    assert not (await start(plane, CHOSEN)).empty
    await plane.tenants.get("tenants/default")


@pytest.mark.parametrize("text", ["short", "lgw_short", "sk-" + "a" * 40])
async def test_a_key_that_is_none_is_refused_and_nothing_is_made(plane: Plane, text: str) -> None:
    with pytest.raises(ValueError, match="begins with 'lgw_'") as caught:
        await start(plane, text)
    assert text not in str(caught.value)
    assert await hashes(plane) == {}
    assert (await start(plane)).empty


async def test_starts_at_the_same_time_make_one_key(plane: Plane) -> None:
    found = await asyncio.gather(*(start(plane) for _ in range(4)))
    assert [each.empty for each in found].count(True) == 1
    assert len(await hashes(plane)) == 1
