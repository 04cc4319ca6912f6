"""Removing what was requested or registered; what was learned of it stays in the ledger under its name.

The caller has locked the row and made sure that nothing needs it. A worker that still has it loses its lease.
"""

from __future__ import annotations

import logging
from pathlib import Path

from sqlalchemy import delete, select, update

from service.settings import settings
from service.store import ledger_changes, outcomes
from service.store.ledger_changes import EVALUATION, REMOVED
from service.store.session import Session, after_commit
from service.store.tables import (
    Checkpoint,
    Dataset,
    Evaluation,
    FinetuneRun,
    Ranking,
    Score,
    WorkState,
)

_log = logging.getLogger(__name__)


def remove(session: Session, row: Dataset | Checkpoint) -> None:
    """Remove a dataset or a checkpoint; its file stays."""
    session.delete(row)


def remove_ranking(session: Session, ranking: Ranking) -> None:
    """Remove a ranking with its evaluations and their scores; its finetune runs stay and belong to no ranking."""
    target = outcomes.target_of(session, ranking.id)
    evaluations = select(Evaluation.id).where(Evaluation.ranking_id == ranking.id)
    done = session.scalars(evaluations.where(Evaluation.state == WorkState.DONE)).all()
    session.execute(delete(Score).where(Score.evaluation_id.in_(evaluations)))
    session.execute(delete(Evaluation).where(Evaluation.ranking_id == ranking.id))
    session.execute(update(FinetuneRun).where(FinetuneRun.ranking_id == ranking.id).values(ranking_id=None))
    session.delete(ranking)
    session.flush()
    ledger_changes.note(session, REMOVED, [(EVALUATION, target) for _ in done] if target else [])


def remove_run(session: Session, run: FinetuneRun) -> None:
    """Remove a finetune run, and its network's file after the commit; its outcomes keep its id."""
    session.delete(run)
    if run.result is not None and run.result.network_file is not None:
        file = settings().networks_dir / Path(run.result.network_file).name
        after_commit(session, f"network of {run.id}", lambda: _delete(file))


def _delete(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("the network %s could not be deleted: %s", file.name, error.strerror)
