"""How a route orders its candidates: one function a strategy, and the table that names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, log

from llmgateway.v1.routing_service_pb2 import Strategy
from llmgateway_server.routing.catalogue import Served


@dataclass(frozen=True, slots=True)
class Candidate:
    """A deployment considered for a call."""

    served: Served
    weight: int
    priority: int


@dataclass(frozen=True, slots=True)
class Chance:
    """What makes one ranking differ from the next."""

    draw: Callable[[], float]
    """Returns a number from 0 up to, and without, 1."""
    turn: int
    """How many calls for the same name were ranked before."""


Ranking = Callable[[Sequence[Candidate], Chance], list[Candidate]]
"""Orders candidates. The best comes first and none is lost."""


def by_priority(candidates: Sequence[Candidate], chance: Chance) -> list[Candidate]:  # noqa: ARG001 - a Ranking
    """By priority, then as written."""
    return sorted(candidates, key=lambda candidate: candidate.priority)


def weighted(candidates: Sequence[Candidate], chance: Chance) -> list[Candidate]:
    """By priority, then at random in proportion to weight. A weight of zero comes after all others.

    Draws exponential arrival times with the weights as rates, so that each order has the probability of drawing
    without replacement (Efraimidis and Spirakis, 2006).
    """

    def arrival(candidate: Candidate) -> tuple[int, float]:
        if candidate.weight <= 0:
            return candidate.priority, inf
        return candidate.priority, -log(1.0 - chance.draw()) / candidate.weight

    return sorted(candidates, key=arrival)


def round_robin(candidates: Sequence[Candidate], chance: Chance) -> list[Candidate]:
    """By priority, then each in turn."""
    tiers: dict[int, list[Candidate]] = {}
    for candidate in candidates:
        tiers.setdefault(candidate.priority, []).append(candidate)
    ranked: list[Candidate] = []
    for priority in sorted(tiers):
        tier = tiers[priority]
        shift = chance.turn % len(tier)
        ranked += tier[shift:] + tier[:shift]
    return ranked


STRATEGIES: Mapping[Strategy, Ranking] = {
    Strategy.STRATEGY_UNSPECIFIED: weighted,
    Strategy.STRATEGY_PRIORITY: by_priority,
    Strategy.STRATEGY_WEIGHTED: weighted,
    Strategy.STRATEGY_ROUND_ROBIN: round_robin,
}
