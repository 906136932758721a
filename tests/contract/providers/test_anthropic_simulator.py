"""The simulator of Anthropic tells the truth: Anthropic's own SDK is content with it, and so is our adapter."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Generator
from typing import Any

import anthropic
import pytest

from llmgateway.v1.chat_service_pb2 import ChatRequest, ChatResponse
from llmgateway.v1.content_pb2 import FinishReason, Message, ReasoningEffort, ResponseFormat, Role, ToolChoice
from llmgateway_server.errors import GatewayError
from llmgateway_server.events import text_of
from llmgateway_server.pipeline.closing import closing
from llmgateway_server.ports.provider import Credential, Endpoint, ProviderCall, Timeouts
from llmgateway_server.providers import Providers
from llmgateway_server.system import SystemClock
from tests.contract.providers.cases import folded
from tests.support.anthropic_simulator import HAIKU, OPUS, SONNET
from tests.support.simulators import SimulatorProcess, simulator

KEY = "simulated-key"
SCHEMA: Any = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL: Any = {"name": "get_weather", "input_schema": SCHEMA}
HELLO: Any = [{"role": "user", "content": "Hello there"}]
both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@pytest.fixture(scope="module")
def process() -> Generator[SimulatorProcess]:
    with simulator("tests.support.anthropic_simulator", "--key", KEY) as started:
        yield started


@pytest.fixture
def upstream(process: SimulatorProcess) -> SimulatorProcess:
    process.clear()
    return process


@pytest.fixture
async def sdk(upstream: SimulatorProcess) -> AsyncGenerator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(api_key=KEY, base_url=upstream.address, max_retries=0) as client:
        yield client


@pytest.fixture
async def providers() -> AsyncGenerator[Providers]:
    built = Providers(SystemClock())
    yield built
    await built.close()


class TestSdk:
    """Anthropic's own SDK, against the simulator."""

    async def test_text(self, sdk: anthropic.AsyncAnthropic) -> None:
        answer = await sdk.messages.create(model=SONNET, max_tokens=100, system="Be brief.", messages=HELLO)

        assert [block.text for block in answer.content if block.type == "text"] == ["Hello there"]
        assert answer.stop_reason == "end_turn"
        assert answer.usage.input_tokens > 0

    async def test_streamed_text(self, sdk: anthropic.AsyncAnthropic) -> None:
        async with sdk.messages.stream(model=SONNET, max_tokens=100, messages=HELLO) as stream:
            pieces = [piece async for piece in stream.text_stream]
            answer = await stream.get_final_message()

        assert pieces == ["Hello ", "there"]
        assert answer.stop_reason == "end_turn"

    async def test_streamed_tool_calls(self, upstream: SimulatorProcess, sdk: anthropic.AsyncAnthropic) -> None:
        upstream.queue(
            {"tool_calls": [{"name": "get_weather", "arguments": {"city": city}} for city in ("Oslo", "Rome")]}
        )
        async with sdk.messages.stream(model=SONNET, max_tokens=100, messages=HELLO, tools=[TOOL]) as stream:
            answer = await stream.get_final_message()

        assert [block.input for block in answer.content if block.type == "tool_use"] == [
            {"city": "Oslo"},
            {"city": "Rome"},
        ]
        assert answer.stop_reason == "tool_use"

    async def test_thinking_there_and_back(self, upstream: SimulatorProcess, sdk: anthropic.AsyncAnthropic) -> None:
        upstream.queue({"reasoning": "Need weather.", "tool_calls": [{"name": "get_weather"}]})
        thinking: Any = {"type": "enabled", "budget_tokens": 1024}
        asked = await sdk.messages.create(
            model=SONNET, max_tokens=2000, messages=HELLO, tools=[TOOL], thinking=thinking
        )
        call = asked.content[1]
        assert call.type == "tool_use"
        result: Any = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
        turns: Any = [*HELLO, {"role": "assistant", "content": asked.content}, {"role": "user", "content": [result]}]
        answer = await sdk.messages.create(
            model=SONNET, max_tokens=2000, messages=turns, tools=[TOOL], thinking=thinking
        )

        assert answer.stop_reason == "end_turn"

    async def test_schema(self, sdk: anthropic.AsyncAnthropic) -> None:
        answer = await sdk.messages.create(
            model=OPUS,
            max_tokens=100,
            messages=HELLO,
            output_config={"format": {"type": "json_schema", "schema": SCHEMA}},
        )

        assert answer.content[0].type == "text"
        assert json.loads(answer.content[0].text) == {"city": "text"}

    async def test_counts_and_models(self, sdk: anthropic.AsyncAnthropic) -> None:
        assert (await sdk.messages.count_tokens(model=SONNET, messages=HELLO)).input_tokens > 0
        assert [model.id async for model in sdk.models.list()] == [SONNET, OPUS, HAIKU]

    async def test_refusals(self, upstream: SimulatorProcess, sdk: anthropic.AsyncAnthropic) -> None:
        async def ask(client: anthropic.AsyncAnthropic = sdk, **fields: Any) -> object:
            wanted: Any = {"model": SONNET, "max_tokens": 100, "messages": HELLO, **fields}
            return await client.messages.create(**wanted)

        with pytest.raises(anthropic.AuthenticationError):
            await ask(sdk.with_options(api_key="wrong"))
        with pytest.raises(anthropic.NotFoundError):
            await ask(model="claude-none")
        with pytest.raises(anthropic.BadRequestError, match="Extra inputs"):
            await ask(extra_body={"seed": 1})
        with pytest.raises(anthropic.BadRequestError, match="non-whitespace"):
            await ask(messages=[{"role": "user", "content": [{"type": "text", "text": " "}]}])
        upstream.queue({"status": 429, "error": {"type": "rate_limit_error", "message": "Slow down"}})
        with pytest.raises(anthropic.RateLimitError):
            await ask()
        upstream.queue({"status": 529, "error": {"type": "overloaded_error", "message": "Overloaded"}})
        with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
            await ask()

    async def test_error_within_a_stream(self, upstream: SimulatorProcess, sdk: anthropic.AsyncAnthropic) -> None:
        upstream.queue({"break_at": 4, "how": "error"})
        with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
            async with sdk.messages.stream(model=SONNET, max_tokens=100, messages=HELLO) as stream:
                await stream.get_final_message()


class TestAdapter:
    """Our adapter, against the simulator: a process of its own that speaks real HTTP."""

    @both
    async def test_text(self, upstream: SimulatorProcess, providers: Providers, stream: bool) -> None:
        request = hello()
        request.messages.insert(0, Message(role=Role.ROLE_SYSTEM))
        request.messages[0].parts.add(text="Be brief.").cache_mark.ttl.FromSeconds(3600)
        answer = await chat(upstream, providers, request, stream=stream)

        assert text_of(answer.message) == "Hello there, world"
        assert answer.finish_reason == FinishReason.FINISH_REASON_STOP
        assert answer.upstream_model == f"{SONNET}-20260101"
        assert answer.usage.output_tokens > 0
        entry = upstream.journal()[0]
        assert entry["headers"]["x-api-key"] == KEY
        assert entry["body"]["system"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}

    @both
    @pytest.mark.parametrize("model", [SONNET, OPUS])
    async def test_three_turns_of_tools_with_thinking(
        self, upstream: SimulatorProcess, providers: Providers, stream: bool, model: str
    ) -> None:
        cities = ("Oslo", "Rome")
        upstream.queue(
            *({"reasoning": f"Now {city}.\n", "tool_calls": [call_of(city), call_of(city)]} for city in cities),
            {"reasoning": "Done.", "text": "Sunny."},
        )
        request = hello()
        request.generation.reasoning_effort = ReasoningEffort.REASONING_EFFORT_LOW
        request.tools.add().function.name = "get_weather"
        for city in cities:
            asked = await chat(upstream, providers, request, stream=stream, model=model)
            calls = [part.tool_call for part in asked.message.parts if part.HasField("tool_call")]
            assert [json.loads(call.arguments) for call in calls] == [{"city": city}] * 2
            assert asked.message.parts[0].reasoning == f"Now {city}.\n"
            request.messages.append(asked.message)
            for call in calls:
                result = request.messages.add(role=Role.ROLE_TOOL).parts.add().tool_result
                result.call_id = call.id
                result.parts.add(text="sunny")
        answer = await chat(upstream, providers, request, stream=stream, model=model)

        # The simulator refuses a signature that is not of the very words it signed.
        assert text_of(answer.message) == "Sunny."
        assert [part.reasoning for part in answer.message.parts] == ["Done.", ""]

    @both
    @pytest.mark.parametrize("model", [OPUS, HAIKU])
    async def test_schema(self, upstream: SimulatorProcess, providers: Providers, stream: bool, model: str) -> None:
        request = hello()
        wanted = request.generation.response_format
        wanted.type, wanted.name, wanted.schema = ResponseFormat.TYPE_JSON_SCHEMA, "place", json.dumps(SCHEMA)
        answer = await chat(upstream, providers, request, stream=stream, model=model)

        assert json.loads(text_of(answer.message)) == {"city": "text"}
        assert answer.finish_reason == FinishReason.FINISH_REASON_STOP

    @both
    async def test_forced_tool(self, upstream: SimulatorProcess, providers: Providers, stream: bool) -> None:
        request = hello()
        request.tools.add().function.name = "now"
        function = request.tools.add().function
        function.name, function.parameters_schema = "get_weather", json.dumps(SCHEMA)
        request.tool_choice.mode = ToolChoice.MODE_REQUIRED
        request.tool_choice.names.append("get_weather")
        answer = await chat(upstream, providers, request, stream=stream)

        assert json.loads(answer.message.parts[0].tool_call.arguments) == {"city": "text"}

    @both
    async def test_refusal(self, upstream: SimulatorProcess, providers: Providers, stream: bool) -> None:
        upstream.queue({"refusal": "This is not allowed."})
        answer = await chat(upstream, providers, hello(), stream=stream)

        assert [part.refusal for part in answer.message.parts] == ["This is not allowed."]
        assert answer.finish_reason == FinishReason.FINISH_REASON_CONTENT_FILTER

    @both
    @pytest.mark.parametrize("script", [{"gzip": True}, {"comments": True}, {"malformed_at": [2]}, {"how": "no_done"}])
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
            ({"how": "no_finish", "delay_ms": 20}, "STREAM_BROKEN"),
            ({"malformed_at": [4, 5], "delay_ms": 20}, "STREAM_BROKEN"),
            ({"status": 401, "error": {"type": "authentication_error"}}, "PROVIDER_REJECTED_CREDENTIAL"),
            ({"status": 529, "error": {"type": "overloaded_error"}}, "PROVIDER_UNAVAILABLE"),
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

    async def test_limit_that_resets_soon(self, upstream: SimulatorProcess, providers: Providers) -> None:
        headers = {
            "anthropic-ratelimit-requests-remaining": "0",
            "anthropic-ratelimit-requests-reset": "2100-01-01T00:00:00Z",
            "anthropic-ratelimit-tokens-remaining": "1000",
            "anthropic-ratelimit-tokens-reset": "2000-01-01T00:00:00Z",
        }
        upstream.queue({"status": 429, "error": {"type": "rate_limit_error"}, "headers": headers})
        with pytest.raises(GatewayError) as caught:
            await chat(upstream, providers, hello(), stream=False)

        assert caught.value.retry_after == 86_400
        assert caught.value.metadata["upstream_request_id"].startswith("req_sim_")

    async def test_model_that_is_not_there(self, upstream: SimulatorProcess, providers: Providers) -> None:
        with pytest.raises(GatewayError) as caught:
            await chat(upstream, providers, hello(), stream=False, model="claude-none")
        assert caught.value.reason_name == "PROVIDER_UNAVAILABLE"
        assert not caught.value.retryable

    async def test_leaving_stops_the_provider(self, upstream: SimulatorProcess, providers: Providers) -> None:
        upstream.queue({"chunks": ["word "] * 1000, "delay_ms": 10})
        call = a_call(upstream, hello(), stream=True)
        async with closing(providers.adapter(call.endpoint).chat(call)) as events:
            await anext(events)
        left_at = asyncio.get_running_loop().time()
        entry = (await asyncio.to_thread(upstream.wait_for, lambda journal: journal[0]["closed_at"] is not None))[0]

        assert entry["chunks_sent"] < 100
        assert asyncio.get_running_loop().time() - left_at < 0.5


def call_of(city: str) -> dict[str, Any]:
    return {"name": "get_weather", "arguments": {"city": city}}


def hello() -> ChatRequest:
    request = ChatRequest(model="models/m")
    request.messages.add(role=Role.ROLE_USER).parts.add(text="Hello there, world")
    return request


def a_call(upstream: SimulatorProcess, request: ChatRequest, *, stream: bool, model: str = SONNET) -> ProviderCall:
    endpoint = Endpoint("deployments/sim", "providers/sim", "anthropic", model, upstream.url, Credential(KEY))
    deadline = asyncio.get_running_loop().time() + 10
    timeouts = Timeouts(first_event=0.5, idle=0.5)
    return ProviderCall(request, endpoint, stream, deadline, timeouts, request_id="request-1")


async def chat(
    upstream: SimulatorProcess, providers: Providers, request: ChatRequest, *, stream: bool, model: str = SONNET
) -> ChatResponse:
    """The whole answer of the simulator through our adapter."""
    call = a_call(upstream, request, stream=stream, model=model)
    return folded([event async for event in providers.adapter(call.endpoint).chat(call)])
