"""What needs a dataset, a checkpoint, a ranking or a finetune run."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.store.outcomes import OWN
from service.store.tables import (
    Checkpoint,
    Dataset,
    Evaluation,
    FinetuneRun,
    LedgerRow,
    Ranking,
    Score,
    WorkState,
)


def users_of(
    session: Session, row: Dataset | Checkpoint, *, states: Collection[WorkState] = tuple(WorkState)
) -> list[str]:
    """Ids of the rankings and finetune runs that use this row, by work in these states; rankings first."""
    if isinstance(row, Dataset):
        evaluated, trained = Ranking.dataset_id == row.id, FinetuneRun.dataset_id == row.id
    else:
        evaluated, trained = Evaluation.checkpoint_id == row.id, FinetuneRun.checkpoint_id == row.id
    rankings = select(Ranking.id).join(Evaluation).where(evaluated, Evaluation.state.in_(states)).distinct()
    runs = select(FinetuneRun.id).where(trained, FinetuneRun.state.in_(states))
    return [
        *session.scalars(rankings.order_by(Ranking.id)),
        *session.scalars(runs.order_by(FinetuneRun.id)),
    ]


def checkpoints_at(session: Session, file_name: str) -> list[str]:
    """Names of the checkpoints whose URI ends with this file's name."""
    ends = Checkpoint.uri.endswith(f"/{file_name}", autoescape=True)
    return list(session.scalars(select(Checkpoint.name).where(ends).order_by(Checkpoint.name)))


def own_outcomes_of(session: Session, table: type[Dataset | Checkpoint], name: str) -> list[str]:
    """Ids of the outcomes of own runs that count for the dataset or checkpoint of this name, registered or not."""
    about = LedgerRow.target if table is Dataset else LedgerRow.candidate
    counting = select(LedgerRow.id).where(about == name, LedgerRow.source == OWN, LedgerRow.excluded.is_(False))
    return list(session.scalars(counting.order_by(LedgerRow.id)))


def evidence_of(session: Session, ranking: Ranking) -> int:
    """Number of scores of this ranking that agreement counts: those on a target with outcomes that count."""
    target = select(Dataset.name).where(Dataset.id == ranking.dataset_id).scalar_subquery()
    counting = LedgerRow.kind == "outcome", LedgerRow.target == target, LedgerRow.excluded.is_(False)
    if session.scalar(select(LedgerRow.id).where(*counting).limit(1)) is None:
        return 0
    scored = (
        select(Score.measure)
        .join(Evaluation)
        .where(Evaluation.ranking_id == ranking.id, Evaluation.state == WorkState.DONE, Score.value.is_not(None))
    )
    return len(session.scalars(scored).all())
