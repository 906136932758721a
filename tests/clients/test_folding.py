"""The client's fold and the gateway's own agree on every stream of events."""

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from llmgateway.v1.chat_service_pb2 import ChatEvent, Finished, PartDelta, Started, ToolCallDelta
from llmgateway.v1.content_pb2 import (
    Citation,
    FinishReason,
    Logprobs,
    Media,
    ProviderState,
    TokenLogprob,
    Usage,
    Warning,  # noqa: A004, the name of the message
)
from llmgateway.v1.routing_service_pb2 import Attempt
from llmgateway_client import v1
from llmgateway_client.errors import Unavailable
from llmgateway_client.folding import Fold
from llmgateway_server import errors as server_errors
from llmgateway_server import events as server_events
from tests.clients.chat_server import numbered

KINDS = ("text", "refusal", "reasoning", "tool_call", "audio", "image", "")
WORDS = some.text(max_size=6)


def deltas(index: int, kind: str) -> some.SearchStrategy[PartDelta]:
    """Any delta of one kind for one part. An empty kind has no content, as a late provider state has not."""
    common: dict[str, Any] = {
        "part_index": some.just(index),
        "logprobs": some.none()
        | some.builds(
            Logprobs,
            tokens=some.lists(some.builds(TokenLogprob, token=WORDS), max_size=2),
            refusal=some.booleans(),
        ),
        "provider_state": some.none() | some.builds(ProviderState, wire_format=WORDS, data=some.binary(max_size=3)),
        "citations": some.lists(some.builds(Citation, url=WORDS), max_size=2),
    }
    sound = some.builds(
        Media, data=some.binary(min_size=1, max_size=4), transcript=WORDS, file_id=some.none(), mime_type=WORDS
    )
    value: dict[str, some.SearchStrategy[Any]] = {
        "text": WORDS,
        "refusal": WORDS,
        "reasoning": WORDS,
        "tool_call": some.builds(ToolCallDelta, id=WORDS, name=WORDS, arguments=WORDS, custom=some.booleans()),
        "audio": sound | some.builds(Media, transcript=WORDS, expires_at=some.integers(0, 9)),
        "image": some.builds(Media, url=some.just("https://example.com/a.png"), mime_type=WORDS),
    }
    return some.builds(PartDelta, **common, **({kind: value[kind]} if kind else {}))


@some.composite
def answers(draw: some.DrawFn) -> list[ChatEvent]:
    """A stream of events that keeps to the grammar."""
    kinds = draw(some.lists(some.sampled_from(KINDS), max_size=3))
    first = [draw(deltas(index, kind)) for index, kind in enumerate(kinds)]
    indexes = draw(some.lists(some.integers(0, len(kinds) - 1), max_size=6)) if kinds else []
    more = [draw(deltas(index, kinds[index])) for index in indexes]
    started = Started(
        response_id="a",
        deployment="deployments/d",
        provider="providers/p",
        upstream_model="m",
        model="models/m",
        decision="decisions/1",
        request_id="r",
        warnings=[Warning(field="generation.seed")],
        create_time=Timestamp(seconds=1_700_000_000),
    )
    finished = Finished(
        finish_reason=FinishReason.FINISH_REASON_STOP,
        raw_finish_reason="stop",
        usage=draw(some.none() | some.builds(Usage, output_tokens=some.integers(0, 9))),
        attempts=[Attempt(deployment="deployments/d")],
        cost_nanos=draw(some.none() | some.just(0)),
        service_tier="default",
        system_fingerprint="f",
    )
    steps = [ChatEvent(part_delta=delta) for delta in [*first, *more]]
    return numbered(ChatEvent(started=started), *steps, ChatEvent(finished=finished))


def folded_by_client(events: list[ChatEvent]) -> v1.ChatResponse:
    fold = Fold()
    for event in events:
        fold.add(v1.ChatEvent.parse(event.SerializeToString()))
    return fold.response()


def folded_by_server(events: list[ChatEvent]) -> v1.ChatResponse:
    fold = server_events.Fold()
    for event in events:
        fold.add(event)
    return v1.ChatResponse.parse(fold.response.SerializeToString())


# The first example builds every strategy, which the health check takes for slowness.
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(answers())
def test_both_folds_give_the_same_answer(events: list[ChatEvent]) -> None:
    assert folded_by_client(events) == folded_by_server(events)


STARTED = ChatEvent(started=Started())
FINISHED = ChatEvent(finished=Finished())


def text(index: int) -> ChatEvent:
    return ChatEvent(part_delta=PartDelta(part_index=index, text="a"))


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([text(0)], id="begins with a piece"),
        pytest.param([FINISHED], id="ends before it begins"),
        pytest.param([STARTED, STARTED], id="begins twice"),
        pytest.param([STARTED, text(1)], id="skips a part"),
        pytest.param([STARTED, text(-1)], id="names a part below zero"),
        pytest.param([STARTED, text(0), ChatEvent(part_delta=PartDelta(refusal="b"))], id="changes the kind of a part"),
        pytest.param([STARTED, FINISHED, FINISHED], id="goes on after its end"),
    ],
)
def test_both_folds_refuse_the_same_streams(events: list[ChatEvent]) -> None:
    with pytest.raises(Unavailable) as ours:
        folded_by_client(numbered(*events))
    with pytest.raises(server_errors.Unavailable) as theirs:
        folded_by_server(events)
    assert ours.value.reason.name == theirs.value.reason_name == "STREAM_BROKEN"


def test_an_answer_without_its_last_event_is_no_answer() -> None:
    with pytest.raises(Unavailable, match="without its last event"):
        folded_by_client(numbered(STARTED, text(0)))
