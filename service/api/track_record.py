"""Agreement of measures with outcomes, as it is shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from service.ledger.statistics.agreement import agreement
from service.ledger.statistics.target_record import TargetRecord

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


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


Known = Annotated[float | None, BeforeValidator(_known)]  # NaN becomes null


class TargetAgreementOut(BaseModel):
    """One measure on one target."""

    model_config = ConfigDict(from_attributes=True)

    target: str = Field(description="Its name.")
    candidates: int = Field(description="With a score and an outcome.")
    weighted_tau: Known = Field(description="Between scores and outcomes.")
    kendall_tau: Known = Field(description="Tau-b.")
    pearson: Known = Field(description="Pearson's r.")
    hit: float = Field(description="1: its first choice has the best outcome; the expected value over ties.")
    regret: float = Field(description="The best outcome less its first choice's, in the outcome's unit.")


class AgreementOut(BaseModel):
    """How well a measure's scores told outcomes: plain means over targets where its scores are not constant."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"examples": [EXAMPLE]})

    targets: int = Field(description="That the figures are over.")
    candidates: int = Field(description="Different ones.")
    no_ranking: int = Field(description="Targets left out: every candidate has the same score there.")
    weighted_tau: Known = Field(description="1: the same order; 0: none; the top weighs most.")
    kendall_tau: Known = Field(description="Tau-b.")
    pearson: Known = Field(description="Pearson's r.")
    hits: float = Field(description="On so many targets its first choice was the best.")
    regret: Known = Field(description="Mean loss by following its first choice, in the outcome's unit.")
    p: Known = Field(description="Two-sided, of Kendall's tau when outcomes are shuffled; null: not asked.")
    intervals: dict[str, tuple[float, float]] = Field(
        description="95 % of the mean weighted tau when targets, candidates or test images are drawn again."
    )
    by_target: list[TargetAgreementOut] = Field(description="Target by target, where asked for.")


def agreed(
    records: Sequence[TargetRecord], measures: Sequence[str], *, thorough: bool = False, by_target: bool = False
) -> dict[str, AgreementOut]:
    """Measure -> its agreement, for those with any."""
    found = {measure: agreement(records, measure, thorough=thorough) for measure in measures}
    shown = {name: AgreementOut.model_validate(one) for name, one in found.items() if one is not None}
    return shown if by_target else {name: one.model_copy(update={"by_target": []}) for name, one in shown.items()}
