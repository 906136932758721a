"""What each generation of Anthropic's models takes and refuses, as data.

A generation is read off the model's name, in any of the forms in which the hosts of these models write it. What is
said here was learned from the provider's documents and refusals, as of November 2026.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import lru_cache

from llmgateway.v1.content_pb2 import ReasoningEffort


class Thinking(Enum):
    """How a model is told to think."""

    NONE = "none"
    """It does not think."""
    BUDGET = "budget"
    """By a number of tokens."""
    ADAPTIVE = "adaptive"
    """By a word; it decides by itself how many tokens that takes."""


_EFFORTS: Mapping[ReasoningEffort, str] = {
    ReasoningEffort.REASONING_EFFORT_LOW: "low",
    ReasoningEffort.REASONING_EFFORT_MEDIUM: "medium",
    ReasoningEffort.REASONING_EFFORT_HIGH: "high",
    ReasoningEffort.REASONING_EFFORT_MAX: "max",
}


@dataclass(frozen=True, slots=True)
class ClaudeProfile:
    """What a generation takes. The defaults are what every server of the dialect can be asked."""

    max_tokens: int = 4096
    """Most tokens of an answer where neither the caller nor the catalogue says it; the dialect wants a number."""
    thinking: Thinking = Thinking.BUDGET
    efforts: Mapping[ReasoningEffort, str] = field(default_factory=dict[ReasoningEffort, str])
    """The words for how much an adaptive model thinks."""
    stops_thinking: bool = True
    """Whether thinking can be switched off."""
    sampling: bool = True
    """Whether temperature, top_p and top_k are taken at all."""
    temperature_with_top_p: bool = True
    schemas: bool = False
    """Whether answers can be held to a JSON schema. Where they cannot, a forced tool does it."""
    prefill: bool = True
    """Whether the model goes on with an answer that the caller began."""


COMPATIBLE = ClaudeProfile()
"""Servers of the dialect whose model is none of Anthropic's."""

_OF_3 = ClaudeProfile(thinking=Thinking.NONE)
_OF_3_5 = replace(_OF_3, max_tokens=8192)
_OF_3_7 = ClaudeProfile(max_tokens=64_000)
_OF_4 = ClaudeProfile(max_tokens=32_000)
_OF_4_5 = ClaudeProfile(max_tokens=64_000, temperature_with_top_p=False, schemas=True)
_OF_4_6 = replace(_OF_4_5, thinking=Thinking.ADAPTIVE, efforts=_EFFORTS, prefill=False)
_OF_4_7 = replace(_OF_4_6, sampling=False, efforts={**_EFFORTS, ReasoningEffort.REASONING_EFFORT_XHIGH: "xhigh"})

_GENERATIONS = (
    ((4, 7), _OF_4_7),
    ((4, 6), _OF_4_6),
    ((4, 5), _OF_4_5),
    ((4, 0), _OF_4),
    ((3, 7), _OF_3_7),
    ((3, 5), _OF_3_5),
    ((0, 0), _OF_3),
)
"""The profile of each generation from a version on, the newest first. Newer ones are taken to be like the newest."""

_ALWAYS_THINKING = frozenset({"fable"})
"""Families that cannot be told not to think."""

# `claude-3-5-haiku-20241022`, and since version 4 `claude-opus-4-1-20250805`; some hosts write the minor with a dot.
_VERSION_FIRST = re.compile(r"claude-(\d)(?:[.-](\d{1,2}))?(?!\d)")
_FAMILY_FIRST = re.compile(r"claude-([a-z]+)-(\d{1,2})(?!\d)(?:[.-](\d{1,2})(?!\d))?")


@lru_cache(maxsize=1024)
def profile_of(model: str) -> ClaudeProfile:
    """What a model takes, by its name at the provider."""
    name = model.lower()
    if match := _FAMILY_FIRST.search(name):
        profile = _since(int(match[2]), int(match[3] or 0))
        return replace(profile, stops_thinking=False) if match[1] in _ALWAYS_THINKING else profile
    if match := _VERSION_FIRST.search(name):
        return _since(int(match[1]), int(match[2] or 0))
    if "claude-instant" in name or "claude-v" in name:
        return _OF_3
    return _OF_4_7 if "claude" in name else COMPATIBLE


def _since(major: int, minor: int) -> ClaudeProfile:
    return next(profile for first, profile in _GENERATIONS if (major, minor) >= first)
