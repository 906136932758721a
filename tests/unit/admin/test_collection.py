"""The five standard methods, on kinds that have little of their own."""

import asyncio
from datetime import timedelta

import pytest
from google.protobuf.message import Message

from llmgateway.v1.admin_resources_pb2 import ApiKey, Tenant
from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway.v1.model_service_pb2 import Model, Price, Provider
from llmgateway.v1.routing_service_pb2 import Route, Target
from llmgateway_server.admin.caller import SYSTEM, Caller
from llmgateway_server.errors import Aborted, AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from llmgateway_server.principal import Principal
from tests.support.control_plane import OPERATOR, Plane


async def refused(call: object) -> InvalidArgument:
    """The error of a call that must be refused for a field."""
    with pytest.raises(InvalidArgument) as caught:
        await call  # pyright: ignore[reportGeneralTypeIssues] - a coroutine of any kind
    assert caught.value.reason == ErrorReason.ERROR_REASON_INVALID_FIELD
    return caught.value


class TestCreate:
    """Creation."""

    async def test_sets_what_only_the_gateway_sets(self, plane: Plane) -> None:
        given = Tenant(name="tenants/other", display_name="Acme", etag="mine")
        given.create_time.FromSeconds(1)
        before = Tenant.FromString(given.SerializeToString())
        made = await plane.tenants.create(given, caller=OPERATOR, resource_id="acme")
        assert given == before
        assert made.name == "tenants/acme"
        assert made.display_name == "Acme"
        assert made.create_time == made.update_time
        assert made.create_time.ToJsonString() == "2030-01-02T03:04:05.678901Z"
        assert len(made.etag) == 22
        assert await plane.tenants.get("tenants/acme") == made

    async def test_refuses_a_second_of_the_same_name(self, plane: Plane) -> None:
        await plane.tenants.create(Tenant(), caller=OPERATOR, resource_id="acme")
        with pytest.raises(AlreadyExists) as caught:
            await plane.tenants.create(Tenant(), caller=OPERATOR, resource_id="acme")
        assert caught.value.metadata["resource"] == "tenants/acme"
        assert len(plane.heard) == len(await plane.audit()) == 1

    @pytest.mark.parametrize("resource_id", ["", "A", "-", "a/b", "a" * 64, "a\0"])
    async def test_refuses_an_id_that_is_none(self, plane: Plane, resource_id: str) -> None:
        error = await refused(plane.tenants.create(Tenant(), caller=OPERATOR, resource_id=resource_id))
        assert error.field == "tenant_id"

    async def test_makes_an_id_where_the_kind_has_it_made(self, plane: Plane) -> None:
        await plane.catalogue()
        key = await plane.api_keys.create(ApiKey(), caller=OPERATOR, parent="tenants/acme")
        assert key.name.startswith("tenants/acme/apiKeys/id")

    @pytest.mark.parametrize("parent", ["", "tenants/-", "tenants/A", "providers/a"])
    async def test_refuses_a_parent_that_is_none(self, plane: Plane, parent: str) -> None:
        error = await refused(plane.api_keys.create(ApiKey(), caller=OPERATOR, parent=parent))
        assert error.field == "parent"

    async def test_needs_the_parent_to_exist(self, plane: Plane) -> None:
        with pytest.raises(NotFound) as caught:
            await plane.api_keys.create(ApiKey(), caller=OPERATOR, parent="tenants/nobody")
        assert caught.value.metadata["resource"] == "tenants/nobody"

    @pytest.mark.parametrize(
        ("resource", "field"),
        [
            (Provider(), "provider.wire_format"),
            (Route(), "route.targets"),
            (Provider(wire_format="fake", display_name="a\0"), "provider.display_name"),
            (Provider(wire_format="fake", display_name="a" * 129), "provider.display_name"),
            (Provider(wire_format="fake", labels={"a": "b\0"}), "provider.labels.a"),
            (Provider(wire_format="fake", labels={"a\0": "b"}), "provider.labels"),
            (Provider(wire_format="fake", labels={"": "b"}), "provider.labels"),
            (Provider(wire_format="fake", labels={"a" * 65: "b"}), "provider.labels"),
            (Provider(wire_format="fake", labels={"a": "b" * 513}), "provider.labels.a"),
            (Provider(wire_format="fake", labels={str(n): "" for n in range(65)}), "provider.labels"),
            (Provider(wire_format="fake", headers={f"x-{n}": "" for n in range(33)}), "provider.headers"),
            (Provider(wire_format="fake", vendor="a" * 4097), "provider.vendor"),
            (Provider(wire_format="fake", script="a" * 2_000_001), "provider"),
            (Model(description="a" * 2001), "model.description"),
            (Model(aliases=[str(n) for n in range(33)]), "model.aliases"),
            (Model(aliases=["a", "b\0"]), "model.aliases[1]"),
            (Model(status=99), "model.status"),  # pyright: ignore[reportArgumentType] - a value that no version has
            (Route(targets=[Target(model="models/a")] * 257), "route.targets"),
            (Route(targets=[Target(model="models/a"), Target(model="models/\0")]), "route.targets[1].model"),
        ],
    )
    async def test_refuses_what_no_resource_may_have(self, plane: Plane, resource: Message, field: str) -> None:
        collection = next(each for each in plane.collections.values() if each.kind.message is type(resource))
        error = await refused(collection.create(resource, caller=OPERATOR, resource_id="a"))
        assert error.field == field
        assert not plane.heard

    async def test_names_the_field_deep_inside(self, plane: Plane) -> None:
        await plane.catalogue()
        route = Route(targets=[Target(deployment="deployments/echo"), Target(deployment="deployments/echo", weight=-1)])
        error = await refused(plane.routes.create(route, caller=OPERATOR, resource_id="a"))
        assert error.field == "route.targets[1].weight"

    async def test_refuses_times_that_no_calendar_has(self, plane: Plane) -> None:
        await plane.catalogue()
        for seconds, nanos in ((253_402_300_800, 0), (0, -1), (0, 1_000_000_000), (-(2**62), 0)):
            key = ApiKey()
            key.expire_time.seconds, key.expire_time.nanos = seconds, nanos
            error = await refused(plane.api_keys.create(key, caller=OPERATOR, parent="tenants/acme"))
            assert error.field == "api_key.expire_time"

    async def test_drops_fields_of_a_version_to_come(self, plane: Plane) -> None:
        given = Tenant.FromString(Tenant(display_name="Acme").SerializeToString() + b"\xfa\x3f\x03new")
        made = await plane.tenants.create(given, caller=OPERATOR, resource_id="acme")
        assert made.ByteSize() == Tenant.FromString(made.SerializeToString()).ByteSize()
        assert b"new" not in made.SerializeToString()


class TestRequestIds:
    """A create request that is repeated creates nothing."""

    async def test_a_repeat_returns_what_the_first_made(self, plane: Plane) -> None:
        first = await plane.tenants.create(
            Tenant(display_name="A"), caller=OPERATOR, resource_id="acme", request_id="r"
        )
        again = await plane.tenants.create(
            Tenant(display_name="A"), caller=OPERATOR, resource_id="acme", request_id="r"
        )
        assert again == first
        assert len(plane.heard) == len(await plane.audit()) == 1

    async def test_a_repeat_finds_the_id_that_was_made_and_shows_no_secret(self, plane: Plane) -> None:
        await plane.catalogue()
        first = await plane.api_keys.create(ApiKey(), caller=OPERATOR, parent="tenants/acme", request_id="r")
        again = await plane.api_keys.create(ApiKey(), caller=OPERATOR, parent="tenants/acme", request_id="r")
        assert first.secret
        assert not again.secret
        assert again.name == first.name

    async def test_repeats_at_the_same_time_create_one(self, plane: Plane) -> None:
        await plane.catalogue()
        made = await asyncio.gather(
            *(plane.api_keys.create(ApiKey(), caller=OPERATOR, parent="tenants/acme", request_id="r") for _ in range(5))
        )
        assert len({key.name for key in made}) == 1
        assert sum(bool(key.secret) for key in made) == 1

    @pytest.mark.parametrize("changed", ["body", "id"])
    async def test_another_body_is_another_request(self, plane: Plane, changed: str) -> None:
        await plane.tenants.create(Tenant(), caller=OPERATOR, resource_id="acme", request_id="r")
        other = Tenant(display_name="B") if changed == "body" else Tenant()
        other_id = "acme" if changed == "body" else "other"
        with pytest.raises(AlreadyExists) as caught:
            await plane.tenants.create(other, caller=OPERATOR, resource_id=other_id, request_id="r")
        assert caught.value.field == "request_id"

    async def test_belong_to_a_kind_a_parent_and_a_caller(self, plane: Plane) -> None:
        await plane.catalogue()
        await plane.tenants.create(Tenant(), caller=OPERATOR, resource_id="other", request_id="r")
        await plane.models.create(Model(), caller=OPERATOR, resource_id="other", request_id="r")
        for parent in ("tenants/acme", "tenants/other"):
            await plane.api_keys.create(ApiKey(), caller=OPERATOR, parent=parent, request_id="r")
        principal = Principal("tenants/acme", "tenants/acme/apiKeys/a", SYSTEM.principal.scopes)
        await plane.tenants.create(Tenant(), caller=Caller(principal), resource_id="third", request_id="r")

    async def test_are_forgotten_after_a_day(self, plane: Plane) -> None:
        await plane.tenants.create(Tenant(), caller=OPERATOR, resource_id="acme", request_id="r")
        plane.clock.move(timedelta(hours=25))
        await plane.tenants.create(Tenant(), caller=OPERATOR, resource_id="b", request_id="s")
        with pytest.raises(AlreadyExists) as caught:
            await plane.tenants.create(Tenant(), caller=OPERATOR, resource_id="acme", request_id="r")
        assert not caught.value.field

    async def test_do_not_bring_back_what_was_deleted(self, plane: Plane) -> None:
        await plane.tenants.create(Tenant(), caller=OPERATOR, resource_id="acme", request_id="r")
        await plane.tenants.delete("tenants/acme", caller=OPERATOR)
        with pytest.raises(NotFound):
            await plane.tenants.create(Tenant(), caller=OPERATOR, resource_id="acme", request_id="r")

    @pytest.mark.parametrize("request_id", ["a" * 129, "a\0", "a\n"])
    async def test_are_short_and_printable(self, plane: Plane, request_id: str) -> None:
        error = await refused(
            plane.tenants.create(Tenant(), caller=OPERATOR, resource_id="acme", request_id=request_id)
        )
        assert error.field == "request_id"


class TestGetAndList:
    """Reading."""

    async def test_get_refuses_what_is_no_name(self, plane: Plane) -> None:
        for name in ("", "acme", "tenants/", "tenants/-", "models/a", "tenants/a/apiKeys/b"):
            assert (await refused(plane.tenants.get(name))).field == "name"

    async def test_get_misses_what_is_not_there(self, plane: Plane) -> None:
        with pytest.raises(NotFound):
            await plane.tenants.get("tenants/acme")

    async def test_list_pages_by_name(self, plane: Plane) -> None:
        for tenant in "cab":
            await plane.tenants.create(Tenant(), caller=OPERATOR, resource_id=tenant)
        first = await plane.tenants.list(page_size=2)
        assert [tenant.name for tenant in first.items] == ["tenants/a", "tenants/b"]
        second = await plane.tenants.list(page_size=2, page_token=first.next_token)
        assert [tenant.name for tenant in second.items] == ["tenants/c"]
        assert not second.next_token

    async def test_list_has_50_to_a_page_and_1000_at_most(self, plane: Plane) -> None:
        async with plane.store.writing() as unit:
            for number in range(1002):
                await unit.of(Tenant).add(Tenant(name=f"tenants/{number:04}", etag="1"))
            await unit.commit()
        assert len((await plane.tenants.list()).items) == 50
        assert len((await plane.tenants.list(page_size=5000)).items) == 1000

    async def test_list_filters(self, plane: Plane) -> None:
        for tenant in ("a", "b"):
            await plane.tenants.create(Tenant(labels={"team": tenant}), caller=OPERATOR, resource_id=tenant)
        found = await plane.tenants.list(filter='labels.team = "b"')
        assert [tenant.name for tenant in found.items] == ["tenants/b"]

    async def test_list_reads_one_tenant_or_all(self, plane: Plane) -> None:
        for tenant in ("a", "b"):
            await plane.tenants.create(Tenant(), caller=OPERATOR, resource_id=tenant)
            await plane.api_keys.create(ApiKey(), caller=OPERATOR, parent=f"tenants/{tenant}", resource_id="k")
        of_a = await plane.api_keys.list(parent="tenants/a")
        assert [key.name for key in of_a.items] == ["tenants/a/apiKeys/k"]
        assert len((await plane.api_keys.list(parent="tenants/-")).items) == 2

    @pytest.mark.parametrize(
        ("arguments", "field"),
        [
            ({"page_size": -1}, "page_size"),
            ({"page_token": "x"}, "page_token"),
            ({"filter": "nothing = 1"}, "filter"),
            ({"parent": "tenants/a"}, "parent"),
        ],
    )
    async def test_list_refuses_bad_arguments(self, plane: Plane, arguments: dict[str, str], field: str) -> None:
        assert (await refused(plane.tenants.list(**arguments))).field == field  # pyright: ignore[reportArgumentType] - one of each type


class TestUpdate:
    """Change, with and without a mask."""

    async def start(self, plane: Plane) -> Model:
        model = Model(
            display_name="Echo",
            labels={"team": "a", "site": "b"},
            aliases=["x"],
            price=Price(input=1, output=2),
            owner="acme",
        )
        made = await plane.models.create(model, caller=OPERATOR, resource_id="echo")
        plane.clock.move(timedelta(seconds=1))
        return made

    async def test_without_a_mask_takes_what_is_set(self, plane: Plane) -> None:
        made = await self.start(plane)
        wanted = Model(name=made.name, display_name="New", price=Price(output=3), labels={"team": "c"})
        changed = await plane.models.update(wanted, caller=OPERATOR)
        assert changed.display_name == "New"
        assert (changed.price.input, changed.price.output) == (1, 3)
        assert dict(changed.labels) == {"team": "c"}
        assert changed.owner == "acme"
        assert list(changed.aliases) == ["x"]
        assert changed.create_time == made.create_time
        assert changed.update_time.seconds == made.update_time.seconds + 1
        assert changed.etag != made.etag
        assert await plane.models.get(made.name) == changed

    async def test_with_a_star_takes_everything(self, plane: Plane) -> None:
        made = await self.start(plane)
        changed = await plane.models.update(Model(name=made.name, owner="b"), caller=OPERATOR, mask=["*"])
        expected = Model(name=made.name, owner="b", create_time=made.create_time, etag=changed.etag)
        expected.update_time.CopyFrom(changed.update_time)
        assert changed == expected

    async def test_with_paths_takes_those(self, plane: Plane) -> None:
        made = await self.start(plane)
        wanted = Model(name=made.name, display_name="New", owner="ignored", labels={"team": "c"})
        mask = ["display_name", "price.input", "labels.team", "labels.site", "aliases", "name", "etag", "create_time"]
        changed = await plane.models.update(wanted, caller=OPERATOR, mask=mask)
        assert changed.display_name == "New"
        assert changed.owner == "acme"
        assert not changed.price.HasField("input")
        assert changed.price.output == 2
        assert dict(changed.labels) == {"team": "c"}
        assert not changed.aliases
        assert changed.create_time == made.create_time

    async def test_clears_a_message_that_the_mask_names(self, plane: Plane) -> None:
        made = await self.start(plane)
        changed = await plane.models.update(Model(name=made.name), caller=OPERATOR, mask=["price"])
        assert not changed.HasField("price")
        again = await plane.models.update(Model(name=made.name), caller=OPERATOR, mask=["price.input"])
        assert not again.HasField("price")

    @pytest.mark.parametrize(
        "mask",
        [
            ["nothing"],
            ["price.nothing"],
            ["aliases.x"],
            ["display_name.x"],
            ["create_time.seconds", "*"],
            ["*", "owner"],
            [""],
            ["displayName"],
            ["owner"] * 101,
        ],
    )
    async def test_refuses_paths_that_lead_nowhere(self, plane: Plane, mask: list[str]) -> None:
        made = await self.start(plane)
        error = await refused(plane.models.update(Model(name=made.name), caller=OPERATOR, mask=mask))
        assert error.field == "update_mask"
        assert await plane.models.get(made.name) == made

    async def test_goes_through_with_the_present_etag_only(self, plane: Plane) -> None:
        made = await self.start(plane)
        first = await plane.models.update(Model(name=made.name, owner="b", etag=made.etag), caller=OPERATOR)
        with pytest.raises(Aborted) as caught:
            await plane.models.update(Model(name=made.name, owner="c", etag=made.etag), caller=OPERATOR)
        assert caught.value.reason == ErrorReason.ERROR_REASON_ETAG_MISMATCH
        assert await plane.models.get(made.name) == first

    async def test_does_nothing_when_nothing_differs(self, plane: Plane) -> None:
        made = await self.start(plane)
        assert await plane.models.update(Model(name=made.name, owner="acme"), caller=OPERATOR) == made
        assert await plane.models.update(Model(name=made.name), caller=OPERATOR) == made
        assert len(plane.heard) == len(await plane.audit()) == 1

    async def test_leaves_what_never_changes(self, plane: Plane) -> None:
        await plane.catalogue()
        for mask in ([], ["wire_format"], ["*"]):
            wanted = Provider(name="providers/fake", wire_format="openai")
            error = await refused(plane.providers.update(wanted, caller=OPERATOR, mask=mask))
            assert error.field == "provider.wire_format"
        same = Provider(name="providers/fake", wire_format="fake", display_name="New")
        assert (await plane.providers.update(same, caller=OPERATOR)).display_name == "New"

    async def test_keeps_what_is_required(self, plane: Plane) -> None:
        await plane.catalogue()
        error = await refused(plane.routes.update(Route(name="routes/fast"), caller=OPERATOR, mask=["targets"]))
        assert error.field == "route.targets"

    async def test_holds_to_the_limits(self, plane: Plane) -> None:
        made = await self.start(plane)
        wanted = Model(name=made.name, display_name="a" * 129)
        assert (await refused(plane.models.update(wanted, caller=OPERATOR))).field == "model.display_name"

    async def test_misses_what_is_not_there(self, plane: Plane) -> None:
        with pytest.raises(NotFound):
            await plane.models.update(Model(name="models/a", owner="b"), caller=OPERATOR)
        assert (await refused(plane.models.update(Model(owner="b"), caller=OPERATOR))).field == "model.name"

    async def test_at_the_same_time_loses_nothing(self, plane: Plane) -> None:
        made = await self.start(plane)
        await asyncio.gather(
            *(
                plane.models.update(
                    Model(name=made.name, labels={f"k{number}": "v"}), caller=OPERATOR, mask=[f"labels.k{number}"]
                )
                for number in range(10)
            )
        )
        changed = await plane.models.get(made.name)
        assert {f"k{number}" for number in range(10)} <= set(changed.labels)
        assert [resource for _, _, resource in plane.heard][-1] == changed


class TestDelete:
    """Removal."""

    async def test_removes(self, plane: Plane) -> None:
        await plane.tenants.create(Tenant(), caller=OPERATOR, resource_id="acme")
        await plane.tenants.delete("tenants/acme", caller=OPERATOR)
        with pytest.raises(NotFound):
            await plane.tenants.get("tenants/acme")
        with pytest.raises(NotFound):
            await plane.tenants.delete("tenants/acme", caller=OPERATOR)
        assert plane.heard[-1] == (Tenant, "tenants/acme", None)

    async def test_goes_through_with_the_present_etag_only(self, plane: Plane) -> None:
        made = await plane.tenants.create(Tenant(), caller=OPERATOR, resource_id="acme")
        with pytest.raises(Aborted):
            await plane.tenants.delete("tenants/acme", caller=OPERATOR, etag="other")
        await plane.tenants.delete("tenants/acme", caller=OPERATOR, etag=made.etag)

    async def test_refuses_what_is_no_name(self, plane: Plane) -> None:
        assert (await refused(plane.tenants.delete("tenants/-", caller=OPERATOR))).field == "name"

    async def test_leaves_what_is_in_use(self, plane: Plane) -> None:
        await plane.catalogue()
        await plane.api_keys.create(ApiKey(), caller=OPERATOR, parent="tenants/acme", resource_id="k")
        for collection, name, used_by in (
            (plane.tenants, "tenants/acme", "tenants/acme/apiKeys/k"),
            (plane.providers, "providers/fake", "deployments/echo"),
            (plane.models, "models/fake/echo", "deployments/echo"),
            (plane.deployments, "deployments/echo", "routes/fast"),
        ):
            with pytest.raises(FailedPrecondition) as caught:
                await collection.delete(name, caller=OPERATOR)
            assert caught.value.reason == ErrorReason.ERROR_REASON_RESOURCE_IN_USE
            assert caught.value.metadata == {"resource": name, "used_by": used_by}
        await plane.routes.delete("routes/fast", caller=OPERATOR)
        await plane.deployments.delete("deployments/echo", caller=OPERATOR)
        await plane.models.delete("models/fake/echo", caller=OPERATOR)

    async def test_names_no_more_than_a_few_users(self, plane: Plane) -> None:
        await plane.catalogue()
        for number in range(20):
            await plane.api_keys.create(ApiKey(), caller=OPERATOR, parent="tenants/acme", resource_id=f"k{number:02}")
        with pytest.raises(FailedPrecondition) as caught:
            await plane.tenants.delete("tenants/acme", caller=OPERATOR)
        assert caught.value.metadata["used_by"].count(",") == 4


class TestAudit:
    """What is kept of a change."""

    async def test_tells_who_did_what_to_which_fields(self, plane: Plane) -> None:
        principal = Principal("tenants/ops", "tenants/ops/apiKeys/a", SYSTEM.principal.scopes)
        caller = Caller(principal, "call-9")
        await plane.models.create(Model(owner="a"), caller=caller, resource_id="echo")
        plane.clock.move(timedelta(seconds=1))
        wanted = Model(name="models/echo", owner="b", price=Price(input=5), labels={"team": "t"})
        await plane.models.update(wanted, caller=caller)
        plane.clock.move(timedelta(seconds=1))
        wanted = Model(name="models/echo", price=Price(output=6))
        await plane.models.update(wanted, caller=caller)
        plane.clock.move(timedelta(seconds=1))
        await plane.models.delete("models/echo", caller=caller)
        events = await plane.audit()
        assert [(event.action, list(event.changed_fields)) for event in events] == [
            ("create", ["owner"]),
            ("update", ["owner", "price", "labels"]),
            ("update", ["price.output"]),
            ("delete", []),
        ]
        for event in events:
            assert event.actor == "tenants/ops/apiKeys/a"
            assert event.resource == "models/echo"
            assert event.request_id == "call-9"
            assert event.name.startswith("tenants/ops/auditEvents/")
        assert events[1].create_time.seconds == events[0].create_time.seconds + 1

    @pytest.mark.parametrize(
        ("caller", "tenant"),
        [
            (SYSTEM, "tenants/default"),
            (Caller(Principal("tenants/ops", "tenants/ops/apiKeys/a", frozenset())), "tenants/ops"),
        ],
    )
    async def test_of_shared_things_is_the_callers(self, plane: Plane, caller: Caller, tenant: str) -> None:
        await plane.models.create(Model(), caller=caller, resource_id="echo")
        assert [event.name.rpartition("/auditEvents/")[0] for event in await plane.audit()] == [tenant]

    async def test_of_a_tenants_things_is_the_tenants(self, plane: Plane) -> None:
        await plane.tenants.create(Tenant(), caller=OPERATOR, resource_id="acme")
        [event] = await plane.audit()
        assert event.name.startswith("tenants/acme/auditEvents/")
        assert event.actor == "system"

    async def test_is_silent_of_what_was_refused(self, plane: Plane) -> None:
        await refused(plane.tenants.create(Tenant(display_name="a\0"), caller=OPERATOR, resource_id="acme"))
        assert await plane.audit() == []


async def test_a_caller_who_goes_away_leaves_no_change_unheard(plane: Plane) -> None:
    for number in range(20):
        task = asyncio.create_task(plane.tenants.create(Tenant(), caller=OPERATOR, resource_id=f"t{number:02}"))
        await asyncio.sleep(number / 5000)
        task.cancel()
        await asyncio.wait({task})
    kept = [tenant.name for tenant in (await plane.tenants.list()).items]
    assert [name for _, name, _ in plane.heard] == kept
    assert len(await plane.audit()) == len(kept)
