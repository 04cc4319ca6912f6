"""Comparison groups: which outcomes of a target compare, and which group of them has the most evidence.

Outcomes of two groups are never averaged, since a difference of method or protocol would look like one of
candidates. One group counts; the others are named beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.ledger.statistics.target_record import GroupEvidence
from service.ledger.training import Trainings, trainings
from service.store import capabilities
from service.store.published import METRICS
from service.store.session import Session
from service.store.tables import LedgerRow


@dataclass(frozen=True)
class Compared:
    """The rows that count for one target, the group that they are of, and the groups that are left out."""

    rows: list[LedgerRow]
    group: GroupEvidence
    others: tuple[GroupEvidence, ...]  # most evidence first
    candidates: frozenset[str]  # with an outcome of any group and metric


@dataclass(frozen=True)
class Comparisons:
    """How outcomes are compared: the trainings behind them, and which metrics are preferred."""

    trainings: Trainings
    preferences: Mapping[str, int]  # metric -> its place among metrics that equally many candidates have

    def of(self, rows: Sequence[LedgerRow], *, metric: str | None, wanted: str | None) -> Compared | None:
        """The outcomes of one target that count; None where there is none.

        They are of the group `wanted` where there are any, else of the group with the most evidence, and in the
        metric that most of the group's candidates have, of equals the preferred one.
        """
        by_group: dict[str, list[LedgerRow]] = {}
        for row in rows:
            if metric is None or row.name == metric:
                by_group.setdefault(row.comparison_group, []).append(row)
        held = [self._held(of_group) for of_group in by_group.values()]
        held.sort(key=lambda group: (group.evidence.id == wanted, *group.place), reverse=True)
        if not held:
            return None
        first, *others = held
        return Compared(
            rows=first.rows,
            group=first.evidence,
            others=tuple(group.evidence for group in others),
            candidates=frozenset(row.candidate for row in rows),
        )

    def _held(self, of_group: Sequence[LedgerRow]) -> _Held:
        rows = self._in_one_metric(of_group)
        training = self.trainings.of(rows[0])
        evidence = GroupEvidence(
            id=rows[0].comparison_group,
            words=training.words,
            metric=rows[0].name,
            candidates=tuple(sorted({row.candidate for row in rows})),
            seeds=len({row.seed for row in rows}),
            outcomes=len({(row.candidate, row.seed) for row in rows}),
            epochs=training.epochs,
        )
        return _Held(rows, evidence, training.steps)

    def _in_one_metric(self, rows: Sequence[LedgerRow]) -> list[LedgerRow]:
        having: dict[str, set[str]] = {}
        for row in rows:
            having.setdefault(row.name, set()).add(row.candidate)
        metric = min(having, key=lambda name: (-len(having[name]), self.preferences.get(name, math.inf), name))
        return [row for row in rows if row.name == metric]


@dataclass(frozen=True)
class _Held:
    """What one group holds of a target."""

    rows: list[LedgerRow]  # in one metric, oldest first
    evidence: GroupEvidence
    steps: int | None  # largest number in an epoch; None: every image is seen

    @property
    def place(self) -> tuple[bool, int, float, float, str]:
        """The more evidence, the higher: at least two candidates, then candidates and seeds, then the length of
        each training, then the latest. An import does not say its epochs; tables hold finished trainings, so it
        counts as the longest."""
        comparable = len(self.evidence.candidates) > 1
        epochs = math.inf if self.evidence.epochs is None else self.evidence.epochs
        return comparable, self.evidence.outcomes, epochs, self.steps or math.inf, self.rows[-1].id


def comparisons(session: Session) -> Comparisons:
    """The trainings as they are stored, and the preferred metrics as they are published."""
    metrics = capabilities.of_kind(session, METRICS)
    preferences = {name: metric.preference for name, metric in metrics.items() if metric.preference is not None}
    return Comparisons(trainings(session), preferences)
