"""Reads when a provider wants to be asked again, in each of the forms that providers use."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from llmgateway_server.providers.wire import Headers

MAX_SECONDS = 86_400.0
"""A hint beyond a day says no more than that."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|d|h|m|s)")
_UNIT_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_RESET_HEADERS = (
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
    "anthropic-ratelimit-requests-reset",
    "anthropic-ratelimit-tokens-reset",
    "anthropic-ratelimit-input-tokens-reset",
    "anthropic-ratelimit-output-tokens-reset",
    "x-ratelimit-reset",
)


def should_retry(headers: Headers) -> bool | None:
    """What the provider says of a retry outright; None when it says nothing."""
    return {"true": True, "false": False}.get(headers.get("x-should-retry", "").strip().lower())


def retry_after(headers: Headers, now: datetime) -> float | None:
    """Seconds to wait by the headers made for it, 0 to a day; None when they say nothing that can be read."""
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        if (millis := _number(headers.get(name, ""))) is not None:
            return _bounded(millis / 1000)
    value = headers.get("retry-after", "").strip()
    if (seconds := _number(value)) is not None:
        return _bounded(seconds)
    return _until(_http_date(value), now)


def reset_after(headers: Headers, now: datetime) -> float | None:
    """Seconds until a limit that is used up resets, by the rate headers, 0 to a day; None when they do not tell.

    Only limits with nothing remaining count, where the headers say what remains. Use it on refusals alone: the same
    headers come with every success.
    """
    waits: list[float] = []
    for name in _RESET_HEADERS:
        value = headers.get(name, "").strip()
        remaining = _number(headers.get(name.replace("reset", "remaining"), ""))
        if value and not remaining and (wait := _reset(value, now)) is not None:
            waits.append(wait)
    return max(waits, default=None)


def duration(text: str) -> float | None:
    """Seconds of a duration such as `12ms`, `1.5s`, `6m0s` or `1h2m`; None when it is not one."""
    total, end = 0.0, 0
    for match in _DURATION.finditer(text):
        if match.start() != end:
            return None
        total += float(match[1]) * _UNIT_SECONDS[match[2]]
        end = match.end()
    return _bounded(total) if end and end == len(text) else None


def _reset(value: str, now: datetime) -> float | None:
    if (seconds := duration(value)) is not None:
        return seconds
    if (number := _number(value)) is not None:
        # Small numbers are spans, large ones moments; very large ones are in milliseconds.
        moment = number / 1000 if number > _MILLIS_FROM else number
        return _bounded(moment - now.timestamp() if moment > _MOMENTS_FROM else moment)
    return _until(_rfc3339(value), now)


_MOMENTS_FROM = 1e9
_MILLIS_FROM = 1e11


def _number(text: str) -> float | None:
    """A plain decimal number. Python would take `nan`, `inf` and `1_0` as well."""
    return float(text) if re.fullmatch(r"\s*[+-]?\d{1,15}(\.\d{0,15})?\s*", text, re.ASCII) else None


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _rfc3339(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _until(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else _bounded((moment - now).total_seconds())


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), MAX_SECONDS)
