"""Child processes of a benchmark: start them, end them, and read what they use from /proc (Linux only)."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The root of the repository; children start there."""

_TICKS = os.sysconf("SC_CLK_TCK")
_GRACE = 15.0


class BenchFailed(Exception):
    """The benchmark cannot say anything true. The message says why and what to do."""


@contextmanager
def running(
    command: Sequence[str], log: Path, env: Mapping[str, str] | None = None
) -> Generator[subprocess.Popen[str]]:
    """Runs a command with pipes for input and output and its errors in a file; ends it with SIGTERM, then SIGKILL."""
    with log.open("w") as errors:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        with process:
            try:
                yield process
            finally:
                _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def cpu_seconds(pid: int) -> float:
    """Processor time of all threads of a process so far, to a hundredth of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_mib(pid: int) -> float:
    """Memory of a process that is resident."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def name_of(pid: int) -> str:
    """Name of the program that a process runs, at most 15 characters."""
    return Path(f"/proc/{pid}/comm").read_text().strip()


def descendants(pid: int) -> list[int]:
    """The children of a process, their children, and so on."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def machine_cpu_seconds() -> float:
    """Time that all processors of the machine together were busy so far, in seconds."""
    user, nice, system, _, _, interrupt, soft_interrupt = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + interrupt + soft_interrupt) / _TICKS
