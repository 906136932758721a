"""Whatever a provider sends, reading it ends in an answer or in one of the gateway's own errors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgateway_server.errors import GatewayError
from llmgateway_server.providers.framing import READERS
from tests.contract.providers.cases import Case, cases_of, folded
from tests.contract.providers.formats import FORMATS, Format

leaves = (
    st.none()
    | st.booleans()
    | st.sampled_from([-1, 0, 1, 2**31, 2**63, 2**64 - 1, 1.5, 1e300])
    | st.sampled_from(["", "x", "stop", "0", "\u0000", "AAA=", "{"])
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
formats = pytest.mark.parametrize("each", FORMATS, ids=lambda each: each.name)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths to everything within a JSON value, and to itself."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    """The JSON value with another one in a place."""
    if not path:
        return by
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], by)
    return copy


@st.composite
def mutations(draw: st.DrawFn, value: Any) -> Any:
    """The JSON value with one to three things in it changed."""
    for _ in range(draw(st.integers(1, 3))):
        value = replaced(value, draw(st.sampled_from(list(places(value)))), draw(values))
    return value


def recorded(each: Format, field: str) -> list[Case]:
    return [case for case in cases_of(each) if field in case.fields and "answer" in case.fields]


@formats
@given(data=st.data())
def test_whole_answers(each: Format, data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(recorded(each, "whole")))
    body = orjson.dumps(data.draw(mutations(orjson.loads(case.whole))))

    with contextlib.suppress(GatewayError):
        folded(each.wire.decoder(case.call(stream=False)).whole(body, {}))


@formats
@given(data=st.data())
def test_streams(each: Format, data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(recorded(each, "stream")))
    reader = READERS[each.wire.framing]()
    frames = reader.feed(case.stream)
    for at in data.draw(st.lists(st.integers(0, len(frames) - 1), max_size=2)):
        with contextlib.suppress(orjson.JSONDecodeError):
            frames[at] = orjson.dumps(data.draw(mutations(orjson.loads(frames[at]))))
    decoder = each.wire.decoder(case.call(stream=True))

    with contextlib.suppress(GatewayError):
        events = [event for frame in frames for event in decoder.feed([frame])]
        folded(events if decoder.done else events + decoder.end())


@formats
@given(data=st.data(), status=st.integers(300, 599), body=values)
def test_refusals(each: Format, data: st.DataObject, status: int, body: object) -> None:
    wrapped = data.draw(st.sampled_from([body, {"error": body}, [body], {"error": {"message": body, "code": body}}]))

    assert each.wire.failure(status, {}, orjson.dumps(wrapped)).metadata["http_status"] == str(status)


@formats
@given(body=st.binary(max_size=50))
def test_bytes(each: Format, body: bytes) -> None:
    case = recorded(each, "whole")[0]
    each.wire.failure(500, {}, body)

    with contextlib.suppress(GatewayError):
        each.wire.decoder(case.call(stream=False)).whole(body, {})
