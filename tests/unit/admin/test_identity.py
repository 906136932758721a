"""Identity: from the text of a key to the principal, or a refusal that tells nothing it should not."""

import hmac
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgateway.v1.admin_resources_pb2 import ApiKey, Tenant
from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server.admin import keys
from llmgateway_server.admin.identity import MAX_CREDENTIAL, Authenticator
from llmgateway_server.admin.keys import hash_key, mint_key
from llmgateway_server.errors import Unauthenticated
from llmgateway_server.principal import Principal
from llmgateway_server.routing.catalogue import Catalogue
from tests.support.calls import KEY, TENANT, credential_of
from tests.support.system import CountingIds, StillClock

_IDS = CountingIds()
SECRET = mint_key(_IDS)
OTHER = mint_key(_IDS)
OWN = "lgw_an-operators-own-key-0123456789!"


def bearer(text: str) -> list[str]:
    return [f"Bearer {text}"]


class Door:
    """An authenticator in front of one tenant with one key."""

    def __init__(self, secret: str = SECRET, *, tenant: Mapping[str, Any] | None = None, **fields: Any) -> None:
        self.clock = StillClock()
        self.catalogue = Catalogue(credential_of)
        self.key = ApiKey(name=KEY, secret_hash=hash_key(secret), scopes=["chat"], **fields)
        self.tenant = Tenant(name=TENANT, **(tenant or {}))
        self.catalogue.load([self.tenant, self.key])
        self._authenticator = Authenticator(lambda: self.catalogue.snapshot, self.clock)

    def enter(self, credentials: Sequence[str]) -> Principal:
        return self._authenticator.authenticate(credentials)

    def refuse(self, credentials: Sequence[str]) -> Unauthenticated:
        with pytest.raises(Unauthenticated) as refusal:
            self.enter(credentials)
        return refusal.value


def test_a_key_stands_for_its_principal() -> None:
    door = Door(tenant={"allowed_models": ["models/*"]}, allowed_models=["models/fake/*"])
    principal = door.enter(bearer(SECRET))
    assert (principal.tenant, principal.api_key, principal.scopes) == (TENANT, KEY, {"chat"})
    assert principal.may_use("models/fake/echo")
    assert not principal.may_use("models/other")
    assert not principal.may_use("routes/a")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_the_scheme_is_read_in_any_case(scheme: str) -> None:
    assert Door().enter([f"{scheme} {SECRET}"]).api_key == KEY


def test_space_around_a_key_is_passed_over() -> None:
    assert Door().enter([f"Bearer   {SECRET} "]).api_key == KEY


def test_an_operators_own_key_works() -> None:
    assert Door(OWN).enter(bearer(OWN)).api_key == KEY


def test_no_credential_is_missing() -> None:
    assert Door().refuse([]).reason == ErrorReason.ERROR_REASON_API_KEY_MISSING


@pytest.mark.parametrize(
    "credentials",
    [
        [""],
        ["Bearer"],
        ["Bearer "],
        [SECRET],
        [f"Basic {SECRET}"],
        [f"Bearer\t{SECRET}"],
        [f"Bearer{SECRET}"],
        bearer("lgw_"),
        bearer(SECRET[:-1]),
        bearer(SECRET + "x"),
        bearer(SECRET.swapcase()),
        bearer(SECRET[:-1] + ("a" if SECRET[-1] != "a" else "b")),
        bearer(OTHER),
        bearer(OWN),
        bearer(f"{SECRET} {SECRET}"),
        bearer("x" * MAX_CREDENTIAL),
        bearer("lgw_" + "x" * 2_000_000),
        bearer("ключ" * 20),
        bearer("lgw_" + "é" * 40),
        bearer("lgw_\ud800" + "x" * 40),
        bearer(SECRET + "\x00"),
        bearer(SECRET + "\u2028"),
        [*bearer(SECRET), *bearer(SECRET)],
        [*bearer(SECRET), "Basic eDp5"],
        ["", *bearer(SECRET)],
    ],
    ids=lambda credentials: repr(credentials)[:40],
)
def test_anything_else_is_invalid(credentials: list[str]) -> None:
    refusal = Door().refuse(credentials)
    assert refusal.reason == ErrorReason.ERROR_REASON_API_KEY_INVALID
    assert SECRET not in refusal.message


@given(st.lists(st.one_of(st.text(), st.text().map("Bearer {}".format), st.text().map("Bearer lgw_{}".format))))
def test_no_text_gets_in_or_breaks_the_door(credentials: list[str]) -> None:
    assert Door().refuse(credentials).message.endswith(".")


def test_a_key_of_the_same_prefix_is_another_key() -> None:
    """The look-up goes by the whole key: two that people cannot tell apart by prefix are still two."""
    twin = OWN[:-1] + "?"
    door = Door(OWN)
    door.enter(bearer(OWN))
    assert door.refuse(bearer(twin)).reason == ErrorReason.ERROR_REASON_API_KEY_INVALID


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"disabled": True}, ErrorReason.ERROR_REASON_API_KEY_INVALID),
        ({"tenant": {"disabled": True}}, ErrorReason.ERROR_REASON_API_KEY_INVALID),
    ],
)
def test_what_is_disabled_is_refused(fields: dict[str, Any], reason: ErrorReason) -> None:
    assert Door(**fields).refuse(bearer(SECRET)).reason == reason


def test_a_key_of_no_tenant_is_refused() -> None:
    door = Door()
    door.catalogue.apply(Tenant, TENANT, None)
    door.refuse(bearer(SECRET))


def test_a_key_stops_working_the_moment_it_is_revoked() -> None:
    door = Door()
    door.enter(bearer(SECRET))
    door.catalogue.apply(ApiKey, KEY, None)
    assert door.refuse(bearer(SECRET)).reason == ErrorReason.ERROR_REASON_API_KEY_INVALID


def test_a_key_works_until_it_expires() -> None:
    door = Door()
    door.key.expire_time.FromDatetime(door.clock.now() + timedelta(seconds=10.5))
    door.catalogue.apply(ApiKey, KEY, door.key)
    door.clock.move(timedelta(seconds=10.4))
    door.enter(bearer(SECRET))
    door.clock.move(timedelta(seconds=0.1))
    assert door.refuse(bearer(SECRET)).reason == ErrorReason.ERROR_REASON_API_KEY_EXPIRED


def test_a_rotated_key_works_for_the_overlap() -> None:
    door = Door(OTHER)
    door.key.previous_secret_hash = hash_key(SECRET)
    door.key.previous_expire_time.FromDatetime(door.clock.now() + timedelta(seconds=10.5))
    door.catalogue.apply(ApiKey, KEY, door.key)
    for seconds in (0.0, 10.4):
        door.clock.move(timedelta(seconds=seconds))
        assert door.enter(bearer(SECRET)).api_key == door.enter(bearer(OTHER)).api_key == KEY
    door.clock.move(timedelta(seconds=0.1))
    assert "rotated" in door.refuse(bearer(SECRET)).message
    door.enter(bearer(OTHER))


def test_a_rotated_key_without_an_overlap_is_over() -> None:
    door = Door(OTHER)
    door.key.previous_secret_hash = hash_key(SECRET)
    door.catalogue.apply(ApiKey, KEY, door.key)
    door.refuse(bearer(SECRET))


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, bytes]]:
    """Every pair of hashes that was compared."""
    pairs: list[tuple[bytes, bytes]] = []
    compare: Callable[[bytes, bytes], bool] = hmac.compare_digest

    def note(left: bytes, right: bytes) -> bool:
        pairs.append((left, right))
        return compare(left, right)

    monkeypatch.setattr(keys.hmac, "compare_digest", note)
    return pairs


def test_the_key_that_was_found_is_compared_in_constant_time(compared: list[tuple[bytes, bytes]]) -> None:
    Door().enter(bearer(SECRET))
    assert (hash_key(SECRET), hash_key(SECRET)) in compared


def test_no_refusal_tells_a_revoked_key_from_one_that_never_was() -> None:
    door = Door()
    never = door.refuse(bearer(OTHER))
    door.catalogue.apply(ApiKey, KEY, None)
    revoked = door.refuse(bearer(SECRET))
    assert (never.message, never.metadata) == (revoked.message, revoked.metadata)
