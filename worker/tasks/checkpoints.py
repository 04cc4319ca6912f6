"""Preflight of a registered checkpoint."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models_zoo.loading.load import sha256
from service.jobs import contents, transaction
from service.jobs.work import claim_preflight
from worker.devices import worker_name
from worker.science.candidate import load_source
from worker.science.errors import ScienceError
from worker.science.specs import Progress
from worker.tasks.contents import preflight_of
from worker.tasks.lease import carry_out
from worker.tasks.specs import candidate_spec


@dataclass(frozen=True)
class Preflighted:
    """The outcome of a preflight."""

    sha256: str
    preflight: contents.Preflight

    def columns(self) -> Mapping[str, Any]:
        """The values to write, by the columns of the checkpoint's row."""
        return {"sha256": self.sha256, "preflight": self.preflight}


def preflight_checkpoint(checkpoint_id: str) -> None:
    """Claim, load the weights into their architecture, record what was loaded and what was not."""
    with transaction() as session:
        work = claim_preflight(session, checkpoint_id, worker=worker_name())
    if work is None:
        return

    def compute(progress: Progress) -> Preflighted:
        progress("loading", 0, 1)
        spec = candidate_spec(
            work.uri, work.architecture, work.parameters, work.card, allow_partial=work.allow_partial
        )
        if not os.path.isfile(spec.path):  # false, where Path.is_file may raise
            raise ScienceError(f"uri: there is no file {work.uri!r}; check the path, as the worker sees it")
        digest = sha256(spec.path)
        expected = work.card.more.get("sha256")
        if expected and expected != digest:
            raise ScienceError(f"uri: the file's sha256 is {digest}, its card says {expected}; get the right file")
        _, report = load_source(spec)
        return Preflighted(digest, preflight_of(report))

    carry_out(work.claim, compute)
