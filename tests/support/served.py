"""The whole gateway in this process, as `bootstrap` composes it, without its edge."""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from llmgateway_server.bootstrap import Core, Servers, build_servers, open_core
from llmgateway_server.settings import Settings


@dataclass(frozen=True, slots=True)
class Served:
    """A gateway that answers."""

    core: Core
    servers: Servers
    address: str
    """Where it speaks gRPC, `host:port`."""
    admin_address: str
    """Where it serves Admin; the same where that is not apart."""
    key: str = field(repr=False)
    """The admin key."""


@asynccontextmanager
async def served_gateway(folder: Path, **settings_fields: Any) -> AsyncGenerator[Served]:
    """Serves on free ports, with a database in a folder, until left. `Any`: values of any setting."""
    key = f"lgw_{secrets.token_hex(24)}"
    settings = Settings(
        database_url=SecretStr(f"sqlite+aiosqlite:///{folder / 'gateway.db'}"),
        admin_key=SecretStr(key),
        edge=False,
        **settings_fields,
    )
    core = await open_core(settings)
    try:
        servers = build_servers(core)
        listening = [server for server in (servers.public, servers.admin) if server is not None]
        ports = [server.add_insecure_port("127.0.0.1:0") for server in listening]
        for server in listening:
            await server.start()
        await servers.health.set_ready(ready=True)
        writing = asyncio.create_task(core.usage.run())
        try:
            yield Served(core, servers, f"127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[-1]}", key)
        finally:
            await asyncio.gather(*(server.stop(1.0) for server in listening))
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
    finally:
        await core.close()
