"""Runs migrations on the connection that `storage/migrate.py` hands over, in its transaction."""  # noqa: INP001 - Alembic loads it by path

from __future__ import annotations

from alembic import context

from llmgateway_server.storage.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
