"""Events and whole answers in OpenAI's dialect."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from llmgateway.v1.chat_service_pb2 import ChatResponse, PartDelta, Started
from llmgateway.v1.content_pb2 import Citation, FinishReason, Logprobs, Part, TokenLogprob, Usage
from llmgateway_server.api.openai import state

Json = dict[str, Any]
"""A JSON object to send. `Any`: a JSON value."""

FINISH_REASONS: Mapping[FinishReason, str] = {
    FinishReason.FINISH_REASON_STOP: "stop",
    FinishReason.FINISH_REASON_LENGTH: "length",
    FinishReason.FINISH_REASON_TOOL_CALLS: "tool_calls",
    FinishReason.FINISH_REASON_CONTENT_FILTER: "content_filter",
    FinishReason.FINISH_REASON_PAUSE: "stop",
    FinishReason.FINISH_REASON_BUDGET: "length",
    FinishReason.FINISH_REASON_ERROR: "error",
    FinishReason.FINISH_REASON_OTHER: "stop",
}
"""Every reason but the one that was not said, which no answer ends with."""

DONE = b"data: [DONE]\n\n"


def usage_json(usage: Usage) -> Json:
    """Token counts by OpenAI's names."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.input_cached_tokens,
            "cache_write_tokens": usage.input_cache_write_tokens,
            "audio_tokens": usage.input_audio_tokens,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.output_reasoning_tokens,
            "audio_tokens": usage.output_audio_tokens,
            "accepted_prediction_tokens": usage.output_accepted_prediction_tokens,
            "rejected_prediction_tokens": usage.output_rejected_prediction_tokens,
        },
    }


def whole(answers: Sequence[ChatResponse], model: str, usage: Usage) -> bytes:
    """The body of a whole reply; one choice an answer."""
    first = answers[0]
    body: Json = {
        "id": _completion_id(first.response_id),
        "object": "chat.completion",
        "created": first.create_time.seconds,
        "model": model,
        "choices": [_choice(index, answer) for index, answer in enumerate(answers)],
        "usage": usage_json(usage),
        "system_fingerprint": first.system_fingerprint or None,
    }
    if first.service_tier:
        body["service_tier"] = first.service_tier
    return orjson.dumps(body)


def _completion_id(response_id: str) -> str:
    return response_id if response_id.startswith("chatcmpl") else f"chatcmpl-{response_id}"


def _choice(index: int, answer: ChatResponse) -> Json:
    return {
        "index": index,
        "message": _message(answer.message.parts),
        "logprobs": _logprobs(answer.logprobs),
        "finish_reason": FINISH_REASONS[answer.finish_reason],
    }


def _message(parts: Sequence[Part]) -> Json:
    texts: list[str] = []
    refusals: list[str] = []
    message: Json = {"role": "assistant", "content": None, "refusal": None}
    for part in parts:
        kind = part.WhichOneof("content")
        if kind == "text":
            texts.append(part.text)
        elif kind == "refusal":
            refusals.append(part.refusal)
        elif kind == "reasoning":
            message["reasoning_content"] = message.get("reasoning_content", "") + part.reasoning
        elif kind == "tool_call":
            call = part.tool_call
            message.setdefault("tool_calls", []).append(
                _tool_call(call.id, call.name, call.arguments, custom=call.custom)
            )
        elif kind == "audio":
            audio = part.audio
            message["audio"] = {
                "id": audio.file_id,
                "data": base64.b64encode(audio.data).decode(),
                "transcript": audio.transcript,
                "expires_at": audio.expires_at,
            }
        if part.citations:
            message.setdefault("annotations", []).extend(_annotations(part.citations))
    if states := state.entries(parts):
        message[state.FIELD] = states
    if texts:
        message["content"] = "".join(texts)
    if refusals:
        message["refusal"] = "".join(refusals)
    if message["content"] is None and "tool_calls" not in message and not refusals and "audio" not in message:
        message["content"] = ""
    return message


def _tool_call(call_id: str, name: str, arguments: str, *, custom: bool) -> Json:
    if custom:
        return {"id": call_id, "type": "custom", "custom": {"name": name, "input": arguments}}
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _annotations(citations: Sequence[Citation]) -> list[Json]:
    return [
        {
            "type": "url_citation",
            "url_citation": {
                "url": citation.url,
                "title": citation.title,
                "start_index": citation.start_index,
                "end_index": citation.end_index,
            },
        }
        for citation in citations
    ]


def _logprobs(runs: Sequence[Logprobs]) -> Json | None:
    if not runs:
        return None
    content = [_token(token) for run in runs if not run.refusal for token in run.tokens]
    refusal = [_token(token) for run in runs if run.refusal for token in run.tokens]
    return {"content": content or None, "refusal": refusal or None}


def _token(token: TokenLogprob) -> Json:
    return {**_bare_token(token), "top_logprobs": [_bare_token(other) for other in token.alternatives]}


def _bare_token(token: TokenLogprob) -> Json:
    raw = list(token.raw) if token.HasField("raw") else None
    return {"token": token.token, "logprob": token.logprob, "bytes": raw}


class ChunkWriter:
    """Writes the chunks of one choice of a stream.

    What all chunks share is written once, at the start; a text delta then costs one small JSON string.
    """

    def __init__(self, started: Started, index: int, model: str, *, include_usage: bool) -> None:
        head: Json = {
            "id": _completion_id(started.response_id),
            "object": "chat.completion.chunk",
            "created": started.create_time.seconds,
            "model": model,
            "system_fingerprint": None,
        }
        self._head = b"data: " + orjson.dumps(head)[:-1]
        self._index = index
        self._end = b',"usage":null}\n\n' if include_usage else b"}\n\n"
        self._tool_indexes: dict[int, int] = {}
        self._state = state.Gathering()
        self._first = True

    def delta(self, delta: PartDelta) -> bytes:
        """The chunk for a delta; empty when there is nothing in it that the dialect can say."""
        self._state.add(delta)
        body = self._delta(delta)
        if not body and not delta.HasField("logprobs"):
            return b""
        logprobs = _logprobs([delta.logprobs]) if delta.HasField("logprobs") else None
        if self._first:
            self._first = False
            if logprobs is not None:
                # OpenAI's SDK for Node counts log probabilities twice that come with the first chunk of a choice.
                return self._chunk({"role": "assistant", "content": ""}, None, None) + self._chunk(body, logprobs, None)
            body = {"role": "assistant", "content": None, **body} if "content" not in body else _with_role(body)
        return self._chunk(body, logprobs, None)

    def finish(self, reason: FinishReason) -> bytes:
        """The last chunk of the choice."""
        body: Json = {"role": "assistant", "content": ""} if self._first else {}
        if states := self._state.entries():
            body[state.FIELD] = states
        return self._chunk(body, None, FINISH_REASONS[reason])

    def usage(self, usage: Usage) -> bytes:
        """The chunk after the last choice, which says what was used."""
        return self._head + b',"choices":[],"usage":' + orjson.dumps(usage_json(usage)) + b"}\n\n"

    def _chunk(self, delta: Json, logprobs: Json | None, finish_reason: str | None) -> bytes:
        choice = {"index": self._index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        return self._head + b',"choices":[' + orjson.dumps(choice) + b"]" + self._end

    def _delta(self, delta: PartDelta) -> Json:
        kind = delta.WhichOneof("delta")
        body: Json = {}
        if kind == "text":
            body["content"] = delta.text
        elif kind == "reasoning":
            body["reasoning_content"] = delta.reasoning
        elif kind == "refusal":
            body["refusal"] = delta.refusal
        elif kind == "tool_call":
            body["tool_calls"] = [self._tool_call(delta)]
        elif kind == "audio":
            body["audio"] = _audio_delta(delta)
        if delta.citations:
            body["annotations"] = _annotations(delta.citations)
        return body

    def _tool_call(self, delta: PartDelta) -> Json:
        call = delta.tool_call
        index = self._tool_indexes.get(delta.part_index)
        new = index is None
        if index is None:
            index = self._tool_indexes[delta.part_index] = len(self._tool_indexes)
        if new or call.id or call.name:
            return {"index": index, **_tool_call(call.id, call.name, call.arguments, custom=call.custom)}
        if call.custom:
            return {"index": index, "custom": {"input": call.arguments}}
        return {"index": index, "function": {"arguments": call.arguments}}


def _with_role(body: Json) -> Json:
    return {"role": "assistant", **body}


def _audio_delta(delta: PartDelta) -> Json:
    audio, body = delta.audio, Json()
    if audio.file_id:
        body["id"] = audio.file_id
    if audio.data:
        body["data"] = base64.b64encode(audio.data).decode()
    if audio.transcript:
        body["transcript"] = audio.transcript
    if audio.expires_at:
        body["expires_at"] = audio.expires_at
    return body


def error_line(body: Json) -> bytes:
    """The line that ends a stream that broke off. OpenAI's clients raise when they read it."""
    return b"data: " + orjson.dumps(body) + b"\n\n"
