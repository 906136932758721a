"""A provider that costs next to nothing: OpenAI's chat completions from bytes made beforehand.

`python -m tests.bench.upstream` serves `POST /v1/chat/completions` until it is told to end, and prints its port first.
It understands as much HTTP/1.1 as well-behaved clients send: keep-alive, pipelining and `content-length`.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from typing import cast

import uvloop

from tests.bench.answers import stream_events, whole_answer

_PATH = b"POST /v1/chat/completions HTTP/1.1\r\n"
_LENGTH = b"content-length:"
_STREAM = (b'"stream":true', b'"stream": true')
_USAGE = (b'"include_usage":true', b'"include_usage": true')

Writes = list[bytes]
"""What is sent for one answer; each item goes out with a system call of its own."""


def _reply(status: bytes, body: bytes) -> Writes:
    head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, len(body))
    return [head + body]


def _stream(events: list[bytes], events_per_write: int) -> Writes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    texts = [b"".join(events[at : at + events_per_write]) for at in range(0, len(events), events_per_write)]
    writes = [b"%x\r\n%b\r\n" % (len(text), text) for text in texts]
    writes[0] = head + writes[0]
    writes[-1] += b"0\r\n\r\n"
    return writes


class Answers:
    """The answers of one upstream, ready to be sent."""

    def __init__(self, *, whole_words: int, stream_words: int, events_per_write: int) -> None:
        self.whole = _reply(b"200 OK", whole_answer(whole_words))
        self.stream = _stream(stream_events(stream_words, include_usage=False), events_per_write)
        self.stream_with_usage = _stream(stream_events(stream_words, include_usage=True), events_per_write)
        self.not_found = _reply(b"404 Not Found", b'{"error":{"message":"Not found.","type":"invalid_request_error"}}')

    def to(self, head: bytes, body: bytes) -> Writes:
        """The answer to a request."""
        if not head.startswith(_PATH):
            return self.not_found
        if not any(mark in body for mark in _STREAM):
            return self.whole
        return self.stream_with_usage if any(mark in body for mark in _USAGE) else self.stream


class Upstream(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, answers: Answers, loop: asyncio.AbstractEventLoop) -> None:
        self._answers = answers
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._held = b""
        self._streaming = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do what asyncio's do but are not their children.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._held = self._held + data if self._held else data
        self._serve()

    def _serve(self) -> None:
        """Answers the requests that are here whole; one that comes during a stream waits for its end."""
        while self._held and not self._streaming:
            head_end = self._held.find(b"\r\n\r\n")
            if head_end < 0:
                return
            head = self._held[: head_end + 2]
            end = head_end + 4 + _content_length(head)
            if len(self._held) < end:
                return
            body = self._held[head_end + 4 : end]
            self._held = self._held[end:]
            self._send(self._answers.to(head, body), 0)

    def _send(self, writes: Writes, index: int) -> None:
        """Sends one write now and the next in the loop's next turn, so that the two are not joined."""
        if self._transport is None:
            return
        self._transport.write(writes[index])
        self._streaming = index + 1 < len(writes)
        if self._streaming:
            self._loop.call_soon(self._send, writes, index + 1)
        elif index:
            self._serve()


def _content_length(head: bytes) -> int:
    head = head.lower()
    at = head.find(_LENGTH)
    return int(head[at + len(_LENGTH) : head.find(b"\r\n", at)]) if at >= 0 else 0


async def serve(answers: Answers) -> None:
    """Serves on a free port of 127.0.0.1 until SIGTERM or SIGINT; prints the port once it listens."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = await loop.create_server(lambda: Upstream(answers, loop), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await stop.wait()
    server.close()


def main() -> None:
    """Reads the shape of the answers from the command line and serves them."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.upstream", description=__doc__)
    parser.add_argument("--whole-words", type=int, required=True, help="words of a whole answer")
    parser.add_argument("--stream-words", type=int, required=True, help="words of a streamed answer, one an event")
    parser.add_argument("--events-per-write", type=int, required=True, help="events that leave together")
    options = parser.parse_args()
    answers = Answers(
        whole_words=options.whole_words,
        stream_words=options.stream_words,
        events_per_write=options.events_per_write,
    )
    uvloop.run(serve(answers))


if __name__ == "__main__":
    main()
