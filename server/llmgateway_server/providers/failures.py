"""Reads what providers say when they fail, and gives each failure its reason.

Providers agree on HTTP statuses for the most part, and on bodies not at all, so reading the body and judging the
failure are two steps: a wire format may know more codes than the ones here, and hands them in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeGuard, cast

import orjson

from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server.errors import GatewayError, InvalidArgument, ResourceExhausted, Unavailable, not_found
from llmgateway_server.providers.scrubbing import scrub
from llmgateway_server.providers.wire import OutgoingCall

UPSTREAM_CODE = "upstream_code"
"""Metadata key of the provider's own word for the failure."""

MODEL_NOT_FOUND = "model_not_found"
"""Value of `upstream_code` when the provider does not serve the model, whatever its own word is."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a provider said of its failure, as far as it could be read. Every field may be empty."""

    message: str = ""
    type: str = ""
    code: str = ""
    param: str = ""
    status: int = 0
    """The HTTP status that the body names; zero when it names none."""

    def mentions(self, words: re.Pattern[str]) -> bool:
        """Whether the message, the type or the code has the words."""
        return any(words.search(text) for text in (self.message, self.type, self.code))


@dataclass(frozen=True, slots=True)
class Verdict:
    """The reason of a failure, and whether the same deployment may succeed when it is asked again."""

    reason: ErrorReason
    retryable: bool
    code: str = ""
    """The value of `upstream_code`, where it is better than the provider's own."""


_REJECTED = Verdict(ErrorReason.ERROR_REASON_PROVIDER_REJECTED_REQUEST, retryable=False)
_CREDENTIAL = Verdict(ErrorReason.ERROR_REASON_PROVIDER_REJECTED_CREDENTIAL, retryable=False)
_TOO_LONG = Verdict(ErrorReason.ERROR_REASON_CONTEXT_LENGTH_EXCEEDED, retryable=False)
_FILTERED = Verdict(ErrorReason.ERROR_REASON_CONTENT_FILTERED, retryable=False)
_UNSUPPORTED = Verdict(ErrorReason.ERROR_REASON_UNSUPPORTED_FEATURE, retryable=False)
_LIMITED = Verdict(ErrorReason.ERROR_REASON_PROVIDER_RATE_LIMITED, retryable=True)
_QUOTA_SPENT = Verdict(ErrorReason.ERROR_REASON_PROVIDER_RATE_LIMITED, retryable=False)
_UNAVAILABLE = Verdict(ErrorReason.ERROR_REASON_PROVIDER_UNAVAILABLE, retryable=True)
_MISCONFIGURED = Verdict(ErrorReason.ERROR_REASON_PROVIDER_UNAVAILABLE, retryable=False)
_NO_MODEL = Verdict(ErrorReason.ERROR_REASON_PROVIDER_UNAVAILABLE, retryable=False, code=MODEL_NOT_FOUND)
_PROTOCOL = Verdict(ErrorReason.ERROR_REASON_PROVIDER_PROTOCOL_ERROR, retryable=False)

_BY_CODE: Mapping[str, Verdict] = {
    "context_length_exceeded": _TOO_LONG,
    "string_above_max_length": _TOO_LONG,
    "content_filter": _FILTERED,
    "content_policy_violation": _FILTERED,
    "unsupported_parameter": _UNSUPPORTED,
    "unsupported_value": _UNSUPPORTED,
    "invalid_api_key": _CREDENTIAL,
    "authentication_error": _CREDENTIAL,
    "permission_error": _CREDENTIAL,
    "model_not_found": _NO_MODEL,
    "insufficient_quota": _QUOTA_SPENT,
    "credit_balance_exhausted": _QUOTA_SPENT,
    "organization_spend_limit_exceeded": _QUOTA_SPENT,
    "project_spend_limit_exceeded": _QUOTA_SPENT,
    "organization_usage_limit_exceeded": _QUOTA_SPENT,
    "rate_limit_exceeded": _LIMITED,
    "rate_limit_error": _LIMITED,
    "slow_down": _LIMITED,
    "overloaded_error": _UNAVAILABLE,
    "server_error": _UNAVAILABLE,
    "api_error": _UNAVAILABLE,
    "internal_error": _UNAVAILABLE,
    # The model wrote a tool call that its own server could not read; another try writes another one.
    "tool_use_failed": _UNAVAILABLE,
}
"""Codes and types that say more than the status."""

_BY_STATUS: Mapping[int, Verdict] = {
    400: _REJECTED,
    401: _CREDENTIAL,
    402: _QUOTA_SPENT,
    403: _CREDENTIAL,
    404: _MISCONFIGURED,
    405: _MISCONFIGURED,
    408: _UNAVAILABLE,
    409: _UNAVAILABLE,
    410: _MISCONFIGURED,
    412: _MISCONFIGURED,
    413: _TOO_LONG,
    421: _MISCONFIGURED,
    422: _REJECTED,
    424: _UNAVAILABLE,
    425: _UNAVAILABLE,
    429: _LIMITED,
    498: _LIMITED,
    499: _UNAVAILABLE,
    501: _MISCONFIGURED,
}

_BY_CLASS: Mapping[int, Verdict] = {3: _PROTOCOL, 4: _REJECTED, 5: _UNAVAILABLE}
"""By the first digit of the status, where it is not in the table above."""

_SENTENCES: Mapping[ErrorReason, str] = {
    ErrorReason.ERROR_REASON_PROVIDER_REJECTED_REQUEST: "the provider refused the request",
    ErrorReason.ERROR_REASON_PROVIDER_REJECTED_CREDENTIAL: "the provider refused the gateway's own credential",
    ErrorReason.ERROR_REASON_CONTEXT_LENGTH_EXCEEDED: "the prompt is longer than the model takes; shorten it",
    ErrorReason.ERROR_REASON_CONTENT_FILTERED: "a content filter of the provider refused the prompt",
    ErrorReason.ERROR_REASON_UNSUPPORTED_FEATURE: "the model does not support what the request asks for",
    ErrorReason.ERROR_REASON_PROVIDER_RATE_LIMITED: "the provider limits the gateway's rate",
    ErrorReason.ERROR_REASON_PROVIDER_UNAVAILABLE: "the provider failed",
    ErrorReason.ERROR_REASON_PROVIDER_PROTOCOL_ERROR: "the provider answered what its protocol does not allow",
}

REASONS = frozenset(ErrorReason.Name(reason).removeprefix("ERROR_REASON_") for reason in _SENTENCES)
"""Names of the reasons that a provider may cause."""

_CLASSES: Mapping[ErrorReason, type[GatewayError]] = {
    ErrorReason.ERROR_REASON_PROVIDER_REJECTED_REQUEST: InvalidArgument,
    ErrorReason.ERROR_REASON_CONTEXT_LENGTH_EXCEEDED: InvalidArgument,
    ErrorReason.ERROR_REASON_CONTENT_FILTERED: InvalidArgument,
    ErrorReason.ERROR_REASON_UNSUPPORTED_FEATURE: InvalidArgument,
    ErrorReason.ERROR_REASON_PROVIDER_RATE_LIMITED: ResourceExhausted,
}
"""The class of each reason; `Unavailable` for the others."""

_KEPT = frozenset({ErrorReason.ERROR_REASON_STREAM_BROKEN, ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED})
"""Reasons that stay what they are after the answer has begun."""

_TOO_LONG_WORDS = re.compile(
    r"context.?(length|window|size)|maximum context|prompt is too long|too many (input )?tokens"
    r"|exceeds? the (available )?context|token count.{0,40} exceeds",
    re.IGNORECASE,
)
_FILTER_WORDS = re.compile(r"content.?(filter|policy|management)|moderation|flagged", re.IGNORECASE)
_NO_MODEL_WORDS = re.compile(r"model.{0,80}(not found|does not exist|not exist|unknown)|unknown model", re.IGNORECASE)
_CREDENTIAL_WORDS = re.compile(r"(incorrect|invalid) api.?key", re.IGNORECASE)
_BY_WORDS = (
    (_CREDENTIAL, _CREDENTIAL_WORDS, (400,)),
    (_FILTERED, _FILTER_WORDS, (400, 403, 413, 422)),
    (_TOO_LONG, _TOO_LONG_WORDS, (400, 413, 422)),
    (_NO_MODEL, _NO_MODEL_WORDS, (400, 404, 422)),
)
"""Words of a message that say more than the statuses beside them."""

_QUOTA_WORDS = re.compile(r"insufficient.?(quota|balance|credit)|billing|spend.?limit|credit balance", re.IGNORECASE)
_REQUEST_TOO_LARGE_WORDS = re.compile(r"request too large", re.IGNORECASE)


def failure(status: int, report: Report, codes: Mapping[str, Verdict] | None = None) -> GatewayError:
    """The error for a provider's failure.

    `status` is the HTTP status, or zero for an error that came within an answer. `codes` are the dialect's own codes
    and types; they go before the common ones.
    """
    verdict = _judge(status, report, codes or {})
    sentence = _SENTENCES[verdict.reason]
    # What a provider says of our credential is the operator's business alone, and may quote the credential.
    says_more = report.message and verdict.reason != ErrorReason.ERROR_REASON_PROVIDER_REJECTED_CREDENTIAL
    message = f"{sentence}: {report.message}" if says_more else f"{sentence}."
    metadata: dict[str, str] = {}
    if status:
        metadata["http_status"] = str(status)
    if code := verdict.code or report.code or report.type:
        metadata[UPSTREAM_CODE] = code
    error = _CLASSES.get(verdict.reason, Unavailable)
    return error(verdict.reason, message, field=field_of(report.param), retryable=verdict.retryable, metadata=metadata)


def error_for(
    reason: ErrorReason, message: str, *, retry_after: float | None = None, retryable: bool | None = None
) -> GatewayError:
    """An error with a reason that a provider may cause, of the class that goes with it."""
    return _CLASSES.get(reason, Unavailable)(reason, message, retry_after=retry_after, retryable=retryable)


def protocol_error(message: str) -> Unavailable:
    """The error for an answer that is not what the dialect allows. Another try may get a better one."""
    return Unavailable(ErrorReason.ERROR_REASON_PROVIDER_PROTOCOL_ERROR, message)


def unavailable(message: str, *, retryable: bool = True, metadata: dict[str, str] | None = None) -> Unavailable:
    """The error for a provider that is out of reach, or silent."""
    return Unavailable(ErrorReason.ERROR_REASON_PROVIDER_UNAVAILABLE, message, retryable=retryable, metadata=metadata)


def explained(error: GatewayError, call: OutgoingCall, *, begun: bool) -> GatewayError:
    """The error as the caller may see it: with the provider's name, scrubbed, and broken if the answer had begun.

    Until then, `STREAM_BROKEN` is a protocol error: nothing was said, so nothing broke.
    """
    endpoint = call.endpoint
    secret = endpoint.credential.secret
    unlisted = endpoint.deployment == endpoint.provider
    if unlisted and not begun and error.metadata.get(UPSTREAM_CODE) == MODEL_NOT_FOUND:
        # The caller named the model, so it is the caller who can mend it.
        return not_found(f"models/{endpoint.provider.removeprefix('providers/')}/{endpoint.upstream_model}")
    message = scrub(error.message, secret)
    metadata = {name: scrub(value, secret) for name, value in error.metadata.items()}
    metadata.setdefault("provider", endpoint.provider)
    if begun and error.reason not in _KEPT:
        metadata["cause"] = error.reason_name
        return Unavailable(
            ErrorReason.ERROR_REASON_STREAM_BROKEN,
            f"the answer broke off: {message}",
            retry_after=error.retry_after,
            metadata=metadata,
        )
    reason = error.reason
    if not begun and reason == ErrorReason.ERROR_REASON_STREAM_BROKEN:
        reason = ErrorReason.ERROR_REASON_PROVIDER_PROTOCOL_ERROR
    return type(error)(
        reason, message, field=error.field, retry_after=error.retry_after, retryable=error.retryable, metadata=metadata
    )


def _judge(status: int, report: Report, codes: Mapping[str, Verdict]) -> Verdict:
    status = status or report.status
    if status in (429, 498) or (status == 0 and report.code == "rate_limit_exceeded"):
        return _judge_limit(report, codes)
    for word in (report.code, report.type):
        if verdict := codes.get(word) or _BY_CODE.get(word):
            return verdict
    return _judge_words(status, report)


def _judge_limit(report: Report, codes: Mapping[str, Verdict]) -> Verdict:
    for word in (report.code, report.type):
        if (codes.get(word) or _BY_CODE.get(word)) is _QUOTA_SPENT:
            return _QUOTA_SPENT
    if report.mentions(_QUOTA_WORDS) or report.mentions(_REQUEST_TOO_LARGE_WORDS):
        return _QUOTA_SPENT
    return _LIMITED


def _judge_words(status: int, report: Report) -> Verdict:
    """Judges by status, and by the message where providers leave out the code."""
    for verdict, words, statuses in _BY_WORDS:
        if status in statuses and report.mentions(words):
            return verdict
    return _BY_STATUS.get(status) or _BY_CLASS.get(status // 100, _UNAVAILABLE)


def read_report(body: bytes) -> Report:
    """Reads an error body of any known shape. What cannot be read, such as HTML, gives an empty report."""
    try:
        value: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Report()
    return report_of(value)


def report_of(value: object) -> Report:
    """Reads an error that was parsed already, whether or not it is wrapped in `error`."""
    if isinstance(value, list):
        items = cast("list[object]", value)
        return report_of(items[0]) if items else Report()
    if not _is_object(value):
        return Report(message=value) if isinstance(value, str) else Report()
    inner = value.get("error")
    if _is_object(inner):
        return _read_fields(inner)
    fields = _read_fields(value)
    if isinstance(inner, str):
        # `{"error": "text"}`, and `{"error": "text", "code": "word"}`.
        return Report(message=inner, type=fields.type, code=fields.code, param=fields.param, status=fields.status)
    return fields


def _read_fields(fields: Mapping[str, object]) -> Report:
    message = _first_text(fields, "message", "detail", "error", "error_message")
    status = next(
        (value for value in map(fields.get, ("code", "status_code", "statusCode", "status")) if _is_status(value)), 0
    )
    return Report(
        message=message,
        type=_first_text(fields, "type", "error_type"),
        code=_first_text(fields, "code", "status"),
        param=_first_text(fields, "param"),
        status=status,
    )


def _first_text(fields: Mapping[str, object], *names: str) -> str:
    for name in names:
        value = fields.get(name)
        if isinstance(value, str) and value:
            return value
        if _is_object(value) or (isinstance(value, list) and value):
            # Validation errors come as lists and objects; their JSON says more than nothing.
            return orjson.dumps(value).decode()
    return ""


def _is_object(value: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(value, dict)


def _is_status(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 300 <= value <= 599  # noqa: PLR2004


def field_of(param: str) -> str:
    """The request field, in our spelling, that a provider names in its own; empty when it names none of ours."""
    return _FIELDS.get(param.split("[", maxsplit=1)[0].split(".", maxsplit=1)[0], "")


_FIELDS: Mapping[str, str] = {
    "messages": "messages",
    "model": "model",
    "tools": "tools",
    "tool_choice": "tool_choice",
    "parallel_tool_calls": "tool_choice.parallel",
    "temperature": "generation.temperature",
    "top_p": "generation.top_p",
    "top_k": "generation.top_k",
    "max_tokens": "generation.max_output_tokens",
    "max_completion_tokens": "generation.max_output_tokens",
    "stop": "generation.stop",
    "seed": "generation.seed",
    "presence_penalty": "generation.presence_penalty",
    "frequency_penalty": "generation.frequency_penalty",
    "response_format": "generation.response_format",
    "logprobs": "generation.logprobs",
    "top_logprobs": "generation.top_logprobs",
    "reasoning_effort": "generation.reasoning_effort",
    "logit_bias": "generation.logit_bias",
    "verbosity": "generation.verbosity",
    "modalities": "generation.output_modalities",
    "audio": "generation.audio_format",
    "prediction": "generation.prediction",
    "service_tier": "generation.service_tier",
    "safety_identifier": "end_user",
    "user": "end_user",
}
