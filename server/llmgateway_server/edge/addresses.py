"""Addresses: as people write them, as sockets take them, and as Envoy wants them."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

from llmgateway_server.edge.errors import EdgeError


def split(address: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`; raises `EdgeError` when it is something else."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal():
        raise EdgeError(f"{address!r} is no address; write HOST:PORT, such as '127.0.0.1:8080'.")
    return host.strip("[]"), int(port)


async def resolve(address: str) -> tuple[str, int]:
    """The address in numbers, which is all that Envoy takes; raises `EdgeError` when there are none."""
    host, port = split(address)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise EdgeError(f"The host of {address!r} is not known; check its name.") from error
    return str(found[0][4][0]), port


async def resolve_upstream(address: str) -> str:
    """A `HOST:PORT` or `unix:PATH` in Envoy's words, with the host in numbers."""
    if address.startswith("unix:"):
        return in_envoys_words(address)
    host, port = await resolve(address)
    return in_envoys_words(f"{host}:{port}")


def in_envoys_words(address: str) -> str:
    """The address in Envoy's words, as YAML."""
    kind, _, path = address.partition(":")
    if kind == "unix":
        return f'{{pipe: {{path: "{quotable(Path(path))}"}}}}'
    host, port = split(address)
    return f'{{socket_address: {{address: "{host}", port_value: {port}}}}}'


def quotable(path: Path) -> str:
    """The path as it stands between double quotes in YAML."""
    return json.dumps(str(path))[1:-1]
