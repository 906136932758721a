"""Strategies: every order is a rearrangement, priority comes first, weights and turns do what they say."""

import random
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgateway.v1.model_service_pb2 import Deployment
from llmgateway.v1.routing_service_pb2 import Strategy
from llmgateway_server.routing.catalogue import Served
from llmgateway_server.routing.strategies import STRATEGIES, Candidate, Chance, by_priority, round_robin, weighted


def candidate(name: str, weight: int = 1, priority: int = 0) -> Candidate:
    return Candidate(Served(Deployment(name=name), None, None), weight, priority)


def names(candidates: Sequence[Candidate]) -> str:
    return "".join(entry.served.deployment.name for entry in candidates)


def draws(seed: int) -> Callable[[], float]:
    return random.Random(seed).random


_CANDIDATES = st.lists(
    st.tuples(st.integers(0, 1_000_000), st.integers(-3, 3)).map(lambda pair: candidate("x", *pair)), max_size=8
)
_TURNS = st.integers(0, 2**40)
_SEEDS = st.integers(0, 2**32)


def test_every_strategy_of_the_protos_has_a_row() -> None:
    assert set(STRATEGIES) == set(Strategy.values())


@given(_CANDIDATES, _TURNS, _SEEDS, st.sampled_from(sorted(STRATEGIES)))
def test_none_is_lost_and_priority_comes_first(
    candidates: list[Candidate], turn: int, seed: int, strategy: Strategy
) -> None:
    given_order = list(candidates)
    ranked = STRATEGIES[strategy](candidates, Chance(draws(seed), turn))
    assert Counter(map(id, ranked)) == Counter(map(id, candidates))
    assert [entry.priority for entry in ranked] == sorted(entry.priority for entry in candidates)
    assert candidates == given_order


@given(_CANDIDATES, _TURNS, _SEEDS, st.sampled_from(sorted(STRATEGIES)))
def test_the_same_chance_gives_the_same_order(
    candidates: list[Candidate], turn: int, seed: int, strategy: Strategy
) -> None:
    first = STRATEGIES[strategy](candidates, Chance(draws(seed), turn))
    second = STRATEGIES[strategy](candidates, Chance(draws(seed), turn))
    assert [id(entry) for entry in first] == [id(entry) for entry in second]


def test_priority_keeps_the_order_as_written() -> None:
    candidates = [candidate("a", priority=2), candidate("b"), candidate("c", priority=2), candidate("d")]
    assert names(by_priority(candidates, Chance(draws(1), 0))) == "bdac"


@given(_CANDIDATES, _SEEDS)
def test_a_weight_of_zero_comes_after_its_equals(candidates: list[Candidate], seed: int) -> None:
    ranked = weighted(candidates, Chance(draws(seed), 0))
    for tier in {entry.priority for entry in ranked}:
        idle = [entry.weight == 0 for entry in ranked if entry.priority == tier]
        assert idle == sorted(idle)


@pytest.mark.parametrize("weights", [(1, 1), (1, 3), (90, 9, 1), (1_000_000, 1)])
def test_weights_are_shares_of_first_places(weights: tuple[int, ...]) -> None:
    candidates = [candidate(chr(ord("a") + number), weight) for number, weight in enumerate(weights)]
    draw, rounds = draws(7), 4000
    firsts = Counter(names(weighted(candidates, Chance(draw, 0)))[0] for _ in range(rounds))
    for entry in candidates:
        share = entry.weight / sum(weights)
        spread = 4 * (rounds * share * (1 - share)) ** 0.5
        assert abs(firsts[entry.served.deployment.name] - rounds * share) <= spread + 1


def test_the_least_draw_is_fit_for_a_logarithm() -> None:
    assert names(weighted([candidate("a"), candidate("b")], Chance(lambda: 0.0, 0))) == "ab"
    assert len(weighted([candidate("a"), candidate("b", 0)], Chance(lambda: 1 - 2**-53, 0))) == 2


@given(st.integers(1, 6), _TURNS)
def test_in_turns_everyone_comes_first_once(count: int, turn: int) -> None:
    candidates = [candidate(chr(ord("a") + number)) for number in range(count)]
    firsts = [names(round_robin(candidates, Chance(draws(0), turn + step)))[0] for step in range(count)]
    assert sorted(firsts) == sorted(names(candidates))


def test_turns_keep_the_circle() -> None:
    candidates = [candidate("a"), candidate("b"), candidate("c"), candidate("z", priority=1)]
    orders = [names(round_robin(candidates, Chance(draws(0), turn))) for turn in range(4)]
    assert orders == ["abcz", "bcaz", "cabz", "abcz"]
