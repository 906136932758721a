"""Reads a profile of the server and says where its time goes, a request at a time."""

from __future__ import annotations

import pstats
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from rich.console import Console
from rich.table import Table

_NOTE = """SQLAlchemy's functions run in greenlets, and show what ran while they waited as time of their own.
What gRPC and the event loop spend in compiled code shows as time of the Python function that waits for them."""
_PACKAGES = ("site-packages/", "/server/", "/gen/python/", "lib/python")


@dataclass(frozen=True, slots=True)
class Hotspot:
    """One function. Times are microseconds a request; the profiler makes small functions look dearer than they are."""

    function: str
    calls: float
    """Calls a request."""
    own: float
    """Without the functions it calls."""
    whole: float
    """With them."""


def hotspots(profile: Path, requests: int) -> list[Hotspot]:
    """All functions of a profile, the dearest by its own time first."""
    # `Stats` is typed without its table: by file, line and name; calls from outside, all calls, own and whole time.
    table = cast(
        "dict[tuple[str, int, str], tuple[int, int, float, float, object]]",
        pstats.Stats(str(profile)).stats,  # pyright: ignore[reportAttributeAccessIssue]
    )
    found = [
        Hotspot(_name(*where), calls / requests, own / requests * 1e6, whole / requests * 1e6)
        for where, (_, calls, own, whole, _) in table.items()
    ]
    return sorted(found, key=lambda each: -each.own)


def _name(file: str, line: int, function: str) -> str:
    if file == "~":
        return function
    for package in _PACKAGES:
        _, found, rest = file.rpartition(package)
        if found:
            return f"{rest}:{line} {function}"
    return f"{Path(file).name}:{line} {function}"


def _package(function: str) -> str:
    """The part of the system that a function belongs to."""
    if function.startswith(("<", "{")):
        return "built-in and compiled"
    file = function.partition(":")[0]
    parts = file.split("/")
    return "/".join(parts[:2]) if parts[0] == "llmgateway_server" else parts[0]


def show_hotspots(found: list[Hotspot], console: Console, count: int = 40) -> None:
    """Prints the dearest functions, and the sum of each part of the system."""
    table = Table(title="Dearest functions, µs a request", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name in ("own", "whole", "calls"):
        table.add_column(name, justify="right")
    table.add_column("function", overflow="fold")
    for each in found[:count]:
        table.add_row(f"{each.own:,.1f}", f"{each.whole:,.1f}", f"{each.calls:,.1f}", each.function)
    sums: Counter[str] = Counter()
    for each in found:
        sums[_package(each.function)] += round(each.own)
    parts = Table(title="By part, own µs a request", title_justify="left", box=None, padding=(0, 2, 0, 0))
    parts.add_column("own", justify="right")
    parts.add_column("part")
    for part, own in sums.most_common(20):
        parts.add_row(f"{own:,}", part)
    console.print(table, parts, _NOTE, sep="\n", markup=False)
