"""Writes requests in OpenAI's chat-completions dialect."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import orjson

from llmgateway.v1.chat_service_pb2 import ChatRequest
from llmgateway.v1.content_pb2 import Generation, Media, Message, Part, ResponseFormat, Role, Tool, ToolCall, ToolChoice
from llmgateway_server.errors import invalid_field, unsupported
from llmgateway_server.ports.provider import ProviderCall
from llmgateway_server.providers.call_ids import short_call_id
from llmgateway_server.providers.omissions import Omissions
from llmgateway_server.providers.vendors import Knob, Profile, Vendor

WIRE_FORMAT = "openai"
"""The name of the wire format, in `provider_options` and in provider states."""

Json = dict[str, Any]
"""A JSON object on its way out. Any: its values are whatever JSON has."""

_ROLES: Mapping[Role, str] = {
    Role.ROLE_SYSTEM: "system",
    Role.ROLE_DEVELOPER: "developer",
    Role.ROLE_USER: "user",
    Role.ROLE_ASSISTANT: "assistant",
}
_ROLES_WITHOUT_DEVELOPER: Mapping[Role, str] = {**_ROLES, Role.ROLE_DEVELOPER: "system"}
_NO_PARAMETERS: Json = {"type": "object", "properties": {}}
_SCALARS = tuple(
    knob for knob in Knob if knob not in (Knob.LOGPROBS, Knob.REASONING_EFFORT, Knob.LOGIT_BIAS, Knob.PREDICTION)
)
"""Knobs whose value goes out as it is."""

_PRESENCE = frozenset(field.name for field in Generation.DESCRIPTOR.fields if field.has_presence)
_AUDIO_FORMATS = {
    "audio/wav": "wav",
    "audio/wave": "wav",
    "audio/x-wav": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
}
_RESERVED = frozenset({"stream", "stream_options", "stream_format", "n"})
"""Fields that decide how the answer is read, which no option may change."""


def chat_body(call: ProviderCall, vendor: Vendor, omissions: Omissions) -> Json:
    """The body of the request. JSON within the request (schemas) is embedded as it is, since the request is valid.

    Raises UNSUPPORTED_FEATURE for content that the dialect cannot express.
    """
    request, profile = call.request, vendor.profile
    body: Json = {
        "model": call.endpoint.upstream_model,
        "messages": _Messages(vendor, omissions).write(request.messages),
    }
    if request.tools:
        _put_tools(body, request, profile, omissions)
    if request.HasField("generation"):
        _put_generation(body, request.generation, profile, omissions)
        if request.generation.output_modalities:
            _put_modalities(body, request.generation, profile, stream=call.stream)
    if request.end_user:
        if profile.end_user:
            body[profile.end_user] = request.end_user
        else:
            omissions.ignore("end_user", "the provider takes no end user.")
    if call.stream:
        body["stream"] = True
        if profile.stream_usage:
            body["stream_options"] = {"include_usage": True}
    if WIRE_FORMAT in request.provider_options:
        put_options(body, request.provider_options[WIRE_FORMAT], omissions)
    return body


class _Messages:
    """Writes the conversation of one request."""

    def __init__(self, vendor: Vendor, omissions: Omissions) -> None:
        self._vendor = vendor
        self._profile = vendor.profile
        self._omissions = omissions
        self._roles = _ROLES if vendor.profile.developer_role else _ROLES_WITHOUT_DEVELOPER
        self._told_of_reasoning = False
        self._told_of_cache_marks = False

    def write(self, messages: Sequence[Message]) -> list[Json]:
        """The messages as the dialect has them. A tool message becomes one for each of its results."""
        written: list[Json] = []
        for index, message in enumerate(messages):
            out = self._plain(message)
            if out is not None:
                written.append(out)
            elif message.role == Role.ROLE_TOOL:
                written.extend(self._tool_results(message, f"messages[{index}]"))
            else:
                written.append(self._composed(message, f"messages[{index}]"))
        return written

    def _plain(self, message: Message) -> Json | None:
        """A message of nothing but one text, as nearly all are; None for others."""
        parts = message.parts
        if len(parts) != 1:
            return None
        part = parts[0]
        if part.WhichOneof("content") != "text" or part.HasField("provider_state") or part.HasField("cache_mark"):
            return None
        out: Json = {"role": self._roles[message.role], "content": part.text}
        if name := message.name:
            out["name"] = name
        return out

    def _composed(self, message: Message, where: str) -> Json:
        if message.role == Role.ROLE_ASSISTANT:
            out = self._assistant(message, where)
        else:
            out = {"role": self._roles[message.role], "content": self._content(message.parts, where)}
        if message.name:
            out["name"] = message.name
        return out

    def _content(self, parts: Sequence[Part], where: str) -> str | list[Json]:
        """A lone text goes out as a string, which every server takes; anything else as a list of parts."""
        if len(parts) == 1 and parts[0].WhichOneof("content") == "text":
            self._check_cache_mark(parts[0], where, 0)
            return parts[0].text
        # A part may hold nothing but the state of another provider, which says nothing here.
        return [self._part(part, where, index) for index, part in enumerate(parts) if part.WhichOneof("content")]

    def _part(self, part: Part, where: str, index: int) -> Json:
        self._check_cache_mark(part, where, index)
        kind = part.WhichOneof("content")
        if kind == "text":
            return {"type": "text", "text": part.text}
        field = f"{where}.parts[{index}].{kind}"
        if kind == "image":
            return _image(part.image, field)
        if kind == "audio":
            return _audio(part.audio, field)
        if kind == "file":
            return _file(part.file, field)
        raise unsupported(field, "the provider does not take it here.")

    def _assistant(self, message: Message, where: str) -> Json:
        turn = _Turn()
        for index, part in enumerate(message.parts):
            self._check_cache_mark(part, where, index)
            self._put_part(turn, part, f"{where}.parts[{index}]")
        if self._profile.reasoning_with_calls and not turn.calls:
            turn.fields.pop(self._profile.reasoning_field, None)
        return turn.written()

    def _put_part(self, turn: _Turn, part: Part, where: str) -> None:
        kind = part.WhichOneof("content")
        of_message, of_call = self._state(part, f"{where}.provider_state")
        for name, value in of_message.items():
            turn.fields.setdefault(name, value)
        if kind == "text":
            turn.texts.append(part.text)
        elif kind == "tool_call":
            call = _tool_call(part.tool_call)
            call["id"] = self._call_id(part.tool_call.id)
            turn.calls.append({**of_call, **call})
        elif kind == "refusal":
            turn.add("refusal", part.refusal)
        elif kind == "reasoning":
            self._put_reasoning(turn, part.reasoning, f"{where}.reasoning")
        elif kind == "audio":
            self._put_audio(turn, part.audio, f"{where}.audio")
        elif kind is not None:
            raise unsupported(f"{where}.{kind}", "the provider does not take it back from the model.")

    def _tool_results(self, message: Message, where: str) -> Iterable[Json]:
        for index, part in enumerate(message.parts):
            result = part.tool_result
            field = f"{where}.parts[{index}].tool_result"
            if result.is_error:
                self._omissions.lose(f"{field}.is_error", "the provider has no mark for it; say it in the text.")
            for inner, piece in enumerate(result.parts):
                if piece.WhichOneof("content") != "text":
                    kind = piece.WhichOneof("content")
                    raise unsupported(f"{field}.parts[{inner}].{kind}", "the provider takes only text from tools.")
            content = self._content(result.parts, field) if result.parts else ""
            yield {"role": "tool", "tool_call_id": self._call_id(result.call_id), "content": content}

    def _call_id(self, call_id: str) -> str:
        wanted = self._profile.call_id_characters
        return short_call_id(call_id, wanted) if wanted else call_id

    def _put_reasoning(self, turn: _Turn, text: str, field: str) -> None:
        if self._profile.reasoning_field:
            turn.add(self._profile.reasoning_field, text)
        elif not self._told_of_reasoning:
            self._told_of_reasoning = True
            self._omissions.ignore(field, "the provider does not take earlier reasoning back.")

    def _put_audio(self, turn: _Turn, media: Media, field: str) -> None:
        if media.file_id:
            turn.fields["audio"] = {"id": media.file_id}
        elif "audio" in turn.fields:
            # Its state named it already.
            return
        elif media.transcript:
            self._omissions.lose(field, "the provider takes its own sounds back by id; the transcript is sent instead.")
            turn.texts.append(media.transcript)
        else:
            raise unsupported(field, "the provider takes its own sounds back by id or by transcript.")

    def _state(self, part: Part, field: str) -> tuple[Json, Json]:
        """The fields of message and tool call that the same vendor wants back with a part of its own."""
        if not part.HasField("provider_state") or part.provider_state.wire_format != WIRE_FORMAT:
            return {}, {}
        return read_state(part.provider_state.data, self._vendor, field)

    def _check_cache_mark(self, part: Part, where: str, index: int) -> None:
        if not self._told_of_cache_marks and part.HasField("cache_mark"):
            self._told_of_cache_marks = True
            self._omissions.ignore(f"{where}.parts[{index}].cache_mark", "the provider caches by its own choice.")


class _Turn:
    """An assistant message that is being written."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.calls: list[Json] = []
        self.fields: Json = {}

    def add(self, name: str, text: str) -> None:
        """Adds text to a field."""
        self.fields[name] = self.fields.get(name, "") + text

    def written(self) -> Json:
        """The message. Its content is null where it says something in another way."""
        content: object = None
        if len(self.texts) == 1:
            content = self.texts[0]
        elif self.texts:
            content = [{"type": "text", "text": text} for text in self.texts]
        elif not (self.calls or self.fields):
            content = ""
        out: Json = {"role": "assistant", "content": content, **self.fields}
        if self.calls:
            out["tool_calls"] = self.calls
        return out


def write_state(vendor: str, *, message: Json, call: Json) -> bytes:
    """Vendor fields of an answer, of the message and of one tool call, as the state of a part."""
    return orjson.dumps({"vendor": vendor, "message": message, "call": call})


def read_state(data: bytes, vendor: Vendor, field: str) -> tuple[Json, Json]:
    """The fields of message and tool call that are to be sent back: those of the same vendor that it takes back.

    Raises INVALID_FIELD for a state that `write_state` did not write.
    """
    try:
        state: object = orjson.loads(data)
    except orjson.JSONDecodeError:
        state = None
    if not isinstance(state, dict):
        raise invalid_field(field, "must come back as it was given out.")
    state = cast("Json", state)
    message, call = state.get("message"), state.get("call")
    if not isinstance(message, dict) or not isinstance(call, dict):
        raise invalid_field(field, "must come back as it was given out.")
    if state.get("vendor") != vendor.name:
        return {}, {}
    replayed = vendor.profile.replayed
    return (
        {name: value for name, value in cast("Json", message).items() if name in replayed},
        {name: value for name, value in cast("Json", call).items() if name in replayed},
    )


def _tool_call(call: ToolCall) -> Json:
    if call.custom:
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    function = {"name": call.name, "arguments": call.arguments or "{}"}
    return {"id": call.id, "type": "function", "function": function}


def _image(media: Media, field: str) -> Json:
    source = media.WhichOneof("source")
    if source == "file_id":
        raise unsupported(f"{field}.file_id", "the provider takes pictures by url or data.")
    image: Json = {"url": media.url if source == "url" else _data_url(media)}
    if media.detail:
        image["detail"] = media.detail
    return {"type": "image_url", "image_url": image}


def _audio(media: Media, field: str) -> Json:
    if media.WhichOneof("source") != "data":
        raise unsupported(f"{field}.{media.WhichOneof('source')}", "the provider takes sounds as data.")
    audio_format = _AUDIO_FORMATS.get(media.mime_type.partition(";")[0].strip().lower())
    if audio_format is None:
        raise unsupported(f"{field}.mime_type", f"the provider takes WAV and MP3; got {media.mime_type!r}.")
    data = b64encode(media.data).decode("ascii")
    return {"type": "input_audio", "input_audio": {"data": data, "format": audio_format}}


def _file(media: Media, field: str) -> Json:
    source = media.WhichOneof("source")
    if source == "url":
        raise unsupported(f"{field}.url", "the provider takes files by id or as data.")
    if source == "file_id":
        return {"type": "file", "file": {"file_id": media.file_id}}
    # The provider refuses data without a name.
    return {"type": "file", "file": {"filename": media.filename or "file", "file_data": _data_url(media)}}


def _data_url(media: Media) -> str:
    return f"data:{media.mime_type};base64,{b64encode(media.data).decode('ascii')}"


def _put_tools(body: Json, request: ChatRequest, profile: Profile, omissions: Omissions) -> None:
    if not profile.tools:
        raise unsupported("tools", "the provider takes no tools.")
    tools: dict[str, Json] = {}
    for index, tool in enumerate(request.tools):
        if tool.WhichOneof("kind") == "custom":
            if not profile.custom_tools:
                raise unsupported(f"tools[{index}].custom", "the provider takes only functions.")
            tools[tool.custom.name] = _custom_tool(tool)
        else:
            tools[tool.function.name] = _function_tool(tool)
        if tool.HasField("cache_mark"):
            omissions.ignore(f"tools[{index}].cache_mark", "the provider caches by its own choice.")
    choice = request.tool_choice
    names = list(choice.names)
    forced = choice.mode == ToolChoice.MODE_REQUIRED and len(names) == 1
    if names and not forced and not profile.allowed_tools:
        tools = {name: tool for name, tool in tools.items() if name in names}
        names = []
    body["tools"] = list(tools.values())
    if (written := _tool_choice(choice.mode, names, tools)) is not None:
        body["tool_choice"] = written
    if choice.HasField("parallel"):
        if profile.parallel_tool_calls:
            body["parallel_tool_calls"] = choice.parallel
        else:
            omissions.ignore("tool_choice.parallel", "the provider decides by itself.")


def _function_tool(tool: Tool) -> Json:
    function = tool.function
    schema = function.parameters_schema
    out: Json = {"name": function.name, "parameters": orjson.Fragment(schema) if schema else _NO_PARAMETERS}
    if function.description:
        out["description"] = function.description
    if function.HasField("strict"):
        out["strict"] = function.strict
    return {"type": "function", "function": out}


def _custom_tool(tool: Tool) -> Json:
    custom = tool.custom
    out: Json = {"name": custom.name}
    if custom.description:
        out["description"] = custom.description
    if custom.grammar:
        grammar = {"definition": custom.grammar, "syntax": custom.grammar_syntax or "lark"}
        out["format"] = {"type": "grammar", "grammar": grammar}
    return {"type": "custom", "custom": out}


def _tool_choice(mode: ToolChoice.Mode, names: list[str], tools: dict[str, Json]) -> str | Json | None:
    if mode == ToolChoice.MODE_NONE:
        return "none"
    required = mode == ToolChoice.MODE_REQUIRED
    if not names:
        return "required" if required else ("auto" if mode == ToolChoice.MODE_AUTO else None)
    if required and len(names) == 1:
        return _named(tools[names[0]])
    allowed = {"mode": "required" if required else "auto", "tools": [_named(tools[name]) for name in names]}
    return {"type": "allowed_tools", "allowed_tools": allowed}


def _named(tool: Json) -> Json:
    kind = tool["type"]
    return {"type": kind, kind: {"name": tool[kind]["name"]}}


def _put_generation(body: Json, generation: Generation, profile: Profile, omissions: Omissions) -> None:
    knobs = profile.knobs
    for knob, value in _set_knobs(generation, profile):
        name = knobs.get(knob)
        if name is None or value is None:
            omissions.ignore(f"generation.{knob.value}", "the provider does not have it.")
        else:
            body[name] = value
    if generation.stop:
        if len(generation.stop) > profile.max_stops:
            raise unsupported(
                "generation.stop", f"the provider takes {profile.max_stops} at most; got {len(generation.stop)}."
            )
        body["stop"] = list(generation.stop)
    if generation.HasField("response_format"):
        _put_format(body, generation.response_format, profile, omissions)


def _set_knobs(generation: Generation, profile: Profile) -> Iterable[tuple[Knob, object]]:
    """The knobs that are set, with their values on the wire; None for a value that the provider does not have."""
    for knob in _SCALARS:
        name = knob.value
        if name in _PRESENCE:
            if generation.HasField(name):
                yield knob, getattr(generation, name)
        elif value := getattr(generation, name):
            yield knob, value
    if generation.logprobs:
        # Where both go by one name, it is how many.
        counted = profile.knobs.get(Knob.TOP_LOGPROBS) == profile.knobs.get(Knob.LOGPROBS)
        yield Knob.LOGPROBS, max(generation.top_logprobs, 1) if counted else True
    if generation.reasoning_effort:
        yield Knob.REASONING_EFFORT, profile.efforts.get(generation.reasoning_effort)
    if generation.logit_bias:
        yield Knob.LOGIT_BIAS, dict(generation.logit_bias)
    if generation.prediction:
        yield Knob.PREDICTION, {"type": "content", "content": generation.prediction}


def _put_format(body: Json, wanted: ResponseFormat, profile: Profile, omissions: Omissions) -> None:
    by_schema = wanted.type == ResponseFormat.TYPE_JSON_SCHEMA
    if by_schema and not profile.json_schema:
        omissions.lose("generation.response_format.schema", "the provider is asked for JSON of any shape instead.")
    if wanted.type == ResponseFormat.TYPE_JSON_OBJECT or (by_schema and not profile.json_schema):
        body["response_format"] = {"type": "json_object"}
    elif wanted.type == ResponseFormat.TYPE_JSON_SCHEMA:
        schema: Json = {"name": wanted.name, "schema": orjson.Fragment(wanted.schema)}
        if wanted.description:
            schema["description"] = wanted.description
        if wanted.HasField("strict"):
            schema["strict"] = wanted.strict
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif wanted.type == ResponseFormat.TYPE_TEXT:
        body["response_format"] = {"type": "text"}


def audio_format(generation: Generation, *, stream: bool) -> str:
    """The format of spoken output. The provider wants it said; a stream can only be raw samples."""
    return generation.audio_format or ("pcm16" if stream else "wav")


def _put_modalities(body: Json, generation: Generation, profile: Profile, *, stream: bool) -> None:
    modalities = list(generation.output_modalities)
    for modality in modalities:
        if modality not in profile.output_modalities:
            raise unsupported("generation.output_modalities", f"the provider does not answer with {modality!r}.")
    if modalities == ["text"]:
        return
    body["modalities"] = modalities
    if "audio" in modalities:
        body["audio"] = {"format": audio_format(generation, stream=stream)}
        if generation.audio_voice:
            body["audio"]["voice"] = generation.audio_voice


def put_options(body: Json, text: str, omissions: Omissions) -> None:
    """Merges the caller's own fields. What the request says in typed fields stands."""
    field = f"provider_options.{WIRE_FORMAT}"
    try:
        options: object = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise invalid_field(field, "must be a JSON object, as text.") from error
    if not isinstance(options, dict):
        raise invalid_field(field, "must be a JSON object, as text.")
    for name, value in cast("Json", options).items():
        if name in body or name in _RESERVED:
            omissions.ignore(f"{field}.{name}", "the gateway sets this field by itself.")
        else:
            body[name] = value
