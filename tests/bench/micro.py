"""What single steps cost in process, without a network: the floor under the figures of the table."""

from __future__ import annotations

import json
import timeit
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass

import uvloop

from llmgateway.v1.admin_resources_pb2 import UsageRecord
from llmgateway.v1.chat_service_pb2 import ChatEvent, ChatRequest, Finished, PartDelta, Started
from llmgateway.v1.content_pb2 import FinishReason, Message, Part, Role, Usage
from llmgateway.v1.model_service_pb2 import Deployment, Model, Provider
from llmgateway_server.api.openai.request import parse_chat
from llmgateway_server.api.openai.response import ChunkWriter, whole
from llmgateway_server.events import Fold, fold
from llmgateway_server.pipeline import Call, build
from llmgateway_server.pipeline.authorize import authorize
from llmgateway_server.pipeline.dispatch import Dispatch
from llmgateway_server.pipeline.meter import Meter
from llmgateway_server.pipeline.validate import validate
from llmgateway_server.ports.provider import Credential, Endpoint, ProviderCall, Timeouts
from llmgateway_server.principal import Principal
from llmgateway_server.providers.anthropic import AnthropicMessages
from llmgateway_server.providers.cohere import CohereChat
from llmgateway_server.providers.framing import READERS
from llmgateway_server.providers.gemini import Gemini
from llmgateway_server.providers.ollama import OllamaChat
from llmgateway_server.providers.openai import OpenAIChat
from llmgateway_server.providers.wire import WireFormat
from llmgateway_server.routing.catalogue import Catalogue
from llmgateway_server.routing.planner import Planner
from llmgateway_server.system import SystemClock, SystemIds
from tests.bench import anthropic_answers, cohere_answers, gemini_answers, ollama_answers
from tests.bench.answers import WORD, stream_events, text, whole_answer
from tests.bench.rows import EVENTS_PER_WRITE, STREAM_WORDS, WHOLE_WORDS

_ROUNDS = 5
_CALLS = 100


@dataclass(frozen=True, slots=True)
class Step:
    """Something that a request needs done."""

    name: str
    """What the table calls it."""
    run: Callable[[], object]
    times: int = 1
    """How often one run does it."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one step: the best of several rounds, which is the least disturbed."""

    name: str
    microseconds: float


def costs(seconds: float) -> list[Cost]:
    """Measures every step for about so many seconds, always in the same order."""
    return [Cost(step.name, _cost(step, seconds)) for step in steps()]


def _cost(step: Step, seconds: float) -> float:
    timer = timeit.Timer(step.run)
    number = 1
    while (took := timer.timeit(number)) < seconds / _ROUNDS / 4:
        number *= 4
    number = max(int(number * seconds / _ROUNDS / took), 1)
    return min(timer.repeat(_ROUNDS, number)) / number / step.times * 1e6


def steps() -> list[Step]:
    """The steps, in the order in which a request meets them. The first one tells slow machines from slow code."""
    stream = f"a stream of {STREAM_WORDS} words"
    return [
        Step("calibration: ten thousand additions", _additions),
        Step("OpenAI surface: read a request", _read_step()),
        Step("pipeline: a whole answer of a provider that costs nothing", _pipeline_step(), _CALLS),
        Step("plan a call to a model with one deployment", _plan_step(models=1)),
        Step("plan a call among 2,000 models, 3 deployments each", _plan_step(models=2_000)),
        *_wire_steps(
            "openai", OpenAIChat(), whole_answer(WHOLE_WORDS), stream_events(STREAM_WORDS, include_usage=True)
        ),
        *_wire_steps(
            "anthropic",
            AnthropicMessages(),
            anthropic_answers.whole_answer(WHOLE_WORDS),
            anthropic_answers.stream_events(STREAM_WORDS),
        ),
        *_wire_steps(
            "gemini", Gemini(), gemini_answers.whole_answer(WHOLE_WORDS), gemini_answers.stream_events(STREAM_WORDS)
        ),
        *_wire_steps(
            "ollama", OllamaChat(), ollama_answers.whole_answer(WHOLE_WORDS), ollama_answers.stream_events(STREAM_WORDS)
        ),
        *_wire_steps(
            "cohere", CohereChat(), cohere_answers.whole_answer(WHOLE_WORDS), cohere_answers.stream_events(STREAM_WORDS)
        ),
        Step(f"fold {stream}, one a delta", _fold_step()),
        Step("OpenAI surface: write a whole answer", _write_step()),
        Step(f"OpenAI surface: write {stream}, one a delta", _write_stream_step()),
    ]


def _additions() -> int:
    total = 0
    for number in range(10_000):
        total += number
    return total


def _call(*, stream: bool) -> ProviderCall:
    message = Message(role=Role.ROLE_USER, parts=[Part(text=text(WHOLE_WORDS))])
    endpoint = Endpoint(
        deployment="deployments/bench",
        provider="providers/bench",
        wire_format="openai",
        upstream_model="bench-1",
        base_url="http://127.0.0.1:1/v1",
        credential=Credential("secret"),
    )
    request = ChatRequest(model="models/bench", messages=[message], request_id="bench")
    return ProviderCall(request=request, endpoint=endpoint, stream=stream, deadline=0.0)


def _wire_steps(name: str, wire: WireFormat, body: bytes, events: Sequence[bytes]) -> list[Step]:
    """What a wire format costs. `body` is its whole answer, `events` are those of its stream."""
    asked, streamed = _call(stream=False), _call(stream=True)

    def decode_stream(events_a_read: int) -> Callable[[], object]:
        reads = [b"".join(events[at : at + events_a_read]) for at in range(0, len(events), events_a_read)]

        def step() -> object:
            reader, decoder = READERS[wire.framing](), wire.decoder(streamed)
            for read in reads:
                decoder.feed(reader.feed(read))
            return decoder.end()

        return step

    stream = f"a stream of {STREAM_WORDS} words"
    return [
        Step(f"{name} wire format: encode a request", lambda: wire.encode(asked)),
        Step(f"{name} wire format: decode a whole answer", lambda: wire.decoder(asked).whole(body, {})),
        Step(f"{name} wire format: decode {stream}, {EVENTS_PER_WRITE} a read", decode_stream(EVENTS_PER_WRITE)),
        Step(f"{name} wire format: decode {stream}, one a read", decode_stream(1)),
    ]


def _events() -> list[ChatEvent]:
    started = Started(response_id="bench", deployment="deployments/bench", provider="providers/bench")
    deltas = [ChatEvent(part_delta=PartDelta(text=f"{WORD} ")) for _ in range(STREAM_WORDS)]
    finished = Finished(
        finish_reason=FinishReason.FINISH_REASON_STOP,
        usage=Usage(input_tokens=24, output_tokens=STREAM_WORDS),
    )
    return [ChatEvent(started=started), *deltas, ChatEvent(finished=finished)]


def _fold(events: list[ChatEvent]) -> Fold:
    folding = Fold()
    for event in events:
        folding.add(event)
    return folding


def _fold_step() -> Callable[[], object]:
    events = _events()
    return lambda: _fold(events)


def _read_step() -> Callable[[], object]:
    body = {"model": "bench", "messages": [{"role": "user", "content": text(WHOLE_WORDS)}]}
    data = json.dumps(body, separators=(",", ":")).encode()
    return lambda: parse_chat(data)


def _write_step() -> Callable[[], object]:
    response = _fold(_events()).response
    return lambda: whole([response], "bench-1", response.usage)


def _write_stream_step() -> Callable[[], object]:
    events = _events()

    def step() -> object:
        writer = ChunkWriter(events[0].started, 0, "bench-1", include_usage=True)
        for event in events[1:-1]:
            writer.delta(event.part_delta)
        return writer.finish(events[-1].finished.finish_reason)

    return step


class _Nowhere:
    """A `UsageSink` that keeps nothing."""

    def record(self, record: UsageRecord) -> None:
        """Lets the record go."""


class _Ready:
    """A `ChatAdapter` whose answers are there at once."""

    async def chat(self, call: ProviderCall) -> AsyncGenerator[ChatEvent, None]:
        """Yields a whole answer of one delta."""
        yield ChatEvent(started=Started(response_id="bench"))
        yield ChatEvent(part_delta=PartDelta(text=text(WHOLE_WORDS)))
        yield ChatEvent(
            finished=Finished(
                finish_reason=FinishReason.FINISH_REASON_STOP,
                usage=Usage(input_tokens=24, output_tokens=WHOLE_WORDS),
            )
        )


def _pipeline_step() -> Callable[[], object]:
    clock, ids, adapter = SystemClock(), SystemIds(), _Ready()
    dispatch = Dispatch(
        Planner(_catalogue(models=1), lambda: 0.5), lambda _: adapter, clock=clock, ids=ids, timeouts=Timeouts()
    )
    stages = {"meter": Meter(_Nowhere(), clock, ids), "authorize": authorize, "validate": validate}
    handler = build(stages, dispatch)
    principal = Principal("tenants/bench", "tenants/bench/apiKeys/bench", frozenset({"chat"}))
    message = Message(role=Role.ROLE_USER, parts=[Part(text=text(WHOLE_WORDS))])

    async def answer() -> None:
        now = clock.monotonic()
        call = Call(
            request=ChatRequest(model="models/m0", messages=[message], request_id="bench"),
            principal=principal,
            request_id="bench",
            method="llmgateway.v1.ChatService/CompleteChat",
            stream=False,
            started=now,
            create_time=clock.now(),
            deadline=now + 60,
        )
        await fold(handler(call))

    async def answers() -> None:
        for _ in range(_CALLS):
            await answer()

    return lambda: uvloop.run(answers())


def _catalogue(*, models: int) -> Catalogue:
    """A catalogue of so many models with three deployments each; a lone model has one."""
    catalogue = Catalogue(lambda _: Credential())
    provider = Provider(name="providers/bench", wire_format="openai", base_url="http://127.0.0.1:1/v1")
    deployments = [
        Deployment(
            name=f"deployments/m{model}-{copy}",
            model=f"models/m{model}",
            provider=provider.name,
            upstream_model="bench-1",
        )
        for model in range(models)
        for copy in range(1 if models == 1 else 3)
    ]
    catalogue.load([provider, *(Model(name=f"models/m{model}") for model in range(models)), *deployments])
    return catalogue


def _plan_step(*, models: int) -> Callable[[], object]:
    planner = Planner(_catalogue(models=models), lambda: 0.5)
    request = ChatRequest(model=f"models/m{models // 2}")
    return lambda: planner.plan(request)
