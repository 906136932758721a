"""What tokens cost, in integer nano-dollars.

A price is nano-dollars per million tokens, so a cost is exact in units of a millionth of a nano-dollar and is rounded
half up, once, at the end.
"""

from __future__ import annotations

from llmgateway.v1.content_pb2 import Usage
from llmgateway.v1.model_service_pb2 import Price

NANOS_PER_DOLLAR = 1_000_000_000
_PER_MILLION = 1_000_000


def cost_nanos(usage: Usage, price: Price) -> int | None:
    """Cost of the tokens at the price, in nano-dollars; None when a class of tokens that was used has no price.

    A class within another (cached within input, reasoning within output) is taken out of it and priced by itself; one
    without a price of its own is priced as the class around it. Classes that overlap never price a token twice.
    """
    cached, written = usage.input_cached_tokens, usage.input_cache_write_tokens
    heard, thought, spoken = usage.input_audio_tokens, usage.output_reasoning_tokens, usage.output_audio_tokens
    inside_input = (
        (cached, price.input_cached if price.HasField("input_cached") else None),
        (written, price.input_cache_write if price.HasField("input_cache_write") else None),
        (heard, price.input_audio if price.HasField("input_audio") else None),
    )
    inside_output = (
        (thought, price.output_reasoning if price.HasField("output_reasoning") else None),
        (spoken, price.output_audio if price.HasField("output_audio") else None),
    )
    around_input = price.input if price.HasField("input") else None
    around_output = price.output if price.HasField("output") else None
    input_cost = _split(usage.input_tokens, around_input, inside_input)
    output_cost = _split(usage.output_tokens, around_output, inside_output)
    if input_cost is None or output_cost is None:
        return None
    return (input_cost + output_cost + _PER_MILLION // 2) // _PER_MILLION


def _split(total: int, price: int | None, classes: tuple[tuple[int, int | None], ...]) -> int | None:
    cost, rest = 0, total
    for tokens, own_price in classes:
        if own_price is not None:
            taken = min(tokens, rest)
            cost += taken * own_price
            rest -= taken
    if rest == 0:
        return cost
    return None if price is None else cost + rest * price
