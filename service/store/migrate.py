"""Bring the database to the newest revision."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config

import migrations


def alembic_config() -> Config:
    """Alembic on the installed `migrations` package, wherever the process was started."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    return config


def upgrade() -> None:
    """Apply every revision that the configured database lacks."""
    command.upgrade(alembic_config(), "head")
