"""The command as a whole, and its small parts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import llmgateway_server
from tests.unit.command.conftest import Run

COMMANDS = {
    "serve": (),
    "migrate": (),
    "keys": ("create", "list", "revoke"),
    "models": ("list",),
    "chat": (),
    "config": ("check", "show"),
    "version": (),
}
SLOW = ("aiohttp", "alembic", "grpc", "pydantic_settings", "rich", "sqlalchemy", "yaml")


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS), ("keys", "create"), ("config", "check")])
def test_every_command_says_what_it_is_for(run: Run, command: tuple[str, ...]) -> None:
    helped = run(*command, "--help")
    assert (helped.exit_code, helped.stderr) == (0, "")
    assert helped.stdout.isascii()
    assert max(map(len, helped.stdout.splitlines())) <= 80


def test_the_commands_are_those_that_are_promised(run: Run) -> None:
    for group, commands in {"": tuple(COMMANDS), **COMMANDS}.items():
        if commands:
            helped = run(*group.split(), "--help").stdout
            listed = helped.partition("Commands:\n")[2].splitlines()
            assert sorted(line.split()[0] for line in listed) == sorted(commands)
            assert "..." not in "".join(listed)


@pytest.mark.parametrize("words", [("--help",), ("keys", "create", "--help"), ("version",), ("version", "--json")])
def test_what_needs_no_gateway_loads_none(words: tuple[str, ...]) -> None:
    program = (
        "import sys, contextlib\n"
        "from llmgateway_server.__main__ import app\n"
        "with contextlib.suppress(SystemExit): app(sys.argv[1:])\n"
        f"print(sorted(set({SLOW!r}) & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


def test_the_version_is_the_installed_one(run: Run) -> None:
    assert run("version").stdout == f"llm-gateway {llmgateway_server.__version__}\n"
    versions = json.loads(run("version", "--json").stdout)
    assert versions["version"] == llmgateway_server.__version__
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert set(versions) == {"version", "python", "grpc", "protobuf", "envoy"}


def test_migrate_says_what_it_did(run: Run, folder: Path) -> None:
    first, second = run("migrate"), run("migrate", "--allow-data-loss")
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert first.stdout.startswith("sqlite:///llm-gateway.db was empty and has schema ")
    assert second.stdout.endswith(" already. Nothing was done.\n")
    assert (folder / "llm-gateway.db").exists()


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("sqlite:///a-file/gateway.db", "cannot create 'a-file/gateway.db': "),
        ("sqlite:///not-a-database.db", "cannot open sqlite:///not-a-database.db: "),
        ("mysql://me:CaNaRy@host/db", "'mysql' is not a database that the gateway speaks;"),
        ("CaNaRy", "the database URL cannot be read;"),
    ],
)
@pytest.mark.parametrize("command", [("migrate",), ("serve", "--no-edge", "--grpc-address", "127.0.0.1:0")])
def test_a_database_that_cannot_be_used_is_a_mistake(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], url: str, problem: str
) -> None:
    (folder / "a-file").touch()
    (folder / "not-a-database.db").write_text("CaNaRy " * 1000)
    monkeypatch.setenv("LLMGATEWAY_DATABASE_URL", url)
    monkeypatch.setenv("LLMGATEWAY_LOGGING__LEVEL", "error")
    ended = run(*command)
    assert (ended.exit_code, ended.stdout) == (2, "")
    [line] = ended.stderr.splitlines()
    assert line.startswith(f"error: {problem}")
    assert "CaNaRy" not in line


@pytest.mark.parametrize(
    ("words", "said", "problem"),
    [
        (("chat", "Hi"), "", "there is no API key; set LLMGATEWAY_API_KEY, or make one with `llm-gateway keys create`"),
        (("chat", "--api-key", "lgw_1"), " \n", "there is nothing to say; give a MESSAGE, or pipe one in"),
        (("chat", "--api-key", "lgw_1"), b"\xff", "what was piped in is not UTF-8 text"),
    ],
)
def test_a_chat_begins_with_a_key_and_something_to_say(
    run: Run, words: tuple[str, ...], said: str | bytes, problem: str
) -> None:
    ended = run(*words, text=said)
    assert (ended.exit_code, ended.stdout, ended.stderr) == (2, "", f"error: {problem}\n")
