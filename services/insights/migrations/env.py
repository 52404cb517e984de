"""Runs the steps on the connection that `services.insights.schema` has opened; Alembic calls it."""

from __future__ import annotations

from alembic import context

# SQLite's schema changes are in a transaction as PostgreSQL's are, since `open_database` begins transactions itself.
context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
context.run_migrations()
