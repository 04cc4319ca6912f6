"""The ledger's rows: outcomes of own finetune runs, and imported outcomes and scores."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, defer

from service.store.pages import page
from service.store.tables import Checkpoint, Dataset, FinetuneRun, Json, LedgerRow, new_id

OWN = "finetune run"  # the source of outcomes of this service's own runs
LOWER_IS_BETTER = ("loss", "mean_absolute_error")  # and what begins with these
_SAID = ("value", "higher_is_better", "cohort", "modality", "task")  # by a row, of what its key stands for
_INSERTS: dict[str, Callable[..., Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_new_id = new_id("lg")


@dataclass(frozen=True)
class Imported:
    """How many rows an import added, made say something else, and left as they were."""

    added: int
    replaced: int
    unchanged: int


def add(session: Session, rows: Sequence[LedgerRow]) -> Imported:
    """Add rows, whose `key` says what they are of; a row with that key stays, and takes over what is said anew.

    One statement decides row by row, so that simultaneous imports of the same rows add each of them once.
    """
    if not rows:
        return Imported(0, 0, 0)
    for row in rows:
        row.id, row.key = _new_id(), row.key or imported_key(row)
    of_key = {row.key: row for row in rows}
    insert = _INSERTS[session.get_bind().dialect.name](LedgerRow)
    said = {name: func.coalesce(insert.excluded[name], getattr(LedgerRow, name)) for name in _SAID}
    anew = or_(*(getattr(LedgerRow, name).is_distinct_from(new) for name, new in said.items()))
    upsert = insert.on_conflict_do_update(index_elements=["key"], set_=said, where=anew)
    values = [_values(of_key[key]) for key in sorted(of_key)]  # all in one order: no two imports wait crosswise
    written = set(session.scalars(upsert.returning(LedgerRow.id), values))
    added = len(written & {row.id for row in of_key.values()})
    return Imported(added, len(written) - added, len(rows) - len(written))


def _values(row: LedgerRow) -> Json:
    names = (column.name for column in LedgerRow.__table__.columns)
    return {name: getattr(row, name) for name in names if name != "created_at"}


def imported_key(row: LedgerRow) -> str:
    """What an imported row is of."""
    what = (row.kind, row.target, row.candidate, row.name, row.seed, row.source, row.method)
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def add_own(session: Session, run: FinetuneRun) -> None:
    """The outcomes of a run that is done: one row a finite test metric."""
    result = run.result or {}
    dataset = session.get_one(Dataset, run.dataset_id)
    checkpoint = session.get_one(Checkpoint, run.checkpoint_id)
    add(
        session,
        [
            LedgerRow(
                key=hashlib.sha256(json.dumps((run.id, metric)).encode()).hexdigest(),
                kind="outcome",
                target=dataset.name,
                candidate=checkpoint.name,
                name=metric,
                value=value,
                higher_is_better=not metric.startswith(LOWER_IS_BETTER),
                seed=run.protocol.get("seed"),
                method=run.method,
                course=course_of(run.method, run.protocol),
                cohort=dataset.cohort,
                modality=dataset.modality,
                task=dataset.task,
                source=OWN,
                finetune_run_id=run.id,
                cases=result.get("cases") or None if metric == result.get("primary") else None,
            )
            for metric, value in result.get("metrics", {}).get("test", {}).items()
            if value is not None
        ],
    )


def course_of(method: str, protocol: Json) -> str:
    """What outcomes must share to be compared: method and protocol, whatever the seed."""
    shared = {key: value for key, value in protocol.items() if key != "seed"}
    return hashlib.sha256(json.dumps((method, shared), sort_keys=True).encode()).hexdigest()[:16]


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
) -> list[LedgerRow]:
    """One page, newest first; test images' outcomes are not loaded."""
    asked = {"kind": kind, "target": target, "candidate": candidate, "name": name, "source": source}
    query = select(LedgerRow).options(defer(LedgerRow.cases))
    for column, value in asked.items():
        if value is not None:
            query = query.where(getattr(LedgerRow, column) == value)
    return page(session, query, LedgerRow.id, after=after, limit=limit)


def remove(session: Session, *, source: str) -> int:
    """Take back what was imported from one source; own outcomes stay."""
    if source == OWN:
        return 0
    removed = session.execute(delete(LedgerRow).where(LedgerRow.source == source).returning(LedgerRow.id))
    return len(removed.all())
