"""Is the request one that a model could answer? Checks what single fields cannot say about themselves."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from math import isfinite
from typing import Protocol, cast

import orjson

from llmgateway.v1.chat_service_pb2 import ChatEvent, ChatRequest
from llmgateway.v1.content_pb2 import (
    Generation,
    Media,
    Message,
    Part,
    ReasoningEffort,
    ResponseFormat,
    Role,
    Tool,
    ToolCall,
    ToolChoice,
)
from llmgateway_server.errors import invalid_field
from llmgateway_server.pipeline.call import Call, Handler

MAX_MESSAGES = 10_000
MAX_PARTS = 1_000
MAX_TOOLS = 1_024
MAX_STOPS = 16
MAX_LABELS = 64
MAX_SCHEMA_DEPTH = 64
MAX_ID = 128
MAX_NAME = 64
MAX_LABEL_KEY = 64
MAX_LABEL_VALUE = 512
MAX_BIAS = 100

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RANGES: Mapping[str, tuple[float, float]] = {
    "temperature": (0.0, 2.0),
    "top_p": (0.0, 1.0),
    "top_k": (1, 2**31 - 1),
    "max_output_tokens": (1, 2**31 - 1),
    "presence_penalty": (-2.0, 2.0),
    "frequency_penalty": (-2.0, 2.0),
    "top_logprobs": (0, 20),
    "max_reasoning_tokens": (0, 2**31 - 1),
}
_ASSISTANT_ONLY = frozenset({"refusal", "reasoning", "tool_call"})
_MEDIA = frozenset({"image", "audio", "file", "video"})


def validate(call: Call, next_handler: Handler, /) -> AsyncIterator[ChatEvent]:
    """Refuses a malformed request with INVALID_FIELD, naming the field."""
    check(call.request)
    return next_handler(call)


def check(request: ChatRequest) -> None:
    """Raises INVALID_FIELD for the first field that is wrong."""
    check_messages(request.messages)
    check_tools(request.tools)
    _check_tool_choice(request)
    if request.HasField("generation"):
        check_generation(request.generation)
    check_common(request)
    for field in ("request_id", "session_id"):
        if len(getattr(request, field)) > MAX_ID:
            raise invalid_field(field, f"at most {MAX_ID} characters.")


class Common(Protocol):
    """The fields that requests of all kinds have."""

    @property
    def labels(self) -> Mapping[str, str]:
        """As in `ChatRequest`."""
        ...

    @property
    def provider_options(self) -> Mapping[str, str]:
        """As in `ChatRequest`."""
        ...


def check_common(request: Common) -> None:
    """Raises INVALID_FIELD for what is wrong with the fields that requests of all kinds have."""
    _check_labels(request.labels)
    if len(getattr(request, "end_user", "")) > MAX_ID:
        raise invalid_field("end_user", f"at most {MAX_ID} characters.")
    for name, options in request.provider_options.items():
        field = f"provider_options[{name!r}]"
        if not isinstance(_json(field, options), dict):
            raise invalid_field(field, "must be a JSON object, as text.")


def check_messages(messages: Sequence[Message]) -> None:
    """Raises INVALID_FIELD for what is wrong with a conversation."""
    if not messages:
        raise invalid_field("messages", "send at least one message.")
    if len(messages) > MAX_MESSAGES:
        raise invalid_field("messages", f"at most {MAX_MESSAGES} messages; got {len(messages)}.")
    open_calls: dict[str, str] = {}
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if message.role not in _ROLES:
            raise invalid_field(f"{where}.role", "must be system, developer, user, assistant or tool.")
        if not message.parts and message.role != Role.ROLE_ASSISTANT:
            raise invalid_field(f"{where}.parts", "send at least one part.")
        if len(message.parts) > MAX_PARTS:
            raise invalid_field(f"{where}.parts", f"at most {MAX_PARTS} parts; got {len(message.parts)}.")
        if len(message.name) > MAX_NAME:
            raise invalid_field(f"{where}.name", f"at most {MAX_NAME} characters.")
        _check_parts(where, message, open_calls)


_ROLES = frozenset({Role.ROLE_SYSTEM, Role.ROLE_DEVELOPER, Role.ROLE_USER, Role.ROLE_ASSISTANT, Role.ROLE_TOOL})


def _check_parts(where: str, message: Message, open_calls: dict[str, str]) -> None:
    role = message.role
    for index, part in enumerate(message.parts):
        kind = part.WhichOneof("content")
        if kind == "text" and role != Role.ROLE_TOOL:
            continue
        field = f"{where}.parts[{index}]"
        if kind is None:
            if not part.HasField("provider_state"):
                raise invalid_field(field, "is empty; set its text or another kind of content.")
        elif role == Role.ROLE_TOOL:
            if kind != "tool_result":
                raise invalid_field(field, f"a tool message holds tool results; got {kind!r}.")
            _check_result(field, part, open_calls)
        elif kind == "tool_result":
            raise invalid_field(field, "a tool result belongs to a message of role tool.")
        elif kind in _ASSISTANT_ONLY and role != Role.ROLE_ASSISTANT:
            raise invalid_field(field, f"{kind!r} belongs to a message of role assistant.")
        elif kind == "tool_call":
            _check_call(f"{field}.tool_call", part.tool_call, open_calls)
        elif kind in _MEDIA:
            check_media(f"{field}.{kind}", getattr(part, kind))


def _check_call(field: str, call: ToolCall, open_calls: dict[str, str]) -> None:
    if not call.id:
        raise invalid_field(f"{field}.id", "is required.")
    if not call.name:
        raise invalid_field(f"{field}.name", "is required.")
    open_calls[call.id] = call.name


def _check_result(field: str, part: Part, open_calls: Mapping[str, str]) -> None:
    result = part.tool_result
    where = f"{field}.tool_result"
    if result.call_id not in open_calls:
        raise invalid_field(
            f"{where}.call_id", f"{result.call_id!r} answers no tool call of an earlier assistant message."
        )
    if len(result.parts) > MAX_PARTS:
        raise invalid_field(f"{where}.parts", f"at most {MAX_PARTS} parts; got {len(result.parts)}.")
    for index, inner in enumerate(result.parts):
        kind = inner.WhichOneof("content")
        if kind in _MEDIA:
            check_media(f"{where}.parts[{index}].{kind}", getattr(inner, kind))
        elif kind != "text":
            raise invalid_field(f"{where}.parts[{index}]", f"a tool answers with text or media; got {kind!r}.")
    if not result.name:
        result.name = open_calls[result.call_id]


def check_media(field: str, media: Media) -> None:
    """Raises INVALID_FIELD for bytes or an address that cannot be used."""
    source = media.WhichOneof("source")
    if source is None:
        raise invalid_field(field, "set its data, url or file_id.")
    if source == "data" and not media.mime_type:
        raise invalid_field(f"{field}.mime_type", "is required with data, such as 'image/png'.")
    if source == "url" and not media.url.startswith(("https://", "http://")):
        raise invalid_field(f"{field}.url", "must begin with https:// or http://.")


def check_tools(tools: Sequence[Tool]) -> None:
    """Raises INVALID_FIELD for what is wrong with the tools."""
    if len(tools) > MAX_TOOLS:
        raise invalid_field("tools", f"at most {MAX_TOOLS} tools; got {len(tools)}.")
    names: set[str] = set()
    for index, tool in enumerate(tools):
        name = _check_tool(f"tools[{index}]", tool)
        if name in names:
            raise invalid_field(f"tools[{index}]", f"the name {name!r} is taken by an earlier tool.")
        names.add(name)


def _check_tool_choice(request: ChatRequest) -> None:
    if not request.HasField("tool_choice"):
        return
    choice = request.tool_choice
    names = {tool.function.name or tool.custom.name for tool in request.tools}
    if choice.mode not in ToolChoice.Mode.values():
        raise invalid_field("tool_choice.mode", f"{choice.mode} is not a mode; use one of their names.")
    if choice.mode == ToolChoice.MODE_REQUIRED and not names:
        raise invalid_field("tool_choice", "a tool is required but there are no tools.")
    for name in choice.names:
        if name not in names:
            raise invalid_field("tool_choice.names", f"{name!r} is not among the tools.")


def _check_tool(where: str, tool: Tool) -> str:
    kind = tool.WhichOneof("kind")
    if kind is None:
        raise invalid_field(where, "set its function or custom.")
    name = tool.function.name if kind == "function" else tool.custom.name
    if not _NAME.fullmatch(name):
        raise invalid_field(f"{where}.{kind}.name", f"must be 1 to 64 letters, digits, '_' or '-'; got {name!r}.")
    if kind == "function" and tool.function.parameters_schema:
        _check_schema(f"{where}.function.parameters_schema", tool.function.parameters_schema)
    return name


def check_generation(generation: Generation, *, where: str = "generation") -> None:
    """Refuses settings that contradict each other or are out of range. `where` is how the paths of errors begin."""
    for name, (low, high) in _RANGES.items():
        if generation.HasField(name):
            value = getattr(generation, name)
            if not low <= value <= high:
                raise invalid_field(f"{where}.{name}", f"must be from {low} to {high}; got {value}.")
    if generation.top_logprobs and not generation.logprobs:
        raise invalid_field(f"{where}.top_logprobs", "needs logprobs to be true.")
    if len(generation.stop) > MAX_STOPS:
        raise invalid_field(f"{where}.stop", f"at most {MAX_STOPS} texts; got {len(generation.stop)}.")
    if "" in generation.stop:
        raise invalid_field(f"{where}.stop", "a stop text must not be empty.")
    for token, bias in generation.logit_bias.items():
        if not isfinite(bias) or abs(bias) > MAX_BIAS:
            raise invalid_field(f"{where}.logit_bias[{token!r}]", f"must be from -100 to 100; got {bias}.")
    if generation.reasoning_effort not in ReasoningEffort.values():
        raise invalid_field(
            f"{where}.reasoning_effort", f"{generation.reasoning_effort} is not an effort; use one of their names."
        )
    if generation.HasField("response_format"):
        _check_format(generation.response_format, f"{where}.response_format")


def _check_format(wanted: ResponseFormat, where: str) -> None:
    if wanted.type not in ResponseFormat.Type.values():
        raise invalid_field(f"{where}.type", f"{wanted.type} is not a type; use one of their names.")
    if wanted.type != ResponseFormat.TYPE_JSON_SCHEMA:
        return
    if not _NAME.fullmatch(wanted.name):
        raise invalid_field(f"{where}.name", f"must be 1 to 64 letters, digits, '_' or '-'; got {wanted.name!r}.")
    if not wanted.schema:
        raise invalid_field(f"{where}.schema", "is required with a JSON schema format.")
    _check_schema(f"{where}.schema", wanted.schema)


def _check_schema(field: str, text: str) -> None:
    schema = _json(field, text)
    if not isinstance(schema, dict | bool):
        raise invalid_field(field, "must be a JSON Schema: an object, as text.")
    # The depth is bounded by counting brackets, which needs no walk: nesting cannot be deeper than its brackets.
    if text.count("{") + text.count("[") > MAX_SCHEMA_DEPTH and _depth(cast("object", schema)) > MAX_SCHEMA_DEPTH:
        raise invalid_field(field, f"is nested deeper than {MAX_SCHEMA_DEPTH}.")


def _depth(value: object) -> int:
    deepest = 0
    waiting: list[tuple[object, int]] = [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        deepest = max(deepest, depth)
        if isinstance(item, dict):
            waiting.extend((child, depth + 1) for child in cast("dict[str, object]", item).values())
        elif isinstance(item, list):
            waiting.extend((child, depth + 1) for child in cast("list[object]", item))
    return deepest


def _json(field: str, text: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise invalid_field(field, f"is not valid JSON: {error}.") from error


def _check_labels(labels: Mapping[str, str]) -> None:
    if len(labels) > MAX_LABELS:
        raise invalid_field("labels", f"at most {MAX_LABELS} labels; got {len(labels)}.")
    for key, value in labels.items():
        if not 1 <= len(key) <= MAX_LABEL_KEY or len(value) > MAX_LABEL_VALUE:
            limits = f"a key has 1 to {MAX_LABEL_KEY} characters and a value at most {MAX_LABEL_VALUE}."
            raise invalid_field(f"labels[{key!r}]", limits)
        if "\x00" in key or "\x00" in value:
            raise invalid_field(f"labels[{key!r}]", "must not hold the character NUL.")
