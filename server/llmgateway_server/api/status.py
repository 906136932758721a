"""How an error looks on a wire: gRPC status and details, HTTP status, and the bodies of foreign dialects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import grpc
import orjson
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from llmgateway.v1.chat_service_pb2 import Failed
from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server.errors import DOMAIN, GatewayError, Internal

STATUS_CODES: Mapping[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}

Trailers = tuple[tuple[str, str | bytes], ...]
"""Trailing metadata; the names of binary values end in `-bin`."""

MAX_TRAILERS = 7 * 1024
"""Most bytes of trailing metadata. A gRPC client takes 8 KiB unless it is told otherwise."""

_MAX_MESSAGE = 4_000
_LEAST_CUT = 60
"""A length of texts, in characters, that fits whatever the characters are."""

_MAX_ENTRIES = 12
_ELLIPSIS = "..."
_R = ErrorReason


@dataclass(frozen=True, slots=True)
class Dialect:
    """What OpenAI's clients read from an error body."""

    type: str
    code: str | None = None


_INVALID = "invalid_request_error"
OPENAI: Mapping[ErrorReason, Dialect] = {
    _R.ERROR_REASON_INVALID_FIELD: Dialect(_INVALID, "invalid_value"),
    _R.ERROR_REASON_UNSUPPORTED_FEATURE: Dialect(_INVALID, "unsupported_value"),
    _R.ERROR_REASON_CONTEXT_LENGTH_EXCEEDED: Dialect(_INVALID, "context_length_exceeded"),
    _R.ERROR_REASON_PROVIDER_REJECTED_REQUEST: Dialect(_INVALID, "provider_rejected_request"),
    _R.ERROR_REASON_CONTENT_FILTERED: Dialect(_INVALID, "content_filter"),
    _R.ERROR_REASON_API_KEY_MISSING: Dialect(_INVALID, "invalid_api_key"),
    _R.ERROR_REASON_API_KEY_INVALID: Dialect(_INVALID, "invalid_api_key"),
    _R.ERROR_REASON_API_KEY_EXPIRED: Dialect(_INVALID, "invalid_api_key"),
    _R.ERROR_REASON_SCOPE_REQUIRED: Dialect(_INVALID, "permission_denied"),
    _R.ERROR_REASON_MODEL_NOT_ALLOWED: Dialect(_INVALID, "permission_denied"),
    _R.ERROR_REASON_RESOURCE_NOT_FOUND: Dialect(_INVALID, "model_not_found"),
    _R.ERROR_REASON_GUARDRAIL_BLOCKED: Dialect(_INVALID, "content_policy_violation"),
    _R.ERROR_REASON_REQUEST_TOO_LARGE: Dialect(_INVALID, "request_too_large"),
    _R.ERROR_REASON_RATE_LIMITED: Dialect("rate_limit_error", "rate_limit_exceeded"),
    _R.ERROR_REASON_PROVIDER_RATE_LIMITED: Dialect("rate_limit_error", "rate_limit_exceeded"),
    _R.ERROR_REASON_BUDGET_EXHAUSTED: Dialect("insufficient_quota", "insufficient_quota"),
    _R.ERROR_REASON_DEADLINE_EXCEEDED: Dialect("timeout", "timeout"),
    _R.ERROR_REASON_FEATURE_DISABLED: Dialect(_INVALID, "unsupported_endpoint"),
}
_OTHER = Dialect("server_error")
HTTP_STATUS: Mapping[ErrorReason, int] = {_R.ERROR_REASON_REQUEST_TOO_LARGE: 413}
"""Where the HTTP status is not the one that belongs to the canonical code."""

_QUOTA = frozenset(
    {
        _R.ERROR_REASON_RATE_LIMITED,
        _R.ERROR_REASON_BUDGET_EXHAUSTED,
    }
)
_PRECONDITION = frozenset(
    {
        _R.ERROR_REASON_CONTENT_FILTERED,
        _R.ERROR_REASON_RESOURCE_IN_USE,
        _R.ERROR_REASON_GUARDRAIL_BLOCKED,
    }
)


def internal() -> Internal:
    """The error for a fault of the gateway's own. It says nothing of the cause."""
    return Internal(
        ErrorReason.ERROR_REASON_INTERNAL,
        "the gateway failed; report the request id to its operator.",
    )


def grpc_status(error: GatewayError, request_id: str) -> status_pb2.Status:
    """The error with its details, as gRPC clients read it."""
    status = status_pb2.Status(code=error.code, message=error.message)
    for detail in _details(error, request_id):
        status.details.add().Pack(detail)
    return status


def _details(error: GatewayError, request_id: str) -> list[Message]:
    details: list[Message] = []
    if error.code != code_pb2.INTERNAL:
        info = error_details_pb2.ErrorInfo(reason=error.reason_name, domain=DOMAIN)
        info.metadata.update(error.metadata)
        details.append(info)
    details.append(error_details_pb2.RequestInfo(request_id=request_id))
    if error.retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(int(error.retry_after * 1000))
        details.append(retry)
    if error.code == code_pb2.INVALID_ARGUMENT and error.field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=error.message)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.reason in _QUOTA:
        subject = error.metadata.get("limit") or error.metadata.get("budget", "")
        quota = error_details_pb2.QuotaFailure.Violation(subject=subject, description=error.message)
        details.append(error_details_pb2.QuotaFailure(violations=[quota]))
    if error.reason in _PRECONDITION:
        condition = error_details_pb2.PreconditionFailure.Violation(
            type=error.reason_name, subject=error.metadata.get("resource", ""), description=error.message
        )
        details.append(error_details_pb2.PreconditionFailure(violations=[condition]))
    if "resource" in error.metadata:
        details.append(error_details_pb2.ResourceInfo(resource_name=error.metadata["resource"]))
    return details


def on_the_wire(error: GatewayError, request_id: str, *, openai: bool) -> tuple[str, Trailers]:
    """The message of the status and what is sent beside it: the details, and what the HTTP edge makes a response of.

    What the error quotes is cut as far as it takes for any client to accept the whole. A client that gets more than it
    takes would learn nothing of the error but that.
    """
    most = _MAX_MESSAGE
    while True:
        short = _cut(error, most)
        trailers = _trailers(short, request_id, openai=openai)
        if most <= _LEAST_CUT or _size((("grpc-message", short.message), *trailers)) <= MAX_TRAILERS:
            return short.message, trailers
        most //= 3


def _cut(error: GatewayError, most: int) -> GatewayError:
    """The same error with no text longer than `most` characters."""
    entries = sorted(error.metadata.items())[:_MAX_ENTRIES]
    short = type(error)(
        error.reason,
        _shortened(error.message, most),
        field=_shortened(error.field, most),
        retry_after=error.retry_after,
        retryable=error.retryable,
    )
    short.metadata.update((_shortened(key, most), _shortened(value, most)) for key, value in entries)
    return short


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - len(_ELLIPSIS)]}{_ELLIPSIS}"


def _trailers(error: GatewayError, request_id: str, *, openai: bool) -> Trailers:
    trailers: list[tuple[str, str | bytes]] = [
        ("grpc-status-details-bin", grpc_status(error, request_id).SerializeToString()),
        ("x-request-id", request_id),
        *retry_headers(error),
    ]
    if error.reason in HTTP_STATUS:
        trailers.append(("x-http-status", str(HTTP_STATUS[error.reason])))
    if openai:
        trailers.append(("x-error-body", ascii_json(openai_body(error))))
    return tuple(trailers)


def _size(trailers: Trailers) -> int:
    """How much of a client's limit trailers take: HTTP/2 counts 32 bytes an entry beside its text."""
    return sum(len(key) + _encoded_size(value) + 32 for key, value in trailers)


def _encoded_size(value: str | bytes) -> int:
    """Bytes travel in base64, and the status message with all but visible ASCII as `%XX`."""
    if isinstance(value, bytes):
        return len(value) * 4 // 3 + 4
    return sum(
        1 if " " <= character <= "~" and character != "%" else 3 * len(character.encode()) for character in value
    )


def retry_headers(error: GatewayError) -> list[tuple[str, str]]:
    """When to come back, in whole seconds rounded up, and whether to at all."""
    headers: list[tuple[str, str]] = []
    if error.retry_after is not None:
        headers.append(("retry-after", str(ceil(error.retry_after))))
    if error.reason == ErrorReason.ERROR_REASON_BUDGET_EXHAUSTED:
        headers.append(("x-should-retry", "false"))
    return headers


def openai_body(error: GatewayError) -> dict[str, Any]:
    """The error as OpenAI's clients read it. `Any`: a JSON object."""
    dialect = OPENAI.get(error.reason, _OTHER)
    code = dialect.code
    if error.reason == ErrorReason.ERROR_REASON_PROVIDER_REJECTED_REQUEST:  # Of others, ours says more to the caller.
        code = error.metadata.get("upstream_code") or code
    return {
        "error": {
            "message": _shortened(error.message, _MAX_MESSAGE),
            "type": dialect.type,
            "param": error.field or None,
            "code": code,
        }
    }


def ascii_json(body: Mapping[str, Any] | Sequence[str]) -> str:
    """JSON of visible ASCII alone, which is all that metadata may hold. `Any`: a JSON value."""
    text = orjson.dumps(body).decode()
    return "".join(c if " " <= c <= "~" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i] << 8 | units[i + 1]:04x}" for i in range(0, len(units), 2))


def failed_event(error: GatewayError) -> Failed:
    """The error as the last event of a native stream."""
    failed = Failed(
        reason=error.reason,
        code=error.code,
        message=_shortened(error.message, _MAX_MESSAGE),
        retryable=error.retryable,
        metadata=error.metadata,
    )
    if error.retry_after is not None:
        failed.retry_delay.FromMilliseconds(int(error.retry_after * 1000))
    return failed
