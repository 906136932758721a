"""What a command shows: results on standard output, everything else on standard error, and a line for a mistake.

On a terminal there are tables and colours. Elsewhere results are plain: tables are lines of cells with tabs between
them, after a line of headings, so that other programs can read them.
"""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import typer

from llmgateway_server.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

MISTAKE: Final = 2
"""The exit code after something that the user can put right."""

FAILURE: Final = 1
"""The exit code after a failure that may pass by itself, such as of a provider or of the database."""

_NANOS: Final = 1_000_000_000

_CONTROLS: Final = dict.fromkeys((*range(32), *range(127, 160)), "�")
_CONTROLS_OF_LINES: Final = {code: shown for code, shown in _CONTROLS.items() if chr(code) not in "\n\t"}


class Mistake(Exception):
    """Something that the user said or set wrongly. The message says what to do, one problem a line."""


@contextmanager
def one_line(*mistakes: type[Exception]) -> Generator[None]:
    """Reports these errors, alone or in groups, as a line each on standard error, and ends the command."""
    found: list[BaseException] = []
    try:
        yield
    except* mistakes as group:
        found.extend(_leaves(group))
    if found:
        for error in found:
            report(error)
        raise typer.Exit(MISTAKE if any(not _may_pass(error) for error in found) else FAILURE)


def report(error: BaseException) -> None:
    """Writes an error as a person reads it."""
    for problem in _message(error).splitlines():
        _label("error:", "bold red", problem)


def warn(text: str) -> None:
    """Writes what does not stop the command, but should be seen."""
    _label("warning:", "bold yellow", text)


def note(text: str, *, end: str = "\n") -> None:
    """Writes something in passing."""
    _write_beside(shown(text, lines=True) + end, "dim")


def show(text: str) -> None:
    """Writes a result."""
    typer.echo(shown(text, lines=True) if sys.stdout.isatty() else text)


def show_json(value: object) -> None:
    """Writes a result as JSON."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def show_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Writes rows of cells, each on one line."""
    clean = [[shown(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in (headings, *clean):
            typer.echo("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in clean:
        table.add_row(*(Text(cell) for cell in row))
    Console(file=sys.stdout).print(table)


def shown(text: str, *, lines: bool = False) -> str:
    """The text without control characters, which could steer a terminal. With `lines`, it keeps lines and tabs."""
    return text.translate(_CONTROLS_OF_LINES if lines else _CONTROLS)


def dollars(nanos: int) -> str:
    """An amount of nano-dollars in dollars, exactly: `$0.15`, `$0.000012`."""
    sign = "-" if nanos < 0 else ""
    whole, rest = divmod(abs(nanos), _NANOS)
    cents, small = f"{rest:09d}"[:2], f"{rest:09d}"[2:].rstrip("0")
    return f"{sign}${whole}.{cents}{small}"


def _label(label: str, style: str, text: str) -> None:
    _write_beside(f"{label} ", style)
    typer.echo(shown(text), err=True)


def _write_beside(text: str, style: str) -> None:
    """Writes to standard error, with a style where it is a terminal."""
    if not sys.stderr.isatty():
        typer.echo(text, err=True, nl=False)
        return
    from rich.console import Console

    Console(stderr=True).out(text, style=style, highlight=False, end="")


def _leaves(error: BaseException) -> Generator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - of any
            yield from _leaves(each)  # pyright: ignore[reportUnknownArgumentType]
    else:
        yield error


def _message(error: BaseException) -> str:
    if not isinstance(error, GatewayError):
        return str(error)
    reason = "" if error.reason_name == "UNSPECIFIED" else f"{error.reason_name}: "
    request_id = error.metadata.get("request_id", "")
    return f"{reason}{error.message}" + (f" (request {request_id})" if request_id else "")


def _may_pass(error: BaseException) -> bool:
    """Whether the same command may succeed later, with nothing put right."""
    from google.rpc import code_pb2

    users_own = (
        code_pb2.INVALID_ARGUMENT,
        code_pb2.FAILED_PRECONDITION,
        code_pb2.UNAUTHENTICATED,
        code_pb2.PERMISSION_DENIED,
        code_pb2.NOT_FOUND,
        code_pb2.ALREADY_EXISTS,
        code_pb2.UNIMPLEMENTED,
    )
    return isinstance(error, GatewayError) and error.code not in users_own
