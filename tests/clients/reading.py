"""Reads streams that are expected to fail."""

from collections.abc import AsyncIterator
from typing import TypeVar

import pytest

from llmgateway_client import GatewayError

T = TypeVar("T")


async def read_until_error(items: AsyncIterator[T]) -> tuple[list[T], GatewayError]:
    """What comes before the error, and the error."""
    seen: list[T] = []
    try:
        async for item in items:
            seen.append(item)  # noqa: PERF401, a comprehension would lose what came before the error
    except GatewayError as error:
        return seen, error
    pytest.fail(f"there was no error after {seen!r}")
