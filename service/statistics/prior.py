"""The history prior: how well a candidate did on other targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.statistics.records import TargetRecord


@dataclass(frozen=True)
class Prior:
    """A candidate's mean outcome above the other candidates', and over how many targets."""

    value: float
    targets: int


def history_prior(records: Sequence[TargetRecord]) -> dict[str, Prior]:
    """Candidate -> target-centred mean outcome: each less its target's mean over candidates.

    `records` are other targets than the one asked for, without those of its cohort. Centred, since a raw mean
    favours whoever was tried on easy targets. A target with one candidate says nothing and is left out.
    """
    centred: dict[str, list[float]] = {}
    for record in records:
        if len(record.outcomes) < 2:
            continue
        mean = float(np.mean(list(record.outcomes.values())))
        for name, outcome in record.outcomes.items():
            centred.setdefault(name, []).append(outcome - mean)
    return {name: Prior(float(np.mean(values)), len(values)) for name, values in sorted(centred.items())}
