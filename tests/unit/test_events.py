"""Events add up to the answer they were spread from, and nothing else adds up to an answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from llmgateway.v1.chat_service_pb2 import ChatEvent, ChatResponse, Failed, Finished, PartDelta, Started, ToolCallDelta
from llmgateway.v1.content_pb2 import (
    Citation,
    FinishReason,
    Logprobs,
    Media,
    Message,
    Part,
    ProviderState,
    Role,
    TokenLogprob,
    ToolCall,
    Usage,
)
from llmgateway.v1.content_pb2 import Warning as ChatWarning
from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway.v1.routing_service_pb2 import Attempt
from llmgateway_server.errors import GatewayError
from llmgateway_server.events import Fold, add_usage, carries_content, fold, spread, text_of

texts = st.text(max_size=20)
counts = st.integers(0, 2**40)
usages = st.builds(
    Usage,
    **{field.name: counts for field in Usage.DESCRIPTOR.fields if field.name != "estimated"},
    estimated=st.booleans(),
)
media = st.one_of(
    st.builds(Media, data=st.binary(min_size=1, max_size=20), mime_type=texts, transcript=texts),
    st.builds(Media, url=texts, detail=texts),
    st.builds(Media, file_id=texts, expires_at=counts),
)
states = st.one_of(st.none(), st.builds(ProviderState, wire_format=texts, data=st.binary(max_size=20)))
citations = st.lists(
    st.builds(Citation, url=texts, start_index=st.integers(0, 9), end_index=st.integers(0, 9)), max_size=2
)
calls = st.builds(ToolCall, id=texts, name=texts, arguments=texts, custom=st.booleans())
parts = st.one_of(
    st.builds(Part, text=texts, provider_state=states, citations=citations),
    st.builds(Part, refusal=texts),
    st.builds(Part, reasoning=texts, provider_state=states),
    st.builds(Part, tool_call=calls, provider_state=states),
    st.builds(Part, audio=media, provider_state=states),
    st.builds(Part, image=media),
)
tokens = st.lists(st.builds(TokenLogprob, token=texts, logprob=st.floats(-100, 0)), max_size=3)


@st.composite
def answers(draw: st.DrawFn) -> ChatResponse:
    """Any whole answer that a provider could give."""
    said = draw(st.lists(parts, max_size=5))
    response = ChatResponse(
        response_id=draw(texts),
        message=Message(role=Role.ROLE_ASSISTANT, parts=said),
        finish_reason=draw(st.sampled_from(FinishReason.keys())),
        raw_finish_reason=draw(texts),
        usage=draw(st.one_of(st.none(), usages)),
        deployment=draw(texts),
        provider=draw(texts),
        upstream_model=draw(texts),
        attempts=draw(st.lists(st.builds(Attempt, attempt_id=texts, usage=usages), max_size=2)),
        cost_nanos=draw(st.one_of(st.none(), counts)),
        warnings=draw(st.lists(st.builds(ChatWarning, field=texts), max_size=2)),
        create_time=draw(st.one_of(st.none(), st.builds(Timestamp, seconds=counts))),
        model=draw(texts),
        decision=draw(texts),
        service_tier=draw(texts),
        system_fingerprint=draw(texts),
        request_id=draw(texts),
    )
    if said:
        # Runs of one kind are joined, so that neighbours always differ in kind.
        runs = draw(st.lists(tokens, max_size=3))
        response.logprobs.extend(Logprobs(tokens=run, refusal=bool(at % 2)) for at, run in enumerate(runs))
    return response


def folded(events: Iterable[ChatEvent]) -> ChatResponse:
    folding = Fold()
    for event in events:
        folding.add(event)
    assert folding.done
    return folding.response


def delta(index: int = 0, **fields: object) -> ChatEvent:
    return ChatEvent(part_delta=PartDelta(part_index=index, **fields))  # pyright: ignore[reportArgumentType]


STARTED = ChatEvent(started=Started(response_id="r"))
FINISHED = ChatEvent(finished=Finished(finish_reason=FinishReason.FINISH_REASON_STOP))
FAILED = ChatEvent(failed=Failed(reason=ErrorReason.ERROR_REASON_STREAM_BROKEN))


@given(answers())
def test_answer_is_folded_from_what_it_was_spread_to(response: ChatResponse) -> None:
    events = list(spread(response))

    assert folded(events) == response
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert [event.WhichOneof("event") for event in events[1:-1]] == ["part_delta"] * (len(events) - 2)


@given(st.lists(st.tuples(st.integers(0, 3), st.text(max_size=5)), max_size=30))
def test_pieces_of_interleaved_parts_join_in_order(pieces: list[tuple[int, str]]) -> None:
    indexes: dict[int, int] = {}
    events = [STARTED]
    for key, text in pieces:
        events.append(delta(indexes.setdefault(key, len(indexes)), text=text))
    response = folded([*events, FINISHED])

    for key, index in indexes.items():
        assert response.message.parts[index].text == "".join(text for other, text in pieces if other == key)


def test_tool_call_grows_by_its_arguments() -> None:
    response = folded(
        [
            STARTED,
            delta(tool_call=ToolCallDelta(id="a", name="f", arguments='{"x"')),
            delta(tool_call=ToolCallDelta(arguments=":1}")),
            delta(provider_state=ProviderState(wire_format="w", data=b"1")),
            delta(provider_state=ProviderState(wire_format="w", data=b"2")),
            FINISHED,
        ]
    )

    assert response.message.parts[0].tool_call == ToolCall(id="a", name="f", arguments='{"x":1}')
    assert response.message.parts[0].provider_state.data == b"2"


def test_sound_grows_by_its_bytes_and_words() -> None:
    pieces = [
        Media(file_id="f", mime_type="audio/pcm"),
        Media(transcript="Hel"),
        Media(data=b"1", transcript="lo"),
        Media(data=b"2", expires_at=9),
    ]
    response = folded([STARTED, *(delta(audio=piece) for piece in pieces), FINISHED])

    audio = response.message.parts[0].audio
    assert audio == Media(data=b"12", mime_type="audio/pcm", transcript="Hello", expires_at=9)


def test_sound_keeps_its_id_while_it_has_no_bytes() -> None:
    response = folded([STARTED, delta(audio=Media(file_id="f")), delta(audio=Media(transcript="Hello")), FINISHED])

    assert response.message.parts[0].audio == Media(file_id="f", transcript="Hello")


@pytest.mark.parametrize(
    "events",
    [
        [delta(text="x")],
        [FINISHED],
        [ChatEvent()],
        [FAILED],
        [STARTED, STARTED],
        [STARTED, ChatEvent()],
        [STARTED, FAILED],
        [STARTED, delta(1, text="x")],
        [STARTED, delta(-1, text="x")],
        [STARTED, delta(text="x"), delta(2, text="x")],
        [STARTED, delta(text="x"), delta(reasoning="x")],
        [STARTED, delta(tool_call=ToolCallDelta(id="a")), delta(text="x")],
        [STARTED, FINISHED, delta(text="x")],
        [STARTED, FINISHED, FINISHED],
        [STARTED, FINISHED, STARTED],
    ],
    ids=lambda events: "-".join(str(event.WhichOneof("event")) for event in events),
)
def test_grammar_is_kept(events: list[ChatEvent]) -> None:
    folding = Fold()
    for event in events[:-1]:
        folding.add(event)
    with pytest.raises(GatewayError) as caught:
        folding.add(events[-1])

    assert caught.value.reason == ErrorReason.ERROR_REASON_STREAM_BROKEN


async def stream(*events: ChatEvent) -> AsyncGenerator[ChatEvent]:
    for event in events:
        yield event


async def test_stream_folds_to_its_answer() -> None:
    response = await fold(stream(STARTED, delta(text="Hello"), FINISHED))

    assert text_of(response.message) == "Hello"


@pytest.mark.parametrize("events", [[], [STARTED], [STARTED, delta(text="x")]], ids=len)
async def test_stream_without_its_last_event_is_broken(events: list[ChatEvent]) -> None:
    with pytest.raises(GatewayError) as caught:
        await fold(stream(*events))

    assert caught.value.reason == ErrorReason.ERROR_REASON_STREAM_BROKEN


def test_answer_can_be_read_while_it_grows() -> None:
    folding = Fold()
    for event in (STARTED, delta(text="Hel")):
        folding.add(event)
    assert text_of(folding.response.message) == "Hel"

    folding.add(delta(text="lo"))
    assert text_of(folding.response.message) == "Hello"


def test_long_stream_folds_in_time_that_grows_with_its_length() -> None:
    events = [STARTED, *(delta(text="word ") for _ in range(20_000)), FINISHED]

    assert text_of(folded(events).message) == "word " * 20_000


@given(st.lists(usages, max_size=4))
def test_usages_add_up_class_by_class(several: list[Usage]) -> None:
    total = add_usage(several)

    for field in Usage.DESCRIPTOR.fields:
        values = [getattr(usage, field.name) for usage in several]
        assert getattr(total, field.name) == (any(values) if field.name == "estimated" else sum(values))


@pytest.mark.parametrize(
    ("event", "carries"),
    [
        (STARTED, False),
        (delta(), False),
        (delta(text="x"), True),
        (delta(tool_call=ToolCallDelta(id="a")), True),
        (FINISHED, True),
        (FAILED, True),
    ],
)
def test_content_cannot_be_taken_back(event: ChatEvent, carries: bool) -> None:
    assert carries_content(event) is carries
