"""Agreement of measures with outcomes, as it is shown."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


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

    model_config = ConfigDict(from_attributes=True)

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
