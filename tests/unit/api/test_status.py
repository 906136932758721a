"""How errors look: the table of reasons, the details they carry, and the bodies of foreign dialects."""

import json
from typing import Any, TypeVar, cast

import grpc
import orjson
import pytest
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server.api.status import (
    HTTP_STATUS,
    MAX_TRAILERS,
    OPENAI,
    STATUS_CODES,
    ascii_json,
    failed_event,
    grpc_status,
    internal,
    on_the_wire,
    openai_body,
    retry_headers,
)
from llmgateway_server.errors import CLASSES, DOMAIN, RETRYABLE, GatewayError, invalid_field, not_found

M = TypeVar("M", bound=Message)

_HTTP = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""What the edge makes of a canonical code."""

_BAD, _RATE, _SERVER = "invalid_request_error", "rate_limit_error", "server_error"
TABLE: dict[str, tuple[str, int, str, str | None]] = {
    "INVALID_FIELD": ("INVALID_ARGUMENT", 400, _BAD, "invalid_value"),
    "UNSUPPORTED_FEATURE": ("INVALID_ARGUMENT", 400, _BAD, "unsupported_value"),
    "CONTEXT_LENGTH_EXCEEDED": ("INVALID_ARGUMENT", 400, _BAD, "context_length_exceeded"),
    "PROVIDER_REJECTED_REQUEST": ("INVALID_ARGUMENT", 400, _BAD, "provider_rejected_request"),
    "CONTENT_FILTERED": ("INVALID_ARGUMENT", 400, _BAD, "content_filter"),
    "REQUEST_TOO_LARGE": ("INVALID_ARGUMENT", 413, _BAD, "request_too_large"),
    "API_KEY_MISSING": ("UNAUTHENTICATED", 401, _BAD, "invalid_api_key"),
    "API_KEY_INVALID": ("UNAUTHENTICATED", 401, _BAD, "invalid_api_key"),
    "API_KEY_EXPIRED": ("UNAUTHENTICATED", 401, _BAD, "invalid_api_key"),
    "SCOPE_REQUIRED": ("PERMISSION_DENIED", 403, _BAD, "permission_denied"),
    "MODEL_NOT_ALLOWED": ("PERMISSION_DENIED", 403, _BAD, "permission_denied"),
    "RESOURCE_NOT_FOUND": ("NOT_FOUND", 404, _BAD, "model_not_found"),
    "RESOURCE_EXISTS": ("ALREADY_EXISTS", 409, _SERVER, None),
    "ETAG_MISMATCH": ("ABORTED", 409, _SERVER, None),
    "RESOURCE_IN_USE": ("FAILED_PRECONDITION", 400, _SERVER, None),
    "GUARDRAIL_BLOCKED": ("FAILED_PRECONDITION", 400, _BAD, "content_policy_violation"),
    "RATE_LIMITED": ("RESOURCE_EXHAUSTED", 429, _RATE, "rate_limit_exceeded"),
    "BUDGET_EXHAUSTED": ("RESOURCE_EXHAUSTED", 429, "insufficient_quota", "insufficient_quota"),
    "PROVIDER_RATE_LIMITED": ("RESOURCE_EXHAUSTED", 429, _RATE, "rate_limit_exceeded"),
    "PROVIDER_UNAVAILABLE": ("UNAVAILABLE", 503, _SERVER, None),
    "PROVIDER_REJECTED_CREDENTIAL": ("UNAVAILABLE", 503, _SERVER, None),
    "PROVIDER_PROTOCOL_ERROR": ("UNAVAILABLE", 503, _SERVER, None),
    "NO_HEALTHY_DEPLOYMENT": ("UNAVAILABLE", 503, _SERVER, None),
    "OVERLOADED": ("UNAVAILABLE", 503, _SERVER, None),
    "STREAM_BROKEN": ("UNAVAILABLE", 503, _SERVER, None),
    "STORAGE_UNAVAILABLE": ("UNAVAILABLE", 503, _SERVER, None),
    "DEADLINE_EXCEEDED": ("DEADLINE_EXCEEDED", 504, "timeout", "timeout"),
    "CANCELLED": ("CANCELLED", 499, _SERVER, None),
    "FEATURE_DISABLED": ("UNIMPLEMENTED", 501, _BAD, "unsupported_endpoint"),
    "INTERNAL": ("INTERNAL", 500, _SERVER, None),
}
"""Each reason with its code, its HTTP status, and the type and code of OpenAI's dialect."""

_QUOTA = {"RATE_LIMITED", "BUDGET_EXHAUSTED"}
_PRECONDITION = {"CONTENT_FILTERED", "RESOURCE_IN_USE", "GUARDRAIL_BLOCKED"}


def error_of(name: str, **fields: Any) -> GatewayError:
    reason = cast("ErrorReason", ErrorReason.Value(f"ERROR_REASON_{name}"))  # a number, say protoc's stubs
    return CLASSES[reason](reason, "what happened.", **fields)


def detail(status: status_pb2.Status, kind: type[M]) -> M | None:
    for packed in status.details:
        found = kind()
        if packed.Unpack(found):
            return found
    return None


def test_every_reason_is_in_the_table() -> None:
    names = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()} - {"UNSPECIFIED"}  # noqa: SIM118
    assert set(TABLE) == names
    assert {ErrorReason.Name(reason).removeprefix("ERROR_REASON_") for reason in CLASSES} == names


@pytest.mark.parametrize("name", TABLE)
def test_a_reason_has_one_code_one_http_status_and_one_dialect(name: str) -> None:
    code, http, openai_type, openai_code = TABLE[name]
    error = error_of(name)
    assert STATUS_CODES[error.code] == grpc.StatusCode[code]
    assert HTTP_STATUS.get(error.reason, _HTTP[code]) == http
    assert error.reason_name == name
    body = openai_body(error)["error"]
    assert (body["type"], body["code"], body["param"]) == (openai_type, openai_code, None)


def test_reasons_without_a_dialect_are_chosen_ones() -> None:
    """What is not in the table of the dialect is a server error there, and that is meant."""
    silent = {ErrorReason.Name(reason).removeprefix("ERROR_REASON_") for reason in set(CLASSES) - set(OPENAI)}
    assert silent == {name for name, row in TABLE.items() if row[2:] == (_SERVER, None)}


def test_every_code_has_a_status() -> None:
    assert set(STATUS_CODES) == set(code_pb2.Code.values())


@pytest.mark.parametrize("name", TABLE)
def test_an_error_carries_its_details(name: str) -> None:
    error = error_of(name, field="a.b", retry_after=2.5, metadata={"limit": "l", "resource": "models/m"})
    status = grpc_status(error, "r1")
    assert (status.code, status.message) == (error.code, "what happened.")

    request = detail(status, error_details_pb2.RequestInfo)
    assert request is not None
    assert request.request_id == "r1"
    info = detail(status, error_details_pb2.ErrorInfo)
    if name == "INTERNAL":
        assert info is None
    else:
        assert info is not None
        assert (info.reason, info.domain) == (name, DOMAIN)
        assert dict(info.metadata) == {"limit": "l", "resource": "models/m", "field": "a.b"}
    retry = detail(status, error_details_pb2.RetryInfo)
    assert retry is not None
    assert retry.retry_delay.ToMilliseconds() == 2500
    bad = detail(status, error_details_pb2.BadRequest)
    assert (bad is not None) is (TABLE[name][0] == "INVALID_ARGUMENT")
    if bad is not None:
        assert [violation.field for violation in bad.field_violations] == ["a.b"]
    quota = detail(status, error_details_pb2.QuotaFailure)
    assert (quota is not None) is (name in _QUOTA)
    precondition = detail(status, error_details_pb2.PreconditionFailure)
    assert (precondition is not None) is (name in _PRECONDITION)
    resource = detail(status, error_details_pb2.ResourceInfo)
    assert resource is not None
    assert resource.resource_name == "models/m"


def test_a_small_error_is_small() -> None:
    status = grpc_status(error_of("CANCELLED"), "r1")
    kinds = [packed.type_url.rpartition(".")[2] for packed in status.details]
    assert kinds == ["ErrorInfo", "RequestInfo"]


def test_a_fault_of_the_gateway_says_nothing() -> None:
    status = grpc_status(internal(), "r1")
    assert [packed.type_url.rpartition(".")[2] for packed in status.details] == ["RequestInfo"]
    assert "request id" in status.message


@pytest.mark.parametrize(("seconds", "header"), [(0.0, "0"), (0.2, "1"), (1.0, "1"), (1.01, "2"), (30, "30")])
def test_waiting_is_told_in_whole_seconds_rounded_up(seconds: float, header: str) -> None:
    assert retry_headers(error_of("RATE_LIMITED", retry_after=seconds)) == [("retry-after", header)]


def test_a_spent_budget_is_not_to_be_tried_again() -> None:
    assert retry_headers(error_of("BUDGET_EXHAUSTED")) == [("x-should-retry", "false")]
    assert retry_headers(error_of("RATE_LIMITED")) == []


def test_the_trailers_are_these() -> None:
    message, trailers = on_the_wire(error_of("REQUEST_TOO_LARGE", retry_after=1.0), "r1", openai=True)
    assert message == "what happened."
    assert [key for key, _ in trailers] == [
        "grpc-status-details-bin",
        "x-request-id",
        "retry-after",
        "x-http-status",
        "x-error-body",
    ]
    found = dict(trailers)
    assert found["x-http-status"] == "413"
    assert json.loads(found["x-error-body"])["error"]["code"] == "request_too_large"
    packed = found["grpc-status-details-bin"]
    assert isinstance(packed, bytes)
    assert status_pb2.Status.FromString(packed).message == message


def test_only_the_dialect_gets_its_body() -> None:
    _, trailers = on_the_wire(error_of("RATE_LIMITED"), "r1", openai=False)
    assert [key for key, _ in trailers] == ["grpc-status-details-bin", "x-request-id"]


def test_a_short_error_is_not_cut() -> None:
    error = invalid_field("f" * 100, "m" * 400)
    message, _ = on_the_wire(error, "r1", openai=True)
    assert message == error.message


@pytest.mark.parametrize("text", ["x" * 5000, "模" * 5000, "%" * 5000, "\x00" * 5000, "😀" * 5000, '"' * 5000])
def test_a_long_error_is_cut_and_stays_an_error(text: str) -> None:
    error = error_of("INVALID_FIELD", field=text, metadata={f"{key}{text}": text for key in range(50)})
    error.message = text
    message, trailers = on_the_wire(error, "r1", openai=True)
    assert message.endswith("...")
    assert text.startswith(message.removesuffix("..."))
    body = json.loads(dict(trailers)["x-error-body"])["error"]
    assert body["message"] == message
    assert text.startswith(body["param"].removesuffix("..."))
    assert error.message == text  # What is logged and told in band is not cut with it.


@given(st.text(max_size=6000))
def test_cutting_leaves_room_for_every_client(text: str) -> None:
    _, trailers = on_the_wire(not_found(text), "r1", openai=True)
    assert sum(len(key) + len(value) * (1.34 if isinstance(value, bytes) else 1) + 32 for key, value in trailers) <= (
        MAX_TRAILERS + 100
    )


@settings(max_examples=50)
@given(st.recursive(st.text() | st.integers(0, 9) | st.none(), lambda inner: st.dictionaries(st.text(), inner)))
def test_json_for_headers_is_ascii_and_the_same(value: Any) -> None:
    text = ascii_json({"value": value})
    assert all(" " <= character <= "~" for character in text)
    assert orjson.loads(text) == {"value": value}


def test_a_failed_event_says_all_of_an_error() -> None:
    error = error_of("PROVIDER_UNAVAILABLE", retry_after=1.5, metadata={"provider": "p"})
    failed = failed_event(error)
    assert failed.reason == ErrorReason.ERROR_REASON_PROVIDER_UNAVAILABLE
    assert (failed.code, failed.message, failed.retryable) == (code_pb2.UNAVAILABLE, "what happened.", True)
    assert failed.retry_delay.ToMilliseconds() == 1500
    assert dict(failed.metadata) == {"provider": "p"}
    assert not failed_event(error_of("INVALID_FIELD")).HasField("retry_delay")


def test_what_may_succeed_later_is_retryable() -> None:
    for reason in CLASSES:
        error = CLASSES[reason](reason, "x.")
        assert error.retryable is (reason in RETRYABLE)
        assert CLASSES[reason](reason, "x.", retryable=not error.retryable).retryable is not error.retryable


def test_the_providers_own_code_is_shown_where_it_concerns_the_caller() -> None:
    error = error_of("PROVIDER_REJECTED_REQUEST", metadata={"upstream_code": "string_too_long"})
    assert openai_body(error)["error"]["code"] == "string_too_long"
    error = error_of("PROVIDER_REJECTED_CREDENTIAL", metadata={"upstream_code": "invalid_api_key"})
    assert openai_body(error)["error"]["code"] is None
