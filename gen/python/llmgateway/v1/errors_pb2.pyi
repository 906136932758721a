from google.rpc import error_details_pb2 as _error_details_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_REASON_UNSPECIFIED: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_FIELD: _ClassVar[ErrorReason]
    ERROR_REASON_UNSUPPORTED_FEATURE: _ClassVar[ErrorReason]
    ERROR_REASON_CONTEXT_LENGTH_EXCEEDED: _ClassVar[ErrorReason]
    ERROR_REASON_PROVIDER_REJECTED_REQUEST: _ClassVar[ErrorReason]
    ERROR_REASON_CONTENT_FILTERED: _ClassVar[ErrorReason]
    ERROR_REASON_API_KEY_MISSING: _ClassVar[ErrorReason]
    ERROR_REASON_API_KEY_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_API_KEY_EXPIRED: _ClassVar[ErrorReason]
    ERROR_REASON_SCOPE_REQUIRED: _ClassVar[ErrorReason]
    ERROR_REASON_MODEL_NOT_ALLOWED: _ClassVar[ErrorReason]
    ERROR_REASON_RESOURCE_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_RESOURCE_EXISTS: _ClassVar[ErrorReason]
    ERROR_REASON_ETAG_MISMATCH: _ClassVar[ErrorReason]
    ERROR_REASON_RESOURCE_IN_USE: _ClassVar[ErrorReason]
    ERROR_REASON_GUARDRAIL_BLOCKED: _ClassVar[ErrorReason]
    ERROR_REASON_RATE_LIMITED: _ClassVar[ErrorReason]
    ERROR_REASON_BUDGET_EXHAUSTED: _ClassVar[ErrorReason]
    ERROR_REASON_PROVIDER_RATE_LIMITED: _ClassVar[ErrorReason]
    ERROR_REASON_PROVIDER_UNAVAILABLE: _ClassVar[ErrorReason]
    ERROR_REASON_PROVIDER_REJECTED_CREDENTIAL: _ClassVar[ErrorReason]
    ERROR_REASON_PROVIDER_PROTOCOL_ERROR: _ClassVar[ErrorReason]
    ERROR_REASON_NO_HEALTHY_DEPLOYMENT: _ClassVar[ErrorReason]
    ERROR_REASON_OVERLOADED: _ClassVar[ErrorReason]
    ERROR_REASON_STREAM_BROKEN: _ClassVar[ErrorReason]
    ERROR_REASON_DEADLINE_EXCEEDED: _ClassVar[ErrorReason]
    ERROR_REASON_CANCELLED: _ClassVar[ErrorReason]
    ERROR_REASON_FEATURE_DISABLED: _ClassVar[ErrorReason]
    ERROR_REASON_INTERNAL: _ClassVar[ErrorReason]
    ERROR_REASON_REQUEST_TOO_LARGE: _ClassVar[ErrorReason]
    ERROR_REASON_STORAGE_UNAVAILABLE: _ClassVar[ErrorReason]
ERROR_REASON_UNSPECIFIED: ErrorReason
ERROR_REASON_INVALID_FIELD: ErrorReason
ERROR_REASON_UNSUPPORTED_FEATURE: ErrorReason
ERROR_REASON_CONTEXT_LENGTH_EXCEEDED: ErrorReason
ERROR_REASON_PROVIDER_REJECTED_REQUEST: ErrorReason
ERROR_REASON_CONTENT_FILTERED: ErrorReason
ERROR_REASON_API_KEY_MISSING: ErrorReason
ERROR_REASON_API_KEY_INVALID: ErrorReason
ERROR_REASON_API_KEY_EXPIRED: ErrorReason
ERROR_REASON_SCOPE_REQUIRED: ErrorReason
ERROR_REASON_MODEL_NOT_ALLOWED: ErrorReason
ERROR_REASON_RESOURCE_NOT_FOUND: ErrorReason
ERROR_REASON_RESOURCE_EXISTS: ErrorReason
ERROR_REASON_ETAG_MISMATCH: ErrorReason
ERROR_REASON_RESOURCE_IN_USE: ErrorReason
ERROR_REASON_GUARDRAIL_BLOCKED: ErrorReason
ERROR_REASON_RATE_LIMITED: ErrorReason
ERROR_REASON_BUDGET_EXHAUSTED: ErrorReason
ERROR_REASON_PROVIDER_RATE_LIMITED: ErrorReason
ERROR_REASON_PROVIDER_UNAVAILABLE: ErrorReason
ERROR_REASON_PROVIDER_REJECTED_CREDENTIAL: ErrorReason
ERROR_REASON_PROVIDER_PROTOCOL_ERROR: ErrorReason
ERROR_REASON_NO_HEALTHY_DEPLOYMENT: ErrorReason
ERROR_REASON_OVERLOADED: ErrorReason
ERROR_REASON_STREAM_BROKEN: ErrorReason
ERROR_REASON_DEADLINE_EXCEEDED: ErrorReason
ERROR_REASON_CANCELLED: ErrorReason
ERROR_REASON_FEATURE_DISABLED: ErrorReason
ERROR_REASON_INTERNAL: ErrorReason
ERROR_REASON_REQUEST_TOO_LARGE: ErrorReason
ERROR_REASON_STORAGE_UNAVAILABLE: ErrorReason

class ErrorDetails(_message.Message):
    __slots__ = ("info", "request", "retry", "bad_request", "quota", "precondition", "resource")
    INFO_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    RETRY_FIELD_NUMBER: _ClassVar[int]
    BAD_REQUEST_FIELD_NUMBER: _ClassVar[int]
    QUOTA_FIELD_NUMBER: _ClassVar[int]
    PRECONDITION_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    info: _error_details_pb2.ErrorInfo
    request: _error_details_pb2.RequestInfo
    retry: _error_details_pb2.RetryInfo
    bad_request: _error_details_pb2.BadRequest
    quota: _error_details_pb2.QuotaFailure
    precondition: _error_details_pb2.PreconditionFailure
    resource: _error_details_pb2.ResourceInfo
    def __init__(self, info: _Optional[_Union[_error_details_pb2.ErrorInfo, _Mapping]] = ..., request: _Optional[_Union[_error_details_pb2.RequestInfo, _Mapping]] = ..., retry: _Optional[_Union[_error_details_pb2.RetryInfo, _Mapping]] = ..., bad_request: _Optional[_Union[_error_details_pb2.BadRequest, _Mapping]] = ..., quota: _Optional[_Union[_error_details_pb2.QuotaFailure, _Mapping]] = ..., precondition: _Optional[_Union[_error_details_pb2.PreconditionFailure, _Mapping]] = ..., resource: _Optional[_Union[_error_details_pb2.ResourceInfo, _Mapping]] = ...) -> None: ...
