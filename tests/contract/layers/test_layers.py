"""The layer rule: import-linter's contracts, and the few things that they cannot say."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SERVER = ROOT / "server/llmgateway_server"

OWNERS: dict[str, tuple[str, ...]] = {
    # gRPC is the edge's; the composition root hangs services on servers, the process binds and stops the servers, and
    # the command line is a client.
    "grpc": ("api/", "bootstrap.py", "serve.py", "command/gateway.py"),
    "grpc_health": ("api/",),
    "grpc_reflection": ("api/",),
    "grpc_status": ("api/",),
    "*_pb2_grpc": ("api/", "bootstrap.py", "command/gateway.py"),
    # HTTP to providers.
    "aiohttp": ("providers/",),
    "httpx": ("providers/",),
    # SQL.
    "aiosqlite": ("storage/",),
    "alembic": ("storage/",),
    "asyncpg": ("storage/",),
    "sqlalchemy": ("storage/",),
    # Traces and metrics.
    "opentelemetry": ("telemetry/",),
    # The machine's clocks and dice stand behind Clock, Ids and arguments, so that rules can be tested without them.
    "time": ("system.py",),
    "uuid": ("system.py",),
    "random": ("bootstrap.py",),
    "datetime.now": ("system.py",),
    "datetime.utcnow": ("system.py",),
    "datetime.today": ("system.py",),
    "date.today": ("system.py",),
    # The environment is read in one place and handed on as settings; the command sets what gRPC reads as it loads.
    "os.environ": ("settings.py", "__main__.py"),
    "os.getenv": ("settings.py",),
}
"""Who may use what: a pattern of a module or of a dotted name, and the files and folders of the server that may."""


def uses(source: str) -> Iterator[tuple[int, str]]:
    """Every module that the source imports, its packages, and every dotted name that it reads, with the line."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import():
                for alias in node.names:
                    yield from ((node.lineno, name) for name in with_packages(alias.name))
            case ast.ImportFrom(module=str(module)):
                for alias in node.names:
                    yield from ((node.lineno, name) for name in with_packages(f"{module}.{alias.name}"))
            case ast.Attribute(value=ast.Name(id=owner) | ast.Attribute(attr=owner)):
                yield node.lineno, f"{owner}.{node.attr}"
            case _:
                pass


def with_packages(name: str) -> Iterator[str]:
    """The name and every package that it is in: `a.b.c`, `a.b` and `a`."""
    while name:
        yield name
        name = name.rpartition(".")[0]


def trespasses(path: str, source: str) -> list[str]:
    """What the file uses that belongs to others, as `line: name`."""
    return [
        f"{line}: {name}"
        for line, name in sorted(set(uses(source)))
        for pattern, owners in OWNERS.items()
        if fnmatchcase(name, pattern) and not path.startswith(owners)
    ]


def test_imports_keep_to_the_layers() -> None:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"]
    lint = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert lint.returncode == 0, lint.stdout + lint.stderr


def test_libraries_clocks_dice_and_environment_stay_with_their_owners() -> None:
    files = {path.relative_to(SERVER).as_posix(): path.read_text() for path in SERVER.rglob("*.py")}
    found = [f"{path}:{trespass}" for path, source in sorted(files.items()) for trespass in trespasses(path, source)]
    assert found == []


def test_owners_exist() -> None:
    assert [owner for owners in OWNERS.values() for owner in owners if not (SERVER / owner).exists()] == []


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [
        ("money.py", "import time", ["1: time"]),
        ("money.py", "from time import monotonic", ["1: time"]),
        ("money.py", "from datetime import datetime\ndatetime.now()", ["2: datetime.now"]),
        ("money.py", "import datetime\ndatetime.datetime.now()", ["2: datetime.now"]),
        ("money.py", "import os\nprint(os.environ['A'])", ["2: os.environ"]),
        ("money.py", "from os import environ", ["1: os.environ"]),
        ("money.py", "from llmgateway.v1 import chat_service_pb2_grpc", ["1: llmgateway.v1.chat_service_pb2_grpc"]),
        ("api/chat.py", "from llmgateway.v1 import chat_service_pb2_grpc", []),
        ("money.py", "import sqlalchemy.ext.asyncio as sql", ["1: sqlalchemy"]),
        ("storage/store.py", "from sqlalchemy.ext.asyncio import AsyncEngine", []),
        ("providers/http.py", "from grpc.aio import Channel", ["1: grpc"]),
        ("system.py", "import time", []),
        ("money.py", "def late(call): return call.time.seconds", []),
        ("money.py", "import os\nos.path.join('a', 'b')", []),
    ],
)
def test_the_check_bites(path: str, source: str, expected: list[str]) -> None:
    assert trespasses(path, source) == expected
