"""A model's generation is read off its name, whoever wrote it."""

import pytest

from llmgateway.v1.content_pb2 import ReasoningEffort
from llmgateway_server.providers.claude_models import COMPATIBLE, Thinking, profile_of


@pytest.mark.parametrize(
    ("model", "thinking", "max_tokens"),
    [
        ("claude-2.1", Thinking.NONE, 4096),
        ("claude-instant-1.2", Thinking.NONE, 4096),
        ("claude-3-opus-20240229", Thinking.NONE, 4096),
        ("claude-3-5-sonnet-20241022", Thinking.NONE, 8192),
        ("anthropic/claude-3.5-haiku", Thinking.NONE, 8192),
        ("claude-3-7-sonnet-latest", Thinking.BUDGET, 64_000),
        ("claude-sonnet-4-20250514", Thinking.BUDGET, 32_000),
        ("claude-opus-4@20250514", Thinking.BUDGET, 32_000),
        ("us.anthropic.claude-opus-4-1-20250805-v1:0", Thinking.BUDGET, 32_000),
        ("claude-haiku-4-5", Thinking.BUDGET, 64_000),
        ("Claude-Sonnet-4.5", Thinking.BUDGET, 64_000),
        ("claude-opus-4-6", Thinking.ADAPTIVE, 64_000),
        ("claude-opus-4-8", Thinking.ADAPTIVE, 64_000),
        ("claude-haiku-5-5", Thinking.ADAPTIVE, 64_000),
        ("claude-novel-preview", Thinking.ADAPTIVE, 64_000),
    ],
)
def test_generation_follows_from_the_name(model: str, thinking: Thinking, max_tokens: int) -> None:
    profile = profile_of(model)

    assert (profile.thinking, profile.max_tokens) == (thinking, max_tokens)


def test_models_of_others_are_asked_for_what_every_server_takes() -> None:
    assert profile_of("deepseek-chat") is COMPATIBLE


def test_sampling_went_and_efforts_came() -> None:
    assert profile_of("claude-opus-4-6").sampling
    assert not profile_of("claude-opus-4-7").sampling
    assert ReasoningEffort.REASONING_EFFORT_XHIGH not in profile_of("claude-opus-4-6").efforts
    assert profile_of("claude-opus-4-7").efforts[ReasoningEffort.REASONING_EFFORT_XHIGH] == "xhigh"


def test_one_family_never_stops_thinking() -> None:
    assert profile_of("claude-opus-5").stops_thinking
    assert not profile_of("claude-fable-5-1").stops_thinking
