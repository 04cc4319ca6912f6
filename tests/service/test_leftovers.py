"""Files of networks that no row names are removed; a delivered network, and one that is being written, stay."""

from __future__ import annotations

import os
import time

from service.jobs import presence
from service.jobs.leftovers import remove_leftovers
from service.settings import Settings
from service.store.session import transaction
from service.store.tables import FinetuneRun, WorkState
from tests.conformance.rows import queued
from tests.service.conftest import finish_run
from tests.service.test_upgrade import RESULT


def _write(settings: Settings, *names: str, age: float = 3600) -> None:
    settings.networks_dir.mkdir(exist_ok=True)
    for name in names:
        file = settings.networks_dir / name
        file.touch()
        os.utime(file, (time.time() - age, time.time() - age))


def _left(settings: Settings) -> set[str]:
    return {file.name for file in settings.networks_dir.iterdir()}


def _run(**values: object) -> FinetuneRun:
    with transaction() as session:
        run: FinetuneRun = queued(session, FinetuneRun)
        for name, value in values.items():
            setattr(run, name, value)
        return run


def test_what_lost_attempts_wrote_is_removed_by_the_sweep(configured: Settings) -> None:
    done, running, failed = (
        _run(),
        _run(state=WorkState.RUNNING, attempts=2),
        _run(state=WorkState.FAILED, attempts=1),
    )
    delivered = f"{done.id}-1.safetensors"
    finish_run(done, {**RESULT, "network_file": delivered})
    kept = {delivered, f"{running.id}-2.safetensors.part", "ft_unknown-1.safetensors", "somebody-elses.txt"}
    lost = {
        f"{done.id}-1.safetensors.part",
        f"{done.id}-2.safetensors",
        f"{running.id}-1.safetensors",
        f"{running.id}-1.safetensors.part",
        f"{failed.id}-1.safetensors",
    }
    _write(configured, *kept, *lost)
    assert presence.sweep_when_due()
    assert _left(configured) == kept


def test_a_file_that_may_still_be_written_is_left(configured: Settings) -> None:
    run = _run(state=WorkState.FAILED, attempts=1)
    _write(configured, f"{run.id}-1.safetensors.part", age=configured.lease_seconds / 2)
    with transaction() as session:
        assert remove_leftovers(session) == []
