"""Inspect a registered dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from service.jobs import contents, read
from service.jobs.work import claim_inspection
from worker.devices import worker_name
from worker.reading.files import opened
from worker.science.specs import Progress
from worker.tasks.lease import carry_out, waiting
from worker.tasks.targets import inspected


@dataclass(frozen=True)
class Inspected:
    """The outcome of an inspection."""

    fingerprint: str
    inspection: contents.Inspection

    def columns(self) -> Mapping[str, Any]:
        """The values to write, by the columns of the dataset's row."""
        return {"fingerprint": self.fingerprint, "inspection": self.inspection}


def inspect_dataset(dataset_id: str) -> bool:
    """Claim, read the whole dataset, record what it holds; False when it could not be claimed."""
    work = waiting(lambda session: claim_inspection(session, dataset_id, worker=worker_name()))
    if work is None:
        return False

    def compute(progress: Progress) -> Inspected:
        progress("reading", 0, 1)
        with opened(work.uri) as file:
            found = inspected(file, task=work.task, spatial_dims=work.spatial_dims, progress=progress)
        inspection = replace(read(contents.Inspection, found["inspection"]), sha256=found["sha256"])
        return Inspected(found["fingerprint"], inspection)

    carry_out(work.claim, compute)
    return True
