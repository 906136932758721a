"""The tables, as the newest migration leaves them. A test compares the two."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text

_TEXT: Final = Text().with_variant(Text(collation="C"), "postgresql")
"""Text that compares byte by byte on every engine, as SQLite's does."""

metadata = MetaData()

resources = Table(
    "resources",
    metadata,
    Column("kind", _TEXT, primary_key=True),
    Column("name", _TEXT, primary_key=True),
    Column("parent", _TEXT, nullable=False),
    Column("etag", _TEXT, nullable=False),
    Column("create_micros", BigInteger, nullable=False),
    Column("update_micros", BigInteger, nullable=False),
    Column("message", LargeBinary, nullable=False),
    Index("resources_by_parent", "kind", "parent", "name"),
)
"""All resources of all kinds. `message` is the resource itself; the other columns repeat what queries need of it."""

resource_values = Table(
    "resource_values",
    metadata,
    Column("kind", _TEXT, primary_key=True),
    Column("path", _TEXT, primary_key=True),
    Column("value", _TEXT, primary_key=True),
    Column("name", _TEXT, primary_key=True),
    Index("resource_values_by_name", "kind", "name"),
)
"""The values of the fields by which resources are looked up: see `indexes.py`."""

create_requests = Table(
    "create_requests",
    metadata,
    Column("scope", _TEXT, primary_key=True),
    Column("request_id", _TEXT, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("name", _TEXT, nullable=False),
    Column("create_micros", BigInteger, nullable=False),
    Index("create_requests_by_time", "create_micros"),
)
"""The creations of the last day that had a request id."""

audit_events = Table(
    "audit_events",
    metadata,
    Column("name", _TEXT, primary_key=True),
    Column("tenant", _TEXT, nullable=False),
    Column("create_micros", BigInteger, nullable=False),
    Column("actor", _TEXT, nullable=False),
    Column("action", _TEXT, nullable=False),
    Column("resource", _TEXT, nullable=False),
    Column("request_id", _TEXT, nullable=False),
    Column("message", LargeBinary, nullable=False),
    Index("audit_events_by_tenant", "tenant", "create_micros", "name"),
    Index("audit_events_by_time", "create_micros", "name"),
)
"""Who changed what. Rows are added and never changed."""

usage_records = Table(
    "usage_records",
    metadata,
    Column("name", _TEXT, primary_key=True),
    Column("tenant", _TEXT, nullable=False),
    Column("create_micros", BigInteger, nullable=False),
    Column("request_id", _TEXT, nullable=False),
    Column("api_key", _TEXT, nullable=False),
    Column("method", _TEXT, nullable=False),
    Column("requested", _TEXT, nullable=False),
    Column("finish_reason", Integer, nullable=False),
    Column("reason", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("cost_nanos", BigInteger, nullable=True),
    Column("first_event_micros", BigInteger, nullable=False),
    Column("latency_micros", BigInteger, nullable=False),
    Column("message", LargeBinary, nullable=False),
    Index("usage_records_by_tenant", "tenant", "create_micros", "name"),
    Index("usage_records_by_time", "create_micros", "name"),
)
"""A row per call. Rows are added and never changed."""

store_state = Table(
    "store_state",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False),
    Column("token_secret", LargeBinary, nullable=False),
    Column("indexes", _TEXT, nullable=False),
)
"""One row, with id 1: the count of committed changes, the secret of page tokens, and what `resource_values` covers."""
