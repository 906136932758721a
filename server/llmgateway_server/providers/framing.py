"""Cuts streamed bodies into frames, however the network split them.

A frame is the payload of one event: the joined `data` lines of a server-sent event, or one line of NDJSON. Names of
server-sent events are not kept, because every dialect that uses them repeats the name within the data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server.errors import Unavailable
from llmgateway_server.providers.wire import Framing

MAX_FRAME_BYTES = 16 * 1024 * 1024
"""The largest frame that is taken. Pictures and sounds come base64-encoded in one frame, so the bound is generous."""

_BOM = b"\xef\xbb\xbf"


class FrameReader(Protocol):
    """Reads frames out of a body that comes in pieces. Each raises `PROVIDER_PROTOCOL_ERROR` for an oversized frame."""

    def feed(self, piece: bytes) -> list[bytes]:
        """The frames that this piece completes, in order."""
        ...

    def end(self) -> list[bytes]:
        """What is left when the body has ended: a last frame whose end mark is missing, as far as it came."""
        ...


class SseReader:
    """Reads server-sent events.

    Takes LF, CRLF and CR as line ends, a byte-order mark at the start, comments, `data:` with or without a space, and
    several data lines per event. Events without data are skipped.
    """

    def __init__(self, limit: int = MAX_FRAME_BYTES) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0
        self._at_start = True
        self._after_cr = False
        self._after_newline = False

    def feed(self, piece: bytes) -> list[bytes]:
        piece = self._with_plain_newlines(piece)
        if not piece:
            return []
        ends_event = b"\n\n" in piece or (self._after_newline and piece[0] == _NEWLINE)
        self._after_newline = piece[-1] == _NEWLINE
        self._pieces.append(piece)
        self._size += len(piece)
        if not ends_event:
            if self._size > self._limit:
                raise _too_large(self._limit)
            return []
        block = b"".join(self._pieces)
        # Every line end before the last empty line is complete; what follows it waits for more.
        cut = block.rindex(b"\n\n") + 2
        rest = block[cut:]
        self._pieces = [rest] if rest else []
        self._size = len(rest)
        self._after_newline = rest.endswith(b"\n")
        return self._frames(block[: cut - 2])

    def end(self) -> list[bytes]:
        block = b"".join(self._pieces)
        self._pieces, self._size = [], 0
        return self._frames(block)

    def _with_plain_newlines(self, piece: bytes) -> bytes:
        if self._after_cr and piece[:1] == b"\n":
            # The second half of a CRLF that was split between two reads; its first half already ended the line.
            piece = piece[1:]
            self._after_cr = False
        if b"\r" in piece:
            self._after_cr = piece.endswith(b"\r")
            return piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if piece:
            self._after_cr = False
        return piece

    def _frames(self, block: bytes) -> list[bytes]:
        if self._at_start and block:
            self._at_start = False
            block = block.removeprefix(_BOM)
        frames: list[bytes] = []
        for event in filter(None, block.split(b"\n\n")):
            # Nearly every event is one line `data: {...}`; the general form costs five times as much.
            frame = event[6:] if event[:6] == b"data: " and b"\n" not in event else _data_of(event)
            if len(frame) > self._limit:
                raise _too_large(self._limit)
            if frame:
                frames.append(frame)
        return frames


class NdjsonReader:
    """Reads one JSON value a line. Empty lines are skipped."""

    def __init__(self, limit: int = MAX_FRAME_BYTES) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[bytes]:
        cut = piece.rfind(b"\n")
        if cut < 0:
            self._pieces.append(piece)
            self._size += len(piece)
            if self._size > self._limit:
                raise _too_large(self._limit)
            return []
        self._pieces.append(piece[:cut])
        block = b"".join(self._pieces)
        rest = piece[cut + 1 :]
        self._pieces = [rest] if rest else []
        self._size = len(rest)
        return self._frames(block)

    def end(self) -> list[bytes]:
        block = b"".join(self._pieces)
        self._pieces, self._size = [], 0
        return self._frames(block)

    def _frames(self, block: bytes) -> list[bytes]:
        frames = [line for line in map(bytes.strip, block.split(b"\n")) if line]
        if any(len(frame) > self._limit for frame in frames):
            raise _too_large(self._limit)
        return frames


READERS: Mapping[Framing, Callable[[], FrameReader]] = {
    Framing.SSE: SseReader,
    Framing.NDJSON: NdjsonReader,
}
"""How each framing is read."""

_NEWLINE = ord("\n")


def _data_of(event: bytes) -> bytes:
    """The data lines of one event, joined; empty when it has none."""
    data: list[bytes] = []
    for line in event.split(b"\n"):
        if line.startswith(b"data:"):
            data.append(line[6:] if line[5:6] == b" " else line[5:])
        elif line == b"data":
            data.append(b"")
    return b"\n".join(data)


def _too_large(limit: int) -> Unavailable:
    return Unavailable(
        ErrorReason.ERROR_REASON_PROVIDER_PROTOCOL_ERROR,
        f"the provider sent a frame of more than {limit} bytes.",
        metadata={"limit": str(limit)},
    )
