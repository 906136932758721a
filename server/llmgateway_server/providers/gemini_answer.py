"""Reads answers of Gemini, whole ones and streams: each frame of a stream is shaped like a whole answer.

Neighbouring texts are one part, and so are neighbouring thoughts. A part with a signature stays by itself and where it
is, since the provider wants it back there.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import cast

import orjson

from llmgateway.v1.chat_service_pb2 import ChatEvent, Finished
from llmgateway.v1.content_pb2 import FinishReason, Logprobs, Media, TokenLogprob, Usage
from llmgateway_server.events import broken
from llmgateway_server.providers.assembly import Assembly, minted_call_id
from llmgateway_server.providers.failures import protocol_error
from llmgateway_server.providers.gemini_citations import Sources
from llmgateway_server.providers.gemini_failures import failure
from llmgateway_server.providers.gemini_state import State, write_state
from llmgateway_server.providers.json_values import (
    UNREADABLE,
    Json,
    Malformed,
    check_depth,
    count_of,
    json_list,
    json_object,
    json_objects,
    json_text,
    text_of,
)
from llmgateway_server.providers.wire import Headers

FINISH_REASONS: Mapping[str, FinishReason] = {
    "STOP": FinishReason.FINISH_REASON_STOP,
    "MAX_TOKENS": FinishReason.FINISH_REASON_LENGTH,
    "SAFETY": FinishReason.FINISH_REASON_CONTENT_FILTER,
    "RECITATION": FinishReason.FINISH_REASON_CONTENT_FILTER,
    "BLOCKLIST": FinishReason.FINISH_REASON_CONTENT_FILTER,
    "PROHIBITED_CONTENT": FinishReason.FINISH_REASON_CONTENT_FILTER,
    "SPII": FinishReason.FINISH_REASON_CONTENT_FILTER,
    "MODEL_ARMOR": FinishReason.FINISH_REASON_CONTENT_FILTER,
    "IMAGE_SAFETY": FinishReason.FINISH_REASON_CONTENT_FILTER,
    "IMAGE_PROHIBITED_CONTENT": FinishReason.FINISH_REASON_CONTENT_FILTER,
    "IMAGE_RECITATION": FinishReason.FINISH_REASON_CONTENT_FILTER,
    "MALFORMED_FUNCTION_CALL": FinishReason.FINISH_REASON_ERROR,
    "UNEXPECTED_TOOL_CALL": FinishReason.FINISH_REASON_ERROR,
    "TOO_MANY_TOOL_CALLS": FinishReason.FINISH_REASON_ERROR,
    "MALFORMED_RESPONSE": FinishReason.FINISH_REASON_ERROR,
    "MISSING_THOUGHT_SIGNATURE": FinishReason.FINISH_REASON_ERROR,
}
"""Words for why an answer ended. Unknown ones are OTHER, and the raw word is kept."""

_UNSPECIFIED = "FINISH_REASON_UNSPECIFIED"
_READ_OF_PART = frozenset({"text", "functionCall", "inlineData"})
_KEPT = ("groundingMetadata", "urlContextMetadata")
"""Fields of an answer that are kept with its first text, since callers may have to show them."""

_COUNTS = frozenset({"promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount"})
_PLAIN = frozenset({"content", "index", "safetyRatings"})
"""Fields of a candidate that nearly every frame has."""

_MAX_DEPTH = 32
_EMPTY: Json = {}


class GeminiDecoder:
    """Reads one answer. Only the first candidate is read, as one is all that is asked for.

    The body's end is the only terminal frame, so that usage and sources which come after the finish reason count.
    """

    def __init__(self, *, request_id: str, one_call: bool) -> None:
        self._request_id = request_id
        self._one_call = one_call
        self._assembly = Assembly()
        self._started = False
        self._response_id = ""
        self._finished = Finished()
        self._blocked = False
        self._kind = ""
        self._key = -1
        self._text_key = -1
        self._call_ids: set[str] = set()
        self._states: dict[int, State] = {}
        self._sources = Sources()
        self._pieces: list[str] = []
        self._kept: Json = {}
        self._usage: Json = _EMPTY
        self._last_usage: Json = _EMPTY
        self._done = False
        self._skipped = 0

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
            value: object = orjson.loads(body)
            # Where a stream does not come as server-sent events, it is a list of frames.
            for frame in cast("list[object]", value) if isinstance(value, list) else [value]:
                self._read(frame)
            if self.finished:
                self._finish()
        except UNREADABLE as error:
            raise protocol_error("the provider's answer is not generated content.") from error
        if not self._done:
            raise protocol_error("the provider's answer does not say why it ended.")
        return self._assembly.take()

    def feed(self, frames: Sequence[bytes]) -> list[ChatEvent]:
        for frame in frames:
            try:
                self._read(orjson.loads(frame))
            except UNREADABLE as error:
                self._skip(error)
        return self._assembly.take()

    def end(self) -> list[ChatEvent]:
        if not self.finished:
            raise broken("the provider's stream ended without saying why the answer ended.")
        if not self._done:
            try:
                self._finish()
            except UNREADABLE as error:
                raise protocol_error("the provider's token counts are none.") from error
        return self._assembly.take()

    def _skip(self, error: Exception) -> None:
        self._skipped += 1
        if self._skipped > 1:
            raise protocol_error("the provider sent a second malformed frame.") from error

    def _read(self, value: object) -> None:
        frame = json_object(value)
        if frame.get("error"):
            raise failure(0, frame)
        if usage := frame.get("usageMetadata"):
            self._last_usage = json_object(usage)
            if not _COUNTS.isdisjoint(self._last_usage):
                self._usage = self._last_usage
        candidates, feedback = frame.get("candidates"), frame.get("promptFeedback")
        if not self._started and (candidates or feedback):
            self._start(frame)
        for item in json_list(candidates) if candidates else ():
            if not (candidate := json_object(item)).get("index"):
                self._read_candidate(candidate)
        if feedback:
            self._read_feedback(json_object(feedback))

    def _start(self, frame: Json) -> None:
        self._response_id = text_of(frame, "responseId")
        self._assembly.start(self._response_id, text_of(frame, "modelVersion"), _seconds(text_of(frame, "createTime")))
        self._started = True

    def _read_feedback(self, feedback: Json) -> None:
        if reason := text_of(feedback, "blockReason"):
            self._blocked = True
            self._finished.raw_finish_reason = reason
            if message := text_of(feedback, "blockReasonMessage"):
                self._assembly.refusal(message, self._begin(""))

    def _read_candidate(self, candidate: Json) -> None:
        content = candidate.get("content")
        if content and (parts := json_object(content).get("parts")):
            for part in json_list(parts):
                self._read_part(json_object(part))
        if not candidate.keys() <= _PLAIN:
            self._read_rest(candidate)

    def _read_rest(self, candidate: Json) -> None:
        """Reads what comes with few frames: why the answer ended, log probabilities and sources."""
        if logprobs := candidate.get("logprobsResult"):
            self._read_logprobs(json_object(logprobs))
        self._sources.read(candidate)
        for name in _KEPT:
            if value := candidate.get(name):
                check_depth(value, _MAX_DEPTH)
                self._kept[name] = value
        if (reason := text_of(candidate, "finishReason")) and reason != _UNSPECIFIED:
            self._finished.raw_finish_reason = reason
            # The sources are complete now, and so is the text that they are for.
            self._name_sources()

    def _read_part(self, part: Json) -> None:
        if len(part) == 1 and (text := part.get("text")) is not None:
            if text and self._kind == "text":
                # As nearly all parts of a stream are.
                self._pieces.append(json_text(text))
                self._assembly.text(text, self._key)
            else:
                self._add_text(json_text(text), _EMPTY)
            return
        extras = {name: value for name, value in part.items() if name not in _READ_OF_PART and value}
        check_depth(extras, _MAX_DEPTH)
        if call := part.get("functionCall"):
            self._add_call(json_object(call), extras)
        elif data := part.get("inlineData"):
            self._add_media(json_object(data), extras)
        elif extras.get("thought"):
            self._add_reasoning(text_of(part, "text"), extras)
        else:
            self._add_text(text_of(part, "text"), extras)

    def _begin(self, kind: str) -> int:
        """Begins a part, and returns its key. A kind that is not empty may grow by what follows."""
        self._kind = kind
        self._key += 1
        return self._key

    def _add_text(self, text: str, extras: Json) -> None:
        if not text:
            self._add_bare(extras)
            return
        if self._kind != "text" or extras:
            self._text_key = self._begin("" if extras else "text")
            self._pieces = self._sources.begin_text(self._text_key)
        self._pieces.append(text)
        self._assembly.text(text, self._key)
        if extras:
            self._put_state(State(part=extras))

    def _add_reasoning(self, text: str, extras: Json) -> None:
        signed = len(extras) > 1
        if not text:
            if signed:
                self._add_bare(extras)
            return
        if self._kind == "reasoning" and not signed:
            self._assembly.reasoning(text, self._key)
            return
        self._assembly.reasoning(text, self._begin("" if signed else "reasoning"))
        self._put_state(State(part=extras))

    def _add_bare(self, extras: Json) -> None:
        """A part without content, such as a lone signature or code that the provider ran."""
        if extras:
            self._begin("")
            self._put_state(State(part=extras))

    def _add_call(self, call: Json, extras: Json) -> None:
        if "partialArgs" in call or call.get("willContinue"):
            raise protocol_error("the provider sent a call in pieces; do not ask for streamFunctionCallArguments.")
        name, given = text_of(call, "name"), text_of(call, "id")
        if not name:
            raise Malformed
        if self._call_ids and self._one_call:
            return
        arguments = json_object(call.get("args") or _EMPTY)
        call_id = given
        if not given or given in self._call_ids:
            call_id = minted_call_id(self._request_id, self._response_id, len(self._call_ids))
        self._call_ids.add(call_id)
        key = self._begin("")
        self._assembly.tool_call(key, call_id, name)
        self._assembly.arguments(key, orjson.dumps(arguments).decode())
        self._put_state(State(part=extras, call_id=given))

    def _add_media(self, inline: Json, extras: Json) -> None:
        mime_type = text_of(inline, "mimeType")
        kind = mime_type.partition("/")[0]
        if extras.get("thought") or kind not in ("image", "audio"):
            # A sketch on the way to the answer, or a kind that answers do not have.
            self._add_bare({**extras, "inlineData": inline})
            return
        media = Media(mime_type=mime_type, data=b64decode(text_of(inline, "data"), validate=True))
        if kind == "image":
            self._assembly.image(media, self._begin(""))
        elif self._kind == "audio" and not extras:
            self._assembly.audio(media, self._key)
        else:
            self._assembly.audio(media, self._begin("" if extras else "audio"))
        self._put_state(State(part=extras))

    def _put_state(self, state: State) -> None:
        if state:
            self._states[self._key] = state
            self._assembly.state(write_state(state), self._key)

    def _read_logprobs(self, result: Json) -> None:
        """Adds the log probabilities to the text that they came with."""
        if self._text_key < 0:
            return
        tokens = [_token(chosen) for chosen in json_objects(result.get("chosenCandidates") or [])]
        for token, top in zip(tokens, json_objects(result.get("topCandidates") or []), strict=False):
            token.alternatives.extend(_token(each) for each in json_objects(top.get("candidates") or []))
        if tokens:
            self._assembly.logprobs(Logprobs(tokens=tokens), self._text_key)

    def _name_sources(self) -> None:
        """Leaves the sources with the texts that they are for, those that were not left there yet."""
        for key, citations in self._sources.take():
            self._assembly.citations(citations, key)
        if self._kept and (key := self._sources.first_text) is not None:
            said = self._states.get(key, State())
            self._assembly.state(write_state(State(part=said.part, answer=self._kept)), key)
            self._kept = {}

    def _finish(self) -> None:
        if not self._started:
            self._start(_EMPTY)
        self._name_sources()
        if self._usage:
            # Usages are totals, so the last one that counts anything holds.
            self._finished.usage.CopyFrom(usage_of(self._usage))
        self._finished.service_tier = text_of(self._last_usage, "serviceTier") or text_of(
            self._last_usage, "trafficType"
        )
        self._finished.finish_reason = self._finish_reason()
        self._assembly.finish(self._finished)
        self._done = True

    def _finish_reason(self) -> FinishReason:
        if self._blocked:
            return FinishReason.FINISH_REASON_CONTENT_FILTER
        reason = FINISH_REASONS.get(self._finished.raw_finish_reason, FinishReason.FINISH_REASON_OTHER)
        if reason == FinishReason.FINISH_REASON_STOP and self._call_ids:
            return FinishReason.FINISH_REASON_TOOL_CALLS
        return reason


def usage_of(fields: Json) -> Usage:
    """Token counts in our terms. Thoughts are told apart from the answer, and prompts of built-in tools from others."""
    thoughts = count_of(fields, "thoughtsTokenCount")
    return Usage(
        input_tokens=count_of(fields, "promptTokenCount") + count_of(fields, "toolUsePromptTokenCount"),
        input_cached_tokens=count_of(fields, "cachedContentTokenCount"),
        input_audio_tokens=_audio_tokens(fields, "promptTokensDetails"),
        output_tokens=count_of(fields, "candidatesTokenCount") + thoughts,
        output_reasoning_tokens=thoughts,
        output_audio_tokens=_audio_tokens(fields, "candidatesTokensDetails"),
    )


def _audio_tokens(fields: Json, name: str) -> int:
    details = json_objects(fields.get(name) or [])
    return sum(count_of(each, "tokenCount") for each in details if each.get("modality") == "AUDIO")


def _token(fields: Json) -> TokenLogprob:
    logprob = fields.get("logProbability")
    return TokenLogprob(token=text_of(fields, "token"), logprob=logprob if isinstance(logprob, (int, float)) else 0.0)


def _seconds(time: str) -> int:
    """Seconds since the Unix epoch of a time in RFC 3339; 0 when it is none."""
    try:
        return int(datetime.fromisoformat(time).timestamp())
    except ValueError:
        return 0
