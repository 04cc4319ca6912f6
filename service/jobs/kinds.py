"""The kinds of job: every table of rows that workers work on, and what follows the end of such a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from service.jobs import following
from service.store.session import Session
from service.store.tables import Checkpoint, Dataset, Evaluation, FinetuneRun, Worked

Follow = Callable[[Session, str], None]


@dataclass(frozen=True)
class Kind:
    """One kind of job. `follow` is called with the row's id in the transaction that ends the row."""

    table: type[Worked]
    follow: Follow


_FOLLOWS: Mapping[type[Worked], Follow] = {
    Dataset: following.after_inspection,
    Checkpoint: following.after_preflight,
    Evaluation: following.after_evaluation,
    FinetuneRun: following.after_finetune_run,
}
# Every direct subclass of Worked is a table: a kind of job that nobody lists here is swept all the same.
KINDS = tuple(Kind(table, _FOLLOWS.get(table, following.nothing)) for table in Worked.__subclasses__())
_BY_TABLE = {kind.table: kind for kind in KINDS}


def kind_of(table: type[Worked]) -> Kind:
    """The kind of job whose rows are in this table."""
    return _BY_TABLE[table]
