"""Agreement of measures with outcomes, as it is shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from service.statistics.agreement import Agreement, TargetAgreement, agreement
from service.statistics.records import TargetRecord

EXAMPLE: dict[str, Any] = {
    "targets": 4,
    "candidates": 12,
    "no_ranking": 0,
    "weighted_tau": 0.58,
    "kendall_tau": 0.44,
    "pearson": 0.61,
    "hits": 2.0,
    "regret": 0.006,
    "p": 0.0004,
    "intervals": {"targets": [0.36, 0.74], "candidates": [0.21, 0.79]},
    "by_target": [],
}


class TargetAgreementOut(BaseModel):
    """One measure on one target."""

    target: str = Field(description="Its name.")
    candidates: int = Field(description="With a score and an outcome.")
    weighted_tau: float | None = Field(description="Between scores and outcomes.")
    kendall_tau: float | None = Field(description="Tau-b.")
    pearson: float | None = Field(description="Pearson's r.")
    hit: float = Field(description="1: its first choice has the best outcome; the expected value over ties.")
    regret: float = Field(description="The best outcome less its first choice's, in the outcome's unit.")


class AgreementOut(BaseModel):
    """How well a measure's scores told outcomes: plain means over targets where its scores are not constant."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    targets: int = Field(description="That the figures are over.")
    candidates: int = Field(description="Different ones.")
    no_ranking: int = Field(description="Targets left out: every candidate has the same score there.")
    weighted_tau: float | None = Field(description="1: the same order; 0: none; the top weighs most.")
    kendall_tau: float | None = Field(description="Tau-b.")
    pearson: float | None = Field(description="Pearson's r.")
    hits: float = Field(description="On so many targets its first choice was the best.")
    regret: float | None = Field(description="Mean loss by following its first choice, in the outcome's unit.")
    p: float | None = Field(description="Two-sided, of Kendall's tau when outcomes are shuffled; null: not asked.")
    intervals: dict[str, tuple[float, float]] = Field(
        description="95 % of the mean weighted tau when targets, candidates or test images are drawn again."
    )
    by_target: list[TargetAgreementOut] = Field(description="Target by target, where asked for.")


def agreement_out(found: Agreement, *, by_target: bool = False) -> AgreementOut:
    """The statistics' figures, NaN as null."""
    return AgreementOut(
        targets=found.targets,
        candidates=found.candidates,
        no_ranking=found.no_ranking,
        weighted_tau=known(found.weighted_tau),
        kendall_tau=known(found.kendall_tau),
        pearson=known(found.pearson),
        hits=found.hits,
        regret=known(found.regret),
        p=known(found.p),
        intervals=found.intervals,
        by_target=[_target_out(one) for one in found.by_target] if by_target else [],
    )


def _target_out(found: TargetAgreement) -> TargetAgreementOut:
    return TargetAgreementOut(
        target=found.target,
        candidates=found.candidates,
        weighted_tau=known(found.weighted_tau),
        kendall_tau=known(found.kendall_tau),
        pearson=known(found.pearson),
        hit=found.hit,
        regret=found.regret,
    )


def known(value: float) -> float | None:
    """The number, or null for one that there is not."""
    return value if math.isfinite(value) else None


def agreed(
    records: Sequence[TargetRecord], measures: Sequence[str], *, thorough: bool = False, by_target: bool = False
) -> dict[str, AgreementOut]:
    """Measure -> its agreement, for those with any."""
    found = {measure: agreement(records, measure, thorough=thorough) for measure in measures}
    return {name: agreement_out(one, by_target=by_target) for name, one in found.items() if one is not None}
