"""Rankings: the request, one evaluation a candidate, their scores, and what follows when all are over."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, exists, func, select, update
from sqlalchemy.orm import Session, defer

from service import queue
from service.store import finetune_runs
from service.store.claims import OPEN_STATES, Claim, hold
from service.store.fusion import Fusion, fusion
from service.store.pages import page
from service.store.ranked_list import Candidate, in_order
from service.store.session import ring
from service.store.tables import Checkpoint, Dataset, Evaluation, FinetuneRun, Json, Ranking, Score
from service.store.waiting import (
    CandidateCheckpoint,
    TargetDataset,
    candidate_of,
    claim_when_ready,
    target_of,
)


@dataclass(frozen=True)
class EvaluationWork:
    """A claimed evaluation: everything a worker needs to compute it."""

    held: Claim
    ranking_id: str
    dataset: TargetDataset
    checkpoint: CandidateCheckpoint
    measures: tuple[str, ...]
    protocol: Json


def create(session: Session, ranking: Ranking, checkpoints: Sequence[Checkpoint]) -> Ranking:
    """Insert a ranking with one queued evaluation per candidate; ring for each."""
    session.add(ranking)
    session.flush()
    rows = [Evaluation(ranking_id=ranking.id, checkpoint_id=checkpoint.id) for checkpoint in checkpoints]
    session.add_all(rows)
    session.flush()
    for row in rows:
        ring(session, queue.SCORE_CANDIDATE, row.id)
    return ranking


def find(session: Session, ranking_id: str) -> Ranking | None:
    """The ranking with this id."""
    return session.get(Ranking, ranking_id)


def listed(
    session: Session,
    *,
    after: str | None,
    limit: int,
    dataset_id: str | None = None,
    state: str | None = None,
) -> list[Ranking]:
    """One page, newest first."""
    query = select(Ranking)
    if dataset_id:
        query = query.where(Ranking.dataset_id == dataset_id)
    if state:
        query = query.where(_in_state(state))
    return page(session, query, Ranking.id, after=after, limit=limit)


@dataclass(frozen=True)
class RankedList:
    """Candidates in order, and what the ledger says of them."""

    candidates: list[Candidate]
    fusion: Fusion


def ranked(session: Session, ranking: Ranking, *, records: bool = False) -> RankedList:
    """The ranked list, best first, derived from the rows at every call; the scores' long records on demand."""
    # Evaluations before scores: one that is done has all its scores, also where each query sees its own moment.
    rows = session.execute(
        select(Evaluation, Checkpoint)
        .join(Checkpoint, Evaluation.checkpoint_id == Checkpoint.id)
        .where(Evaluation.ranking_id == ranking.id)
        .order_by(Evaluation.id)
    ).all()
    scores: dict[str, list[Score]] = {}
    of_ranking = select(Score).join(Evaluation).where(Evaluation.ranking_id == ranking.id)
    if not records:
        of_ranking = of_ranking.options(defer(Score.record))
    for score in session.scalars(of_ranking):
        scores.setdefault(score.evaluation_id, []).append(score)
    done = {
        ck.name: {one.measure: one for one in scores.get(row.id, [])} for row, ck in rows if row.state == "done"
    }
    fused = fusion(session, ranking, done)
    with_derived = [
        (row, ck, scores.get(row.id, []) + (fused.scores(ck.name) if ck.name in done else [])) for row, ck in rows
    ]
    return RankedList(in_order(with_derived, order_by=ranking.order_by), fused)


def states(session: Session, ranking_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """How many evaluations of each ranking are in which state."""
    counts: dict[str, dict[str, int]] = {ranking_id: {} for ranking_id in ranking_ids}
    query = (
        select(Evaluation.ranking_id, Evaluation.state, func.count())
        .where(Evaluation.ranking_id.in_(ranking_ids))
        .group_by(Evaluation.ranking_id, Evaluation.state)
    )
    for ranking_id, state, count in session.execute(query):
        counts[ranking_id][state] = count
    return counts


def state_of(counts: Mapping[str, int]) -> str:
    """The state of a ranking whose evaluations are in these states."""
    if not any(counts.get(state) for state in OPEN_STATES):
        return "canceled" if counts.get("canceled") else "done"
    return "queued" if set(counts) == {"queued"} else "running"


def _in_state(state: str) -> ColumnElement[bool]:
    def has(*states: str) -> ColumnElement[bool]:
        return exists().where(Evaluation.ranking_id == Ranking.id, Evaluation.state.in_(states))

    is_open, ended = has(*OPEN_STATES), has("done", "failed", "canceled")
    return {
        "done": ~is_open & ~has("canceled"),
        "canceled": ~is_open & has("canceled"),
        "queued": is_open & ~has("running") & ~ended,
        "running": is_open & (has("running") | ended),
    }[state]


def cancel(session: Session, ranking: Ranking) -> None:
    """Cancel what is not over yet; its workers find out at their next heartbeat.

    Evaluations are locked before their ranking, as by whoever ends one, so that neither waits for the other
    crosswise; finetune runs come last, since nobody starts one of a ranking that is locked or canceled.
    """
    _cancel_open(session, Evaluation, ranking.id)
    ranking.canceled_at = ranking.canceled_at or time.time()
    session.flush()
    _cancel_open(session, FinetuneRun, ranking.id)


def _cancel_open(session: Session, kind: type[Evaluation] | type[FinetuneRun], ranking_id: str) -> None:
    still_open = select(kind.id).where(kind.ranking_id == ranking_id, kind.state.in_(OPEN_STATES))
    locked = session.scalars(still_open.order_by(kind.id).with_for_update()).all()
    session.execute(
        update(kind)
        .where(kind.id.in_(locked))
        .values(state="canceled", reason="the ranking was canceled", finished_at=time.time())
    )


def claim_evaluation(session: Session, evaluation_id: str, *, worker: str) -> EvaluationWork | None:
    """Claim an evaluation whose dataset and checkpoint are ready, if it is to be had."""
    row = session.get(Evaluation, evaluation_id)
    if row is None or row.state not in OPEN_STATES:
        return None
    ranking = session.get_one(Ranking, row.ranking_id)
    dataset = session.get_one(Dataset, ranking.dataset_id)
    checkpoint = session.get_one(Checkpoint, row.checkpoint_id)
    held = claim_when_ready(session, row, (dataset, checkpoint), worker=worker)
    if held is None:
        settle(session, ranking.id)
        return None
    return EvaluationWork(
        held=held,
        ranking_id=ranking.id,
        dataset=target_of(dataset),
        checkpoint=candidate_of(checkpoint),
        measures=tuple(ranking.measures),
        protocol=ranking.protocol,
    )


def record_score(session: Session, held: Claim, score: Score) -> None:
    """Keep one measure's score of a claimed evaluation (once: a second recording replaces the first)."""
    hold(session, held)
    score.evaluation_id = held.id
    session.merge(score)


def copy_scores(session: Session, work: EvaluationWork, content_key: str) -> Evaluation | None:
    """Give a claimed evaluation the scores of an equal one that has them all; that one, or None."""
    equal = (
        select(Evaluation)
        .where(Evaluation.content_key == content_key, Evaluation.state == "done")
        .order_by(Evaluation.id.desc())
    )
    for donor in session.scalars(equal):
        scores = session.scalars(select(Score).where(Score.evaluation_id == donor.id)).all()
        if {score.measure for score in scores} >= set(work.measures):
            for score in scores:
                if score.measure in work.measures:
                    record_score(session, work.held, _copy(score))
            return donor
    return None


def _copy(score: Score) -> Score:
    fields = ("measure", "value", "seconds", "flags", "record", "reason")
    return Score(**{field: getattr(score, field) for field in fields})


def settle(session: Session, ranking_id: str) -> None:
    """When no evaluation is open any more, start the finetune runs that the request asked for, once."""
    session.flush()  # evaluations are locked before their ranking, see cancel
    # NO KEY UPDATE: writing an evaluation twice takes a key lock on its ranking, which a plain FOR UPDATE
    # of two workers ending together would wait for crosswise.
    ranking = session.get_one(Ranking, ranking_id, with_for_update={"key_share": True})
    still_open = exists().where(Evaluation.ranking_id == ranking_id, Evaluation.state.in_(OPEN_STATES))
    started = exists().where(FinetuneRun.ranking_id == ranking_id)
    if ranking.finetune_top == 0 or ranking.canceled_at or session.scalar(select(still_open | started)):
        return
    best = [candidate for candidate in ranked(session, ranking).candidates if candidate.position is not None]
    for candidate in best[: ranking.finetune_top]:
        run = FinetuneRun(
            dataset_id=ranking.dataset_id,
            checkpoint_id=candidate.checkpoint.id,
            ranking_id=ranking.id,
            method="ac_norm",
            protocol=ranking.finetune_protocol,
        )
        finetune_runs.create(session, run)
