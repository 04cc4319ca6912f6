"""What follows the end of a job: waiting rows are sent again, outcomes recorded, answers become due."""

from __future__ import annotations

from sqlalchemy import Select, select

from service.jobs import widths
from service.jobs.answers import make_due
from service.jobs.messages import enqueue
from service.ledger import own_outcomes
from service.store import answers, ledger_changes, outcomes
from service.store.ledger_changes import ADDED, EVALUATION
from service.store.session import Session
from service.store.tables import Evaluation, FinetuneRun, Ranking, WorkState


def nothing(session: Session, row_id: str) -> None:
    """Nothing follows."""


def after_inspection(session: Session, dataset_id: str) -> None:
    """Send the evaluations and finetune runs again that wait for this dataset."""
    evaluations = select(Evaluation.id).join(Ranking).where(Ranking.dataset_id == dataset_id)
    runs = select(FinetuneRun.id).where(FinetuneRun.dataset_id == dataset_id)
    _send_waiting(session, evaluations, runs)


def after_preflight(session: Session, checkpoint_id: str) -> None:
    """Send the evaluations and finetune runs again that wait for this checkpoint, or for its width."""
    evaluations = select(Evaluation.id).where(Evaluation.checkpoint_id == checkpoint_id)
    runs = select(FinetuneRun.id).where(FinetuneRun.checkpoint_id == checkpoint_id)
    _send_waiting(session, evaluations, runs)
    for row_id in widths.waiting_for(session, checkpoint_id):
        enqueue(session, Evaluation, row_id)


def _send_waiting(session: Session, evaluations: Select[str], runs: Select[str]) -> None:
    for row_id in session.scalars(evaluations.where(Evaluation.state == WorkState.QUEUED)):
        enqueue(session, Evaluation, row_id)
    for row_id in session.scalars(runs.where(FinetuneRun.state == WorkState.QUEUED)):
        enqueue(session, FinetuneRun, row_id)


def after_evaluation(session: Session, evaluation_id: str) -> None:
    """Make the ranking's answer due if this was its last open evaluation; note scores that answers learn from."""
    columns = select(Evaluation.ranking_id, Evaluation.state).where(Evaluation.id == evaluation_id)
    ranking_id, state = session.execute(columns).one()
    settle(session, ranking_id)
    if state == WorkState.DONE:
        target = outcomes.target_of(session, ranking_id)
        ledger_changes.note(session, ADDED, [(EVALUATION, target)] if target else [])


def after_finetune_run(session: Session, run_id: str) -> None:
    """Record the outcomes of a run that is done, unless its request said otherwise."""
    run = session.get_one(FinetuneRun, run_id, populate_existing=True)
    if run.state == WorkState.DONE and run.record_outcome:
        own_outcomes.record(session, run)


def settle(session: Session, ranking_id: str) -> None:
    """Make the ranking's answer due when no evaluation is open any more."""
    session.flush()  # evaluations are locked before their ranking, see requests.cancel_ranking
    # NO KEY UPDATE: writing an evaluation twice takes a key lock on its ranking, which a plain FOR UPDATE
    # of two workers that end together would wait for crosswise.
    ranking = session.get_one(Ranking, ranking_id, with_for_update={"key_share": True})
    if not answers.has_open_evaluations(session, ranking_id):
        make_due(session, ranking)
