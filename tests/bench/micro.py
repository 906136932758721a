"""What single steps cost in process, without a network: the floor under the figures of the table."""

from __future__ import annotations

import timeit
from collections.abc import Callable
from dataclasses import dataclass

from llmgateway.v1.chat_service_pb2 import ChatEvent, ChatRequest, Finished, PartDelta, Started
from llmgateway.v1.content_pb2 import FinishReason, Usage
from llmgateway.v1.model_service_pb2 import Deployment, Model, Provider
from llmgateway_server.events import Fold
from llmgateway_server.ports.provider import Credential
from llmgateway_server.routing.catalogue import Catalogue
from llmgateway_server.routing.planner import Planner
from tests.bench.answers import WORD
from tests.bench.rows import STREAM_WORDS

_ROUNDS = 5

Step = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one step: the best of several rounds, which is the least disturbed."""

    name: str
    microseconds: float


def costs(seconds: float) -> list[Cost]:
    """Measures every step for about so many seconds, always in the same order."""
    return [Cost(name, _cost(step, seconds)) for name, step in steps()]


def _cost(step: Step, seconds: float) -> float:
    timer = timeit.Timer(step)
    number = 1
    while (took := timer.timeit(number)) < seconds / _ROUNDS / 4:
        number *= 4
    number = max(int(number * seconds / _ROUNDS / took), 1)
    return min(timer.repeat(_ROUNDS, number)) / number * 1e6


def steps() -> list[tuple[str, Step]]:
    """The steps, by what the table calls them."""
    return [
        (f"fold a stream of {STREAM_WORDS} deltas", _fold_step()),
        ("plan a call to a model with one deployment", _plan_step(models=1)),
        ("plan a call among 2,000 models, 3 deployments each", _plan_step(models=2_000)),
    ]


def _events() -> list[ChatEvent]:
    started = Started(response_id="bench", deployment="deployments/bench", provider="providers/bench")
    deltas = [ChatEvent(part_delta=PartDelta(text=f"{WORD} ")) for _ in range(STREAM_WORDS)]
    finished = Finished(
        finish_reason=FinishReason.FINISH_REASON_STOP,
        usage=Usage(input_tokens=24, output_tokens=STREAM_WORDS),
    )
    return [ChatEvent(started=started), *deltas, ChatEvent(finished=finished)]


def _fold_step() -> Step:
    events = _events()

    def step() -> object:
        folding = Fold()
        for event in events:
            folding.add(event)
        return folding.response

    return step


def _plan_step(*, models: int) -> Step:
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
    planner = Planner(catalogue, lambda: 0.5)
    request = ChatRequest(model=f"models/m{models // 2}")
    return lambda: planner.plan(request)
