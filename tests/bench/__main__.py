"""The command: `python -m tests.bench [--quick] [--only TEXT] [--json] [--profile]`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from tests.bench.gateway import SERVE, gateway
from tests.bench.hotspots import hotspots, show_hotspots
from tests.bench.measure import Measurement, Places, measure
from tests.bench.micro import costs
from tests.bench.processes import BenchFailed, resident_mib, running
from tests.bench.report import Report, as_json, show
from tests.bench.rows import EVENTS_PER_WRITE, ROWS, STREAM_WORDS, WHOLE_WORDS, Row

_PROFILED = "openai rest whole 32"
_WIDTH = 132


def main() -> int:
    """Measures what the command line asks for. Returns 1 when an answer failed or the gateway did not start."""
    options = _options()
    duration, warmup = (0.25, 0.1) if options.quick else (options.duration, 0.5)
    notes = Console(stderr=True)
    try:
        _check_machine()
        with tempfile.TemporaryDirectory(prefix="llm-gateway-bench-") as name:
            folder = Path(name)
            if options.profile:
                _profile(_chosen(options.only or [_PROFILED])[0], folder, duration, warmup)
                return 0
            report = _measure_all(_chosen(options.only), folder, duration, warmup, notes)
    except BenchFailed as failure:
        notes.print(f"bench: {failure}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    if options.json:
        print(json.dumps(as_json(report), indent=2))
    else:
        show(report, _console())
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measures what the gateway costs.")
    parser.add_argument("--json", action="store_true", help="print JSON rather than a table")
    parser.add_argument("--quick", action="store_true", help="a quarter of a second a row: proves that it works")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="WORDS",
        help="rows whose name has all these words, such as 'openai rest'; may be repeated",
    )
    parser.add_argument("--duration", type=float, default=4.0, metavar="SECONDS", help="time a row (default 4)")
    parser.add_argument("--profile", action="store_true", help=f"profile the server under one row ({_PROFILED!r})")
    return parser.parse_args()


def _check_machine() -> None:
    if not Path("/proc/self/stat").exists():
        raise BenchFailed("this machine has no /proc, from which memory and processor time are read; use Linux.")


def _console() -> Console:
    """As wide as the table when nobody watches, as wide as the terminal when somebody does."""
    return Console() if sys.stdout.isatty() else Console(width=_WIDTH)


def _chosen(only: Sequence[str]) -> list[Row]:
    wanted = [set(words.split()) for words in only]
    rows = [row for row in ROWS if not wanted or any(words <= set(row.name.split()) for words in wanted)]
    if not rows:
        names = ", ".join(repr(row.name) for row in ROWS)
        raise BenchFailed(f"no row has the words {list(only)!r}; the rows are {names}.")
    return rows


@contextmanager
def _upstream(folder: Path) -> Generator[tuple[int, int]]:
    """Runs the upstream; gives the id of its process and its port."""
    shape = {"--whole-words": WHOLE_WORDS, "--stream-words": STREAM_WORDS, "--events-per-write": EVENTS_PER_WRITE}
    words = [str(word) for option in shape.items() for word in option]
    with running((sys.executable, "-m", "tests.bench.upstream", *words), folder / "upstream.log") as process:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())


def _measure_all(rows: Sequence[Row], folder: Path, duration: float, warmup: float, notes: Console) -> Report:
    measurements: list[Measurement] = []
    with _upstream(folder) as (upstream, port), gateway(folder, port) as ready:
        places = Places(upstream, port, ready, folder)
        server_mib, edge_mib = resident_mib(ready.server), resident_mib(ready.edge)
        for number, row in enumerate(rows, 1):
            if notes.is_terminal:
                notes.print(f"{number}/{len(rows)} {row.name}", style="dim", highlight=False)
            measurements.append(measure(row, places, duration=duration, warmup=warmup))
        edge_mib_at_end = resident_mib(ready.edge)
    return Report(
        measurements=tuple(measurements),
        costs=tuple(costs(min(duration / 4, 0.5))),
        server_mib_at_start=server_mib,
        edge_mib_at_start=edge_mib,
        edge_mib_at_end=edge_mib_at_end,
    )


def _profile(row: Row, folder: Path, duration: float, warmup: float) -> None:
    file = folder / "server.profile"
    command = (sys.executable, "-m", "tests.bench.profiled", str(file), *SERVE[3:])
    with _upstream(folder) as (upstream, port), gateway(folder, port, command) as ready:
        places = Places(upstream, port, ready, folder)
        measurement = measure(
            row,
            places,
            duration=duration,
            warmup=warmup,
            around=lambda: os.kill(ready.server, signal.SIGUSR1),
        )
        _await_file(file)
    print(f"{row.name}: {measurement.requests_per_second:,.0f} requests/s under the profiler\n")
    show_hotspots(hotspots(file, measurement.requests), _console())


def _await_file(file: Path) -> None:
    until = time.monotonic() + 10
    while not file.exists():
        if time.monotonic() > until:
            raise BenchFailed("The server wrote no profile.")
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
