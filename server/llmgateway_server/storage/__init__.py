"""SQL storage: one schema on SQLite and PostgreSQL, behind the ports of `ports/storage.py`."""

from llmgateway_server.storage.address import DatabaseRefused
from llmgateway_server.storage.store import SqlStore, open_store

__all__ = ["DatabaseRefused", "SqlStore", "open_store"]
