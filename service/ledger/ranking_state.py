"""The state of a ranking, by the states of its evaluations."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

from service.store.tables import OPEN_STATES, WorkState


def state_of(evaluations: Iterable[str], *, answer_due: bool = False) -> WorkState:
    """The state of a ranking whose evaluations are in these states; it is over when none is open.

    It failed when every evaluation did. A candidate that failed alone is a row with a reason. It is done once its
    answer is stored, and still runs while that is due.
    """
    states = set(evaluations)
    if states.intersection(OPEN_STATES):
        return WorkState.QUEUED if states == {WorkState.QUEUED} else WorkState.RUNNING
    if WorkState.CANCELED in states:
        return WorkState.CANCELED
    if states == {WorkState.FAILED}:
        return WorkState.FAILED
    return WorkState.RUNNING if answer_due else WorkState.DONE


def combinations_of(state: WorkState, *, answer_due: bool = False) -> list[frozenset[WorkState]]:
    """Every combination of evaluations' states in which a ranking is in this state."""
    sizes = range(len(WorkState) + 1)
    every = [frozenset(states) for size in sizes for states in combinations(WorkState, size)]
    return [states for states in every if state_of(states, answer_due=answer_due) == state]
