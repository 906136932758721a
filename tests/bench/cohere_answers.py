"""What a benchmark decodes in Cohere's dialect, made once and read many times."""

from __future__ import annotations

import json
from typing import Any

from tests.bench.answers import WORD, text

_ID = "00000000-0000-4000-8000-000000000000"


def whole_answer(words: int) -> bytes:
    """A whole answer of so many words, with usage."""
    message = {"role": "assistant", "content": [{"type": "text", "text": text(words)}]}
    return _json({"id": _ID, "message": message, **_end(words)})


def stream_events(words: int) -> list[bytes]:
    """The server-sent events of an answer of so many words: a word an event."""
    empty = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    begun = {"content": {"type": "text", "text": ""}}
    deltas = [{"index": 0, "delta": {"message": {"content": {"text": f"{WORD} "}}}} for _ in range(words)]
    return [
        _event("message-start", {"id": _ID, "delta": {"message": empty}}),
        _event("content-start", {"index": 0, "delta": {"message": begun}}),
        *(_event("content-delta", delta) for delta in deltas),
        _event("content-end", {"index": 0}),
        _event("message-end", {"delta": _end(words)}),
        b"data: [DONE]\n\n",
    ]


def _end(words: int) -> dict[str, Any]:
    tokens = {"input_tokens": 519, "output_tokens": words}
    billed = {"input_tokens": 24, "output_tokens": words}
    return {"finish_reason": "COMPLETE", "usage": {"billed_units": billed, "tokens": tokens}}


def _event(kind: str, fields: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _json({"type": kind, **fields}))


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
