"""Reads answers in Ollama's dialect. A whole answer is one line of a stream that says all, so there is one reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import orjson

from llmgateway.v1.chat_service_pb2 import ChatEvent, Finished
from llmgateway.v1.content_pb2 import FinishReason, Logprobs, Usage
from llmgateway_server.events import broken
from llmgateway_server.providers.assembly import Assembly, minted_call_id
from llmgateway_server.providers.failures import protocol_error, report_of
from llmgateway_server.providers.json_values import (
    UNREADABLE,
    Json,
    Malformed,
    count_of,
    json_object,
    json_objects,
    text_of,
)
from llmgateway_server.providers.ollama_failures import failure_of
from llmgateway_server.providers.token_logprobs import token_logprob
from llmgateway_server.providers.wire import Headers

FINISH_REASONS: Mapping[str, FinishReason] = {
    "stop": FinishReason.FINISH_REASON_STOP,
    "length": FinishReason.FINISH_REASON_LENGTH,
    "load": FinishReason.FINISH_REASON_STOP,
    "unload": FinishReason.FINISH_REASON_STOP,
    # Older servers say that the answer is done and not why; done is what they say of an answer that came to its end.
    "": FinishReason.FINISH_REASON_STOP,
}
"""Words for why an answer ended. Unknown ones are OTHER, and the raw word is kept."""

_NO_ARGUMENTS: Json = {}


class AnswerDecoder:
    """Reads one answer."""

    def __init__(self, *, request_id: str) -> None:
        self._request_id = request_id
        self._assembly = Assembly()
        self._started = False
        self._created_at = ""
        self._calls = 0
        self._done = False
        self._skipped = 0

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
            self._read(json_object(orjson.loads(body)))
        except UNREADABLE as error:
            raise protocol_error("the provider's answer is not a chat answer.") from error
        if not self._done:
            raise protocol_error("the provider's answer does not say that it is done.")
        return self._assembly.take()

    def feed(self, frames: Sequence[bytes]) -> list[ChatEvent]:
        for frame in frames:
            if self._done:
                break
            try:
                self._read(json_object(orjson.loads(frame)))
            except UNREADABLE as error:
                self._skip(error)
        return self._assembly.take()

    def end(self) -> list[ChatEvent]:
        if not self._done:
            raise broken("the provider's stream ended without saying that the answer is done.")
        return self._assembly.take()

    def _skip(self, error: Exception) -> None:
        self._skipped += 1
        if self._skipped > 1:
            raise protocol_error("the provider sent a second malformed frame.") from error

    def _read(self, line: Json) -> None:
        if error := line.get("error"):
            raise failure_of(0, report_of({"error": error}))
        if not self._started and ("message" in line or "done" in line):
            self._start(line)
        if message := line.get("message"):
            self._read_message(json_object(message))
        if logprobs := line.get("logprobs"):
            tokens = [token_logprob(token) for token in json_objects(logprobs)]
            self._assembly.logprobs(Logprobs(tokens=tokens), "text")
        if line.get("done") is True:
            self._finish(line)

    def _start(self, line: Json) -> None:
        model, self._created_at = text_of(line, "model"), text_of(line, "created_at")
        self._assembly.start("", model, _seconds(self._created_at))
        self._started = True

    def _read_message(self, message: Json) -> None:
        if thinking := text_of(message, "thinking"):
            self._assembly.reasoning(thinking)
        if content := text_of(message, "content"):
            self._assembly.text(content)
        if calls := message.get("tool_calls"):
            for call in json_objects(calls):
                self._read_call(call)

    def _read_call(self, call: Json) -> None:
        """Reads a call, which comes whole. Its index is not to be relied on: some servers give each the same one."""
        function = json_object(call.get("function"))
        name = text_of(function, "name")
        if not name:
            raise Malformed
        arguments: object = function.get("arguments") or _NO_ARGUMENTS
        text = arguments if isinstance(arguments, str) else orjson.dumps(json_object(arguments)).decode()
        # The moment stands in for the id that answers do not have.
        call_id = text_of(call, "id") or minted_call_id(self._request_id, self._created_at, self._calls)
        key = ("call", self._calls)
        self._assembly.tool_call(key, call_id, name)
        self._assembly.arguments(key, text)
        self._calls += 1

    def _finish(self, line: Json) -> None:
        finished = Finished(raw_finish_reason=text_of(line, "done_reason"))
        finished.finish_reason = FINISH_REASONS.get(finished.raw_finish_reason, FinishReason.FINISH_REASON_OTHER)
        if finished.finish_reason == FinishReason.FINISH_REASON_STOP and self._calls:
            finished.finish_reason = FinishReason.FINISH_REASON_TOOL_CALLS
        if "prompt_eval_count" in line or "eval_count" in line:
            # A count of zero is left out, so one that is missing is zero where the other is there.
            usage = Usage(input_tokens=count_of(line, "prompt_eval_count"), output_tokens=count_of(line, "eval_count"))
            finished.usage.CopyFrom(usage)
        self._assembly.finish(finished)
        self._done = True


def _seconds(moment: str) -> int:
    """Seconds since the Unix epoch of an RFC 3339 moment; zero for what is none."""
    try:
        read = datetime.fromisoformat(moment)
    except ValueError:
        return 0
    return max(int((read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()), 0)
