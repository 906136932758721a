"""The simulator of Ollama tells the truth: Ollama's own SDK is content with it, and so is our adapter."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Generator
from typing import Any

import ollama
import pytest

from llmgateway.v1.chat_service_pb2 import ChatRequest, ChatResponse
from llmgateway.v1.content_pb2 import FinishReason, ReasoningEffort, ResponseFormat, Role
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
    with simulator("tests.support.ollama_simulator", "--key", KEY) as started:
        yield started


@pytest.fixture
def upstream(process: SimulatorProcess) -> SimulatorProcess:
    process.clear()
    return process


@pytest.fixture
async def sdk(upstream: SimulatorProcess) -> AsyncGenerator[ollama.AsyncClient]:
    client = ollama.AsyncClient(upstream.address, headers={"authorization": f"Bearer {KEY}"}, trust_env=False)
    yield client
    await client.close()


@pytest.fixture
async def providers() -> AsyncGenerator[Providers]:
    built = Providers(SystemClock())
    yield built
    await built.close()


class TestSdk:
    """Ollama's own SDK, against the simulator."""

    async def test_text(self, sdk: ollama.AsyncClient) -> None:
        answer = await sdk.chat("llama-sim:1b", HELLO, logprobs=True, top_logprobs=1)

        assert answer.message.content == "Hello there"
        assert (answer.done, answer.done_reason) == (True, "stop")
        assert (answer.prompt_eval_count, answer.eval_count) == (2, 2)
        assert [token.token for token in answer.logprobs or []] == ["Hello ", "there"]

    async def test_streamed_text(self, sdk: ollama.AsyncClient) -> None:
        lines = [line async for line in await sdk.chat("llama-sim:1b", HELLO, stream=True)]

        assert "".join(line.message.content or "" for line in lines) == "Hello there"
        assert [line.done for line in lines] == [False, False, True]

    async def test_thinking(self, upstream: SimulatorProcess, sdk: ollama.AsyncClient) -> None:
        upstream.queue({"reasoning": "Hm well"}, {"reasoning": "Hm well"})
        answer = await sdk.chat("qwen-sim:1b", HELLO, think=True)
        lines = [line async for line in await sdk.chat("qwen-sim:1b", HELLO, think="low", stream=True)]

        assert answer.message.thinking == "Hm well"
        assert "".join(line.message.thinking or "" for line in lines) == "Hm well"

    async def test_tool_calls(self, upstream: SimulatorProcess, sdk: ollama.AsyncClient) -> None:
        upstream.queue({"tool_calls": CALLS}, {"tool_calls": CALLS})
        answer = await sdk.chat("llama-sim:1b", HELLO, tools=[TOOL])
        lines = [line async for line in await sdk.chat("llama-sim:1b", HELLO, tools=[TOOL], stream=True)]

        for made in (answer.message.tool_calls, [call for line in lines for call in line.message.tool_calls or []]):
            assert [call.function.arguments for call in made or []] == [{"city": "Oslo"}, {"city": "Rome"}]
        back = await sdk.chat(
            "llama-sim:1b",
            [*HELLO, answer.message, {"role": "tool", "tool_name": "get_weather", "content": "sunny"}],
            tools=[TOOL],
        )
        assert back.message.content == "Hello there"

    async def test_schema(self, sdk: ollama.AsyncClient) -> None:
        answer = await sdk.chat("llama-sim:1b", HELLO, format=SCHEMA)

        assert json.loads(answer.message.content or "") == {"city": "text"}

    async def test_limit(self, sdk: ollama.AsyncClient) -> None:
        answer = await sdk.chat("llama-sim:1b", HELLO, options={"num_predict": 1})

        assert (answer.message.content, answer.done_reason) == ("Hello ", "length")

    async def test_models(self, sdk: ollama.AsyncClient) -> None:
        assert [model.model for model in (await sdk.list()).models] == ["llama-sim:1b", "qwen-sim:1b", "tiny-sim:1b"]
        assert (await sdk.show("qwen-sim:1b")).capabilities == ["completion", "thinking", "tools"]

    async def test_refusals(self, upstream: SimulatorProcess, sdk: ollama.AsyncClient) -> None:
        stranger = ollama.AsyncClient(upstream.address, trust_env=False)
        refusals: list[tuple[ollama.AsyncClient, str, int, dict[str, Any]]] = [
            (stranger, "unauthorized", 401, {"model": "llama-sim:1b"}),
            (sdk, "not found", 404, {"model": "none:1b"}),
            (sdk, "does not support tools", 400, {"model": "tiny-sim:1b", "tools": [TOOL]}),
            (sdk, "does not support thinking", 400, {"model": "llama-sim:1b", "think": True}),
        ]
        for client, words, status, arguments in refusals:
            with pytest.raises(ollama.ResponseError, match=words) as caught:
                await client.chat(messages=HELLO, **arguments)
            assert caught.value.status_code == status
        await stranger.close()

    async def test_error_within_a_stream(self, upstream: SimulatorProcess, sdk: ollama.AsyncClient) -> None:
        upstream.queue({"break_at": 2, "how": "error"})
        with pytest.raises(ollama.ResponseError, match="running the model"):
            async for _ in await sdk.chat("llama-sim:1b", HELLO, stream=True):
                pass


class TestAdapter:
    """Our adapter, against the simulator: a process of its own that speaks real HTTP."""

    @both
    async def test_text(self, upstream: SimulatorProcess, providers: Providers, stream: bool) -> None:
        request = hello()
        request.generation.logprobs = True
        answer = await chat(upstream, providers, request, stream=stream)

        assert text_of(answer.message) == "Hello there, world"
        assert answer.finish_reason == FinishReason.FINISH_REASON_STOP
        assert answer.upstream_model == "llama-sim:1b"
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (3, 3)
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
        upstream.queue({"tool_calls": CALLS, "reasoning": "Two of them."})
        request = hello()
        request.generation.reasoning_effort = ReasoningEffort.REASONING_EFFORT_LOW
        function = request.tools.add().function
        function.name, function.parameters_schema = "get_weather", json.dumps(SCHEMA)
        asked = await chat(upstream, providers, request, stream=stream, model="qwen-sim:1b")
        calls = [part.tool_call for part in asked.message.parts if part.HasField("tool_call")]

        assert asked.message.parts[0].reasoning == "Two of them."
        assert [json.loads(call.arguments) for call in calls] == [{"city": "Oslo"}, {"city": "Rome"}]
        assert asked.finish_reason == FinishReason.FINISH_REASON_TOOL_CALLS

        request.messages.append(asked.message)
        results = request.messages.add(role=Role.ROLE_TOOL)
        for call in calls:
            result = results.parts.add().tool_result
            result.call_id = call.id
            result.parts.add(text="sunny")
        answer = await chat(upstream, providers, request, stream=stream, model="qwen-sim:1b")

        assert text_of(answer.message) == "Hello there, world"
        sent = upstream.journal()[1]["body"]["messages"]
        assert sent[1]["thinking"] == "Two of them."
        assert [message["tool_name"] for message in sent[2:]] == ["get_weather", "get_weather"]

    @both
    async def test_schema(self, upstream: SimulatorProcess, providers: Providers, stream: bool) -> None:
        request = hello()
        wanted = request.generation.response_format
        wanted.type, wanted.name, wanted.schema = ResponseFormat.TYPE_JSON_SCHEMA, "city", json.dumps(SCHEMA)
        answer = await chat(upstream, providers, request, stream=stream)

        assert json.loads(text_of(answer.message)) == {"city": "text"}

    @both
    async def test_long_prompt_is_refused_rather_than_cut(
        self, upstream: SimulatorProcess, providers: Providers, stream: bool
    ) -> None:
        request = hello()
        request.provider_options["ollama"] = '{"options": {"num_ctx": 2}}'
        with pytest.raises(GatewayError) as caught:
            await chat(upstream, providers, request, stream=stream)

        assert caught.value.reason_name == "CONTEXT_LENGTH_EXCEEDED"

    @both
    @pytest.mark.parametrize(
        "script", [{"gzip": True}, {"comments": True}, {"malformed_at": [2]}, {"how": "no_finish"}]
    )
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
            ({"break_at": 1, "how": "error"}, "PROVIDER_UNAVAILABLE"),
            ({"break_at": 3, "how": "close", "delay_ms": 20}, "STREAM_BROKEN"),
            ({"break_at": 3, "how": "reset", "delay_ms": 20}, "STREAM_BROKEN"),
            ({"break_at": 3, "how": "hang", "delay_ms": 20}, "STREAM_BROKEN"),
            ({"break_at": 3, "how": "error", "delay_ms": 20}, "STREAM_BROKEN"),
            ({"how": "no_done", "delay_ms": 20}, "STREAM_BROKEN"),
            ({"malformed_at": [2, 3], "delay_ms": 20}, "STREAM_BROKEN"),
            ({"status": 401, "error": {"error": "unauthorized"}}, "PROVIDER_REJECTED_CREDENTIAL"),
            ({"status": 503, "error": {"error": "server busy, please try again."}}, "PROVIDER_UNAVAILABLE"),
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

    async def test_what_the_model_cannot_do(self, upstream: SimulatorProcess, providers: Providers) -> None:
        request = hello()
        request.tools.add().function.name = "get_weather"
        with pytest.raises(GatewayError) as caught:
            await chat(upstream, providers, request, stream=False, model="tiny-sim:1b")

        assert (caught.value.reason_name, caught.value.field) == ("UNSUPPORTED_FEATURE", "tools")

    async def test_model_that_is_not_there(self, upstream: SimulatorProcess, providers: Providers) -> None:
        with pytest.raises(GatewayError) as caught:
            await chat(upstream, providers, hello(), stream=False, model="none:1b", deployment="providers/sim")

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
    model: str = "llama-sim:1b",
    deployment: str = "deployments/sim",
) -> ProviderCall:
    endpoint = Endpoint(deployment, "providers/sim", "ollama", model, upstream.address, Credential(KEY))
    deadline = asyncio.get_running_loop().time() + 10
    timeouts = Timeouts(first_event=0.5, idle=0.5)
    return ProviderCall(request, endpoint, stream, deadline, timeouts, request_id="request-1")


async def chat(
    upstream: SimulatorProcess, providers: Providers, request: ChatRequest, *, stream: bool, **names: str
) -> ChatResponse:
    """The whole answer of the simulator through our adapter."""
    call = a_call(upstream, request, stream=stream, **names)
    return folded([event async for event in providers.adapter(call.endpoint).chat(call)])
