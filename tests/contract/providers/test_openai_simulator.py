"""The simulator of OpenAI tells the truth: OpenAI's own SDK is content with it, and so is our adapter."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Generator
from typing import Any

import openai
import pytest

from llmgateway.v1.chat_service_pb2 import ChatRequest, ChatResponse
from llmgateway.v1.content_pb2 import FinishReason, Role, ToolChoice
from llmgateway_server.errors import GatewayError
from llmgateway_server.events import text_of
from llmgateway_server.pipeline.closing import closing
from llmgateway_server.ports.provider import Credential, Endpoint, ProviderCall, Timeouts
from llmgateway_server.providers import Providers
from llmgateway_server.system import SystemClock
from tests.contract.providers.cases import folded
from tests.support.simulators import SimulatorProcess, simulator

KEY = "simulated-key"
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@pytest.fixture(scope="module")
def process() -> Generator[SimulatorProcess]:
    with simulator("tests.support.openai_simulator", "--key", KEY) as started:
        yield started


@pytest.fixture
def upstream(process: SimulatorProcess) -> SimulatorProcess:
    process.clear()
    return process


@pytest.fixture
async def sdk(upstream: SimulatorProcess) -> AsyncGenerator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(api_key=KEY, base_url=upstream.url, max_retries=0) as client:
        yield client


@pytest.fixture
async def providers() -> AsyncGenerator[Providers]:
    built = Providers(SystemClock())
    yield built
    await built.close()


class TestSdk:
    """OpenAI's own SDK, against the simulator."""

    async def test_text(self, sdk: openai.AsyncOpenAI) -> None:
        answer = await sdk.chat.completions.create(
            model="gpt-sim", messages=[{"role": "user", "content": "Hello there"}], logprobs=True, top_logprobs=2
        )

        assert answer.choices[0].message.content == "Hello there"
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage is not None
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + 2
        assert answer.choices[0].logprobs is not None
        assert [token.token for token in answer.choices[0].logprobs.content or []] == ["Hello ", "there"]

    async def test_streamed_text(self, sdk: openai.AsyncOpenAI) -> None:
        async with sdk.chat.completions.stream(
            model="gpt-sim",
            messages=[{"role": "user", "content": "Hello there"}],
            stream_options={"include_usage": True},
        ) as stream:
            async for _ in stream:
                pass
            answer = await stream.get_final_completion()

        assert answer.choices[0].message.content == "Hello there"
        assert answer.usage is not None

    async def test_streamed_tool_calls(self, upstream: SimulatorProcess, sdk: openai.AsyncOpenAI) -> None:
        calls = [{"name": "get_weather", "arguments": {"city": city}} for city in ("Oslo", "Rome")]
        upstream.queue({"tool_calls": calls})
        async with sdk.chat.completions.stream(
            model="gpt-sim", messages=[{"role": "user", "content": "Weather?"}], tools=[TOOL]
        ) as stream:
            answer = await stream.get_final_completion()

        made = answer.choices[0].message.tool_calls or []
        assert [json.loads(call.function.arguments) for call in made] == [{"city": "Oslo"}, {"city": "Rome"}]
        assert answer.choices[0].finish_reason == "tool_calls"

    async def test_schema(self, sdk: openai.AsyncOpenAI) -> None:
        schema: Any = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
        answer = await sdk.chat.completions.create(
            model="gpt-sim",
            messages=[{"role": "user", "content": "A city"}],
            response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": schema}},
        )

        assert json.loads(answer.choices[0].message.content or "") == {"name": "text"}

    async def test_models(self, sdk: openai.AsyncOpenAI) -> None:
        assert [model.id async for model in await sdk.models.list()] == ["gpt-sim", "gpt-sim-mini", "o1-sim"]
        assert (await sdk.models.retrieve("gpt-sim")).owned_by == "simulator"

    async def test_refusals(self, upstream: SimulatorProcess, sdk: openai.AsyncOpenAI) -> None:
        hello: Any = [{"role": "user", "content": "Hello"}]
        with pytest.raises(openai.AuthenticationError):
            await sdk.with_options(api_key="wrong").chat.completions.create(model="gpt-sim", messages=hello)
        with pytest.raises(openai.NotFoundError):
            await sdk.chat.completions.create(model="gpt-none", messages=hello)
        with pytest.raises(openai.BadRequestError) as caught:
            await sdk.chat.completions.create(model="gpt-sim", messages=hello, extra_body={"top_k": 1})
        assert (caught.value.code, caught.value.param) == ("unknown_parameter", "top_k")
        upstream.queue({"status": 429, "error": {"message": "Slow down", "code": "rate_limit_exceeded"}})
        with pytest.raises(openai.RateLimitError):
            await sdk.chat.completions.create(model="gpt-sim", messages=hello)


class TestAdapter:
    """Our adapter, against the simulator: a process of its own that speaks real HTTP."""

    @both
    async def test_text(self, upstream: SimulatorProcess, providers: Providers, stream: bool) -> None:
        request = hello()
        request.generation.logprobs = True
        answer = await chat(upstream, providers, request, stream=stream)

        assert text_of(answer.message) == "Hello there, world"
        assert answer.finish_reason == FinishReason.FINISH_REASON_STOP
        assert answer.upstream_model == "gpt-sim-2026-01-01"
        assert answer.usage.output_tokens == 3
        assert "".join(token.token for token in answer.logprobs[0].tokens) == "Hello there, world"
        assert upstream.journal()[0]["headers"]["authorization"] == f"Bearer {KEY}"

    @both
    async def test_ignored_field_is_told(self, upstream: SimulatorProcess, providers: Providers, stream: bool) -> None:
        request = hello()
        request.generation.top_k = 3
        answer = await chat(upstream, providers, request, stream=stream)

        assert [warning.field for warning in answer.warnings] == ["generation.top_k"]

    @both
    async def test_tools_there_and_back(self, upstream: SimulatorProcess, providers: Providers, stream: bool) -> None:
        upstream.queue(
            {"tool_calls": [{"name": "get_weather", "arguments": {"city": city}} for city in ("Oslo", "Rome")]}
        )
        request = hello()
        request.tools.add().function.name = "get_weather"
        asked = await chat(upstream, providers, request, stream=stream)
        calls = [part.tool_call for part in asked.message.parts]

        assert [json.loads(call.arguments) for call in calls] == [{"city": "Oslo"}, {"city": "Rome"}]

        request.messages.append(asked.message)
        results = request.messages.add(role=Role.ROLE_TOOL)
        for call in calls:
            result = results.parts.add().tool_result
            result.call_id = call.id
            result.parts.add(text="sunny")
        answer = await chat(upstream, providers, request, stream=stream)

        assert text_of(answer.message) == "Hello there, world"

    @both
    async def test_forced_tool(self, upstream: SimulatorProcess, providers: Providers, stream: bool) -> None:
        request = hello()
        function = request.tools.add().function
        function.name = "get_weather"
        function.parameters_schema = json.dumps(TOOL["function"]["parameters"])
        request.tool_choice.mode = ToolChoice.MODE_REQUIRED
        request.tool_choice.names.append("get_weather")
        answer = await chat(upstream, providers, request, stream=stream)

        assert json.loads(answer.message.parts[0].tool_call.arguments) == {"city": "text"}

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
            ({"break_at": 4, "how": "close", "delay_ms": 20}, "STREAM_BROKEN"),
            ({"break_at": 4, "how": "reset", "delay_ms": 20}, "STREAM_BROKEN"),
            ({"break_at": 4, "how": "hang", "delay_ms": 20}, "STREAM_BROKEN"),
            ({"break_at": 4, "how": "error", "delay_ms": 20}, "STREAM_BROKEN"),
            ({"how": "no_finish", "delay_ms": 20}, "STREAM_BROKEN"),
            ({"malformed_at": [3, 4], "delay_ms": 20}, "STREAM_BROKEN"),
            ({"status": 401, "error": {"message": "No", "code": "invalid_api_key"}}, "PROVIDER_REJECTED_CREDENTIAL"),
            ({"status": 503, "headers": {"retry-after": "3"}}, "PROVIDER_UNAVAILABLE"),
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
            await chat(upstream, providers, hello(), stream=False, model="gpt-none")
        assert caught.value.reason_name == "PROVIDER_UNAVAILABLE"
        assert not caught.value.retryable

        # A model that the catalogue does not list was named by the caller.
        with pytest.raises(GatewayError) as caught:
            await chat(upstream, providers, hello(), stream=False, model="gpt-none", deployment="providers/sim")
        assert caught.value.reason_name == "RESOURCE_NOT_FOUND"
        assert caught.value.metadata["resource"] == "models/sim/gpt-none"

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
    model: str = "gpt-sim",
    deployment: str = "deployments/sim",
) -> ProviderCall:
    endpoint = Endpoint(deployment, "providers/sim", "openai", model, upstream.url, Credential(KEY), vendor="openai")
    deadline = asyncio.get_running_loop().time() + 10
    timeouts = Timeouts(first_event=0.5, idle=0.5)
    return ProviderCall(request, endpoint, stream, deadline, timeouts, request_id="request-1")


async def chat(
    upstream: SimulatorProcess, providers: Providers, request: ChatRequest, *, stream: bool, **names: str
) -> ChatResponse:
    """The whole answer of the simulator through our adapter."""
    call = a_call(upstream, request, stream=stream, **names)
    return folded([event async for event in providers.adapter(call.endpoint).chat(call)])
