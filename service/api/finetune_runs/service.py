"""Requesting, reading, listing, describing and canceling finetune runs."""

from __future__ import annotations

from pathlib import Path

from service.api import references as requested
from service.api.capabilities.options import read_options
from service.api.capabilities.protocols import protocol_of
from service.api.capabilities.published import published, usual_method
from service.api.errors import ConflictError, InvalidError, NotFoundError
from service.api.finetune_runs.schemas import FinetuneChange, FinetuneOut, FinetuneRequest
from service.api.fitting import check_fit
from service.api.names import NamedOut, SourceOut
from service.api.paging import Page, page_of
from service.jobs import removing, requests, retrying
from service.ledger.wording import listed as named
from service.settings import settings
from service.store import capabilities, checkpoints, datasets, dependents, finetune_runs
from service.store.published import ARCHITECTURES, FINETUNE_PROTOCOLS, METHODS
from service.store.session import Session
from service.store.tables import OPEN_STATES, FinetuneRun, WorkState


def request_run(session: Session, request: FinetuneRequest) -> FinetuneOut:
    """Insert a queued run."""
    dataset = requested.target(session, request.dataset)
    checkpoint = requested.usable_candidate(session, request.checkpoint)
    check_fit(dataset, checkpoint, capabilities.of_kind(session, ARCHITECTURES), field="checkpoint")
    method = request.method or usual_method(session)
    methods = published(session, METHODS)
    if method not in methods:
        raise InvalidError(
            f"there is no method {method!r}",
            field="method",
            remedy=f"use one of: {', '.join(methods)}",
        )
    run = FinetuneRun(
        dataset_id=dataset.id,
        checkpoint_id=checkpoint.id,
        method=method,
        options=read_options(request.options, methods[method].options, field="options"),
        protocol=protocol_of(
            session, FINETUNE_PROTOCOLS, request.protocol, dims=dataset.spatial_dims, field="protocol"
        ),
        record_outcome=request.record_outcome,
        note=request.note,
    )
    requests.add(session, run)
    return _shown(session, run)


def _shown(session: Session, run: FinetuneRun) -> FinetuneOut:
    columns = {field: getattr(run, field) for field in FinetuneOut.model_fields if hasattr(run, field)}
    return FinetuneOut(
        **columns,
        dataset=NamedOut.model_validate(datasets.find(session, run.dataset_id)),
        checkpoint=SourceOut.model_validate(checkpoints.find(session, run.checkpoint_id)),
        ranking=run.ranking_id,
        network=f"/v1/finetune-runs/{run.id}/network" if run.state == WorkState.DONE else None,
    )


def _found(session: Session, run_id: str, *, lock: bool = False) -> FinetuneRun:
    run = finetune_runs.find(session, run_id, lock=lock)
    if run is None:
        raise NotFoundError(
            f"there is no finetune run {run_id!r}", field="run", remedy="see GET /v1/finetune-runs"
        )
    return run


def find(session: Session, run_id: str) -> FinetuneOut:
    """The run with this id."""
    return _shown(session, _found(session, run_id))


def listed(
    session: Session,
    *,
    after: str | None,
    limit: int,
    ranking: str | None = None,
    state: str | None = None,
) -> Page[FinetuneOut]:
    """One page of runs."""
    rows = finetune_runs.listed(session, after=after, limit=limit + 1, ranking_id=ranking, state=state)
    return page_of(rows, limit, lambda run: _shown(session, run))


def network_file(session: Session, run_id: str) -> Path:
    """The file of a finished run's network."""
    run = _found(session, run_id)
    if run.state != WorkState.DONE or run.result is None or run.result.network_file is None:
        raise ConflictError(
            f"run {run_id} is {run.state}", field="run", remedy="fetch the network when the run is done"
        )
    path = settings().networks_dir / Path(run.result.network_file).name
    if not path.is_file():
        raise NotFoundError(
            f"the network file of run {run_id} is not there",
            field="run",
            remedy="share ZOORANK_DATA_DIR between the service and its workers, or run it again",
        )
    return path


def describe(session: Session, run_id: str, request: FinetuneChange) -> FinetuneOut:
    """Give a run this note."""
    run = _found(session, run_id)
    run.note = request.note
    return _shown(session, run)


def cancel(session: Session, run_id: str) -> FinetuneOut:
    """Cancel a run that is not over yet."""
    run = _found(session, run_id)
    if not requests.cancel_run(session, run):
        raise ConflictError(
            f"run {run_id} is {run.state}", field="run", remedy="nothing is left to cancel; read it"
        )
    return _shown(session, run)


def remove(session: Session, run_id: str) -> None:
    """Remove a run that is over, and its network."""
    run = _found(session, run_id, lock=True)
    if run.state in OPEN_STATES:
        raise ConflictError(
            f"run {run_id} is {run.state}",
            field="run",
            remedy=f"cancel it first: POST /v1/finetune-runs/{run_id}/cancel",
        )
    _refuse_used_network(session, run)
    removing.remove_run(session, run)


def _refuse_used_network(session: Session, run: FinetuneRun) -> None:
    file = run.result.network_file if run.result else None
    users = dependents.checkpoints_at(session, Path(file).name) if file else []
    if users:
        raise ConflictError(
            f"the network of run {run.id} is registered as checkpoint {named(users)}",
            field="run",
            remedy="delete these checkpoints first, or keep the run",
        )


def retry(session: Session, run_id: str) -> FinetuneOut:
    """Train again what failed or was canceled."""
    run = _found(session, run_id, lock=True)
    if run.state not in retrying.RETRIED_STATES:
        raise ConflictError(
            f"run {run_id} is {run.state}", field="run", remedy="only a failed or canceled run can be retried"
        )
    requested.target(session, run.dataset_id)
    requested.usable_candidate(session, run.checkpoint_id)
    retrying.queue_again(session, run, why="it was retried")
    return _shown(session, run)
