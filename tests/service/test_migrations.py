"""Migrations make exactly the tables of the store, on both databases."""

from __future__ import annotations

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from service.store import migrate
from service.store.session import engine, reading
from service.store.tables import Base

pytestmark = pytest.mark.usefixtures("configured")


def test_migrations_match_the_tables() -> None:
    with engine().connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_downgrade_leaves_nothing_and_upgrade_restores_all() -> None:
    command.downgrade(migrate.alembic_config(), "base")
    assert inspect(engine()).get_table_names() == ["alembic_version"]
    with reading() as session:
        assert not migrate.is_current(session)
    migrate.upgrade()
    migrate.upgrade()
    assert set(Base.metadata.tables) < set(inspect(engine()).get_table_names())
    with reading() as session:
        assert migrate.is_current(session)
