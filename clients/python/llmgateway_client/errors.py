"""The errors that calls raise: one class per canonical code, as the gateway has them.

    GatewayError                code                  the usual cause
    ├── InvalidArgument         INVALID_ARGUMENT      a field is wrong, or no model can do what is asked
    ├── FailedPrecondition      FAILED_PRECONDITION   a guard refused the content, or a resource is in use
    ├── Unauthenticated         UNAUTHENTICATED       the API key is missing, wrong or expired
    ├── PermissionDenied        PERMISSION_DENIED     the key may not do this, or not use this model
    ├── NotFound                NOT_FOUND             there is no such model or resource
    ├── AlreadyExists           ALREADY_EXISTS        there is such a resource already
    ├── Aborted                 ABORTED               the resource changed since it was read
    ├── ResourceExhausted       RESOURCE_EXHAUSTED    a limit was reached, or a budget is spent
    ├── Cancelled               CANCELLED             the call or its client was closed
    ├── Internal                INTERNAL              the gateway is at fault
    ├── Unimplemented           UNIMPLEMENTED         the method is not built or not switched on
    ├── Unavailable             UNAVAILABLE           nobody can serve the call now, or the answer broke off
    └── DeadlineExceeded        DEADLINE_EXCEEDED     the time ran out

Code decides by the class, or more finely by `reason`; the messages may change.
"""

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import betterproto2
import grpc
import grpc.aio

from llmgateway_client.generated.google import protobuf, rpc
from llmgateway_client.generated.llmgateway import v1
from llmgateway_client.generated.message_pool import default_message_pool

DOMAIN = "llmgateway.dev"
"""Domain of every `google.rpc.ErrorInfo` that the gateway sends."""

_DETAILS_KEY = "grpc-status-details-bin"


class GatewayError(Exception):
    """A call that failed.

    Raised as itself only for codes that have no class of their own, such as UNKNOWN.
    """

    def __init__(  # noqa: PLR0913, an error is made in one place and read in many
        self,
        message: str,
        *,
        code: grpc.StatusCode,
        reason: v1.ErrorReason = v1.ErrorReason.UNSPECIFIED,
        metadata: Mapping[str, str] | None = None,
        request_id: str = "",
        retry_after: datetime.timedelta | None = None,
        violations: Iterable[rpc.BadRequestFieldViolation] = (),
        details: Iterable[betterproto2.Message] = (),
        failed: v1.Failed | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        """What happened and what to do."""
        self.code = code
        """The canonical code."""
        self.reason = reason
        """Why, as the gateway names it. `UNSPECIFIED` when something in between answered, not the gateway."""
        self.metadata = dict(metadata or {})
        """The variable parts of the message, by name."""
        self.request_id = request_id
        """The id that finds the call in the gateway's logs. Empty when the gateway was not reached."""
        self.retry_after = retry_after
        """When to try again, where that is known."""
        self.violations = tuple(violations)
        """The fields that were refused, each with its reason."""
        self.details = tuple(details)
        """Every detail the gateway sent, those above included."""
        self.failed = failed
        """The last event of a streamed answer that broke off: what it had used and cost until then."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.reason.name}, {self.message!r}, request_id={self.request_id!r})"


class InvalidArgument(GatewayError):
    """The request cannot be served as it is."""


class FailedPrecondition(GatewayError):
    """The request cannot be served in the present state, and a repeat would not help."""


class Unauthenticated(GatewayError):
    """The gateway does not know who is calling."""


class PermissionDenied(GatewayError):
    """The key may not do this."""


class NotFound(GatewayError):
    """There is no such thing, or it is somebody else's."""


class AlreadyExists(GatewayError):
    """There is such a thing already."""


class Aborted(GatewayError):
    """The thing changed in between."""


class ResourceExhausted(GatewayError):
    """A limit was reached, the gateway's or the provider's."""


class Cancelled(GatewayError):
    """The call was ended before it was done, without the calling task being cancelled."""


class Internal(GatewayError):
    """The gateway is at fault."""


class Unimplemented(GatewayError):
    """The method is not built or not switched on."""


class Unavailable(GatewayError):
    """Nobody can serve the call now, or the answer broke off."""


class DeadlineExceeded(GatewayError):
    """The time ran out."""


_CLASSES: Mapping[grpc.StatusCode, type[GatewayError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.ABORTED: Aborted,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.CANCELLED: Cancelled,
    grpc.StatusCode.INTERNAL: Internal,
    grpc.StatusCode.UNIMPLEMENTED: Unimplemented,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
}

_CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(eq=False, repr=False)
class _Status(betterproto2.Message):
    """`google.rpc.Status`, which no proto of the gateway mentions, and which therefore is not generated."""

    code: int = betterproto2.field(1, betterproto2.TYPE_INT32)
    message: str = betterproto2.field(2, betterproto2.TYPE_STRING)
    details: list[protobuf.Any] = betterproto2.field(  # noqa: RUF009, how betterproto2 says a field
        3, betterproto2.TYPE_MESSAGE, repeated=True
    )


@dataclass(slots=True)
class _Facts:
    """What the details of a status say."""

    reason: v1.ErrorReason = v1.ErrorReason.UNSPECIFIED
    metadata: dict[str, str] = field(default_factory=dict[str, str])
    request_id: str = ""
    retry_after: datetime.timedelta | None = None
    violations: list[rpc.BadRequestFieldViolation] = field(default_factory=list[rpc.BadRequestFieldViolation])


def from_status(error: grpc.aio.AioRpcError) -> GatewayError:
    """The error for a call that ended with a status other than OK."""
    details = _details_of(error)
    facts = _facts_of(details)
    code = error.code()
    return _CLASSES.get(code, GatewayError)(
        error.details() or code.name,
        code=code,
        reason=facts.reason,
        metadata=facts.metadata,
        request_id=facts.request_id,
        retry_after=facts.retry_after,
        violations=facts.violations,
        details=details,
    )


def from_event(failed: v1.Failed) -> GatewayError:
    """The error for an answer whose last event says that it broke off."""
    code = _CODES.get(failed.code, grpc.StatusCode.UNKNOWN)
    return _CLASSES.get(code, GatewayError)(
        failed.message,
        code=code,
        reason=failed.reason,
        metadata=failed.metadata,
        retry_after=failed.retry_delay,
        failed=failed,
    )


def broken(message: str) -> Unavailable:
    """The error for a stream that does not keep to the grammar, or ends before it should."""
    return Unavailable(message, code=grpc.StatusCode.UNAVAILABLE, reason=v1.ErrorReason.STREAM_BROKEN)


def closed() -> Cancelled:
    """The error for a call whose client was closed under it."""
    return Cancelled(
        "the client was closed before the call was done; keep it open until its last call has ended.",
        code=grpc.StatusCode.CANCELLED,
        reason=v1.ErrorReason.CANCELLED,
    )


def _details_of(error: grpc.aio.AioRpcError) -> list[betterproto2.Message]:
    """The details that the status carries, without those of a type that this client does not know."""
    known: list[betterproto2.Message] = []
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            for detail in _Status.parse(value).details:
                kind = default_message_pool.url_to_type.get(detail.type_url)
                if kind is not None:
                    known.append(kind.parse(detail.value))
    return known


def _facts_of(details: Iterable[betterproto2.Message]) -> _Facts:
    facts = _Facts()
    for detail in details:
        match detail:
            case rpc.ErrorInfo(domain=domain) if domain == DOMAIN:
                facts.reason = _reason_named(detail.reason)
                facts.metadata = detail.metadata
            case rpc.RequestInfo():
                facts.request_id = detail.request_id
            case rpc.RetryInfo():
                facts.retry_after = detail.retry_delay
            case rpc.BadRequest():
                facts.violations = detail.field_violations
            case _:
                pass
    return facts


def _reason_named(name: str) -> v1.ErrorReason:
    """The reason of that name; `UNSPECIFIED` for one that is newer than this client."""
    return v1.ErrorReason.__members__.get(name, v1.ErrorReason.UNSPECIFIED)
