"""SQL storage: one schema on SQLite and PostgreSQL, behind the ports of `ports/storage.py`."""
