"""Reads answers in OpenAI's chat-completions dialect: whole ones and streams, from OpenAI and from its many imitators.

A whole answer is read as one chunk whose delta is the message, so there is one reading of both.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import cast

import orjson

from llmgateway.v1.chat_service_pb2 import ChatEvent, Finished
from llmgateway.v1.content_pb2 import Citation, FinishReason, Logprobs, Media, ProviderState, Usage
from llmgateway_server.events import broken
from llmgateway_server.providers.assembly import Assembly, minted_call_id
from llmgateway_server.providers.failures import failure, protocol_error, report_of
from llmgateway_server.providers.json_values import (
    UNREADABLE,
    Json,
    Malformed,
    check_depth,
    count_of,
    details_of,
    json_list,
    json_object,
    json_objects,
    json_text,
    text_of,
)
from llmgateway_server.providers.openai_request import WIRE_FORMAT, write_state
from llmgateway_server.providers.token_logprobs import token_logprob
from llmgateway_server.providers.wire import Headers

FINISH_REASONS: Mapping[str, FinishReason] = {
    "stop": FinishReason.FINISH_REASON_STOP,
    "eos": FinishReason.FINISH_REASON_STOP,
    "length": FinishReason.FINISH_REASON_LENGTH,
    "model_length": FinishReason.FINISH_REASON_LENGTH,
    "tool_calls": FinishReason.FINISH_REASON_TOOL_CALLS,
    "function_call": FinishReason.FINISH_REASON_TOOL_CALLS,
    "content_filter": FinishReason.FINISH_REASON_CONTENT_FILTER,
    "error": FinishReason.FINISH_REASON_ERROR,
    "insufficient_system_resource": FinishReason.FINISH_REASON_ERROR,
    "abort": FinishReason.FINISH_REASON_ERROR,
}
"""Words for why an answer ended. Unknown ones are OTHER, and the raw word is kept."""

_DONE = b"[DONE]"
_READ = frozenset(
    {
        "role",
        "content",
        "refusal",
        "reasoning",
        "reasoning_content",
        "tool_calls",
        "function_call",
        "audio",
        "annotations",
    }
)
"""Fields of a message that are read. Others are vendor fields, kept in the state of a part."""

_READ_OF_CALL = frozenset({"index", "id", "type", "function", "custom"})
_EMPTY: Json = {}
_MAX_DEPTH = 32
_REPLACED = frozenset({"type", "id", "index", "format", "signature"})
"""Keys whose text is said whole with every piece, where other texts come in pieces."""


class _Call:
    """A tool call that is being read."""

    __slots__ = ("custom", "empty", "extras", "id", "key")

    def __init__(self, key: int, call_id: str, *, custom: bool) -> None:
        self.key = ("call", key)
        self.id = call_id
        self.custom = custom
        self.empty = True
        self.extras: Json = {}


class ChatDecoder:
    """Reads one answer. Only the first choice is read, as one is all that is asked for."""

    def __init__(self, *, vendor: str, request_id: str, audio_type: str, reasoning_beside_output: bool = False) -> None:
        self._vendor = vendor
        self._reasoning_beside_output = reasoning_beside_output
        self._request_id = request_id
        self._audio_type = audio_type
        self._assembly = Assembly()
        self._started = False
        self._response_id = ""
        self._finished = Finished()
        self._calls: list[_Call] = []
        self._call_at: dict[int, _Call] = {}
        self._extras: Json = {}
        self._audio_rest = ""
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
            self._read(orjson.loads(body), whole=True)
            if self._finished.raw_finish_reason:
                self._finish()
        except UNREADABLE as error:
            raise protocol_error("the provider's answer is not a chat completion.") from error
        if not self._done:
            raise protocol_error("the provider's answer does not say why it ended.")
        return self._assembly.take()

    def feed(self, frames: Sequence[bytes]) -> list[ChatEvent]:
        for frame in () if self._done else frames:
            if frame == _DONE:
                self._conclude()
                break
            try:
                self._read(orjson.loads(frame), whole=False)
            except UNREADABLE as error:
                self._skip(error)
        return self._assembly.take()

    def end(self) -> list[ChatEvent]:
        if not self._done:
            # Some servers leave out the last line; what they said before it is enough.
            self._conclude()
        return self._assembly.take()

    def _conclude(self) -> None:
        if not self._finished.raw_finish_reason:
            raise broken("the provider's stream ended without saying why the answer ended.")
        self._finish()

    def _skip(self, error: Exception) -> None:
        self._skipped += 1
        if self._skipped > 1:
            raise protocol_error("the provider sent a second malformed frame.") from error

    def _read(self, value: object, *, whole: bool) -> None:
        """Reads a whole answer or one chunk, whose delta may be missing."""
        chunk = json_object(value)
        if error := chunk.get("error"):
            raise failure(0, report_of({"error": error}))
        # Groq tells its counts in a place of its own.
        if usage := chunk.get("usage") or details_of(chunk, "x_groq").get("usage"):
            self._read_usage(json_object(usage))
        if not (choices := chunk.get("choices")):
            return
        if not self._started:
            self._start(chunk)
        for choice in json_list(choices):
            if not (choice := json_object(choice)).get("index"):
                words: object = choice.get("message") if whole else choice.get("delta") or _EMPTY
                self._read_choice(chunk, choice, json_object(words))

    def _start(self, chunk: Json) -> None:
        created = chunk.get("created")
        self._response_id = text_of(chunk, "id")
        self._assembly.start(
            self._response_id, text_of(chunk, "model"), int(created) if isinstance(created, (int, float)) else 0
        )
        self._started = True

    def _read_choice(self, chunk: Json, choice: Json, delta: Json) -> None:
        content = delta.get("content")
        if content and len(delta) == 1:
            self._read_content(content)
        else:
            self._read_message(delta, content)
        if logprobs := choice.get("logprobs"):
            self._read_logprobs(json_object(logprobs))
        if reason := choice.get("finish_reason"):
            self._finished.raw_finish_reason = json_text(reason)
            self._finished.service_tier = text_of(chunk, "service_tier")
            self._finished.system_fingerprint = text_of(chunk, "system_fingerprint")

    def _read_content(self, content: object) -> None:
        if isinstance(content, str):
            self._assembly.text(content)
            return
        for piece in json_objects(content):
            if thinking := piece.get("thinking"):
                # Mistral's models think in parts of the content, each a list of texts.
                said = [{"text": thinking}] if isinstance(thinking, str) else json_objects(thinking)
                for thought in said:
                    if text := text_of(thought, "text"):
                        self._assembly.reasoning(text)
            if text := text_of(piece, "text"):
                self._assembly.text(text)

    def _read_message(self, delta: Json, content: object) -> None:
        """Reads a message with all that it may have, in the order in which it comes about."""
        if reasoning := delta.get("reasoning_content") or delta.get("reasoning"):
            self._assembly.reasoning(json_text(reasoning))
        if content:
            self._read_content(content)
        if refusal := delta.get("refusal"):
            self._assembly.refusal(json_text(refusal))
        if calls := delta.get("tool_calls"):
            for call in json_objects(calls):
                self._read_call(call)
        if call := delta.get("function_call"):
            self._read_call({"index": 0, "type": "function", "function": call})
        if audio := delta.get("audio"):
            self._read_audio(json_object(audio))
        if annotations := delta.get("annotations"):
            self._read_annotations(annotations)
        if not delta.keys() <= _READ:
            _keep_unknown(self._extras, delta, _READ)

    def _read_call(self, item: Json) -> None:
        custom = "custom" in item
        said = json_object(item.get("custom" if custom else "function") or {})
        name, call_id = text_of(said, "name"), text_of(item, "id")
        call = self._call_of(item.get("index"), call_id, name)
        if call is None:
            call = self._begin_call(item.get("index"), call_id, name, custom=custom)
        if arguments := said.get("input" if custom else "arguments"):
            # Some servers send the arguments as an object rather than as text.
            text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
            call.empty = False
            self._assembly.arguments(call.key, text)
        if not item.keys() <= _READ_OF_CALL:
            _keep_unknown(call.extras, item, _READ_OF_CALL)

    def _call_of(self, index: object, call_id: str, name: str) -> _Call | None:
        """The call that a fragment goes on with; None when it begins one."""
        if isinstance(index, int):
            call = self._call_at.get(index)
        elif call_id:
            call = next((call for call in self._calls if call.id == call_id), None)
        else:
            call = self._calls[-1] if self._calls and not name else None
        # Some servers give every call the index 0; another id with another name is another call.
        if call is not None and call_id and name and call.id != call_id:
            return None
        return call

    def _begin_call(self, index: object, call_id: str, name: str, *, custom: bool) -> _Call:
        if not name:
            raise Malformed
        call = _Call(
            len(self._calls),
            call_id or minted_call_id(self._request_id, self._response_id, len(self._calls)),
            custom=custom,
        )
        self._calls.append(call)
        if isinstance(index, int):
            self._call_at[index] = call
        self._assembly.tool_call(call.key, call.id, name, custom=custom)
        return call

    def _read_audio(self, audio: Json) -> None:
        media = Media(mime_type=self._audio_type, transcript=text_of(audio, "transcript"))
        if data := text_of(audio, "data"):
            media.data = self._decoded(data)
        if isinstance(expires_at := audio.get("expires_at"), int):
            media.expires_at = expires_at
        if audio_id := text_of(audio, "id"):
            # The bytes take the place of an id in the part, so the id travels in the part's state.
            self._extras["audio"] = {"id": audio_id}
        self._assembly.audio(media)

    def _decoded(self, data: str) -> bytes:
        """Decodes base64 whose pieces may be cut anywhere."""
        text = self._audio_rest + data
        whole = len(text) // 4 * 4
        self._audio_rest = text[whole:]
        try:
            return b64decode(text[:whole], validate=True)
        except binascii.Error as error:
            raise Malformed from error

    def _read_annotations(self, annotations: object) -> None:
        sources = [details_of(annotation, "url_citation") for annotation in json_objects(annotations)]
        if citations := [_citation(source) for source in sources if source]:
            self._assembly.citations(citations)

    def _read_logprobs(self, logprobs: Json) -> None:
        for field, key in (("content", "text"), ("refusal", "refusal")):
            if tokens := logprobs.get(field):
                run = Logprobs(
                    tokens=[token_logprob(token) for token in json_objects(tokens)], refusal=key == "refusal"
                )
                self._assembly.logprobs(run, key)

    def _read_usage(self, usage: Json) -> None:
        """Replaces the usage so far: usages are totals, and the last one that says anything holds."""
        read = usage_of(usage)
        if read is not None:
            if self._reasoning_beside_output:
                read.output_tokens += read.output_reasoning_tokens
            self._finished.usage.CopyFrom(read)

    def _finish(self) -> None:
        if not self._started:
            self._start({})
        for call in self._calls:
            if call.empty and not call.custom:
                # No arguments at all are an empty object, so that callers can always parse them.
                self._assembly.arguments(call.key, "{}")
        self._keep()
        self._finished.finish_reason = self._finish_reason()
        self._assembly.finish(self._finished)
        self._done = True

    def _keep(self) -> None:
        """Leaves vendor fields with the parts they came with, those of the message with its first part of any kind."""
        message, self._extras = self._extras, {}
        key = next((key for key in ("reasoning", "audio", "text", "refusal") if self._assembly.has(key)), None)
        if message and key is not None:
            self._put_state(key, message=message, call={})
            message = {}
        for call in self._calls:
            if call.extras or message:
                self._put_state(call.key, message=message, call=call.extras)
                message = {}

    def _put_state(self, key: object, *, message: Json, call: Json) -> None:
        data = write_state(self._vendor, message=message, call=call)
        self._assembly.state(ProviderState(wire_format=WIRE_FORMAT, data=data), key)

    def _finish_reason(self) -> FinishReason:
        reason = FINISH_REASONS.get(self._finished.raw_finish_reason, FinishReason.FINISH_REASON_OTHER)
        if reason == FinishReason.FINISH_REASON_STOP:
            if self._calls:
                # A forced tool ends with a plain stop at some vendors.
                return FinishReason.FINISH_REASON_TOOL_CALLS
            if self._assembly.has("refusal"):
                return FinishReason.FINISH_REASON_CONTENT_FILTER
        return reason


def usage_of(fields: Json) -> Usage | None:
    """Token counts in our terms; None when the object has none. Missing and malformed counts are zero."""
    if "prompt_tokens" not in fields and "completion_tokens" not in fields:
        return None
    prompt = details_of(fields, "prompt_tokens_details")
    completion = details_of(fields, "completion_tokens_details")
    return Usage(
        input_tokens=count_of(fields, "prompt_tokens"),
        input_cached_tokens=count_of(prompt, "cached_tokens") or count_of(fields, "prompt_cache_hit_tokens"),
        input_cache_write_tokens=count_of(prompt, "cache_write_tokens"),
        input_audio_tokens=count_of(prompt, "audio_tokens"),
        output_tokens=count_of(fields, "completion_tokens"),
        output_reasoning_tokens=count_of(completion, "reasoning_tokens"),
        output_audio_tokens=count_of(completion, "audio_tokens"),
        output_accepted_prediction_tokens=count_of(completion, "accepted_prediction_tokens"),
        output_rejected_prediction_tokens=count_of(completion, "rejected_prediction_tokens"),
    )


def _keep_unknown(kept: Json, fields: Json, known: frozenset[str]) -> None:
    """Adds the fields that are not known, and not empty, to those that are kept."""
    unknown = {name: value for name, value in fields.items() if name not in known and value}
    check_depth(unknown, _MAX_DEPTH)
    _extend(kept, unknown)


def _extend(target: Json, more: Json) -> None:
    """Adds pieces of streamed fields to what came before: texts and lists grow, the rest is replaced.

    Items of lists that carry an `index` grow in their place.
    """
    for name, value in more.items():
        have = target.get(name)
        if isinstance(have, str) and isinstance(value, str) and name not in _REPLACED:
            target[name] = have + value
        elif isinstance(have, dict) and isinstance(value, dict):
            _extend(cast("Json", have), cast("Json", value))
        elif isinstance(have, list) and isinstance(value, list):
            _extend_list(cast("list[object]", have), cast("list[object]", value))
        else:
            target[name] = value


def _extend_list(items: list[object], more: list[object]) -> None:
    places = {_index_of(item): item for item in items}
    for item in more:
        index = _index_of(item)
        if index is None or index not in places:
            items.append(item)
        else:
            _extend(json_object(places[index]), json_object(item))


def _index_of(item: object) -> int | None:
    index = cast("Json", item).get("index") if isinstance(item, dict) else None
    return index if isinstance(index, int) else None


def _citation(source: Json) -> Citation:
    return Citation(
        url=text_of(source, "url"),
        title=text_of(source, "title"),
        start_index=count_of(source, "start_index"),
        end_index=count_of(source, "end_index"),
    )
