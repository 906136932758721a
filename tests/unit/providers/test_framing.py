"""Frames come out the same however the network cuts the body."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgateway_server.errors import GatewayError
from llmgateway_server.providers.framing import FrameReader, NdjsonReader, SseReader

lines = st.binary(max_size=12).map(lambda data: data.replace(b"\r", b".").replace(b"\n", b"."))
newlines = st.sampled_from([b"\n", b"\r\n", b"\r"])
noise = st.sampled_from([b": ping", b":", b"event: delta", b"id: 7", b"retry: 5", b"datum: x", b"nonsense"])


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A body of server-sent events, and the frames that are in it."""
    newline = draw(newlines)
    body = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    frames: list[bytes] = []
    for data in draw(st.lists(st.lists(lines, max_size=3), max_size=5)):
        written = [draw(st.sampled_from([b"data: ", b"data:"])) + line for line in data]
        # Only one space after the colon is not part of the data.
        read = [line.removeprefix(b"data:").removeprefix(b" ") for line in written]
        for _ in range(draw(st.integers(0, 2))):
            written.insert(draw(st.integers(0, len(written))), draw(noise))
        body += b"".join(line + newline for line in written) + newline * draw(st.integers(1, 3))
        if frame := b"\n".join(read):
            frames.append(frame)
    return body, frames


def split(body: bytes, cuts: list[int]) -> list[bytes]:
    """The body, cut at these places."""
    at = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    return [body[start:end] for start, end in pairwise(at)]


def read(reader: FrameReader, pieces: list[bytes]) -> list[bytes]:
    """All frames, those of the end included."""
    return [frame for piece in pieces for frame in reader.feed(piece)] + reader.end()


@given(bodies(), st.lists(st.integers(0, 500), max_size=20))
def test_events_are_read_at_any_split(body: tuple[bytes, list[bytes]], cuts: list[int]) -> None:
    data, frames = body

    assert read(SseReader(), split(data, cuts)) == frames
    assert read(SseReader(), [data]) == frames
    assert read(SseReader(), [data[at : at + 1] for at in range(len(data))]) == frames


@given(st.lists(lines, max_size=8), st.booleans(), st.lists(st.integers(0, 200), max_size=20))
def test_lines_are_read_at_any_split(said: list[bytes], ended: bool, cuts: list[int]) -> None:
    data = b"\r\n".join(said) + (b"\r\n" if ended else b"")
    frames = [line.strip() for line in said if line.strip()]

    assert read(NdjsonReader(), split(data, cuts)) == frames


def test_event_is_given_out_as_soon_as_it_is_complete() -> None:
    reader = SseReader()

    assert reader.feed(b"data: a\n") == []
    assert reader.feed(b"\ndata: b\r") == [b"a"]
    # A lone CR ends a line: whether an LF follows is not waited for.
    assert reader.feed(b"\r") == [b"b"]
    assert reader.feed(b"\ndata: c\n\n") == [b"c"]
    assert reader.end() == []


def test_last_event_without_its_end_is_given_out_at_the_end() -> None:
    reader = SseReader()

    assert reader.feed(b"data: a\n\ndata: [DONE]") == [b"a"]
    assert reader.end() == [b"[DONE]"]
    assert reader.end() == []


def test_several_data_lines_are_one_frame() -> None:
    assert SseReader().feed(b"data: {\ndata:  1\ndata\ndata:}\n\n") == [b"{\n 1\n\n}"]


@pytest.mark.parametrize("make", [SseReader, NdjsonReader])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_frame_beyond_the_limit_is_refused(make: Callable[[int], FrameReader], size: int) -> None:
    body = b"data: " + b"x" * 1000
    reader = make(100)
    with pytest.raises(GatewayError) as caught:
        read(reader, [body[at : at + size] for at in range(0, len(body), size)])

    assert caught.value.reason_name == "PROVIDER_PROTOCOL_ERROR"


@pytest.mark.parametrize("make", [SseReader, NdjsonReader])
def test_frame_beyond_the_limit_is_refused_among_others(make: Callable[[int], FrameReader]) -> None:
    with pytest.raises(GatewayError):
        make(100).feed(b"data: x\n\ndata: " + b"x" * 200 + b"\n\ndata: x\n\n")


def test_many_small_events_in_one_read_are_within_the_limit() -> None:
    assert len(SseReader(100).feed(b"data: x\n\n" * 1000)) == 1000
