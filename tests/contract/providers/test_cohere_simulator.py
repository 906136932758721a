"""The simulator of Cohere tells the truth: Cohere's own SDK is content with it, and so is our adapter."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Generator
from typing import Any

import cohere
import pytest

from llmgateway.v1.chat_service_pb2 import ChatRequest, ChatResponse
from llmgateway.v1.content_pb2 import FinishReason, ReasoningEffort, ResponseFormat, Role, ToolChoice
from llmgateway_server.errors import GatewayError
from llmgateway_server.events import text_of
from llmgateway_server.pipeline.closing import closing
from llmgateway_server.ports.provider import Credential, Endpoint, ProviderCall, Timeouts
from llmgateway_server.providers import Providers
from llmgateway_server.system import SystemClock
from tests.contract.providers.cases import folded
from tests.support.simulators import SimulatorProcess, simulator

KEY = "simulated-key"
SCHEMA: Any = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL: Any = {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}
CALLS = [{"name": "get_weather", "arguments": {"city": city}} for city in ("Oslo", "Rome")]
HELLO: Any = [{"role": "user", "content": "Hello there"}]
both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@pytest.fixture(scope="module")
def process() -> Generator[SimulatorProcess]:
    with simulator("tests.support.cohere_simulator", "--key", KEY) as started:
        yield started


@pytest.fixture
def upstream(process: SimulatorProcess) -> SimulatorProcess:
    process.clear()
    return process


@pytest.fixture
async def sdk(upstream: SimulatorProcess) -> AsyncGenerator[cohere.AsyncClientV2]:
    async with cohere.AsyncClientV2(KEY, base_url=upstream.address, max_retries=0) as client:
        yield client


@pytest.fixture
async def providers() -> AsyncGenerator[Providers]:
    built = Providers(SystemClock())
    yield built
    await built.close()


class TestSdk:
    """Cohere's own SDK, against the simulator."""

    async def test_text(self, sdk: cohere.AsyncClientV2) -> None:
        answer = await sdk.chat(model="command-sim", messages=HELLO, logprobs=True)

        assert said(answer) == "Hello there"
        assert answer.finish_reason == "COMPLETE"
        assert answer.usage is not None
        assert answer.usage.tokens is not None
        assert answer.usage.tokens.output_tokens == 2
        assert [item.text for item in answer.logprobs or []] == ["Hello ", "there"]

    async def test_streamed_text(self, sdk: cohere.AsyncClientV2) -> None:
        events = await streamed(sdk, model="command-sim", messages=HELLO)

        assert [event.type for event in events] == [
            "message-start",
            "content-start",
            "content-delta",
            "content-delta",
            "content-end",
            "message-end",
        ]
        assert "".join(event.delta.message.content.text for event in events if event.type == "content-delta") == (
            "Hello there"
        )
        assert events[-1].delta.finish_reason == "COMPLETE"

    async def test_thinking(self, upstream: SimulatorProcess, sdk: cohere.AsyncClientV2) -> None:
        upstream.queue({"reasoning": "Hm well"}, {"reasoning": "Hm well"})
        answer = await sdk.chat(model="command-sim-reasoning", messages=HELLO)
        events = await streamed(sdk, model="command-sim-reasoning", messages=HELLO)

        assert [part.type for part in answer.message.content or []] == ["thinking", "text"]
        deltas = [event.delta.message.content for event in events if event.type == "content-delta"]
        assert "".join(delta.thinking or "" for delta in deltas) == "Hm well"

    async def test_tool_calls(self, upstream: SimulatorProcess, sdk: cohere.AsyncClientV2) -> None:
        upstream.queue({"text": "I will look.", "tool_calls": CALLS}, {"text": "I will look.", "tool_calls": CALLS})
        answer = await sdk.chat(model="command-sim", messages=HELLO, tools=[TOOL])
        events = await streamed(sdk, model="command-sim", messages=HELLO, tools=[TOOL])

        made: list[Any] = list(answer.message.tool_calls or [])
        assert answer.message.tool_plan == "I will look."
        assert [json.loads(call.function.arguments) for call in made] == [{"city": "Oslo"}, {"city": "Rome"}]
        plan = [event.delta.message.tool_plan for event in events if event.type == "tool-plan-delta"]
        assert "".join(plan) == "I will look."
        begun = [event.delta.message.tool_calls for event in events if event.type == "tool-call-start"]
        assert [call.function.name for call in begun] == ["get_weather", "get_weather"]
        pieces = [event.delta.message.tool_calls for event in events if event.type == "tool-call-delta"]
        assert "".join(piece.function.arguments for piece in pieces) == '{"city": "Oslo"}{"city": "Rome"}'

        results = [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in made]
        turns: Any = [*HELLO, answer.message, *results]
        back = await sdk.chat(model="command-sim", messages=turns, tools=[TOOL])
        assert said(back) == "Hello there"

    async def test_schema(self, sdk: cohere.AsyncClientV2) -> None:
        wanted: Any = {"type": "json_object", "json_schema": SCHEMA}
        answer = await sdk.chat(model="command-sim", messages=HELLO, response_format=wanted)

        assert json.loads(said(answer)) == {"city": "text"}

    async def test_models(self, sdk: cohere.AsyncClientV2) -> None:
        assert [model.name for model in (await sdk.models.list()).models] == ["command-sim", "command-sim-reasoning"]

    async def test_refusals(self, upstream: SimulatorProcess, sdk: cohere.AsyncClientV2) -> None:
        async with cohere.AsyncClientV2("wrong", base_url=upstream.address, max_retries=0) as stranger:
            with pytest.raises(cohere.UnauthorizedError):
                await stranger.chat(model="command-sim", messages=HELLO)
        with pytest.raises(cohere.NotFoundError):
            await sdk.chat(model="none", messages=HELLO)
        with pytest.raises(cohere.BadRequestError):
            await sdk.chat(model="command-sim", messages=HELLO, presence_penalty=2)
        upstream.queue({"status": 429, "error": {"message": "limited to 20 API calls / minute"}})
        with pytest.raises(cohere.TooManyRequestsError):
            await sdk.chat(model="command-sim", messages=HELLO)

    async def test_error_within_a_stream(self, upstream: SimulatorProcess, sdk: cohere.AsyncClientV2) -> None:
        upstream.queue({"break_at": 2, "how": "error"})
        events = await streamed(sdk, model="command-sim", messages=HELLO)

        assert events[-1].delta.error == "the model went away"


class TestAdapter:
    """Our adapter, against the simulator: a process of its own that speaks real HTTP."""

    @both
    async def test_text(self, upstream: SimulatorProcess, providers: Providers, stream: bool) -> None:
        request = hello()
        request.generation.logprobs = True
        answer = await chat(upstream, providers, request, stream=stream)

        assert text_of(answer.message) == "Hello there, world"
        assert answer.finish_reason == FinishReason.FINISH_REASON_STOP
        assert answer.usage.output_tokens == 3
        assert answer.usage.input_cached_tokens < answer.usage.input_tokens
        assert "".join(token.token for token in answer.logprobs[0].tokens) == "Hello there, world"
        assert upstream.journal()[0]["headers"]["authorization"] == f"Bearer {KEY}"

    @both
    async def test_ignored_field_is_told(self, upstream: SimulatorProcess, providers: Providers, stream: bool) -> None:
        request = hello()
        request.generation.verbosity = "low"
        answer = await chat(upstream, providers, request, stream=stream)

        assert [warning.field for warning in answer.warnings] == ["generation.verbosity"]

    @both
    async def test_tools_there_and_back(self, upstream: SimulatorProcess, providers: Providers, stream: bool) -> None:
        upstream.queue({"text": "I will look.", "tool_calls": CALLS, "reasoning": "Two of them."})
        request = hello()
        request.generation.reasoning_effort = ReasoningEffort.REASONING_EFFORT_LOW
        function = request.tools.add().function
        function.name, function.parameters_schema = "get_weather", json.dumps(SCHEMA)
        asked = await chat(upstream, providers, request, stream=stream, model="command-sim-reasoning")
        calls = [part.tool_call for part in asked.message.parts if part.HasField("tool_call")]

        assert asked.message.parts[0].reasoning == "Two of them."
        assert asked.message.parts[1].text == "I will look."
        assert [json.loads(call.arguments) for call in calls] == [{"city": "Oslo"}, {"city": "Rome"}]
        assert asked.finish_reason == FinishReason.FINISH_REASON_TOOL_CALLS

        request.messages.append(asked.message)
        results = request.messages.add(role=Role.ROLE_TOOL)
        for call in calls:
            result = results.parts.add().tool_result
            result.call_id = call.id
            result.parts.add(text="sunny")
        answer = await chat(upstream, providers, request, stream=stream, model="command-sim-reasoning")

        assert text_of(answer.message) == "Hello there, world"
        sent = upstream.journal()[1]["body"]["messages"]
        assert sent[1]["content"] == [{"type": "thinking", "thinking": "Two of them."}]
        assert sent[1]["tool_plan"] == "I will look."
        assert [message["tool_call_id"] for message in sent[2:]] == [call.id for call in calls]

    @both
    async def test_schema(self, upstream: SimulatorProcess, providers: Providers, stream: bool) -> None:
        request = hello()
        wanted = request.generation.response_format
        wanted.type, wanted.name, wanted.schema = ResponseFormat.TYPE_JSON_SCHEMA, "city", json.dumps(SCHEMA)
        answer = await chat(upstream, providers, request, stream=stream)

        assert json.loads(text_of(answer.message)) == {"city": "text"}

    @both
    async def test_forced_tool(self, upstream: SimulatorProcess, providers: Providers, stream: bool) -> None:
        request = hello()
        for name in ("now", "get_weather"):
            function = request.tools.add().function
            function.name, function.parameters_schema = name, json.dumps(SCHEMA)
        request.tool_choice.mode = ToolChoice.MODE_REQUIRED
        request.tool_choice.names.append("get_weather")
        answer = await chat(upstream, providers, request, stream=stream)
        call = answer.message.parts[0].tool_call

        assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "text"})

    @both
    @pytest.mark.parametrize("script", [{"gzip": True}, {"comments": True}, {"malformed_at": [2]}])
    async def test_oddities(
        self, upstream: SimulatorProcess, providers: Providers, stream: bool, script: dict[str, Any]
    ) -> None:
        upstream.queue(script)
        answer = await chat(upstream, providers, hello(), stream=stream)

        assert text_of(answer.message) == "Hello there, world"

    @pytest.mark.parametrize(
        ("script", "reason"),
        [
            ({"break_at": 0, "how": "close"}, "PROVIDER_UNAVAILABLE"),
            ({"break_at": 0, "how": "reset"}, "PROVIDER_UNAVAILABLE"),
            ({"break_at": 0, "how": "hang"}, "PROVIDER_UNAVAILABLE"),
            ({"break_at": 2, "how": "error"}, "PROVIDER_UNAVAILABLE"),
            ({"break_at": 5, "how": "close", "delay_ms": 20}, "STREAM_BROKEN"),
            ({"break_at": 5, "how": "reset", "delay_ms": 20}, "STREAM_BROKEN"),
            ({"break_at": 5, "how": "hang", "delay_ms": 20}, "STREAM_BROKEN"),
            ({"break_at": 5, "how": "error", "delay_ms": 20}, "STREAM_BROKEN"),
            ({"how": "no_done", "delay_ms": 20}, "STREAM_BROKEN"),
            ({"how": "no_finish", "delay_ms": 20}, "STREAM_BROKEN"),
            ({"malformed_at": [4, 5], "delay_ms": 20}, "STREAM_BROKEN"),
            ({"status": 401, "error": {"message": "invalid api token"}}, "PROVIDER_REJECTED_CREDENTIAL"),
            ({"status": 503, "error": {"message": "unavailable"}}, "PROVIDER_UNAVAILABLE"),
            ({"body": "<html></html>", "content_type": "text/html"}, "PROVIDER_PROTOCOL_ERROR"),
        ],
        ids=str,
    )
    async def test_faults(
        self, upstream: SimulatorProcess, providers: Providers, script: dict[str, Any], reason: str
    ) -> None:
        upstream.queue(script)
        with pytest.raises(GatewayError) as caught:
            await chat(upstream, providers, hello(), stream=True)

        assert caught.value.reason_name == reason
        assert len(upstream.journal()) == 1, "an adapter asks once"

    async def test_model_that_is_not_there(self, upstream: SimulatorProcess, providers: Providers) -> None:
        with pytest.raises(GatewayError) as caught:
            await chat(upstream, providers, hello(), stream=False, model="none", deployment="providers/sim")

        assert caught.value.reason_name == "RESOURCE_NOT_FOUND"

    async def test_leaving_stops_the_provider(self, upstream: SimulatorProcess, providers: Providers) -> None:
        upstream.queue({"chunks": ["word "] * 1000, "delay_ms": 10})
        call = a_call(upstream, hello(), stream=True)
        async with closing(providers.adapter(call.endpoint).chat(call)) as events:
            await anext(events)
        left_at = asyncio.get_running_loop().time()
        entry = (await asyncio.to_thread(upstream.wait_for, lambda journal: journal[0]["closed_at"] is not None))[0]

        assert entry["chunks_sent"] < 100
        assert asyncio.get_running_loop().time() - left_at < 2


def hello() -> ChatRequest:
    request = ChatRequest(model="models/m")
    request.messages.add(role=Role.ROLE_USER).parts.add(text="Hello there, world")
    return request


def a_call(
    upstream: SimulatorProcess,
    request: ChatRequest,
    *,
    stream: bool,
    model: str = "command-sim",
    deployment: str = "deployments/sim",
) -> ProviderCall:
    endpoint = Endpoint(deployment, "providers/sim", "cohere", model, upstream.address, Credential(KEY))
    deadline = asyncio.get_running_loop().time() + 10
    timeouts = Timeouts(first_event=0.5, idle=0.5)
    return ProviderCall(request, endpoint, stream, deadline, timeouts, request_id="request-1")


async def chat(
    upstream: SimulatorProcess, providers: Providers, request: ChatRequest, *, stream: bool, **names: str
) -> ChatResponse:
    """The whole answer of the simulator through our adapter."""
    call = a_call(upstream, request, stream=stream, **names)
    return folded([event async for event in providers.adapter(call.endpoint).chat(call)])


def said(answer: cohere.V2ChatResponse) -> str:
    """The text of an answer that the SDK has read."""
    return "".join(part.text for part in answer.message.content or [] if part.type == "text")


async def streamed(sdk: cohere.AsyncClientV2, **request: Any) -> list[Any]:
    """The events that the SDK reads. Any: each kind of event has a type of its own."""
    return [event async for event in sdk.chat_stream(**request)]
