"""Inspect a registered dataset."""

from __future__ import annotations

from typing import Any

from service.jobs import transaction
from service.jobs.work import claim_inspection
from worker.devices import worker_name
from worker.science.specs import Progress
from worker.tasks.contents import inspection_of
from worker.tasks.lease import carry_out
from worker.tasks.specs import read_target


def inspect_dataset(dataset_id: str) -> None:
    """Claim, read the whole dataset, record what it holds."""
    with transaction() as session:
        work = claim_inspection(session, dataset_id, worker=worker_name())
    if work is None:
        return

    def compute(progress: Progress) -> dict[str, Any]:
        progress("reading", 0, 1)
        target = read_target(work.uri, task=work.task, spatial_dims=work.spatial_dims)
        return {"fingerprint": target.fingerprint, "inspection": inspection_of(target)}

    carry_out(work.claim, compute)
