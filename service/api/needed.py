"""Refusing to change or remove what something else needs."""

from __future__ import annotations

from service.api.errors import ConflictError
from service.ledger.wording import listed
from service.store import dependents
from service.store.session import Session
from service.store.tables import Checkpoint, Dataset, WorkState

_USED_STATES = (WorkState.RUNNING, WorkState.DONE)


def refuse_removal(session: Session, row: Dataset | Checkpoint) -> None:
    """ConflictError while a ranking or a finetune run names this dataset or checkpoint."""
    users = dependents.users_of(session, row)
    if users:
        kind = type(row).__name__.lower()
        raise ConflictError(
            f"{kind} {row.name} is needed by {listed(users)}", field=kind, remedy="delete these first"
        )


def refuse_other_results(session: Session, row: Dataset | Checkpoint, field: str) -> None:
    """ConflictError while this row's results, done or being computed, would no longer be those of `field`."""
    users = dependents.users_of(session, row, states=_USED_STATES)
    if users:
        raise ConflictError(
            f"{row.name} has results in {listed(users)}, which would not be those of another {field}",
            field=field,
            remedy="register what is right under another name",
        )
    refuse_other_outcomes(session, type(row), row.name, field)


def refuse_other_outcomes(session: Session, table: type[Dataset | Checkpoint], name: str, field: str) -> None:
    """ConflictError while outcomes of own runs count under this name: they would count for what gets it now.

    They stay in the ledger when their runs are removed, and also when the name is free again.
    """
    recorded = dependents.own_outcomes_of(session, table, name)
    if recorded:
        raise ConflictError(
            f"the ledger has outcomes of finetune runs of {table.__name__.lower()} {name}, {listed(recorded)}, "
            "which would count for another file or setting",
            field=field,
            remedy="use another name, or exclude these outcomes: PATCH /v1/outcomes/{id}",
        )
