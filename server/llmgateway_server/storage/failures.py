"""What callers hear when the database fails: that it does, and when to come back. Never the driver's words."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway_server.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Generator

RETRY_AFTER: Final = 1.0
"""Seconds after which a caller may try again."""

_logger = logging.getLogger(__name__)


def unavailable() -> Unavailable:
    """The error for a database that cannot serve now."""
    return Unavailable(
        ErrorReason.ERROR_REASON_STORAGE_UNAVAILABLE,
        "the gateway's database does not answer; try again.",
        retry_after=RETRY_AFTER,
    )


@contextmanager
def storage_failures() -> Generator[None]:
    """Turns failures of the database into `STORAGE_UNAVAILABLE`; lets through what only a bug can cause."""
    try:
        yield
    except (IntegrityError, DataError, ProgrammingError):
        raise
    except (DBAPIError, PoolTimeoutError, OSError) as error:  # OSError covers refused connections and timeouts
        _logger.warning("storage.failed", extra={"error": type(getattr(error, "orig", None) or error).__name__})
        raise unavailable() from error
