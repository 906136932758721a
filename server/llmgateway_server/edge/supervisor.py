"""Keeps an Envoy running."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from llmgateway_server.edge.addresses import resolve, resolve_upstream
from llmgateway_server.edge.administration import Administration
from llmgateway_server.edge.configuration import render
from llmgateway_server.edge.errors import EdgeError
from llmgateway_server.edge.options import EdgeOptions
from llmgateway_server.edge.process import Process, find_binary

_log = logging.getLogger(__name__)

_START_SECONDS = 20.0
_POLL_SECONDS = 0.02
_QUICK_DEATH_SECONDS = 30.0
_MAX_QUICK_DEATHS = 5
_FIRST_PAUSE_SECONDS = 0.1


class Edge:
    """One Envoy, from `start` to `stop`. In between, something has to wait in `watch`."""

    def __init__(self, options: EdgeOptions) -> None:
        self._options = options
        self._binary = options.binary or find_binary()
        self._directory: Path | None = None
        self._process: Process | None = None
        self._administration = Administration(options.admin)
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
            self._administration = Administration(f"unix:{self._directory / 'admin'}")
        try:
            self._listen = await resolve(self._options.listen)
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

    async def _run(self, directory: Path) -> Process:
        """Runs Envoy until it listens."""
        upstream = await resolve_upstream(self._options.upstream)
        config = directory / "envoy.yaml"
        config.write_text(
            render(self._options, listen=self._listen, upstream=upstream, admin=self._administration.address)
        )
        process = await Process.launch(self._binary, config, self._options.concurrency)
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
        if "in use" in process.last_words:
            raise EdgeError(
                f"cannot listen on {self.address!r}; is another gateway running there? "
                "Set LLMGATEWAY_REST_ADDRESS to another address, or use --no-edge."
            )
        raise EdgeError(f"Envoy did not start. It said: {process.last_words} Use --no-edge to go without it.")

    async def _run_after_a_pause(self, directory: Path, deaths: int) -> Process | None:
        """Runs Envoy after a pause that grows with the deaths. None when it does not run, or `stop` came in between."""
        if deaths >= _MAX_QUICK_DEATHS:
            raise EdgeError(f"Envoy died {deaths} times in a row; its last words are in the log.")
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_PAUSE_SECONDS * 2**deaths):
                await self._stopping.wait()
                return None
        try:
            process = await self._run(directory)
        except EdgeError as error:
            _log.error("envoy did not start again", extra={"reason": str(error), "deaths": deaths})
            return None
        if self._stopping.is_set():
            await process.end()
            return None
        return process

    def _clean_up(self) -> None:
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None
