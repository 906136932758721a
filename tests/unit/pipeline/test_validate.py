"""Validate: every rule, and the field that a refusal names."""

import json
from typing import Any

import pytest
from google.protobuf import json_format

from llmgateway.v1.chat_service_pb2 import ChatRequest
from llmgateway.v1.content_pb2 import (
    Message,
    Part,
    ReasoningEffort,
    ResponseFormat,
    Role,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server.errors import InvalidArgument
from llmgateway_server.pipeline import validate
from tests.support.calls import question

USER = {"role": "ROLE_USER", "parts": [{"text": "hi"}]}
CALL = {"role": "ROLE_ASSISTANT", "parts": [{"toolCall": {"id": "c1", "name": "add", "arguments": "{"}}]}
TOOL = {"function": {"name": "add", "parametersSchema": '{"type": "object"}'}}


def request_of(*messages: dict[str, Any], **fields: Any) -> ChatRequest:
    """A request from proto JSON."""
    body = {"model": "models/a", "messages": list(messages or (USER,)), **fields}
    return json_format.ParseDict(body, ChatRequest())


def result(**fields: Any) -> dict[str, Any]:
    """A tool message with one result."""
    return {"role": "ROLE_TOOL", "parts": [{"toolResult": {"callId": "c1", "parts": [{"text": "3"}], **fields}}]}


def nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


ACCEPTED: dict[str, ChatRequest] = {
    "one user message": request_of(),
    "an empty text": request_of({"role": "ROLE_USER", "parts": [{"text": ""}]}),
    "an assistant message without parts": request_of(USER, {"role": "ROLE_ASSISTANT"}, USER),
    "a call and its result": request_of(USER, CALL, result()),
    "two results of one call": request_of(USER, CALL, result(), result()),
    "a result with a picture": request_of(USER, CALL, result(parts=[{"image": {"url": "https://a.example/b.png"}}])),
    "a result without parts": request_of(USER, CALL, result(parts=[])),
    "arguments that are not JSON": request_of(USER, CALL, result()),
    "only provider state": request_of(
        USER, {"role": "ROLE_ASSISTANT", "parts": [{"providerState": {"wireFormat": "x"}}]}, USER
    ),
    "media by id": request_of({"role": "ROLE_USER", "parts": [{"file": {"fileId": "f1"}}]}),
    "media by data": request_of({"role": "ROLE_USER", "parts": [{"audio": {"data": "AAAA", "mimeType": "audio/wav"}}]}),
    "reasoning of the assistant": request_of(USER, {"role": "ROLE_ASSISTANT", "parts": [{"reasoning": "hm"}]}, USER),
    "tools": request_of(tools=[TOOL, {"custom": {"name": "free"}}], toolChoice={"mode": "MODE_REQUIRED"}),
    "a tool without arguments": request_of(tools=[{"function": {"name": "now"}}]),
    "a schema that is true": request_of(tools=[{"function": {"name": "any", "parametersSchema": "true"}}]),
    "a deep schema": request_of(tools=[{"function": {"name": "deep", "parametersSchema": nested(64)}}]),
    "a choice of names": request_of(tools=[TOOL], toolChoice={"mode": "MODE_AUTO", "names": ["add"]}),
    "the least of everything": request_of(
        generation={
            "temperature": 0,
            "topP": 0,
            "topK": 1,
            "maxOutputTokens": 1,
            "presencePenalty": -2,
            "frequencyPenalty": -2,
            "topLogprobs": 0,
            "maxReasoningTokens": 0,
            "logitBias": {"1": -100},
        }
    ),
    "the most of everything": request_of(
        generation={
            "temperature": 2,
            "topP": 1,
            "topK": 2**31 - 1,
            "maxOutputTokens": 2**31 - 1,
            "presencePenalty": 2,
            "frequencyPenalty": 2,
            "logprobs": True,
            "topLogprobs": 20,
            "maxReasoningTokens": 2**31 - 1,
            "logitBias": {"1": 100},
            "stop": ["x"] * 16,
        }
    ),
    "free text": request_of(generation={"responseFormat": {"type": "TYPE_TEXT"}}),
    "a JSON schema": request_of(
        generation={"responseFormat": {"type": "TYPE_JSON_SCHEMA", "name": "a-b_C9", "schema": "{}"}}
    ),
    "64 labels": request_of(labels={f"k{number}": "v" * 256 for number in range(64)}),
    "the longest ids": request_of(endUser="u" * 128, sessionId="s" * 128, requestId="r" * 128),
    "options that are an object": request_of(providerOptions={"openai": '{"a": 1}'}),
}


@pytest.mark.parametrize("request_", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_what_a_model_could_answer_passes(request_: ChatRequest) -> None:
    validate.check(request_)


REFUSED: dict[str, tuple[str, ChatRequest]] = {
    "no messages": ("messages", ChatRequest(model="models/a")),
    "too many messages": ("messages", ChatRequest(messages=[Message()] * (validate.MAX_MESSAGES + 1))),
    "no role": ("messages[1].role", request_of(USER, {"parts": [{"text": "x"}]})),
    "a role of the future": ("messages[0].role", request_of({"role": 99, "parts": [{"text": "x"}]})),
    "a message without parts": ("messages[0].parts", request_of({"role": "ROLE_USER"})),
    "a tool message without parts": ("messages[2].parts", request_of(USER, CALL, {"role": "ROLE_TOOL"})),
    "too many parts": (
        "messages[0].parts",
        ChatRequest(messages=[Message(role=Role.ROLE_USER, parts=[Part(text="")] * (validate.MAX_PARTS + 1))]),
    ),
    "a name too long": ("messages[0].name", request_of({**USER, "name": "n" * 65})),
    "an empty part": ("messages[0].parts[1]", request_of({"role": "ROLE_USER", "parts": [{"text": "x"}, {}]})),
    "text of a tool": ("messages[2].parts[0]", request_of(USER, CALL, {"role": "ROLE_TOOL", "parts": [{"text": "3"}]})),
    "a result of a user": (
        "messages[0].parts[0]",
        request_of({"role": "ROLE_USER", "parts": [{"toolResult": {"callId": "c1"}}]}),
    ),
    "a call of a user": (
        "messages[0].parts[0]",
        request_of({"role": "ROLE_USER", "parts": [{"toolCall": {"id": "c1", "name": "add"}}]}),
    ),
    "reasoning of a user": ("messages[0].parts[0]", request_of({"role": "ROLE_USER", "parts": [{"reasoning": "hm"}]})),
    "a refusal of the system": (
        "messages[0].parts[0]",
        request_of({"role": "ROLE_SYSTEM", "parts": [{"refusal": "no"}]}),
    ),
    "a call without an id": (
        "messages[0].parts[0].tool_call.id",
        request_of({"role": "ROLE_ASSISTANT", "parts": [{"toolCall": {"name": "add"}}]}),
    ),
    "a call without a name": (
        "messages[0].parts[0].tool_call.name",
        request_of({"role": "ROLE_ASSISTANT", "parts": [{"toolCall": {"id": "c1"}}]}),
    ),
    "a result with no call": ("messages[1].parts[0].tool_result.call_id", request_of(USER, result())),
    "a result of another call": (
        "messages[2].parts[0].tool_result.call_id",
        request_of(USER, CALL, result(callId="c2")),
    ),
    "a result before its call": ("messages[1].parts[0].tool_result.call_id", request_of(USER, result(), CALL)),
    "a result in a result": (
        "messages[2].parts[0].tool_result.parts[0]",
        request_of(USER, CALL, result(parts=[{"toolResult": {"callId": "c1"}}])),
    ),
    "a call in a result": (
        "messages[2].parts[0].tool_result.parts[1]",
        request_of(USER, CALL, result(parts=[{"text": ""}, {"toolCall": {"id": "c2", "name": "add"}}])),
    ),
    "nothing in a result": ("messages[2].parts[0].tool_result.parts[0]", request_of(USER, CALL, result(parts=[{}]))),
    "bad media in a result": (
        "messages[2].parts[0].tool_result.parts[0].image",
        request_of(USER, CALL, result(parts=[{"image": {}}])),
    ),
    "media without a source": (
        "messages[0].parts[0].image",
        request_of({"role": "ROLE_USER", "parts": [{"image": {}}]}),
    ),
    "data without a type": (
        "messages[0].parts[0].audio.mime_type",
        request_of({"role": "ROLE_USER", "parts": [{"audio": {"data": "AAAA"}}]}),
    ),
    "a file address": (
        "messages[0].parts[0].file.url",
        request_of({"role": "ROLE_USER", "parts": [{"file": {"url": "file:///etc/passwd"}}]}),
    ),
    "a relative address": (
        "messages[0].parts[0].video.url",
        request_of({"role": "ROLE_USER", "parts": [{"video": {"url": "//host/a"}}]}),
    ),
    "too many tools": (
        "tools",
        request_of(tools=[{"function": {"name": f"t{number}"}} for number in range(validate.MAX_TOOLS + 1)]),
    ),
    "a tool of no kind": ("tools[0]", request_of(tools=[{}])),
    "two tools of one name": ("tools[1]", request_of(tools=[TOOL, {"custom": {"name": "add"}}])),
    "a tool without a name": ("tools[0].function.name", request_of(tools=[{"function": {}}])),
    "a tool with a space": ("tools[0].custom.name", request_of(tools=[{"custom": {"name": "a b"}}])),
    "a tool with a newline": ("tools[0].function.name", request_of(tools=[{"function": {"name": "add\n"}}])),
    "a tool name too long": ("tools[0].function.name", request_of(tools=[{"function": {"name": "a" * 65}}])),
    "a schema that is not JSON": (
        "tools[0].function.parameters_schema",
        request_of(tools=[{"function": {"name": "add", "parametersSchema": "{"}}]),
    ),
    "a schema that is a list": (
        "tools[0].function.parameters_schema",
        request_of(tools=[{"function": {"name": "add", "parametersSchema": "[]"}}]),
    ),
    "a schema too deep": (
        "tools[0].function.parameters_schema",
        request_of(tools=[{"function": {"name": "add", "parametersSchema": nested(65)}}]),
    ),
    "a schema deep beyond parsing": (
        "tools[0].function.parameters_schema",
        request_of(tools=[{"function": {"name": "add", "parametersSchema": nested(100_000)}}]),
    ),
    "a tool required of none": ("tool_choice", request_of(toolChoice={"mode": "MODE_REQUIRED"})),
    "a choice of no tool": ("tool_choice.names", request_of(tools=[TOOL], toolChoice={"names": ["sub"]})),
    "a mode of the future": ("tool_choice.mode", request_of(tools=[TOOL], toolChoice={"mode": 99})),
    "an effort of the future": ("generation.reasoning_effort", request_of(generation={"reasoningEffort": 99})),
    "a format of the future": (
        "generation.response_format.type",
        request_of(generation={"responseFormat": {"type": 99}}),
    ),
    "a schema without a name": (
        "generation.response_format.name",
        request_of(generation={"responseFormat": {"type": "TYPE_JSON_SCHEMA", "schema": "{}"}}),
    ),
    "a format without a schema": (
        "generation.response_format.schema",
        request_of(generation={"responseFormat": {"type": "TYPE_JSON_SCHEMA", "name": "a"}}),
    ),
    "a format with a broken schema": (
        "generation.response_format.schema",
        request_of(generation={"responseFormat": {"type": "TYPE_JSON_SCHEMA", "name": "a", "schema": "nope"}}),
    ),
    "logprobs not asked for": ("generation.top_logprobs", request_of(generation={"topLogprobs": 2})),
    "too many stops": ("generation.stop", request_of(generation={"stop": ["x"] * 17})),
    "an empty stop": ("generation.stop", request_of(generation={"stop": ["x", ""]})),
    "too much bias": ("generation.logit_bias['1']", request_of(generation={"logitBias": {"1": 100.5}})),
    "bias without end": ("generation.logit_bias['1']", request_of(generation={"logitBias": {"1": "Infinity"}})),
    "no bias at all": ("generation.logit_bias['1']", request_of(generation={"logitBias": {"1": "NaN"}})),
    "too many labels": ("labels", request_of(labels={f"k{number}": "" for number in range(65)})),
    "an empty label": ("labels['']", request_of(labels={"": "v"})),
    "a label key too long": (f"labels['{'k' * 65}']", request_of(labels={"k" * 65: "v"})),
    "a label value too long": ("labels['k']", request_of(labels={"k": "v" * 513})),
    "NUL in a label": ("labels['k']", request_of(labels={"k": "a\x00b"})),
    "an end user too long": ("end_user", request_of(endUser="u" * 129)),
    "a session too long": ("session_id", request_of(sessionId="s" * 129)),
    "a request id too long": ("request_id", request_of(requestId="r" * 129)),
    "options that are not JSON": ("provider_options['openai']", request_of(providerOptions={"openai": "{"})),
    "options that are a list": ("provider_options['openai']", request_of(providerOptions={"openai": "[]"})),
}
for knob, values in {
    "temperature": (-0.1, 2.1),
    "topP": (-0.1, 1.1),
    "topK": (0, -1),
    "maxOutputTokens": (0, -5),
    "presencePenalty": (-2.1, 2.1),
    "frequencyPenalty": (-2.1, 2.1),
    "topLogprobs": (-1, 21),
    "maxReasoningTokens": (-1,),
}.items():
    for value in (*values, *(("NaN", "Infinity", "-Infinity") if isinstance(values[-1], float) else ())):
        body = {knob: value, "logprobs": True}
        snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in knob)
        REFUSED[f"{knob} of {value}"] = (f"generation.{snake}", request_of(generation=body))


@pytest.mark.parametrize(("field", "request_"), REFUSED.values(), ids=REFUSED.keys())
def test_what_no_model_could_answer_is_refused(field: str, request_: ChatRequest) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        validate.check(request_)
    assert refusal.value.reason == ErrorReason.ERROR_REASON_INVALID_FIELD
    assert refusal.value.field == field
    assert refusal.value.message.startswith(f"{field}: ")
    assert refusal.value.message.endswith(".")


def test_a_result_takes_the_name_of_its_call() -> None:
    request = request_of(USER, CALL, result())
    validate.check(request)
    assert request.messages[2].parts[0].tool_result.name == "add"


def test_a_result_keeps_its_own_name() -> None:
    request = request_of(USER, CALL, result(name="sum"))
    validate.check(request)
    assert request.messages[2].parts[0].tool_result.name == "sum"


def test_results_answer_several_calls_in_any_order() -> None:
    calls = Message(role=Role.ROLE_ASSISTANT)
    answers = Message(role=Role.ROLE_TOOL)
    for number in range(5):
        calls.parts.add(tool_call=ToolCall(id=f"c{number}", name=f"t{number}"))
        answers.parts.insert(0, Part(tool_result=ToolResult(call_id=f"c{number}")))
    request = ChatRequest(messages=[*question().messages, calls, answers])
    validate.check(request)
    assert [part.tool_result.name for part in answers.parts] == [""] * 5  # the request holds copies
    assert [part.tool_result.name for part in request.messages[2].parts] == ["t4", "t3", "t2", "t1", "t0"]


def test_every_value_that_the_protos_name_passes() -> None:
    for effort in ReasoningEffort.values():
        validate.check(request_of(generation={"reasoningEffort": effort}))
    for mode in ToolChoice.Mode.values():
        validate.check(request_of(tools=[TOOL], toolChoice={"mode": mode}))
    for kind in ResponseFormat.Type.values():
        validate.check(request_of(generation={"responseFormat": {"type": kind, "name": "a", "schema": "{}"}}))


def test_generation_settings_can_be_checked_under_another_name() -> None:
    request = request_of(generation={"temperature": 3})
    with pytest.raises(InvalidArgument) as refusal:
        validate.check_generation(request.generation, where="use_case.generation")
    assert refusal.value.field == "use_case.generation.temperature"


def test_depth_counts_nesting_and_not_brackets() -> None:
    wide = json.dumps({"properties": {f"p{number}": {"enum": ["{["]} for number in range(500)}})
    validate.check(request_of(tools=[{"function": {"name": "wide", "parametersSchema": wide}}]))
