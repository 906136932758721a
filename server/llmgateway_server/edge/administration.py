"""Envoy's own administration, asked over its socket."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing

from llmgateway_server.edge.addresses import in_envoys_words, split


class Administration:
    """What Envoy says of itself, and what it can be told."""

    def __init__(self, address: str) -> None:
        """`address` is `unix:PATH` or `HOST:PORT`; empty where it is not known yet."""
        self._address = address

    @property
    def address(self) -> str:
        """The address in Envoy's words."""
        return in_envoys_words(self._address)

    async def ask(self, method: str, path: str) -> bytes:
        """The body of an answer; raises `OSError` while there is nobody to answer."""
        kind, _, socket_path = self._address.partition(":")
        if kind == "unix":
            reader, writer = await asyncio.open_unix_connection(socket_path)
        else:
            reader, writer = await asyncio.open_connection(*split(self._address))
        with closing(writer):
            writer.write(f"{method} {path} HTTP/1.1\r\nhost: envoy\r\ncontent-length: 0\r\n\r\n".encode())
            try:
                return await _read_chunks(reader)
            except asyncio.IncompleteReadError as error:
                raise ConnectionResetError("Envoy hung up.") from error

    async def listener(self) -> tuple[str, int]:
        """Where Envoy listens: host and port."""
        listeners = json.loads(await self.ask("GET", "/listeners?format=json"))
        bound = listeners["listener_statuses"][0]["local_address"]["socket_address"]
        return bound["address"], bound["port_value"]

    async def active_requests(self) -> int:
        """How many requests are under way."""
        stats = await self.ask("GET", "/stats?filter=^http.edge.downstream_rq_active$")
        return int(stats.rpartition(b":")[2] or 0)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    """The body of an answer of Envoy's administration, which is always chunked."""
    await reader.readuntil(b"\r\n\r\n")
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    return body
