"""A chat completion request of OpenAI's dialect, read into a `ChatRequest`."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson

from llmgateway.v1.chat_service_pb2 import ChatRequest
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
from llmgateway_server.api.openai import fields, state
from llmgateway_server.api.openai.fields import Json
from llmgateway_server.errors import invalid_field

MAX_ANSWERS = 8
"""Most answers of one request (`n`)."""

ROLES: Mapping[str, Role] = {
    "system": Role.ROLE_SYSTEM,
    "developer": Role.ROLE_DEVELOPER,
    "user": Role.ROLE_USER,
    "assistant": Role.ROLE_ASSISTANT,
    "tool": Role.ROLE_TOOL,
}
EFFORTS: Mapping[str, ReasoningEffort] = {
    name.removeprefix("REASONING_EFFORT_").lower(): cast("ReasoningEffort", value)
    for name, value in ReasoningEffort.items()
    if value != ReasoningEffort.REASONING_EFFORT_UNSPECIFIED
}
_KNOWN = frozenset(
    {
        "model",
        "messages",
        "max_completion_tokens",
        "max_tokens",
        "temperature",
        "top_p",
        "n",
        "stop",
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "stream",
        "stream_options",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "reasoning_effort",
        "verbosity",
        "modalities",
        "audio",
        "prediction",
        "service_tier",
        "user",
        "safety_identifier",
        "provider_options",
        "strict",
    }
)
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w=.-]+)*;base64,(.*)", re.DOTALL)
_AUDIO_TYPES = {"wav": "audio/wav", "mp3": "audio/mpeg"}


Places = Sequence[Sequence[int]]
"""For each message of a `ChatRequest`, which messages of the body it was read from: several for results of tools."""


@dataclass(frozen=True, slots=True)
class ChatBody:
    """A request as read: what goes to the pipeline, and what only the dialect knows."""

    request: ChatRequest
    stream: bool
    include_usage: bool
    answers: int
    """How many answers are wanted, 1 to 8."""
    unknown: tuple[str, ...]
    """Fields that no proto names. They pass through to providers of this dialect."""
    places: Places


def parse_body(data: bytes) -> Json:
    """The JSON object in a body; INVALID_FIELD for anything else."""
    if not data:
        raise invalid_field("body", "is empty; send a JSON object.")
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise invalid_field("body", f"is not valid JSON: {error}.") from error
    if not isinstance(body, dict):
        raise invalid_field("body", "must be a JSON object.")
    return cast("Json", body)


def parse_chat(data: bytes) -> ChatBody:
    """Reads a request. Raises INVALID_FIELD that names the field as the caller wrote it."""
    return read_chat(parse_body(data))


def read_chat(body: Json) -> ChatBody:
    """Reads a request that is JSON already."""
    request = ChatRequest(
        model=fields.required_text(body, "model"),
        end_user=fields.text(body, "safety_identifier") or fields.text(body, "user"),
        strict=fields.boolean(body, "strict") or False,
    )
    messages = fields.array(body, "messages")
    if not messages:
        raise invalid_field("messages", "send at least one message.")
    places: list[list[int]] = []
    for index, (where, message) in enumerate(fields.objects(messages, "messages")):
        _add_message(request, where, message)
        if len(places) < len(request.messages):
            places.append([])
        places[-1].append(index)
    for where, tool in fields.objects(fields.array(body, "tools") or [], "tools"):
        _read_tool(request.tools.add(), where, tool)
    _read_tool_choice(request, body)
    generation = Generation()
    _read_generation(generation, body)
    if generation.ByteSize():
        request.generation.CopyFrom(generation)
    for name, options in (fields.mapping(body, "provider_options") or {}).items():
        request.provider_options[name] = fields.json_text(options, f"provider_options.{name}")
    unknown = {name: value for name, value in body.items() if name not in _KNOWN and value is not None}
    if unknown:
        merged = unknown
        if "openai" in request.provider_options:
            merged = {**unknown, **(fields.mapping(body["provider_options"], "openai", "provider_options.") or {})}
        request.provider_options["openai"] = fields.json_text(merged, "body")
    _read_labels(request, body)
    options = fields.mapping(body, "stream_options") or {}
    return ChatBody(
        request=request,
        stream=fields.boolean(body, "stream") or False,
        include_usage=fields.boolean(options, "include_usage", "stream_options.") or False,
        answers=fields.integer(body, "n", low=1, high=MAX_ANSWERS) or 1,
        unknown=tuple(unknown),
        places=places,
    )


def _read_labels(request: ChatRequest, body: Json) -> None:
    """Takes OpenAI's `metadata` for labels; it also passes through to the provider."""
    for key, value in (fields.mapping(body, "metadata") or {}).items():
        if not isinstance(value, str):
            raise fields.wrong_type(f"metadata.{key}", "a string", value)
        request.labels[key] = value


def _add_message(request: ChatRequest, where: str, body: Json) -> None:
    role_name = fields.required_text(body, "role", f"{where}.")
    role = ROLES.get(role_name)
    if role is None:
        raise invalid_field(f"{where}.role", f"must be one of {', '.join(ROLES)}; got {role_name!r}.")
    content = body.get("content")
    if role == Role.ROLE_TOOL:
        _add_tool_result(request, where, body)
        return
    message = request.messages.add(role=role, name=fields.text(body, "name", f"{where}."))
    reasoning = fields.text(body, "reasoning_content", f"{where}.")
    if role == Role.ROLE_ASSISTANT and reasoning and not body.get(state.FIELD):
        message.parts.add(reasoning=reasoning)
    if isinstance(content, str):
        if content or role != Role.ROLE_ASSISTANT:
            message.parts.add(text=content)
    elif content is not None or role != Role.ROLE_ASSISTANT:
        _add_parts(message, f"{where}.content", content)
    if role == Role.ROLE_ASSISTANT:
        _add_assistant_parts(message, where, body)


def _add_assistant_parts(message: Message, where: str, body: Json) -> None:
    refusal = fields.text(body, "refusal", f"{where}.")
    if refusal:
        message.parts.add(refusal=refusal)
    audio = fields.mapping(body, "audio", f"{where}.")
    if audio:
        message.parts.add(audio=Media(file_id=fields.required_text(audio, "id", f"{where}.audio.")))
    for place, call in fields.objects(fields.array(body, "tool_calls", f"{where}.") or [], f"{where}.tool_calls"):
        _read_tool_call(message.parts.add().tool_call, place, call)
    state.restore(message, where, body)


def _add_tool_result(request: ChatRequest, where: str, body: Json) -> None:
    """Adds a result to the tool turn under way: OpenAI sends a message a result, the gateway keeps a turn of them."""
    last = request.messages[-1] if request.messages else None
    message = last if last is not None and last.role == Role.ROLE_TOOL else request.messages.add(role=Role.ROLE_TOOL)
    result = message.parts.add().tool_result
    result.call_id = fields.required_text(body, "tool_call_id", f"{where}.")
    content = body.get("content")
    if isinstance(content, str):
        result.parts.add(text=content)
    else:
        result.parts.extend(read_parts(f"{where}.content", content))


def _read_tool_call(call: ToolCall, where: str, body: Json) -> None:
    call.id = fields.required_text(body, "id", f"{where}.")
    kind = fields.text(body, "type", f"{where}.", "function")
    if kind == "function":
        function = fields.mapping(body, "function", f"{where}.") or {}
        call.name = fields.required_text(function, "name", f"{where}.function.")
        call.arguments = fields.text(function, "arguments", f"{where}.function.")
    elif kind == "custom":
        custom = fields.mapping(body, "custom", f"{where}.") or {}
        call.name = fields.required_text(custom, "name", f"{where}.custom.")
        call.arguments = fields.text(custom, "input", f"{where}.custom.")
        call.custom = True
    else:
        raise invalid_field(f"{where}.type", f"must be function or custom; got {kind!r}.")


def read_parts(where: str, content: object) -> Sequence[Part]:
    """The parts of an array of them."""
    turn = Message()
    _add_parts(turn, where, content)
    return turn.parts


def _add_parts(message: Message, where: str, content: object) -> None:
    if not isinstance(content, list):
        raise fields.wrong_type(where, "a string or an array of parts", content)
    if not content:
        raise invalid_field(where, "send at least one part.")
    for place, body in fields.objects(content, where):  # pyright: ignore[reportUnknownArgumentType] - read item by item
        kind = fields.required_text(body, "type", f"{place}.")
        read = _PARTS.get(kind)
        if read is None:
            raise invalid_field(f"{place}.type", f"must be one of {', '.join(_PARTS)}; got {kind!r}.")
        part = message.parts.add()
        read(part, place, body)
        if "prompt_cache_breakpoint" in body:
            part.cache_mark.SetInParent()


def _read_text(part: Part, where: str, body: Json) -> None:
    value = body.get("text")
    if not isinstance(value, str):
        raise fields.wrong_type(f"{where}.text", "a string", value)
    part.text = value


def _read_refusal(part: Part, where: str, body: Json) -> None:
    part.refusal = fields.required_text(body, "refusal", f"{where}.")


def _read_image(part: Part, where: str, body: Json) -> None:
    image = fields.mapping(body, "image_url", f"{where}.") or {}
    url = fields.required_text(image, "url", f"{where}.image_url.")
    _set_source(part.image, f"{where}.image_url.url", url)
    part.image.detail = fields.text(image, "detail", f"{where}.image_url.")


def _read_audio(part: Part, where: str, body: Json) -> None:
    audio = fields.mapping(body, "input_audio", f"{where}.") or {}
    name = fields.required_text(audio, "format", f"{where}.input_audio.")
    if name not in _AUDIO_TYPES:
        raise invalid_field(f"{where}.input_audio.format", f"must be wav or mp3; got {name!r}.")
    data = fields.required_text(audio, "data", f"{where}.input_audio.")
    part.audio.data = _decode(f"{where}.input_audio.data", data)
    part.audio.mime_type = _AUDIO_TYPES[name]


def _read_file(part: Part, where: str, body: Json) -> None:
    file = fields.mapping(body, "file", f"{where}.") or {}
    part.file.filename = fields.text(file, "filename", f"{where}.file.")
    data = fields.text(file, "file_data", f"{where}.file.")
    if data:
        _set_source(part.file, f"{where}.file.file_data", data)
    else:
        part.file.file_id = fields.required_text(file, "file_id", f"{where}.file.")


_PARTS: Mapping[str, Callable[[Part, str, Json], None]] = {
    "text": _read_text,
    "image_url": _read_image,
    "input_audio": _read_audio,
    "file": _read_file,
    "refusal": _read_refusal,
}


def _set_source(media: Media, where: str, url: str) -> None:
    if not url.startswith("data:"):
        media.url = url
        return
    match = _DATA_URL.fullmatch(url)
    if match is None:
        raise invalid_field(where, "a data URL has the form data:TYPE;base64,DATA.")
    media.mime_type = match[1]
    media.data = _decode(where, match[2])


def _decode(where: str, data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid_field(where, "is not valid base64.") from error


def _read_tool(tool: Tool, where: str, body: Json) -> None:
    kind = fields.text(body, "type", f"{where}.", "function")
    if kind == "function":
        function = fields.mapping(body, "function", f"{where}.") or {}
        tool.function.name = fields.required_text(function, "name", f"{where}.function.")
        tool.function.description = fields.text(function, "description", f"{where}.function.")
        parameters = fields.mapping(function, "parameters", f"{where}.function.")
        if parameters is not None:
            tool.function.parameters_schema = fields.json_text(parameters, f"{where}.function.parameters")
        strict = fields.boolean(function, "strict", f"{where}.function.")
        if strict is not None:
            tool.function.strict = strict
    elif kind == "custom":
        custom = fields.mapping(body, "custom", f"{where}.") or {}
        tool.custom.name = fields.required_text(custom, "name", f"{where}.custom.")
        tool.custom.description = fields.text(custom, "description", f"{where}.custom.")
        wanted = fields.mapping(custom, "format", f"{where}.custom.") or {}
        if fields.text(wanted, "type", f"{where}.custom.format.") == "grammar":
            grammar = fields.mapping(wanted, "grammar", f"{where}.custom.format.") or {}
            tool.custom.grammar = fields.required_text(grammar, "definition", f"{where}.custom.format.grammar.")
            tool.custom.grammar_syntax = fields.required_text(grammar, "syntax", f"{where}.custom.format.grammar.")
    else:
        raise invalid_field(f"{where}.type", f"must be function or custom; got {kind!r}.")


_CHOICES = {"auto": ToolChoice.MODE_AUTO, "none": ToolChoice.MODE_NONE, "required": ToolChoice.MODE_REQUIRED}


def _read_tool_choice(request: ChatRequest, body: Json) -> None:
    parallel = fields.boolean(body, "parallel_tool_calls")
    if parallel is not None:
        request.tool_choice.parallel = parallel
    value: object = body.get("tool_choice")
    if value is None:
        return
    if isinstance(value, str):
        if value not in _CHOICES:
            raise invalid_field("tool_choice", f"must be one of {', '.join(_CHOICES)}, or an object; got {value!r}.")
        request.tool_choice.mode = _CHOICES[value]
        return
    choice = fields.mapping(body, "tool_choice") or {}
    kind = fields.required_text(choice, "type", "tool_choice.")
    if kind in ("function", "custom"):
        named = fields.mapping(choice, kind, "tool_choice.") or {}
        request.tool_choice.mode = ToolChoice.MODE_REQUIRED
        request.tool_choice.names.append(fields.required_text(named, "name", f"tool_choice.{kind}."))
    elif kind == "allowed_tools":
        _read_allowed_tools(request.tool_choice, fields.mapping(choice, "allowed_tools", "tool_choice.") or {})
    else:
        raise invalid_field("tool_choice.type", f"must be function, custom or allowed_tools; got {kind!r}.")


def _read_allowed_tools(choice: ToolChoice, allowed: Json) -> None:
    where = "tool_choice.allowed_tools."
    mode = fields.required_text(allowed, "mode", where)
    if mode not in ("auto", "required"):
        raise invalid_field(f"{where}mode", f"must be auto or required; got {mode!r}.")
    choice.mode = _CHOICES[mode]
    for place, tool in fields.objects(fields.array(allowed, "tools", where) or [], f"{where}tools"):
        named = fields.mapping(tool, "function", f"{place}.") or fields.mapping(tool, "custom", f"{place}.") or tool
        choice.names.append(fields.required_text(named, "name", f"{place}."))


def _read_generation(generation: Generation, body: Json) -> None:
    for name in ("temperature", "top_p", "presence_penalty", "frequency_penalty"):
        value = fields.number(body, name)
        if value is not None:
            setattr(generation, name, value)
    for name in ("max_tokens", "max_completion_tokens"):  # The newer name wins where both are there.
        most = fields.integer(body, name, low=1, high=2**31 - 1)
        if most is not None:
            generation.max_output_tokens = most
    seed = fields.integer(body, "seed")
    if seed is not None:
        generation.seed = seed
    _read_stop(generation, body)
    generation.logprobs = fields.boolean(body, "logprobs") or False
    top = fields.integer(body, "top_logprobs", low=0, high=20)
    if top is not None:
        generation.top_logprobs = top
    for token, bias in (fields.mapping(body, "logit_bias") or {}).items():
        generation.logit_bias[token] = fields.number({token: bias}, token, "logit_bias.") or 0.0
    effort = fields.text(body, "reasoning_effort")
    if effort:
        if effort not in EFFORTS:
            raise invalid_field("reasoning_effort", f"must be one of {', '.join(EFFORTS)}; got {effort!r}.")
        generation.reasoning_effort = EFFORTS[effort]
    generation.verbosity = fields.text(body, "verbosity")
    generation.service_tier = fields.text(body, "service_tier")
    _read_format(generation, body)
    _read_modalities(generation, body)
    prediction = fields.mapping(body, "prediction")
    if prediction:
        generation.prediction = _joined_text(prediction.get("content"), "prediction.content")


def _read_stop(generation: Generation, body: Json) -> None:
    stop: Any = body.get("stop")  # `Any`: a string or an array, told apart below.
    if stop is None:
        return
    texts: list[Any] = [stop] if isinstance(stop, str) else fields.array(body, "stop") or []
    for index, value in enumerate(texts):
        if not isinstance(value, str):
            raise fields.wrong_type(f"stop[{index}]", "a string", value)
        generation.stop.append(value)


def _read_format(generation: Generation, body: Json) -> None:
    wanted = fields.mapping(body, "response_format")
    if wanted is None:
        return
    kind = fields.required_text(wanted, "type", "response_format.")
    target = generation.response_format
    if kind == "text":
        target.type = ResponseFormat.TYPE_TEXT
    elif kind == "json_object":
        target.type = ResponseFormat.TYPE_JSON_OBJECT
    elif kind == "json_schema":
        where = "response_format.json_schema."
        schema = fields.mapping(wanted, "json_schema", "response_format.") or {}
        target.type = ResponseFormat.TYPE_JSON_SCHEMA
        target.name = fields.required_text(schema, "name", where)
        target.description = fields.text(schema, "description", where)
        shape = fields.mapping(schema, "schema", where)
        if shape is None:
            raise invalid_field(f"{where}schema", "is required.")
        target.schema = fields.json_text(shape, f"{where}schema")
        strict = fields.boolean(schema, "strict", where)
        if strict is not None:
            target.strict = strict
    else:
        raise invalid_field("response_format.type", f"must be text, json_object or json_schema; got {kind!r}.")


def _read_modalities(generation: Generation, body: Json) -> None:
    for index, value in enumerate(fields.array(body, "modalities") or []):
        if not isinstance(value, str):
            raise fields.wrong_type(f"modalities[{index}]", "a string", value)
        generation.output_modalities.append(value)
    audio = fields.mapping(body, "audio") or {}
    voice = audio.get("voice")
    if isinstance(voice, dict):
        generation.audio_voice = fields.required_text(voice, "id", "audio.voice.")  # pyright: ignore[reportUnknownArgumentType]
    else:
        generation.audio_voice = fields.text(audio, "voice", "audio.")
    generation.audio_format = fields.text(audio, "format", "audio.")


def _joined_text(content: object, where: str) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.text for part in read_parts(where, content))
