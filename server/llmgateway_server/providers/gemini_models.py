"""The families of Gemini models, one row each: how much they can be told to think, and what else sets them apart."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from llmgateway.v1.content_pb2 import ReasoningEffort

_NONE = ReasoningEffort.REASONING_EFFORT_NONE
_MINIMAL = ReasoningEffort.REASONING_EFFORT_MINIMAL
_LOW = ReasoningEffort.REASONING_EFFORT_LOW
_MEDIUM = ReasoningEffort.REASONING_EFFORT_MEDIUM
_HIGH = ReasoningEffort.REASONING_EFFORT_HIGH
_XHIGH = ReasoningEffort.REASONING_EFFORT_XHIGH
_MAX = ReasoningEffort.REASONING_EFFORT_MAX


@dataclass(frozen=True, slots=True)
class Thinking:
    """How a family is told how much to think: by a level, or by a budget of tokens. It takes only one of the two."""

    levels: Mapping[ReasoningEffort, str] = field(default_factory=dict[ReasoningEffort, str])
    """The level of each effort. Empty where efforts are budgets."""
    budgets: Mapping[ReasoningEffort, int] = field(default_factory=dict[ReasoningEffort, int])
    """The budget of each effort, in tokens."""
    inexact: frozenset[ReasoningEffort] = frozenset()
    """Efforts that the family only comes near to."""
    least: int = 0
    """The smallest budget above zero."""
    most: int = 32_768
    """The largest budget."""
    can_stop: bool = False
    """Whether a budget of zero is taken."""


@dataclass(frozen=True, slots=True)
class Family:
    """What the models of one family take."""

    thinking: Thinking | None
    """None means that the models do not think."""
    signs_calls: bool = False
    """Whether the first call of a turn must come back with its signature."""
    json_beside_tools: bool = False
    """Whether JSON can be asked for in a request that has tools."""
    media_results: bool = False
    """Whether tools may answer with media."""
    validated_calls: bool = True
    """Whether calls can be held to their schemas without being forced."""


def _budgets(*, least: int, most: int, can_stop: bool) -> Thinking:
    budgets = {
        _NONE: 0 if can_stop else least,
        _MINIMAL: 512,
        _LOW: 1024,
        _MEDIUM: 8192,
        _HIGH: 24_576,
        _XHIGH: most,
        _MAX: most,
    }
    inexact = frozenset[ReasoningEffort]() if can_stop else frozenset({_NONE})
    return Thinking(budgets=budgets, inexact=inexact, least=least, most=most, can_stop=can_stop)


_TWO_LEVELS = Thinking(
    levels={
        _NONE: "LOW",
        _MINIMAL: "LOW",
        _LOW: "LOW",
        _MEDIUM: "HIGH",
        _HIGH: "HIGH",
        _XHIGH: "HIGH",
        _MAX: "HIGH",
    },
    inexact=frozenset({_NONE, _MEDIUM, _XHIGH}),
)
_THREE_LEVELS = Thinking(
    levels={**_TWO_LEVELS.levels, _MEDIUM: "MEDIUM"},
    inexact=frozenset({_NONE, _XHIGH}),
)
_FOUR_LEVELS = Thinking(
    levels={**_THREE_LEVELS.levels, _NONE: "MINIMAL", _MINIMAL: "MINIMAL"},
    inexact=frozenset({_NONE, _XHIGH}),
)


def _third(thinking: Thinking) -> Family:
    return Family(thinking, signs_calls=True, json_beside_tools=True, media_results=True)


_WITHOUT_THINKING = Family(thinking=None, validated_calls=False)
_NEWEST = _third(_THREE_LEVELS)
"""What is assumed of names that tell nothing, such as aliases and tuned models."""

_FAMILIES: tuple[tuple[re.Pattern[str], Family], ...] = (
    (re.compile(r"gemini-3-pro"), _third(_TWO_LEVELS)),
    (re.compile(r"gemini-3[.\d]*-pro"), _third(_THREE_LEVELS)),
    (re.compile(r"gemini-3"), _third(_FOUR_LEVELS)),
    (re.compile(r"gemini-2\.5-pro"), Family(_budgets(least=128, most=32_768, can_stop=False))),
    (re.compile(r"gemini-2\.5-flash-image"), _WITHOUT_THINKING),
    (re.compile(r"gemini-2\.5-flash-lite"), Family(_budgets(least=512, most=24_576, can_stop=True))),
    (re.compile(r"gemini-2\.5"), Family(_budgets(least=1, most=24_576, can_stop=True))),
    (re.compile(r"gemini-[12]|gemma|learnlm"), _WITHOUT_THINKING),
)
"""The families by how the names of their models begin. The first one that matches holds."""


def family_of(upstream_model: str) -> Family:
    """The family of a model, by its name or by its resource name."""
    name = upstream_model.rpartition("/")[2]
    return next((family for pattern, family in _FAMILIES if pattern.match(name)), _NEWEST)
