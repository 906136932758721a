"""From a credential to the principal it stands for. Reads the catalogue in memory; never waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

from google.protobuf.timestamp_pb2 import Timestamp

from llmgateway.v1.admin_resources_pb2 import ApiKey
from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server.admin.keys import hash_key, parse_key, same_hash
from llmgateway_server.errors import Unauthenticated
from llmgateway_server.ports.system import Clock
from llmgateway_server.principal import Principal
from llmgateway_server.routing.catalogue import Snapshot

MAX_CREDENTIAL = 8_192
"""Longest credential that is looked at, in characters."""

_SCHEME = "bearer "


@dataclass(frozen=True, slots=True)
class _Known:
    """A key that was checked against a snapshot."""

    principal: Principal
    until: float
    """When it has to be checked again, in seconds since the Unix epoch."""


class Authenticator:
    """Knows the keys of the current snapshot. What it found out of a key holds until the snapshot is another one."""

    def __init__(self, snapshot: Callable[[], Snapshot], clock: Clock) -> None:
        self._snapshot = snapshot
        self._clock = clock
        self._checked: Snapshot | None = None
        self._known: dict[bytes, _Known] = {}
        """By the whole hash of a key. No larger than the snapshot's own table, since only good keys get here."""

    def authenticate(self, credentials: Sequence[str]) -> Principal:
        """The principal of the one `authorization` value `Bearer KEY`.

        Raises API_KEY_MISSING, API_KEY_INVALID or API_KEY_EXPIRED. A key is found by the SHA-256 of its text, which an
        attacker cannot steer, and compared in constant time; so the time taken tells nothing of the keys there are.
        """
        if not credentials:
            raise Unauthenticated(
                ErrorReason.ERROR_REASON_API_KEY_MISSING,
                "no API key was sent; send 'authorization: Bearer lgw_...'.",
            )
        if len(credentials) > 1:
            raise _invalid("more than one authorization was sent; send one.")
        value = credentials[0]
        if len(value) > MAX_CREDENTIAL or not value[: len(_SCHEME)].lower() == _SCHEME:
            raise _invalid("the authorization is not of the form 'Bearer lgw_...'.")
        text = value[len(_SCHEME) :].strip(" ")
        snapshot = self._snapshot()
        if snapshot is not self._checked:
            self._checked, self._known = snapshot, {}
        now = self._clock.now().timestamp()
        known = self._known.get(hash_key(text)) if text.isascii() else None
        if known is not None and now < known.until:
            return known.principal
        return self._check_key(text, snapshot, now)

    def _check_key(self, text: str, snapshot: Snapshot, now: float) -> Principal:
        parts = parse_key(text)
        if parts is None:
            raise _invalid("the text sent is no API key of this gateway; those begin with 'lgw_'.")
        if parts.mistyped:
            raise _invalid("the API key is mistyped or cut short; copy it again.")
        key = snapshot.keys.get(snapshot.key_hashes.get(parts.hash, ""))
        if key is None:
            raise _invalid("the API key is not known here; it may have been revoked.")
        until = _valid_until(key, parts.hash, now)
        tenant_name = key.name.split("/apiKeys/")[0]
        tenant = snapshot.tenants.get(tenant_name)
        if tenant is None or tenant.disabled:
            raise _invalid("the tenant of this API key is disabled.")
        principal = Principal(
            tenant=tenant_name,
            api_key=key.name,
            scopes=frozenset(key.scopes),
            allowed_models=(tenant.allowed_models, key.allowed_models),
        )
        self._known[parts.hash] = _Known(principal, until)
        return principal


def _valid_until(key: ApiKey, digest: bytes, now: float) -> float:
    """Until when a secret of a key works, in seconds since the Unix epoch; raises if it does not work now."""
    current = same_hash(digest, key.secret_hash)
    overlap = _seconds(key.previous_expire_time) if same_hash(digest, key.previous_secret_hash) else 0.0
    if not current and now >= overlap:
        raise _invalid("the API key was rotated; use the new one.")
    if key.disabled:
        raise _invalid("the API key is disabled.")
    expiry = _seconds(key.expire_time) if key.HasField("expire_time") else inf
    if now >= expiry:
        raise Unauthenticated(ErrorReason.ERROR_REASON_API_KEY_EXPIRED, "the API key has expired; create another one.")
    return expiry if current else min(expiry, overlap)


def _seconds(moment: Timestamp) -> float:
    return moment.seconds + moment.nanos / 1e9


def _invalid(message: str) -> Unauthenticated:
    return Unauthenticated(ErrorReason.ERROR_REASON_API_KEY_INVALID, message)
