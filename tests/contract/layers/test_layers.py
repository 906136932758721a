"""The layer rule: import-linter's contracts, and the few things that they cannot say."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SERVER = ROOT / "server/llmgateway_server"

OWNERS: dict[str, tuple[str, ...]] = {
    # The machine's clocks and dice stand behind the ports Clock and Ids, so that rules can be tested without them.
    "time": ("system.py",),
    "random": ("system.py",),
    "secrets": ("system.py",),
    "uuid": ("system.py",),
    "datetime.now": ("system.py",),
    "datetime.utcnow": ("system.py",),
    "datetime.today": ("system.py",),
    "date.today": ("system.py",),
    # The environment is read in one place and handed on as settings.
    "os.environ": ("settings.py", "__main__.py"),
    "os.getenv": ("settings.py", "__main__.py"),
}
"""Who may use what: a module or a dotted name, and the files that may, relative to the server's package."""


def uses(source: str) -> Iterator[tuple[int, str]]:
    """Every module that the source imports and every dotted name that it reads, with the line."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import():
                yield from ((node.lineno, alias.name) for alias in node.names)
            case ast.ImportFrom(module=str(module)):
                yield node.lineno, module
                yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
            case ast.Attribute(value=ast.Name(id=owner)):
                yield node.lineno, f"{owner}.{node.attr}"
            case ast.Attribute(value=ast.Attribute(attr=owner)):
                yield node.lineno, f"{owner}.{node.attr}"
            case _:
                pass


def trespasses(path: str, source: str) -> list[str]:
    """What the file uses that belongs to others, as `line: name`."""
    return [
        f"{line}: {name}"
        for line, name in sorted(set(uses(source)))
        if (name in OWNERS and path not in OWNERS[name]) or (name.endswith("_pb2_grpc") and not path.startswith("api/"))
    ]


def test_imports_keep_to_the_layers() -> None:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"]
    lint = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert lint.returncode == 0, lint.stdout + lint.stderr


def test_clocks_dice_environment_and_stubs_stay_with_their_owners() -> None:
    files = {path.relative_to(SERVER).as_posix(): path.read_text() for path in SERVER.rglob("*.py")}
    found = [f"{path}:{trespass}" for path, source in sorted(files.items()) for trespass in trespasses(path, source)]
    assert found == []


def test_owners_exist() -> None:
    assert [path for paths in OWNERS.values() for path in paths if not (SERVER / path).exists()] == []


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
        ("system.py", "import time, secrets", []),
        ("money.py", "import os\nos.path.join('a', 'b')", []),
    ],
)
def test_the_check_bites(path: str, source: str, expected: list[str]) -> None:
    assert trespasses(path, source) == expected
