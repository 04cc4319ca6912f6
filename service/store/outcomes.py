"""The ledger's rows: outcomes of own finetune runs, imported outcomes and scores; and groups of own outcomes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, delete, exists, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, defer

from service.store import ledger_changes
from service.store.dict_form import Json
from service.store.locking import for_update
from service.store.paging import page
from service.store.tables import ComparisonGroup, Dataset, LedgerRow, Ranking, new_id

OWN = "finetune run"  # the source of outcomes of this service's own runs
_VALUES = ("value", "higher_is_better", "cohort", "modality", "task")  # columns outside the key
_DEFAULTED = ("created_at", "excluded", "exclusions")
_OF_ONE_TRAINING = ("source", "target", "candidate", "comparison_group", "seed", "finetune_run_id")
_CHANGED = (LedgerRow.kind, LedgerRow.target, LedgerRow.candidate, LedgerRow.seed, LedgerRow.finetune_run_id)
_INSERTS: dict[str, Callable[..., Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_new_id = new_id("lg")


@dataclass(frozen=True)
class Imported:
    """How many rows an import added, changed, and left as they were."""

    added: int
    replaced: int
    unchanged: int


def add(session: Session, rows: Sequence[LedgerRow]) -> Imported:
    """Add rows; a row with the `key` of a stored one changes the stored one where its values differ.

    One statement decides row by row, so that simultaneous imports of the same rows add each of them once.
    """
    if not rows:
        return Imported(0, 0, 0)
    for row in rows:
        row.id, row.key = _new_id(), row.key or imported_key(row)
    of_key = {row.key: row for row in rows}
    insert = _INSERTS[session.get_bind().dialect.name](LedgerRow)
    new_values = {name: func.coalesce(insert.excluded[name], getattr(LedgerRow, name)) for name in _VALUES}
    differs = or_(*(getattr(LedgerRow, name).is_distinct_from(new) for name, new in new_values.items()))
    upsert = insert.on_conflict_do_update(index_elements=["key"], set_=new_values, where=differs)
    values = [_values(of_key[key]) for key in sorted(of_key)]  # in one order, so that two imports do not deadlock
    written = session.execute(upsert.returning(LedgerRow.id, *_CHANGED), values).all()
    new = {row.id for row in of_key.values()}
    added = [what for id_, *what in written if id_ in new]
    replaced = [what for id_, *what in written if id_ not in new]
    _note(session, ledger_changes.ADDED, added)
    _note(session, ledger_changes.REPLACED, replaced)
    return Imported(len(added), len(replaced), len(rows) - len(written))


def _note(session: Session, change: str, rows: Sequence[Sequence[Any]]) -> None:
    """Note what changed of the ledger; several metrics of one training are one outcome."""
    ledger_changes.note(session, change, [(kind, target) for kind, target, *_ in {tuple(row) for row in rows}])


def _values(row: LedgerRow) -> Json:
    names = (column.name for column in LedgerRow.__table__.columns)
    return {name: getattr(row, name) for name in names if name not in _DEFAULTED}


def imported_key(row: LedgerRow) -> str:
    """Digest of all that identifies an imported row."""
    what = (row.kind, row.target, row.candidate, row.name, row.seed, row.source, row.method)
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def add_group(session: Session, group: ComparisonGroup) -> None:
    """Add a comparison group, unless it is there already."""
    values = {name: getattr(group, name) for name in ("id", "method", "options", "protocol")}
    insert = _INSERTS[session.get_bind().dialect.name](ComparisonGroup)
    session.execute(insert.on_conflict_do_nothing(index_elements=["id"]), [values])


def groups(session: Session) -> dict[str, ComparisonGroup]:
    """Every comparison group of own runs by its id."""
    return {group.id: group for group in session.scalars(select(ComparisonGroup))}


def has_group(session: Session, group: str) -> bool:
    """Whether some outcome is of this comparison group."""
    of_group = select(LedgerRow.id).where(LedgerRow.comparison_group == group, LedgerRow.kind == "outcome")
    return session.scalar(of_group.where(LedgerRow.excluded.is_(False)).limit(1)) is not None


def of_training(session: Session, row_id: str) -> Sequence[LedgerRow]:
    """The row with this id and, of an own run, those of its other metrics; locked, none where there is none.

    Rows of runs that were removed before rows kept the run's id have none: those of the same target, candidate,
    group and seed are taken for one training.
    """
    row = session.get(LedgerRow, row_id, options=[defer(LedgerRow.cases)])
    if row is None:
        return []
    shared = [getattr(LedgerRow, name).is_not_distinct_from(getattr(row, name)) for name in _OF_ONE_TRAINING]
    together = and_(*shared) if row.source == OWN else LedgerRow.id == row.id
    query = select(LedgerRow).where(together).order_by(LedgerRow.id).options(defer(LedgerRow.cases))
    return session.scalars(for_update(query)).all()


def listed(
    session: Session,
    *,
    after: str | None,
    limit: int,
    kind: str | None = None,
    target: str | None = None,
    candidate: str | None = None,
    name: str | None = None,
    source: str | None = None,
    comparison_group: str | None = None,
    finetune_run_id: str | None = None,
    excluded: bool | None = None,
) -> list[LedgerRow]:
    """One page, newest first; test images' outcomes are not loaded."""
    asked: dict[str, str | bool | None] = {
        "kind": kind,
        "target": target,
        "candidate": candidate,
        "name": name,
        "source": source,
    }
    asked |= {"comparison_group": comparison_group, "finetune_run_id": finetune_run_id, "excluded": excluded}
    query = select(LedgerRow).options(defer(LedgerRow.cases))
    for column, value in asked.items():
        if value is not None:
            query = query.where(getattr(LedgerRow, column) == value)
    return page(session, query, LedgerRow.id, after=after, limit=limit)


def remove(session: Session, *, source: str) -> int:
    """Remove what was imported from one source; the service's own outcomes stay."""
    if source == OWN:
        return 0
    of_source = delete(LedgerRow).where(LedgerRow.source == source)
    removed = session.execute(of_source.returning(*_CHANGED)).all()
    _note(session, ledger_changes.REMOVED, removed)
    return len(removed)


def note_description(session: Session, target: str) -> None:
    """Note that a target has another task, modality or cohort, where it is in the ledger or a ranking's own."""
    in_ledger = exists().where(LedgerRow.target == target)
    ranked = exists().where(Ranking.dataset_id == Dataset.id, Dataset.name == target)
    if session.scalar(select(in_ledger | ranked)):
        ledger_changes.note(session, ledger_changes.REPLACED, [(ledger_changes.DESCRIPTION, target)])


def target_of(session: Session, ranking_id: str) -> str | None:
    """The name of the ranking's dataset if the ledger has outcomes on it: then answers learn from its scores."""
    has_outcomes = exists().where(
        LedgerRow.target == Dataset.name, LedgerRow.kind == "outcome", LedgerRow.excluded.is_(False)
    )
    name = select(Dataset.name).join(Ranking, Ranking.dataset_id == Dataset.id)
    return session.scalar(name.where(Ranking.id == ranking_id, has_outcomes))


def rows(
    session: Session, *, target: str | None = None, source: str | None = None, cases: bool = False
) -> Sequence[LedgerRow]:
    """All rows of a target and a source that count, oldest first; with `cases` the outcomes of test images too."""
    query = select(LedgerRow).where(LedgerRow.excluded.is_(False)).order_by(LedgerRow.id)
    query = query.options(defer(LedgerRow.exclusions))
    if not cases:
        query = query.options(defer(LedgerRow.cases, raiseload=True))
    if target is not None:
        query = query.where(LedgerRow.target == target)
    if source is not None:
        query = query.where(LedgerRow.source == source)
    return session.scalars(query).all()
