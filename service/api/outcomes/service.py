"""Importing, listing and taking back ledger rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from service.api.capabilities.published import check_task
from service.api.errors import ConflictError, InvalidError, NotFoundError
from service.api.outcomes.schemas import (
    ExclusionChange,
    ExclusionOut,
    GroupOut,
    ImportedOut,
    OutcomeOut,
    OutcomeRow,
    OutcomesImport,
    RemovedOut,
)
from service.api.paging import Page, page_of
from service.ledger import exclusion
from service.ledger.training import Training, trainings
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
    imported = outcomes.add(session, _once_each(rows))
    return ImportedOut(
        added=imported.added, replaced=imported.replaced, unchanged=len(rows) - imported.added - imported.replaced
    )


def _ledger_row(row: OutcomeRow, number: int, source: str | None) -> LedgerRow:
    origin = row.source or source
    if origin is None:
        raise InvalidError(
            f"rows.{number} does not say where it comes from",
            field=f"rows.{number}.source",
            remedy="give `source` for the whole import, or in every row",
        )
    if origin == OWN:
        raise InvalidError(
            f"the source {OWN!r} is kept for this service's own runs",
            field="source" if row.source is None else f"rows.{number}.source",
            remedy="name the paper, table or notebook that the numbers come from",
        )
    return LedgerRow(**row.model_dump(exclude={"source"}), source=origin, comparison_group=origin)


def _refuse_unknown_tasks(session: Session, rows: list[LedgerRow]) -> None:
    first = {row.task: number for number, row in reversed(list(enumerate(rows))) if row.task is not None}
    for task, number in first.items():
        check_task(session, task, field=f"rows.{number}.task")


def _refuse_contradictions(session: Session, rows: list[LedgerRow]) -> None:
    """A target has one task, modality and cohort: in all rows, and as it is registered."""
    registered_values: dict[str, Mapping[str, str | None]] = {
        target: {field: getattr(registered, field) for field in _DESCRIBED}
        for target, registered in datasets.named(session, {row.target for row in rows}).items()
    }
    first_values: dict[tuple[str, str], str] = {}
    for number, row in enumerate(rows):
        for field in _DESCRIBED:
            value = getattr(row, field)
            if value is None:
                continue
            registered_value = registered_values.get(row.target, {}).get(field)
            before = registered_value or first_values.setdefault((row.target, field), value)
            if value != before:
                where = "is registered with" if registered_value else "has in an earlier row"
                raise InvalidError(
                    f"target {row.target!r} {where} the {field} {before!r}, not {value!r}",
                    field=f"rows.{number}.{field}",
                    remedy=f"give one {field} for a target, or leave it out",
                )


def _refuse_two_directions(rows: list[LedgerRow]) -> None:
    """Values of one name on one target compare only if the same side is better for all."""
    first_directions: dict[tuple[str, str, str], tuple[int, bool]] = {}
    for number, row in enumerate(rows):
        key = (row.kind, row.target, row.name)
        first, before = first_directions.setdefault(key, (number, row.higher_is_better))
        if before != row.higher_is_better:
            raise InvalidError(
                f"the other side of {row.name!r} on {row.target!r} is better in rows.{first}",
                field=f"rows.{number}.higher_is_better",
                remedy="say the same in every row of one name",
            )


def _once_each(rows: list[LedgerRow]) -> list[LedgerRow]:
    """Rows without repeats; two values for one thing are refused."""
    by_key: dict[str, tuple[int, LedgerRow]] = {}
    for number, row in enumerate(rows):
        row.key = outcomes.imported_key(row)
        first, before = by_key.setdefault(row.key, (number, row))
        if before.value != row.value:
            raise InvalidError(
                f"another value than that of rows.{first} for the same {row.kind} {row.name!r} of "
                f"{row.candidate!r} on {row.target!r}",
                field=f"rows.{number}.value",
                remedy="keep one of them, or give each run its own `seed`",
            )
    return [row for _, row in by_key.values()]


def listed(session: Session, *, after: str | None, limit: int, **filters: Any) -> Page[OutcomeOut]:
    """One page of the ledger."""
    rows = outcomes.listed(session, after=after, limit=limit + 1, **filters)
    return page_of(rows, limit, _show(session, rows))


def exclude(session: Session, row_id: str, change: ExclusionChange) -> OutcomeOut:
    """Exclude a row, or include it again; of an own run, its other metrics with it."""
    if change.excluded and change.reason is None:
        raise InvalidError(
            "an outcome is excluded for a reason",
            field="reason",
            remedy="say in `reason` why it shall not count; the reason is kept with the outcome",
        )
    if not change.excluded:
        _refuse_of_another(session, row_id)
    row = exclusion.change(session, row_id, excluded=change.excluded, reason=change.reason)
    if row is None:
        raise NotFoundError(f"there is no outcome {row_id!r}", field="outcome", remedy="see GET /v1/outcomes")
    return _show(session, [row])(row)


def _refuse_of_another(session: Session, row_id: str) -> None:
    """ConflictError where what has the name of an own outcome's target or candidate is another since then."""
    of_training = outcomes.of_training(session, row_id)
    if not of_training or of_training[0].source != OWN:
        return
    recorded = of_training[0]
    registered = (
        datasets.find(session, recorded.target, lock=True),
        checkpoints.find(session, recorded.candidate, lock=True),
    )
    for row in registered:
        if row is not None and row.sent_at > recorded.created_at:  # it was registered or read anew since
            raise ConflictError(
                f"the {type(row).__name__.lower()} {row.name} was changed or registered again after this outcome "
                "was recorded, so the outcome may be that of another file",
                field="excluded",
                remedy="leave it excluded, and finetune again",
            )


def _show(session: Session, rows: Sequence[LedgerRow]) -> Callable[[LedgerRow], OutcomeOut]:
    """How each of these rows is shown; what they refer to is read at once."""
    targets = datasets.named(session, {row.target for row in rows})
    candidates = checkpoints.named(session, {row.candidate for row in rows})
    trained = trainings(session)
    return lambda row: _shown(row, trained.of(row), targets.get(row.target), candidates.get(row.candidate))


def _shown(row: LedgerRow, trained: Training, target: Dataset | None, candidate: Checkpoint | None) -> OutcomeOut:
    fields = {field: getattr(row, field) for field in OutcomeOut.model_fields if hasattr(row, field)}
    return OutcomeOut(
        **{**fields, "comparison_group": GroupOut(id=row.comparison_group, words=trained.words)}
        | {"exclusions": [ExclusionOut.model_validate(one) for one in exclusion.changes_of(row)]},
        finetune_run=row.finetune_run_id,
        registered_target=target and target.id,
        registered_candidate=candidate and candidate.id,
    )


def remove(session: Session, source: str) -> RemovedOut:
    """Delete the rows of one import; own outcomes stay."""
    if source == OWN:
        raise InvalidError(
            "the outcomes of this service's own runs can't be deleted",
            field="source",
            remedy="give the source of an import; see GET /v1/outcomes",
        )
    return RemovedOut(removed=outcomes.remove(session, source=source))
