"""The simulator of Gemini tells the truth: Google's own SDK is content with it, and so is our adapter."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest
from google.genai import Client, errors, types
from google.oauth2.credentials import Credentials

from llmgateway.v1.chat_service_pb2 import ChatRequest, ChatResponse
from llmgateway.v1.content_pb2 import FinishReason, ReasoningEffort, Role, ToolChoice
from llmgateway_server.errors import GatewayError
from llmgateway_server.events import text_of
from llmgateway_server.pipeline.closing import closing
from llmgateway_server.ports.provider import Credential, Endpoint, ProviderCall, Timeouts
from llmgateway_server.providers import Providers
from llmgateway_server.system import SystemClock
from tests.contract.providers.cases import folded
from tests.support.simulators import SimulatorProcess, simulator

KEY = "simulated-key"
SECOND, THIRD = "gemini-2.5-sim", "gemini-3-sim"
SCHEMA: Any = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = types.Tool(function_declarations=[types.FunctionDeclaration(name="get_weather", parameters_json_schema=SCHEMA)])
SIGNATURE = "Ep+/AA=="
VERTEX_PATH = "/v1/projects/p/locations/europe-west4"
# The SDK's own session, on the aiohttp that we use.
pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")
both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@pytest.fixture(scope="module")
def process() -> Generator[SimulatorProcess]:
    with simulator("tests.support.gemini_simulator", "--key", KEY) as started:
        yield started


@pytest.fixture
def upstream(process: SimulatorProcess) -> SimulatorProcess:
    process.clear()
    return process


@pytest.fixture
async def sdk(upstream: SimulatorProcess) -> AsyncGenerator[Client]:
    client = Client(api_key=KEY, vertexai=False, http_options=types.HttpOptions(base_url=upstream.address))
    yield client
    await client.aio.aclose()
    client.close()


@pytest.fixture
async def providers() -> AsyncGenerator[Providers]:
    built = Providers(SystemClock())
    yield built
    await built.close()


class TestSdk:
    """Google's own SDK, against the simulator."""

    async def test_text(self, sdk: Client) -> None:
        answer = await sdk.aio.models.generate_content(
            model=SECOND,
            contents="Hello there",
            config=types.GenerateContentConfig(
                system_instruction="Be brief.",
                temperature=0.5,
                stop_sequences=["."],
                response_logprobs=True,
                logprobs=1,
            ),
        )

        assert answer.text == "Hello there"
        assert answer.candidates is not None
        assert answer.candidates[0].finish_reason == types.FinishReason.STOP
        assert answer.usage_metadata is not None
        assert answer.usage_metadata.candidates_token_count == 2
        logprobs = answer.candidates[0].logprobs_result
        assert logprobs is not None
        assert [token.token for token in logprobs.chosen_candidates or []] == ["Hello ", "there"]

    async def test_streamed_text(self, sdk: Client) -> None:
        stream = await sdk.aio.models.generate_content_stream(model=SECOND, contents="Hello there")
        frames = [frame async for frame in stream]

        assert "".join(frame.text or "" for frame in frames) == "Hello there"
        assert frames[-1].candidates is not None
        assert frames[-1].candidates[0].finish_reason == types.FinishReason.STOP

    async def test_tool_loop_with_thinking(self, upstream: SimulatorProcess, sdk: Client) -> None:
        calls = [{"name": "get_weather", "arguments": {"city": city}} for city in ("Oslo", "Rome")]
        upstream.queue({"tool_calls": calls, "reasoning": "Two cities."})
        config = types.GenerateContentConfig(
            tools=[TOOL],
            thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_level=types.ThinkingLevel.LOW),
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        )
        chat = sdk.aio.chats.create(model=THIRD, config=config)
        asked = [frame async for frame in await chat.send_message_stream("Weather?")]
        made = [call for frame in asked for call in frame.function_calls or []]

        assert [call.args for call in made] == [{"city": "Oslo"}, {"city": "Rome"}]

        results = [
            types.Part(
                function_response=types.FunctionResponse(id=call.id, name=call.name, response={"output": "sunny"})
            )
            for call in made
        ]
        answer = await chat.send_message(results)

        assert answer.text == "Weather?"

    async def test_schema(self, sdk: Client) -> None:
        config = types.GenerateContentConfig(response_mime_type="application/json", response_json_schema=SCHEMA)
        answer = await sdk.aio.models.generate_content(model=SECOND, contents="A city", config=config)

        assert json.loads(answer.text or "") == {"city": "text"}

    async def test_blocked_prompt(self, upstream: SimulatorProcess, sdk: Client) -> None:
        upstream.queue({"refusal": "No."})
        answer = await sdk.aio.models.generate_content(model=SECOND, contents="Hello")

        assert answer.prompt_feedback is not None
        assert answer.prompt_feedback.block_reason == types.BlockedReason.PROHIBITED_CONTENT

    async def test_models(self, sdk: Client) -> None:
        pager = await sdk.aio.models.list()

        assert [model.name async for model in pager] == [f"models/{SECOND}", f"models/{THIRD}"]

    async def test_vertex(self, upstream: SimulatorProcess) -> None:
        client = Client(
            vertexai=True,
            project="p",
            location="europe-west4",
            credentials=Credentials(token=KEY),
            http_options=types.HttpOptions(base_url=upstream.address, api_version="v1"),
        )
        answer = await client.aio.models.generate_content(model=SECOND, contents="Hello there")
        await client.aio.aclose()
        client.close()

        assert answer.text == "Hello there"
        assert upstream.journal()[0]["path"].startswith(f"{VERTEX_PATH}/publishers/google/models/")

    @pytest.mark.parametrize(
        ("model", "config", "status"),
        [
            ("gemini-none", {}, 404),
            (SECOND, {"stop_sequences": list("abcdef")}, 400),
            (SECOND, {"tools": [TOOL], "response_mime_type": "application/json"}, 400),
            (SECOND, {"thinking_config": types.ThinkingConfig(thinking_level=types.ThinkingLevel.LOW)}, 400),
        ],
        ids=["no such model", "six stops", "JSON beside tools", "a level for a budget"],
    )
    async def test_refusals(self, sdk: Client, model: str, config: Any, status: int) -> None:
        with pytest.raises(errors.ClientError) as caught:
            await sdk.aio.models.generate_content(model=model, contents="Hello", config=config)

        assert caught.value.code == status

    async def test_bad_key(self, upstream: SimulatorProcess) -> None:
        client = Client(api_key="wrong", vertexai=False, http_options=types.HttpOptions(base_url=upstream.address))
        with pytest.raises(errors.ClientError) as caught:
            await client.aio.models.generate_content(model=SECOND, contents="Hello")
        await client.aio.aclose()
        client.close()

        assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")

    async def test_errors(self, upstream: SimulatorProcess, sdk: Client) -> None:
        upstream.queue({"status": 503, "error": {"code": 503, "message": "Overloaded", "status": "UNAVAILABLE"}})
        with pytest.raises(errors.ServerError):
            await sdk.aio.models.generate_content(model=SECOND, contents="Hello")


class TestAdapter:
    """Our adapter, against the simulator: a process of its own that speaks real HTTP."""

    @both
    async def test_text(self, upstream: SimulatorProcess, providers: Providers, stream: bool) -> None:
        request = hello()
        request.generation.logprobs = True
        request.generation.top_logprobs = 1
        answer = await chat(upstream, providers, request, stream=stream)

        assert text_of(answer.message) == "Hello there, world"
        assert answer.finish_reason == FinishReason.FINISH_REASON_STOP
        assert answer.upstream_model == f"{SECOND}-001"
        assert answer.usage.output_tokens == 3
        assert "".join(token.token for token in answer.logprobs[0].tokens) == "Hello there, world"
        assert upstream.journal()[0]["headers"]["x-goog-api-key"] == KEY

    @both
    async def test_vertex(self, upstream: SimulatorProcess, providers: Providers, stream: bool) -> None:
        call = a_call(upstream, hello(), stream=stream, path=VERTEX_PATH)
        answer = folded([event async for event in providers.adapter(call.endpoint).chat(call)])

        assert text_of(answer.message) == "Hello there, world"

    @both
    @pytest.mark.parametrize("model", [SECOND, THIRD])
    async def test_three_turns_of_tools_with_thinking(
        self, upstream: SimulatorProcess, providers: Providers, stream: bool, model: str
    ) -> None:
        request = hello()
        request.tools.add().function.name = "get_weather"
        request.generation.reasoning_effort = ReasoningEffort.REASONING_EFFORT_LOW
        for cities in (("Oslo", "Rome"), ("Bern",)):
            upstream.queue(
                {
                    "reasoning": "Let me see. ",
                    "signature": SIGNATURE,
                    "tool_calls": [{"name": "get_weather", "arguments": {"city": city}} for city in cities],
                }
            )
            asked = await chat(upstream, providers, request, stream=stream, model=model)
            calls = [part.tool_call for part in asked.message.parts if part.HasField("tool_call")]
            request.messages.append(asked.message)
            results = request.messages.add(role=Role.ROLE_TOOL)
            for call in reversed(calls):
                result = results.parts.add().tool_result
                result.call_id, result.name = call.id, call.name
                result.parts.add(text="sunny")

            assert asked.message.parts[0].reasoning == "Let me see. "
            assert asked.finish_reason == FinishReason.FINISH_REASON_TOOL_CALLS
            assert [json.loads(call.arguments)["city"] for call in calls] == list(cities)
        answer = await chat(upstream, providers, request, stream=stream, model=model)

        assert text_of(answer.message) == "Hello there, world"
        ids = [part.tool_call.id for message in request.messages for part in message.parts if part.tool_call.id]
        assert len(set(ids)) == 3
        sent = [part for turn in upstream.journal()[-1]["body"]["contents"] for part in turn["parts"]]
        signed = [part["thoughtSignature"] for part in sent if "thoughtSignature" in part]
        assert signed == ([SIGNATURE] * 2 if model == THIRD else [])
        assert not answer.warnings

    async def test_calls_of_another_model(self, upstream: SimulatorProcess, providers: Providers) -> None:
        request = hello()
        call = request.messages.add(role=Role.ROLE_ASSISTANT).parts.add().tool_call
        call.id, call.name = "call_1", "get_weather"
        result = request.messages.add(role=Role.ROLE_TOOL).parts.add().tool_result
        result.call_id, result.name = "call_1", "get_weather"
        answer = await chat(upstream, providers, request, stream=False, model=THIRD)

        assert [warning.field for warning in answer.warnings] == ["messages[1].parts[0].tool_call"]

    @both
    async def test_forced_tool(self, upstream: SimulatorProcess, providers: Providers, stream: bool) -> None:
        request = hello()
        request.tools.add().function.name = "other"
        function = request.tools.add().function
        function.name, function.parameters_schema = "get_weather", json.dumps(SCHEMA)
        request.tool_choice.mode = ToolChoice.MODE_REQUIRED
        request.tool_choice.names.append("get_weather")
        answer = await chat(upstream, providers, request, stream=stream)

        assert json.loads(answer.message.parts[0].tool_call.arguments) == {"city": "text"}

    @both
    async def test_blocked_prompt(self, upstream: SimulatorProcess, providers: Providers, stream: bool) -> None:
        upstream.queue({"refusal": "No."})
        answer = await chat(upstream, providers, hello(), stream=stream)

        assert answer.finish_reason == FinishReason.FINISH_REASON_CONTENT_FILTER

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
            ({"break_at": 1, "how": "error"}, "PROVIDER_UNAVAILABLE"),
            ({"break_at": 3, "how": "close", "delay_ms": 20}, "STREAM_BROKEN"),
            ({"break_at": 3, "how": "reset", "delay_ms": 20}, "STREAM_BROKEN"),
            ({"break_at": 3, "how": "hang", "delay_ms": 20}, "STREAM_BROKEN"),
            ({"break_at": 3, "how": "error", "delay_ms": 20}, "STREAM_BROKEN"),
            ({"how": "no_finish", "delay_ms": 20}, "STREAM_BROKEN"),
            ({"malformed_at": [2, 3], "delay_ms": 20}, "STREAM_BROKEN"),
            ({"status": 503, "error": {"code": 503, "status": "UNAVAILABLE"}}, "PROVIDER_UNAVAILABLE"),
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

    @both
    async def test_bad_key(self, upstream: SimulatorProcess, providers: Providers, stream: bool) -> None:
        with pytest.raises(GatewayError) as caught:
            await chat(upstream, providers, hello(), stream=stream, key="wrong-key")

        assert caught.value.reason_name == "PROVIDER_REJECTED_CREDENTIAL"
        assert "wrong-key" not in repr(caught.value)

    async def test_model_that_is_not_there(self, upstream: SimulatorProcess, providers: Providers) -> None:
        with pytest.raises(GatewayError) as caught:
            await chat(upstream, providers, hello(), stream=False, model="gemini-none")
        assert caught.value.reason_name == "PROVIDER_UNAVAILABLE"
        assert not caught.value.retryable

        # A model that the catalogue does not list was named by the caller.
        with pytest.raises(GatewayError) as caught:
            await chat(upstream, providers, hello(), stream=False, model="gemini-none", deployment="providers/sim")
        assert caught.value.reason_name == "RESOURCE_NOT_FOUND"

    async def test_leaving_stops_the_provider(self, upstream: SimulatorProcess, providers: Providers) -> None:
        upstream.queue({"chunks": ["word "] * 1000, "delay_ms": 10})
        call = a_call(upstream, hello(), stream=True)
        async with closing(providers.adapter(call.endpoint).chat(call)) as events:
            await anext(events)
        left_at = asyncio.get_running_loop().time()
        entry = (await asyncio.to_thread(upstream.wait_for, lambda journal: journal[0]["closed_at"] is not None))[0]

        assert entry["chunks_sent"] < 100
        assert asyncio.get_running_loop().time() - left_at < 0.5


def hello() -> ChatRequest:
    request = ChatRequest(model="models/m")
    request.messages.add(role=Role.ROLE_USER).parts.add(text="Hello there, world")
    return request


def a_call(
    upstream: SimulatorProcess,
    request: ChatRequest,
    *,
    stream: bool,
    model: str = SECOND,
    deployment: str = "deployments/sim",
    path: str = "/v1beta",
    key: str = KEY,
) -> ProviderCall:
    endpoint = Endpoint(deployment, "providers/sim", "gemini", model, f"{upstream.address}{path}", Credential(key))
    deadline = asyncio.get_running_loop().time() + 10
    timeouts = Timeouts(first_event=0.5, idle=0.5)
    return ProviderCall(request, endpoint, stream, deadline, timeouts, request_id=f"request-{len(request.messages)}")


async def chat(
    upstream: SimulatorProcess, providers: Providers, request: ChatRequest, *, stream: bool, **names: str
) -> ChatResponse:
    """The whole answer of the simulator through our adapter."""
    call = a_call(upstream, request, stream=stream, **names)
    return folded([event async for event in providers.adapter(call.endpoint).chat(call)])
