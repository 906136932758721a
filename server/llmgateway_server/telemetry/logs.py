"""Logs: one event a line, as JSON or for a terminal, with secrets struck out.

An event names what happened; what varies is in its fields, given as `extra`. Content of requests never is.
"""

from __future__ import annotations

import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson

_SECRET = re.compile(
    r"\b(lgw_[A-Za-z0-9_-]{8,}|sk-[A-Za-z0-9_-]{8,}|AKIA[0-9A-Z]{16}|AIza[0-9A-Za-z_-]{20,}|eyJ[\w-]{8,}\.[\w-]+\.[\w-]*)"
    r"|((?i:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}"
    r"|(://[^/\s:@]+:)[^@\s]+@"
)
_STANDARD = frozenset(vars(logging.makeLogRecord({})).keys() | {"message", "asctime", "taskName"})
_MAX_TEXT = 8_000
_TALKATIVE = ("alembic", "asyncio", "aiosqlite", "grpc")
"""Libraries whose news is not the operator's."""


def redact(text: str) -> str:
    """The text without what looks like a secret. The second line of defence: no secret should get here."""

    def strike(match: re.Match[str]) -> str:
        before = match[2] or match[3] or ""
        return f"{before}***" + ("@" if match[3] else "")

    return _SECRET.sub(strike, text)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What was given as `extra`. `Any`: whatever the event's author gave."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    return redact(str(value))[:_MAX_TEXT]


class JsonFormatter(logging.Formatter):
    """A JSON object a line: time, level, logger, event, and the event's fields."""

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": redact(record.getMessage())[:_MAX_TEXT],
        }
        event.update((name, _plain(value)) for name, value in _fields(record).items())
        if record.exc_info:
            event["exception"] = redact(self.formatException(record.exc_info))[-_MAX_TEXT:]
        return orjson.dumps(event).decode()


class TextFormatter(logging.Formatter):
    """A line for people; control characters cannot start another one."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")  # noqa: DTZ006 - the reader's own time
        event = redact(record.getMessage())[:_MAX_TEXT]
        fields = " ".join(f"{name}={_plain(value)}" for name, value in _fields(record).items())
        line = " ".join(part for part in (time, record.levelname.lower().ljust(7), event, fields) if part)
        line = line.encode("unicode_escape").decode() if not line.isprintable() else line
        if record.exc_info:
            line += "\n" + redact(self.formatException(record.exc_info))
        return line


def configure(level: str, form: str, stream: TextIO | None = None) -> None:
    """Sends all logs to standard error. `form` is `text`, `json` or `auto`: text on a terminal, JSON elsewhere."""
    target = stream or sys.stderr
    text = form == "text" or (form == "auto" and target.isatty())
    handler = logging.StreamHandler(target)
    handler.setFormatter(TextFormatter() if text else JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for library in _TALKATIVE:
        logging.getLogger(library).setLevel(logging.WARNING)
