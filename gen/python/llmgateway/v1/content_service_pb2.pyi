import datetime

from google.api import annotations_pb2 as _annotations_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from llmgateway.v1 import authorization_pb2 as _authorization_pb2
from llmgateway.v1 import chat_service_pb2 as _chat_service_pb2
from llmgateway.v1 import content_pb2 as _content_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RerankDocumentsRequest(_message.Message):
    __slots__ = ("model", "query", "documents", "top_n", "max_tokens_per_document", "labels", "provider_options", "strict")
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
    QUERY_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    TOP_N_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_PER_DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    STRICT_FIELD_NUMBER: _ClassVar[int]
    model: str
    query: str
    documents: _containers.RepeatedScalarFieldContainer[str]
    top_n: int
    max_tokens_per_document: int
    labels: _containers.ScalarMap[str, str]
    provider_options: _containers.ScalarMap[str, str]
    strict: bool
    def __init__(self, model: _Optional[str] = ..., query: _Optional[str] = ..., documents: _Optional[_Iterable[str]] = ..., top_n: _Optional[int] = ..., max_tokens_per_document: _Optional[int] = ..., labels: _Optional[_Mapping[str, str]] = ..., provider_options: _Optional[_Mapping[str, str]] = ..., strict: _Optional[bool] = ...) -> None: ...

class RerankDocumentsResponse(_message.Message):
    __slots__ = ("results", "usage", "search_units", "serving")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    SEARCH_UNITS_FIELD_NUMBER: _ClassVar[int]
    SERVING_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[RankedDocument]
    usage: _content_pb2.Usage
    search_units: int
    serving: _chat_service_pb2.Serving
    def __init__(self, results: _Optional[_Iterable[_Union[RankedDocument, _Mapping]]] = ..., usage: _Optional[_Union[_content_pb2.Usage, _Mapping]] = ..., search_units: _Optional[int] = ..., serving: _Optional[_Union[_chat_service_pb2.Serving, _Mapping]] = ...) -> None: ...

class RankedDocument(_message.Message):
    __slots__ = ("index", "relevance_score")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    RELEVANCE_SCORE_FIELD_NUMBER: _ClassVar[int]
    index: int
    relevance_score: float
    def __init__(self, index: _Optional[int] = ..., relevance_score: _Optional[float] = ...) -> None: ...

class TranscribeAudioRequest(_message.Message):
    __slots__ = ("model", "audio", "translate", "language", "prompt", "format", "temperature", "timestamp_granularities", "labels", "provider_options", "strict")
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
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    TRANSLATE_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_GRANULARITIES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    STRICT_FIELD_NUMBER: _ClassVar[int]
    model: str
    audio: _content_pb2.Media
    translate: bool
    language: str
    prompt: str
    format: str
    temperature: float
    timestamp_granularities: _containers.RepeatedScalarFieldContainer[str]
    labels: _containers.ScalarMap[str, str]
    provider_options: _containers.ScalarMap[str, str]
    strict: bool
    def __init__(self, model: _Optional[str] = ..., audio: _Optional[_Union[_content_pb2.Media, _Mapping]] = ..., translate: _Optional[bool] = ..., language: _Optional[str] = ..., prompt: _Optional[str] = ..., format: _Optional[str] = ..., temperature: _Optional[float] = ..., timestamp_granularities: _Optional[_Iterable[str]] = ..., labels: _Optional[_Mapping[str, str]] = ..., provider_options: _Optional[_Mapping[str, str]] = ..., strict: _Optional[bool] = ...) -> None: ...

class TranscribeAudioResponse(_message.Message):
    __slots__ = ("text", "language", "duration", "segments", "words", "usage", "serving")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    SERVING_FIELD_NUMBER: _ClassVar[int]
    text: str
    language: str
    duration: _duration_pb2.Duration
    segments: _containers.RepeatedCompositeFieldContainer[TimedText]
    words: _containers.RepeatedCompositeFieldContainer[TimedText]
    usage: _content_pb2.Usage
    serving: _chat_service_pb2.Serving
    def __init__(self, text: _Optional[str] = ..., language: _Optional[str] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., segments: _Optional[_Iterable[_Union[TimedText, _Mapping]]] = ..., words: _Optional[_Iterable[_Union[TimedText, _Mapping]]] = ..., usage: _Optional[_Union[_content_pb2.Usage, _Mapping]] = ..., serving: _Optional[_Union[_chat_service_pb2.Serving, _Mapping]] = ...) -> None: ...

class TimedText(_message.Message):
    __slots__ = ("text", "start_offset", "end_offset")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    START_OFFSET_FIELD_NUMBER: _ClassVar[int]
    END_OFFSET_FIELD_NUMBER: _ClassVar[int]
    text: str
    start_offset: _duration_pb2.Duration
    end_offset: _duration_pb2.Duration
    def __init__(self, text: _Optional[str] = ..., start_offset: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., end_offset: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class SynthesizeSpeechRequest(_message.Message):
    __slots__ = ("model", "text", "voice", "instructions", "format", "speed", "labels", "provider_options", "strict")
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
    TEXT_FIELD_NUMBER: _ClassVar[int]
    VOICE_FIELD_NUMBER: _ClassVar[int]
    INSTRUCTIONS_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    SPEED_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    STRICT_FIELD_NUMBER: _ClassVar[int]
    model: str
    text: str
    voice: str
    instructions: str
    format: str
    speed: float
    labels: _containers.ScalarMap[str, str]
    provider_options: _containers.ScalarMap[str, str]
    strict: bool
    def __init__(self, model: _Optional[str] = ..., text: _Optional[str] = ..., voice: _Optional[str] = ..., instructions: _Optional[str] = ..., format: _Optional[str] = ..., speed: _Optional[float] = ..., labels: _Optional[_Mapping[str, str]] = ..., provider_options: _Optional[_Mapping[str, str]] = ..., strict: _Optional[bool] = ...) -> None: ...

class SynthesizeSpeechResponse(_message.Message):
    __slots__ = ("data", "mime_type", "usage", "serving")
    DATA_FIELD_NUMBER: _ClassVar[int]
    MIME_TYPE_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    SERVING_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    mime_type: str
    usage: _content_pb2.Usage
    serving: _chat_service_pb2.Serving
    def __init__(self, data: _Optional[bytes] = ..., mime_type: _Optional[str] = ..., usage: _Optional[_Union[_content_pb2.Usage, _Mapping]] = ..., serving: _Optional[_Union[_chat_service_pb2.Serving, _Mapping]] = ...) -> None: ...

class GenerateImagesRequest(_message.Message):
    __slots__ = ("model", "prompt", "count", "size", "quality", "style", "as_url", "labels", "provider_options", "strict", "end_user")
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
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    STYLE_FIELD_NUMBER: _ClassVar[int]
    AS_URL_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    STRICT_FIELD_NUMBER: _ClassVar[int]
    END_USER_FIELD_NUMBER: _ClassVar[int]
    model: str
    prompt: str
    count: int
    size: str
    quality: str
    style: str
    as_url: bool
    labels: _containers.ScalarMap[str, str]
    provider_options: _containers.ScalarMap[str, str]
    strict: bool
    end_user: str
    def __init__(self, model: _Optional[str] = ..., prompt: _Optional[str] = ..., count: _Optional[int] = ..., size: _Optional[str] = ..., quality: _Optional[str] = ..., style: _Optional[str] = ..., as_url: _Optional[bool] = ..., labels: _Optional[_Mapping[str, str]] = ..., provider_options: _Optional[_Mapping[str, str]] = ..., strict: _Optional[bool] = ..., end_user: _Optional[str] = ...) -> None: ...

class GenerateImagesResponse(_message.Message):
    __slots__ = ("images", "usage", "serving")
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    SERVING_FIELD_NUMBER: _ClassVar[int]
    images: _containers.RepeatedCompositeFieldContainer[GeneratedImage]
    usage: _content_pb2.Usage
    serving: _chat_service_pb2.Serving
    def __init__(self, images: _Optional[_Iterable[_Union[GeneratedImage, _Mapping]]] = ..., usage: _Optional[_Union[_content_pb2.Usage, _Mapping]] = ..., serving: _Optional[_Union[_chat_service_pb2.Serving, _Mapping]] = ...) -> None: ...

class GeneratedImage(_message.Message):
    __slots__ = ("image", "revised_prompt")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    REVISED_PROMPT_FIELD_NUMBER: _ClassVar[int]
    image: _content_pb2.Media
    revised_prompt: str
    def __init__(self, image: _Optional[_Union[_content_pb2.Media, _Mapping]] = ..., revised_prompt: _Optional[str] = ...) -> None: ...

class ModerateContentRequest(_message.Message):
    __slots__ = ("model", "parts", "labels", "provider_options")
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
    PARTS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    parts: _containers.RepeatedCompositeFieldContainer[_content_pb2.Part]
    labels: _containers.ScalarMap[str, str]
    provider_options: _containers.ScalarMap[str, str]
    def __init__(self, model: _Optional[str] = ..., parts: _Optional[_Iterable[_Union[_content_pb2.Part, _Mapping]]] = ..., labels: _Optional[_Mapping[str, str]] = ..., provider_options: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ModerateContentResponse(_message.Message):
    __slots__ = ("response_id", "judgements", "serving")
    RESPONSE_ID_FIELD_NUMBER: _ClassVar[int]
    JUDGEMENTS_FIELD_NUMBER: _ClassVar[int]
    SERVING_FIELD_NUMBER: _ClassVar[int]
    response_id: str
    judgements: _containers.RepeatedCompositeFieldContainer[Judgement]
    serving: _chat_service_pb2.Serving
    def __init__(self, response_id: _Optional[str] = ..., judgements: _Optional[_Iterable[_Union[Judgement, _Mapping]]] = ..., serving: _Optional[_Union[_chat_service_pb2.Serving, _Mapping]] = ...) -> None: ...

class Judgement(_message.Message):
    __slots__ = ("flagged", "categories")
    FLAGGED_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    flagged: bool
    categories: _containers.RepeatedCompositeFieldContainer[JudgedCategory]
    def __init__(self, flagged: _Optional[bool] = ..., categories: _Optional[_Iterable[_Union[JudgedCategory, _Mapping]]] = ...) -> None: ...

class JudgedCategory(_message.Message):
    __slots__ = ("category", "flagged", "score")
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    FLAGGED_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    category: str
    flagged: bool
    score: float
    def __init__(self, category: _Optional[str] = ..., flagged: _Optional[bool] = ..., score: _Optional[float] = ...) -> None: ...
