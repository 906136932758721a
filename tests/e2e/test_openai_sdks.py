"""OpenAI's SDKs for Python and Node, through Envoy, against both kinds of provider.

The same requests go through each SDK to each provider, and the same is expected of all four. Behind `openai` stands a
process of its own that speaks OpenAI's API over HTTP.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import pytest

from tests.e2e.openai_sdk import RUNNERS, Json, Outcomes, Scene
from tests.support.gateway import Gateway

pytestmark = pytest.mark.e2e

QUESTION = [{"role": "user", "content": "What time is it in Paris?"}]
TEXT = "It is half past nine."
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "hour": {"type": "integer"}},
    "required": ["city", "hour"],
    "additionalProperties": False,
}
SHAPED = {"city": "Paris", "hour": 9}
CALLS = [("clock", {"city": "Paris", "zone": "Europe/Paris"}), ("weather", {"city": "Paris"})]
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("clock", "weather")
]
FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}
USAGE = {"stream_options": {"include_usage": True}}

# Scripts, which both providers understand. What one network read brings is passed on as one piece, hence the delay.
SAY_TEXT = {"text": TEXT, "delay_ms": 10}
CALL_TOOLS = {"tool_calls": [{"name": name, "arguments": arguments} for name, arguments in CALLS], "delay_ms": 10}

REFUSE: dict[str, dict[str, Json]] = {
    "fake": {"failure": {"reason": "CONTEXT_LENGTH_EXCEEDED"}},
    "openai": {
        "status": 400,
        "error": {"message": "Too long.", "code": "context_length_exceeded", "param": "messages"},
    },
}

PROVIDERS = ["fake", "openai"]


def scenes(provider: str, key: str) -> dict[str, Scene]:
    """Every request, as it goes to one provider."""
    listed = {"fake": "fake/echo", "openai": "simulated/chat"}[provider]

    def chat(kind: str, script: Mapping[str, Json], **fields: Json) -> Scene:
        body = {"model": listed, "messages": QUESTION, **fields, **scripted(provider, script)}
        return Scene(kind, key, body)

    return {
        "chat": chat("whole", SAY_TEXT),
        "stream": chat("stream", SAY_TEXT, **USAGE),
        "stream without usage": chat("stream", SAY_TEXT),
        "tools": chat("whole", CALL_TOOLS, tools=TOOLS, parallel_tool_calls=True),
        "tools streamed": chat("stream", CALL_TOOLS, tools=TOOLS),
        "tools accumulated": chat("accumulate", CALL_TOOLS, tools=TOOLS),
        "schema": chat("whole", {"text": json.dumps(SHAPED)}, response_format=FORMAT),
        "schema accumulated": chat("accumulate", {"text": json.dumps(SHAPED)}, response_format=FORMAT),
        "three": chat("whole", SAY_TEXT, n=3),
        "three streamed": chat("stream", SAY_TEXT, n=3, **USAGE),
        "logprobs": chat("whole", SAY_TEXT, logprobs=True, top_logprobs=2),
        "logprobs accumulated": chat("accumulate", SAY_TEXT, logprobs=True, top_logprobs=2),
        "wrong key": Scene("whole", "lgw_" + "0" * 40, {"model": listed, "messages": QUESTION}),
        "wrong key streamed": Scene("stream", "lgw_" + "0" * 40, {"model": listed, "messages": QUESTION}),
        "no such model": Scene("whole", key, {"model": "nobody/nothing", "messages": QUESTION}),
        "bad field": chat("whole", SAY_TEXT, temperature=9),
        "bad field streamed": chat("stream", SAY_TEXT, top_p=-1),
        "refused by the provider": chat("whole", REFUSE[provider]),
        "refused by the provider streamed": chat("stream", REFUSE[provider]),
        "models": Scene("list", key, {}),
        "model": Scene("retrieve", key, {"model": listed}),
        "no model to retrieve": Scene("retrieve", key, {"model": "nobody/nothing"}),
    }


def scripted(provider: str, script: Mapping[str, Json]) -> dict[str, Json]:
    """The fields that make a provider give a certain answer."""
    if provider == "fake":
        return {"provider_options": {"fake": script}}
    return {"provider_options": {"openai": {"x_sim_script": script}}}


@pytest.fixture(scope="module", params=PROVIDERS)
def provider(request: pytest.FixtureRequest) -> str:
    """Who answers."""
    return request.param


@pytest.fixture(scope="module", params=list(RUNNERS))
def outcomes(request: pytest.FixtureRequest, gateway: Gateway, provider: str) -> Outcomes:
    """What came out of every request through one SDK."""
    return RUNNERS[request.param](f"{gateway.url}/v1", scenes(provider, gateway.key))


def said(choice: Json) -> str:
    """The text of a whole choice, whose reason to end must fit."""
    assert choice["finish_reason"] == "stop"
    assert choice["message"]["role"] == "assistant"
    return choice["message"]["content"]


def texts(chunks: Json) -> dict[int, str]:
    """The text of a stream by choice."""
    found: defaultdict[int, str] = defaultdict(str)
    for chunk in chunks:
        for choice in chunk["choices"]:
            found[choice["index"]] += choice["delta"].get("content") or ""
    return dict(found)


def calls(message: Json) -> list[tuple[str, Json]]:
    """The tool calls of a message, whose ids must differ."""
    ids = [call["id"] for call in message["tool_calls"]]
    assert len(set(ids)) == len(ids)
    assert all(ids)
    return [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in message["tool_calls"]]


def test_chat(outcomes: Outcomes) -> None:
    answer = outcomes["chat"]
    assert answer["object"] == "chat.completion"
    assert said(answer["choices"][0]) == TEXT
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0


def test_streaming(outcomes: Outcomes) -> None:
    *chunks, last = outcomes["stream"]
    assert texts(chunks) == {0: TEXT}
    assert sum(bool(chunk["choices"][0]["delta"].get("content")) for chunk in chunks) > 1
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert {chunk["id"] for chunk in [*chunks, last]} == {last["id"]}
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] > 0
    assert not any(chunk.get("usage") for chunk in chunks)


def test_a_stream_tells_its_usage_only_when_asked(outcomes: Outcomes) -> None:
    chunks = outcomes["stream without usage"]
    assert texts(chunks) == {0: TEXT}
    assert all(chunk["choices"] and not chunk.get("usage") for chunk in chunks)


@pytest.mark.parametrize("scene", ["tools", "tools accumulated"])
def test_parallel_tool_calls(outcomes: Outcomes, scene: str) -> None:
    choice = outcomes[scene]["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert calls(choice["message"]) == CALLS


def test_arguments_of_tool_calls_come_in_pieces(outcomes: Outcomes) -> None:
    arguments: defaultdict[int, list[str]] = defaultdict(list)
    for chunk in outcomes["tools streamed"]:
        for call in chunk["choices"][0]["delta"].get("tool_calls") or []:
            arguments[call["index"]].append(call["function"].get("arguments") or "")
    assert [json.loads("".join(arguments[index])) for index in (0, 1)] == [wanted for _, wanted in CALLS]
    assert len([piece for piece in arguments[0] if piece]) > 1


@pytest.mark.parametrize("scene", ["schema", "schema accumulated"])
def test_json_by_a_schema(outcomes: Outcomes, scene: str) -> None:
    assert json.loads(said(outcomes[scene]["choices"][0])) == SHAPED


def test_three_answers(outcomes: Outcomes) -> None:
    choices = outcomes["three"]["choices"]
    assert [choice["index"] for choice in choices] == [0, 1, 2]
    assert [said(choice) for choice in choices] == [TEXT] * 3


def test_three_streamed_answers(outcomes: Outcomes) -> None:
    *chunks, last = outcomes["three streamed"]
    assert texts(chunks) == dict.fromkeys(range(3), TEXT)
    assert len({chunk["id"] for chunk in chunks}) == 1
    one = outcomes["stream"][-1]["usage"]["completion_tokens"]
    assert last["usage"]["completion_tokens"] == 3 * one


@pytest.mark.parametrize("scene", ["logprobs", "logprobs accumulated"])
def test_logprobs(outcomes: Outcomes, scene: str) -> None:
    choice = outcomes[scene]["choices"][0]
    tokens = choice["logprobs"]["content"]
    assert "".join(token["token"] for token in tokens) == choice["message"]["content"] == TEXT
    assert all(token["logprob"] <= 0 and len(token["top_logprobs"]) == 2 for token in tokens)


@pytest.mark.parametrize(
    ("scene", "error"),
    [
        ("wrong key", ("AuthenticationError", 401, "invalid_api_key", None)),
        ("wrong key streamed", ("AuthenticationError", 401, "invalid_api_key", None)),
        ("no such model", ("NotFoundError", 404, "model_not_found", "model")),
        ("no model to retrieve", ("NotFoundError", 404, "model_not_found", "model")),
        ("bad field", ("BadRequestError", 400, "invalid_value", "temperature")),
        ("bad field streamed", ("BadRequestError", 400, "invalid_value", "top_p")),
    ],
)
def test_errors(outcomes: Outcomes, scene: str, error: tuple[Any, ...]) -> None:
    outcome = outcomes[scene]
    assert (outcome["error"], outcome["status"], outcome["code"], outcome["param"]) == error
    assert outcome["type"] == "invalid_request_error"


@pytest.mark.parametrize("scene", ["refused by the provider", "refused by the provider streamed"])
def test_what_the_provider_refuses(outcomes: Outcomes, scene: str) -> None:
    outcome = outcomes[scene]
    assert (outcome["error"], outcome["status"]) == ("BadRequestError", 400)
    assert outcome["code"] == "context_length_exceeded"


def test_models(outcomes: Outcomes) -> None:
    model = outcomes["model"]
    assert model["object"] == "model"
    assert model in outcomes["models"]
    assert {"fake/echo", "simulated/chat"} <= {model["id"] for model in outcomes["models"]}
