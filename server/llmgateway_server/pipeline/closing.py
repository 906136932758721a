"""Close what a stage opened."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing
from typing import cast

from llmgateway.v1.chat_service_pb2 import ChatEvent


def closing(events: AsyncIterator[ChatEvent]) -> AbstractAsyncContextManager[AsyncIterator[ChatEvent]]:
    """`aclosing` for the iterators that handlers and adapters return, which are async generators by contract."""
    return cast("AbstractAsyncContextManager[AsyncIterator[ChatEvent]]", aclosing(events))  # pyright: ignore[reportArgumentType]
