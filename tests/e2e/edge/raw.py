"""HTTP/1.1 as bytes, for what no client library would send, and for what none would show."""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool
    """Whether the body came with its end."""


async def connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


def request(method: str, target: str, *headers: str, body: bytes = b"") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "host: gateway", *headers, "", ""]).encode("latin-1") + body


async def send(address: str, data: bytes) -> Answer:
    reader, writer = await connect(address)
    with closing(writer):
        writer.write(data)
        return await read_answer(reader)


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = b""
    try:
        if "content-length" in headers:
            body = await reader.readexactly(int(headers["content-length"]))
        else:
            while chunk := await read_chunk(reader):
                body += chunk
    except asyncio.IncompleteReadError:
        return Answer(int(first.split()[1]), headers, body, whole=False)
    return Answer(int(first.split()[1]), headers, body, whole=True)


async def read_chunk(reader: asyncio.StreamReader) -> bytes:
    """The next chunk of a body, empty at its end; raises `IncompleteReadError` where it breaks off."""
    size = int(await reader.readuntil(b"\r\n"), 16)
    return (await reader.readexactly(size + 2))[:-2]
