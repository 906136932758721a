"""One gRPC connection of the load generator: HTTP/2 from prebuilt frames, at a tenth of what a gRPC library costs.

It speaks to servers built on gRPC's C core only, whose header encoder writes plain strings: with a header table of
size zero, which this side asks for, `grpc-status` then stands readable in the trailers, and nothing needs decoding.
What cannot be read so is a failure, never taken for success.
"""

from __future__ import annotations

import asyncio
import time
from typing import cast

from llmgateway.v1.chat_service_pb2 import ChatEvent, ChatResponse
from tests.bench.tally import Job, Tally

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
_END_STREAM, _ACK, _END_HEADERS, _PADDED = 0x1, 0x1, 0x4, 0x8
_HEADER_TABLE_SIZE, _INITIAL_WINDOW_SIZE = 1, 4
_STREAM_WINDOW = 2**24
_CONNECTION_WINDOW = 2**30
_LAST_STREAM = 2**31 - 1


class BrokenConnection(Exception):
    """Frames that this client cannot go on after. The connection is of no more use."""


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """An HTTP/2 frame."""
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def header_block(headers: list[tuple[str, str]]) -> bytes:
    """Headers as HPACK literals that enter no table, so that the same bytes serve every request."""
    return b"".join(b"\0" + _string(name) + _string(value) for name, value in headers)


def _string(text: str) -> bytes:
    data = text.encode("ascii")
    return _integer(len(data)) + data


def _integer(value: int) -> bytes:
    """A number with a prefix of seven bits, the first bit zero: no Huffman coding."""
    if value < 127:
        return bytes((value,))
    encoded, rest = bytearray((127,)), value - 127
    while rest >= 128:
        encoded.append(rest % 128 + 128)
        rest //= 128
    encoded.append(rest)
    return bytes(encoded)


def literal(block: bytes, name: str) -> str | None:
    """The value of a header that stands in a block as plain strings and is shorter than 127 bytes, or None."""
    mark = _string(name)
    at = block.find(mark)
    if at < 0 or at + len(mark) >= len(block):
        return None
    begin = at + len(mark) + 1
    length = block[begin - 1]
    return block[begin : begin + length].decode(errors="replace") if length < 127 else None


def opening() -> bytes:
    """What a client sends first: settings without a header table, and windows that need no care for a long time."""
    settings = b"".join(
        number.to_bytes(2) + value.to_bytes(4)
        for number, value in ((_HEADER_TABLE_SIZE, 0), (_INITIAL_WINDOW_SIZE, _STREAM_WINDOW))
    )
    return _PREFACE + frame(_SETTINGS, 0, 0, settings) + _widen(_CONNECTION_WINDOW)


def _widen(size: int) -> bytes:
    return frame(_WINDOW_UPDATE, 0, 0, size.to_bytes(4))


def messages_of(body: bytes) -> list[bytes]:
    """The gRPC messages of a body; raises `BrokenConnection` when the last one is cut or one is compressed."""
    found: list[bytes] = []
    at = 0
    while at < len(body):
        end = at + 5 + int.from_bytes(body[at + 1 : at + 5])
        if body[at] or end > len(body):
            raise BrokenConnection("a message is compressed or cut short")
        found.append(body[at + 5 : end])
        at = end
    return found


def complaint(job: Job, block: bytes, body: bytes, messages: list[bytes]) -> str:
    """What is wrong with an answer that came to its end; empty when nothing is."""
    status = literal(block, "grpc-status")
    if status != "0":
        return f"gRPC status {status}: {literal(block, 'grpc-message')}"
    words = body.count(job.word.encode())
    if words != job.words:
        return f"the answer has {words} of {job.words} words"
    if not job.stream:
        return "" if len(messages) == 1 and ChatResponse.FromString(messages[0]).HasField("usage") else "no usage came"
    last = ChatEvent.FromString(messages[-1]).WhichOneof("event")
    return "" if last == "finished" else f"the last event is {last!r}"


class GrpcConnection(asyncio.Protocol):
    """Sends a job's request again and again, one at a time, until the tally says stop or the connection breaks."""

    def __init__(self, job: Job, tally: Tally) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._job = job
        self._tally = tally
        self._headers = header_block(_request_headers(job))
        message = job.body.encode("latin-1")
        self._message = b"\0" + len(message).to_bytes(4) + message
        self._transport: asyncio.Transport | None = None
        self._held = b""
        self._stream = -1
        self._waiting = False
        self._block = b""
        self._ends = False
        self._body: list[bytes] = []
        self._sent = 0.0
        self._first = 0.0
        self._send_window = 65_535
        self._receive_window = _CONNECTION_WINDOW

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do what asyncio's do but are not their children.
        self._transport = transport = cast(asyncio.Transport, transport)
        transport.write(opening())
        self._send(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting:
            self._tally.failed("the connection closed before the answer was whole")
        self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        if transport is None:
            return
        held, at = self._held + data, 0
        try:
            while len(held) >= at + 9:
                end = at + 9 + int.from_bytes(held[at : at + 3])
                if len(held) < end:
                    break
                stream = int.from_bytes(held[at + 5 : at + 9])
                self._take(transport, held[at + 3], held[at + 4], stream, held[at + 9 : end])
                at = end
        except BrokenConnection as error:
            self._tally.failed(str(error))
            self._waiting = False
            transport.close()
        self._held = held[at:]

    def _take(self, transport: asyncio.Transport, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            self._take_data(transport, flags, payload)
        elif kind in (_HEADERS, _CONTINUATION):
            self._take_headers(transport, kind, flags, payload)
        elif kind == _WINDOW_UPDATE:
            self._send_window += 0 if stream else int.from_bytes(payload)
        elif kind in (_PING, _SETTINGS):
            if not flags & _ACK:
                transport.write(frame(kind, _ACK, 0, payload if kind == _PING else b""))
        elif kind == _RST_STREAM:
            raise BrokenConnection(f"the server reset the stream with code {int.from_bytes(payload)}")
        elif kind == _GOAWAY:
            raise BrokenConnection(f"the server sent GOAWAY with {payload[8:][:80].decode(errors='replace')!r}")

    def _take_data(self, transport: asyncio.Transport, flags: int, payload: bytes) -> None:
        if flags & (_PADDED | _END_STREAM):
            raise BrokenConnection("the answer is padded or ends without trailers")
        if not self._first:
            self._first = time.perf_counter()
        self._body.append(payload)
        self._receive_window -= len(payload)
        if self._receive_window < _CONNECTION_WINDOW // 2:
            transport.write(_widen(_CONNECTION_WINDOW - self._receive_window))
            self._receive_window = _CONNECTION_WINDOW

    def _take_headers(self, transport: asyncio.Transport, kind: int, flags: int, payload: bytes) -> None:
        if kind == _HEADERS:
            self._block, self._ends = b"", bool(flags & _END_STREAM)
        self._block += payload
        if self._ends and flags & _END_HEADERS:
            self._finish(self._block, b"".join(self._body))
            self._send(transport)

    def _send(self, transport: asyncio.Transport) -> None:
        self._waiting = self._stream < _LAST_STREAM and self._tally.may_send()
        if not self._waiting:
            transport.close()
            return
        if self._send_window < len(self._message):
            raise BrokenConnection("the server leaves no window for the request")
        self._send_window -= len(self._message)
        self._stream += 2
        self._body = []
        self._first = 0.0
        self._sent = time.perf_counter()
        transport.write(
            frame(_HEADERS, _END_HEADERS, self._stream, self._headers)
            + frame(_DATA, _END_STREAM, self._stream, self._message)
        )

    def _finish(self, block: bytes, body: bytes) -> None:
        messages = messages_of(body)
        wrong = complaint(self._job, block, body, messages)
        if wrong:
            self._tally.failed(wrong)
        else:
            self._tally.answered(self._sent, self._first, len(messages))


def _request_headers(job: Job) -> list[tuple[str, str]]:
    headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", job.path),
        (":authority", f"{job.host}:{job.port}"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "llm-gateway-bench"),
    ]
    if job.key:
        headers.append(("authorization", f"Bearer {job.key}"))
    return headers
