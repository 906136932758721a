"""Operations that cancellation does not tear apart."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


async def settle(operation: Coroutine[Any, Any, T]) -> T:
    """Runs an operation to its end even when the caller is cancelled, who hears of it only then.

    A driver that is interrupted inside a statement leaves the connection in an unknown state: SQLite keeps the
    transaction open and locks everybody else out, PostgreSQL's connection is lost. So a statement is waited for, and
    the transaction is unwound in order. Every operation is bounded by the driver's own timeouts.
    """
    task = asyncio.ensure_future(operation)
    interruption: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            interruption = error
    if interruption is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # looked at, so that the loop does not report it as forgotten
    raise interruption
