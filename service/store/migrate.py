"""Bring the database to the newest revision."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.orm import Session

import migrations
from service.settings import settings_or_exit, write_privately


def alembic_config() -> Config:
    """Alembic on the installed `migrations` package, wherever the process was started."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    return config


def upgrade() -> None:
    """Apply every revision that the configured database lacks."""
    command.upgrade(alembic_config(), "head")


@lru_cache
def newest() -> str | None:
    """The newest revision that this code knows."""
    return ScriptDirectory.from_config(alembic_config()).get_current_head()


def is_current(session: Session) -> bool:
    """Whether the database has every revision that this code knows."""
    return MigrationContext.configure(session.connection()).get_current_revision() == newest()


def main() -> None:
    """Bring the configured database to the newest revision, as `python -m service.store.migrate`."""
    settings_or_exit()
    write_privately()
    upgrade()


if __name__ == "__main__":
    main()
