"""The history prior: how well a candidate did on other targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.ledger.statistics.target_record import TargetRecord


@dataclass(frozen=True)
class Prior:
    """A candidate's mean outcome above the other candidates', and over how many targets."""

    value: float
    targets: int


def history_prior(records: Sequence[TargetRecord]) -> dict[str, Prior]:
    """Candidate -> target-centred mean outcome: each less its target's mean over candidates.

    `records` are other targets than the one asked for, without those of its cohort. Centred, since a raw mean
    favours candidates that were tried on easy targets. A target with one candidate is left out.
    """
    centred_outcomes: dict[str, list[float]] = {}
    for record in records:
        for name, value in record.centred.items():
            centred_outcomes.setdefault(name, []).append(value)
    return {
        name: Prior(sum(outcomes) / len(outcomes), len(outcomes))
        for name, outcomes in sorted(centred_outcomes.items())
    }
