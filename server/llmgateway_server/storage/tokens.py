"""Page tokens: where a list goes on, sealed so that nobody can make one up or use it for another list."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

from llmgateway_server.errors import InvalidArgument, invalid_field

_SEAL: Final = 16
"""Bytes of the seal: 128 bits of HMAC-SHA-256."""

_LONGEST: Final = 2000
"""Most characters of a token that is looked at."""


class PageTokens:
    """Seals and opens page tokens with the secret of one store."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def seal(self, position: str, *scope: str) -> str:
        """The token for a position in the list that the scope describes: its kind, parent and filter."""
        payload = position.encode()
        return base64.urlsafe_b64encode(self._seal(payload, scope) + payload).rstrip(b"=").decode()

    def open(self, token: str, *scope: str) -> str:
        """The position in a token; `INVALID_FIELD` for `page_token` when it was not sealed here for this list."""
        if len(token) > _LONGEST:
            raise _refused()
        try:
            sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:  # ValueError: not ASCII
            raise _refused() from error
        payload = sealed[_SEAL:]
        if not hmac.compare_digest(sealed[:_SEAL], self._seal(payload, scope)):
            raise _refused()
        return payload.decode()

    def _seal(self, payload: bytes, scope: tuple[str, ...]) -> bytes:
        parts = [payload, *(part.encode() for part in scope)]
        # Each part goes in with its length, so that no two lists of parts look alike.
        content = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
        return hmac.digest(self._secret, content, hashlib.sha256)[:_SEAL]


def _refused() -> InvalidArgument:
    return invalid_field("page_token", "is not a token of this list; use one that the same list returned, or none.")
