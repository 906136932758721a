"""The whole gateway in this process, as `bootstrap` composes it, without its edge."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from llmgateway_server.bootstrap import Core, Servers, build_servers, open_core
from llmgateway_server.settings import Settings


@dataclass(frozen=True, slots=True)
class Served:
    """A gateway that answers."""

    core: Core
    servers: Servers
    address: str
    """Where it speaks gRPC, `host:port`."""
    key: str = field(repr=False)
    """The admin key."""


@asynccontextmanager
async def served_gateway(folder: Path) -> AsyncIterator[Served]:
    """Serves on a free port, with a database in a folder, until left."""
    key = f"lgw_{secrets.token_hex(24)}"
    settings = Settings(
        database_url=f"sqlite+aiosqlite:///{folder / 'gateway.db'}",  # pyright: ignore[reportArgumentType]
        admin_key=key,  # pyright: ignore[reportArgumentType]
        edge=False,
    )
    core = await open_core(settings)
    try:
        servers = build_servers(core)
        port = servers.public.add_insecure_port("127.0.0.1:0")
        await servers.public.start()
        await servers.health.set_ready(ready=True)
        try:
            yield Served(core, servers, f"127.0.0.1:{port}", key)
        finally:
            await servers.public.stop(1.0)
    finally:
        await core.close()
