"""One HTTP/1.1 connection of the load generator: sends prebuilt bytes and makes sure that each answer is whole."""

from __future__ import annotations

import asyncio
import time
from typing import cast

from tests.bench.tally import Job, Tally

_CHUNKED = b"transfer-encoding: chunked"
_LENGTH = b"content-length:"


class BrokenAnswer(Exception):
    """Bytes that are no HTTP/1.1 answer. The connection is of no more use."""


def request_bytes(job: Job) -> bytes:
    """The request of a job as it goes over the wire."""
    body = job.body.encode()
    lines = [
        f"POST {job.path} HTTP/1.1",
        f"host: {job.host}:{job.port}",
        "user-agent: llm-gateway-bench",
        "content-type: application/json",
        f"content-length: {len(body)}",
    ]
    if job.key:
        lines.append(f"authorization: Bearer {job.key}")
    return "\r\n".join([*lines, "", ""]).encode() + body


class Answer:
    """Takes the bytes of one answer as they come."""

    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self.done = False
        self._held = b""
        self._chunked = False
        self._length = 0
        self._chunks: list[bytes] = []

    def feed(self, data: bytes) -> None:
        """Takes more bytes; raises `BrokenAnswer` for what cannot be read. A server sends no byte after the end."""
        self._held += data
        if not self.status and not self._read_head():
            return
        if self._chunked:
            self._read_chunks()
        elif len(self._held) >= self._length:
            self._end(self._held[: self._length], self._held[self._length :])

    @property
    def begun(self) -> bool:
        """Whether a byte of the body has come."""
        return bool(self.status and (self._held or self._chunks or self.done))

    def _read_head(self) -> bool:
        end = self._held.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = self._held[: end + 2].lower()
        if not head.startswith(b"http/1.1 ") or not head[9:12].isdigit():
            raise BrokenAnswer(f"the answer begins with {head[:20]!r}, which is not HTTP/1.1")
        self.status = int(head[9:12])
        self._held = self._held[end + 4 :]
        self._chunked = _CHUNKED in head
        if not self._chunked:
            at = head.find(_LENGTH)
            if at < 0:
                raise BrokenAnswer("the answer has neither a content-length nor chunks")
            self._length = int(head[at + len(_LENGTH) : head.find(b"\r\n", at)])
        return True

    def _read_chunks(self) -> None:
        held, at = self._held, 0
        while (line_end := held.find(b"\r\n", at)) >= 0:
            try:
                size = int(held[at:line_end].split(b";")[0], 16)
            except ValueError as error:
                raise BrokenAnswer(f"a chunk begins with {held[at:line_end][:20]!r}, which is no size") from error
            begin = line_end + 2
            end = begin + size
            if len(held) < end + 2:
                break
            if held[end : end + 2] != b"\r\n":
                raise BrokenAnswer("a chunk is longer than it says")
            at = end + 2
            if size == 0:
                self._end(b"".join(self._chunks), held[at:])
                return
            self._chunks.append(held[begin:end])
        self._held = held[at:]

    def _end(self, body: bytes, rest: bytes) -> None:
        if rest:
            raise BrokenAnswer(f"{len(rest)} bytes came after the end of the answer")
        self.body = body
        self.done = True


def complaint(job: Job, answer: Answer) -> str:
    """What is wrong with an answer that came to its end; empty when nothing is."""
    if answer.status != 200:
        return f"status {answer.status}: {answer.body[:200].decode(errors='replace')}"
    body = answer.body
    words = body.count(job.word.encode())
    if words != job.words:
        return f"the answer has {words} of {job.words} words"
    if job.stream:
        if not body.endswith(b"data: [DONE]\n\n"):
            return "the stream does not end with [DONE]"
        if b'"finish_reason":"stop"' not in body:
            return "the stream has no finish reason"
    elif b'"usage":{' not in body:
        return "the answer has no usage"
    return ""


class HttpConnection(asyncio.Protocol):
    """Sends a job's request again and again, one at a time, until the tally says stop or the connection breaks."""

    def __init__(self, job: Job, tally: Tally) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._job = job
        self._tally = tally
        self._request = request_bytes(job)
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self._sent = 0.0
        self._first = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do what asyncio's do but are not their children.
        self._transport = transport = cast(asyncio.Transport, transport)
        self._send(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None:
            self._tally.failed("the connection closed before the answer was whole")
        self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        answer, transport = self._answer, self._transport
        if answer is None or transport is None:
            return
        try:
            answer.feed(data)
        except BrokenAnswer as error:
            self._tally.failed(str(error))
            self._answer = None
            transport.close()
            return
        if not self._first and answer.begun:
            self._first = time.perf_counter()
        if answer.done:
            self._finish(answer)
            self._send(transport)

    def _send(self, transport: asyncio.Transport) -> None:
        if not self._tally.may_send():
            self._answer = None
            transport.close()
            return
        self._answer = Answer()
        self._first = 0.0
        self._sent = time.perf_counter()
        transport.write(self._request)

    def _finish(self, answer: Answer) -> None:
        wrong = complaint(self._job, answer)
        if wrong:
            self._tally.failed(wrong)
            return
        messages = answer.body.count(b"data: ") if self._job.stream else 1
        self._tally.answered(self._sent, self._first, messages)
