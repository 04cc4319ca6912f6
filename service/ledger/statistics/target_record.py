"""The ledger's outcomes and scores of one target, as the statistics need them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
FEWEST_SIMILAR = 3  # targets of one task and modality; with fewer, any modality counts


@dataclass(frozen=True)
class GroupEvidence:
    """What one comparison group holds of one target, in one metric."""

    id: str
    words: str  # how the group's outcomes were trained, or where they were imported from
    metric: str
    candidates: tuple[str, ...]  # with an outcome, by name
    seeds: int  # different ones
    outcomes: int  # candidates and seeds that were trained
    epochs: int | None  # at most, of each training; None: an import does not say


@dataclass(frozen=True)
class TargetRecord:
    """Outcomes and scores of one target by candidate; higher is better for all.

    The outcomes are those of one comparison group, `group`; `other_groups` are left out, and so are the candidates
    in `left_out`, whose outcomes are all of other groups or metrics. `cases` are the outcomes image by image,
    where known (all candidates have the same images in the same order).
    """

    target: str
    outcomes: Mapping[str, float]
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # measure -> candidate -> score
    task: str | None = None
    modality: str | None = None
    cohort: str | None = None
    metric: str = ""
    cases: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    group: GroupEvidence | None = None
    other_groups: tuple[GroupEvidence, ...] = ()
    left_out: tuple[str, ...] = ()

    def pair(self, measure: str) -> tuple[tuple[str, ...], Numbers, Numbers]:
        """Candidates that have both, their scores and their outcomes: names and two of (n,)."""
        scores = self.scores.get(measure, {})
        names = tuple(sorted(name for name in scores if name in self.outcomes))
        return names, np.array([scores[name] for name in names]), np.array([self.outcomes[name] for name in names])

    @cached_property
    def centred(self) -> dict[str, float]:
        """Candidate -> outcome less the mean over candidates; empty where there is only one candidate."""
        if len(self.outcomes) < 2:
            return {}
        mean = sum(self.outcomes.values()) / len(self.outcomes)
        return {name: outcome - mean for name, outcome in self.outcomes.items()}

    @cached_property
    def standardised_outcomes(self) -> tuple[list[str], Numbers]:
        """Candidates by name, and their standardised outcomes: (n,)."""
        names = sorted(self.outcomes)
        return names, standardised(np.array([self.outcomes[name] for name in names], float))


@dataclass(frozen=True)
class Similar:
    """Past targets like a given one, and in what they are alike, in words."""

    records: tuple[TargetRecord, ...]
    how: str


def others(records: Sequence[TargetRecord], *, target: str, cohort: str | None) -> tuple[TargetRecord, ...]:
    """Records of other targets that teach something, since they compare at least two candidates.

    Those of the same cohort share images with the target and are left out too.
    """
    return tuple(
        record
        for record in records
        if len(record.outcomes) > 1 and record.target != target and (cohort is None or record.cohort != cohort)
    )


def of_task(records: Sequence[TargetRecord], task: str | None) -> tuple[TargetRecord, ...]:
    """Records of one target task."""
    return tuple(record for record in records if record.task == task)


def similar(
    records: Sequence[TargetRecord], *, target: str, task: str | None, modality: str | None, cohort: str | None
) -> Similar:
    """Other targets of the same task and modality; with fewer than FEWEST_SIMILAR of them, of the same task."""
    same_task = of_task(others(records, target=target, cohort=cohort), task)
    alike = tuple(record for record in same_task if record.modality == modality and modality is not None)
    if len(alike) >= FEWEST_SIMILAR:
        return Similar(alike, f"{_targets(alike, task)}, {modality}")
    return Similar(same_task, f"{_targets(same_task, task)}, any modality")


def _targets(records: Sequence[TargetRecord], task: str | None) -> str:
    return f"{len(records)} {task} target{'s' * (len(records) != 1)}"


def standardised(values: Numbers) -> Numbers:
    """Mean 0, standard deviation 1 over the finite values; 0 where they are constant; NaN stays."""
    finite = values[np.isfinite(values)]
    if len(finite) < 2 or np.ptp(finite) == 0:
        return np.where(np.isfinite(values), 0.0, np.nan)
    return np.asarray((values - finite.mean()) / finite.std())


def standardised_rows(scores: Mapping[str, Mapping[str, float]], candidates: Sequence[str]) -> Numbers:
    """One row a measure; a candidate without a score counts as average: (measures, n)."""
    rows = [
        standardised(np.array([of_measure.get(name, np.nan) for name in candidates], float))
        for of_measure in scores.values()
    ]
    stacked = np.array(rows).reshape(len(rows), len(candidates))
    return np.where(np.isfinite(stacked), stacked, 0.0)


def mean_of(values: Sequence[float]) -> float:
    """The plain mean; NaN for no values."""
    return float(np.mean(values)) if values else float("nan")
