"""The state of a ranking, by the states of its evaluations."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

from service.store.tables import OPEN_STATES, WorkState


def state_of(evaluations: Iterable[str]) -> WorkState:
    """The state of a ranking whose evaluations are in these states; it is over when none is open."""
    states = set(evaluations)
    if not states.intersection(OPEN_STATES):
        return WorkState.CANCELED if WorkState.CANCELED in states else WorkState.DONE
    return WorkState.QUEUED if states == {WorkState.QUEUED} else WorkState.RUNNING


def combinations_of(state: WorkState) -> list[frozenset[WorkState]]:
    """Every combination of evaluations' states in which a ranking is in this state."""
    sizes = range(len(WorkState) + 1)
    every = [frozenset(states) for size in sizes for states in combinations(WorkState, size)]
    return [states for states in every if state_of(states) == state]
