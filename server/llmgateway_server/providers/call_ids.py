"""Ids of tool calls for providers that are particular about their characters."""

from __future__ import annotations

import re
from hashlib import blake2b

_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


def plain_call_id(call_id: str) -> str:
    """The id if it is 1 to 64 letters, digits, `_` and `-`, else one of that form that is always the same for it.

    A call and its result have the same id, so each can be renamed without looking at the other.
    """
    if _PLAIN.fullmatch(call_id):
        return call_id
    return f"call_{blake2b(call_id.encode(), digest_size=16).hexdigest()}"


def short_call_id(call_id: str, characters: int) -> str:
    """The id if it is so many letters and digits, else one of that form that is always the same for it."""
    if len(call_id) == characters and call_id.isascii() and call_id.isalnum():
        return call_id
    return blake2b(call_id.encode(), digest_size=32).hexdigest()[:characters]
