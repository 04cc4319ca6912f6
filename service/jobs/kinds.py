"""The kinds of job: which table holds the rows, which task works on one, and what follows its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from service import queue
from service.jobs import following
from service.store.session import Session
from service.store.tables import Checkpoint, Dataset, Evaluation, FinetuneRun, Worked


@dataclass(frozen=True)
class Kind:
    """One kind of job. `follow` is called in the transaction that ends a row, with the row's id."""

    table: type[Worked]
    task: str
    follow: Callable[[Session, str], None]


KINDS = (
    Kind(Dataset, queue.INSPECT_DATASET, following.after_inspection),
    Kind(Checkpoint, queue.PREFLIGHT_CHECKPOINT, following.after_preflight),
    Kind(Evaluation, queue.SCORE_CANDIDATE, following.after_evaluation),
    Kind(FinetuneRun, queue.RUN_FINETUNE, following.after_finetune_run),
)
_BY_TABLE = {kind.table: kind for kind in KINDS}


def kind_of(table: type[Worked]) -> Kind:
    """The kind of job whose rows are in this table."""
    return _BY_TABLE[table]
