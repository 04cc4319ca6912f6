"""Code and database of different versions, two upgrades at once, and a database that is away."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from alembic import command
from sqlalchemy import text

from service.settings import Settings
from service.store import migrate
from service.store.session import engine, reading
from tests.conftest import TestClient


def _of_a_newer_version() -> str:
    with engine().begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'of_next_year'"))
    return f"'of_next_year', which this version (0.1.0) does not know, whose newest is {migrate.newest()!r}"


def test_older_code_refuses_a_newer_database(sqlite_client: TestClient) -> None:
    told = _of_a_newer_version()
    for module in ("service.store.migrate", "service.api", "worker.main"):
        run = subprocess.run([sys.executable, "-m", module], capture_output=True, text=True, timeout=60)
        assert (run.returncode, run.stdout) == (1, "")
        assert told in run.stderr
        assert "install the newer version" in run.stderr
        assert "Traceback" not in run.stderr
    answer = sqlite_client.get("/readyz")
    assert answer.status_code == 503
    assert told in answer.json()["detail"]
    assert sqlite_client.get("/healthz").status_code == 200


def test_two_upgrades_at_once_are_done_one_after_the_other(
    configure: Callable[..., Settings], postgres_url: str, tmp_path: Path
) -> None:
    configure(database_url=postgres_url)
    command.downgrade(migrate.alembic_config(), "base")
    waiting = text(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = "
        "(SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    with engine().connect() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": migrate.UPGRADE_LOCK})
        upgrades = [subprocess.Popen([sys.executable, "-m", "service.store.migrate"]) for _ in range(2)]
        for _ in range(600):
            if connection.scalar(waiting) == 2:
                break
            time.sleep(0.05)
        assert connection.scalar(waiting) == 2
    assert [upgrade.wait(60) for upgrade in upgrades] == [0, 0]
    with reading() as session:
        assert migrate.is_current(session)


def test_a_database_that_is_away_is_told_in_a_sentence(configure: Callable[..., Settings], tmp_path: Path) -> None:
    configure(database_url=f"postgresql://nobody@/none?host={tmp_path}")
    run = subprocess.run([sys.executable, "-m", "service.store.migrate"], capture_output=True, text=True)
    assert run.returncode == 1
    assert "the database can't be upgraded, because it can't be used: " in run.stderr
    assert "Traceback" not in run.stderr
