"""The command, run inside the test in a folder and an environment of its own."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from llmgateway_server.__main__ import app
from llmgateway_server.bootstrap import open_core
from llmgateway_server.settings import load

Run = Callable[..., Result]
"""Runs `llm-gateway` with the words given, and returns its exit code and what it wrote."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command runs. Nothing of the machine's configuration reaches it."""
    for name in list(os.environ):
        if name.startswith("LLMGATEWAY_") or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LLMGATEWAY_CONFIG", "")  # --config sets it, and the end of the test takes it back
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run() -> Run:
    """The command. What it does not turn into a line on standard error is raised."""

    def invoke(*words: str, text: str | bytes = "") -> Result:
        return CliRunner().invoke(app, words, input=text, catch_exceptions=False)

    return invoke


@pytest.fixture
def started(folder: Path) -> Path:
    """The database of a gateway that has started once."""

    async def start() -> None:
        core = await open_core(load())
        await core.close()

    asyncio.run(start())
    return folder / "llm-gateway.db"
