"""What the upstream of a benchmark says: OpenAI chat completions as bytes, made once and sent many times."""

from __future__ import annotations

import json
from typing import Any

WORD = "word,"
"""Answers are this word, over and over, so that counting it tells whether an answer is whole.

It has a comma, so that no random id of letters and digits can hold it.
"""

_CREATED = 1_760_000_000
_MODEL = "bench-1-2026-01-01"


def text(words: int) -> str:
    """A text of so many words."""
    return " ".join([WORD] * words)


def whole_answer(words: int) -> bytes:
    """A `chat.completion` of so many words, with usage; about 600 bytes at 16 words."""
    return _json(
        {
            "id": "chatcmpl-bench0000000000000000000000",
            "object": "chat.completion",
            "created": _CREATED,
            "model": _MODEL,
            "choices": [
                {
                    "index": 0,
                    "message": {
                        "role": "assistant",
                        "content": text(words),
                        "refusal": None,
                        "annotations": [],
                    },
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": _usage(words),
            "service_tier": "default",
            "system_fingerprint": "fp_bench",
        }
    )


def stream_events(words: int, *, include_usage: bool) -> list[bytes]:
    """The server-sent events of an answer of so many words: role, a word an event, finish, usage if asked for, end."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": "", "refusal": None}]
    deltas += [{"content": WORD if index == 0 else f" {WORD}"} for index in range(words)]
    payloads = [_chunk([_choice(delta, None)]) for delta in deltas]
    payloads.append(_chunk([_choice({}, "stop")]))
    if include_usage:
        payloads = [{**payload, "usage": None} for payload in payloads]
        payloads.append({**_chunk([]), "usage": _usage(words)})
    return [b"data: %b\n\n" % line for line in [*map(_json, payloads), b"[DONE]"]]


def _choice(delta: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _chunk(choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": "chatcmpl-bench0000000000000000000000",
        "object": "chat.completion.chunk",
        "created": _CREATED,
        "model": _MODEL,
        "service_tier": "default",
        "system_fingerprint": "fp_bench",
        "choices": choices,
    }


def _usage(words: int) -> dict[str, Any]:
    return {
        "prompt_tokens": 24,
        "completion_tokens": words,
        "total_tokens": 24 + words,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
