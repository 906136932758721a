"""Starts simulators of providers, each in a process of its own, and speaks to their control endpoints."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

_STOP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class SimulatorProcess:
    """A simulator that is listening."""

    address: str
    """Where it listens, such as `http://127.0.0.1:4321`."""

    @property
    def url(self) -> str:
        """The base address of the API that it simulates."""
        return f"{self.address}/v1"

    def script(self, **fields: Any) -> None:
        """Sets the script of every request without one of its own."""
        self._ask("PUT", "/sim/script", fields)

    def queue(self, *scripts: dict[str, Any]) -> None:
        """Queues scripts, one a request."""
        self._ask("POST", "/sim/scripts", list(scripts))

    def journal(self) -> list[dict[str, Any]]:
        """What became of every request since the last `clear`."""
        return self._ask("GET", "/sim/journal")

    def clear(self) -> None:
        """Forgets requests and scripts."""
        self._ask("DELETE", "/sim/journal")

    def wait_for(self, holds: Callable[[list[dict[str, Any]]], bool], *, seconds: float = 5.0) -> list[dict[str, Any]]:
        """Waits until the journal is as wanted, and returns it."""
        until = time.monotonic() + seconds
        while not holds(journal := self.journal()):
            if time.monotonic() > until:
                raise AssertionError(f"the journal did not come to it: {journal}")
            time.sleep(0.01)
        return journal

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data=data, method=method)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5) as response:
            return json.load(response)


@contextmanager
def simulator(module: str, *arguments: str) -> Generator[SimulatorProcess]:
    """Runs a simulator, such as `tests.support.openai_simulator`, for as long as the block lasts."""
    command = (sys.executable, "-m", module, "--port", "0", *arguments)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        assert port, f"{module} did not start"
        try:
            yield SimulatorProcess(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
            process.wait(_STOP_SECONDS)
