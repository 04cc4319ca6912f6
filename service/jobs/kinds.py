"""The kinds of job: which table holds the rows, and what follows the end of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from service.jobs import following
from service.store.session import Session
from service.store.tables import Checkpoint, Dataset, Evaluation, FinetuneRun, Worked


@dataclass(frozen=True)
class Kind:
    """One kind of job. `follow` is called with the row's id in the transaction that ends the row."""

    table: type[Worked]
    follow: Callable[[Session, str], None]


KINDS = (
    Kind(Dataset, following.after_inspection),
    Kind(Checkpoint, following.after_preflight),
    Kind(Evaluation, following.after_evaluation),
    Kind(FinetuneRun, following.after_finetune_run),
)
_BY_TABLE = {kind.table: kind for kind in KINDS}


def kind_of(table: type[Worked]) -> Kind:
    """The kind of job whose rows are in this table."""
    return _BY_TABLE[table]
