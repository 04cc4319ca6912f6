"""Bring the database to the newest revision."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

import migrations
from service.settings import settings, settings_or_exit, write_privately
from service.store.session import make_engine

UPGRADE_LOCK = 0x5A6F6F52616E6B  # "ZooRank": PostgreSQL's advisory lock that an upgrade holds


class NewerDatabaseError(Exception):
    """The database was upgraded by a newer version of the service; says which revisions and what to do."""


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
    """Whether the database has every revision that this code knows, and no other."""
    return _revision(session) == newest()


def newer(session: Session) -> str | None:
    """What to say of a database that a newer version of the service upgraded; None where this code knows it."""
    revision = _revision(session)
    if revision is None or revision in _known():
        return None
    return (
        f"the database has revision {revision!r}, which this version ({version('zoorank')}) does not know, whose "
        f"newest is {newest()!r}; install the newer version of zoorank that upgraded the database, or restore a "
        "copy from before the upgrade"
    )


def refuse_newer() -> None:
    """NewerDatabaseError where the configured database was upgraded by a newer version of the service.

    A database that is away is no reason: it is waited for.
    """
    own = make_engine(settings().database)  # a worker's parent keeps no connection that its children would inherit
    try:
        with Session(own) as session:
            reason = newer(session)
    except OperationalError:
        return
    finally:
        own.dispose()
    if reason:
        raise NewerDatabaseError(reason)


def _revision(session: Session) -> str | None:
    return MigrationContext.configure(session.connection()).get_current_revision()


@lru_cache
def _known() -> frozenset[str]:
    return frozenset(script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions())


def main() -> None:
    """Bring the configured database to the newest revision, as `python -m service.store.migrate`."""
    settings_or_exit()
    write_privately()
    try:
        refuse_newer()
        upgrade()
    except NewerDatabaseError as error:
        raise SystemExit(str(error)) from None
    except OperationalError as error:
        reason = str(error.orig).partition("\n")[0]
        raise SystemExit(f"the database can't be upgraded, because it can't be used: {reason}") from None


if __name__ == "__main__":
    main()
