"""Reads answers in Anthropic's Messages dialect, whole ones and streams.

Each block of an answer is one part. A whole answer is read as its blocks, begun and ended at once, so there is one
reading of both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import orjson

from llmgateway.v1.chat_service_pb2 import ChatEvent, Finished
from llmgateway.v1.content_pb2 import Citation, FinishReason, ProviderState, Usage
from llmgateway_server.events import broken
from llmgateway_server.providers.anthropic_failures import error_of
from llmgateway_server.providers.anthropic_messages import THINKING_BLOCKS, WIRE_FORMAT
from llmgateway_server.providers.assembly import Assembly
from llmgateway_server.providers.failures import protocol_error
from llmgateway_server.providers.wire import Headers

Json = dict[str, Any]
"""A JSON object as it came. Any: what it holds is looked at before it is used."""

FINISH_REASONS: Mapping[str, FinishReason] = {
    "end_turn": FinishReason.FINISH_REASON_STOP,
    "stop_sequence": FinishReason.FINISH_REASON_STOP,
    "max_tokens": FinishReason.FINISH_REASON_LENGTH,
    "model_context_window_exceeded": FinishReason.FINISH_REASON_LENGTH,
    "tool_use": FinishReason.FINISH_REASON_TOOL_CALLS,
    "refusal": FinishReason.FINISH_REASON_CONTENT_FILTER,
    "pause_turn": FinishReason.FINISH_REASON_PAUSE,
}
"""Words for why an answer ended. Unknown ones are OTHER, and the raw word is kept."""

_COUNTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
_SAID: Mapping[str, frozenset[str]] = {
    "text": frozenset({"type", "text"}),
    "tool_use": frozenset({"type", "id", "name", "input"}),
}
"""Fields of a block that its part says by itself. Others are kept in the part's state."""

_DIRECT = {"type": "direct"}
"""The caller of nearly every tool: the model itself, as where nothing is said."""


class _Malformed(ValueError):
    """A frame is not what the dialect allows."""


_UNREADABLE = (ValueError, TypeError, OverflowError, KeyError)
"""What reading raises for values that are missing, or of wrong types and sizes: it is the frame that is malformed."""


class _Block:
    """A block that is being read."""

    __slots__ = ("fields", "is_answer", "key", "kind", "pieces")

    def __init__(self, key: int, fields: Json, *, is_answer: bool) -> None:
        self.key = key
        self.kind = _text(fields, "type")
        self.is_answer = is_answer
        self.fields = fields
        self.pieces: list[str] = []
        """What came of its thoughts, or of the JSON of its input."""


class MessageDecoder:
    """Reads one answer."""

    def __init__(self, *, answer_tool: str) -> None:
        self._answer_tool = answer_tool
        self._assembly = Assembly()
        self._started = False
        self._finished = Finished()
        self._blocks: dict[int, _Block] = {}
        self._usage: dict[str, int] = {}
        self._called = False
        self._answer_is_json = True
        self._done = False
        self._skipped = 0
        self._readers: Mapping[object, Callable[[Json], None]] = {
            "content_block_delta": self._read_delta,
            "content_block_start": self._read_begin,
            "content_block_stop": self._read_end,
            "message_start": self._read_start,
            "message_delta": self._read_message_delta,
            "message_stop": self._read_stop,
            "error": self._read_error,
        }

    @property
    def done(self) -> bool:
        return self._done

    @property
    def finished(self) -> bool:
        return bool(self._finished.raw_finish_reason)

    @property
    def skipped(self) -> int:
        return self._skipped

    def whole(self, body: bytes, headers: Headers) -> list[ChatEvent]:
        try:
            self._read_whole(_object(orjson.loads(body)))
        except _UNREADABLE as error:
            raise protocol_error("the provider's answer is not a message.") from error
        if not self.finished:
            raise protocol_error("the provider's answer does not say why it ended.")
        self._finish()
        return self._assembly.take()

    def feed(self, frames: Sequence[bytes]) -> list[ChatEvent]:
        for frame in frames:
            if self._done:
                break
            try:
                event = _object(orjson.loads(frame))
                if read := self._readers.get(event.get("type")):
                    read(event)
            except _UNREADABLE as error:
                self._skip(error)
        return self._assembly.take()

    def end(self) -> list[ChatEvent]:
        if not self._done:
            # The answer said why it ended and what it used; the frame after that says nothing more.
            if not self.finished:
                raise broken("the provider's stream ended without saying why the answer ended.")
            self._finish()
        return self._assembly.take()

    def _skip(self, error: Exception) -> None:
        self._skipped += 1
        if self._skipped > 1:
            raise protocol_error("the provider sent a second malformed frame.") from error

    def _read_whole(self, message: Json) -> None:
        if message.get("type") == "error" or "error" in message:
            self._read_error(message)
        self._start(message)
        for index, block in enumerate(_list(message.get("content"))):
            self._begin(index, _object(block))
            self._close(index)
        self._read_reason(message)

    def _read_start(self, event: Json) -> None:
        if not self._started:
            self._start(_object(event.get("message")))

    def _start(self, message: Json) -> None:
        response_id, model = _text(message, "id"), _text(message, "model")
        self._read_usage(message)
        self._assembly.start(response_id, model, 0)
        self._started = True

    def _read_begin(self, event: Json) -> None:
        self._begin(_index(event), _object(event.get("content_block")))

    def _begin(self, index: int, fields: Json) -> None:
        if not self._started:
            raise _Malformed
        is_call = fields.get("type") == "tool_use"
        name = _text(fields, "name") if is_call else ""
        block = _Block(index, fields, is_answer=bool(name) and name == self._answer_tool)
        if is_call and not block.is_answer:
            call_id = _text(fields, "id")
            if not (name and call_id):
                raise _Malformed
            self._assembly.tool_call(index, call_id, name)
            self._called = True
        elif block.kind == "text" and (text := _text(fields, "text")):
            self._grow_text(block, text)
        elif block.kind == "thinking" and (text := _text(fields, "thinking")):
            self._grow_thinking(block, text)
        self._blocks[index] = block

    def _read_delta(self, event: Json) -> None:
        block, delta = self._blocks[event["index"]], _object(event["delta"])
        kind = delta["type"]
        if kind == "text_delta":
            if text := _checked(delta["text"]):
                self._grow_text(block, text)
        elif kind == "input_json_delta":
            if text := _checked(delta["partial_json"]):
                self._grow_input(block, text)
        elif kind == "thinking_delta":
            if text := _checked(delta["thinking"]):
                self._grow_thinking(block, text)
        elif kind == "signature_delta":
            block.fields["signature"] = _text(block.fields, "signature") + _checked(delta["signature"])
        elif kind == "citations_delta":
            block.fields["citations"] = [*_list(block.fields.get("citations") or []), _object(delta["citation"])]

    def _grow_text(self, block: _Block, text: str) -> None:
        block.pieces.append(text)
        self._assembly.text(text, block.key)

    def _grow_thinking(self, block: _Block, text: str) -> None:
        block.pieces.append(text)
        self._assembly.reasoning(text, block.key)

    def _grow_input(self, block: _Block, text: str) -> None:
        block.pieces.append(text)
        if block.is_answer:
            self._assembly.text(text, block.key)
        elif block.kind == "tool_use":
            self._assembly.arguments(block.key, text)

    def _read_end(self, event: Json) -> None:
        self._close(_index(event))

    def _close(self, index: int) -> None:
        block = self._blocks.pop(index, None)
        if block is None:
            return
        if block.kind == "tool_use":
            self._close_call(block)
        elif block.kind == "text":
            self._close_text(block)
        else:
            self._close_opaque(block)

    def _close_call(self, block: _Block) -> None:
        if not block.pieces:
            # Without pieces, the input is what the block began with; no arguments at all are an empty object.
            self._grow_input(block, orjson.dumps(_object(block.fields.get("input") or {})).decode())
        if block.is_answer:
            self._answer_is_json = self._answer_is_json and _is_object("".join(block.pieces))
        elif block.fields.get("caller") == _DIRECT:
            del block.fields["caller"]
        if not block.is_answer:
            self._keep_extras(block)

    def _close_text(self, block: _Block) -> None:
        if not block.pieces:
            return
        if citations := block.fields.get("citations"):
            # The sources are of the whole block, and of no place within it.
            end = len("".join(block.pieces))
            pages = [_citation(_object(citation), end) for citation in _list(citations)]
            self._assembly.citations(pages, block.key)
        self._keep_extras(block)

    def _close_opaque(self, block: _Block) -> None:
        """Keeps a block that must go back as it came: a thought with its signature, or work of the provider's tools."""
        if block.kind in THINKING_BLOCKS and not block.pieces:
            # The model keeps it to itself, yet wants it back in its place.
            self._assembly.reasoning("", block.key)
        if block.kind == "thinking":
            block.fields["thinking"] = "".join(block.pieces)
        elif block.pieces:
            block.fields["input"] = _object(orjson.loads("".join(block.pieces)))
        self._put_state(block.key, block.fields)

    def _keep_extras(self, block: _Block) -> None:
        said = _SAID[block.kind]
        if extras := {name: value for name, value in block.fields.items() if name not in said and value}:
            self._put_state(block.key, {"type": block.kind, **extras})

    def _put_state(self, key: int, fields: Json) -> None:
        self._assembly.state(ProviderState(wire_format=WIRE_FORMAT, data=orjson.dumps(fields)), key)

    def _read_message_delta(self, event: Json) -> None:
        if not self._started:
            raise _Malformed
        self._read_usage(event)
        self._read_reason(_object(event.get("delta") or {}))

    def _read_reason(self, fields: Json) -> None:
        if reason := _text(fields, "stop_reason"):
            details = fields.get("stop_details")
            if isinstance(details, dict) and (words := _text(cast("Json", details), "explanation")):
                self._assembly.refusal(words)
            self._finished.raw_finish_reason = reason

    def _read_stop(self, event: Json) -> None:
        if not self.finished:
            raise broken("the provider's stream ended without saying why the answer ended.")
        self._finish()

    def _read_error(self, event: Json) -> None:
        raise error_of(event)

    def _read_usage(self, holder: Json) -> None:
        """Replaces the counts so far by those that are told: they are totals."""
        if not (usage := holder.get("usage")):
            return
        usage = _object(usage)
        counts = {**self._usage, **{name: _count(usage[name]) for name in _COUNTS if usage.get(name) is not None}}
        if isinstance(details := usage.get("output_tokens_details"), dict):
            counts["thinking_tokens"] = _count(cast("Json", details).get("thinking_tokens"))
        if counts:
            self._finished.usage.CopyFrom(_usage(counts))
            self._usage = counts
        if tier := _text(usage, "service_tier"):
            self._finished.service_tier = tier

    def _finish(self) -> None:
        try:
            for index in list(self._blocks):
                self._close(index)
        except _UNREADABLE as error:
            raise protocol_error("the provider's answer has a block that cannot be read.") from error
        self._finished.finish_reason = self._finish_reason()
        if not self._answer_is_json and self._finished.finish_reason != FinishReason.FINISH_REASON_LENGTH:
            raise protocol_error("the provider's answer is not the JSON that was asked for.")
        self._assembly.finish(self._finished)
        self._done = True

    def _finish_reason(self) -> FinishReason:
        reason = FINISH_REASONS.get(self._finished.raw_finish_reason, FinishReason.FINISH_REASON_OTHER)
        if reason == FinishReason.FINISH_REASON_STOP and self._called:
            return FinishReason.FINISH_REASON_TOOL_CALLS
        if reason == FinishReason.FINISH_REASON_TOOL_CALLS and not self._called:
            # The tool that was called is the gateway's own, and its input is the answer.
            return FinishReason.FINISH_REASON_STOP
        return reason


def _usage(counts: Mapping[str, int]) -> Usage:
    """Counts in our terms: the provider leaves what it cached out of its count of the input."""
    cached, written = counts.get("cache_read_input_tokens", 0), counts.get("cache_creation_input_tokens", 0)
    return Usage(
        input_tokens=counts.get("input_tokens", 0) + cached + written,
        input_cached_tokens=cached,
        input_cache_write_tokens=written,
        output_tokens=counts.get("output_tokens", 0),
        output_reasoning_tokens=counts.get("thinking_tokens", 0),
    )


def _citation(citation: Json, end: int) -> Citation:
    return Citation(
        url=_text(citation, "url") or _text(citation, "source"),
        title=_text(citation, "title") or _text(citation, "document_title"),
        end_index=end,
    )


def _is_object(text: str) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False


def _index(event: Json) -> int:
    index = event.get("index")
    if not isinstance(index, int):
        raise _Malformed
    return index


def _object(value: object) -> Json:
    if isinstance(value, dict):
        # Written without `cast`, which is a call, since this runs for every frame.
        fields: Json = value  # pyright: ignore[reportUnknownVariableType]
        return fields
    raise _Malformed


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise _Malformed
    return cast("list[object]", value)


def _text(fields: Json, name: str) -> str:
    value = fields.get(name)
    return _checked(value) if value else ""


def _checked(value: object) -> str:
    if not isinstance(value, str):
        raise _Malformed
    return value


def _count(value: object) -> int:
    return max(int(value), 0) if isinstance(value, (int, float)) else 0
