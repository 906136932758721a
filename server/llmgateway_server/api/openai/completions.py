"""Legacy completions: a prompt is asked as a user's message, and the answer is given as the text that follows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import orjson

from llmgateway.v1.chat_service_pb2 import ChatResponse, PartDelta, Started
from llmgateway.v1.content_pb2 import FinishReason, Logprobs, Usage
from llmgateway_server.api.openai import fields
from llmgateway_server.api.openai.fields import Json
from llmgateway_server.api.openai.request import MAX_ANSWERS, ChatBody, parse_body, read_chat
from llmgateway_server.api.openai.response import FINISH_REASONS, usage_json
from llmgateway_server.errors import invalid_field, unsupported

LOSS = "prompt: it is asked as a user's message, which the model answers rather than continues."
"""The warning that goes with every answer."""

_MAX_LOGPROBS = 5


def parse_completion(data: bytes, *, strict: bool) -> list[ChatBody]:
    """Reads a request, one conversation a prompt. Raises INVALID_FIELD that names the field as the caller wrote it."""
    body = parse_body(data)
    prompts = _prompts(body.pop("prompt", None))
    if strict or fields.boolean(body, "strict"):
        raise unsupported("prompt", "no provider continues texts as they are; use /v1/chat/completions.")
    if fields.text(body, "suffix"):
        raise unsupported("suffix", "texts are not filled in; leave it out.")
    if fields.boolean(body, "echo"):
        raise unsupported("echo", "prompts are not repeated; leave it out.")
    answers = fields.integer(body, "n", low=1, high=MAX_ANSWERS) or 1
    if (fields.integer(body, "best_of", low=1) or answers) != answers:
        raise unsupported("best_of", "answers are not chosen among; leave it out.")
    if len(prompts) * answers > MAX_ANSWERS:
        raise invalid_field("prompt", f"at most {MAX_ANSWERS} answers to all prompts together.")
    for name in ("suffix", "echo", "best_of"):
        body.pop(name, None)
    top = fields.integer(body, "logprobs", low=0, high=_MAX_LOGPROBS)
    if top is not None:
        body["logprobs"] = True
        body["top_logprobs"] = top
    return [read_chat({**body, "messages": [{"role": "user", "content": prompt}]}) for prompt in prompts]


def _prompts(value: object) -> list[str]:
    if isinstance(value, str):
        prompts = [value]
    elif isinstance(value, list):
        items = cast("list[object]", value)
        if any(isinstance(item, (int, list)) for item in items):
            raise unsupported("prompt", "arrays of tokens are not taken; send texts.")
        prompts = [item for item in items if isinstance(item, str)]
        if len(prompts) != len(items):
            raise invalid_field("prompt", "must be a string or an array of strings.")
    else:
        raise invalid_field("prompt", "must be a string or an array of strings.")
    if not prompts or not all(prompts):
        raise invalid_field("prompt", "must not be empty.")
    return prompts


def whole_completion(answers: Sequence[ChatResponse], model: str, usage: Usage) -> bytes:
    """The body of a whole reply; one choice an answer."""
    first = answers[0]
    choices = [_choice(index, answer) for index, answer in enumerate(answers)]
    head = _head(first.response_id, first.create_time.seconds, model)
    return orjson.dumps({**head, "choices": choices, "usage": usage_json(usage)})


def _head(response_id: str, created: int, model: str) -> Json:
    return {"id": f"cmpl-{response_id}", "object": "text_completion", "created": created, "model": model}


def _choice(index: int, answer: ChatResponse) -> Json:
    text = "".join(part.text or part.refusal for part in answer.message.parts)
    logprobs = None
    for run in answer.logprobs:
        logprobs = _logprobs(run, logprobs)
    return {"text": text, "index": index, "logprobs": logprobs, "finish_reason": FINISH_REASONS[answer.finish_reason]}


def _logprobs(run: Logprobs, before: Json | None = None) -> Json:
    """Log probabilities in columns, which is how the legacy dialect has them."""
    columns: Json = before or {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
    at = sum(len(token) for token in columns["tokens"])
    for token in run.tokens:
        columns["tokens"].append(token.token)
        columns["token_logprobs"].append(token.logprob)
        columns["top_logprobs"].append({other.token: other.logprob for other in token.alternatives})
        columns["text_offset"].append(at)
        at += len(token.token)
    return columns


class TextWriter:
    """Writes the chunks of one choice of a stream, as `ChunkWriter` does for conversations."""

    def __init__(self, started: Started, index: int, model: str, *, include_usage: bool) -> None:
        head = _head(started.response_id, started.create_time.seconds, model)
        self._head = b"data: " + orjson.dumps(head)[:-1]
        self._index = index
        self._end = b',"usage":null}\n\n' if include_usage else b"}\n\n"
        self._offset = 0

    def delta(self, delta: PartDelta) -> bytes:
        """The chunk for a delta; empty when it is no text."""
        text = delta.text or delta.refusal
        logprobs = _logprobs(delta.logprobs) if delta.HasField("logprobs") else None
        if logprobs is not None:
            logprobs["text_offset"] = [self._offset + at for at in logprobs["text_offset"]]
            self._offset += sum(len(token) for token in logprobs["tokens"])
        return self._chunk(text, logprobs, None) if text or logprobs else b""

    def finish(self, reason: FinishReason) -> bytes:
        """The last chunk of the choice."""
        return self._chunk("", None, FINISH_REASONS[reason])

    def usage(self, usage: Usage) -> bytes:
        """The chunk after the last choice, which says what was used."""
        return self._head + b',"choices":[],"usage":' + orjson.dumps(usage_json(usage)) + b"}\n\n"

    def _chunk(self, text: str, logprobs: Json | None, finish_reason: str | None) -> bytes:
        choice = {"text": text, "index": self._index, "logprobs": logprobs, "finish_reason": finish_reason}
        return self._head + b',"choices":[' + orjson.dumps(choice) + b"]" + self._end
