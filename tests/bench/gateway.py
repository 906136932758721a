"""The gateway as users run it: one server process with Envoy in front, authentication and metering on."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.processes import BenchFailed, descendants, name_of, running, tail

SERVE = (sys.executable, "-m", "llmgateway_server", "serve")

MODEL = "bench"
"""The model that the upstream serves; `fake/echo` needs no configuration."""

_START = 60.0


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that is ready."""

    server: int
    """Id of the server's process."""
    edge: int
    """Id of Envoy's process."""
    grpc_port: int
    rest_port: int
    key: str


@contextmanager
def gateway(folder: Path, upstream_port: int, command: Sequence[str] = SERVE) -> Generator[Gateway]:
    """Runs the gateway on free ports with its files in a folder, and the upstream as an `openai` provider.

    Raises:
        BenchFailed: it did not become ready.
    """
    grpc_port, rest_port = free_ports(2)
    key = f"lgw_{secrets.token_hex(24)}"
    config = folder / "gateway.yaml"
    # JSON is YAML.
    config.write_text(json.dumps({"resources": _resources(upstream_port)}, indent=2))
    env = {
        "LLMGATEWAY_GRPC_ADDRESS": f"127.0.0.1:{grpc_port}",
        "LLMGATEWAY_REST_ADDRESS": f"127.0.0.1:{rest_port}",
        "LLMGATEWAY_DATABASE_URL": f"sqlite+aiosqlite:///{folder / 'gateway.db'}",
        "LLMGATEWAY_ADMIN_KEY": key,
        "LLMGATEWAY_CONFIG": str(config),
        "BENCH_UPSTREAM_KEY": secrets.token_hex(24),
    }
    log = folder / "gateway.log"
    with running(command, log, env) as process:
        _await_ready(process, f"http://127.0.0.1:{rest_port}/health/ready", log)
        yield Gateway(process.pid, _edge_of(process.pid), grpc_port, rest_port, key)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listened on a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _resources(upstream_port: int) -> dict[str, Any]:
    provider = {
        "name": f"providers/{MODEL}",
        "wire_format": "openai",
        "base_url": f"http://127.0.0.1:{upstream_port}/v1",
        "credential": "env:BENCH_UPSTREAM_KEY",
    }
    price = {"input": 1_000_000_000, "output": 4_000_000_000}
    deployment = {
        "name": f"deployments/{MODEL}",
        "model": f"models/{MODEL}",
        "provider": f"providers/{MODEL}",
        "upstream_model": "bench-1",
    }
    return {
        "providers": [provider],
        "models": [{"name": f"models/{MODEL}", "price": price}],
        "deployments": [deployment],
    }


def _await_ready(process: subprocess.Popen[str], url: str, log: Path) -> None:
    until = time.monotonic() + _START
    while process.poll() is None and time.monotonic() < until:
        try:
            with urllib.request.urlopen(url, timeout=1) as response:
                if response.status == 200:
                    return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.05)
    raise BenchFailed(f"The gateway did not become ready; the end of its log:\n{tail(log)}")


def _edge_of(server: int) -> int:
    for pid in descendants(server):
        if name_of(pid).startswith("envoy"):
            return pid
    raise BenchFailed("The gateway runs without Envoy, through which it is measured.")
