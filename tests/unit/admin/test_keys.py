"""API keys: their text, what they may do, and their rotation."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgateway.v1.admin_resources_pb2 import ApiKey, Tenant
from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server.admin.caller import SYSTEM, Caller
from llmgateway_server.admin.keys import KeyRotation, hash_key, mint_key, parse_key, same_hash, set_secret
from llmgateway_server.admin.scopes import DEFAULT_SCOPES, SCOPES
from llmgateway_server.errors import InvalidArgument, NotFound, PermissionDenied
from llmgateway_server.principal import Principal
from llmgateway_server.system import SystemIds
from tests.support.control_plane import OPERATOR, Plane

HIDDEN = ("secret", "secret_hash", "previous_secret_hash", "previous_prefix", "previous_expire_time")


async def caller_with(plane: Plane, *scopes: str, models: tuple[str, ...] = ()) -> Caller:
    """A caller whose key exists."""
    key = await plane.api_keys.create(
        ApiKey(scopes=scopes, allowed_models=models), caller=OPERATOR, parent="tenants/acme"
    )
    return Caller(Principal("tenants/acme", key.name, frozenset(scopes)))


@pytest.fixture
async def acme(plane: Plane) -> Plane:
    await plane.tenants.create(Tenant(), caller=OPERATOR, resource_id="acme")
    return plane


class TestText:
    """What can be said of a key without asking anybody."""

    def test_a_minted_key_has_its_shape(self) -> None:
        key = mint_key(SystemIds())
        start, public, rest = key.split("_")
        assert (start, len(public), len(rest)) == ("lgw", 12, 49)
        parts = parse_key(key)
        assert parts is not None
        assert not parts.mistyped
        assert parts.prefix == key[:12]
        assert parts.hash == hash_key(key)
        assert len(parts.hash) == 32

    def test_no_two_are_the_same(self) -> None:
        ids = SystemIds()
        assert len({mint_key(ids) for _ in range(100)}) == 100

    @given(st.integers(0, 65), st.sampled_from("0Az"))
    def test_a_typing_error_is_seen(self, position: int, character: str) -> None:
        key = "lgw_0123456789AB_" + "x" * 43 + "000000"
        key = key[:-6] + _checksum_of(key[:-6])
        wrong = key[:position] + character + key[position + 1 :]
        parts = parse_key(wrong)
        if wrong == key:
            assert parts is not None
            assert not parts.mistyped
        elif parts is not None and wrong[:4] == "lgw_" and wrong[16] == "_":
            assert parts.mistyped

    def test_an_operator_brings_his_own(self) -> None:
        parts = parse_key("lgw_" + "correct-horse-battery-staple!")
        assert parts is not None
        assert not parts.mistyped
        assert parts.prefix == "lgw_correct-"

    @pytest.mark.parametrize(
        "text",
        ["", "lgw_", "lgw_" + "a" * 27, "sk-" + "a" * 40, "LGW_" + "a" * 40, "lgw_" + "a" * 509]
        + ["lgw_" + "a" * 40 + end for end in (" ", "\n", "\0", "é", "\x7f")],
    )
    def test_other_texts_are_no_keys(self, text: str) -> None:
        assert parse_key(text) is None
        with pytest.raises(ValueError, match="a key has 32 to 512") as caught:
            set_secret(ApiKey(), text)
        assert len(text) <= 4 or text not in str(caught.value)

    def test_the_shortest_and_the_longest(self) -> None:
        assert parse_key("lgw_" + "a" * 28)
        assert parse_key("lgw_" + "a" * 508)

    def test_parts_do_not_show_themselves(self) -> None:
        key = mint_key(SystemIds())
        shown = repr(parse_key(key))
        assert key not in shown
        assert "hash" not in shown

    def test_hashes_are_compared_whole(self) -> None:
        assert same_hash(hash_key("a"), hash_key("a"))
        assert not same_hash(hash_key("a"), hash_key("b"))
        assert not same_hash(hash_key("a"), b"")


def _checksum_of(body: str) -> str:
    """The checksum once more, written another way."""
    import zlib

    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    value = zlib.crc32(body.encode())
    return "".join(digits[value // 62**place % 62] for place in range(5, -1, -1))


class TestSecrets:
    """A secret is shown once and kept as a hash."""

    async def test_are_shown_by_the_method_that_made_them(self, acme: Plane) -> None:
        made = await acme.api_keys.create(ApiKey(), caller=OPERATOR, parent="tenants/acme", resource_id="k")
        parts = parse_key(made.secret)
        assert parts is not None
        assert made.prefix == parts.prefix
        assert not made.secret_hash
        kind, name, stored = acme.heard[-1]
        assert isinstance(stored, ApiKey)
        assert (kind, name) == (ApiKey, "tenants/acme/apiKeys/k")
        assert stored.secret_hash == parts.hash
        assert not stored.secret

    async def test_are_never_read_again(self, acme: Plane) -> None:
        made = await acme.api_keys.create(ApiKey(), caller=OPERATOR, parent="tenants/acme", resource_id="k")
        await KeyRotation(acme.api_keys, clock=acme.clock, ids=acme.ids)(
            made.name, overlap=timedelta(days=1), caller=OPERATOR
        )
        read = [
            await acme.api_keys.get(made.name),
            *(await acme.api_keys.list(parent="tenants/acme")).items,
            await acme.api_keys.update(ApiKey(name=made.name, display_name="New"), caller=OPERATOR),
        ]
        for key in read:
            assert not [field.name for field, _ in key.ListFields() if field.name in HIDDEN]
            assert key.prefix
        async with acme.store.reading() as moment:
            stored = await moment.of(ApiKey).get(made.name)
        assert made.secret.encode() not in stored.SerializeToString()

    async def test_are_not_set_by_callers(self, acme: Plane) -> None:
        forged = ApiKey(secret="mine", secret_hash=b"mine", prefix="mine", previous_secret_hash=b"mine")
        made = await acme.api_keys.create(forged, caller=OPERATOR, parent="tenants/acme", resource_id="k")
        forged.name = made.name
        mask = ["secret_hash", "previous_secret_hash", "prefix", "secret"]
        await acme.api_keys.update(forged, caller=OPERATOR, mask=mask)
        await acme.api_keys.update(forged, caller=OPERATOR, mask=["*"])
        async with acme.store.reading() as moment:
            stored = await moment.of(ApiKey).get(made.name)
        assert stored.secret_hash == hash_key(made.secret)
        assert not stored.previous_secret_hash
        assert stored.prefix == made.prefix

    async def test_are_not_to_be_found_by_filters(self, acme: Plane) -> None:
        made = await acme.api_keys.create(ApiKey(), caller=OPERATOR, parent="tenants/acme", resource_id="k")
        found = await acme.api_keys.list(parent="tenants/-", filter=f'prefix = "{made.prefix}"')
        assert [key.name for key in found.items] == [made.name]
        for name in HIDDEN:
            with pytest.raises(InvalidArgument):
                await acme.api_keys.list(parent="tenants/-", filter=f"{name} : *")

    async def test_leave_no_trace_in_the_audit_log(self, acme: Plane) -> None:
        made = await acme.api_keys.create(ApiKey(), caller=OPERATOR, parent="tenants/acme", resource_id="k")
        rotate = KeyRotation(acme.api_keys, clock=acme.clock, ids=acme.ids)
        rotated = await rotate(made.name, overlap=None, caller=OPERATOR)
        events = b"".join(event.SerializeToString() for event in await acme.audit())
        for secret in (made.secret, rotated.secret):
            assert secret.encode() not in events
            assert hash_key(secret) not in events


class TestScopes:
    """A key may do no more than who makes it."""

    async def test_are_the_usual_ones_when_none_is_named(self, acme: Plane) -> None:
        made = await acme.api_keys.create(ApiKey(), caller=OPERATOR, parent="tenants/acme", resource_id="k")
        assert tuple(made.scopes) == DEFAULT_SCOPES
        wider = ApiKey(name=made.name, scopes=["admin:read"])
        assert list((await acme.api_keys.update(wider, caller=OPERATOR)).scopes) == ["admin:read"]
        cleared = await acme.api_keys.update(ApiKey(name=made.name), caller=OPERATOR, mask=["scopes"])
        assert tuple(cleared.scopes) == DEFAULT_SCOPES

    async def test_beyond_the_callers_are_refused(self, acme: Plane) -> None:
        caller = await caller_with(acme, "admin:write", "chat")
        for scopes, missing in ((["chat", "platform"], "platform"), ([], "models:read")):
            with pytest.raises(PermissionDenied) as caught:
                await acme.api_keys.create(ApiKey(scopes=scopes), caller=caller, parent="tenants/acme")
            assert caught.value.reason == ErrorReason.ERROR_REASON_SCOPE_REQUIRED
            assert caught.value.metadata == {"scope": missing, "field": "api_key.scopes"}
        made = await acme.api_keys.create(ApiKey(scopes=["chat"]), caller=caller, parent="tenants/acme")
        with pytest.raises(PermissionDenied):
            await acme.api_keys.update(ApiKey(name=made.name, scopes=["chat", "platform"]), caller=caller)

    async def test_that_a_key_has_already_stay(self, acme: Plane) -> None:
        caller = await caller_with(acme, "admin:write")
        strong = await acme.api_keys.create(ApiKey(scopes=["platform", "chat"]), caller=OPERATOR, parent="tenants/acme")
        changed = await acme.api_keys.update(
            ApiKey(name=strong.name, scopes=["chat"], display_name="Weak"), caller=caller
        )
        assert list(changed.scopes) == ["chat"]

    async def test_a_limited_caller_hands_out_limited_keys(self, acme: Plane) -> None:
        caller = await caller_with(acme, "admin:write", "chat", models=("models/fake/*", "routes/fast"))
        for models in ([], ["*"], ["models/*"], ["models/fake/echo", "models/real/echo"], ["routes/*"]):
            with pytest.raises(PermissionDenied) as caught:
                await acme.api_keys.create(
                    ApiKey(scopes=["chat"], allowed_models=models), caller=caller, parent="tenants/acme"
                )
            assert caught.value.reason == ErrorReason.ERROR_REASON_MODEL_NOT_ALLOWED
            assert caught.value.field == "api_key.allowed_models"
        allowed = ["models/fake/echo", "models/fake/e*", "routes/fast"]
        made = await acme.api_keys.create(
            ApiKey(scopes=["chat"], allowed_models=allowed), caller=caller, parent="tenants/acme"
        )
        with pytest.raises(PermissionDenied):
            await acme.api_keys.update(ApiKey(name=made.name), caller=caller, mask=["allowed_models"])

    async def test_an_unlimited_caller_needs_no_list(self, acme: Plane) -> None:
        caller = await caller_with(acme, "admin:write", "chat")
        await acme.api_keys.create(ApiKey(scopes=["chat"]), caller=caller, parent="tenants/acme")

    def test_are_known_to_the_methods_that_ask_for_them(self) -> None:
        from llmgateway.v1 import (
            admin_service_pb2,
            authorization_pb2,
            chat_service_pb2,
            evaluation_service_pb2,
            model_service_pb2,
            routing_service_pb2,
        )

        asked = {
            method.GetOptions().Extensions[authorization_pb2.required_scope]
            for module in (
                admin_service_pb2,
                chat_service_pb2,
                evaluation_service_pb2,
                model_service_pb2,
                routing_service_pb2,
            )
            for service in module.DESCRIPTOR.services_by_name.values()
            for method in service.methods
        }
        assert asked | {"platform"} == set(SCOPES)


class TestExpiry:
    """When a key stops working."""

    async def test_lies_ahead_when_it_is_set(self, acme: Plane) -> None:
        key = ApiKey()
        key.expire_time.FromDatetime(acme.clock.now())
        with pytest.raises(InvalidArgument) as caught:
            await acme.api_keys.create(key, caller=OPERATOR, parent="tenants/acme")
        assert caught.value.field == "api_key.expire_time"
        key.expire_time.FromDatetime(acme.clock.now() + timedelta(seconds=1))
        made = await acme.api_keys.create(key, caller=OPERATOR, parent="tenants/acme")
        acme.clock.move(timedelta(days=1))
        changed = await acme.api_keys.update(ApiKey(name=made.name, display_name="Over"), caller=OPERATOR)
        assert changed.expire_time == made.expire_time


class TestRotation:
    """A new secret, and the old one for a while."""

    async def rotate(
        self, plane: Plane, name: str, *, overlap: timedelta | None, caller: Caller = OPERATOR
    ) -> tuple[ApiKey, ApiKey]:
        """What the caller sees, and what is stored."""
        rotation = KeyRotation(plane.api_keys, clock=plane.clock, ids=plane.ids)
        seen = await rotation(name, overlap=overlap, caller=caller)
        stored = plane.heard[-1][2]
        assert isinstance(stored, ApiKey)
        return seen, stored

    async def test_keeps_the_old_secret_for_the_overlap(self, acme: Plane) -> None:
        made = await acme.api_keys.create(ApiKey(), caller=OPERATOR, parent="tenants/acme", resource_id="k")
        seen, stored = await self.rotate(acme, made.name, overlap=timedelta(hours=1))
        assert seen.secret != made.secret
        assert stored.secret_hash == hash_key(seen.secret)
        assert stored.previous_secret_hash == hash_key(made.secret)
        assert stored.previous_prefix == made.prefix
        assert stored.previous_expire_time.ToDatetime(acme.clock.now().tzinfo) == acme.clock.now() + timedelta(hours=1)
        assert seen.etag != made.etag
        event = (await acme.audit())[-1]
        assert event.action == "rotate"
        assert "secret_hash" in event.changed_fields

    async def test_forgets_the_old_secret_without_one(self, acme: Plane) -> None:
        made = await acme.api_keys.create(ApiKey(), caller=OPERATOR, parent="tenants/acme", resource_id="k")
        await self.rotate(acme, made.name, overlap=timedelta(hours=1))
        _, stored = await self.rotate(acme, made.name, overlap=None)
        assert not stored.previous_secret_hash
        assert not stored.HasField("previous_expire_time")

    @pytest.mark.parametrize("overlap", [timedelta(seconds=-1), timedelta(days=30, seconds=1)])
    async def test_overlaps_30_days_at_most(self, acme: Plane, overlap: timedelta) -> None:
        made = await acme.api_keys.create(ApiKey(), caller=OPERATOR, parent="tenants/acme", resource_id="k")
        with pytest.raises(InvalidArgument) as caught:
            await self.rotate(acme, made.name, overlap=overlap)
        assert caught.value.field == "overlap"

    async def test_is_not_a_way_to_a_stronger_key(self, acme: Plane) -> None:
        caller = await caller_with(acme, "admin:write", "chat", models=("models/fake/*",))
        strong = await acme.api_keys.create(ApiKey(scopes=["platform"]), caller=OPERATOR, parent="tenants/acme")
        wide = await acme.api_keys.create(ApiKey(scopes=["chat"]), caller=OPERATOR, parent="tenants/acme")
        for key in (strong, wide):
            with pytest.raises(PermissionDenied):
                await self.rotate(acme, key.name, overlap=None, caller=caller)

    async def test_misses_what_is_not_there(self, acme: Plane) -> None:
        with pytest.raises(NotFound):
            await self.rotate(acme, "tenants/acme/apiKeys/none", overlap=None)
        with pytest.raises(InvalidArgument):
            await self.rotate(acme, "tenants/acme", overlap=None)


def test_the_gateway_itself_may_do_everything() -> None:
    assert SYSTEM.principal.scopes == set(SCOPES)
    assert SYSTEM.name == "system"
