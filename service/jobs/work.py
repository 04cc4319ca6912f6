"""What a worker gets when it claims a job: frozen copies of the rows, and a claim to write with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.jobs import following, widths
from service.jobs.claims import Claim, claim, fail_queued
from service.store.contents import Card, FinetuneProtocol, Protocol
from service.store.session import Session
from service.store.tables import (
    OPEN_STATES,
    Checkpoint,
    Dataset,
    Evaluation,
    FinetuneRun,
    Ranking,
    Values,
    Worked,
    WorkState,
)

# Claims of one dataset go on side by side, and nobody changes it between the look at it and the claim.
_SHARED = {"read": True}


@dataclass(frozen=True)
class Inspection:
    """A claimed inspection of a dataset."""

    claim: Claim
    uri: str
    task: str
    spatial_dims: int


@dataclass(frozen=True)
class Preflight:
    """A claimed preflight of a checkpoint."""

    claim: Claim
    uri: str
    architecture: str
    parameters: Values
    card: Card
    allow_partial: bool


@dataclass(frozen=True)
class TargetDataset:
    """A dataset whose inspection is done."""

    uri: str
    task: str
    spatial_dims: int
    fingerprint: str
    sha256: str | None = None  # of the file that was inspected; None for an inspection that did not note it


@dataclass(frozen=True)
class CandidateCheckpoint:
    """A checkpoint whose preflight is done."""

    name: str
    uri: str
    architecture: str
    parameters: Values
    card: Card
    sha256: str
    allow_partial: bool = False


@dataclass(frozen=True)
class EvaluationWork:
    """A claimed evaluation."""

    claim: Claim
    dataset: TargetDataset
    checkpoint: CandidateCheckpoint
    measures: tuple[str, ...]
    protocol: Protocol


@dataclass(frozen=True)
class FinetuneWork:
    """A claimed finetune run."""

    claim: Claim
    dataset: TargetDataset
    checkpoint: CandidateCheckpoint
    method: str
    options: Values
    protocol: FinetuneProtocol


def claim_inspection(session: Session, dataset_id: str, *, worker: str) -> Inspection | None:
    """Claim the inspection of a dataset; None when another worker has it or it has ended."""
    claimed = claim(session, Dataset, dataset_id, worker=worker)
    if claimed is None:
        return None
    row = session.get_one(Dataset, dataset_id)
    return Inspection(claimed, row.uri, row.task, row.spatial_dims)


def claim_preflight(session: Session, checkpoint_id: str, *, worker: str) -> Preflight | None:
    """Claim the preflight of a checkpoint; None when another worker has it or it has ended."""
    claimed = claim(session, Checkpoint, checkpoint_id, worker=worker)
    if claimed is None:
        return None
    row = session.get_one(Checkpoint, checkpoint_id)
    return Preflight(claimed, row.uri, row.architecture, row.parameters, row.card, row.allow_partial)


def claim_evaluation(session: Session, evaluation_id: str, *, worker: str) -> EvaluationWork | None:
    """Claim an evaluation whose dataset and checkpoint are ready; None when it can't be claimed now."""
    row = session.get(Evaluation, evaluation_id)
    if row is None or row.state not in OPEN_STATES:
        return None
    ranking = session.get_one(Ranking, row.ranking_id)
    dataset = session.get_one(Dataset, ranking.dataset_id, with_for_update=_SHARED)
    checkpoint = session.get_one(Checkpoint, row.checkpoint_id, with_for_update=_SHARED)
    claimed = _claim_when_ready(session, row, (dataset, checkpoint), worker=worker, ranking=ranking)
    if claimed is None:
        if row.state == WorkState.FAILED:
            following.settle(session, ranking.id)
        return None
    widths.settle(session, ranking)
    measures = tuple(ranking.measures)
    return EvaluationWork(claimed, _target(dataset), _candidate(checkpoint), measures, ranking.protocol)


def claim_finetune_run(session: Session, run_id: str, *, worker: str) -> FinetuneWork | None:
    """Claim a finetune run whose dataset and checkpoint are ready; None when it can't be claimed now."""
    row = session.get(FinetuneRun, run_id)
    if row is None or row.state not in OPEN_STATES:
        return None
    dataset = session.get_one(Dataset, row.dataset_id, with_for_update=_SHARED)
    checkpoint = session.get_one(Checkpoint, row.checkpoint_id, with_for_update=_SHARED)
    claimed = _claim_when_ready(session, row, (dataset, checkpoint), worker=worker)
    if claimed is None:
        return None
    return FinetuneWork(claimed, _target(dataset), _candidate(checkpoint), row.method, row.options, row.protocol)


def _target(row: Dataset) -> TargetDataset:
    sha256 = row.inspection.sha256 if row.inspection else None
    return TargetDataset(row.uri, row.task, row.spatial_dims, row.fingerprint or "", sha256)


def _candidate(row: Checkpoint) -> CandidateCheckpoint:
    return CandidateCheckpoint(
        row.name, row.uri, row.architecture, row.parameters, row.card, row.sha256 or "", row.allow_partial
    )


def _claim_when_ready(
    session: Session, row: Worked, needed: Sequence[Worked], *, worker: str, ranking: Ranking | None = None
) -> Claim | None:
    """Claim `row` once all it needs is done; when a needed row failed, `row` fails with that reason.

    An evaluation waits besides until the width that the candidates of its ranking are compared at can be known.
    """
    failed = next((need for need in needed if need.state == WorkState.FAILED), None)
    if failed is not None:
        name = getattr(failed, "name", failed.id)  # rows that people gave no name are known by their id
        fail_queued(session, row, reason=f"{type(failed).__name__.lower()} {name}: {failed.reason}")
        return None
    if any(need.state != WorkState.DONE for need in needed):
        return None
    if ranking is not None and widths.are_open(session, ranking):
        return None
    return claim(session, type(row), row.id, worker=worker)
