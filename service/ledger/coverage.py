"""Which of the candidates that were asked for an answer rests on, and what those that are missing do to it."""

from __future__ import annotations

from collections.abc import Sequence

from service.ledger.ranked_list import Candidate
from service.ledger.wording import listed
from service.store.answer_contents import Coverage, MissingCandidate
from service.store.tables import OPEN_STATES, WorkState

_MISSING_STATES = (WorkState.FAILED, WorkState.CANCELED)


def coverage_of(candidates: Sequence[Candidate]) -> Coverage:
    """How many candidates are evaluated and how many are open; those that failed or were canceled, by name."""
    missing = [row for row in candidates if row.evaluation.state in _MISSING_STATES]
    return Coverage(
        candidates=len(candidates),
        evaluated=sum(row.evaluation.state == WorkState.DONE for row in candidates),
        open=sum(row.evaluation.state in OPEN_STATES for row in candidates),
        missing=tuple(
            MissingCandidate(id=row.checkpoint.id, name=row.checkpoint.name, state=row.evaluation.state)
            for row in sorted(missing, key=lambda row: row.checkpoint.name)
        ),
    )


def in_words(coverage: Coverage) -> list[str]:
    """Sentences to read before the answer; none where every candidate was evaluated."""
    if coverage.is_complete:
        return []
    count = f"{coverage.evaluated} of {coverage.candidates} candidates"
    missing = _missing(coverage)
    if coverage.open:
        return [f"So far, {count} are evaluated; the answer may change.", *missing]
    canceled = ["The ranking was canceled."] * any(row.state == WorkState.CANCELED for row in coverage.missing)
    if not coverage.evaluated:
        return [*canceled, "No candidate was evaluated, so there is no answer.", *missing]
    return [*canceled, f"Only {count} were evaluated.", *missing, "The best may be among the missing."]


def _missing(coverage: Coverage) -> list[str]:
    """A sentence for each state that missing candidates are in."""
    by_state = {state: [row.name for row in coverage.missing if row.state == state] for state in _MISSING_STATES}
    return [f"{state.value.capitalize()}: {listed(names)}." for state, names in by_state.items() if names]
