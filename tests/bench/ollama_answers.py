"""What a benchmark decodes in Ollama's dialect, made once and read many times."""

from __future__ import annotations

import json
from typing import Any

from tests.bench.answers import WORD, text

_COUNTS = {"done_reason": "stop", "total_duration": 812_345_678, "prompt_eval_count": 24}


def whole_answer(words: int) -> bytes:
    """A whole answer of so many words, with usage."""
    return _json({**_line(text(words), done=True), **_COUNTS, "eval_count": words})


def stream_events(words: int) -> list[bytes]:
    """The lines of an answer of so many words: a word a line, the last of them with usage."""
    lines = [_line(f"{WORD} ", done=False) for _ in range(words)]
    lines.append({**_line("", done=True), **_COUNTS, "eval_count": words})
    return [_json(line) + b"\n" for line in lines]


def _line(said: str, *, done: bool) -> dict[str, Any]:
    message = {"role": "assistant", "content": said}
    return {"model": "bench-1", "created_at": "2026-01-01T00:00:00.123456789Z", "message": message, "done": done}


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
