"""Preflight of a registered checkpoint."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.jobs import contents, read
from service.jobs.work import claim_preflight
from worker.devices import worker_name
from worker.reading.files import OpenFile, opened
from worker.reading.reader import reader
from worker.science.specs import CandidateSpec, Progress
from worker.tasks.lease import carry_out, waiting
from worker.tasks.specs import candidate_spec


@dataclass(frozen=True)
class Preflighted:
    """The outcome of a preflight."""

    sha256: str
    preflight: contents.Preflight

    def columns(self) -> Mapping[str, Any]:
        """The values to write, by the columns of the checkpoint's row."""
        return {"sha256": self.sha256, "preflight": self.preflight}


def examined(file: OpenFile, spec: CandidateSpec, *, expected: object, progress: Progress) -> dict[str, Any]:
    """What the reading process finds in a checkpoint's file, as `worker.reading.untrusted.examine` gives it."""
    network = {name: value for name, value in vars(spec).items() if name not in ("path", "content")}
    size = os.fstat(file.stream.fileno()).st_size
    arguments = {"name": str(file.path), "size": size, "expected": expected, "spec": network}
    return reader().read("examine", file, arguments, pulse=lambda: progress("loading", 0, 1))


def preflight_checkpoint(checkpoint_id: str) -> bool:
    """Claim, load the weights into their architecture, record what was loaded and what was not.

    False when it could not be claimed.
    """
    work = waiting(lambda session: claim_preflight(session, checkpoint_id, worker=worker_name()))
    if work is None:
        return False

    def compute(progress: Progress) -> Preflighted:
        progress("loading", 0, 1)
        spec = candidate_spec(
            work.uri, work.architecture, work.parameters, work.card, allow_partial=work.allow_partial
        )
        with opened(work.uri) as file:
            found = examined(file, spec, expected=work.card.more.get("sha256"), progress=progress)
        return Preflighted(found["sha256"], read(contents.Preflight, found["preflight"]))

    carry_out(work.claim, compute)
    return True
