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
    r"lgw_\S{8,}"  # An operator's own key may hold any visible character.
    r"|\b(?:sk-[\w-]{8,}|(?:gsk_|xai-|hf_)\w{8,}|AKIA[0-9A-Z]{16}|AIza[\w-]{20,}|eyJ[\w-]{8,}\.[\w-]+\.[\w-]*)"
    r"|(?P<scheme>\b(?i:bearer|basic)\s+)\S{10,}"
    r"|(?P<user>://[^/\s:@]*:)\S*@"
    r"|(?P<query>[?&](?i:key|api[_-]?key|token|access_token)=)[^&\s]+"
)
_STANDARD = frozenset(vars(logging.makeLogRecord({})).keys() | {"message", "asctime", "taskName"})
_MAX_TEXT = 8_000
_INT_BITS = 64
_TALKATIVE = ("alembic", "asyncio", "aiosqlite", "grpc")
"""Libraries whose news is not the operator's."""


def _is_about_the_gateway(record: logging.LogRecord) -> bool:
    """False for gRPC's complaint about bytes that a caller sent as metadata: it quotes them, with a traceback."""
    return not record.getMessage().startswith("Invalid encoding on ")


def redact(text: str) -> str:
    """The text without what looks like a secret. The second line of defence: no secret should get here."""

    def strike(match: re.Match[str]) -> str:
        before = match["scheme"] or match["user"] or match["query"] or ""
        return f"{before}***" + ("@" if match["user"] else "")

    return _SECRET.sub(strike, text)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What was given as `extra`. `Any`: whatever the event's author gave."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _plain(value: object) -> object:
    """A value as JSON has it; texts without secrets, and without the halves of characters that UTF-8 cannot carry."""
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and value.bit_length() < _INT_BITS):
        return value
    return _text(str(value))[:_MAX_TEXT]


def _text(value: str) -> str:
    return redact(value).encode("utf-8", "backslashreplace").decode()


def _one_line(text: str) -> str:
    """The text with everything escaped that could move the cursor or start another line."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


class JsonFormatter(logging.Formatter):
    """A JSON object a line: time, level, logger, event, and the event's fields."""

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": _text(record.getMessage())[:_MAX_TEXT],
        }
        event.update((name, _plain(value)) for name, value in _fields(record).items() if name not in event)
        if record.exc_info:
            event["exception"] = _text(self.formatException(record.exc_info))[-_MAX_TEXT:]
        return orjson.dumps(event).decode()


class TextFormatter(logging.Formatter):
    """A line for people, with an exception indented below; control characters cannot start another line."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")  # noqa: DTZ006 - the reader's own time
        event = _text(record.getMessage())[:_MAX_TEXT]
        fields = " ".join(f"{name}={_plain(value)}" for name, value in _fields(record).items())
        lines = [_one_line(" ".join(part for part in (time, record.levelname.lower().ljust(7), event, fields) if part))]
        if record.exc_info:
            lines += ["  " + _one_line(line) for line in _text(self.formatException(record.exc_info)).splitlines()]
        return "\n".join(lines)


def configure(level: str, form: str, stream: TextIO | None = None) -> None:
    """Sends all logs to standard error. `form` is `text`, `json` or `auto`: text on a terminal, JSON elsewhere."""
    target = stream or sys.stderr
    text = form == "text" or (form == "auto" and target.isatty())
    handler = logging.StreamHandler(target)
    handler.setFormatter(TextFormatter() if text else JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for library in _TALKATIVE:
        logging.getLogger(library).setLevel(logging.WARNING)
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_about_the_gateway)
