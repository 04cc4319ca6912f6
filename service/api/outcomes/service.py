"""Importing, listing and taking back ledger rows."""

from __future__ import annotations

from collections.abc import Mapping

from service.api.capabilities.published import check_task
from service.api.errors import InvalidError
from service.api.outcomes.schemas import ImportedOut, OutcomeOut, OutcomeRow, OutcomesImport, RemovedOut
from service.api.paging import Page, page_of
from service.store import checkpoints, datasets, outcomes
from service.store.outcomes import OWN
from service.store.session import Session
from service.store.tables import Checkpoint, Dataset, LedgerRow

_DESCRIBED = ("task", "modality", "cohort")


def import_rows(session: Session, request: OutcomesImport) -> ImportedOut:
    """Add all rows or, with a problem that names the row and the field, none."""
    rows = [_ledger_row(row, number, request.source) for number, row in enumerate(request.rows)]
    _refuse_unknown_tasks(session, rows)
    _refuse_contradictions(session, rows)
    _refuse_two_directions(rows)
    found = outcomes.add(session, _once_each(rows))
    return ImportedOut(
        added=found.added, replaced=found.replaced, unchanged=len(rows) - found.added - found.replaced
    )


def _ledger_row(row: OutcomeRow, number: int, source: str | None) -> LedgerRow:
    own = row.source or source
    if own is None:
        raise InvalidError(
            f"rows.{number} does not say where it comes from",
            field=f"rows.{number}.source",
            remedy="give `source` for the whole import, or in every row",
        )
    if own == OWN:
        raise InvalidError(
            f"the source {OWN!r} is kept for this service's own runs",
            field="source" if row.source is None else f"rows.{number}.source",
            remedy="name the paper, table or notebook that the numbers come from",
        )
    return LedgerRow(**row.model_dump(exclude={"source"}), source=own, course=own)


def _refuse_unknown_tasks(session: Session, rows: list[LedgerRow]) -> None:
    first = {row.task: number for number, row in reversed(list(enumerate(rows))) if row.task is not None}
    for task, number in first.items():
        check_task(session, task, field=f"rows.{number}.task")


def _refuse_contradictions(session: Session, rows: list[LedgerRow]) -> None:
    """A target has one task, modality and cohort: in all rows, and as it is registered."""
    known: dict[str, Mapping[str, str | None]] = {
        target: {field: getattr(registered, field) for field in _DESCRIBED}
        for target, registered in datasets.named(session, {row.target for row in rows}).items()
    }
    said: dict[tuple[str, str], str] = {}
    for number, row in enumerate(rows):
        for field in _DESCRIBED:
            value = getattr(row, field)
            if value is None:
                continue
            registered_value = known.get(row.target, {}).get(field)
            before = registered_value or said.setdefault((row.target, field), value)
            if value != before:
                where = "is registered with" if registered_value else "has in an earlier row"
                raise InvalidError(
                    f"target {row.target!r} {where} the {field} {before!r}, not {value!r}",
                    field=f"rows.{number}.{field}",
                    remedy=f"give one {field} for a target, or leave it out",
                )


def _refuse_two_directions(rows: list[LedgerRow]) -> None:
    """Values of one name on one target compare only if the same side is better for all."""
    said: dict[tuple[str, str, str], tuple[int, bool]] = {}
    for number, row in enumerate(rows):
        first, before = said.setdefault((row.kind, row.target, row.name), (number, row.higher_is_better))
        if before != row.higher_is_better:
            raise InvalidError(
                f"the other side of {row.name!r} on {row.target!r} is better in rows.{first}",
                field=f"rows.{number}.higher_is_better",
                remedy="say the same in every row of one name",
            )


def _once_each(rows: list[LedgerRow]) -> list[LedgerRow]:
    """Rows without repeats; two values for one thing are refused."""
    found: dict[str, tuple[int, LedgerRow]] = {}
    for number, row in enumerate(rows):
        row.key = outcomes.imported_key(row)
        first, before = found.setdefault(row.key, (number, row))
        if before.value != row.value:
            raise InvalidError(
                f"another value than that of rows.{first} for the same {row.kind} {row.name!r} of "
                f"{row.candidate!r} on {row.target!r}",
                field=f"rows.{number}.value",
                remedy="keep one of them, or give each run its own `seed`",
            )
    return [row for _, row in found.values()]


def listed(session: Session, *, after: str | None, limit: int, **filters: str | None) -> Page[OutcomeOut]:
    """One page of the ledger."""
    rows = outcomes.listed(session, after=after, limit=limit + 1, **filters)
    targets = datasets.named(session, {row.target for row in rows})
    candidates = checkpoints.named(session, {row.candidate for row in rows})
    return page_of(rows, limit, lambda row: _shown(row, targets.get(row.target), candidates.get(row.candidate)))


def _shown(row: LedgerRow, target: Dataset | None, candidate: Checkpoint | None) -> OutcomeOut:
    own = {field: getattr(row, field) for field in OutcomeOut.model_fields if hasattr(row, field)}
    return OutcomeOut(
        **own,
        finetune_run=row.finetune_run_id,
        registered_target=target and target.id,
        registered_candidate=candidate and candidate.id,
    )


def remove(session: Session, source: str) -> RemovedOut:
    """Take back an import; own outcomes stay."""
    if source == OWN:
        raise InvalidError(
            "the outcomes of this service's own runs can't be deleted",
            field="source",
            remedy="give the source of an import; see GET /v1/outcomes",
        )
    return RemovedOut(removed=outcomes.remove(session, source=source))
