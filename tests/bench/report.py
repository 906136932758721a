"""What was measured, as one table for people and as JSON whose names stay."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from tests.bench.measure import Measurement
from tests.bench.micro import Cost

REQUESTS_PER_SECOND = 1_200.0
ADDED_P50 = 2.0
_LOUD = 0.1


@dataclass(frozen=True, slots=True)
class Target:
    """One figure to reach."""

    name: str
    row: str
    want: str
    got: float | None
    """None when its row was not measured."""
    met: bool | None


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of one run."""

    measurements: tuple[Measurement, ...]
    costs: tuple[Cost, ...]
    server_mib_at_start: float
    edge_mib_at_start: float
    edge_mib_at_end: float

    def added(self, measurement: Measurement) -> float | None:
        """Milliseconds that the gateway adds to the median at one connection; None where nothing says so."""
        if measurement.row.connections != 1 or measurement.row.provider != "openai":
            return None
        direct = self._by_name(f"upstream direct {measurement.row.shape} 1")
        return measurement.latency.p50 - direct.latency.p50 if direct else None

    def targets(self) -> list[Target]:
        """The figures to reach, and whether they are."""
        busy, quiet = self._by_name("openai rest whole 32"), self._by_name("openai rest whole 1")
        rate = busy.requests_per_second if busy else None
        added = self.added(quiet) if quiet else None
        return [
            Target(
                "requests/s at 32 connections through Envoy",
                "openai rest whole 32",
                f">= {REQUESTS_PER_SECOND:,.0f}",
                rate,
                None if rate is None else rate >= REQUESTS_PER_SECOND,
            ),
            Target(
                "added p50 at one connection, ms",
                "openai rest whole 1",
                f"< {ADDED_P50:g}",
                added,
                None if added is None else added < ADDED_P50,
            ),
        ]

    def _by_name(self, name: str) -> Measurement | None:
        return next((each for each in self.measurements if each.row.name == name), None)


def as_json(report: Report) -> dict[str, Any]:
    """The report as JSON. Names and units stay as they are; new ones may be added."""
    server_mib = [each.server_mib for each in report.measurements]
    return {
        "version": 1,
        "machine": {
            "processors": os.cpu_count(),
            "architecture": platform.machine(),
            "python": platform.python_version(),
        },
        "rows": [_row_json(report, each) for each in report.measurements],
        "memory_mib": {
            "server_at_start": round(report.server_mib_at_start, 1),
            "server_at_end": round(server_mib[-1], 1) if server_mib else None,
            "edge_at_start": round(report.edge_mib_at_start, 1),
            "edge_at_end": round(report.edge_mib_at_end, 1),
        },
        "targets": [
            {"name": each.name, "row": each.row, "want": each.want, "got": _round(each.got), "met": each.met}
            for each in report.targets()
        ],
        "micro": [{"name": each.name, "microseconds": round(each.microseconds, 3)} for each in report.costs],
    }


def _row_json(report: Report, measurement: Measurement) -> dict[str, Any]:
    row, spent, requests = measurement.row, measurement.spent, measurement.requests
    latency, first = measurement.latency, measurement.first
    return {
        "name": row.name,
        "provider": row.provider,
        "way": row.way,
        "shape": row.shape,
        "connections": row.connections,
        "requests": requests,
        "messages": measurement.messages,
        "elapsed_seconds": _round(measurement.elapsed),
        "requests_per_second": _round(measurement.requests_per_second),
        "tokens_per_second": _round(measurement.tokens_per_second),
        "latency_ms": {"p50": _round(latency.p50), "p90": _round(latency.p90), "p99": _round(latency.p99)},
        "first_byte_ms": {"p50": _round(first.p50), "p90": _round(first.p90), "p99": _round(first.p99)},
        "added_p50_ms": _round(report.added(measurement)),
        "cpu_microseconds_per_request": {
            "server": _round(spent.server / requests * 1e6),
            "edge": _round(spent.edge / requests * 1e6),
            "upstream": _round(spent.upstream / requests * 1e6),
            "generator": _round(spent.generator / requests * 1e6),
        },
        "server_cpu_share": _round(spent.server / measurement.elapsed),
        "other_cpu_share": _round(spent.others / measurement.elapsed),
        "server_mib": _round(measurement.server_mib),
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def show(report: Report, console: Console) -> None:
    """Prints the report for people."""
    parts: list[Table | Text] = []
    if report.measurements:
        parts += [_rows_table(report), _notes(report)]
    if report.costs:
        parts.append(_costs_table(report.costs))
    console.print(Group(*parts))


_COLUMNS = (
    *("conns", "req/s", "tokens/s", "p50", "p90", "p99", "first", "added"),
    *("server", "Envoy", "upstr.", "load", "busy", "MiB"),
)


def _rows_table(report: Report) -> Table:
    table = Table(
        title="LLM Gateway, one server process (latency in ms; processor time in µs a request)",
        title_justify="left",
        padding=(0, 1, 0, 0),
        box=None,
        header_style="bold",
    )
    table.add_column("row", no_wrap=True)
    for name in _COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    section = ""
    for measurement in report.measurements:
        row = measurement.row
        group = f"{row.provider} {row.way}"
        if section and group != section:
            table.add_section()
        section = group
        table.add_row(*_cells(report, measurement))
    return table


def _cells(report: Report, measurement: Measurement) -> list[str]:
    row, spent, requests = measurement.row, measurement.spent, measurement.requests
    added = report.added(measurement)

    def each(seconds: float) -> str:
        return f"{seconds / requests * 1e6:,.0f}"

    through = row.way != "direct"
    return [
        f"{row.provider} {row.way} {row.shape}",
        str(row.connections),
        f"{measurement.requests_per_second:,.0f}",
        f"{measurement.tokens_per_second:,.0f}",
        f"{measurement.latency.p50:.2f}",
        f"{measurement.latency.p90:.2f}",
        f"{measurement.latency.p99:.2f}",
        f"{measurement.first.p50:.2f}",
        "" if added is None else f"{added:.2f}",
        each(spent.server) if through else "",
        each(spent.edge) if row.way == "rest" else "",
        each(spent.upstream) if row.provider != "fake" else "",
        each(spent.generator),
        f"{spent.server / measurement.elapsed:.0%}" if through else "",
        f"{measurement.server_mib:.0f}",
    ]


def _notes(report: Report) -> Text:
    text = Text()
    for target in report.targets():
        got = "not measured" if target.got is None else f"{target.got:,.2f}".removesuffix(".00")
        verdict, style = {None: ("", ""), True: ("reached", "green"), False: ("MISSED", "bold red")}[target.met]
        text.append(f"Target: {target.name}: {target.want}; got {got} ")
        text.append(f"{verdict}\n", style)
    last = report.measurements[-1].server_mib
    text.append(
        f"Memory: server {report.server_mib_at_start:.0f} -> {last:.0f} MiB, "
        f"Envoy {report.edge_mib_at_start:.0f} -> {report.edge_mib_at_end:.0f} MiB.\n"
    )
    text.append(
        "added: p50 less the p50 of the same request straight to the upstream. first: p50 until the body begins.\n"
        "busy: share of one processor that the server used. MiB: memory of the server after the row.\n"
        "Whole answers have 16 words; streams have 64, one an event, eight events a write.\n"
        "The gRPC load sends prebuilt HTTP/2 frames, at a tenth of what a gRPC library would spend.\n",
        "dim",
    )
    loud = [each for each in report.measurements if each.spent.others > _LOUD * each.elapsed]
    if loud:
        worst = max(each.spent.others / each.elapsed for each in loud)
        text.append(
            f"Other programs used up to {worst:.0%} of a processor during {len(loud)} rows; they show too little.\n",
            "yellow",
        )
    return text


def _costs_table(costs: Sequence[Cost]) -> Table:
    table = Table(title="In process", title_justify="left", box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("what", no_wrap=True)
    table.add_column("µs", justify="right")
    for cost in costs:
        table.add_row(cost.name, f"{cost.microseconds:,.2f}")
    return table
