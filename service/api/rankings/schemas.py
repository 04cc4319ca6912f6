"""Rankings as they come and go over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from service.api.names import NamedOut, Reference, Text
from service.api.track_record import AgreementOut
from service.store.contents import EvaluationFacts, Figure, FinetuneProtocol, Protocol, Value
from service.store.tables import WorkState

RankingState = Literal["queued", "running", "done", "canceled"]


class ZooFilter(BaseModel):
    """Every usable checkpoint of the zoo that has all of these."""

    model_config = ConfigDict(extra="forbid")

    architecture: Text | None = Field(None, description="As registered.")
    modality: Text | None = Field(None, description="As on the card.")
    source_task: Text | None = Field(None, description="As on the card.")
    source_data: Text | None = Field(None, description="As on the card.")
    licence: Text | None = Field(None, description="As on the card.")


class RankingRequest(BaseModel):
    """Which candidates shall be ranked for which dataset, and how."""

    model_config = ConfigDict(extra="forbid")

    dataset: Reference
    candidates: list[Reference] = Field(
        default_factory=list, max_length=1000, description="Checkpoints, each an id or a name."
    )
    filter: ZooFilter | None = Field(
        None, description="Candidates by what they are, added to the listed ones; {} takes the whole zoo."
    )
    measures: list[Text] | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="Default: all that apply to the dataset's task, "
        "but for the optional ones (`GET /v1/measures`), which take more than one epoch a candidate.",
    )
    order_by: Text | None = Field(
        None,
        description="What orders the list: `fused`, `history_prior`, or one of the measures. Default: `fused`, "
        "or the first of `measures` where no study has published how far any of them can be trusted.",
    )
    protocol: dict[str, Value] | None = Field(None, description="What shall differ from the default.")
    finetune_top: int = Field(0, ge=0, le=5, description="Finetune this many of the best afterwards.")
    finetune: dict[str, Value] | None = Field(
        None,
        description="What shall differ, in those finetune runs, from the ranking's own protocol; its `steps` "
        "are not taken over.",
    )


class CandidateOut(NamedOut):
    """A checkpoint in a ranking."""

    architecture: str = Field(description="What code builds its network.")


class ScoreOut(BaseModel):
    """One measure's number for one candidate."""

    value: float | None = Field(description="Higher is better; null: there is none.")
    position: int | None = Field(description="By this measure alone; null: not placed by it.")
    flags: list[str] = Field(description="Why it can be trusted less, in short.")
    seconds: float = Field(description="That the measure took.")
    reason: str | None = Field(description="Why there is no number.")
    record: dict[str, Figure] | None = Field(
        description="What the number was computed from; null unless asked for with `?records=true`."
    )


class RankedOut(BaseModel):
    """One row of the ranked list."""

    position: int | None = Field(description="By the ordering measure; equal scores share the better place.")
    evaluation: str = Field(description="The id of this candidate's row.")
    candidate: CandidateOut = Field(description="The checkpoint.")
    state: WorkState = Field(description="queued, running, done, failed or canceled.")
    reason: str | None = Field(description="Why it failed or was canceled.")
    stage: str | None = Field(description="What its worker does now.")
    steps_done: int = Field(description="Of this stage.")
    steps_total: int = Field(description="Of this stage; 0: not known yet.")
    attempts: int = Field(description="How many workers took it; more than one: some died.")
    scores: dict[str, ScoreOut] = Field(description="Measure -> its score, as far as they are there.")
    flags: list[str] = Field(description="Of the candidate, whatever the measure.")
    width: int | None = Field(description="Channels of the layer that AC-Corr is taken at.")
    seconds: float | None = Field(description="That the whole evaluation took.")
    finetune_seconds: float | None = Field(description="Estimate of a full finetune, all its epochs.")
    outcome: float | None = Field(description="Known on this very target, if any, in the ledger's metric.")
    reused_from: str | None = Field(description="The equal evaluation that these scores were taken from.")
    facts: EvaluationFacts = Field(
        description="What the worker noted beside the scores: losses, metrics, steps, seconds of its parts."
    )


class AnswerOut(BaseModel, from_attributes=True):
    """What the fused score says: which candidate, how sure, and whether the evidence separates it from others."""

    separated: bool = Field(
        description="The first leads in most resamplings of measures and past targets; else the answer abstains."
    )
    first: NamedOut = Field(description="The candidate with the highest fused score.")
    tied: list[NamedOut] = Field(
        description="When not separated: the candidates that can't be told apart, first too."
    )
    probability_best: float = Field(description="Of the first.")
    steadiness: float = Field(description="Share of resamplings of the evidence in which the first leads.")
    expected_regret: float | None = Field(
        description="Of choosing the first, in the outcome's unit; null: no outcome on other targets yet."
    )
    past_targets: int = Field(description="Other targets of this task, cohort left out, that it was learned from.")
    weights: dict[str, float] = Field(description="Measure -> its weight in the fused score's consensus.")
    next_run: NamedOut | None = Field(
        description="Whose finetune run would tell most for its time; null: separated, or all have outcomes."
    )
    next_run_seconds: float | None = Field(description="Estimate of that run.")
    text: str = Field(description="All of it in words.")


class TrackRecordOut(BaseModel, from_attributes=True):
    """How often each measure was right before, on targets like this one."""

    similar: str = Field(description="Which past targets count, in words.")
    targets: list[str] = Field(description="Their names.")
    measures: dict[str, AgreementOut | None] = Field(description="Measure -> its agreement; null: no history yet.")


class RankingSummary(BaseModel):
    """A ranking without its list."""

    id: str = Field(description="Sorts by creation; begins with rk_.")
    dataset: NamedOut = Field(description="The target.")
    state: RankingState = Field(description="done: nothing is open; failed candidates may be in the list.")
    counts: dict[str, int] = Field(description="Candidates by state.")
    order_by: str = Field(description="The measure that orders the list.")
    measures: list[str] = Field(description="All that are computed.")
    finetune_top: int = Field(description="So many of the best are finetuned afterwards.")
    created_at: datetime = Field(description="When it was requested.")


class RankingOut(RankingSummary):
    """A ranking with its ranked list, best first; partial while it runs."""

    epochs_per_candidate: int | None = Field(
        description="Training epochs that the measures take together; null: the workers don't say."
    )
    protocol: Protocol = Field(description="The same for every candidate, in full.")
    finetune_protocol: FinetuneProtocol = Field(description="Of the finetune runs it starts, in full.")
    flags: list[str] = Field(description="The candidates' own, and what only their comparison shows.")
    notes: list[str] = Field(description="What to keep in mind when reading the list.")
    answer: AnswerOut | None = Field(description="By the fused score; null while nothing is done that counts.")
    track_record: TrackRecordOut = Field(description="Of each measure; empty while the ranking runs.")
    finetune_seconds: float | None = Field(description="Estimate of a full finetune of the first.")
    finetune_runs: list[str] = Field(description="Ids of those it started.")
    ranked: list[RankedOut] = Field(description="One row a candidate.")


class CostOut(BaseModel):
    """What a ranking would take. Candidates whose equal evaluation is there already take nothing."""

    dataset: NamedOut = Field(description="The target.")
    candidates: int = Field(description="So many would be evaluated.")
    measures: list[str] = Field(description="All that would be computed.")
    null_epochs_per_candidate: int | None = Field(description="Of these, epochs on permuted labels.")
    epochs_per_candidate: int | None = Field(
        description="Training epochs of each candidate; null: the workers don't say."
    )
    epochs: int | None = Field(description="Training epochs of all candidates.")
    steps_per_epoch: int | None = Field(description="Null: the dataset has not been inspected yet.")
    steps: int | None = Field(description="Training steps of all candidates.")
    seconds: float | None = Field(description="Estimate for one worker; null: nothing tells.")
    seconds_from: str = Field(description="What the estimate rests on, or why there is none.")
