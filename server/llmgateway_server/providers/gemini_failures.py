"""Reads what Gemini and Vertex AI say when they fail: Google's error model, with its details."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import orjson

from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server.errors import GatewayError
from llmgateway_server.providers import failures
from llmgateway_server.providers.failures import MODEL_NOT_FOUND, Report, Verdict
from llmgateway_server.providers.json_values import UNREADABLE, Json, json_object, json_objects
from llmgateway_server.providers.retry_hints import duration

_DETAIL = "type.googleapis.com/google.rpc."
_TOO_MANY_REQUESTS = 429
_STATUSES: Mapping[str, int] = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": _TOO_MANY_REQUESTS,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""The HTTP status of each canonical word, for errors within an answer that name no number."""

_CREDENTIAL = Verdict(ErrorReason.ERROR_REASON_PROVIDER_REJECTED_CREDENTIAL, retryable=False)
_CODES: Mapping[str, Verdict] = {
    # A bad key is a 400 here.
    "API_KEY_INVALID": _CREDENTIAL,
    "API_KEY_EXPIRED": _CREDENTIAL,
    # The key's project may not use the API from where it is, or has no billing: nothing is wrong with the request.
    "FAILED_PRECONDITION": Verdict(ErrorReason.ERROR_REASON_PROVIDER_UNAVAILABLE, retryable=False),
}
_UNSUPPORTED = Verdict(ErrorReason.ERROR_REASON_UNSUPPORTED_FEATURE, retryable=False)
_NO_MODEL = Verdict(ErrorReason.ERROR_REASON_PROVIDER_UNAVAILABLE, retryable=False, code=MODEL_NOT_FOUND)

_BAD_KEY_WORDS = re.compile(r"API key (not valid|not found|expired|is invalid)", re.IGNORECASE)
_UNSUPPORTED_WORDS = re.compile(
    r"(is|are) (not (supported|enabled)|unsupported)|only works in thinking mode", re.IGNORECASE
)
_MODEL_WORDS = re.compile(r"\bmodel", re.IGNORECASE)
_BY_WORDS = (
    ("INVALID_ARGUMENT", _BAD_KEY_WORDS, _CREDENTIAL),
    ("INVALID_ARGUMENT", _UNSUPPORTED_WORDS, _UNSUPPORTED),
    ("NOT_FOUND", _MODEL_WORDS, _NO_MODEL),
)
"""Words of a message that say more than the code beside them."""


def refusal(status: int, body: bytes) -> GatewayError:
    """The error for an answer with this HTTP status. `body` may be cut off, or not JSON at all."""
    try:
        value: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = None
    return failure(status, value)


def failure(status: int, value: object) -> GatewayError:
    """The error that Google's error model stands for, also as the item of a list, as streams have it.

    `status` is the HTTP status, or zero for an error that came within an answer.
    """
    report = failures.report_of(value)
    details = _details(value)
    if not report.status:
        report = replace(report, status=_STATUSES.get(report.code, 0))
    error = failures.failure(status, *_judged(report, details))
    if (status or report.status) == _TOO_MANY_REQUESTS:
        error.retryable = _may_retry(details, otherwise=error.retryable)
    for fields in _of_kind(details, "RetryInfo"):
        delay = fields.get("retryDelay")
        error.retry_after = duration(delay) if isinstance(delay, str) else None
    return error


def _judged(report: Report, details: list[Json]) -> tuple[Report, Mapping[str, Verdict]]:
    """The report with its most telling code, and what the codes mean."""
    for fields in _of_kind(details, "ErrorInfo"):
        reason = fields.get("reason")
        if isinstance(reason, str) and reason in _CODES:
            return replace(report, code=reason), _CODES
    for code, words, verdict in _BY_WORDS:
        if report.code == code and words.search(report.message):
            return report, {code: verdict}
    return report, _CODES


def _may_retry(details: list[Json], *, otherwise: bool) -> bool:
    """Whether a limit lifts soon: not one for the day, nor one of nothing. The message names billing in any case."""
    violations = [
        cast("Json", violation)
        for fields in _of_kind(details, "QuotaFailure")
        for violation in cast("list[object]", fields.get("violations") or [])
        if isinstance(violation, dict)
    ]
    if violations:
        return not any(
            "PerDay" in str(violation.get("quotaId", "")) or violation.get("quotaValue") == "0"
            for violation in violations
        )
    return otherwise or any(True for _ in _of_kind(details, "RetryInfo"))


def _details(value: object) -> list[Json]:
    """The details of an error; none where there are none, or something else in their place."""
    try:
        first = cast("list[object]", value)[0] if isinstance(value, list) else value
        return json_objects(json_object(json_object(first)["error"])["details"])
    except (*UNREADABLE, LookupError):
        return []


def _of_kind(details: list[Json], kind: str) -> list[Json]:
    return [fields for fields in details if fields.get("@type") == _DETAIL + kind]
