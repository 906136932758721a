"""The errors that callers may see: one class per canonical code, one reason per cause.

    GatewayError                code                  HTTP
    ├── InvalidArgument         INVALID_ARGUMENT      400
    ├── FailedPrecondition      FAILED_PRECONDITION   400
    ├── Unauthenticated         UNAUTHENTICATED       401
    ├── PermissionDenied        PERMISSION_DENIED     403
    ├── NotFound                NOT_FOUND             404
    ├── AlreadyExists           ALREADY_EXISTS        409
    ├── Aborted                 ABORTED               409
    ├── ResourceExhausted       RESOURCE_EXHAUSTED    429
    ├── Cancelled               CANCELLED             499
    ├── Internal                INTERNAL              500
    ├── Unimplemented           UNIMPLEMENTED         501
    ├── Unavailable             UNAVAILABLE           503
    └── DeadlineExceeded        DEADLINE_EXCEEDED     504

Business code raises these and nothing else. The edge alone knows how they look on a wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from google.rpc import code_pb2

from llmgateway.v1.errors_pb2 import ErrorReason

DOMAIN = "llmgateway.dev"
"""Domain of every `google.rpc.ErrorInfo` that the gateway sends."""

_PREFIX = "ERROR_REASON_"


class GatewayError(Exception):
    """An error that a caller may see.

    `message` says what happened and what to do, and holds no secret. Whatever varies in it is also in `metadata`.
    `retry_after` is in seconds. `field` is the request field at fault, in the proto's own spelling.
    """

    code: ClassVar[int] = code_pb2.UNKNOWN

    def __init__(
        self,
        reason: ErrorReason,
        message: str,
        *,
        field: str = "",
        retry_after: float | None = None,
        retryable: bool | None = None,
        metadata: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.field = field
        self.retry_after = retry_after
        self.metadata = dict(metadata or {})
        if field:
            self.metadata.setdefault("field", field)
        self.retryable = reason in RETRYABLE if retryable is None else retryable

    @property
    def reason_name(self) -> str:
        """The reason as callers read it, such as `INVALID_FIELD`."""
        return ErrorReason.Name(self.reason).removeprefix(_PREFIX)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.reason_name}, {self.message!r})"


class InvalidArgument(GatewayError):
    """The request cannot be served as it is, whatever the state of the gateway."""

    code = code_pb2.INVALID_ARGUMENT


class FailedPrecondition(GatewayError):
    """The request cannot be served in the present state, and a repeat would not help."""

    code = code_pb2.FAILED_PRECONDITION


class Unauthenticated(GatewayError):
    """Nobody knows who is calling."""

    code = code_pb2.UNAUTHENTICATED


class PermissionDenied(GatewayError):
    """The caller is known and may not do this."""

    code = code_pb2.PERMISSION_DENIED


class NotFound(GatewayError):
    """There is no such thing, or it is somebody else's."""

    code = code_pb2.NOT_FOUND


class AlreadyExists(GatewayError):
    """There is such a thing already."""

    code = code_pb2.ALREADY_EXISTS


class Aborted(GatewayError):
    """The thing changed in between."""

    code = code_pb2.ABORTED


class ResourceExhausted(GatewayError):
    """A limit was reached, ours or the provider's."""

    code = code_pb2.RESOURCE_EXHAUSTED


class Cancelled(GatewayError):
    """The caller went away."""

    code = code_pb2.CANCELLED


class Internal(GatewayError):
    """The gateway is at fault."""

    code = code_pb2.INTERNAL


class Unimplemented(GatewayError):
    """The method is not built or not switched on."""

    code = code_pb2.UNIMPLEMENTED


class Unavailable(GatewayError):
    """Nobody can serve the request now."""

    code = code_pb2.UNAVAILABLE


class DeadlineExceeded(GatewayError):
    """The caller's time ran out."""

    code = code_pb2.DEADLINE_EXCEEDED


CLASSES: Mapping[ErrorReason, type[GatewayError]] = {
    ErrorReason.ERROR_REASON_INVALID_FIELD: InvalidArgument,
    ErrorReason.ERROR_REASON_UNSUPPORTED_FEATURE: InvalidArgument,
    ErrorReason.ERROR_REASON_CONTEXT_LENGTH_EXCEEDED: InvalidArgument,
    ErrorReason.ERROR_REASON_PROVIDER_REJECTED_REQUEST: InvalidArgument,
    ErrorReason.ERROR_REASON_CONTENT_FILTERED: InvalidArgument,
    ErrorReason.ERROR_REASON_REQUEST_TOO_LARGE: InvalidArgument,
    ErrorReason.ERROR_REASON_API_KEY_MISSING: Unauthenticated,
    ErrorReason.ERROR_REASON_API_KEY_INVALID: Unauthenticated,
    ErrorReason.ERROR_REASON_API_KEY_EXPIRED: Unauthenticated,
    ErrorReason.ERROR_REASON_SCOPE_REQUIRED: PermissionDenied,
    ErrorReason.ERROR_REASON_MODEL_NOT_ALLOWED: PermissionDenied,
    ErrorReason.ERROR_REASON_RESOURCE_NOT_FOUND: NotFound,
    ErrorReason.ERROR_REASON_RESOURCE_EXISTS: AlreadyExists,
    ErrorReason.ERROR_REASON_ETAG_MISMATCH: Aborted,
    ErrorReason.ERROR_REASON_RESOURCE_IN_USE: FailedPrecondition,
    ErrorReason.ERROR_REASON_GUARDRAIL_BLOCKED: FailedPrecondition,
    ErrorReason.ERROR_REASON_RATE_LIMITED: ResourceExhausted,
    ErrorReason.ERROR_REASON_BUDGET_EXHAUSTED: ResourceExhausted,
    ErrorReason.ERROR_REASON_PROVIDER_RATE_LIMITED: ResourceExhausted,
    ErrorReason.ERROR_REASON_PROVIDER_UNAVAILABLE: Unavailable,
    ErrorReason.ERROR_REASON_PROVIDER_REJECTED_CREDENTIAL: Unavailable,
    ErrorReason.ERROR_REASON_PROVIDER_PROTOCOL_ERROR: Unavailable,
    ErrorReason.ERROR_REASON_NO_HEALTHY_DEPLOYMENT: Unavailable,
    ErrorReason.ERROR_REASON_OVERLOADED: Unavailable,
    ErrorReason.ERROR_REASON_STREAM_BROKEN: Unavailable,
    ErrorReason.ERROR_REASON_STORAGE_UNAVAILABLE: Unavailable,
    ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED: DeadlineExceeded,
    ErrorReason.ERROR_REASON_CANCELLED: Cancelled,
    ErrorReason.ERROR_REASON_FEATURE_DISABLED: Unimplemented,
    ErrorReason.ERROR_REASON_INTERNAL: Internal,
}
"""The class of each reason, so that a reason has one code wherever it is raised."""

RETRYABLE = frozenset(
    {
        ErrorReason.ERROR_REASON_RATE_LIMITED,
        ErrorReason.ERROR_REASON_PROVIDER_RATE_LIMITED,
        ErrorReason.ERROR_REASON_PROVIDER_UNAVAILABLE,
        ErrorReason.ERROR_REASON_PROVIDER_REJECTED_CREDENTIAL,
        ErrorReason.ERROR_REASON_PROVIDER_PROTOCOL_ERROR,
        ErrorReason.ERROR_REASON_NO_HEALTHY_DEPLOYMENT,
        ErrorReason.ERROR_REASON_OVERLOADED,
        ErrorReason.ERROR_REASON_STREAM_BROKEN,
        ErrorReason.ERROR_REASON_ETAG_MISMATCH,
        ErrorReason.ERROR_REASON_STORAGE_UNAVAILABLE,
    }
)
"""Reasons for which the same request may succeed later."""


def invalid_field(field: str, message: str) -> InvalidArgument:
    """The error for one field that is missing, malformed or out of range."""
    return InvalidArgument(ErrorReason.ERROR_REASON_INVALID_FIELD, f"{field}: {message}", field=field)


def unsupported(field: str, message: str) -> InvalidArgument:
    """The error for a field that asks for what a candidate cannot do."""
    return InvalidArgument(ErrorReason.ERROR_REASON_UNSUPPORTED_FEATURE, f"{field}: {message}", field=field)


def not_found(name: str) -> NotFound:
    """The error for a resource that is not there, or not the caller's."""
    return NotFound(
        ErrorReason.ERROR_REASON_RESOURCE_NOT_FOUND,
        f"{name!r} does not exist; check the name, or list what there is.",
        metadata={"resource": name},
    )


def feature_disabled(method: str) -> Unimplemented:
    """The error for a method that is not built or not switched on."""
    return Unimplemented(
        ErrorReason.ERROR_REASON_FEATURE_DISABLED,
        f"{method} is not available on this gateway.",
        metadata={"method": method},
    )
