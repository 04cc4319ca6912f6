"""Agreement as it comes over HTTP."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from service.api.track_record import AgreementOut, Known


class TargetOut(BaseModel):
    """A target that has outcomes in the slice."""

    name: str = Field(description="Of the dataset, registered or not.")
    task: str | None = Field(description="As registered, else as imported.")
    modality: str | None = Field(description="As registered, else as imported.")
    cohort: str | None = Field(description="Targets of one cohort share images.")
    metric: str = Field(description="That its outcomes are in.")
    candidates: int = Field(description="With an outcome.")
    left_out: int = Field(
        description="Candidates whose outcomes don't compare with the others': of another method or protocol."
    )


class AnswersOut(BaseModel):
    """How the fused score would have answered past targets, each from the others. Regrets: outcome units."""

    model_config = ConfigDict(from_attributes=True)

    targets: int = Field(description="With something to choose by.")
    answered: int = Field(description="Where it named a first choice; it abstained from the rest.")
    regret: Known = Field(description="Mean over all, when the first choice is followed anyway.")
    regret_answered: Known = Field(description="Mean where it answered.")
    regret_abstained: Known = Field(description="Mean of its first choice where it abstained.")
    regret_expected: Known = Field(description="Mean of what it expected.")


class SliceOut(BaseModel):
    """Every measure's agreement with outcomes over a slice of the ledger."""

    targets: list[TargetOut] = Field(description="All with outcomes, those without scores too.")
    measures: dict[str, AgreementOut] = Field(description="Measure -> its agreement; best weighted tau first.")
    answers: AnswersOut = Field(description="Of the fused score.")
