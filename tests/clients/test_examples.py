"""Every example, run as its README says, against a real gateway."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Gateway
from tests.support.tools import NODE, PATH, install_node_modules, require

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "clients" / "examples"
CLIENT = ROOT / "clients" / "python"
SERVICES = {
    "grpc.health.v1.Health",
    "llmgateway.compat.v1.OpenAIService",
    "llmgateway.v1.AdminService",
    "llmgateway.v1.ChatService",
    "llmgateway.v1.ContentService",
    "llmgateway.v1.EvaluationService",
    "llmgateway.v1.HealthService",
    "llmgateway.v1.ModelService",
    "llmgateway.v1.RoutingService",
}


def run(
    gateway: Gateway, *command: str | Path, folder: Path = ROOT, environment: Mapping[str, str] | None = None
) -> str:
    """What the program writes; fails with all of it when the program does."""
    finished = subprocess.run(
        command,
        cwd=folder,
        env={
            **os.environ,
            "PATH": PATH,
            "LLMGATEWAY_API_KEY": gateway.key,
            "LLMGATEWAY_GRPC_ADDRESS": gateway.grpc_address,
            "LLMGATEWAY_REST_ADDRESS": gateway.rest_address,
            **(environment or {}),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def documents(text: str) -> list[dict[str, Any]]:
    """The JSON objects of a text that holds them one after the other, among other things."""
    decoder = json.JSONDecoder()
    found: list[dict[str, Any]] = []
    position = text.find("{")
    while position >= 0:
        document, position = decoder.raw_decode(text, position)
        found.append(document)
        position = text.find("{", position)
    return found


def streamed_text(events: list[dict[str, Any]]) -> str:
    """The text of the events of a stream, which must be whole."""
    assert "started" in events[0]
    assert "finished" in events[-1]
    # grpcurl names fields as the protos do, since descriptors by reflection carry no JSON names.
    return "".join((event.get("partDelta") or event["part_delta"])["text"] for event in events[1:-1])


def test_openai_python(gateway: Gateway) -> None:
    lines = run(gateway, sys.executable, EXAMPLES / "openai_python" / "main.py").splitlines()
    assert lines[0] == "Hello from Python"
    assert re.fullmatch(r"Hello from Python \(\d+ tokens\)", lines[1])


def test_openai_node(gateway: Gateway) -> None:
    folder = EXAMPLES / "openai_node"
    install_node_modules(folder)
    lines = run(gateway, NODE, "main.js", folder=folder).splitlines()
    assert lines[0] == "Hello from Node"
    assert re.fullmatch(r"Hello from Node \(\d+ tokens\)", lines[1])


def test_python_client(gateway: Gateway) -> None:
    lines = run(gateway, sys.executable, EXAMPLES / "python_client" / "main.py").splitlines()
    assert lines[0] == "Hello from the client"
    assert re.fullmatch(r"Hello from the client \(\d+ tokens\)", lines[1])
    assert re.fullmatch(r"RESOURCE_NOT_FOUND: .*fake/none.* \(request \S+\)", lines[2])


def test_python_client_readme(gateway: Gateway, tmp_path: Path) -> None:
    """The first program of the client's README, with the address of this gateway."""
    program = re.search(r"```python\n(import asyncio.*?)```", (CLIENT / "README.md").read_text(), re.DOTALL)
    assert program
    path = tmp_path / "readme.py"
    path.write_text(program[1].replace("127.0.0.1:50051", gateway.grpc_address))
    lines = run(gateway, sys.executable, path).splitlines()
    assert lines[0].startswith("Hello, gateway Usage(")
    assert lines[1] == "Hello again STOP"


def test_grpc_python(gateway: Gateway) -> None:
    program = EXAMPLES / "grpc_python" / "main.py"
    environment = {"PYTHONPATH": str(ROOT / "gen" / "python")}
    lines = run(gateway, sys.executable, program, environment=environment).splitlines()
    assert lines[0] == "Hello from gRPC"
    assert re.fullmatch(r"Hello from gRPC \(\d+ tokens\)", lines[1])


def test_curl(gateway: Gateway) -> None:
    require("curl")
    output = run(gateway, EXAMPLES / "curl.sh")
    whole, *stream = [document for document in documents(output) if "object" in document]
    native, *events = [document for document in documents(output) if "object" not in document]
    assert whole["choices"][0]["message"]["content"] == "Hello from curl"
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in stream) == "Hello from curl"
    assert "data: [DONE]" in output
    assert native["message"] == {"role": "ROLE_ASSISTANT", "parts": [{"text": "Hello from curl"}]}
    assert streamed_text(events) == "Hello from curl"


def test_grpcurl(gateway: Gateway) -> None:
    require("grpcurl")
    output = run(gateway, EXAMPLES / "grpcurl.sh")
    assert set(output.splitlines()) >= SERVICES
    assert "rpc StreamChat (" in output
    health, answer, *events = documents(output[output.index('{\n  "status"') :])
    assert health == {"status": "SERVING"}
    assert answer["message"] == {"role": "ROLE_ASSISTANT", "parts": [{"text": "Hello from grpcurl"}]}
    assert streamed_text(events) == "Hello from grpcurl"


def test_buf_curl(gateway: Gateway) -> None:
    require("buf")
    output = run(gateway, EXAMPLES / "buf_curl.sh")
    assert set(output.splitlines()) >= SERVICES
    health, answer, *events = documents(output)
    assert health == {"status": "SERVING"}
    assert answer["message"] == {"role": "ROLE_ASSISTANT", "parts": [{"text": "Hello from buf"}]}
    assert streamed_text(events) == "Hello from buf"


def test_the_lock_of_the_node_example_names_no_registry() -> None:
    lock = json.loads((EXAMPLES / "openai_node" / "package-lock.json").read_text())
    assert not [name for name, package in lock["packages"].items() if "resolved" in package]
