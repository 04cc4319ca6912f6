"""How a job ends when its worker is asked to stop, and when its result can not be stored."""

from __future__ import annotations

import math
import os
from pathlib import Path

import billiard
import pytest

from service.jobs import claims, contents
from service.settings import settings
from service.store.session import transaction
from service.store.tables import Dataset
from worker import stopping
from worker.science.specs import Progress
from worker.tasks import lease
from worker.tasks.datasets import Inspected


@pytest.fixture
def told_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "_stop", billiard.Event())
    stopping.request()


def _claim(dataset_id: str) -> claims.Claim | None:
    with transaction() as session:
        return claims.claim(session, Dataset, dataset_id, worker="w")


def test_the_work_is_queued_again_as_often_as_it_takes(configured: Path, told_to_stop: None) -> None:
    with transaction() as session:
        row = Dataset(name="d", uri="/d.npz", task="segmentation", spatial_dims=2, inspection=None)
        session.add(row)
    for _ in range(settings().attempts + 2):
        held = _claim(row.id)
        assert held is not None

        def compute(progress: Progress) -> dict[str, object]:
            progress("reading", 0, 1)
            raise AssertionError("went on")

        lease.carry_out(held, compute)
        with transaction() as session:
            left = session.get_one(Dataset, row.id)
            assert (left.state, left.reason, left.lease_until) == ("queued", None, None)


def test_a_child_whose_parent_is_gone_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "_stop", billiard.Event())
    assert not stopping.requested()
    monkeypatch.setattr(stopping, "_parent", os.getpid() + 1)
    assert stopping.requested()


def test_a_result_that_could_not_be_read_again_fails_the_job(configured: Path) -> None:
    with transaction() as session:
        row = Dataset(name="d", uri="/d.npz", task="segmentation", spatial_dims=2, inspection=None)
        session.add(row)
    claim = _claim(row.id)
    assert claim is not None
    inspection = contents.Inspection(
        images=1,
        shape=(8, 8),
        channels=1,
        dtype="float64",
        value_range=(0.0, math.inf),
        splits={"train": 1},
        groups=1,
    )
    lease.carry_out(claim, lambda _progress: Inspected("f", inspection))
    with transaction() as session:
        left = session.get_one(Dataset, row.id)
        assert (left.state, left.inspection) == ("failed", None)
        assert left.reason is not None
        assert left.reason.startswith("internal error (ValidationError)")
