"""Recorded bytes become events, and requests become bytes: each behaviour is a file of cases for each wire format."""

from __future__ import annotations

from itertools import pairwise

import orjson
import pytest

from llmgateway.v1.chat_service_pb2 import ChatEvent, ChatResponse
from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server.errors import GatewayError
from llmgateway_server.providers.wire import Framing
from tests.contract.providers.cases import Case, decode, folded, load, single_bytes
from tests.contract.providers.formats import BEHAVIOURS, FORMATS, SECRET, Format

MERGED = ("text", "reasoning", "refusal", "tool_call")
"""Deltas that are joined when they come together. Media come as they are."""


@pytest.mark.parametrize("each", FORMATS, ids=lambda each: each.name)
def test_every_capability_has_its_cases(each: Format) -> None:
    wanted = {name for name, capability in BEHAVIOURS.items() if capability in each.capabilities}
    there = {path.stem for path in each.folder.glob("*.yaml")}

    assert wanted <= there, f"write cases for {sorted(wanted - there)}"


@pytest.mark.parametrize("case", load(having="sent"), ids=str)
def test_request_is_written(case: Case) -> None:
    sent = case.fields["sent"]
    call = case.call(stream=False)
    before = call.request.SerializeToString(deterministic=True)

    request = case.format.wire.encode(call)

    assert orjson.loads(request.body) == sent["body"]
    if "path" in sent:
        assert f"{request.method} {request.url.removeprefix(case.format.base_url)}" == sent["path"]
    for name, value in sent.get("headers", {}).items():
        assert request.headers[name] == value.replace("$SECRET", SECRET)
    assert [warning.field for warning in request.warnings] == case.fields.get("warnings", [])
    assert call.request.SerializeToString(deterministic=True) == before, "the request was changed"


@pytest.mark.parametrize("case", load(having="sent"), ids=str)
def test_streamed_request_differs_only_in_what_asks_for_a_stream(case: Case) -> None:
    whole = orjson.loads(case.format.wire.encode(case.call(stream=False)).body)
    streamed = orjson.loads(case.format.wire.encode(case.call(stream=True)).body)

    assert {name: value for name, value in streamed.items() if value != whole.get(name)} == case.fields["sent"].get(
        "stream_body", case.format.stream_body
    )


@pytest.mark.parametrize("case", load(having="refused"), ids=str)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_request_is_refused(case: Case, stream: bool) -> None:
    with pytest.raises(GatewayError) as caught:
        case.format.wire.encode(case.call(stream=stream))

    assert {"reason": caught.value.reason_name, "field": caught.value.field} == case.fields["refused"]


@pytest.mark.parametrize("case", [case for case in load(having="answer") if "whole" in case.fields], ids=str)
def test_whole_answer_is_read(case: Case) -> None:
    events = case.format.wire.decoder(case.call(stream=False)).whole(case.whole, {})

    assert folded(events) == case.answer
    assert not _unmerged(events)


@pytest.mark.parametrize("case", [case for case in load(having="answer") if "stream" in case.fields], ids=str)
class TestStreamedAnswer:
    """One recorded stream, in all the ways in which it may come."""

    def test_is_read_at_once(self, case: Case) -> None:
        events = decode(case, [case.stream])

        assert folded(events) == case.answer
        assert not _unmerged(events), "one read brought adjacent deltas of one part"

    def test_is_read_byte_by_byte(self, case: Case) -> None:
        assert folded(decode(case, single_bytes(case.stream))) == case.answer

    @pytest.mark.parametrize("newline", [b"\r\n", b"\r"], ids=["CRLF", "CR"])
    def test_is_read_with_other_line_ends(self, case: Case, newline: bytes) -> None:
        if newline == b"\r" and case.format.wire.framing is not Framing.SSE:
            pytest.skip("only server-sent events may have lines that end in CR")
        body = case.stream.replace(b"\n", newline)

        assert folded(decode(case, [body])) == case.answer
        assert folded(decode(case, single_bytes(body))) == case.answer

    def test_is_read_through_comments(self, case: Case) -> None:
        if case.format.wire.framing is not Framing.SSE:
            pytest.skip("only server-sent events have comments")
        body = b"\xef\xbb\xbf: hello\n\n" + case.stream.replace(b"\n\n", b"\n\n: ping\n\n\n")

        assert folded(decode(case, [body])) == case.answer

    def test_is_never_whole_when_it_is_cut(self, case: Case) -> None:
        whole = case.answer
        for cut in range(len(case.stream)):
            part = _decoded_or_reason(case, case.stream[:cut])
            if isinstance(part, str):
                assert part in ("STREAM_BROKEN", "PROVIDER_PROTOCOL_ERROR"), cut
            else:
                # The answer had said why it ended, so all of it was there. Only what comes after that may be missing.
                assert part.message == whole.message, cut
                assert part.finish_reason == whole.finish_reason, cut

    def test_survives_one_malformed_frame_and_not_two(self, case: Case) -> None:
        for garbage in (b"{", b"[]", b"5", b"null", b'"text"', b"\xff\xfe"):
            frame = case.format.frame(garbage)

            assert folded(decode(case, [frame + case.stream])) == case.answer
            with pytest.raises(GatewayError) as caught:
                decode(case, [frame, frame + case.stream])
            assert caught.value.reason == ErrorReason.ERROR_REASON_PROVIDER_PROTOCOL_ERROR


@pytest.mark.parametrize("case", [case for case in load(having="error") if "whole" in case.fields], ids=str)
def test_error_within_a_whole_answer(case: Case) -> None:
    with pytest.raises(GatewayError) as caught:
        case.format.wire.decoder(case.call(stream=False)).whole(case.whole, {})

    _check_error(caught.value, case.fields["error"])


@pytest.mark.parametrize("case", [case for case in load(having="error") if "stream" in case.fields], ids=str)
def test_error_within_a_stream(case: Case) -> None:
    for pieces in ([case.stream], list(single_bytes(case.stream))):
        with pytest.raises(GatewayError) as caught:
            decode(case, pieces)

        _check_error(caught.value, case.fields.get("stream_error", case.fields["error"]))


@pytest.mark.parametrize("case", load(having="status"), ids=str)
def test_failure_has_its_reason(case: Case) -> None:
    body = case.fields.get("body", "")
    data = body.encode() if isinstance(body, str) else orjson.dumps(body)

    error = case.format.wire.failure(case.fields["status"], case.fields.get("headers", {}), data)

    _check_error(error, case.fields["failure"])


def _decoded_or_reason(case: Case, body: bytes) -> ChatResponse | str:
    try:
        return folded(decode(case, [body]))
    except GatewayError as error:
        return error.reason_name


def _check_error(error: GatewayError, wanted: dict[str, object]) -> None:
    seen = {
        "reason": error.reason_name,
        "retryable": error.retryable,
        "field": error.field,
        "retry_after": error.retry_after,
        "code": error.metadata.get("upstream_code", ""),
        "message": error.message,
    }
    assert {name: seen[name] for name in wanted} == wanted


def _unmerged(events: list[ChatEvent]) -> list[ChatEvent]:
    """Deltas that should have been one with the delta before them."""
    deltas = [(event, event.part_delta) for event in events if event.HasField("part_delta")]
    return [
        event
        for (_, before), (event, delta) in pairwise(deltas)
        if before.part_index == delta.part_index
        and before.WhichOneof("delta") == delta.WhichOneof("delta")
        and delta.WhichOneof("delta") in MERGED
    ]
