"""Inspect a registered dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.jobs import contents, transaction
from service.jobs.work import claim_inspection
from worker.devices import worker_name
from worker.science.specs import Progress
from worker.tasks.contents import inspection_of
from worker.tasks.lease import carry_out
from worker.tasks.specs import read_target


@dataclass(frozen=True)
class Inspected:
    """The outcome of an inspection."""

    fingerprint: str
    inspection: contents.Inspection

    def columns(self) -> Mapping[str, Any]:
        """The values to write, by the columns of the dataset's row."""
        return {"fingerprint": self.fingerprint, "inspection": self.inspection}


def inspect_dataset(dataset_id: str) -> None:
    """Claim, read the whole dataset, record what it holds."""
    with transaction() as session:
        work = claim_inspection(session, dataset_id, worker=worker_name())
    if work is None:
        return

    def compute(progress: Progress) -> Inspected:
        progress("reading", 0, 1)
        target = read_target(work.uri, task=work.task, spatial_dims=work.spatial_dims)
        return Inspected(target.fingerprint, inspection_of(target))

    carry_out(work.claim, compute)
