"""What Anthropic would say to the steps of a benchmark, made once and read many times."""

from __future__ import annotations

import json
from typing import Any

from tests.bench.answers import WORD, text

_MESSAGE = {"id": "msg_bench0000000000000000", "type": "message", "role": "assistant", "model": "bench-1-20260101"}


def whole_answer(words: int) -> bytes:
    """A message of so many words, with usage."""
    content = [{"type": "text", "text": text(words)}]
    return _json({**_MESSAGE, "content": content, **_end(), "usage": _usage(words)})


def stream_events(words: int) -> list[bytes]:
    """The server-sent events of an answer of so many words, a word an event."""
    begun = {**_MESSAGE, "content": [], "stop_reason": None, "stop_sequence": None, "usage": _usage(1)}
    pieces = [WORD, *[f" {WORD}"] * (words - 1)]
    return [
        _event("message_start", message=begun),
        _event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        _event("ping"),
        *(_event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece}) for piece in pieces),
        _event("content_block_stop", index=0),
        _event("message_delta", delta=_end(), usage=_usage(words)),
        _event("message_stop"),
    ]


def _event(kind: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _json({"type": kind, **fields}))


def _end() -> dict[str, Any]:
    return {"stop_reason": "end_turn", "stop_sequence": None}


def _usage(words: int) -> dict[str, Any]:
    return {
        "input_tokens": 24,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": words,
        "service_tier": "standard",
    }


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
