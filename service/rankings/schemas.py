"""Rankings as they come and go over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.dependencies import Reference, Text
from service.published import FinetuneOverrides, ProtocolOverrides

RankingState = Literal["queued", "running", "done", "canceled"]


class ZooFilter(BaseModel):
    """Every usable checkpoint of the zoo that has all of these."""

    model_config = ConfigDict(extra="forbid")

    architecture: Text | None = None
    modality: Text | None = None
    source_task: Text | None = None
    source_data: Text | None = None
    licence: Text | None = None


class RankingRequest(BaseModel):
    """Which candidates shall be ranked for which dataset, and how."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"dataset": "discs", "candidates": ["vessels", "lesions"], "finetune_top": 1},
                {
                    "dataset": "discs",
                    "filter": {"modality": "fundus"},
                    "measures": ["one_epoch_outcome", "logme"],
                    "protocol": {"batch_size": 8, "seed": 7},
                },
            ]
        },
    )

    dataset: Reference
    candidates: list[Reference] = Field(default_factory=list, max_length=1000)
    filter: ZooFilter | None = Field(
        None, description="Candidates by what they are, added to the listed ones; {} takes the whole zoo."
    )
    measures: list[Text] | None = Field(
        None, min_length=1, max_length=100, description="Default: all that apply to the dataset's task."
    )
    order_by: Text | None = Field(
        None,
        description="The measure that orders the list. Default: one_epoch_outcome, or the first of `measures` "
        "when that is not among them.",
    )
    protocol: ProtocolOverrides | None = None
    finetune_top: int = Field(0, ge=0, le=5, description="Finetune this many of the best afterwards.")
    finetune: FinetuneOverrides | None = Field(
        None,
        description="What shall differ, in those finetune runs, from the ranking's own protocol; its `steps` "
        "are not taken over.",
    )


class NamedOut(BaseModel):
    """What a row refers to."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str


class CandidateOut(NamedOut):
    """A checkpoint in a ranking."""

    architecture: str


class ScoreOut(BaseModel):
    """One measure's number for one candidate."""

    value: float | None
    position: int | None = Field(description="By this measure alone; null: not placed by it.")
    flags: list[str]
    seconds: float
    reason: str | None = Field(description="Why there is no number.")
    record: dict[str, Any] | None = Field(
        description="What the number was computed from; null unless asked for with `?records=true`."
    )


class RankedOut(BaseModel):
    """One row of the ranked list."""

    position: int | None = Field(description="By the ordering measure; equal scores share the better place.")
    evaluation: str
    candidate: CandidateOut
    state: str
    reason: str | None
    stage: str | None
    steps_done: int
    steps_total: int
    attempts: int
    scores: dict[str, ScoreOut]
    flags: list[str]
    width: int | None = Field(description="Channels of the layer that AC-Corr is taken at.")
    seconds: float | None
    finetune_seconds: float | None = Field(description="Estimate of a full finetune, all its epochs.")
    reused_from: str | None = Field(description="The equal evaluation that these scores were taken from.")
    facts: dict[str, Any]


class RankingSummary(BaseModel):
    """A ranking without its list."""

    id: str
    dataset: NamedOut
    state: RankingState
    counts: dict[str, int] = Field(description="Candidates by state.")
    order_by: str
    measures: list[str]
    finetune_top: int
    created_at: datetime


class RankingOut(RankingSummary):
    """A ranking with its ranked list, best first; partial while it runs."""

    protocol: dict[str, Any]
    finetune_protocol: dict[str, Any]
    flags: list[str]
    notes: list[str] = Field(description="What to keep in mind when reading the list.")
    finetune_seconds: float | None = Field(description="Estimate of a full finetune of the first.")
    finetune_runs: list[str]
    ranked: list[RankedOut]
