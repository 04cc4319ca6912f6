"""Excluding outcomes, so that they count nowhere, and including them again; every change and reason is kept."""

from __future__ import annotations

import time
from collections.abc import Sequence

from service.store import ledger_changes, outcomes
from service.store.contents import Exclusion, Exclusions
from service.store.ledger_changes import EXCLUDED, INCLUDED
from service.store.session import Session
from service.store.tables import LedgerRow


def change(session: Session, row_id: str, *, excluded: bool, reason: str | None) -> LedgerRow | None:
    """Exclude or include the row with this id, and return it; None where there is none.

    All metrics of one finetune run change together, since they are of one training. What is so already, for the
    same reason, stays as it is.
    """
    rows = outcomes.of_training(session, row_id)
    changed = next((row for row in rows if row.excluded != excluded), None)
    for row in rows:
        last = changes_of(row)[-1:]
        is_so = row.excluded == excluded and (not excluded or [one.reason for one in last] == [reason])
        if not is_so:
            now = Exclusion(excluded=excluded, reason=reason, at=time.time())
            row.exclusions = Exclusions((*changes_of(row), now))
            row.excluded = excluded
    session.flush()
    ledger_changes.note(
        session, EXCLUDED if excluded else INCLUDED, [(changed.kind, changed.target)] if changed else []
    )
    return next((row for row in rows if row.id == row_id), None)


def changes_of(row: LedgerRow) -> Sequence[Exclusion]:
    """Every exclusion and inclusion of a row, oldest first."""
    return row.exclusions.changes if row.exclusions else ()
