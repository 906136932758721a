"""Costs are exact, never negative, and never price a token twice."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from llmgateway.v1.content_pb2 import Usage
from llmgateway.v1.model_service_pb2 import Price
from llmgateway_server.money import cost_nanos

counts = st.integers(0, 10**9)
prices = st.integers(0, 10**12)
PER_MILLION = 1_000_000


def rounded(exact: Fraction) -> int:
    """Half up."""
    return floor(exact + Fraction(1, 2))


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """A usage whose classes are parts of their wholes and do not overlap."""
    cached, written, heard, plain = (draw(counts) for _ in range(4))
    thought, spoken, said = (draw(counts) for _ in range(3))
    return Usage(
        input_tokens=cached + written + heard + plain,
        input_cached_tokens=cached,
        input_cache_write_tokens=written,
        input_audio_tokens=heard,
        output_tokens=thought + spoken + said,
        output_reasoning_tokens=thought,
        output_audio_tokens=spoken,
    )


@given(usages(), st.lists(prices, min_size=7, max_size=7))
def test_every_class_is_priced_by_itself(usage: Usage, each: list[int]) -> None:
    names = [field.name for field in Price.DESCRIPTOR.fields]
    price = Price(**dict(zip(names, each, strict=True)))
    plain = usage.input_tokens - usage.input_cached_tokens - usage.input_cache_write_tokens - usage.input_audio_tokens
    said = usage.output_tokens - usage.output_reasoning_tokens - usage.output_audio_tokens
    exact = Fraction(
        plain * price.input
        + usage.input_cached_tokens * price.input_cached
        + usage.input_cache_write_tokens * price.input_cache_write
        + usage.input_audio_tokens * price.input_audio
        + said * price.output
        + usage.output_reasoning_tokens * price.output_reasoning
        + usage.output_audio_tokens * price.output_audio,
        PER_MILLION,
    )

    assert cost_nanos(usage, price) == rounded(exact)


@given(usages(), prices, prices)
def test_class_without_a_price_costs_as_the_class_around_it(usage: Usage, around: int, outside: int) -> None:
    exact = Fraction(usage.input_tokens * around + usage.output_tokens * outside, PER_MILLION)

    assert cost_nanos(usage, Price(input=around, output=outside)) == rounded(exact)


@given(st.builds(Usage, **dict.fromkeys(
    ("input_tokens", "input_cached_tokens", "input_cache_write_tokens", "input_audio_tokens",
     "output_tokens", "output_reasoning_tokens", "output_audio_tokens"), counts)), prices)  # fmt: skip
def test_overlapping_classes_price_no_token_twice(usage: Usage, same: int) -> None:
    price = Price(**{field.name: same for field in Price.DESCRIPTOR.fields})

    assert cost_nanos(usage, price) == rounded(Fraction((usage.input_tokens + usage.output_tokens) * same, PER_MILLION))


@given(usages(), st.lists(prices, min_size=7, max_size=7), st.integers(0, 10**6))
def test_more_tokens_never_cost_less(usage: Usage, each: list[int], more: int) -> None:
    names = [field.name for field in Price.DESCRIPTOR.fields]
    price = Price(**dict(zip(names, each, strict=True)))
    before = cost_nanos(usage, price)
    usage.output_tokens += more
    usage.input_tokens += more
    after = cost_nanos(usage, price)

    assert before is not None
    assert after is not None
    assert 0 <= before <= after


@given(counts, counts)
def test_tokens_without_a_price_have_no_cost(read: int, written: int) -> None:
    assume(written)

    assert cost_nanos(Usage(input_tokens=read, output_tokens=written), Price(input=1)) is None
    assert cost_nanos(Usage(input_tokens=written, output_tokens=read), Price(output=1)) is None
    assert cost_nanos(Usage(input_tokens=written), Price()) is None


@pytest.mark.parametrize(
    ("usage", "price", "cost"),
    [
        (Usage(), Price(), 0),
        (Usage(input_tokens=1), Price(input=0), 0),
        (Usage(input_tokens=1), Price(input=499_999), 0),
        (Usage(input_tokens=1), Price(input=500_000), 1),
        (Usage(input_tokens=1, output_tokens=1), Price(input=250_000, output=250_000), 1),
        # All of a class that has its own price: the class around it needs none.
        (Usage(input_tokens=3, input_cached_tokens=3), Price(input_cached=1_000_000), 3),
        (Usage(input_tokens=3, input_cached_tokens=2), Price(input_cached=1_000_000), None),
        # Some providers count more thoughts than tokens.
        (Usage(output_tokens=10, output_reasoning_tokens=11), Price(output=1_000_000), 10),
        (Usage(output_tokens=10, output_reasoning_tokens=11), Price(output=9, output_reasoning=2_000_000), 20),
        # A dollar and a quarter per million tokens, on a million tokens.
        (Usage(input_tokens=1_000_000), Price(input=1_250_000_000), 1_250_000_000),
    ],
)
def test_cost(usage: Usage, price: Price, cost: int | None) -> None:
    assert cost_nanos(usage, price) == cost
