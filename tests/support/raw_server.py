"""A server that sends the very bytes a test wants, when it wants, and knows what became of its connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager


class Connection:
    """One request on one connection, in the hands of a test."""

    def __init__(self, server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self.head = b""
        self.body = b""

    async def send(self, *pieces: bytes) -> None:
        """Sends each piece on its own."""
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()

    def reset(self) -> None:
        """Ends the connection with a TCP reset rather than a proper end."""
        raw: socket.socket = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def closed_by_peer(self) -> None:
        """Returns when the other side has closed the connection."""
        with contextlib.suppress(ConnectionError):
            await self._reader.read(1)

    def close(self) -> None:
        """Ends the connection properly."""
        self._writer.close()

    async def read_request(self) -> bool:
        """Reads the next request; False when there is none."""
        try:
            self.head = await self._reader.readuntil(b"\r\n\r\n")
            length = 0
            for line in self.head.split(b"\r\n"):
                name, _, value = line.partition(b":")
                if name.strip().lower() == b"content-length":
                    length = int(value)
            self.body = await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        return True


Play = Callable[[Connection], Awaitable[None]]
"""Answers one request. The connection stays open for another one, unless it is closed."""


class RawServer:
    """Plays one script for every request."""

    def __init__(self, play: Play) -> None:
        self.play = play
        self.connections = 0
        self.requests: list[Connection] = []
        self.port = 0

    @property
    def url(self) -> str:
        """Where the server listens."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection."""
        self.connections += 1
        try:
            while not writer.transport.is_closing():
                connection = Connection(self, reader, writer)
                if not await connection.read_request():
                    break
                self.requests.append(connection)
                await self.play(connection)
        except ConnectionError:
            # The other side went away, as clients do.
            return
        finally:
            writer.close()


@asynccontextmanager
async def raw_server(play: Play) -> AsyncGenerator[RawServer]:
    """A server that is listening, and is gone afterwards together with its connections."""
    raw = RawServer(play)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await raw.serve(reader, writer)
        except asyncio.CancelledError:
            # Only the end of the test cancels; `StreamReaderProtocol` would report it as an error.
            return
        finally:
            tasks.discard(task)

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    raw.port = listening.sockets[0].getsockname()[1]
    try:
        yield raw
    finally:
        listening.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def response(
    body: bytes,
    *,
    status: str = "200 OK",
    content_type: str = "application/json",
    headers: dict[str, str] | None = None,
    framing: str = "length",
) -> bytes:
    """An HTTP answer: its body counted (`length`), in one chunk (`chunked`), or up to the `close` of the connection."""
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in (headers or {}).items())]
    if content_type:
        lines.append(f"content-type: {content_type}")
    if framing == "length":
        lines.append(f"content-length: {len(body)}")
    elif framing == "chunked":
        lines.append("transfer-encoding: chunked")
        body = chunk(body) + b"0\r\n\r\n"
    else:
        lines.append("connection: close")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def stream_head(content_type: str, **headers: str) -> bytes:
    """The head of an answer that comes in chunks."""
    return response(b"", content_type=content_type, headers=headers, framing="chunked").removesuffix(b"0\r\n\r\n")


def chunk(data: bytes) -> bytes:
    """A chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
