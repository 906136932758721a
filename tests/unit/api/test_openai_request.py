"""OpenAI's request: every field read, every wrong type refused by name, and no JSON that breaks the reader."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st

from llmgateway.v1.chat_service_pb2 import ChatRequest
from llmgateway.v1.content_pb2 import ReasoningEffort
from llmgateway_server.api.openai.request import ChatBody, parse_chat
from llmgateway_server.errors import InvalidArgument
from llmgateway_server.pipeline.validate import check

USER: dict[str, Any] = {"role": "user", "content": "hi"}
PNG = "data:image/png;base64," + base64.b64encode(b"png").decode()


def parse(**fields: Any) -> ChatBody:
    return parse_chat(json.dumps({"model": "m", "messages": [USER], **fields}).encode())


def native(body: ChatBody) -> dict[str, Any]:
    """The request as proto JSON, without what every test says."""
    fields = json_format.MessageToDict(body.request, preserving_proto_field_name=True)
    assert fields.pop("model") == "m"
    if fields.get("messages") == [{"role": "ROLE_USER", "parts": [{"text": "hi"}]}]:
        del fields["messages"]
    return fields


def messages(*items: Any) -> list[dict[str, Any]]:
    return native(parse(messages=list(items)))["messages"]


def test_the_least_request() -> None:
    body = parse()
    assert native(body) == {}
    assert (body.stream, body.include_usage, body.answers, body.unknown) == (False, False, 1, ())


GENERATION: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
    ({"temperature": 0}, {"temperature": 0.0}),
    ({"temperature": 0.5, "top_p": 1}, {"temperature": 0.5, "top_p": 1.0}),
    ({"presence_penalty": -1, "frequency_penalty": 1.5}, {"presence_penalty": -1.0, "frequency_penalty": 1.5}),
    ({"max_tokens": 7}, {"max_output_tokens": 7}),
    ({"max_completion_tokens": 8}, {"max_output_tokens": 8}),
    ({"max_tokens": 7, "max_completion_tokens": 8}, {"max_output_tokens": 8}),
    ({"max_tokens": 7.0}, {"max_output_tokens": 7}),
    ({"seed": -(2**63)}, {"seed": str(-(2**63))}),
    ({"stop": "x"}, {"stop": ["x"]}),
    ({"stop": ["x", "y"]}, {"stop": ["x", "y"]}),
    ({"stop": []}, {}),
    ({"logprobs": True, "top_logprobs": 0}, {"logprobs": True, "top_logprobs": 0}),
    ({"logit_bias": {"50256": -100, "1": 0.5}}, {"logit_bias": {"50256": -100.0, "1": 0.5}}),
    ({"logit_bias": {}}, {}),
    ({"verbosity": "low"}, {"verbosity": "low"}),
    ({"service_tier": "flex"}, {"service_tier": "flex"}),
    ({"modalities": ["text", "audio"]}, {"output_modalities": ["text", "audio"]}),
    ({"audio": {"voice": "alloy", "format": "wav"}}, {"audio_voice": "alloy", "audio_format": "wav"}),
    ({"audio": {"voice": {"id": "v1"}}}, {"audio_voice": "v1"}),
    ({"response_format": {"type": "text"}}, {"response_format": {"type": "TYPE_TEXT"}}),
    ({"response_format": {"type": "json_object"}}, {"response_format": {"type": "TYPE_JSON_OBJECT"}}),
    ({"prediction": {"type": "content", "content": "abc"}}, {"prediction": "abc"}),
    (
        {"prediction": {"type": "content", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}},
        {"prediction": "ab"},
    ),
    (
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "n", "description": "d", "schema": {"type": "object"}, "strict": False},
            }
        },
        {
            "response_format": {
                "type": "TYPE_JSON_SCHEMA",
                "name": "n",
                "description": "d",
                "schema": '{"type":"object"}',
                "strict": False,
            }
        },
    ),
)


@pytest.mark.parametrize(("sent", "read"), GENERATION, ids=lambda fields: "-".join(fields) if fields else "none")
def test_settings_are_read(sent: dict[str, Any], read: dict[str, Any]) -> None:
    assert native(parse(**sent)) == ({"generation": read} if read else {})


@pytest.mark.parametrize("effort", ["none", "minimal", "low", "medium", "high", "xhigh", "max"])
def test_every_effort_is_read(effort: str) -> None:
    value = parse(reasoning_effort=effort).request.generation.reasoning_effort
    assert ReasoningEffort.Name(value) == f"REASONING_EFFORT_{effort.upper()}"


def test_null_is_as_good_as_nothing() -> None:
    body = parse(**dict.fromkeys((*(name for name in FULL if name not in ("model", "messages")), "anything_else")))
    assert native(body) == native(parse())
    assert body.unknown == ()


def test_the_shape_of_the_answer_is_read() -> None:
    body = parse(stream=True, stream_options={"include_usage": True}, n=8, strict=True)
    assert (body.stream, body.include_usage, body.answers) == (True, True, 8)
    assert body.request.strict


@pytest.mark.parametrize(
    ("fields", "user"),
    [({"user": "u"}, "u"), ({"safety_identifier": "s"}, "s"), ({"user": "u", "safety_identifier": "s"}, "s")],
)
def test_the_end_user_is_read(fields: dict[str, str], user: str) -> None:
    assert parse(**fields).request.end_user == user


def test_texts_are_read_for_every_role() -> None:
    sent = [
        {"role": "system", "content": "a"},
        {"role": "developer", "content": "b", "name": "n"},
        {"role": "user", "content": ""},
        {"role": "assistant", "content": "d"},
    ]
    assert messages(*sent) == [
        {"role": "ROLE_SYSTEM", "parts": [{"text": "a"}]},
        {"role": "ROLE_DEVELOPER", "name": "n", "parts": [{"text": "b"}]},
        {"role": "ROLE_USER", "parts": [{"text": ""}]},
        {"role": "ROLE_ASSISTANT", "parts": [{"text": "d"}]},
    ]


def test_parts_are_read() -> None:
    audio = base64.b64encode(b"wav").decode()
    content = [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {"url": "https://a.example/b.png", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": PNG}},
        {"type": "input_audio", "input_audio": {"data": audio, "format": "wav"}},
        {"type": "file", "file": {"file_id": "f1", "filename": "a.pdf"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}},
        {"type": "text", "text": "b", "prompt_cache_breakpoint": {"mode": "explicit"}},
    ]
    (message,) = messages({"role": "user", "content": content})
    assert message["parts"] == [
        {"text": "a"},
        {"image": {"url": "https://a.example/b.png", "detail": "low"}},
        {"image": {"data": base64.b64encode(b"png").decode(), "mime_type": "image/png"}},
        {"audio": {"data": audio, "mime_type": "audio/wav"}},
        {"file": {"file_id": "f1", "filename": "a.pdf"}},
        {"file": {"data": "AAAA", "mime_type": "application/pdf"}},
        {"text": "b", "cache_mark": {}},
    ]


def test_everything_of_an_assistant_is_read() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{"}}
    custom = {"id": "c2", "type": "custom", "custom": {"name": "free", "input": "x"}}
    (message,) = messages(
        {
            "role": "assistant",
            "content": None,
            "reasoning_content": "hm",
            "refusal": "no",
            "audio": {"id": "a1"},
            "tool_calls": [call, custom],
        }
    )
    assert message["parts"] == [
        {"reasoning": "hm"},
        {"refusal": "no"},
        {"audio": {"file_id": "a1"}},
        {"tool_call": {"id": "c1", "name": "add", "arguments": "{"}},
        {"tool_call": {"id": "c2", "name": "free", "arguments": "x", "custom": True}},
    ]


@pytest.mark.parametrize("content", [None, ""])
def test_an_assistant_may_say_nothing(content: str | None) -> None:
    assert messages({"role": "assistant", "content": content}) == [{"role": "ROLE_ASSISTANT"}]
    assert messages({"role": "assistant"}) == [{"role": "ROLE_ASSISTANT"}]


def test_results_in_a_row_are_one_turn() -> None:
    calls = [{"id": f"c{number}", "function": {"name": "add"}} for number in range(2)]
    body = parse(
        messages=[
            USER,
            {"role": "assistant", "tool_calls": calls},
            {"role": "tool", "tool_call_id": "c0", "content": "0"},
            {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "1"}]},
            USER,
            {"role": "tool", "tool_call_id": "c0", "content": ""},
        ]
    )
    assert body.places == [[0], [1], [2, 3], [4], [5]]
    results = [part.tool_result for part in body.request.messages[2].parts]
    assert [(result.call_id, result.parts[0].text) for result in results] == [("c0", "0"), ("c1", "1")]
    check(body.request)


def test_tools_are_read() -> None:
    tools = [
        {
            "type": "function",
            "function": {"name": "add", "description": "d", "parameters": {"type": "object"}, "strict": True},
        },
        {"function": {"name": "now"}},
        {"type": "custom", "custom": {"name": "free", "description": "e"}},
        {
            "type": "custom",
            "custom": {
                "name": "sql",
                "format": {"type": "grammar", "grammar": {"definition": "start: x", "syntax": "lark"}},
            },
        },
        {"type": "custom", "custom": {"name": "any", "format": {"type": "text"}}},
    ]
    assert native(parse(tools=tools))["tools"] == [
        {"function": {"name": "add", "description": "d", "parameters_schema": '{"type":"object"}', "strict": True}},
        {"function": {"name": "now"}},
        {"custom": {"name": "free", "description": "e"}},
        {"custom": {"name": "sql", "grammar": "start: x", "grammar_syntax": "lark"}},
        {"custom": {"name": "any"}},
    ]


CHOICES: tuple[tuple[Any, dict[str, Any]], ...] = (
    ("auto", {"mode": "MODE_AUTO"}),
    ("none", {"mode": "MODE_NONE"}),
    ("required", {"mode": "MODE_REQUIRED"}),
    ({"type": "function", "function": {"name": "add"}}, {"mode": "MODE_REQUIRED", "names": ["add"]}),
    ({"type": "custom", "custom": {"name": "free"}}, {"mode": "MODE_REQUIRED", "names": ["free"]}),
    (
        {
            "type": "allowed_tools",
            "allowed_tools": {
                "mode": "auto",
                "tools": [
                    {"type": "function", "function": {"name": "add"}},
                    {"type": "custom", "custom": {"name": "free"}},
                    {"type": "function", "name": "now"},
                ],
            },
        },
        {"mode": "MODE_AUTO", "names": ["add", "free", "now"]},
    ),
)


@pytest.mark.parametrize(("sent", "read"), CHOICES)
def test_choices_are_read(sent: Any, read: dict[str, Any]) -> None:
    assert native(parse(tool_choice=sent))["tool_choice"] == read
    assert native(parse(tool_choice=sent, parallel_tool_calls=False))["tool_choice"] == {**read, "parallel": False}


def test_metadata_becomes_labels_and_goes_along() -> None:
    body = parse(metadata={"team": "search"})
    assert dict(body.request.labels) == {"team": "search"}
    assert json.loads(body.request.provider_options["openai"]) == {"metadata": {"team": "search"}}


def test_unknown_fields_go_along_and_are_named() -> None:
    body = parse(new_knob={"a": [1, 2.5, None]}, other=False)
    assert body.unknown == ("new_knob", "other")
    assert json.loads(body.request.provider_options["openai"]) == {"new_knob": {"a": [1, 2.5, None]}, "other": False}


def test_options_for_the_provider_win_over_unknown_fields() -> None:
    body = parse(knob=1, other=2, provider_options={"openai": {"knob": 3}, "fake": {"text": "x"}})
    assert json.loads(body.request.provider_options["openai"]) == {"knob": 3, "other": 2}
    assert json.loads(body.request.provider_options["fake"]) == {"text": "x"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"7",
        b"{}{}",
        b'{"model": "m",}',
        b'{"model": NaN}',
        b'{"model": 1e999}',
        b'{"model": "\xc3\x28"}',
        b'{"model": "\\ud800"}',
        b'{"model": "a\x00b"}',
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\x00}\x00",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda data: repr(data[:20]),
)
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        parse_chat(data)
    assert refusal.value.field in ("body", "model")


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("body", {"unknown": nested(600)}),
        ("provider_options.fake", {"provider_options": {"fake": nested(600)}}),
        ("tools[0].function.parameters", {"tools": [{"function": {"name": "a", "parameters": nested(600)}}]}),
        (
            "response_format.json_schema.schema",
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": nested(600)}}},
        ),
    ],
)
def test_what_is_too_deep_to_pass_on_is_refused(field: str, body: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        parse(**body)
    assert refusal.value.field == field


def of_user(part: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": [part]}


WRONG: tuple[tuple[str, dict[str, Any]], ...] = (
    ("model", {"model": None}),
    ("model", {"model": ""}),
    ("model", {"model": 7}),
    ("messages", {"messages": None}),
    ("messages", {"messages": []}),
    ("messages", {"messages": "hi"}),
    ("messages", {"messages": {"role": "user"}}),
    ("messages[1]", {"messages": [USER, "hi"]}),
    ("messages[0].role", {"messages": [{"content": "hi"}]}),
    ("messages[0].role", {"messages": [{"role": "usr", "content": "hi"}]}),
    ("messages[0].role", {"messages": [{"role": 1, "content": "hi"}]}),
    ("messages[0].content", {"messages": [{"role": "user"}]}),
    ("messages[0].content", {"messages": [{"role": "user", "content": None}]}),
    ("messages[0].content", {"messages": [{"role": "user", "content": 1}]}),
    ("messages[0].content", {"messages": [{"role": "user", "content": []}]}),
    ("messages[0].content", {"messages": [{"role": "assistant", "content": 1}]}),
    ("messages[0].content[0]", {"messages": [{"role": "user", "content": ["hi"]}]}),
    ("messages[0].content[0].type", {"messages": [{"role": "user", "content": [{}]}]}),
    ("messages[0].content[0].type", {"messages": [{"role": "user", "content": [{"type": "video"}]}]}),
    ("messages[0].content[0].text", {"messages": [{"role": "user", "content": [{"type": "text"}]}]}),
    (
        "messages[0].content[0].image_url",
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": PNG}]}]},
    ),
    ("messages[0].content[0].image_url.url", {"messages": [of_user({"type": "image_url"})]}),
    (
        "messages[0].content[0].image_url.url",
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,x"}}]}]},
    ),
    (
        "messages[0].content[0].image_url.url",
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PNG + "!"}}]}]},
    ),
    (
        "messages[0].content[0].input_audio.format",
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AAAA"}}]}]},
    ),
    (
        "messages[0].content[0].input_audio.data",
        {
            "messages": [
                {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "é", "format": "wav"}}]}
            ]
        },
    ),
    ("messages[0].content[0].file.file_id", {"messages": [of_user({"type": "file"})]}),
    ("messages[0].tool_call_id", {"messages": [{"role": "tool", "content": "x"}]}),
    ("messages[0].content", {"messages": [{"role": "tool", "tool_call_id": "c"}]}),
    ("messages[0].tool_calls", {"messages": [{"role": "assistant", "tool_calls": "c"}]}),
    ("messages[0].tool_calls[0].id", {"messages": [{"role": "assistant", "tool_calls": [{}]}]}),
    ("messages[0].tool_calls[0].function.name", {"messages": [{"role": "assistant", "tool_calls": [{"id": "c"}]}]}),
    (
        "messages[0].tool_calls[0].function.arguments",
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "a", "arguments": {}}}]}]},
    ),
    ("messages[0].tool_calls[0].type", {"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "type": "x"}]}]}),
    ("messages[0].audio.id", {"messages": [{"role": "assistant", "audio": {"x": 1}}]}),
    ("messages[0].name", {"messages": [{**USER, "name": 1}]}),
    ("tools", {"tools": {}}),
    ("tools[0]", {"tools": ["a"]}),
    ("tools[0].type", {"tools": [{"type": "web_search"}]}),
    ("tools[0].function", {"tools": [{"type": "function", "function": "a"}]}),
    ("tools[0].function.name", {"tools": [{"type": "function"}]}),
    ("tools[0].function.parameters", {"tools": [{"function": {"name": "a", "parameters": "{}"}}]}),
    ("tools[0].function.strict", {"tools": [{"function": {"name": "a", "strict": 1}}]}),
    (
        "tools[0].custom.format.grammar.definition",
        {"tools": [{"type": "custom", "custom": {"name": "a", "format": {"type": "grammar"}}}]},
    ),
    ("tool_choice", {"tool_choice": "any"}),
    ("tool_choice", {"tool_choice": 1}),
    ("tool_choice.type", {"tool_choice": {}}),
    ("tool_choice.type", {"tool_choice": {"type": "any"}}),
    ("tool_choice.function.name", {"tool_choice": {"type": "function"}}),
    ("tool_choice.allowed_tools.mode", {"tool_choice": {"type": "allowed_tools"}}),
    ("tool_choice.allowed_tools.mode", {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "none"}}}),
    (
        "tool_choice.allowed_tools.tools[0].name",
        {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{}]}}},
    ),
    ("parallel_tool_calls", {"parallel_tool_calls": "yes"}),
    ("temperature", {"temperature": "hot"}),
    ("temperature", {"temperature": True}),
    ("top_p", {"top_p": []}),
    ("max_tokens", {"max_tokens": 0}),
    ("max_tokens", {"max_tokens": -5}),
    ("max_tokens", {"max_tokens": 1.5}),
    ("max_tokens", {"max_tokens": "5"}),
    ("max_tokens", {"max_tokens": True}),
    ("max_completion_tokens", {"max_completion_tokens": 2**31}),
    ("seed", {"seed": 2**63}),
    ("seed", {"seed": 1e300}),
    ("n", {"n": 0}),
    ("n", {"n": 9}),
    ("n", {"n": "2"}),
    ("stop", {"stop": 1}),
    ("stop[1]", {"stop": ["x", 1]}),
    ("logprobs", {"logprobs": 1}),
    ("top_logprobs", {"top_logprobs": 21}),
    ("logit_bias", {"logit_bias": [1]}),
    ("logit_bias.7", {"logit_bias": {"7": "x"}}),
    ("reasoning_effort", {"reasoning_effort": "huge"}),
    ("reasoning_effort", {"reasoning_effort": 1}),
    ("verbosity", {"verbosity": 1}),
    ("service_tier", {"service_tier": {}}),
    ("response_format", {"response_format": "json"}),
    ("response_format.type", {"response_format": {}}),
    ("response_format.type", {"response_format": {"type": "xml"}}),
    ("response_format.json_schema.name", {"response_format": {"type": "json_schema"}}),
    ("response_format.json_schema.schema", {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}}),
    ("modalities", {"modalities": "text"}),
    ("modalities[0]", {"modalities": [1]}),
    ("audio", {"audio": "alloy"}),
    ("audio.voice", {"audio": {"voice": 1}}),
    ("audio.voice.id", {"audio": {"voice": {}}}),
    ("prediction", {"prediction": "x"}),
    ("prediction.content", {"prediction": {"type": "content"}}),
    ("user", {"user": 1}),
    ("safety_identifier", {"safety_identifier": []}),
    ("metadata", {"metadata": "x"}),
    ("metadata.k", {"metadata": {"k": 1}}),
    ("provider_options", {"provider_options": []}),
    ("provider_options.openai", {"provider_options": {"openai": "x"}, "unknown": 1}),
    ("strict", {"strict": "yes"}),
    ("stream", {"stream": "true"}),
    ("stream_options", {"stream_options": True}),
    ("stream_options.include_usage", {"stream_options": {"include_usage": 1}}),
)


@pytest.mark.parametrize(
    ("field", "body"), WRONG, ids=lambda value: value if isinstance(value, str) else json.dumps(value)[:50]
)
def test_a_wrong_value_is_refused_by_name(field: str, body: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        parse(**body)
    assert refusal.value.field == field
    assert refusal.value.message.startswith(f"{field}: ")
    assert refusal.value.message.endswith(".")


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10)
    | st.sampled_from(["user", "assistant", "tool", "text", "function", "custom", "json_schema", PNG, "c1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)

FULL: Mapping[str, Any] = {
    "model": "m",
    "messages": [
        USER,
        {"role": "user", "name": "n", "content": [{"type": "image_url", "image_url": {"url": PNG, "detail": "low"}}]},
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]},
        {"role": "user", "content": [{"type": "file", "file": {"file_id": "f", "filename": "n", "file_data": PNG}}]},
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "r"}],
            "reasoning_content": "hm",
            "refusal": "no",
            "audio": {"id": "a"},
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}},
                {"id": "c2", "type": "custom", "custom": {"name": "free", "input": "x"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "3"}]},
    ],
    "tools": [
        {"type": "function", "function": {"name": "add", "description": "d", "parameters": {}, "strict": True}},
        {
            "type": "custom",
            "custom": {
                "name": "free",
                "description": "d",
                "format": {"type": "grammar", "grammar": {"definition": "x", "syntax": "lark"}},
            },
        },
    ],
    "tool_choice": {
        "type": "allowed_tools",
        "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "add"}}]},
    },
    "parallel_tool_calls": True,
    "temperature": 1,
    "top_p": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "max_tokens": 5,
    "max_completion_tokens": 5,
    "seed": 1,
    "n": 2,
    "stop": ["x"],
    "logprobs": True,
    "top_logprobs": 2,
    "logit_bias": {"1": 1},
    "reasoning_effort": "low",
    "verbosity": "low",
    "service_tier": "auto",
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "n", "description": "d", "schema": {}, "strict": True},
    },
    "modalities": ["text"],
    "audio": {"voice": {"id": "v"}, "format": "wav"},
    "prediction": {"type": "content", "content": [{"type": "text", "text": "x"}]},
    "user": "u",
    "safety_identifier": "s",
    "metadata": {"k": "v"},
    "provider_options": {"openai": {"a": 1}, "fake": {}},
    "strict": True,
    "stream": True,
    "stream_options": {"include_usage": True},
    "unknown": 1,
}
"""A request with everything in it."""


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    paths = [path] if path else []
    if isinstance(value, dict):
        for key, inner in value.items():
            paths += _paths(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            paths += _paths(inner, (*path, index))
    return paths


def _with(path: tuple[str | int, ...], change: Callable[[Any, str | int], None]) -> dict[str, Any]:
    body = json.loads(json.dumps(FULL))
    target: Any = body
    for step in path[:-1]:
        target = target[step]
    change(target, path[-1])
    return body


def read_or_refuse(body: Any) -> ChatRequest | None:
    """The request, or None where it is refused. Nothing else may come of a body."""
    try:
        request = parse_chat(json.dumps(body).encode()).request
        check(request)
    except InvalidArgument as refusal:
        return None if refusal.field else pytest.fail(f"{refusal!r} names no field")
    request.SerializeToString()
    return request


def test_a_request_with_everything_is_read() -> None:
    assert read_or_refuse(FULL) is not None


@settings(max_examples=300)
@given(st.sampled_from(_paths(FULL)), _JSON)
def test_any_value_in_any_field_is_read_or_refused(path: tuple[str | int, ...], value: Any) -> None:
    read_or_refuse(_with(path, lambda target, step: target.__setitem__(step, value)))


@pytest.mark.parametrize("path", _paths(FULL), ids=lambda path: ".".join(map(str, path)))
def test_any_field_may_be_missing_or_null(path: tuple[str | int, ...]) -> None:
    read_or_refuse(_with(path, lambda target, step: target.__delitem__(step)))
    read_or_refuse(_with(path, lambda target, step: target.__setitem__(step, None)))


@given(_JSON)
def test_any_json_is_read_or_refused(body: Any) -> None:
    read_or_refuse(body)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgument):
        parse_chat(data)
