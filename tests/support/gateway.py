"""Runs the gateway as its users do: `llm-gateway serve` in a process of its own, with Envoy in front."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

SERVE = (sys.executable, "-m", "llmgateway_server", "serve")

_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_LOG_LINES = 40


class GatewayFailed(AssertionError):
    """The gateway did not start, or did not stop as it should. The message ends with what it wrote."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that is ready."""

    grpc_address: str
    """Where the server speaks gRPC, `host:port`."""
    rest_address: str
    """Where Envoy speaks REST, gRPC and gRPC-Web, `host:port`."""
    key: str = field(repr=False)
    """The admin key."""
    pid: int
    """The process of the command."""
    log: Path
    """What the gateway writes, its standard output and error together."""

    @property
    def url(self) -> str:
        """The REST address as a URL, without a path."""
        return f"http://{self.rest_address}"

    def bearer(self) -> dict[str, str]:
        """The header that the key goes in."""
        return {"authorization": f"Bearer {self.key}"}


@contextmanager
def running_gateway(
    folder: Path,
    *,
    configuration: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
) -> Generator[Gateway]:
    """Runs a gateway on free ports, with its files in a folder, until left; then stops it by SIGTERM.

    `configuration` is what the settings file says (`Any`: its JSON), `environment` comes on top of what a clean one
    holds, and `arguments` follow the command. Raises `GatewayFailed` when the gateway does not become ready within a
    minute, or when it stops with another exit code than 0.
    """
    grpc_address, rest_address = _free_addresses(2)
    key = f"lgw_{secrets.token_hex(24)}"
    variables = {
        **_clean_environment(),
        "LLMGATEWAY_GRPC_ADDRESS": grpc_address,
        "LLMGATEWAY_REST_ADDRESS": rest_address,
        "LLMGATEWAY_DATABASE_URL": f"sqlite+aiosqlite:///{folder / 'gateway.db'}",
        "LLMGATEWAY_ADMIN_KEY": key,
        **(environment or {}),
    }
    if configuration is not None:
        path = folder / "gateway.yaml"
        path.write_text(json.dumps(configuration))  # JSON is YAML
        variables["LLMGATEWAY_CONFIG"] = str(path)
    log = folder / "gateway.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*SERVE, *arguments], cwd=folder, env=variables, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        try:
            _wait_until_ready(process, f"http://{rest_address}/health/ready", log)
            yield Gateway(grpc_address, rest_address, key, process.pid, log)
        finally:
            code = _stop(process)
    if code != 0:
        raise GatewayFailed(f"The gateway stopped with exit code {code}, not 0.\n{_end_of(log)}")


def _clean_environment() -> dict[str, str]:
    """This process's environment without what would configure a gateway or give it a provider."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("LLMGATEWAY_") and not name.endswith("_API_KEY")
    }


def _free_addresses(count: int) -> list[str]:
    """Addresses of this machine that nobody listened on a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return addresses


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    with httpx.Client(timeout=1, trust_env=False) as client:
        while process.poll() is None and time.monotonic() < until:
            try:
                if client.get(url).status_code == 200:
                    return
            except httpx.TransportError:
                pass  # nobody listens yet
            time.sleep(0.05)
    raise GatewayFailed(f"The gateway did not become ready.\n{_end_of(log)}")


def _stop(process: subprocess.Popen[bytes]) -> int:
    """Asks the process to stop, makes it stop when it does not, and returns its exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _end_of(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join(["The end of what it wrote:", *lines[-_LOG_LINES:]])
