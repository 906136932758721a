"""Writes requests as Gemini takes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import cast

import orjson

from llmgateway.v1.chat_service_pb2 import ChatRequest
from llmgateway.v1.content_pb2 import FunctionTool, Generation, ResponseFormat, ToolChoice
from llmgateway_server.errors import invalid_field, unsupported
from llmgateway_server.ports.provider import ProviderCall
from llmgateway_server.providers.gemini_contents import Contents, Json
from llmgateway_server.providers.gemini_models import Family, Thinking, family_of
from llmgateway_server.providers.gemini_state import WIRE_FORMAT
from llmgateway_server.providers.omissions import Omissions

_MAX_STOPS = 5
_SEED_BITS = 31
_SCALARS: Mapping[str, str] = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "max_output_tokens": "maxOutputTokens",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
"""Fields whose value goes out as it is, each with its name on the wire."""

_LACKING = ("logit_bias", "verbosity", "prediction")
_MODALITIES = {"text": "TEXT", "audio": "AUDIO", "image": "IMAGE"}
_TIERS = {"default": "standard", "standard": "standard", "flex": "flex", "priority": "priority"}
_MODES: Mapping[ToolChoice.Mode, str] = {
    ToolChoice.MODE_AUTO: "AUTO",
    ToolChoice.MODE_NONE: "NONE",
    ToolChoice.MODE_REQUIRED: "ANY",
}
_FUNCTION_NAME = re.compile(r"[A-Za-z_]")
_NO_PARAMETERS = frozenset({"$schema", "type", "properties", "required", "additionalProperties"})
_RESERVED = frozenset({"candidateCount", "candidate_count"})
"""Options that decide how the answer is read, which no caller may change."""


def chat_body(call: ProviderCall, omissions: Omissions, *, vertex: bool) -> Json:
    """The body of the request. JSON within the request (schemas) is embedded as it is, since the request is valid.

    Raises UNSUPPORTED_FEATURE for content that the provider cannot take.
    """
    request = call.request
    family = family_of(call.endpoint.upstream_model)
    contents = Contents(family, omissions, vertex=vertex)
    contents.write(request.messages)
    body: Json = {"contents": contents.turns}
    if contents.instructions:
        body["systemInstruction"] = {"parts": contents.instructions}
    if request.tools:
        _put_tools(body, request, family, omissions)
    if request.HasField("generation"):
        _put_generation(body, request, family, omissions)
    if request.end_user:
        omissions.ignore("end_user", "the provider takes no end user.")
    if WIRE_FORMAT in request.provider_options:
        _put_options(body, request.provider_options[WIRE_FORMAT], omissions)
    return body


def only_one_call(request: ChatRequest) -> bool:
    """Whether the caller wants one tool call at most. The provider cannot be told, so the others are cut off."""
    choice = request.tool_choice
    return choice.HasField("parallel") and not choice.parallel


def _put_tools(body: Json, request: ChatRequest, family: Family, omissions: Omissions) -> None:
    choice = request.tool_choice
    required = choice.mode == ToolChoice.MODE_REQUIRED
    declarations: list[Json] = []
    strict = ""
    for index, tool in enumerate(request.tools):
        if tool.WhichOneof("kind") == "custom":
            raise unsupported(f"tools[{index}].custom", "the provider takes only functions.")
        if tool.HasField("cache_mark"):
            omissions.ignore(f"tools[{index}].cache_mark", "the provider caches by its own choice.")
        function = tool.function
        # Allowed names can be told only of calls that are forced; otherwise the other tools are not shown.
        if not choice.names or required or function.name in choice.names:
            declarations.append(_declaration(function, f"tools[{index}].function"))
            strict = strict or (f"tools[{index}].function.strict" if function.strict else "")
    body["tools"] = [{"functionDeclarations": declarations}]
    _put_choice(body, choice, omissions, strict=strict, family=family)


def _put_choice(body: Json, choice: ToolChoice, omissions: Omissions, *, strict: str, family: Family) -> None:
    """Says which tools may be called. `strict` names the first tool whose schema must be kept to."""
    mode = _MODES.get(choice.mode, "")
    if strict and mode in ("", "AUTO"):
        if family.validated_calls:
            mode = "VALIDATED"
        else:
            omissions.ignore(strict, "the model holds calls to their schemas only when forced.")
    if mode:
        calling: Json = {"mode": mode}
        if mode == "ANY" and choice.names:
            calling["allowedFunctionNames"] = list(choice.names)
        body["toolConfig"] = {"functionCallingConfig": calling}
    if choice.HasField("parallel") and not choice.parallel:
        omissions.lose("tool_choice.parallel", "the provider may call several tools; only the first call is kept.")


def _declaration(function: FunctionTool, field: str) -> Json:
    if not _FUNCTION_NAME.match(function.name):
        raise unsupported(
            f"{field}.name", f"the provider takes names that begin with a letter or '_'; got {function.name!r}."
        )
    out: Json = {"name": function.name}
    if function.description:
        out["description"] = function.description
    if _has_parameters(function.parameters_schema):
        out["parametersJsonSchema"] = orjson.Fragment(function.parameters_schema)
    return out


def _has_parameters(schema: str) -> bool:
    """Whether a schema says anything. The provider refuses objects that can have no fields."""
    if not schema:
        return False
    fields = cast("Json", orjson.loads(schema))
    return bool(fields.keys() - _NO_PARAMETERS or fields.get("properties") or fields.get("additionalProperties"))


def _put_generation(body: Json, request: ChatRequest, family: Family, omissions: Omissions) -> None:
    generation = request.generation
    config: Json = {}
    for field, name in _SCALARS.items():
        if generation.HasField(field):
            config[name] = getattr(generation, field)
    for field in _LACKING:
        if getattr(generation, field):
            omissions.ignore(f"generation.{field}", "the provider does not have it.")
    _put_stops(config, generation)
    _put_seed(config, generation, omissions)
    if generation.logprobs:
        config["responseLogprobs"] = True
        if generation.top_logprobs:
            config["logprobs"] = generation.top_logprobs
    if generation.HasField("response_format"):
        _put_format(config, request, family, omissions)
    _put_thinking(config, generation, family.thinking, omissions)
    _put_modalities(config, generation, omissions)
    if config:
        body["generationConfig"] = config
    _put_tier(body, generation.service_tier, omissions)


def _put_stops(config: Json, generation: Generation) -> None:
    if len(generation.stop) > _MAX_STOPS:
        raise unsupported("generation.stop", f"the provider takes {_MAX_STOPS} at most; got {len(generation.stop)}.")
    if generation.stop:
        config["stopSequences"] = list(generation.stop)


def _put_seed(config: Json, generation: Generation, omissions: Omissions) -> None:
    if not generation.HasField("seed"):
        return
    seed = generation.seed
    if seed >> _SEED_BITS not in (0, -1):
        omissions.lose("generation.seed", f"the provider takes {_SEED_BITS} bits of it.")
        seed &= (1 << _SEED_BITS) - 1
    config["seed"] = seed


def _put_tier(body: Json, wanted: str, omissions: Omissions) -> None:
    if wanted in ("", "auto"):
        return
    if tier := _TIERS.get(wanted):
        body["serviceTier"] = tier
    else:
        omissions.ignore("generation.service_tier", f"the provider has {', '.join(_TIERS)}; got {wanted!r}.")


def _put_format(config: Json, request: ChatRequest, family: Family, omissions: Omissions) -> None:
    wanted = request.generation.response_format
    if wanted.type not in (ResponseFormat.TYPE_JSON_OBJECT, ResponseFormat.TYPE_JSON_SCHEMA):
        return
    if request.tools and not family.json_beside_tools:
        raise unsupported("generation.response_format", "the model takes no JSON format beside tools.")
    config["responseMimeType"] = "application/json"
    if wanted.type == ResponseFormat.TYPE_JSON_SCHEMA:
        config["responseJsonSchema"] = orjson.Fragment(wanted.schema)
        if wanted.description:
            omissions.ignore(
                "generation.response_format.description", "the provider does not have it; say it in the schema."
            )


def _put_thinking(config: Json, generation: Generation, thinking: Thinking | None, omissions: Omissions) -> None:
    effort = generation.reasoning_effort
    limited = generation.HasField("max_reasoning_tokens")
    if not effort and not limited:
        return
    if thinking is None:
        for field, wanted in (("reasoning_effort", bool(effort)), ("max_reasoning_tokens", limited)):
            if wanted:
                omissions.ignore(f"generation.{field}", "the model does not think.")
        return
    if effort in thinking.inexact:
        omissions.lose("generation.reasoning_effort", "the model has none like it; the nearest one is taken.")
    if effort and thinking.levels:
        if limited:
            omissions.ignore("generation.max_reasoning_tokens", "the model takes either an effort or a number.")
        config["thinkingConfig"] = {"includeThoughts": True, "thinkingLevel": thinking.levels[effort]}
        return
    budget = min(
        generation.max_reasoning_tokens if limited else thinking.most, thinking.budgets.get(effort, thinking.most)
    )
    least = 0 if budget == 0 and thinking.can_stop else thinking.least
    if budget < least:
        omissions.lose("generation.max_reasoning_tokens", f"the model thinks {least} tokens at least.")
        budget = least
    config["thinkingConfig"] = {"includeThoughts": True, "thinkingBudget": budget} if budget else {"thinkingBudget": 0}


def _put_modalities(config: Json, generation: Generation, omissions: Omissions) -> None:
    modalities = list(generation.output_modalities)
    for modality in modalities:
        if modality not in _MODALITIES:
            raise unsupported("generation.output_modalities", f"the provider does not answer with {modality!r}.")
    if modalities and modalities != ["text"]:
        config["responseModalities"] = [_MODALITIES[modality] for modality in modalities]
    if "audio" not in modalities:
        return
    if generation.audio_voice:
        voice = {"prebuiltVoiceConfig": {"voiceName": generation.audio_voice}}
        config["speechConfig"] = {"voiceConfig": voice}
    if generation.audio_format not in ("", "pcm16"):
        omissions.ignore("generation.audio_format", "the provider answers with raw samples; ask for 'pcm16'.")


def _put_options(body: Json, text: str, omissions: Omissions) -> None:
    """Merges the caller's own fields. What the request says in typed fields stands; built-in tools join the others."""
    field = f"provider_options.{WIRE_FORMAT}"
    try:
        options: object = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise invalid_field(field, "must be a JSON object, as text.") from error
    if not isinstance(options, dict):
        raise invalid_field(field, "must be a JSON object, as text.")
    for name, value in cast("Json", options).items():
        if name == "tools" and isinstance(value, list):
            body[name] = [*body.get(name, ()), *cast("list[object]", value)]
        elif name == "generationConfig" and isinstance(value, dict):
            config: Json = body.setdefault(name, {})
            _merge(config, cast("Json", value).items(), f"{field}.{name}", omissions)
        else:
            _merge(body, [(name, value)], field, omissions)


def _merge(target: Json, options: Iterable[tuple[str, object]], field: str, omissions: Omissions) -> None:
    for name, value in options:
        if name in target or name in _RESERVED:
            omissions.ignore(f"{field}.{name}", "the gateway sets this field by itself.")
        else:
            target[name] = value
