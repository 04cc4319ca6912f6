"""Rankings as they come and go over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from service.api.capabilities.options import GivenValue
from service.api.names import NamedOut, Reference, SourceOut, Text
from service.api.rankings.revision_schemas import AnswerOut
from service.store.answer_contents import TrackRecord
from service.store.contents import EvaluationFacts, Figure, FinetuneProtocol, Protocol
from service.store.tables import WorkState

RankingState = Literal["queued", "running", "done", "failed", "canceled"]
PartlyLoaded = Literal["last", "mixed"]


class ZooFilter(BaseModel):
    """All usable checkpoints of the zoo that have every one of these values."""

    model_config = ConfigDict(extra="forbid")

    architecture: Text | None = Field(None, description="Name of the architecture as registered.")
    modality: Text | None = Field(None, description="Modality on the checkpoint's card.")
    source_task: Text | None = Field(None, description="Source task on the checkpoint's card.")
    source_data: Text | None = Field(None, description="Source data on the checkpoint's card.")
    licence: Text | None = Field(None, description="Licence on the checkpoint's card.")


class RankingRequest(BaseModel):
    """Which candidates to rank for which dataset, and how."""

    model_config = ConfigDict(extra="forbid")

    dataset: Reference
    candidates: list[Reference] = Field(
        default_factory=list, max_length=10_000, description="Checkpoints to rank, each by id or name."
    )
    filter: ZooFilter | None = Field(
        None, description="Checkpoints to rank by what they are, besides the listed ones; {} takes the whole zoo."
    )
    measures: list[Text] | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="Measures to compute; null takes all that apply to the target task and are not optional.",
    )
    order_by: Text | None = Field(
        None,
        description="What orders the list: `fused`, `history_prior` or a measure. Null takes `fused`, or a "
        "single measure where no study says how far the measures can be trusted.",
    )
    protocol: dict[str, GivenValue] | None = Field(
        None, description="Fields of the protocol that differ from the default (`GET /v1/protocols`)."
    )
    finetune_top: int = Field(
        0, ge=0, le=5, description="Number of best candidates that are finetuned afterwards."
    )
    finetune: dict[str, GivenValue] | None = Field(
        None,
        description="Fields in which the protocol of those finetune runs differs from the ranking's; `steps` is "
        "never taken over.",
    )
    comparison_group: Text | None = Field(
        None,
        description="Id of the comparison group whose outcomes count on targets that have any (see "
        "`GET /v1/agreement`); null takes the group with the most evidence on each.",
    )
    tolerance: float | None = Field(
        None,
        gt=0,
        le=1e6,
        description="How much worse than the best of these candidates a choice may be, in the metric's unit: 0.01 "
        "is one point of Dice or AUC, which null takes for a metric from 0 to 1.",
    )
    risk: float = Field(
        0.2, ge=0.01, le=0.5, description="Probability with which a choice may be worse than the tolerance allows."
    )
    partly_loaded: PartlyLoaded = Field(
        "last",
        description="Where candidates stand that are partly loaded: `last`, without a place and after all others, "
        "or `mixed`, placed by their scores as the others are.",
    )
    note: Text | None = Field(None, description="Your own words about the ranking; they change nothing in it.")


class RankingChange(BaseModel):
    """What can be changed of a ranking; its candidates, dataset and protocol stay as they were requested."""

    model_config = ConfigDict(extra="forbid")

    note: Text | None = Field(description="Your own words about the ranking; null takes them away.")


class CandidateOut(SourceOut):
    """A checkpoint that is ranked."""

    architecture: str = Field(description="Name of the architecture that builds the network.")


class ScoreOut(BaseModel):
    """The score of one measure for one candidate."""

    value: float | None = Field(
        description="Number that the measure gave, higher is better; null where there is none."
    )
    spread: float | None = Field(
        description="Standard deviation of the number over random starts; null where it does not depend on any."
    )
    position: int | None = Field(
        description="Place of the candidate by this measure alone; null where it has none."
    )
    flags: list[str] = Field(
        description="Names of flags that say why the score can be trusted less (`GET /v1/flags`)."
    )
    seconds: float = Field(description="Seconds that the measure took to compute.")
    reason: str | None = Field(description="Reason why there is no number; null otherwise.")
    record: dict[str, Figure] | None = Field(
        description="Figures that the number was computed from; null unless asked for with `?records=true`."
    )


class RankedOut(BaseModel):
    """One row of the ranked list: a candidate with its scores."""

    position: int | None = Field(description="Place by the ordering measure; equal scores share the better place.")
    evaluation: str = Field(description="Id of the evaluation of this candidate.")
    candidate: CandidateOut = Field(description="Checkpoint that is or was evaluated.")
    state: WorkState = Field(description="State of the candidate's evaluation.")
    reason: str | None = Field(description="Reason why the evaluation failed or was canceled; null otherwise.")
    stage: str | None = Field(description="Phase of the job that its worker is in; null where none works on it.")
    steps_done: int = Field(description="Number of steps of this phase that are done.")
    steps_total: int = Field(description="Number of steps of this phase; 0 where it is not known yet.")
    attempts: int = Field(
        description="Number of workers that took the evaluation; more than one means that some died."
    )
    scores: dict[str, ScoreOut] = Field(
        description="Scores by the names of their measures, as far as they are there."
    )
    flags: list[str] = Field(description="Names of the candidate's flags, whatever the measure.")
    width: int | None = Field(description="Number of channels of the layer that AC-Corr is taken at.")
    seconds: float | None = Field(description="Seconds that the whole evaluation took.")
    finetune_seconds: float | None = Field(description="Estimated seconds of a full finetune with all its epochs.")
    outcome: float | None = Field(
        description="Outcome of the candidate on this very target, in the ledger's metric; null where there is "
        "none."
    )
    reused_from: str | None = Field(
        description="Id of the equal evaluation that the scores were copied from; null where they were computed."
    )
    facts: EvaluationFacts = Field(description="What the worker noted beside the scores.")


class RankingSummary(BaseModel):
    """A ranking without its ranked list."""

    id: str = Field(description="Id of the ranking, which begins with rk_ and sorts by creation.")
    dataset: NamedOut = Field(description="Dataset that the candidates are ranked for.")
    state: RankingState = Field(
        description="State of the ranking; done means that no evaluation is open, though some may have failed; "
        "failed means that all of them failed. It is done once its answer is stored."
    )
    counts: dict[str, int] = Field(description="Number of candidates in each state.")
    order_by: str = Field(description="Measure or derived score that orders the list.")
    measures: list[str] = Field(description="Measures that are computed for every candidate.")
    finetune_top: int = Field(description="Number of best candidates that are finetuned afterwards.")
    comparison_group: str | None = Field(
        description="Comparison group that the request named; null where the group with the most evidence counts."
    )
    tolerance: float | None = Field(
        description="How much worse than the best a choice may be, as requested; null takes the metric's usual."
    )
    risk: float = Field(description="Probability with which a choice may be worse than that, as requested.")
    partly_loaded: PartlyLoaded = Field(
        description="Where candidates stand that are partly loaded: last or mixed with the others."
    )
    note: str | None = Field(description="The user's own words about the ranking; null where there are none.")
    created_at: datetime = Field(description="Time at which the ranking was requested.")


class RankingOut(RankingSummary):
    """A ranking with its ranked list, best first; the list is partial while the ranking runs."""

    epochs_per_candidate: int | None = Field(
        description="Training epochs that the measures take together for each candidate; null where the workers "
        "do not say."
    )
    protocol: Protocol = Field(description="Protocol that is the same for every candidate, in full.")
    finetune_protocol: FinetuneProtocol = Field(
        description="Protocol of the finetune runs that the ranking starts, in full."
    )
    flags: list[str] = Field(
        description="Names of flags of the candidates, and of those that only their comparison shows."
    )
    waiting: str | None = Field(
        description="Why queued evaluations stand still and since when: no worker is alive; null otherwise."
    )
    notes: list[str] = Field(description="What to keep in mind when reading the list.")
    answer: AnswerOut = Field(
        description="Answer of the fused score: the stored one once the ranking is over, else by the ledger now."
    )
    track_record: TrackRecord = Field(description="Track record of each measure; empty while the ranking runs.")
    finetune_seconds: float | None = Field(
        description="Estimated seconds of a full finetune of the first candidate."
    )
    finetune_runs: list[str] = Field(description="Ids of the finetune runs that the ranking started.")
    ranked: list[RankedOut] = Field(
        description="One row for each candidate, best first: at most `limit`, from row `first` on."
    )


class CostOut(BaseModel):
    """What a ranking would cost. A candidate whose equal evaluation is stored already costs nothing."""

    dataset: NamedOut = Field(description="Dataset that the candidates would be ranked for.")
    candidates: int = Field(description="Number of candidates that would be evaluated.")
    measures: list[str] = Field(description="Measures that would be computed for every candidate.")
    null_epochs_per_candidate: int | None = Field(
        description="Number of these epochs that are on permuted labels."
    )
    epochs_per_candidate: int | None = Field(
        description="Training epochs of each candidate; null where the workers do not say."
    )
    epochs: int | None = Field(description="Training epochs of all candidates together.")
    steps_per_epoch: int | None = Field(
        description="Training steps of one epoch; null before the dataset was inspected."
    )
    steps: int | None = Field(description="Training steps of all candidates together.")
    seconds: float | None = Field(
        description="Estimated seconds on one worker; null where no past evaluation is like these."
    )
    seconds_from: str = Field(description="What the estimate rests on, or why there is none.")
