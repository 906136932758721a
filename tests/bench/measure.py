"""Measures a row: runs its load in a process of its own, and watches what every process spends meanwhile."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.gateway import Gateway
from tests.bench.processes import BenchFailed, cpu_seconds, machine_cpu_seconds, resident_mib, running, tail
from tests.bench.rows import Row, job
from tests.bench.tally import Job, Percentiles, Result


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything is."""

    upstream: int
    """Id of the upstream's process."""
    upstream_port: int
    gateway: Gateway
    folder: Path


@dataclass(frozen=True, slots=True)
class Spent:
    """Processor time while a row was measured, in seconds."""

    server: float
    edge: float
    upstream: float
    generator: float
    others: float
    """Of everything else on the machine. Much of it makes the row doubtful."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one row showed. Spans are in milliseconds."""

    row: Row
    requests: int
    messages: int
    elapsed: float
    """Seconds."""
    latency: Percentiles
    first: Percentiles
    spent: Spent
    server_mib: float
    """Resident memory of the server after the row."""

    @property
    def requests_per_second(self) -> float:
        return self.requests / self.elapsed

    @property
    def tokens_per_second(self) -> float:
        return self.requests_per_second * self.row.words


def measure(
    row: Row,
    places: Places,
    *,
    duration: float,
    warmup: float,
    around: Callable[[], None] = lambda: None,
) -> Measurement:
    """Measures a row; calls `around` when the time that counts begins and again when it is over.

    Raises:
        BenchFailed: an answer failed, or none came.
    """
    log = places.folder / "load.log"
    with running((sys.executable, "-m", "tests.bench.load"), log) as process:
        _hand_over(process, job(row, places.gateway, places.upstream_port, duration=duration, warmup=warmup))
        if _line(process, log) != "measuring":
            raise BenchFailed(f"{row.name}: the generator did not begin; its log:\n{tail(log)}")
        around()
        before = _cpu(places)
        result = _result(_line(process, log))
        after = _cpu(places)
        around()
    if result.errors or not result.requests:
        reasons = "; ".join(result.failures) or "no answer came in time"
        raise BenchFailed(f"{row.name}: {result.errors} of the answers failed: {reasons}")
    server, edge, upstream, machine = (now - then for now, then in zip(after, before, strict=True))
    others = max(machine - server - edge - upstream - result.cpu, 0.0)
    return Measurement(
        row=row,
        requests=result.requests,
        messages=result.messages,
        elapsed=result.elapsed,
        latency=result.latency,
        first=result.first,
        spent=Spent(server, edge, upstream, result.cpu, others),
        server_mib=resident_mib(places.gateway.server),
    )


def _hand_over(process: subprocess.Popen[str], work: Job) -> None:
    assert process.stdin is not None
    json.dump(dataclasses.asdict(work), process.stdin)
    process.stdin.close()


def _line(process: subprocess.Popen[str], log: Path) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        raise BenchFailed(f"The load generator ended early; its log:\n{tail(log)}")
    return line


def _result(line: str) -> Result:
    values: dict[str, Any] = json.loads(line)
    values["latency"] = Percentiles(**values["latency"])
    values["first"] = Percentiles(**values["first"])
    return Result(**values)


def _cpu(places: Places) -> tuple[float, float, float, float]:
    gateway = places.gateway
    return (
        cpu_seconds(gateway.server),
        cpu_seconds(gateway.edge),
        cpu_seconds(places.upstream),
        machine_cpu_seconds(),
    )
