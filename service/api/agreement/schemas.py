"""Agreement as it comes over HTTP."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from service.api.outcomes.schemas import GroupOut
from service.api.track_record import AgreementOut, Known


class GroupEvidenceOut(GroupOut):
    """What a comparison group holds of one target."""

    metric: str = Field(description="Metric that these outcomes are in.")
    candidates: list[str] = Field(description="Names of the candidates with an outcome.")
    seeds: int = Field(description="Number of different seeds of the trainings.")
    outcomes: int = Field(description="Number of trainings: candidates and seeds.")
    epochs: int | None = Field(
        description="Largest number of epochs of a training; null where an import does not say."
    )


class TargetOut(BaseModel):
    """A target that has outcomes in this slice of the ledger."""

    name: str = Field(description="Name of the target dataset, registered or not.")
    task: str | None = Field(description="Target task as registered, else as imported.")
    modality: str | None = Field(description="Modality as registered, else as imported.")
    cohort: str | None = Field(description="Cohort of the target; targets of one cohort share images.")
    metric: str = Field(description="Metric that the outcomes are in.")
    candidates: int = Field(description="Number of candidates with an outcome.")
    group: GroupEvidenceOut = Field(
        description="Comparison group whose outcomes count: that asked for, else the one with the most evidence."
    )
    other_groups: list[GroupEvidenceOut] = Field(
        description="Comparison groups whose outcomes are left out, the one with the most evidence first."
    )
    left_out: int = Field(
        description="Number of candidates whose outcomes are all of other groups or metrics, and so left out."
    )
    left_out_candidates: list[str] = Field(description="Names of the candidates that are left out.")


class AnswersOut(BaseModel):
    """What the answers on past targets would have been, each from the others, and what came."""

    model_config = ConfigDict(from_attributes=True)

    targets: int = Field(description="Number of past targets with scores or history to choose by.")
    kinds: dict[str, int] = Field(description="Number of answers of each kind: use, any and shortlist.")
    regret: Known = Field(
        description="Mean regret when the first choice is followed on all targets, in the outcomes' unit."
    )
    regret_expected: Known = Field(description="Mean of the regret that was expected.")
    within: Known = Field(
        description="Share of targets where the first choice was within the tolerance of the best."
    )
    within_expected: Known = Field(description="Mean of the probability of that which was expected.")
    covered: Known = Field(
        description="Share of targets where one candidate of the answer was within the tolerance of the best."
    )
    named: Known = Field(description="Mean number of candidates that an answer named.")


class SliceOut(BaseModel):
    """The agreement of every measure with outcomes over a slice of the ledger."""

    targets: list[TargetOut] = Field(description="Targets with outcomes, those without scores too.")
    measures: dict[str, AgreementOut] = Field(
        description="Agreement of each measure by name, best weighted tau first."
    )
    answers: AnswersOut = Field(description="Answers that the fused score would have given.")
