"""Every table. Times are seconds since 1970, UTC; ids sort by creation."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, Dialect, ForeignKey, MetaData, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from service.store.answer_contents import RevisionContent
from service.store.contents import (
    Card,
    EvaluationFacts,
    Exclusions,
    FinetuneProtocol,
    FinetuneResult,
    Inspection,
    Preflight,
    Protocol,
    ScoreRecord,
    Value,
)
from service.store.dict_form import Json, read, stored

Values = dict[str, Value]  # parameters of an architecture, options of a method


class Content(TypeDecorator[Any]):
    """A JSON column that holds the dict form of one kind of content."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def __init__(self, kind: type[Any]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: object | None, dialect: Dialect) -> Json | None:
        """The dict form that goes into the column."""
        if value is not None and not isinstance(value, self.kind):
            raise TypeError(f"this column holds a {self.kind.__name__}, not a {type(value).__name__}")
        return None if value is None else stored(value)

    def process_result_value(self, value: Json | None, dialect: Dialect) -> object | None:
        """The content that comes out of the column."""
        return None if value is None else read(self.kind, value)


def new_id(prefix: str) -> Callable[[], str]:
    """Ids of one kind: the prefix, the milliseconds, 40 random bits; later ids sort later."""
    return lambda: f"{prefix}_{time.time_ns() // 1_000_000:011x}{secrets.token_hex(5)}"


class WorkState(StrEnum):
    """The state of a row that a worker works on, and of a ranking as a whole."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELED = "canceled"


OPEN_STATES = (WorkState.QUEUED, WorkState.RUNNING)
ENDED_STATES = (WorkState.DONE, WorkState.FAILED, WorkState.CANCELED)


class Base(DeclarativeBase):
    """Constraint names are fixed, so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {Json: JSON, Values: JSON, list[Any]: JSON, str: Text}  # noqa: RUF012 - SQLAlchemy's own form


class Worked(Base):
    """A row that is worked on by exactly one worker at a time.

    state: queued, running, done, failed or canceled. `attempts` is also the fencing token: it grows with every
    claim, and a write that carries an older one changes nothing. `releases` counts the attempts whose process was
    not ended by a fault of the job: those do not count against the row. `not_before` is the time of the
    database's clock before which a lost job is not tried again. `job` is the dotted name of the worker's function
    for such a row, which is also the name of its Celery task.
    """

    __abstract__ = True
    job: ClassVar[str]
    id: Mapped[str]

    state: Mapped[str] = mapped_column(default=WorkState.QUEUED, index=True)
    reason: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(default=0)
    releases: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[float | None]
    not_before: Mapped[float | None]
    sent_at: Mapped[float] = mapped_column(default=time.time)
    worker: Mapped[str | None]
    stage: Mapped[str | None]
    steps_done: Mapped[int] = mapped_column(default=0)
    steps_total: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[float] = mapped_column(default=time.time)
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]


class Dataset(Worked):
    """A target dataset; worked on by inspection."""

    job = "worker.tasks.datasets.inspect_dataset"
    __tablename__ = "datasets"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id("ds"))
    name: Mapped[str] = mapped_column(unique=True)
    uri: Mapped[str]
    task: Mapped[str]
    spatial_dims: Mapped[int]
    modality: Mapped[str | None]
    cohort: Mapped[str | None]
    fingerprint: Mapped[str | None]
    inspection: Mapped[Inspection | None] = mapped_column(Content(Inspection))


class Checkpoint(Worked):
    """A checkpoint of the zoo; worked on by preflight."""

    job = "worker.tasks.checkpoints.preflight_checkpoint"
    __tablename__ = "checkpoints"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id("ck"))
    name: Mapped[str] = mapped_column(unique=True)
    uri: Mapped[str]
    architecture: Mapped[str] = mapped_column(index=True)
    parameters: Mapped[Values]
    card: Mapped[Card] = mapped_column(Content(Card))
    allow_partial: Mapped[bool] = mapped_column(default=False)
    sha256: Mapped[str | None]
    preflight: Mapped[Preflight | None] = mapped_column(Content(Preflight))

    @property
    def percent_loaded(self) -> float | None:
        """Share of the network's numbers outside its head that the file holds; None before the preflight."""
        return None if self.preflight is None else self.preflight.percent_loaded

    @property
    def partly_loaded(self) -> bool:
        """Whether some of those numbers are not the file's but random."""
        return self.percent_loaded is not None and self.percent_loaded < 100


class Ranking(Base):
    """A request to rank candidates on a dataset; its state is derived from its evaluations.

    `answer_due_at` is when the last evaluation ended, until the answer is stored.
    """

    __tablename__ = "rankings"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id("rk"))
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), index=True)
    measures: Mapped[list[Any]]
    order_by: Mapped[str]
    protocol: Mapped[Protocol] = mapped_column(Content(Protocol))
    finetune_top: Mapped[int] = mapped_column(default=0)
    finetune_method: Mapped[str]
    finetune_protocol: Mapped[FinetuneProtocol] = mapped_column(Content(FinetuneProtocol))
    partly_loaded: Mapped[str] = mapped_column(default="last")  # or "mixed": where such candidates stand
    comparison_group: Mapped[str | None]  # its outcomes count on targets that have any; None: the most evidence
    tolerance: Mapped[float | None]  # how much worse than the best a choice may be; None: the metric's usual
    risk: Mapped[float] = mapped_column(default=0.2)  # with what probability it may be worse
    note: Mapped[str | None]  # the user's own words
    created_at: Mapped[float] = mapped_column(default=time.time)
    canceled_at: Mapped[float | None]
    answer_due_at: Mapped[float | None] = mapped_column(index=True)


class Evaluation(Worked):
    """One candidate of one ranking."""

    job = "worker.tasks.rankings.score_candidate"
    __tablename__ = "evaluations"
    __table_args__ = (UniqueConstraint("ranking_id", "checkpoint_id"),)
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id("ev"))
    ranking_id: Mapped[str] = mapped_column(ForeignKey("rankings.id"), index=True)
    checkpoint_id: Mapped[str] = mapped_column(ForeignKey("checkpoints.id"), index=True)
    content_key: Mapped[str | None] = mapped_column(index=True)
    reused_from: Mapped[str | None]
    facts: Mapped[EvaluationFacts | None] = mapped_column(Content(EvaluationFacts))


class Score(Base):
    """One measure's number for one evaluation, or the reason there is none."""

    __tablename__ = "scores"
    evaluation_id: Mapped[str] = mapped_column(ForeignKey("evaluations.id"), primary_key=True)
    measure: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[float | None]
    spread: Mapped[float | None]  # standard deviation of the value over random starts
    seconds: Mapped[float]
    flags: Mapped[list[Any]]
    record: Mapped[ScoreRecord] = mapped_column(Content(ScoreRecord))
    reason: Mapped[str | None]


class FinetuneRun(Worked):
    """One training of one checkpoint on one dataset."""

    job = "worker.tasks.finetune_runs.run_finetune"
    __tablename__ = "finetune_runs"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id("ft"))
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), index=True)
    checkpoint_id: Mapped[str] = mapped_column(ForeignKey("checkpoints.id"), index=True)
    ranking_id: Mapped[str | None] = mapped_column(ForeignKey("rankings.id"), index=True)
    method: Mapped[str]
    options: Mapped[Values] = mapped_column(default=dict)
    protocol: Mapped[FinetuneProtocol] = mapped_column(Content(FinetuneProtocol))
    record_outcome: Mapped[bool] = mapped_column(default=True)  # whether its test metrics enter the ledger
    note: Mapped[str | None]  # the user's own words
    result: Mapped[FinetuneResult | None] = mapped_column(Content(FinetuneResult))


class Event(Base):
    """A job began or ended: the row that was worked on, its state from then on, and the attempt."""

    __tablename__ = "events"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id("jo"))
    at: Mapped[float] = mapped_column(default=time.time, index=True)
    job: Mapped[str]
    row_id: Mapped[str] = mapped_column(index=True)
    state: Mapped[str]
    attempt: Mapped[int]
    reason: Mapped[str | None]


class ComparisonGroup(Base):
    """What runs must share for their outcomes to be compared: method, options and protocol without the seed.

    The protocol is that of the first run, so its seed is that run's.
    """

    __tablename__ = "comparison_groups"
    id: Mapped[str] = mapped_column(primary_key=True)
    method: Mapped[str]
    options: Mapped[Values] = mapped_column(default=dict)
    protocol: Mapped[FinetuneProtocol] = mapped_column(Content(FinetuneProtocol))


class LedgerRow(Base):
    """One outcome, of a run of this service or imported, or one imported score.

    `target` and `candidate` are names, with or without data or weights here: a dataset or checkpoint of that name
    is what they mean. Outcomes compare within one `comparison_group`: the id of a row of ComparisonGroup, or the
    source of an import. `cases` are the outcomes of the test images, for the metric that a task is judged by. A
    row that is `excluded` counts nowhere; `exclusions` say when and why that was changed. `finetune_run_id` tells
    the training of an own run from others, also when the run was removed.
    """

    __tablename__ = "ledger"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_id("lg"))
    key: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    target: Mapped[str] = mapped_column(index=True)
    candidate: Mapped[str] = mapped_column(index=True)
    name: Mapped[str]
    value: Mapped[float]
    higher_is_better: Mapped[bool]
    seed: Mapped[int | None] = mapped_column(BigInteger)
    method: Mapped[str | None]
    comparison_group: Mapped[str]
    cohort: Mapped[str | None]
    modality: Mapped[str | None]
    task: Mapped[str | None]
    source: Mapped[str]
    finetune_run_id: Mapped[str | None]
    cases: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    excluded: Mapped[bool] = mapped_column(default=False)
    exclusions: Mapped[Exclusions | None] = mapped_column(Content(Exclusions))
    created_at: Mapped[float] = mapped_column(default=time.time)


class LedgerRevision(Base):
    """The one row that counts the changes of the ledger; a transaction that changes the ledger locks it last."""

    __tablename__ = "ledger_revision"
    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(default=0)


class LedgerChange(Base):
    """One change of what answers are learned from, by the ledger's revision from then on.

    `change` is added, replaced, removed, excluded or included; `kind` is outcome, score, evaluation or description
    (task, modality and cohort), of which so many (`count`) on one target changed.
    """

    __tablename__ = "ledger_changes"
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[float] = mapped_column(default=time.time)
    change: Mapped[str]
    kind: Mapped[str]
    target: Mapped[str]
    count: Mapped[int]


class AnswerRevision(Base):
    """What a ranking said at one time: never changed, but for `holds_until`.

    The content was learned from the ledger at `ledger_revision`. `holds_until` is the latest revision of the
    ledger at which the answer was derived again and was the same.
    """

    __tablename__ = "answer_revisions"
    ranking_id: Mapped[str] = mapped_column(ForeignKey("rankings.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[float] = mapped_column(default=time.time)
    ledger_revision: Mapped[int]
    holds_until: Mapped[int]
    content: Mapped[RevisionContent] = mapped_column(Content(RevisionContent))


class Capability(Base):
    """Something the workers can do, published by them: a measure, method, architecture, card or default."""

    __tablename__ = "capabilities"
    kind: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    body: Mapped[Json]


new_worker_id = new_id("wk")


class Worker(Base):
    """A worker's parent process, alive or not; what runs beside it writes that it was seen.

    Times are the database's, so that one clock decides which worker is alive. `stopped_at` is null unless the
    worker was stopped in good order.
    """

    __tablename__ = "workers"
    id: Mapped[str] = mapped_column(primary_key=True, default=new_worker_id)
    host: Mapped[str]
    pid: Mapped[int]
    devices: Mapped[list[Any]]
    started_at: Mapped[float]
    seen_at: Mapped[float]
    stopped_at: Mapped[float | None]


class Sweep(Base):
    """The one row that says when the last sweep for lost work began, by the database's clock; 0 is never."""

    __tablename__ = "sweeps"
    id: Mapped[int] = mapped_column(primary_key=True)
    began_at: Mapped[float] = mapped_column(default=0.0)


class IdempotentRequest(Base):
    """An answered POST, kept under its Idempotency-Key so that a repeat gets the same answer."""

    __tablename__ = "idempotent_requests"
    key: Mapped[str] = mapped_column(primary_key=True)
    route: Mapped[str] = mapped_column(primary_key=True)
    body_hash: Mapped[str]
    status: Mapped[int]
    body: Mapped[Json]
    created_at: Mapped[float] = mapped_column(default=time.time)
