"""Agreement of measures with outcomes, as it is shown."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


Known = Annotated[float | None, BeforeValidator(_known)]  # NaN becomes null


class TargetAgreementOut(BaseModel):
    """Agreement of one measure with the outcomes on one target."""

    model_config = ConfigDict(from_attributes=True)

    target: str = Field(description="Name of the target dataset.")
    candidates: int = Field(description="Number of candidates with a score and an outcome.")
    weighted_tau: Known = Field(
        description="Weighted Kendall's tau between scores and outcomes; the top weighs most."
    )
    kendall_tau: Known = Field(description="Kendall's tau-b between scores and outcomes.")
    pearson: Known = Field(description="Pearson's correlation of scores and outcomes.")
    hit: float = Field(description="1 where the first choice has the best outcome; the expected value over ties.")
    regret: float = Field(description="Best outcome less that of the first choice, in the outcome's unit.")


class AgreementOut(BaseModel):
    """How well a measure's scores agree with outcomes: plain means over targets where its scores differ."""

    model_config = ConfigDict(from_attributes=True)

    targets: int = Field(description="Number of targets that the means are over.")
    candidates: int = Field(description="Number of different candidates on these targets.")
    no_ranking: int = Field(
        description="Number of targets left out because every candidate has the same score there."
    )
    weighted_tau: Known = Field(
        description="Mean weighted Kendall's tau; 1 is the same order, 0 is none, the top weighs most."
    )
    kendall_tau: Known = Field(description="Mean Kendall's tau-b between scores and outcomes.")
    pearson: Known = Field(description="Mean Pearson's correlation of scores and outcomes.")
    hits: float = Field(description="Number of targets on which the first choice had the best outcome.")
    regret: Known = Field(description="Mean loss from following the first choice, in the outcome's unit.")
    p: Known = Field(
        description="Two-sided p of the mean Kendall's tau under shuffled outcomes; null where it was not asked "
        "for."
    )
    intervals: dict[str, tuple[float, float]] = Field(
        description="95 % intervals of the mean weighted tau, by what is drawn again: targets, candidates or "
        "test images."
    )
    by_target: list[TargetAgreementOut] = Field(
        description="Agreement on each target; empty where it was not asked for."
    )
