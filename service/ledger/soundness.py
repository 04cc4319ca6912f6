"""Which scores may place a candidate in a ranked list."""

from __future__ import annotations

from service.store.tables import Score

# A score with one of these flags can't be ranked by: its candidate stands after all that have a sound one.
UNSOUND = frozenset({"degenerate", "saturated", "not_applicable", "failed"})


def is_sound(score: Score | None) -> bool:
    """Whether a candidate can be placed by this score."""
    return score is not None and score.value is not None and UNSOUND.isdisjoint(score.flags)
