"""Writes requests in Anthropic's Messages dialect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import orjson

from llmgateway.v1.chat_service_pb2 import ChatRequest
from llmgateway.v1.content_pb2 import Generation, ReasoningEffort, ResponseFormat, Tool, ToolChoice
from llmgateway_server.errors import unsupported
from llmgateway_server.ports.provider import ProviderCall
from llmgateway_server.providers.answer_tool import AnswerTool, answer_tool, is_closed, wants_json
from llmgateway_server.providers.anthropic_messages import (
    ASSISTANT,
    WIRE_FORMAT,
    CacheMarks,
    Conversation,
    Json,
    Turn,
    lone_text,
    write_conversation,
)
from llmgateway_server.providers.caller_options import caller_options, merge_options
from llmgateway_server.providers.claude_models import ClaudeProfile, Thinking, profile_of
from llmgateway_server.providers.omissions import Omissions

_NO_PARAMETERS: Json = {"type": "object", "properties": {}}
_LACKED = (
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "verbosity",
    "prediction",
)
"""Generation fields that the dialect does not have."""

_TIERS: Mapping[str, str] = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}
_RESERVED = frozenset({"stream"})
"""Fields that decide how the answer is read, which no option may change."""

_MIN_BUDGET = 1024
_BUDGETS: Mapping[ReasoningEffort, int] = {
    ReasoningEffort.REASONING_EFFORT_MINIMAL: _MIN_BUDGET,
    ReasoningEffort.REASONING_EFFORT_LOW: 2048,
    ReasoningEffort.REASONING_EFFORT_MEDIUM: 8192,
    ReasoningEffort.REASONING_EFFORT_HIGH: 16_384,
    ReasoningEffort.REASONING_EFFORT_XHIGH: 32_768,
    ReasoningEffort.REASONING_EFFORT_MAX: 65_536,
}
"""Tokens that stand for a word where the model takes a number. At most half of the answer's tokens are spent so."""

_NEAREST: Mapping[ReasoningEffort, ReasoningEffort] = {
    ReasoningEffort.REASONING_EFFORT_MINIMAL: ReasoningEffort.REASONING_EFFORT_LOW,
    ReasoningEffort.REASONING_EFFORT_XHIGH: ReasoningEffort.REASONING_EFFORT_HIGH,
}
"""What a model does that has no word for an effort."""

_EFFORT, _BUDGET = "generation.reasoning_effort", "generation.max_reasoning_tokens"
_MIN_THINKING_TOP_P = 0.95


def fallback_tool(request: ChatRequest, model: str) -> AnswerTool | None:
    """The tool that stands for structured output, where the model does not take the schema itself; else None."""
    if not wants_json(request) or _takes_schema(request, model):
        return None
    if request.tool_choice.mode == ToolChoice.MODE_REQUIRED:
        # A tool of the caller's must be called, so that this answer is not the one that has the shape.
        return None
    return answer_tool(request)


def _takes_schema(request: ChatRequest, model: str) -> bool:
    """Whether the request has a schema and the model takes it as it is."""
    wanted = request.generation.response_format
    if wanted.type != ResponseFormat.TYPE_JSON_SCHEMA or not profile_of(model).schemas:
        return False
    schema: object = orjson.loads(wanted.schema)
    return isinstance(schema, dict) and is_closed(cast("Json", schema))


def messages_body(call: ProviderCall, omissions: Omissions) -> Json:
    """The body of the request. JSON within the request (schemas) is embedded as it is, since the request is valid.

    Raises UNSUPPORTED_FEATURE for content that the dialect cannot express.
    """
    return _Body(call, omissions).write()


@dataclass(frozen=True, slots=True)
class _Thought:
    """How the model is told to think: fields of the body."""

    thinking: Json | None = None
    effort: str = ""

    @property
    def on(self) -> bool:
        return self.thinking is not None and self.thinking["type"] != "disabled"


class _Body:
    """Writes the body of one request."""

    def __init__(self, call: ProviderCall, omissions: Omissions) -> None:
        self._call = call
        self._request: ChatRequest = call.request
        self._generation: Generation = call.request.generation
        self._model = call.endpoint.upstream_model
        self._profile: ClaudeProfile = profile_of(self._model)
        self._omissions = omissions
        self._marks = CacheMarks(omissions)
        self._answer = fallback_tool(call.request, self._model)
        self._body: Json = {"model": self._model}

    def write(self) -> Json:
        """The whole body."""
        body, request = self._body, self._request
        tools = self._tools()
        conversation = write_conversation(request.messages, self._omissions, self._marks)
        body["max_tokens"] = self._max_tokens()
        if conversation.system:
            body["system"] = lone_text(conversation.system) or conversation.system
        body["messages"] = [turn.written() for turn in conversation.turns]
        if tools:
            body["tools"] = tools
            self._put_tool_choice()
        elif conversation.called:
            # The provider wants the tools of earlier calls to be there, and the caller wants none called.
            body["tools"] = [{"name": name, "input_schema": _NO_PARAMETERS} for name in conversation.called]
            body["tool_choice"] = {"type": "none"}
        if request.HasField("generation"):
            self._put_generation(conversation)
        self._check_prefill(conversation.turns[-1])
        if request.end_user:
            body["metadata"] = {"user_id": request.end_user}
        if self._call.stream:
            body["stream"] = True
        merge_options(
            body,
            caller_options(request, WIRE_FORMAT),
            self._omissions,
            field=f"provider_options.{WIRE_FORMAT}",
            reserved=_RESERVED,
        )
        self._marks.settle()
        return body

    def _max_tokens(self) -> int:
        if self._generation.HasField("max_output_tokens"):
            return self._generation.max_output_tokens
        return self._call.endpoint.max_output_tokens or self._profile.max_tokens

    def _check_prefill(self, last: Turn) -> None:
        # A turn that ends in anything but text was paused, which every model goes on with.
        if last.role == ASSISTANT and last.ends_in_text and not self._profile.prefill:
            field = f"messages[{len(self._request.messages) - 1}]"
            raise unsupported(field, "the model does not go on with an answer that was begun; end with a user message.")

    def _tools(self) -> list[Json]:
        choice = self._request.tool_choice
        # The dialect cannot name several tools, so only the named ones are sent.
        chosen = frozenset(choice.names) if choice.names and choice.mode != ToolChoice.MODE_NONE else None
        tools: list[Json] = []
        for index, tool in enumerate(self._request.tools):
            written = _tool(tool, f"tools[{index}]")
            if chosen is None or written["name"] in chosen:
                tools.append(written)
                if tool.HasField("cache_mark"):
                    self._marks.put(written, tool.cache_mark, f"tools[{index}].cache_mark")
        if (answer := self._answer) is not None:
            schema = orjson.Fragment(answer.schema)
            tools.append({"name": answer.name, "description": answer.description, "input_schema": schema})
        return tools

    def _put_tool_choice(self) -> None:
        choice = self._request.tool_choice
        written: Json | None = None
        if choice.mode == ToolChoice.MODE_REQUIRED:
            written = {"type": "tool", "name": choice.names[0]} if len(choice.names) == 1 else {"type": "any"}
        elif self._answer is not None:
            if self._request.tools and choice.mode != ToolChoice.MODE_NONE:
                # Either the answer, or a call of the caller's own tools on the way to it.
                written = {"type": "any"}
            else:
                written = {"type": "tool", "name": self._answer.name, "disable_parallel_tool_use": True}
        elif choice.mode == ToolChoice.MODE_NONE:
            written = {"type": "none"}
        elif choice.mode == ToolChoice.MODE_AUTO or choice.HasField("parallel"):
            written = {"type": "auto"}
        if written is not None:
            if choice.HasField("parallel") and written["type"] != "none":
                written["disable_parallel_tool_use"] = not choice.parallel
            self._body["tool_choice"] = written

    def _put_generation(self, conversation: Conversation) -> None:
        body, generation = self._body, self._generation
        for modality in generation.output_modalities:
            if modality != "text":
                raise unsupported("generation.output_modalities", f"the provider does not answer with {modality!r}.")
        thought = self._thinking(conversation)
        if thought.thinking is not None:
            body["thinking"] = thought.thinking
        self._put_sampling(thinks=thought.on)
        if stops := self._stops():
            body["stop_sequences"] = stops
        output: Json = {"effort": thought.effort} if thought.effort else {}
        if _takes_schema(self._request, self._model):
            schema = orjson.Fragment(generation.response_format.schema)
            output["format"] = {"type": "json_schema", "schema": schema}
        if output:
            body["output_config"] = output
        given = {field.name for field, _ in generation.ListFields()}
        for name in _LACKED:
            if name in given:
                self._omissions.ignore(f"generation.{name}", "the provider does not have it.")
        if tier := generation.service_tier:
            if tier in _TIERS:
                body["service_tier"] = _TIERS[tier]
            else:
                self._omissions.ignore("generation.service_tier", f"the provider has no tier {tier!r}.")

    def _put_sampling(self, *, thinks: bool) -> None:
        generation = self._generation
        for name in ("temperature", "top_p", "top_k"):
            if generation.HasField(name):
                if reason := self._objection(name, thinks=thinks):
                    self._omissions.ignore(f"generation.{name}", reason)
                else:
                    self._body[name] = getattr(generation, name)

    def _objection(self, name: str, *, thinks: bool) -> str:
        """Why the provider would refuse a field of sampling; empty when it takes it."""
        generation, profile = self._generation, self._profile
        if not profile.sampling:
            return "the model does not take it."
        if name == "temperature":
            if generation.temperature > 1:
                return "the provider takes 0 to 1; its own 1 applies."
            return "the model thinks only at its own." if thinks and generation.temperature != 1 else ""
        if thinks and (name == "top_k" or generation.top_p < _MIN_THINKING_TOP_P):
            return "the provider does not take it while the model thinks."
        if name == "top_p" and "temperature" in self._body and not profile.temperature_with_top_p:
            return "the model takes either temperature or top_p; the temperature stands."
        return ""

    def _stops(self) -> list[str]:
        stops: list[str] = []
        for index, stop in enumerate(self._generation.stop):
            if stop.isspace():
                self._omissions.ignore(f"generation.stop[{index}]", "the provider takes no blank text.")
            else:
                stops.append(stop)
        return stops

    def _thinking(self, conversation: Conversation) -> _Thought:
        generation = self._generation
        field = _BUDGET if generation.HasField("max_reasoning_tokens") else _EFFORT
        if field == _EFFORT and not generation.reasoning_effort:
            return _Thought()
        if self._wants_no_thought():
            return self._thoughtless(field)
        if self._profile.thinking is Thinking.NONE:
            self._omissions.ignore(field, "the model does not think.")
        elif obstacle := self._obstacle(conversation):
            self._omissions.ignore(field, obstacle)
        elif self._profile.thinking is Thinking.ADAPTIVE:
            return self._adaptive()
        else:
            return self._budgeted(field)
        return _Thought()

    def _wants_no_thought(self) -> bool:
        generation = self._generation
        if generation.HasField("max_reasoning_tokens"):
            return generation.max_reasoning_tokens == 0
        return generation.reasoning_effort == ReasoningEffort.REASONING_EFFORT_NONE

    def _thoughtless(self, field: str) -> _Thought:
        if self._profile.thinking is Thinking.NONE:
            return _Thought()
        if not self._profile.stops_thinking:
            self._omissions.ignore(field, "the model cannot be told not to think.")
            return _Thought()
        return _Thought({"type": "disabled"})

    def _obstacle(self, conversation: Conversation) -> str:
        """Why the provider would refuse to let the model think; empty when it would not."""
        if self._body.get("tool_choice", {}).get("type") in ("any", "tool"):
            return "the provider does not let a model think that must call a tool."
        last = conversation.turns[-1]
        if last.role == ASSISTANT and last.ends_in_text:
            return "the provider does not let a model think whose answer was begun for it."
        if self._profile.thinking is Thinking.BUDGET and _began_without_thinking(conversation.turns):
            return "the turn that goes on was begun without thinking."
        return ""

    def _adaptive(self) -> _Thought:
        generation, efforts = self._generation, self._profile.efforts
        if generation.HasField("max_reasoning_tokens"):
            self._omissions.lose(_BUDGET, "the model decides by itself how many tokens it thinks.")
        word = efforts.get(generation.reasoning_effort, "")
        if generation.reasoning_effort and not word:
            word = efforts.get(_NEAREST.get(generation.reasoning_effort, ReasoningEffort.REASONING_EFFORT_HIGH), "")
            self._omissions.lose(_EFFORT, f"the model has no such effort; it is {word!r}.")
        # Said outright, because newer models would keep to themselves what they think.
        return _Thought({"type": "adaptive", "display": "summarized"}, word)

    def _budgeted(self, field: str) -> _Thought:
        generation, most = self._generation, self._body["max_tokens"]
        if most <= _MIN_BUDGET:
            self._omissions.ignore(
                field, f"the provider thinks {_MIN_BUDGET} tokens or more; max_output_tokens is less."
            )
            return _Thought()
        if field == _EFFORT:
            budget = max(min(_BUDGETS[generation.reasoning_effort], most // 2), _MIN_BUDGET)
            return _Thought({"type": "enabled", "budget_tokens": budget})
        budget = min(max(generation.max_reasoning_tokens, _MIN_BUDGET), most - 1)
        if budget != generation.max_reasoning_tokens:
            self._omissions.lose(field, f"the provider takes {_MIN_BUDGET} to {most - 1} here; it is {budget}.")
        if generation.reasoning_effort:
            self._omissions.ignore(_EFFORT, "the model takes a number of tokens; max_reasoning_tokens stands.")
        return _Thought({"type": "enabled", "budget_tokens": budget})


def _tool(tool: Tool, field: str) -> Json:
    if tool.WhichOneof("kind") == "custom":
        raise unsupported(f"{field}.custom", "the provider takes only functions.")
    function = tool.function
    written: Json = {"name": function.name, "input_schema": _NO_PARAMETERS}
    if function.description:
        written["description"] = function.description
    if text := function.parameters_schema:
        schema: object = orjson.loads(text)
        if not isinstance(schema, dict):
            raise unsupported(f"{field}.function.parameters_schema", "the provider takes only schemas of objects.")
        schema = cast("Json", schema)
        # A schema of an object need not say so, but the provider wants it said.
        written["input_schema"] = orjson.Fragment(text) if "type" in schema else {**schema, "type": "object"}
    if function.HasField("strict"):
        written["strict"] = function.strict
    return written


def _began_without_thinking(turns: Sequence[Turn]) -> bool:
    """Whether the model is in the midst of a turn, between calls of tools, that did not begin with a thought."""
    begin = len(turns)
    while begin > 1 and turns[begin - 1].results and turns[begin - 2].role == ASSISTANT:
        begin -= 2
    return begin < len(turns) and not turns[begin].thinks
