"""Reads answers in Cohere's dialect, whole ones and streams.

Each block of content is a part, and so are the plan and each call. What a model says beside its calls, its plan, is
read as text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import orjson

from llmgateway.v1.chat_service_pb2 import ChatEvent, Finished
from llmgateway.v1.content_pb2 import Citation, FinishReason, Logprobs, TokenLogprob, Usage
from llmgateway_server.events import broken
from llmgateway_server.providers.assembly import Assembly
from llmgateway_server.providers.cohere_failures import failure_of
from llmgateway_server.providers.failures import protocol_error, report_of
from llmgateway_server.providers.json_values import (
    UNREADABLE,
    Json,
    Malformed,
    count_of,
    details_of,
    json_list,
    json_object,
    json_objects,
    text_of,
)
from llmgateway_server.providers.wire import Headers

FINISH_REASONS: Mapping[str, FinishReason] = {
    "COMPLETE": FinishReason.FINISH_REASON_STOP,
    "STOP_SEQUENCE": FinishReason.FINISH_REASON_STOP,
    "MAX_TOKENS": FinishReason.FINISH_REASON_LENGTH,
    "TOOL_CALL": FinishReason.FINISH_REASON_TOOL_CALLS,
    "ERROR": FinishReason.FINISH_REASON_ERROR,
    "TIMEOUT": FinishReason.FINISH_REASON_ERROR,
}
"""Words for why an answer ended. Unknown ones are OTHER, and the raw word is kept."""

_DONE = b"[DONE]"
_PLAN = "plan"
_CITED = ("", "TEXT_CONTENT")
"""Kinds of citations that are of the answer, rather than of what the model thought or planned."""

_Key = tuple[str, int]


class AnswerDecoder:
    """Reads one answer."""

    def __init__(self) -> None:
        self._assembly = Assembly()
        self._started = False
        self._texts: list[_Key] = []
        self._calls: dict[int, bool] = {}
        """The calls that were begun, and whether each has arguments yet."""
        self._finished = Finished()
        self._done = False
        self._skipped = 0
        self._readers: Mapping[object, Callable[[Json], None]] = {
            "content-delta": self._read_content,
            "content-start": self._read_content,
            "tool-call-delta": self._read_call_delta,
            "tool-call-start": self._read_call_start,
            "tool-plan-delta": self._read_plan,
            "citation-start": self._read_citation,
            "message-start": self._read_start,
            "message-end": self._read_end,
        }

    @property
    def done(self) -> bool:
        return self._done

    @property
    def finished(self) -> bool:
        return self._done

    @property
    def skipped(self) -> int:
        return self._skipped

    def whole(self, body: bytes, headers: Headers) -> list[ChatEvent]:
        try:
            self._read_whole(json_object(orjson.loads(body)))
        except UNREADABLE as error:
            raise protocol_error("the provider's answer is not a chat answer.") from error
        if not self._done:
            raise protocol_error("the provider's answer does not say why it ended.")
        return self._assembly.take()

    def feed(self, frames: Sequence[bytes]) -> list[ChatEvent]:
        for frame in frames:
            if self._done:
                break
            if frame == _DONE:
                raise broken("the provider's stream ended without saying why the answer ended.")
            try:
                event = json_object(orjson.loads(frame))
                if read := self._readers.get(event.get("type")):
                    read(event)
                elif "type" not in event:
                    self._read_error(event)
            except UNREADABLE as error:
                self._skip(error)
        return self._assembly.take()

    def end(self) -> list[ChatEvent]:
        if not self._done:
            raise broken("the provider's stream ended without saying why the answer ended.")
        return self._assembly.take()

    def _skip(self, error: Exception) -> None:
        self._skipped += 1
        if self._skipped > 1:
            raise protocol_error("the provider sent a second malformed frame.") from error

    def _read_whole(self, answer: Json) -> None:
        message = answer.get("message")
        if isinstance(message, str):
            # An error has a text where an answer has its message.
            self._read_error(answer)
        message = json_object(message)
        self._start(text_of(answer, "id"))
        for index, block in enumerate(json_objects(message.get("content") or [])):
            self._grow(("content", index), block)
        if plan := text_of(message, "tool_plan"):
            self._assembly.text(plan, _PLAN)
        for index, call in enumerate(json_objects(message.get("tool_calls") or [])):
            self._begin_call(index, call)
        for citation in json_objects(message.get("citations") or []):
            self._cite(citation)
        if (logprobs := answer.get("logprobs")) and self._texts:
            self._add_logprobs(json_list(logprobs), self._texts[-1])
        if answer.get("finish_reason"):
            self._finish(answer)

    def _read_start(self, event: Json) -> None:
        if not self._started:
            self._start(text_of(event, "id"))

    def _start(self, response_id: str) -> None:
        self._assembly.start(response_id, "", 0)
        self._started = True

    def _read_content(self, event: Json) -> None:
        key = ("content", _index(event))
        self._grow(key, json_object(_message(event).get("content")))
        if (logprobs := event.get("logprobs")) and key in self._texts:
            self._add_logprobs([logprobs], key)

    def _grow(self, key: _Key, content: Json) -> None:
        self._check_started()
        if text := text_of(content, "text"):
            if key not in self._texts:
                if self._assembly.has(key):
                    raise Malformed
                self._texts.append(key)
            self._assembly.text(text, key)
        elif thinking := text_of(content, "thinking"):
            if key in self._texts:
                raise Malformed
            self._assembly.reasoning(thinking, key)

    def _read_plan(self, event: Json) -> None:
        self._check_started()
        if plan := text_of(_message(event), "tool_plan"):
            self._assembly.text(plan, _PLAN)

    def _read_call_start(self, event: Json) -> None:
        self._check_started()
        self._begin_call(_index(event), json_object(_message(event).get("tool_calls")))

    def _begin_call(self, index: int, call: Json) -> None:
        function = json_object(call.get("function"))
        call_id, name = text_of(call, "id"), text_of(function, "name")
        arguments = text_of(function, "arguments")
        if not (call_id and name) or index in self._calls:
            raise Malformed
        self._assembly.tool_call(("call", index), call_id, name)
        self._calls[index] = bool(arguments)
        if arguments:
            self._assembly.arguments(("call", index), arguments)

    def _read_call_delta(self, event: Json) -> None:
        index = _index(event)
        function = json_object(json_object(_message(event).get("tool_calls")).get("function"))
        arguments = text_of(function, "arguments")
        if index not in self._calls:
            raise Malformed
        if arguments:
            self._calls[index] = True
            self._assembly.arguments(("call", index), arguments)

    def _read_citation(self, event: Json) -> None:
        self._cite(json_object(_message(event).get("citations")))

    def _cite(self, citation: Json) -> None:
        """Adds the sources of a piece of the answer to the block that it is in."""
        if not self._texts or text_of(citation, "type") not in _CITED:
            return
        key = ("content", count_of(citation, "content_index"))
        sources = [_citation(citation, source) for source in json_objects(citation.get("sources") or [])]
        if sources:
            self._assembly.citations(sources, key if key in self._texts else self._texts[-1])

    def _add_logprobs(self, items: Sequence[object], key: _Key) -> None:
        tokens = [_token(json_object(item)) for item in items]
        self._assembly.logprobs(Logprobs(tokens=tokens), key)

    def _read_end(self, event: Json) -> None:
        end = json_object(event.get("delta"))
        if error := end.get("error"):
            raise failure_of(0, report_of({"error": error}))
        self._check_started()
        self._finish(end)

    def _read_error(self, fields: Json) -> None:
        """Raises the error that has come in the place of an answer."""
        if not (fields.get("message") or fields.get("error")):
            raise Malformed
        raise failure_of(0, report_of(fields))

    def _finish(self, end: Json) -> None:
        """Reads the fields that an answer ends with."""
        finished = self._finished
        reason = text_of(end, "finish_reason")
        if not reason:
            raise broken("the provider's stream ended without saying why the answer ended.")
        finished.raw_finish_reason = reason
        finished.finish_reason = FINISH_REASONS.get(reason, FinishReason.FINISH_REASON_OTHER)
        if finished.finish_reason == FinishReason.FINISH_REASON_STOP and self._calls:
            finished.finish_reason = FinishReason.FINISH_REASON_TOOL_CALLS
        if (usage := _usage(details_of(end, "usage"))) is not None:
            finished.usage.CopyFrom(usage)
        for index, has_arguments in self._calls.items():
            if not has_arguments:
                # No arguments at all are an empty object, so that callers can always parse them.
                self._assembly.arguments(("call", index), "{}")
        self._assembly.finish(finished)
        self._done = True

    def _check_started(self) -> None:
        if not self._started:
            raise Malformed


def _message(event: Json) -> Json:
    return json_object(json_object(event.get("delta")).get("message"))


def _index(event: Json) -> int:
    index = event.get("index")
    if not isinstance(index, int):
        raise Malformed
    return index


def _usage(usage: Json) -> Usage | None:
    """Counts of the whole prompt. What is billed leaves out the template around it, and serves where all else fails."""
    tokens = details_of(usage, "tokens") or details_of(usage, "billed_units")
    if "input_tokens" not in tokens and "output_tokens" not in tokens:
        return None
    prompt = count_of(tokens, "input_tokens")
    return Usage(
        input_tokens=prompt,
        # It counts the tokens of the template too, so it may be more than those that are billed.
        input_cached_tokens=min(count_of(usage, "cached_tokens"), prompt),
        output_tokens=count_of(tokens, "output_tokens"),
    )


def _citation(citation: Json, source: Json) -> Citation:
    document = details_of(source, "document") or details_of(source, "tool_output")
    return Citation(
        url=_shown(document, "url"),
        title=_shown(document, "title") or text_of(source, "id"),
        start_index=count_of(citation, "start"),
        end_index=count_of(citation, "end"),
    )


def _shown(document: Json, name: str) -> str:
    """A field of a document, which is the caller's own and may be anything."""
    value = document.get(name)
    return value if isinstance(value, str) else ""


def _token(item: Json) -> TokenLogprob:
    """A piece of text with its likelihood: of all of its tokens, where it is made of several."""
    values = [value for value in json_list(item.get("logprobs") or []) if isinstance(value, (int, float))]
    return TokenLogprob(token=text_of(item, "text"), logprob=sum(values))
