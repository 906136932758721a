"""Writes requests in Ollama's dialect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import orjson

from llmgateway.v1.chat_service_pb2 import ChatRequest
from llmgateway.v1.content_pb2 import Generation, ReasoningEffort, ResponseFormat, Tool, ToolChoice
from llmgateway_server.errors import unsupported
from llmgateway_server.ports.provider import ProviderCall
from llmgateway_server.providers.caller_options import caller_options, merge_options
from llmgateway_server.providers.ollama_messages import WIRE_FORMAT, Json, write_messages
from llmgateway_server.providers.omissions import Omissions

_NO_PARAMETERS: Json = {"type": "object", "properties": {}}
_OPTIONS: Mapping[str, str] = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "max_output_tokens": "num_predict",
    "seed": "seed",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
}
"""Generation fields that are sampling options, each with its name on the wire."""

_LACKED = ("logit_bias", "verbosity", "prediction", "service_tier")
"""Generation fields that the dialect does not have."""

_EFFORTS: Mapping[ReasoningEffort, bool | str] = {
    ReasoningEffort.REASONING_EFFORT_NONE: False,
    ReasoningEffort.REASONING_EFFORT_MINIMAL: "low",
    ReasoningEffort.REASONING_EFFORT_LOW: "low",
    ReasoningEffort.REASONING_EFFORT_MEDIUM: "medium",
    ReasoningEffort.REASONING_EFFORT_HIGH: "high",
    ReasoningEffort.REASONING_EFFORT_XHIGH: "high",
    ReasoningEffort.REASONING_EFFORT_MAX: "max",
}
_NEAREST = frozenset({ReasoningEffort.REASONING_EFFORT_MINIMAL, ReasoningEffort.REASONING_EFFORT_XHIGH})
"""Efforts that the dialect has no word of their own for."""

_DEFAULTS: Json = {"truncate": False, "shift": False}
"""What keeps the server from dropping the oldest messages without a word, which it does unless it is told not to."""

_DROPPED = frozenset({"$ref", "allOf", "oneOf", "not", "const"})
"""Keywords of a schema that the server drops, and that change what the schema means."""


def chat_body(call: ProviderCall, omissions: Omissions) -> Json:
    """The body of the request. Raises UNSUPPORTED_FEATURE for content that the dialect cannot express."""
    request = call.request
    body: Json = {
        "model": call.endpoint.upstream_model,
        "messages": write_messages(request.messages, omissions),
        # The server streams unless it is told not to.
        "stream": call.stream,
    }
    if request.tools:
        _put_tools(body, request, omissions)
    if request.HasField("generation"):
        _put_generation(body, request.generation, omissions)
    if request.end_user:
        omissions.ignore("end_user", "the provider takes no end user.")
    _put_caller_options(body, request, omissions)
    for name, value in _DEFAULTS.items():
        body.setdefault(name, value)
    return body


def _put_tools(body: Json, request: ChatRequest, omissions: Omissions) -> None:
    choice = request.tool_choice
    written = [(tool.function.name, _tool(tool, f"tools[{i}]", omissions)) for i, tool in enumerate(request.tools)]
    if choice.mode == ToolChoice.MODE_NONE:
        # There is no word for it, yet a model that is shown no tool calls none.
        return
    body["tools"] = [tool for name, tool in written if not choice.names or name in choice.names]
    if choice.mode == ToolChoice.MODE_REQUIRED:
        omissions.ignore("tool_choice.mode", "the provider cannot make the model call a tool.")
    if choice.HasField("parallel") and not choice.parallel:
        omissions.ignore("tool_choice.parallel", "the provider decides by itself.")


def _tool(tool: Tool, field: str, omissions: Omissions) -> Json:
    if tool.WhichOneof("kind") == "custom":
        raise unsupported(f"{field}.custom", "the provider takes only functions.")
    if tool.HasField("cache_mark"):
        omissions.ignore_once("cache_mark", f"{field}.cache_mark", "the provider caches by its own choice.")
    function = tool.function
    if function.strict:
        omissions.ignore_once("strict", f"{field}.function.strict", "the provider does not hold the model to it.")
    parameters: object = _NO_PARAMETERS
    if text := function.parameters_schema:
        if dropped := sorted(_dropped(orjson.loads(text))):
            schema_field = f"{field}.function.parameters_schema"
            omissions.lose(schema_field, f"the provider does not show the model {', '.join(map(repr, dropped))}.")
        parameters = orjson.Fragment(text)
    out: Json = {"name": function.name, "parameters": parameters}
    if function.description:
        out["description"] = function.description
    return {"type": "function", "function": out}


def _dropped(schema: object) -> set[str]:
    """The keywords of a schema, and of those within it, that the server drops."""
    if isinstance(schema, list):
        return {name for inner in cast("list[object]", schema) for name in _dropped(inner)}
    if not isinstance(schema, dict):
        return set()
    found: set[str] = set()
    for name, value in cast("dict[str, Any]", schema).items():
        if name in _DROPPED:
            found.add(name)
        if name in ("properties", "$defs", "definitions") and isinstance(value, dict):
            # Names in here are the caller's own.
            found |= _dropped(list(cast("dict[str, Any]", value).values()))
        elif name in ("items", "anyOf", "additionalProperties"):
            found |= _dropped(value)
    return found


def _put_generation(body: Json, generation: Generation, omissions: Omissions) -> None:
    for modality in generation.output_modalities:
        if modality != "text":
            raise unsupported("generation.output_modalities", f"the provider does not answer with {modality!r}.")
    options: Json = {
        wire_name: getattr(generation, name) for name, wire_name in _OPTIONS.items() if generation.HasField(name)
    }
    if generation.stop:
        options["stop"] = list(generation.stop)
    if options:
        body["options"] = options
    if generation.logprobs:
        body["logprobs"] = True
        if generation.top_logprobs:
            body["top_logprobs"] = generation.top_logprobs
    _put_format(body, generation.response_format, omissions)
    _put_thinking(body, generation, omissions)
    for name in _LACKED:
        if getattr(generation, name):
            omissions.ignore(f"generation.{name}", "the provider does not have it.")


def _put_format(body: Json, wanted: ResponseFormat, omissions: Omissions) -> None:
    if wanted.type == ResponseFormat.TYPE_JSON_OBJECT:
        body["format"] = "json"
    elif wanted.type == ResponseFormat.TYPE_JSON_SCHEMA:
        body["format"] = orjson.Fragment(wanted.schema)
        if wanted.description:
            field = "generation.response_format.description"
            omissions.ignore(field, "the model is not shown the schema; say it in a message.")


def _put_thinking(body: Json, generation: Generation, omissions: Omissions) -> None:
    field = "generation.max_reasoning_tokens"
    if generation.HasField("max_reasoning_tokens"):
        if generation.max_reasoning_tokens:
            omissions.ignore(field, "the provider takes no number; use reasoning_effort.")
        else:
            body["think"] = False
    if (effort := generation.reasoning_effort) and "think" not in body:
        body["think"] = _EFFORTS[effort]
        if effort in _NEAREST:
            omissions.lose("generation.reasoning_effort", f"the provider has no such effort; it is {body['think']!r}.")


def _put_caller_options(body: Json, request: ChatRequest, omissions: Omissions) -> None:
    """Merges the caller's own fields, and its own sampling options among those that the request says itself."""
    fields = caller_options(request, WIRE_FORMAT)
    field = f"provider_options.{WIRE_FORMAT}"
    options = fields.get("options")
    if isinstance(options, dict) and "options" in body:
        del fields["options"]
        merge_options(body["options"], cast("Json", options), omissions, field=f"{field}.options")
    merge_options(body, fields, omissions, field=field)
