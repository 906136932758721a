"""Writes requests in Cohere's dialect."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from llmgateway.v1.chat_service_pb2 import ChatRequest
from llmgateway.v1.content_pb2 import Generation, ReasoningEffort, ResponseFormat, Tool, ToolChoice
from llmgateway_server.errors import unsupported
from llmgateway_server.ports.provider import ProviderCall
from llmgateway_server.providers.caller_options import caller_options, merge_options
from llmgateway_server.providers.cohere_messages import WIRE_FORMAT, Json, write_messages
from llmgateway_server.providers.omissions import Omissions

_NO_PARAMETERS: Json = {"type": "object", "properties": {}}
_KNOBS: Mapping[str, str] = {
    "temperature": "temperature",
    "top_p": "p",
    "top_k": "k",
    "max_output_tokens": "max_tokens",
    "seed": "seed",
}
"""Generation fields that go out as they are, each with its name on the wire."""

_PENALTIES = ("presence_penalty", "frequency_penalty")
_LACKED = ("top_logprobs", "logit_bias", "verbosity", "prediction", "service_tier")
"""Generation fields that the dialect does not have."""

_CHOICES: Mapping[ToolChoice.Mode, str] = {ToolChoice.MODE_NONE: "NONE", ToolChoice.MODE_REQUIRED: "REQUIRED"}
_MAX_STOPS = 5
_RESERVED = frozenset({"stream"})
"""Fields that decide how the answer is read, which no option may change."""

_FORMAT, _EFFORT = "generation.response_format", "generation.reasoning_effort"


def chat_body(call: ProviderCall, omissions: Omissions) -> Json:
    """The body of the request. JSON within the request (schemas) is embedded as it is, since the request is valid.

    Raises UNSUPPORTED_FEATURE for content that the dialect cannot express.
    """
    request = call.request
    body: Json = {
        "model": call.endpoint.upstream_model,
        "messages": write_messages(request.messages, omissions),
    }
    if request.tools:
        _put_tools(body, request, omissions)
    if request.HasField("generation"):
        _put_generation(body, request, omissions)
    if request.end_user:
        omissions.ignore("end_user", "the provider takes no end user.")
    if call.stream:
        body["stream"] = True
    options = caller_options(request, WIRE_FORMAT)
    merge_options(body, options, omissions, field=f"provider_options.{WIRE_FORMAT}", reserved=_RESERVED)
    return body


def _put_tools(body: Json, request: ChatRequest, omissions: Omissions) -> None:
    choice = request.tool_choice
    written = [(tool.function.name, _tool(tool, f"tools[{i}]", omissions)) for i, tool in enumerate(request.tools)]
    # No tool can be named by the choice, so only the named ones are sent.
    chosen = frozenset(choice.names) if choice.mode != ToolChoice.MODE_NONE else frozenset[str]()
    body["tools"] = [tool for name, tool in written if not chosen or name in chosen]
    if choice.mode in _CHOICES:
        body["tool_choice"] = _CHOICES[choice.mode]
    strict = [tool.function.strict for tool in request.tools]
    if any(strict):
        body["strict_tools"] = True
        if not all(strict):
            field = f"tools[{strict.index(False)}].function.strict"
            omissions.lose(field, "the provider holds the model to all schemas or to none; it is all.")
    if choice.HasField("parallel") and not choice.parallel:
        omissions.ignore("tool_choice.parallel", "the provider decides by itself.")


def _tool(tool: Tool, field: str, omissions: Omissions) -> Json:
    if tool.WhichOneof("kind") == "custom":
        raise unsupported(f"{field}.custom", "the provider takes only functions.")
    if tool.HasField("cache_mark"):
        omissions.ignore_once("cache_mark", f"{field}.cache_mark", "the provider caches by its own choice.")
    function = tool.function
    schema = function.parameters_schema
    out: Json = {"name": function.name, "parameters": orjson.Fragment(schema) if schema else _NO_PARAMETERS}
    if function.description:
        out["description"] = function.description
    return {"type": "function", "function": out}


def _put_generation(body: Json, request: ChatRequest, omissions: Omissions) -> None:
    generation = request.generation
    for modality in generation.output_modalities:
        if modality != "text":
            raise unsupported("generation.output_modalities", f"the provider does not answer with {modality!r}.")
    for name, wire_name in _KNOBS.items():
        if generation.HasField(name):
            body[wire_name] = getattr(generation, name)
    for name in _PENALTIES:
        if generation.HasField(name):
            _put_penalty(body, name, getattr(generation, name), omissions)
    if generation.stop:
        if len(generation.stop) > _MAX_STOPS:
            raise unsupported(
                "generation.stop", f"the provider takes {_MAX_STOPS} at most; got {len(generation.stop)}."
            )
        body["stop_sequences"] = list(generation.stop)
    if generation.logprobs:
        body["logprobs"] = True
    _put_format(body, request, omissions)
    _put_thinking(body, generation, omissions)
    for name in _LACKED:
        if getattr(generation, name):
            omissions.ignore(f"generation.{name}", "the provider does not have it.")


def _put_penalty(body: Json, name: str, value: float, omissions: Omissions) -> None:
    body[name] = min(max(value, 0.0), 1.0)
    if body[name] != value:
        omissions.lose(f"generation.{name}", f"the provider takes 0 to 1; it is {body[name]:g}.")


def _put_format(body: Json, request: ChatRequest, omissions: Omissions) -> None:
    wanted = request.generation.response_format
    if wanted.type not in (ResponseFormat.TYPE_JSON_OBJECT, ResponseFormat.TYPE_JSON_SCHEMA):
        return
    if request.tools:
        raise unsupported(_FORMAT, "the provider takes no format beside tools; leave one of them out.")
    written: Json = {"type": "json_object"}
    if wanted.type == ResponseFormat.TYPE_JSON_SCHEMA:
        written["json_schema"] = orjson.Fragment(wanted.schema)
        if wanted.description:
            omissions.ignore(f"{_FORMAT}.description", "the provider does not show it to the model.")
    body["response_format"] = written


def _put_thinking(body: Json, generation: Generation, omissions: Omissions) -> None:
    effort = generation.reasoning_effort
    if generation.HasField("max_reasoning_tokens"):
        budget = generation.max_reasoning_tokens
        body["thinking"] = {"type": "enabled", "token_budget": budget} if budget else {"type": "disabled"}
        if effort:
            omissions.ignore(_EFFORT, "the provider takes a number of tokens; max_reasoning_tokens stands.")
    elif effort == ReasoningEffort.REASONING_EFFORT_NONE:
        body["thinking"] = {"type": "disabled"}
    elif effort:
        body["thinking"] = {"type": "enabled"}
        omissions.lose(_EFFORT, "the provider has no efforts; the model thinks as much as it does by itself.")
