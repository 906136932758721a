"""Undoes the compression of answers, within bounds.

Providers are asked not to compress. Some do, and so do the proxies before them; a small answer may stand for gigabytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Protocol

from llmgateway_server.providers.failures import protocol_error

MAX_RATIO = 256
"""How many times larger than what was sent an answer may become, once it is past the free allowance."""

FREE_BYTES = 4 * 1024 * 1024
"""Up to this size no ratio is asked for: short texts of one letter compress very well."""

_GZIP = zlib.MAX_WBITS | 16
_PIECE_BYTES = 256 * 1024


class Expander(Protocol):
    """Turns what came over the wire into the bytes it stands for."""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The expanded bytes, in pieces of bounded size. Raises PROVIDER_PROTOCOL_ERROR for a broken or absurd body."""
        ...


class Identity:
    """Nothing was compressed."""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        yield piece


class Inflater:
    """Undoes gzip and deflate. A gzip body may be several, one after the other; a deflate body may lack its header."""

    def __init__(self, *, gzip: bool) -> None:
        self._gzip = gzip
        self._inflate = zlib.decompressobj(_GZIP if gzip else zlib.MAX_WBITS)
        self._taken = 0
        self._given = 0

    def feed(self, piece: bytes) -> Iterator[bytes]:
        self._taken += len(piece)
        rest, expanded = piece, b""
        # A full piece of output may have more behind it, although all of the input was taken.
        while rest or len(expanded) == _PIECE_BYTES:
            if rest and self._inflate.eof:
                self._begin_another()
            expanded = self._expand(rest)
            rest = self._inflate.unconsumed_tail or self._inflate.unused_data
            self._given += len(expanded)
            if self._given > max(FREE_BYTES, self._taken * MAX_RATIO):
                raise protocol_error(f"the provider sent a body that expands more than {MAX_RATIO} times.")
            if expanded:
                yield expanded

    def _begin_another(self) -> None:
        if not self._gzip:
            raise protocol_error("the provider sent more after the end of its compressed body.")
        self._inflate = zlib.decompressobj(_GZIP)

    def _expand(self, rest: bytes) -> bytes:
        try:
            return self._inflate.decompress(rest, _PIECE_BYTES)
        except zlib.error as error:
            if self._gzip or self._given:
                raise protocol_error("the provider's compressed body is broken.") from error
        try:
            self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            return self._inflate.decompress(rest, _PIECE_BYTES)
        except zlib.error as error:
            raise protocol_error("the provider's compressed body is broken.") from error


def expander(encoding: str) -> Expander:
    """What undoes a `content-encoding`. Raises PROVIDER_PROTOCOL_ERROR for one that is not known here."""
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return Identity()
    if name in ("gzip", "x-gzip", "deflate"):
        return Inflater(gzip=name != "deflate")
    raise protocol_error(f"the provider compressed its answer as {name[:40]!r}, which was not asked for.")
