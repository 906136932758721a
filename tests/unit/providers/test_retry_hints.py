"""Every form in which a provider says when to come back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgateway_server.providers.retry_hints import MAX_SECONDS, duration, reset_after, retry_after, should_retry

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": " 12 "}, 12.0),
        ({"retry-after": "1.25"}, 1.25),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "1e3"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1_0"}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after": "9" * 15}, MAX_SECONDS),
        ({"retry-after": "9" * 5000}, None),
        ({"retry-after": format_datetime(NOW + timedelta(seconds=90), usegmt=True)}, 90.0),
        ({"retry-after": format_datetime(NOW - timedelta(days=9), usegmt=True)}, 0.0),
        ({"retry-after": "Fri, 20 Nov 2026 12:00:30"}, 30.0),
        ({"retry-after": "Fri, 99 Nov 2026 99:00:30 GMT"}, None),
        ({"retry-after": "tomorrow"}, None),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"x-ms-retry-after-ms": "20", "retry-after": "9"}, 0.02),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
    ],
    ids=str,
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"x-ratelimit-reset-requests": "12ms"}, 0.012),
        ({"x-ratelimit-reset-tokens": "6m0s"}, 360.0),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "2s"}, 2.0),
        ({"x-ratelimit-reset-requests": "1m", "x-ratelimit-remaining-requests": "5"}, None),
        ({"x-ratelimit-reset-requests": "1m", "x-ratelimit-remaining-requests": "0"}, 60.0),
        ({"anthropic-ratelimit-tokens-reset": "2026-11-20T12:00:45Z"}, 45.0),
        ({"anthropic-ratelimit-tokens-reset": "2026-11-20T12:00:45"}, 45.0),
        ({"x-ratelimit-reset": str(int(NOW.timestamp()) + 7)}, 7.0),
        ({"x-ratelimit-reset": str((int(NOW.timestamp()) + 7) * 1000)}, 7.0),
        ({"x-ratelimit-reset": "7"}, 7.0),
        ({"x-ratelimit-reset": "later"}, None),
    ],
    ids=str,
)
def test_reset_after(headers: dict[str, str], seconds: float | None) -> None:
    assert reset_after(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1h2m", 3720.0),
        ("1.5s", 1.5),
        ("1d", 86_400.0),
        ("9d", MAX_SECONDS),
        ("", None),
        ("5", None),
        ("s", None),
        ("1s!", None),
        ("1 s", None),
    ],
)
def test_duration(text: str, seconds: float | None) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize(("said", "meant"), [("true", True), ("False ", False), ("", None), ("maybe", None)])
def test_should_retry(said: str, meant: bool | None) -> None:
    assert should_retry({"x-should-retry": said}) is meant


@given(
    st.text(max_size=40),
    st.sampled_from(["retry-after", "retry-after-ms", "x-ratelimit-reset", "x-ratelimit-reset-tokens"]),
)
def test_nothing_that_a_provider_says_breaks_it(text: str, name: str) -> None:
    for wait in (retry_after({name: text}, NOW), reset_after({name: text}, NOW)):
        assert wait is None or 0 <= wait <= MAX_SECONDS
