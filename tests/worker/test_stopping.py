"""A worker that is told to stop gives its work back, and that is not held against the work."""

from __future__ import annotations

import os
from pathlib import Path

import billiard
import pytest

from service.jobs import claims
from service.settings import settings
from service.store.session import transaction
from service.store.tables import Dataset
from worker import stopping
from worker.science.specs import Progress
from worker.tasks import lease


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
