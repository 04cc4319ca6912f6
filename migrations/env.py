"""Alembic's entry point: the configured database, the store's tables."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from service.store.session import engine
from service.store.tables import Base


def run() -> None:
    """Migrate on a connection handed in by the caller, else on the configured database."""
    connection = context.config.attributes.get("connection")
    if connection is None:
        with engine().execution_options(writing=True).connect() as own:
            _migrate_on(own)
    else:
        _migrate_on(connection)


def _migrate_on(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


run()
