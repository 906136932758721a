"""The fake provider does what its script says, at its pace, and the same every time."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

import orjson
import pytest

from llmgateway.v1.chat_service_pb2 import ChatEvent, ChatRequest, ChatResponse
from llmgateway.v1.content_pb2 import FinishReason, ResponseFormat, Role, ToolChoice
from llmgateway_server.errors import GatewayError
from llmgateway_server.events import Fold, text_of
from llmgateway_server.ports.provider import Credential, Endpoint, ProviderCall, Timeouts
from llmgateway_server.providers.fake import FakeAdapter, _Pace
from llmgateway_server.providers.fake_script import Script
from llmgateway_server.system import SystemClock

both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@dataclass
class Run:
    """What came of one call."""

    events: list[ChatEvent] = field(default_factory=list[ChatEvent])
    moments: list[float] = field(default_factory=list[float])
    error: GatewayError | None = None

    @property
    def answer(self) -> ChatResponse:
        if self.error is not None:
            raise self.error
        fold = Fold()
        for event in self.events:
            fold.add(event)
        assert fold.done
        return fold.response

    @property
    def texts(self) -> list[str]:
        return [event.part_delta.text for event in self.events if event.part_delta.HasField("text")]


def hello(text: str = "Hello there, world") -> ChatRequest:
    request = ChatRequest(model="fake/echo")
    request.messages.add(role=Role.ROLE_SYSTEM).parts.add(text="Be brief")
    request.messages.add(role=Role.ROLE_USER).parts.add(text=text)
    return request


def a_call(
    request: ChatRequest,
    script: str = "",
    *,
    stream: bool = True,
    seconds: float = 5.0,
    timeouts: Timeouts | None = None,
) -> ProviderCall:
    endpoint = Endpoint(
        deployment="deployments/fake-echo",
        provider="providers/fake",
        wire_format="fake",
        upstream_model="echo",
        base_url="",
        credential=Credential(),
        script=script,
    )
    deadline = asyncio.get_running_loop().time() + seconds
    return ProviderCall(request, endpoint, stream, deadline, timeouts or Timeouts(), "request-1")


async def run(
    request: ChatRequest | None = None,
    *,
    script: object = None,
    own: object = None,
    stream: bool = True,
    seconds: float = 5.0,
    timeouts: Timeouts | None = None,
) -> Run:
    """Makes one call: `script` goes with the request, `own` is the provider's."""
    request = request or hello()
    if script is not None:
        request.provider_options["fake"] = script if isinstance(script, str) else orjson.dumps(script).decode()
    script_of_provider = "" if own is None else orjson.dumps(own).decode()
    call = a_call(request, script_of_provider, stream=stream, seconds=seconds, timeouts=timeouts)
    outcome = Run()
    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        async for event in FakeAdapter(SystemClock()).chat(call):
            outcome.events.append(event)
            outcome.moments.append(loop.time() - started)
    except GatewayError as error:
        outcome.error = error
    return outcome


class TestEcho:
    """Without a script."""

    @pytest.mark.parametrize("text", ["Hello there, world", "  two  spaces\n\nand lines ", "", " ", "käse 🧀"])
    async def test_pieces_join_to_the_message(self, text: str) -> None:
        streamed, whole = await run(hello(text)), await run(hello(text), stream=False)

        assert "".join(streamed.texts) == text
        assert text_of(whole.answer.message) == text
        assert len(whole.texts) <= 1

    async def test_a_word_a_piece(self) -> None:
        outcome = await run()

        assert outcome.texts == ["Hello ", "there, ", "world"]
        assert outcome.answer.finish_reason == FinishReason.FINISH_REASON_STOP
        assert (outcome.answer.usage.input_tokens, outcome.answer.usage.output_tokens) == (5, 3)
        assert outcome.answer.upstream_model == "echo"

    @both
    async def test_same_request_has_the_same_answer(self, stream: bool) -> None:
        first, second = [(await run(script={"seed": 7}, stream=stream)).answer for _ in range(2)]
        first.ClearField("create_time")
        second.ClearField("create_time")

        assert first == second
        assert first.response_id.startswith("fake-")

    @both
    async def test_limit_cuts_the_answer(self, stream: bool) -> None:
        request = hello()
        request.generation.max_output_tokens = 2
        answer = (await run(request, stream=stream)).answer

        assert text_of(answer.message) == "Hello there, "
        assert answer.finish_reason == FinishReason.FINISH_REASON_LENGTH

    @both
    async def test_schema_has_a_small_instance(self, stream: bool) -> None:
        request = hello()
        request.generation.response_format.type = ResponseFormat.TYPE_JSON_SCHEMA
        request.generation.response_format.schema = (
            '{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}'
        )

        assert json.loads(text_of((await run(request, stream=stream)).answer.message)) == {"n": 0}

    async def test_json_object_is_one(self) -> None:
        request = hello()
        request.generation.response_format.type = ResponseFormat.TYPE_JSON_OBJECT

        assert json.loads(text_of((await run(request)).answer.message)) == {"echo": "Hello there, world"}

    @both
    async def test_required_tool_is_called(self, stream: bool) -> None:
        request = hello()
        for name in ("f", "g"):
            request.tools.add().function.name = name
        request.tools.add().custom.name = "h"
        request.tools[1].function.parameters_schema = '{"properties":{"x":{"type":"string"}},"required":["x"]}'
        request.tool_choice.mode = ToolChoice.MODE_REQUIRED
        request.tool_choice.names.append("g")
        answer = (await run(request, stream=stream)).answer

        assert answer.message.parts[0].tool_call.name == "g"
        assert json.loads(answer.message.parts[0].tool_call.arguments) == {"x": "text"}
        assert answer.finish_reason == FinishReason.FINISH_REASON_TOOL_CALLS

        request.tool_choice.names[:] = ["h"]
        assert (await run(request, stream=stream)).answer.message.parts[0].tool_call.custom

    async def test_logprobs_spell_the_text(self) -> None:
        request = hello()
        request.generation.logprobs = True
        request.generation.top_logprobs = 2
        answer = (await run(request)).answer

        assert [token.token for token in answer.logprobs[0].tokens] == ["Hello ", "there, ", "world"]
        assert all(len(token.alternatives) == 2 for token in answer.logprobs[0].tokens)


class TestScript:
    """What a script may ask for."""

    @both
    async def test_everything_at_once(self, stream: bool) -> None:
        script = {
            "reasoning": "Let me think",
            "text": "Here you are",
            "tool_calls": [
                {"name": "f", "arguments": {"city": "Oslo", "days": 3}},
                {"name": "g", "arguments": "not json", "id": "call_g", "custom": True},
            ],
            "usage": {"input_tokens": 100, "input_cached_tokens": 60},
        }
        answer = (await run(script=script, stream=stream)).answer
        reasoning, text, first, second = answer.message.parts

        assert reasoning.reasoning == "Let me think"
        assert text.text == "Here you are"
        assert json.loads(first.tool_call.arguments) == {"city": "Oslo", "days": 3}
        assert (second.tool_call.id, second.tool_call.arguments, second.tool_call.custom) == (
            "call_g",
            "not json",
            True,
        )
        assert first.tool_call.id.startswith("call_")
        assert answer.finish_reason == FinishReason.FINISH_REASON_TOOL_CALLS
        assert (answer.usage.input_tokens, answer.usage.input_cached_tokens) == (100, 60)
        assert answer.usage.output_reasoning_tokens == 3

    async def test_arguments_come_in_fragments(self) -> None:
        outcome = await run(script={"tool_calls": [{"name": "f", "arguments": {"city": "Oslo"}}] * 2})
        fragments = [event.part_delta for event in outcome.events if event.part_delta.HasField("tool_call")]

        assert [fragment.part_index for fragment in fragments] == [0, 0, 0, 1, 1, 1]
        assert [fragment.tool_call.name for fragment in fragments] == ["f", "", "", "f", "", ""]

    @pytest.mark.parametrize(
        ("script", "texts"),
        [
            ({"text": "abcdef", "chunks": 3}, ["ab", "cd", "ef"]),
            ({"text": "ab", "chunks": 5}, ["a", "b"]),
            ({"chunks": ["a", "", "b"]}, ["a", "", "b"]),
            ({"chunks": 1}, ["Hello there, world"]),
            ({"json": {"a": [1]}, "chunks": 1}, ['{"a":[1]}']),
            ({"text": ""}, []),
        ],
        ids=str,
    )
    async def test_pieces(self, script: dict[str, object], texts: list[str]) -> None:
        assert (await run(script=script)).texts == texts

    async def test_refusal(self) -> None:
        answer = (await run(script={"refusal": "I cannot."})).answer

        assert answer.message.parts[0].refusal == "I cannot."
        assert answer.finish_reason == FinishReason.FINISH_REASON_CONTENT_FILTER

    async def test_finish_reason(self) -> None:
        assert (await run(script={"finish_reason": "pause"})).answer.finish_reason == FinishReason.FINISH_REASON_PAUSE

    async def test_usage_may_be_withheld(self) -> None:
        assert not (await run(script={"report_usage": False})).answer.HasField("usage")

    async def test_request_goes_before_the_provider(self) -> None:
        outcome = await run(own={"text": "own", "reasoning": "Hm"}, script={"text": "asked"})

        assert [part.WhichOneof("content") for part in outcome.answer.message.parts] == ["reasoning", "text"]
        assert outcome.texts == ["asked"]

    @pytest.mark.parametrize(
        ("script", "name"),
        [
            ("[1]", "provider_options.fake"),
            ("{", "provider_options.fake"),
            ({"txt": "x"}, "provider_options.fake.txt"),
            ({"text": "a", "json": {}}, "provider_options.fake"),
            ({"chunks": 0}, "provider_options.fake.chunks"),
            ({"latency_ms": -1}, "provider_options.fake.latency_ms"),
            ({"usage": {"tokens": 1}}, "provider_options.fake.usage"),
            ({"finish_reason": "bored"}, "provider_options.fake.finish_reason"),
            ({"failure": {"reason": "INTERNAL"}}, "provider_options.fake.failure.reason"),
            ({"tool_calls": [{"arguments": {}}]}, "provider_options.fake.tool_calls.0.name"),
        ],
        ids=str,
    )
    async def test_bad_script_is_refused(self, script: object, name: str) -> None:
        error = (await run(script=script)).error

        assert error is not None
        assert (error.reason_name, error.field) == ("INVALID_FIELD", name)


class TestPace:
    """When it says it."""

    async def test_latency_comes_first_and_delays_between(self) -> None:
        outcome = await run(script={"latency_ms": 60, "delay_ms": 30})

        assert outcome.moments[0] >= 0.06
        assert outcome.moments[2] - outcome.moments[0] >= 0.03
        assert outcome.moments[-1] >= 0.12

    async def test_tokens_per_second(self) -> None:
        outcome = await run(script={"chunks": ["a"] * 11, "tokens_per_second": 100})

        assert 0.1 <= outcome.moments[-1] < 2

    async def test_jitter_follows_from_the_seed(self) -> None:
        waits: list[list[float]] = []
        for seed in (1, 1, 2):
            pace = _Pace(a_call(hello()), Script(delay_ms=20, jitter=0.5, seed=seed))
            waits.append([pace._strayed(1.0, number) for number in range(10)])

        assert waits[0] == waits[1] != waits[2]
        assert all(0.5 <= wait <= 1.5 for wait in waits[0])
        assert len(set(waits[0])) == 10

    async def test_whole_answer_takes_as_long(self) -> None:
        assert (await run(script={"latency_ms": 30, "delay_ms": 15}, stream=False)).moments[0] >= 0.06

    async def test_closing_ends_it_at_once(self) -> None:
        task = asyncio.create_task(run(script={"latency_ms": 60_000}))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


class TestFailure:
    """Where it fails."""

    @both
    async def test_before_the_first_event(self, stream: bool) -> None:
        failure = {"reason": "PROVIDER_RATE_LIMITED", "message": "slow down", "retry_after": 7, "retryable": False}
        outcome = await run(script={"failure": failure}, stream=stream)

        assert not outcome.events
        assert outcome.error is not None
        assert outcome.error.reason_name == "PROVIDER_RATE_LIMITED"
        assert (outcome.error.retry_after, outcome.error.retryable) == (7, False)
        assert outcome.error.metadata["provider"] == "providers/fake"

    @pytest.mark.parametrize(("after", "sent"), [(1, 1), (2, 2), (3, 3), (99, 3)])
    @pytest.mark.parametrize("kind", ["error", "truncate"])
    async def test_within_the_stream(self, after: int, sent: int, kind: str) -> None:
        outcome = await run(script={"failure": {"kind": kind, "after_chunks": after}})

        assert len(outcome.texts) == sent
        assert outcome.error is not None
        assert outcome.error.reason_name == "STREAM_BROKEN"

    async def test_within_a_whole_answer(self) -> None:
        outcome = await run(script={"failure": {"after_chunks": 2}}, stream=False)

        assert not outcome.events
        assert outcome.error is not None
        assert outcome.error.reason_name == "PROVIDER_UNAVAILABLE"

    @pytest.mark.parametrize(
        ("after", "stream", "reason", "ran_out"),
        [
            (0, True, "PROVIDER_UNAVAILABLE", "first_event"),
            (0, False, "PROVIDER_UNAVAILABLE", "total"),
            (1, True, "STREAM_BROKEN", "idle"),
        ],
    )
    async def test_hanging_runs_out_of_time(self, after: int, stream: bool, reason: str, ran_out: str) -> None:
        timeouts = Timeouts(first_event=0.05, idle=0.05, total=0.2)
        script = {"failure": {"kind": "hang", "after_chunks": after}}
        outcome = await run(script=script, stream=stream, timeouts=timeouts)

        assert outcome.error is not None
        assert outcome.error.reason_name == reason
        assert outcome.error.metadata["timeout"] == ran_out

    @both
    async def test_deadline_of_the_caller(self, stream: bool) -> None:
        outcome = await run(script={"failure": {"kind": "hang"}}, stream=stream, seconds=0.05)

        assert outcome.error is not None
        assert outcome.error.reason_name == "DEADLINE_EXCEEDED"

    async def test_slow_pace_is_silence(self) -> None:
        outcome = await run(script={"delay_ms": 10_000}, timeouts=Timeouts(idle=0.05))

        assert outcome.error is not None
        assert outcome.error.metadata["timeout"] == "idle"
