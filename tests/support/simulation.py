"""What the simulators of providers have in common: scripts, the journal, and all the ways in which an answer can fail.

A request is played by the first of these: the script in its `x-sim-script` header, the one in its `x_sim_script`
field, the next one that `POST /sim/scripts` queued, the one that `PUT /sim/script` set. `GET /sim/journal` tells which
requests came, how much each was sent, and when the other side closed the connection.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import itertools
import json
import re
import socket
import struct
import time
import zlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from aiohttp import web

Json = dict[str, Any]

WORDS = re.compile(r"\S+\s*|\s+")
"""Splits a text into the pieces in which it is streamed; joined, they are the text again."""


@dataclass
class Script:
    """What to do with one request."""

    text: str | None = None
    chunks: list[str] | None = None
    """The pieces of a streamed text. Left out: a word each."""
    tool_calls: list[Json] = field(default_factory=list)
    """Each `{name, arguments, id?}`, arguments as text or as JSON."""
    refusal: str | None = None
    reasoning: str | None = None
    signature: str | None = None
    """What signs the reasoning, where the API signs it. Left out: one of the simulator's own."""
    usage: Json | None = None
    finish_reason: str | None = None
    first_ms: float = 0
    delay_ms: float = 0
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200
    error: Json | None = None
    body: str | None = None
    """The body of the answer as it is, in the place of any other."""
    content_type: str | None = None
    gzip: bool = False
    comments: bool = False
    """A comment before each frame."""
    malformed_at: list[int] = field(default_factory=list)
    """Frames before which a malformed one is sent."""
    break_at: int | None = None
    """The frame before which a stream breaks. 0 breaks before the headers, as any number does a whole answer."""
    how: str = "close"
    """`close`, `reset`, `hang` or `error` (a frame, then the end); at the end of a stream `no_done` or `no_finish`."""


@dataclass
class Entry:
    """What became of one request."""

    number: int
    method: str
    path: str
    headers: dict[str, str]
    body: Any
    received_at: float
    """Seconds since the Unix epoch, as the other moments."""
    chunks_sent: int = 0
    done: bool = False
    closed_at: float | None = None
    """When the other side closed the connection before all was sent."""


class Refused(Exception):
    """The request is refused, as the API refuses it."""

    def __init__(self, status: int, body: Json) -> None:
        super().__init__(str(body))
        self.status = status
        self.body = body


class Simulator(ABC):
    """Holds scripts and the journal."""

    def __init__(self, key: str) -> None:
        self.key = key
        """The only key that is taken; any is, when it is empty."""
        self._default = Script()
        self._queue: deque[Script] = deque()
        self._journal: list[Entry] = []
        self._numbers = itertools.count(1)

    @abstractmethod
    def routes(self) -> list[web.RouteDef]:
        """The API."""

    @abstractmethod
    def check(self, request: web.Request, body: Any) -> None:
        """Raises `Refused` for what the API refuses."""

    @abstractmethod
    def play(self, request: web.Request, entry: Entry, script: Script) -> Play:
        """What answers a request."""

    @abstractmethod
    def headers(self, number: int) -> dict[str, str]:
        """The headers of every answer, to the request of this number."""

    def application(self) -> web.Application:
        """The application that serves it."""
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.add_routes(
            [
                *self.routes(),
                web.put("/sim/script", self._set_script),
                web.post("/sim/scripts", self._queue_scripts),
                web.get("/sim/journal", self._tell_journal),
                web.delete("/sim/journal", self._clear),
            ]
        )
        return application

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answers by a script."""
        entry = await self._enter(request)
        try:
            self.check(request, entry.body)
            return await self.play(request, entry, self._script(request, entry.body)).run()
        except Refused as refused:
            entry.done = True
            return web.json_response(refused.body, status=refused.status, headers=self.headers(entry.number))
        except (asyncio.CancelledError, ConnectionError):
            entry.closed_at = time.time()
            raise

    async def _enter(self, request: web.Request) -> Entry:
        raw = await request.read()
        try:
            body: Any = json.loads(raw)
        except ValueError:
            body = None
        headers = {name.lower(): value for name, value in request.headers.items()}
        entry = Entry(next(self._numbers), request.method, request.path, headers, body, time.time())
        self._journal.append(entry)
        return entry

    def _script(self, request: web.Request, body: Json) -> Script:
        if header := request.headers.get("x-sim-script"):
            return Script(**json.loads(header))
        if own := body.get("x_sim_script"):
            return Script(**own)
        return self._queue.popleft() if self._queue else self._default

    async def _set_script(self, request: web.Request) -> web.Response:
        self._default = Script(**await request.json())
        return web.json_response({})

    async def _queue_scripts(self, request: web.Request) -> web.Response:
        self._queue.extend(Script(**script) for script in await request.json())
        return web.json_response({})

    async def _tell_journal(self, _: web.Request) -> web.Response:
        return web.json_response([asdict(entry) for entry in self._journal])

    async def _clear(self, _: web.Request) -> web.Response:
        self._journal.clear()
        self._queue.clear()
        self._default = Script()
        return web.json_response({})


class Play(ABC):
    """Plays one script for one request."""

    stream_type = "text/event-stream; charset=utf-8"
    malformed = b'data: {"id": "half\n\n'
    comment = b": keep-alive\n\n"

    def __init__(self, request: web.Request, entry: Entry, script: Script, headers: dict[str, str]) -> None:
        self.entry = entry
        self.script = script
        self.body: Json = entry.body
        self._request = request
        self._headers = {**headers, **script.headers}

    @abstractmethod
    def streams(self) -> bool:
        """Whether the request asks for a stream."""

    @abstractmethod
    def whole(self) -> Json:
        """The whole answer."""

    @abstractmethod
    def frames(self) -> Iterator[bytes]:
        """The answer as a stream, without its last frame."""

    @abstractmethod
    def last_frame(self) -> bytes:
        """The frame that ends a stream; empty when the end of the body does."""

    @abstractmethod
    def error(self, error: Json | None) -> Json:
        """The body of a failure; one of the API's own when the script has none."""

    @abstractmethod
    def error_frame(self) -> bytes:
        """The frame that says that the answer fails."""

    async def run(self) -> web.StreamResponse:
        """Answers the request."""
        script = self.script
        await asyncio.sleep(script.first_ms / 1000)
        if script.break_at == 0 or (script.break_at is not None and not self.streams()):
            await self._break()
        if script.body is not None or script.status != 200 or script.error is not None:
            return self._response(script.body if script.body is not None else json.dumps(self.error(script.error)))
        if self.streams():
            return await self._stream()
        return self._response(json.dumps(self.whole()))

    def text_pieces(self, text: str) -> list[str]:
        """The pieces in which a text is streamed."""
        return self.script.chunks if self.script.chunks is not None else WORDS.findall(text)

    def _response(self, text: str) -> web.Response:
        self.entry.done = True
        data = text.encode()
        headers = {**self._headers, "content-type": self.script.content_type or "application/json"}
        if self.script.gzip:
            data = gzip.compress(data)
            headers["content-encoding"] = "gzip"
        return web.Response(body=data, status=self.script.status, headers=headers)

    async def _stream(self) -> web.StreamResponse:
        script = self.script
        headers = {**self._headers, "content-type": script.content_type or self.stream_type}
        if script.gzip:
            headers["content-encoding"] = "gzip"
        response = web.StreamResponse(headers=headers)
        await response.prepare(self._request)
        zipped = _Gzip() if script.gzip else None
        pack: Callable[[bytes], bytes] = zipped or bytes
        for number, frame in enumerate(self.frames(), start=1):
            if script.break_at == number:
                await self._break(response)
                return response
            if number in script.malformed_at:
                await response.write(pack(self.malformed))
            if script.comments:
                await response.write(pack(self.comment))
            await response.write(pack(frame))
            self.entry.chunks_sent += 1
            if script.delay_ms:
                await asyncio.sleep(script.delay_ms / 1000)
        if script.how != "no_done" and (last := self.last_frame()):
            await response.write(pack(last))
        if zipped is not None:
            await response.write(zipped.end())
        await response.write_eof()
        self.entry.done = True
        return response

    async def _break(self, response: web.StreamResponse | None = None) -> None:
        how = self.script.how
        if how == "hang":
            await asyncio.Event().wait()
        if how == "error" and response is not None:
            await response.write(self.error_frame())
            await response.write_eof()
            return
        transport = self._request.transport
        assert transport is not None
        if how == "reset":
            raw: socket.socket = transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        transport.close()


class _Gzip:
    """Compresses frames, each so that it can be read when it comes."""

    def __init__(self) -> None:
        self._compress = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)

    def __call__(self, frame: bytes) -> bytes:
        return self._compress.compress(frame) + self._compress.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        """The last bytes."""
        return self._compress.flush()


def run(make: Callable[[str], Simulator], description: str | None) -> None:
    """Serves a simulator until it is told to end, and prints its port."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, default=0, help="where to listen; 0 means any free port")
    parser.add_argument("--key", default="", help="the only key that is taken; any is, when it is left out")
    arguments = parser.parse_args()
    asyncio.run(_serve(make(arguments.key), arguments.port))


async def _serve(simulator: Simulator, port: int) -> None:
    runner = web.AppRunner(simulator.application(), handler_cancellation=True, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    print(runner.addresses[0][1], flush=True)  # noqa: T201 - whoever started it reads the port
    await asyncio.Event().wait()
