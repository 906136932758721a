"""Makes a provider's words fit to be shown to a caller: short, printable, and without a trace of a credential."""

from __future__ import annotations

import re
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote

MAX_CHARACTERS = 500

_PIECE = 12
"""A piece of a secret as long as this is a leak; shorter ones occur by chance."""

_SHORTEST = 8
"""Anything shorter is no secret, but a word that a server without keys was given for one."""

_KEY_LIKE = re.compile(
    r"\b(?:sk|pk|rk|xai|gsk|hf|key|AIza|ya29|AKIA|ASIA|ghp|lgw)[-_.]?[A-Za-z0-9_\-*.]{12,}|(?i:bearer)\s+\S+"
)
_STARS = "***"


def scrub(text: str, secret: str) -> str:
    """The text on one line, at most 500 characters, with the secret and whatever looks like a key starred out."""
    # Bounded before the work on it, which grows with its length.
    text = " ".join("".join(c if c.isprintable() else " " for c in text[: MAX_CHARACTERS * 4]).split())
    for form in _forms(secret):
        text = _without_pieces(text, form)
    text = _KEY_LIKE.sub(_STARS, text)
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"


def _forms(secret: str) -> list[str]:
    """The spellings in which a secret may come back."""
    if len(secret) < _SHORTEST:
        return []
    raw = secret.encode()
    return [secret, quote(secret, safe=""), raw.hex(), b64encode(raw).decode(), urlsafe_b64encode(raw).decode()]


def _without_pieces(text: str, secret: str) -> str:
    """Stars out every piece of the secret that is 12 characters or longer, or all of a shorter secret."""
    size = min(_PIECE, len(secret))
    pieces = {secret[start : start + size] for start in range(len(secret) - size + 1)}
    out: list[str] = []
    at = 0
    while at < len(text):
        end = at
        while text[end : end + size] in pieces:
            end += 1
        if end > at:
            out.append(_STARS)
            at = end + size - 1
        else:
            out.append(text[at])
            at += 1
    return "".join(out)
