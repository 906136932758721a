"""The first tables: resources, records and the state of the store."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
drops_data = False

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Makes the tables. What is written here stays: later changes are later migrations."""
    op.create_table(
        "resources",
        sa.Column("kind", _TEXT, primary_key=True),
        sa.Column("name", _TEXT, primary_key=True),
        sa.Column("parent", _TEXT, nullable=False),
        sa.Column("etag", _TEXT, nullable=False),
        sa.Column("create_micros", sa.BigInteger, nullable=False),
        sa.Column("update_micros", sa.BigInteger, nullable=False),
        sa.Column("message", sa.LargeBinary, nullable=False),
    )
    op.create_index("resources_by_parent", "resources", ["kind", "parent", "name"])
    op.create_table(
        "resource_values",
        sa.Column("kind", _TEXT, primary_key=True),
        sa.Column("path", _TEXT, primary_key=True),
        sa.Column("value", _TEXT, primary_key=True),
        sa.Column("name", _TEXT, primary_key=True),
    )
    op.create_index("resource_values_by_name", "resource_values", ["kind", "name"])
    op.create_table(
        "create_requests",
        sa.Column("scope", _TEXT, primary_key=True),
        sa.Column("request_id", _TEXT, primary_key=True),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("name", _TEXT, nullable=False),
        sa.Column("create_micros", sa.BigInteger, nullable=False),
    )
    op.create_index("create_requests_by_time", "create_requests", ["create_micros"])
    op.create_table(
        "audit_events",
        sa.Column("name", _TEXT, primary_key=True),
        sa.Column("tenant", _TEXT, nullable=False),
        sa.Column("create_micros", sa.BigInteger, nullable=False),
        sa.Column("actor", _TEXT, nullable=False),
        sa.Column("action", _TEXT, nullable=False),
        sa.Column("resource", _TEXT, nullable=False),
        sa.Column("request_id", _TEXT, nullable=False),
        sa.Column("message", sa.LargeBinary, nullable=False),
    )
    op.create_index("audit_events_by_tenant", "audit_events", ["tenant", "create_micros", "name"])
    op.create_index("audit_events_by_time", "audit_events", ["create_micros", "name"])
    op.create_table(
        "usage_records",
        sa.Column("name", _TEXT, primary_key=True),
        sa.Column("tenant", _TEXT, nullable=False),
        sa.Column("create_micros", sa.BigInteger, nullable=False),
        sa.Column("request_id", _TEXT, nullable=False),
        sa.Column("api_key", _TEXT, nullable=False),
        sa.Column("method", _TEXT, nullable=False),
        sa.Column("requested", _TEXT, nullable=False),
        sa.Column("finish_reason", sa.Integer, nullable=False),
        sa.Column("reason", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("input_tokens", sa.BigInteger, nullable=False),
        sa.Column("output_tokens", sa.BigInteger, nullable=False),
        sa.Column("cost_nanos", sa.BigInteger, nullable=True),
        sa.Column("first_event_micros", sa.BigInteger, nullable=False),
        sa.Column("latency_micros", sa.BigInteger, nullable=False),
        sa.Column("message", sa.LargeBinary, nullable=False),
    )
    op.create_index("usage_records_by_tenant", "usage_records", ["tenant", "create_micros", "name"])
    op.create_index("usage_records_by_time", "usage_records", ["create_micros", "name"])
    op.create_table(
        "store_state",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("token_secret", sa.LargeBinary, nullable=False),
        sa.Column("indexes", _TEXT, nullable=False),
    )
