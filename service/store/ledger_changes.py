"""The revision of the ledger: a number that grows with every change of what answers are learned from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, case, exists, func, or_, select, true, update
from sqlalchemy.orm import Session

from service.store.tables import LedgerChange, LedgerRevision, LedgerRow

ADDED, REPLACED, REMOVED, EXCLUDED, INCLUDED = "added", "replaced", "removed", "excluded", "included"
OUTCOME, SCORE, EVALUATION, DESCRIPTION = "outcome", "score", "evaluation", "description"


@dataclass(frozen=True)
class Growth:
    """How many outcomes, scores, evaluations or descriptions of one target were changed in one way."""

    change: str
    kind: str
    target: str
    count: int


def note(session: Session, change: str, things: Iterable[tuple[str, str]]) -> None:
    """Note what was changed: the kind and the target of every outcome, score, evaluation or description.

    It locks the ledger's revision until the commit, so that numbers grow in the order of commits. Call it when all
    other rows are locked already.
    """
    counts = sorted(Counter(things).items())
    if not counts:
        return
    last = session.execute(
        update(LedgerRevision)
        .values(number=LedgerRevision.number + len(counts))
        .returning(LedgerRevision.number)
        .execution_options(synchronize_session=False)
    ).scalar_one()
    first = last - len(counts) + 1
    session.add_all(
        LedgerChange(number=number, change=change, kind=kind, target=target, count=count)
        for number, ((kind, target), count) in enumerate(counts, first)
    )
    session.flush()


def current(session: Session) -> int:
    """The number of the last change; 0 before the first one."""
    return session.scalars(select(LedgerRevision.number)).one()


def between(
    session: Session, before: int, until: int | None = None, *, for_target: str | None = None
) -> Sequence[Growth]:
    """What changed after the revision `before`, and not after `until`, by target.

    With `for_target`, what answers for that target don't learn from is left out: scores and evaluations on it, and
    descriptions of others that the ledger has nothing on.
    """
    count = func.sum(LedgerChange.count)
    kept = [LedgerChange.number > before]
    kept += [LedgerChange.number <= until] if until is not None else []
    kept += [_is_learned(for_target)] if for_target is not None else []
    columns = (LedgerChange.change, LedgerChange.kind, LedgerChange.target)
    rows = session.execute(select(*columns, count).where(*kept).group_by(*columns).order_by(*columns))
    return [Growth(change, kind, target, int(total)) for change, kind, target, total in rows]


def _is_learned(own: str) -> ColumnElement[bool]:
    """Whether answers for the target `own` learn from what a change is about."""
    of_another = LedgerChange.target != own
    described = or_(~of_another, exists().where(LedgerRow.target == LedgerChange.target))
    return case(
        (LedgerChange.kind == OUTCOME, true()), (LedgerChange.kind == DESCRIPTION, described), else_=of_another
    )
