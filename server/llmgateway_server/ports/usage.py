"""Where the record of a finished call goes."""

from __future__ import annotations

from typing import Protocol

from llmgateway.v1.admin_resources_pb2 import UsageRecord


class UsageSink(Protocol):
    """Keeps usage records."""

    def record(self, record: UsageRecord) -> None:
        """Takes a record and returns at once; it is written later, in the order of the calls. The sink owns it."""
        ...
