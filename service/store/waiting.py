"""Work that waits for a dataset's inspection or a checkpoint's preflight."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.store.claims import TASKS, Claim, claim
from service.store.session import ring
from service.store.tables import Checkpoint, Dataset, Evaluation, FinetuneRun, Json, Ranking


@dataclass(frozen=True)
class TargetDataset:
    """A ready dataset, as the worker sees it."""

    uri: str
    task: str
    spatial_dims: int
    fingerprint: str


@dataclass(frozen=True)
class CandidateCheckpoint:
    """A ready checkpoint, as the worker sees it."""

    name: str
    uri: str
    architecture: str
    parameters: Json
    card: Json
    sha256: str


def target_of(row: Dataset) -> TargetDataset:
    """The frozen copy of a ready dataset's row."""
    return TargetDataset(row.uri, row.task, row.spatial_dims, row.fingerprint or "")


def candidate_of(row: Checkpoint) -> CandidateCheckpoint:
    """The frozen copy of a ready checkpoint's row."""
    return CandidateCheckpoint(row.name, row.uri, row.architecture, row.parameters, row.card, row.sha256 or "")


def ring_waiting_for(session: Session, *, dataset_id: str | None = None, checkpoint_id: str | None = None) -> None:
    """Ring for every queued evaluation and finetune run that uses the dataset or the checkpoint."""
    evaluations = select(Evaluation.id).join(Ranking).where(Evaluation.state == "queued")
    runs = select(FinetuneRun.id).where(FinetuneRun.state == "queued")
    if dataset_id:
        evaluations = evaluations.where(Ranking.dataset_id == dataset_id)
        runs = runs.where(FinetuneRun.dataset_id == dataset_id)
    if checkpoint_id:
        evaluations = evaluations.where(Evaluation.checkpoint_id == checkpoint_id)
        runs = runs.where(FinetuneRun.checkpoint_id == checkpoint_id)
    for kind, ids in ((Evaluation, evaluations), (FinetuneRun, runs)):
        for row_id in session.scalars(ids):
            ring(session, TASKS[kind], row_id)


def claim_when_ready(
    session: Session, row: Evaluation | FinetuneRun, needs: tuple[Dataset, Checkpoint], *, worker: str
) -> Claim | None:
    """Claim `row` once all it needs is done; when one of them failed, `row` fails with that reason."""
    failed = [need for need in needs if need.state == "failed"]
    if failed and row.state == "queued":
        need = failed[0]
        row.state, row.finished_at = "failed", time.time()
        row.reason = f"{type(need).__name__.lower()} {need.name}: {need.reason}"
        return None
    if any(need.state != "done" for need in needs):
        return None
    return claim(session, type(row), row.id, worker=worker)
