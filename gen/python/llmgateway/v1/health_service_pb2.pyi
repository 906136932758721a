from google.api import annotations_pb2 as _annotations_pb2
from llmgateway.v1 import admin_resources_pb2 as _admin_resources_pb2
from llmgateway.v1 import authorization_pb2 as _authorization_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CheckLivenessRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CheckLivenessResponse(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: str
    def __init__(self, status: _Optional[str] = ...) -> None: ...

class CheckReadinessRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CheckReadinessResponse(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: str
    def __init__(self, status: _Optional[str] = ...) -> None: ...

class DescribeHealthRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeHealthResponse(_message.Message):
    __slots__ = ("summary",)
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    summary: _admin_resources_pb2.HealthSummary
    def __init__(self, summary: _Optional[_Union[_admin_resources_pb2.HealthSummary, _Mapping]] = ...) -> None: ...
