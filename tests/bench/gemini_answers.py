"""What a benchmark decodes in Gemini's dialect, made once and read many times."""

from __future__ import annotations

import json
from typing import Any

from tests.bench.answers import WORD, text


def whole_answer(words: int) -> bytes:
    """A whole answer of so many words, with usage."""
    return _json(_frame(text(words), words, finish_reason="STOP"))


def stream_events(words: int) -> list[bytes]:
    """The server-sent events of an answer of so many words: a word an event, each with the usage so far."""
    frames = [_frame(WORD if index == 0 else f" {WORD}", index + 1) for index in range(words)]
    frames.append(_frame("", words, finish_reason="STOP"))
    return [b"data: %b\r\n\r\n" % _json(frame) for frame in frames]


def _frame(said: str, tokens: int, **fields: str) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": [{"text": said}], "role": "model"}, "index": 0}
    if "finish_reason" in fields:
        candidate["finishReason"] = fields["finish_reason"]
    return {
        "candidates": [candidate],
        "usageMetadata": {
            "promptTokenCount": 24,
            "candidatesTokenCount": tokens,
            "totalTokenCount": 24 + tokens,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 24}],
        },
        "modelVersion": "bench-1-001",
        "responseId": "bench0000000000000000000",
    }


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
