"""Keeps the catalogue in step with a store that other processes change too."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from llmgateway_server.errors import GatewayError
from llmgateway_server.ports.storage import Store

_log = logging.getLogger(__name__)

INTERVAL = 1.0
"""How often the store is asked for its revision, in seconds."""


async def follow(store: Store, reload: Callable[[], Awaitable[None]]) -> None:
    """Reloads whenever the store's revision has changed. Runs until it is cancelled; outlives a database that does not.

    The process's own changes reach the catalogue at once and are seen here a second time, which harms nothing.
    """
    known = -1
    reachable = True
    while True:
        try:
            revision = await store.revision()
            if revision != known:
                await reload()
                known = revision
            if not reachable:
                _log.info("the database answers again")
                reachable = True
        except GatewayError as error:
            if reachable:
                _log.warning("the catalogue cannot follow the database", extra={"reason": error.reason_name})
                reachable = False
        await asyncio.sleep(INTERVAL)
