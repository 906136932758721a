import datetime

from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from llmgateway.v1 import authorization_pb2 as _authorization_pb2
from llmgateway.v1 import content_pb2 as _content_pb2
from llmgateway.v1 import errors_pb2 as _errors_pb2
from llmgateway.v1 import routing_service_pb2 as _routing_service_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ChatRequest(_message.Message):
    __slots__ = ("model", "messages", "tools", "tool_choice", "generation", "labels", "request_id", "provider_options", "strict", "end_user", "session_id")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class ProviderOptionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    TOOL_CHOICE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    STRICT_FIELD_NUMBER: _ClassVar[int]
    END_USER_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    model: str
    messages: _containers.RepeatedCompositeFieldContainer[_content_pb2.Message]
    tools: _containers.RepeatedCompositeFieldContainer[_content_pb2.Tool]
    tool_choice: _content_pb2.ToolChoice
    generation: _content_pb2.Generation
    labels: _containers.ScalarMap[str, str]
    request_id: str
    provider_options: _containers.ScalarMap[str, str]
    strict: bool
    end_user: str
    session_id: str
    def __init__(self, model: _Optional[str] = ..., messages: _Optional[_Iterable[_Union[_content_pb2.Message, _Mapping]]] = ..., tools: _Optional[_Iterable[_Union[_content_pb2.Tool, _Mapping]]] = ..., tool_choice: _Optional[_Union[_content_pb2.ToolChoice, _Mapping]] = ..., generation: _Optional[_Union[_content_pb2.Generation, _Mapping]] = ..., labels: _Optional[_Mapping[str, str]] = ..., request_id: _Optional[str] = ..., provider_options: _Optional[_Mapping[str, str]] = ..., strict: _Optional[bool] = ..., end_user: _Optional[str] = ..., session_id: _Optional[str] = ...) -> None: ...

class ChatResponse(_message.Message):
    __slots__ = ("response_id", "message", "finish_reason", "raw_finish_reason", "usage", "deployment", "provider", "upstream_model", "attempts", "cost_nanos", "warnings", "logprobs", "create_time", "model", "decision", "service_tier", "system_fingerprint", "request_id")
    RESPONSE_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    RAW_FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_MODEL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    COST_NANOS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    SERVICE_TIER_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    response_id: str
    message: _content_pb2.Message
    finish_reason: _content_pb2.FinishReason
    raw_finish_reason: str
    usage: _content_pb2.Usage
    deployment: str
    provider: str
    upstream_model: str
    attempts: _containers.RepeatedCompositeFieldContainer[_routing_service_pb2.Attempt]
    cost_nanos: int
    warnings: _containers.RepeatedCompositeFieldContainer[_content_pb2.Warning]
    logprobs: _containers.RepeatedCompositeFieldContainer[_content_pb2.Logprobs]
    create_time: _timestamp_pb2.Timestamp
    model: str
    decision: str
    service_tier: str
    system_fingerprint: str
    request_id: str
    def __init__(self, response_id: _Optional[str] = ..., message: _Optional[_Union[_content_pb2.Message, _Mapping]] = ..., finish_reason: _Optional[_Union[_content_pb2.FinishReason, str]] = ..., raw_finish_reason: _Optional[str] = ..., usage: _Optional[_Union[_content_pb2.Usage, _Mapping]] = ..., deployment: _Optional[str] = ..., provider: _Optional[str] = ..., upstream_model: _Optional[str] = ..., attempts: _Optional[_Iterable[_Union[_routing_service_pb2.Attempt, _Mapping]]] = ..., cost_nanos: _Optional[int] = ..., warnings: _Optional[_Iterable[_Union[_content_pb2.Warning, _Mapping]]] = ..., logprobs: _Optional[_Iterable[_Union[_content_pb2.Logprobs, _Mapping]]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., model: _Optional[str] = ..., decision: _Optional[str] = ..., service_tier: _Optional[str] = ..., system_fingerprint: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class ChatEvent(_message.Message):
    __slots__ = ("sequence", "started", "part_delta", "finished", "failed")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    PART_DELTA_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    started: Started
    part_delta: PartDelta
    finished: Finished
    failed: Failed
    def __init__(self, sequence: _Optional[int] = ..., started: _Optional[_Union[Started, _Mapping]] = ..., part_delta: _Optional[_Union[PartDelta, _Mapping]] = ..., finished: _Optional[_Union[Finished, _Mapping]] = ..., failed: _Optional[_Union[Failed, _Mapping]] = ...) -> None: ...

class Started(_message.Message):
    __slots__ = ("response_id", "deployment", "provider", "upstream_model", "warnings", "create_time", "model", "decision", "request_id")
    RESPONSE_ID_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_MODEL_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    response_id: str
    deployment: str
    provider: str
    upstream_model: str
    warnings: _containers.RepeatedCompositeFieldContainer[_content_pb2.Warning]
    create_time: _timestamp_pb2.Timestamp
    model: str
    decision: str
    request_id: str
    def __init__(self, response_id: _Optional[str] = ..., deployment: _Optional[str] = ..., provider: _Optional[str] = ..., upstream_model: _Optional[str] = ..., warnings: _Optional[_Iterable[_Union[_content_pb2.Warning, _Mapping]]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., model: _Optional[str] = ..., decision: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class PartDelta(_message.Message):
    __slots__ = ("part_index", "text", "refusal", "reasoning", "tool_call", "audio", "image", "logprobs", "provider_state", "citations")
    PART_INDEX_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    REASONING_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALL_FIELD_NUMBER: _ClassVar[int]
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_STATE_FIELD_NUMBER: _ClassVar[int]
    CITATIONS_FIELD_NUMBER: _ClassVar[int]
    part_index: int
    text: str
    refusal: str
    reasoning: str
    tool_call: ToolCallDelta
    audio: _content_pb2.Media
    image: _content_pb2.Media
    logprobs: _content_pb2.Logprobs
    provider_state: _content_pb2.ProviderState
    citations: _containers.RepeatedCompositeFieldContainer[_content_pb2.Citation]
    def __init__(self, part_index: _Optional[int] = ..., text: _Optional[str] = ..., refusal: _Optional[str] = ..., reasoning: _Optional[str] = ..., tool_call: _Optional[_Union[ToolCallDelta, _Mapping]] = ..., audio: _Optional[_Union[_content_pb2.Media, _Mapping]] = ..., image: _Optional[_Union[_content_pb2.Media, _Mapping]] = ..., logprobs: _Optional[_Union[_content_pb2.Logprobs, _Mapping]] = ..., provider_state: _Optional[_Union[_content_pb2.ProviderState, _Mapping]] = ..., citations: _Optional[_Iterable[_Union[_content_pb2.Citation, _Mapping]]] = ...) -> None: ...

class ToolCallDelta(_message.Message):
    __slots__ = ("id", "name", "arguments", "custom")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    arguments: str
    custom: bool
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., arguments: _Optional[str] = ..., custom: _Optional[bool] = ...) -> None: ...

class Finished(_message.Message):
    __slots__ = ("finish_reason", "raw_finish_reason", "usage", "attempts", "cost_nanos", "service_tier", "system_fingerprint")
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    RAW_FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    COST_NANOS_FIELD_NUMBER: _ClassVar[int]
    SERVICE_TIER_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    finish_reason: _content_pb2.FinishReason
    raw_finish_reason: str
    usage: _content_pb2.Usage
    attempts: _containers.RepeatedCompositeFieldContainer[_routing_service_pb2.Attempt]
    cost_nanos: int
    service_tier: str
    system_fingerprint: str
    def __init__(self, finish_reason: _Optional[_Union[_content_pb2.FinishReason, str]] = ..., raw_finish_reason: _Optional[str] = ..., usage: _Optional[_Union[_content_pb2.Usage, _Mapping]] = ..., attempts: _Optional[_Iterable[_Union[_routing_service_pb2.Attempt, _Mapping]]] = ..., cost_nanos: _Optional[int] = ..., service_tier: _Optional[str] = ..., system_fingerprint: _Optional[str] = ...) -> None: ...

class Failed(_message.Message):
    __slots__ = ("reason", "code", "message", "retryable", "retry_delay", "metadata", "usage", "attempts", "cost_nanos")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    REASON_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRYABLE_FIELD_NUMBER: _ClassVar[int]
    RETRY_DELAY_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    COST_NANOS_FIELD_NUMBER: _ClassVar[int]
    reason: _errors_pb2.ErrorReason
    code: int
    message: str
    retryable: bool
    retry_delay: _duration_pb2.Duration
    metadata: _containers.ScalarMap[str, str]
    usage: _content_pb2.Usage
    attempts: _containers.RepeatedCompositeFieldContainer[_routing_service_pb2.Attempt]
    cost_nanos: int
    def __init__(self, reason: _Optional[_Union[_errors_pb2.ErrorReason, str]] = ..., code: _Optional[int] = ..., message: _Optional[str] = ..., retryable: _Optional[bool] = ..., retry_delay: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., metadata: _Optional[_Mapping[str, str]] = ..., usage: _Optional[_Union[_content_pb2.Usage, _Mapping]] = ..., attempts: _Optional[_Iterable[_Union[_routing_service_pb2.Attempt, _Mapping]]] = ..., cost_nanos: _Optional[int] = ...) -> None: ...

class EmbedContentRequest(_message.Message):
    __slots__ = ("model", "texts", "dimensions", "purpose", "labels", "request_id", "provider_options", "end_user", "strict")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class ProviderOptionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    DIMENSIONS_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    END_USER_FIELD_NUMBER: _ClassVar[int]
    STRICT_FIELD_NUMBER: _ClassVar[int]
    model: str
    texts: _containers.RepeatedScalarFieldContainer[str]
    dimensions: int
    purpose: str
    labels: _containers.ScalarMap[str, str]
    request_id: str
    provider_options: _containers.ScalarMap[str, str]
    end_user: str
    strict: bool
    def __init__(self, model: _Optional[str] = ..., texts: _Optional[_Iterable[str]] = ..., dimensions: _Optional[int] = ..., purpose: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., request_id: _Optional[str] = ..., provider_options: _Optional[_Mapping[str, str]] = ..., end_user: _Optional[str] = ..., strict: _Optional[bool] = ...) -> None: ...

class EmbedContentResponse(_message.Message):
    __slots__ = ("embeddings", "usage", "serving")
    EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    SERVING_FIELD_NUMBER: _ClassVar[int]
    embeddings: _containers.RepeatedCompositeFieldContainer[Embedding]
    usage: _content_pb2.Usage
    serving: Serving
    def __init__(self, embeddings: _Optional[_Iterable[_Union[Embedding, _Mapping]]] = ..., usage: _Optional[_Union[_content_pb2.Usage, _Mapping]] = ..., serving: _Optional[_Union[Serving, _Mapping]] = ...) -> None: ...

class Embedding(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class Serving(_message.Message):
    __slots__ = ("request_id", "deployment", "provider", "upstream_model", "attempts", "cost_nanos", "warnings")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    UPSTREAM_MODEL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    COST_NANOS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    deployment: str
    provider: str
    upstream_model: str
    attempts: _containers.RepeatedCompositeFieldContainer[_routing_service_pb2.Attempt]
    cost_nanos: int
    warnings: _containers.RepeatedCompositeFieldContainer[_content_pb2.Warning]
    def __init__(self, request_id: _Optional[str] = ..., deployment: _Optional[str] = ..., provider: _Optional[str] = ..., upstream_model: _Optional[str] = ..., attempts: _Optional[_Iterable[_Union[_routing_service_pb2.Attempt, _Mapping]]] = ..., cost_nanos: _Optional[int] = ..., warnings: _Optional[_Iterable[_Union[_content_pb2.Warning, _Mapping]]] = ...) -> None: ...

class CountTokensRequest(_message.Message):
    __slots__ = ("model", "messages", "tools")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    model: str
    messages: _containers.RepeatedCompositeFieldContainer[_content_pb2.Message]
    tools: _containers.RepeatedCompositeFieldContainer[_content_pb2.Tool]
    def __init__(self, model: _Optional[str] = ..., messages: _Optional[_Iterable[_Union[_content_pb2.Message, _Mapping]]] = ..., tools: _Optional[_Iterable[_Union[_content_pb2.Tool, _Mapping]]] = ...) -> None: ...

class CountTokensResponse(_message.Message):
    __slots__ = ("input_tokens", "estimated", "serving")
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_FIELD_NUMBER: _ClassVar[int]
    SERVING_FIELD_NUMBER: _ClassVar[int]
    input_tokens: int
    estimated: bool
    serving: Serving
    def __init__(self, input_tokens: _Optional[int] = ..., estimated: _Optional[bool] = ..., serving: _Optional[_Union[Serving, _Mapping]] = ...) -> None: ...
