"""Gives the failures of Anthropic's dialect their reasons, whether they come as an HTTP status or within an answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import orjson

from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server.errors import GatewayError
from llmgateway_server.providers.failures import MODEL_NOT_FOUND, Verdict, failure, report_of

_STATUSES: Mapping[str, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The HTTP status of each type of error, which says what an error within an answer stands for."""

_BILLING = "billing_error"
_CODES: Mapping[str, Verdict] = {
    _BILLING: Verdict(ErrorReason.ERROR_REASON_PROVIDER_RATE_LIMITED, retryable=False),
}
_SPENT_WORDS = re.compile(r"credit balance|spend.?limit|usage limits?\b|organization_on_hold", re.IGNORECASE)
_FIELD_AT_START = re.compile(r"([a-z_]+)[.:]")


def failure_of(status: int, body: bytes) -> GatewayError:
    """The error for an answer with this status. The body may be cut off, or be no JSON at all."""
    try:
        value: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = None
    return error_of(value, status)


def error_of(value: object, status: int = 0) -> GatewayError:
    """The error that a parsed body or frame reports. `status` is zero for one within an answer."""
    report = report_of(value)
    code = _detailed_code(value)
    if status in (0, 400) and (report.mentions(_SPENT_WORDS) or _SPENT_WORDS.search(code)):
        # An account without money is refused as if the request were at fault.
        code = _BILLING
    elif report.type == "not_found_error" and report.message.startswith("model:"):
        code = MODEL_NOT_FOUND
    field = _FIELD_AT_START.match(report.message)
    report = replace(
        report,
        code=code or report.code,
        param=field[1] if field else report.param,
        status=report.status or _STATUSES.get(report.type, 0),
    )
    return failure(status, report, _CODES)


def _detailed_code(value: object) -> str:
    """The code within `error.details`, which says more than the type; empty where there is none."""
    for name in ("error", "details"):
        value = cast("Mapping[str, object]", value).get(name) if isinstance(value, dict) else None
    code = cast("Mapping[str, object]", value).get("error_code") if isinstance(value, dict) else None
    return code if isinstance(code, str) else ""
