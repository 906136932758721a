"""API keys: how they are made, recognised, kept and rotated.

A key that the gateway makes is `lgw_`, 12 characters that are public, `_`, 43 secret ones and a checksum of 6, all
base62: 256 bits of secret, and a typing error is told from a foreign key without asking anybody. An operator may bring
a key of his own instead: 32 or more characters that begin with `lgw_`.

What is stored is the SHA-256 of the whole text. A slow hash would protect nothing here: nobody guesses 256 random bits,
and every request would pay for it. A key is looked up by that hash in a table in memory, and the entry that is found is
compared once more by `same_hash`. How long the look-up takes depends on the hash, and an attacker cannot choose texts
by how their hashes begin; so the time tells him nothing, whatever the table does inside.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import string
import zlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from llmgateway.v1.admin_resources_pb2 import ApiKey
from llmgateway_server import names
from llmgateway_server.admin.scopes import DEFAULT_SCOPES
from llmgateway_server.errors import invalid_field

if TYPE_CHECKING:
    from llmgateway_server.admin.caller import Caller
    from llmgateway_server.admin.collection import Collection
    from llmgateway_server.ports.system import Clock, Ids

START: Final = "lgw_"
"""How every key begins."""

SHORTEST: Final = 32
"""Least characters of a key."""

LONGEST: Final = 512
"""Most characters of a key."""

MAX_OVERLAP: Final = timedelta(days=30)
"""How long at most the old secret of a rotated key works on."""

_PUBLIC: Final = 12
_SECRET: Final = 43
_CHECKSUM: Final = 6
_PREFIX: Final = 12
_BASE62: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_MINTED: Final = re.compile(rf"{START}[0-9A-Za-z]{{{_PUBLIC}}}_[0-9A-Za-z]{{{_SECRET + _CHECKSUM}}}")
_KEY: Final = re.compile(rf"{START}[!-~]{{{SHORTEST - len(START)},{LONGEST - len(START)}}}")


@dataclass(frozen=True, slots=True)
class KeyParts:
    """What can be said of a key without asking anybody."""

    prefix: str
    """The first 12 characters, by which people tell keys apart."""
    hash: bytes = field(repr=False)
    """What it is stored and looked up by."""
    mistyped: bool
    """Whether it has the shape of a key that the gateway makes, and a checksum that does not fit."""


def mint_key(ids: Ids) -> str:
    """A new key. It is random; whoever calls this shows it once and stores its hash."""
    body = f"{START}{ids.secret(_PUBLIC)}_{ids.secret(_SECRET)}"
    return body + _checksum(body)


def parse_key(text: str) -> KeyParts | None:
    """The parts of a key, or None for a text that cannot be one. Takes some microseconds and asks nobody."""
    if _KEY.fullmatch(text) is None:
        return None
    mistyped = _MINTED.fullmatch(text) is not None and _checksum(text[:-_CHECKSUM]) != text[-_CHECKSUM:]
    return KeyParts(text[:_PREFIX], hash_key(text), mistyped)


def hash_key(text: str) -> bytes:
    """What a key is stored and looked up by: 32 bytes."""
    return hashlib.sha256(text.encode()).digest()


def same_hash(left: bytes, right: bytes) -> bool:
    """Whether two hashes are the same, in a time that does not depend on where they differ."""
    return hmac.compare_digest(left, right)


def fill_in_scopes(key: ApiKey) -> None:
    """Gives a key that names no scopes the usual ones."""
    if not key.scopes:
        key.scopes.extend(DEFAULT_SCOPES)


def fill_in_secret(key: ApiKey, ids: Ids) -> None:
    """Gives a key a new secret: shown in `secret`, kept as `secret_hash` and `prefix`."""
    set_secret(key, mint_key(ids))


def set_secret(key: ApiKey, text: str) -> None:
    """Gives a key this secret. `ValueError` when the text cannot be one; the message does not quote it."""
    parts = parse_key(text)
    if parts is None:
        raise ValueError(f"a key has {SHORTEST} to {LONGEST} visible characters and begins with {START!r}")
    key.secret, key.prefix, key.secret_hash = text, parts.prefix, parts.hash


class KeyRotation:
    """Replaces secrets of keys."""

    def __init__(self, keys: Collection[ApiKey], *, clock: Clock, ids: Ids) -> None:
        self._keys = keys
        self._clock = clock
        self._ids = ids

    async def __call__(self, name: str, *, overlap: timedelta | None, caller: Caller) -> ApiKey:
        """Gives a key a new secret and returns it, once. The old one works on for the overlap, up to 30 days.

        The caller must himself be allowed what the key is allowed, since the new secret lets him do it.
        """
        names.parse_name("ApiKey", name)
        keep = overlap or timedelta(0)
        if not timedelta(0) <= keep <= MAX_OVERLAP:
            raise invalid_field("overlap", f"is {keep.total_seconds():g} s; use 0 to {MAX_OVERLAP.days} days.")

        def rotated(current: ApiKey) -> ApiKey:
            key = ApiKey()
            key.CopyFrom(current)
            for field_name in ("previous_secret_hash", "previous_prefix", "previous_expire_time"):
                key.ClearField(field_name)
            if keep:
                key.previous_secret_hash, key.previous_prefix = current.secret_hash, current.prefix
                key.previous_expire_time.FromDatetime(self._clock.now() + keep)
            fill_in_secret(key, self._ids)
            return key

        return await self._keys.change(name, rotated, caller=caller, action="rotate")


def _checksum(body: str) -> str:
    value = zlib.crc32(body.encode())
    digits: list[str] = []
    for _ in range(_CHECKSUM):
        value, digit = divmod(value, len(_BASE62))
        digits.append(_BASE62[digit])
    return "".join(reversed(digits))
