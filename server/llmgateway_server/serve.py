"""The life of the process: start everything in order, wait for a signal, stop everything in order."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import grpc.aio

from llmgateway_server import __version__
from llmgateway_server.bootstrap import Core, Servers, build_servers, open_core
from llmgateway_server.edge import ALL_SERVICES, PUBLIC_SERVICES, Edge, EdgeOptions
from llmgateway_server.follower import follow
from llmgateway_server.settings import Settings, unknown_variables

_log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StartError(Exception):
    """The gateway cannot start. The message says what to do about it."""


def run(settings: Settings) -> int:
    """Serves until a signal; returns the exit code.

    Raises `StartError`, `EdgeError`, `DatabaseRefused`, `DesiredError` or `GatewayError` when it cannot start, each
    with a message for the person who started it.
    """
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
    unseen: list[str] = []
    async with AsyncExitStack() as stack:
        stack.callback(_show_keys, unseen)
        core = await open_core(settings, on_first_key=unseen.append)
        stack.push_async_callback(core.close)
        servers = build_servers(core)
        sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llm-gateway-")))
        _listen(settings, servers, sockets)
        edges = _edges(settings, sockets)
        background = [asyncio.create_task(core.usage.run()), asyncio.create_task(follow(core.store, core.reload))]
        try:
            for server in _grpc_servers(servers):
                await server.start()
            for edge in edges:
                await edge.start()
                background.append(asyncio.create_task(edge.watch()))
            _settle_garbage()
            await servers.health.set_ready(ready=True)
            announce(settings, core)
            unseen.clear()
            await _wait(stopping, background)
        finally:
            await _stop(settings, servers, edges)
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
    return 0


def _settle_garbage() -> None:
    """Lets the collector look at calls only.

    What a start makes stays for good, so it need not be looked at again; and calls make few cycles, so that a look at
    every 700 new objects, Python's default, costs a sixteenth of a call and finds nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


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


async def _wait(stopping: asyncio.Event, background: Sequence[asyncio.Task[None]]) -> None:
    """Waits for a signal. A background task that ends before it has failed, and the gateway with it."""
    waiting = asyncio.create_task(stopping.wait())
    done, _ = await asyncio.wait((waiting, *background), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    for task in done - {waiting}:
        task.result()


def _listen(settings: Settings, servers: Servers, sockets: Path) -> None:
    """Binds the public addresses, and the sockets that only Envoy uses."""
    _bind(servers.public, settings.grpc_address)
    if servers.admin is not None:
        _bind(servers.admin, settings.admin_grpc_address)
    if settings.edge:
        _bind(servers.public, _socket(sockets, "public"))
        if servers.admin is not None:
            _bind(servers.admin, _socket(sockets, "admin"))


def _bind(server: grpc.aio.Server, address: str) -> None:
    try:
        server.add_insecure_port(address)
    except RuntimeError as error:
        raise StartError(
            f"cannot listen on {address!r}; is another gateway running there? "
            "Set LLMGATEWAY_GRPC_ADDRESS to another address."
        ) from error


def _socket(sockets: Path, name: str) -> str:
    return f"unix:{sockets / name}"


def _edges(settings: Settings, sockets: Path) -> list[Edge]:
    """An Envoy for callers, and another one for Admin where that is served apart."""
    if not settings.edge:
        return []
    apart = settings.separate_admin
    edges = [
        _edge(settings, settings.rest_address, _socket(sockets, "public"), PUBLIC_SERVICES if apart else ALL_SERVICES)
    ]
    if apart:
        edges.append(_edge(settings, settings.admin_rest_address, _socket(sockets, "admin"), ALL_SERVICES))
    return edges


def _edge(settings: Settings, listen: str, upstream: str, services: Sequence[str]) -> Edge:
    return Edge(
        EdgeOptions(
            listen=listen,
            upstream=upstream,
            services=services,
            body_limit=settings.limits.rest_body_bytes,
            max_deadline=settings.timeouts.request_max,
        )
    )


def _grpc_servers(servers: Servers) -> list[grpc.aio.Server]:
    return [server for server in (servers.public, servers.admin) if server is not None]


async def _stop(settings: Settings, servers: Servers, edges: Sequence[Edge]) -> None:
    """Says that it stops, waits for balancers to notice, lets calls end, and takes the edge down last."""
    await servers.health.set_ready(ready=False)
    if servers.guard.in_flight:
        _log.info("waiting for calls to end", extra={"calls": servers.guard.in_flight})
    await asyncio.sleep(settings.shutdown.delay)
    await asyncio.gather(*(server.stop(settings.shutdown.grace) for server in _grpc_servers(servers)))
    await asyncio.gather(*(edge.stop(grace=_EDGE_GRACE) for edge in edges))


_EDGE_GRACE = 1.0
"""How long Envoy may take to hand out what the server has already answered, in seconds."""


def _show_keys(keys: Sequence[str]) -> None:
    """Shows the key of a first start that failed: the database has it, so that no later start makes another one."""
    for key in keys:
        print(f"Admin key, shown this once: {key}", flush=True)


def announce(settings: Settings, core: Core) -> None:
    """Tells a person where the gateway is and how to try it. A key made at the first start is shown here, once."""
    key = core.first_start.secret
    lines = [f"LLM Gateway {__version__}", f"  gRPC  {settings.grpc_address}"]
    if settings.edge:
        rest = f"http://{settings.rest_address}"
        lines.append(f"  REST  {rest}  (OpenAI's API at {rest}/v1)")
    if settings.separate_admin:
        lines.append(f"  Admin {settings.admin_grpc_address}, http://{settings.admin_rest_address}")
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
    print("\n".join(lines), flush=True)
