"""Close what a stage opened."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing
from typing import cast

from llmgateway.v1.chat_service_pb2 import ChatEvent
from llmgateway_server.ports.operations import OperationResponse


def closing(events: AsyncIterator[ChatEvent]) -> AbstractAsyncContextManager[AsyncIterator[ChatEvent]]:
    """`aclosing` for the iterators that handlers and adapters return, which are async generators by contract."""
    return cast("AbstractAsyncContextManager[AsyncIterator[ChatEvent]]", aclosing(events))  # pyright: ignore[reportArgumentType]


def closing_operation(
    answers: AsyncIterator[OperationResponse],
) -> AbstractAsyncContextManager[AsyncIterator[OperationResponse]]:
    """The same for operations."""
    return cast("AbstractAsyncContextManager[AsyncIterator[OperationResponse]]", aclosing(answers))  # pyright: ignore[reportArgumentType]
