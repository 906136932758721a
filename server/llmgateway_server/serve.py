"""The life of the process: start everything in order, wait for a signal, stop everything in order."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from llmgateway_server import __version__
from llmgateway_server.bootstrap import Core, Servers, build_servers, open_core
from llmgateway_server.follower import follow
from llmgateway_server.settings import Settings, unknown_variables

_log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StartError(Exception):
    """The gateway cannot start. The message says what to do about it."""


def run(settings: Settings) -> int:
    """Serves until a signal; returns the exit code. Raises `StartError` when it cannot start."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(settings))


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """uvloop's loop where there is uvloop, which is everywhere but on Windows."""
    try:
        import uvloop  # noqa: PLC0415 - absent on some systems
    except ImportError:
        return None
    return uvloop.Loop


async def _serve(settings: Settings) -> int:
    for name in unknown_variables():
        _log.warning("there is no such setting", extra={"variable": name})
    stopping = _stop_on_signals()
    async with AsyncExitStack() as stack:
        core = await open_core(settings)
        stack.push_async_callback(core.close)
        servers = build_servers(core)
        sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llm-gateway-")))
        background = await stack.enter_async_context(asyncio.TaskGroup())
        tasks = [
            background.create_task(core.usage.run()),
            background.create_task(follow(core.store, core.reload)),
        ]
        await _listen(settings, servers, sockets)
        edge = _edge(settings, sockets) if settings.edge else None
        try:
            await servers.public.start()
            if servers.admin is not None:
                await servers.admin.start()
            if edge is not None:
                await edge.start()
            await servers.health.set_ready(ready=True)
            _announce(settings, core)
            await stopping.wait()
        finally:
            await _stop(settings, servers, edge)
            for task in tasks:
                task.cancel()
    return 0


def _stop_on_signals() -> asyncio.Event:
    """An event that the first signal sets. The second one is not caught, and ends the process at once."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(name: str) -> None:
        _log.info("stopping", extra={"signal": name})
        stopping.set()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop, number.name)
    return stopping


async def _listen(settings: Settings, servers: Servers, sockets: Path) -> None:
    """Binds the public addresses and the sockets that only Envoy uses."""
    _bind(servers.public, settings.grpc_address)
    if settings.edge:
        _bind(servers.public, f"unix:{sockets / 'public'}")
    if servers.admin is not None:
        _bind(servers.admin, settings.admin_grpc_address)
        if settings.edge:
            _bind(servers.admin, f"unix:{sockets / 'admin'}")


def _bind(server: object, address: str) -> None:
    try:
        server.add_insecure_port(address)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    except RuntimeError as error:
        raise StartError(f"cannot listen on {address!r}; is another gateway running there?") from error


def _edge(settings: Settings, sockets: Path):
    from llmgateway_server.edge import Edge
    raise NotImplementedError


async def _stop(settings: Settings, servers: Servers, edge: Any) -> None:
    """Says that it stops, waits for balancers to notice, lets calls end, and takes the edge down last."""
    await servers.health.set_ready(ready=False)
    if servers.guard.in_flight:
        _log.info("waiting for calls to end", extra={"calls": servers.guard.in_flight})
    await asyncio.sleep(settings.shutdown.delay)
    grace = settings.shutdown.grace
    stops = [server.stop(grace) for server in (servers.public, servers.admin) if server is not None]
    await asyncio.gather(*stops)
    if edge is not None:
        await edge.stop()


def _announce(settings: Settings, core: Core) -> None:
    """Tells a person where the gateway is and how to try it. The key made at the first start is shown here only."""
    key = core.first_start.secret
    lines = [
        f"LLM Gateway {__version__}",
        f"  gRPC  {settings.grpc_address}",
    ]
    if settings.edge:
        lines.append(f"  REST  http://{settings.rest_address}  (OpenAI's API at http://{settings.rest_address}/v1)")
    if key:
        lines += ["", f"  Admin key, shown this once: {key}"]
    if settings.edge:
        shown = key or ("$LLMGATEWAY_ADMIN_KEY" if settings.admin_key else "$LLMGATEWAY_API_KEY")
        lines += [
            "",
            "Try it:",
            f"  curl http://{settings.rest_address}/v1/chat/completions \\",
            f'    -H "authorization: Bearer {shown}" -H "content-type: application/json" \\',
            """    -d '{"model": "fake/echo", "messages": [{"role": "user", "content": "Hello, gateway"}]}'""",
        ]
    print("\n".join(lines), file=sys.stdout, flush=True)
