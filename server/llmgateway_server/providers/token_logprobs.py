"""Reads log probabilities in the shape that OpenAI gave them and others took over."""

from __future__ import annotations

from typing import cast

from llmgateway.v1.content_pb2 import TokenLogprob
from llmgateway_server.providers.json_values import Json, json_objects, text_of


def token_logprob(fields: Json) -> TokenLogprob:
    """One token with its likelihood and its alternatives. Raises `Malformed` for values of wrong kinds."""
    logprob = fields.get("logprob")
    token = TokenLogprob(token=text_of(fields, "token"), logprob=logprob if isinstance(logprob, (int, float)) else 0.0)
    raw = fields.get("bytes")
    if isinstance(raw, list):
        token.raw = bytes(cast("list[int]", raw))
    if alternatives := fields.get("top_logprobs"):
        token.alternatives.extend(token_logprob(alternative) for alternative in json_objects(alternatives))
    return token
