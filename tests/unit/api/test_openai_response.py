"""Answers in OpenAI's dialect: golden bytes, and what no stream may leave out."""

import json
from typing import Any

import pytest
from google.protobuf import json_format

from llmgateway.v1.chat_service_pb2 import ChatResponse, PartDelta, Started, ToolCallDelta
from llmgateway.v1.content_pb2 import Citation, FinishReason, Logprobs, Media, TokenLogprob, Usage
from llmgateway_server.api.openai.response import DONE, FINISH_REASONS, ChunkWriter, error_line, usage_json, whole

USAGE = Usage(
    input_tokens=10,
    input_cached_tokens=4,
    input_cache_write_tokens=2,
    input_audio_tokens=1,
    output_tokens=7,
    output_reasoning_tokens=3,
    output_audio_tokens=1,
    output_accepted_prediction_tokens=2,
    output_rejected_prediction_tokens=1,
)
USAGE_JSON = (
    '{"prompt_tokens":10,"completion_tokens":7,"total_tokens":17,'
    '"prompt_tokens_details":{"cached_tokens":4,"cache_write_tokens":2,"audio_tokens":1},'
    '"completion_tokens_details":{"reasoning_tokens":3,"audio_tokens":1,'
    '"accepted_prediction_tokens":2,"rejected_prediction_tokens":1}}'
)


def answer(*parts: dict[str, Any], reason: str = "STOP", **fields: Any) -> ChatResponse:
    body = {
        "responseId": "r1",
        "message": {"role": "ROLE_ASSISTANT", "parts": list(parts)},
        "finishReason": f"FINISH_REASON_{reason}",
        "createTime": "2026-01-02T03:04:05Z",
        **fields,
    }
    return json_format.ParseDict(body, ChatResponse())


def message_of(*parts: dict[str, Any]) -> dict[str, Any]:
    return json.loads(whole([answer(*parts)], "m", USAGE))["choices"][0]["message"]


def writer(*, index: int = 0, include_usage: bool = False) -> ChunkWriter:
    started = Started(response_id="chatcmpl-7")
    started.create_time.seconds = 1767323045
    return ChunkWriter(started, index, "m-1", include_usage=include_usage)


def chunk(line: bytes) -> dict[str, Any]:
    assert line.startswith(b"data: ")
    assert line.endswith(b"\n\n")
    assert line.count(b"\n") == 2
    return json.loads(line.removeprefix(b"data: "))


def delta(line: bytes) -> dict[str, Any]:
    return chunk(line)["choices"][0]["delta"]


def test_a_whole_answer() -> None:
    assert whole([answer({"text": "Hello"})], "m-1", USAGE).decode() == (
        '{"id":"chatcmpl-r1","object":"chat.completion","created":1767323045,"model":"m-1","choices":['
        '{"index":0,"message":{"role":"assistant","content":"Hello","refusal":null},'
        '"logprobs":null,"finish_reason":"stop"}],'
        f'"usage":{USAGE_JSON},"system_fingerprint":null}}'
    )


def test_an_answer_names_its_tier_and_fingerprint() -> None:
    body = json.loads(whole([answer(serviceTier="flex", systemFingerprint="fp")], "m", USAGE))
    assert (body["service_tier"], body["system_fingerprint"]) == ("flex", "fp")


def test_several_answers_are_choices_of_one() -> None:
    body = json.loads(whole([answer({"text": "a"}), answer({"text": "b"}, reason="LENGTH")], "m", USAGE))
    assert [(choice["index"], choice["message"]["content"], choice["finish_reason"]) for choice in body["choices"]] == [
        (0, "a", "stop"),
        (1, "b", "length"),
    ]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], {"content": "", "refusal": None}),
        ([{"text": "a"}, {"text": "b"}], {"content": "ab", "refusal": None}),
        ([{"text": ""}], {"content": "", "refusal": None}),
        ([{"refusal": "n"}, {"refusal": "o"}], {"content": None, "refusal": "no"}),
        (
            [{"reasoning": "h"}, {"reasoning": "m"}, {"text": "a"}],
            {"content": "a", "refusal": None, "reasoning_content": "hm"},
        ),
        (
            [{"toolCall": {"id": "c1", "name": "add", "arguments": "{}"}}],
            {
                "content": None,
                "refusal": None,
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}],
            },
        ),
        (
            [{"toolCall": {"id": "c1", "name": "free", "arguments": "x", "custom": True}}],
            {
                "content": None,
                "refusal": None,
                "tool_calls": [{"id": "c1", "type": "custom", "custom": {"name": "free", "input": "x"}}],
            },
        ),
        (
            [{"audio": {"fileId": "a1", "transcript": "hi", "expiresAt": 9}}],
            {
                "content": None,
                "refusal": None,
                "audio": {"id": "a1", "data": "", "transcript": "hi", "expires_at": 9},
            },
        ),
        (
            [{"text": "a", "citations": [{"url": "u", "title": "t", "startIndex": 0, "endIndex": 1}]}],
            {
                "content": "a",
                "refusal": None,
                "annotations": [
                    {
                        "type": "url_citation",
                        "url_citation": {"url": "u", "title": "t", "start_index": 0, "end_index": 1},
                    }
                ],
            },
        ),
    ],
)
def test_parts_of_a_whole_answer(parts: list[dict[str, Any]], message: dict[str, Any]) -> None:
    assert message_of(*parts) == {"role": "assistant", **message}


def test_every_finish_reason_that_can_be_has_a_word() -> None:
    assert set(FINISH_REASONS) == set(FinishReason.values()) - {FinishReason.FINISH_REASON_UNSPECIFIED}


def test_a_reason_that_was_not_said_is_not_made_up() -> None:
    with pytest.raises(KeyError):
        writer().finish(FinishReason.FINISH_REASON_UNSPECIFIED)


def test_log_probabilities_of_a_whole_answer() -> None:
    token = {"token": "a", "logprob": -0.5, "raw": "YQ==", "alternatives": [{"token": "b", "logprob": -1.5}]}
    body = json.loads(whole([answer({"text": "a"}, logprobs=[{"tokens": [token]}])], "m", USAGE))
    assert body["choices"][0]["logprobs"] == {
        "content": [
            {
                "token": "a",
                "logprob": -0.5,
                "bytes": [97],
                "top_logprobs": [{"token": "b", "logprob": -1.5, "bytes": None}],
            }
        ],
        "refusal": None,
    }


def test_usage_by_openais_names() -> None:
    assert json.dumps(usage_json(USAGE), separators=(",", ":")) == USAGE_JSON


HEAD = (
    'data: {"id":"chatcmpl-7","object":"chat.completion.chunk","created":1767323045,"model":"m-1",'
    '"system_fingerprint":null'
)


def test_a_stream_in_bytes() -> None:
    chunks = writer()
    lines = [
        chunks.delta(PartDelta(text="Hel")),
        chunks.delta(PartDelta(text="lo")),
        chunks.finish(FinishReason.FINISH_REASON_STOP),
        DONE,
    ]
    assert b"".join(lines).decode() == (
        f'{HEAD},"choices":[{{"index":0,"delta":{{"role":"assistant","content":"Hel"}},'
        '"logprobs":null,"finish_reason":null}]}\n\n'
        f'{HEAD},"choices":[{{"index":0,"delta":{{"content":"lo"}},"logprobs":null,"finish_reason":null}}]}}\n\n'
        f'{HEAD},"choices":[{{"index":0,"delta":{{}},"logprobs":null,"finish_reason":"stop"}}]}}\n\n'
        "data: [DONE]\n\n"
    )


def test_usage_is_null_until_it_is_told() -> None:
    chunks = writer(include_usage=True)
    first, last = chunk(chunks.delta(PartDelta(text="a"))), chunk(chunks.finish(FinishReason.FINISH_REASON_STOP))
    assert first["usage"] is last["usage"] is None
    assert chunks.usage(USAGE).decode() == f'{HEAD},"choices":[],"usage":{USAGE_JSON}}}\n\n'
    assert "usage" not in chunk(writer().delta(PartDelta(text="a")))


def test_a_choice_has_its_index() -> None:
    chunks = writer(index=3)
    assert chunk(chunks.delta(PartDelta(text="a")))["choices"][0]["index"] == 3
    assert chunk(chunks.finish(FinishReason.FINISH_REASON_STOP))["choices"][0]["index"] == 3


def test_an_answer_of_nothing_still_has_a_role() -> None:
    assert delta(writer().finish(FinishReason.FINISH_REASON_STOP)) == {"role": "assistant", "content": ""}


@pytest.mark.parametrize(
    ("part", "first", "later"),
    [
        (PartDelta(text="a"), {"content": "a"}, {"content": "a"}),
        (
            PartDelta(reasoning="h"),
            {"content": None, "reasoning_content": "h"},
            {"reasoning_content": "h"},
        ),
        (PartDelta(refusal="n"), {"content": None, "refusal": "n"}, {"refusal": "n"}),
        (
            PartDelta(audio=Media(file_id="a1", transcript="hi", expires_at=9)),
            {"content": None, "audio": {"id": "a1", "transcript": "hi", "expires_at": 9}},
            {"audio": {"id": "a1", "transcript": "hi", "expires_at": 9}},
        ),
        (
            PartDelta(audio=Media(data=b"\x00\x00\x00")),
            {"content": None, "audio": {"data": "AAAA"}},
            {"audio": {"data": "AAAA"}},
        ),
        (
            PartDelta(text="a", citations=[Citation(url="u")]),
            {
                "content": "a",
                "annotations": [
                    {
                        "type": "url_citation",
                        "url_citation": {"url": "u", "title": "", "start_index": 0, "end_index": 0},
                    }
                ],
            },
            None,
        ),
    ],
)
def test_pieces_of_an_answer(part: PartDelta, first: dict[str, Any], later: dict[str, Any] | None) -> None:
    chunks = writer()
    assert delta(chunks.delta(part)) == {"role": "assistant", **first}
    if later is not None:
        assert delta(chunks.delta(part)) == later


def test_a_piece_that_says_nothing_is_no_line() -> None:
    chunks = writer()
    assert chunks.delta(PartDelta()) == b""
    assert delta(chunks.delta(PartDelta(text="a"))) == {"role": "assistant", "content": "a"}


def test_tool_calls_are_counted_apart_from_other_parts() -> None:
    chunks = writer()
    chunks.delta(PartDelta(part_index=0, text="Let me see."))
    lines = [
        PartDelta(part_index=2, tool_call=ToolCallDelta(id="c1", name="add", arguments='{"a"')),
        PartDelta(part_index=5, tool_call=ToolCallDelta(id="c2", name="free", custom=True)),
        PartDelta(part_index=2, tool_call=ToolCallDelta(arguments=":1}")),
        PartDelta(part_index=5, tool_call=ToolCallDelta(arguments="x", custom=True)),
    ]
    assert [delta(chunks.delta(line))["tool_calls"] for line in lines] == [
        [{"index": 0, "id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a"'}}],
        [{"index": 1, "id": "c2", "type": "custom", "custom": {"name": "free", "input": ""}}],
        [{"index": 0, "function": {"arguments": ":1}"}}],
        [{"index": 1, "custom": {"input": "x"}}],
    ]


def test_log_probabilities_of_a_stream_keep_out_of_the_first_chunk() -> None:
    logprobs = Logprobs(tokens=[TokenLogprob(token="a", logprob=-1.0)])
    chunks = writer()
    first, second = chunks.delta(PartDelta(text="a", logprobs=logprobs)).split(b"\n\n")[:2]
    assert chunk(first + b"\n\n")["choices"][0]["logprobs"] is None
    assert chunk(second + b"\n\n")["choices"][0]["logprobs"]["content"][0]["token"] == "a"
    only = chunk(chunks.delta(PartDelta(logprobs=logprobs)))["choices"][0]
    assert (only["delta"], only["logprobs"]["content"][0]["logprob"]) == ({}, -1.0)


@pytest.mark.parametrize("text", ["a\nb", "a\r\n\r\nb", "\u2028", "data: x\n\n", "\x00", '"', "😀"])
def test_no_text_breaks_the_framing(text: str) -> None:
    line = writer().delta(PartDelta(text=text))
    assert delta(line)["content"] == text
    assert len(line.decode().split("\n")) == 3


def test_an_error_line_is_one_line() -> None:
    assert error_line({"error": {"message": "a\nb"}}) == b'data: {"error":{"message":"a\\nb"}}\n\n'
