"""Claims, fencing, the sweep, settling and order: the promises that the store makes to workers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Select, select, update

from service.api.rankings.service import ranked
from service.jobs import claims, ending, requests
from service.jobs.answers import WITHHELD
from service.jobs.claims import Claim, LeaseLostError, claim, finish, renew
from service.jobs.messages import outbox_of
from service.jobs.scores import copy_scores, record_score
from service.jobs.work import claim_evaluation, claim_inspection
from service.ledger.ranked_list import rank
from service.settings import Settings, settings
from service.store import answers, finetune_runs, rankings
from service.store.contents import EvaluationFacts
from service.store.session import reading, transaction
from service.store.tables import Dataset, Evaluation, FinetuneRun, Score
from tests.service.conftest import (
    add_checkpoint,
    add_dataset,
    add_ranking,
    evaluate,
    evaluations,
    fail,
    publish,
    score_of,
)

pytestmark = pytest.mark.usefixtures("published")


@pytest.fixture
def published(configured: Settings) -> None:
    """A database where a worker has published what it can do."""
    with transaction() as session:
        publish(session)


def _together(*work: Callable[[], object]) -> list[object]:
    barrier = threading.Barrier(len(work))

    def start(one: Callable[[], object]) -> object:
        barrier.wait()
        return one()

    with ThreadPoolExecutor(len(work)) as threads:
        return list(threads.map(start, work))


def _claim(row_id: str, worker: str = "w") -> Claim | None:
    with transaction() as session:
        return claim(session, Dataset, row_id, worker=worker)


def _queued() -> str:
    with transaction() as session:
        return add_dataset(session, ready=False).id


def _expire(kind: type = Dataset) -> None:
    with transaction() as session:
        session.execute(update(kind).where(kind.state == "running").values(lease_until=1.0))


def _die(fault: str | None) -> None:
    with transaction() as session:
        ending.child_died(session, "w", fault)


def _row(row_id: str) -> Dataset:
    with reading() as session:
        return session.get_one(Dataset, row_id)


def _sweep() -> list[tuple[str, str]]:
    with transaction() as session:
        ending.sweep(session)
        return outbox_of(session)


def test_of_many_simultaneous_claims_one_succeeds() -> None:
    row_id = _queued()
    won = _together(*[lambda: _claim(row_id)] * 8)
    assert sum(one is not None for one in won) == 1
    assert (_row(row_id).state, _row(row_id).attempts) == ("running", 1)


def test_a_claimed_row_is_not_to_be_had_until_its_lease_ends() -> None:
    row_id = _queued()
    assert _claim(row_id) is not None
    assert _claim(row_id) is None
    _expire()
    second = _claim(row_id)
    assert second is not None
    assert second.token == 2


def test_a_stale_token_writes_nothing() -> None:
    row_id = _queued()
    stale = _claim(row_id)
    _expire()
    fresh = _claim(row_id, "other")
    assert stale is not None
    assert fresh is not None
    for write in (
        lambda session: renew(session, stale, stage="late", done=1, total=2),
        lambda session: finish(session, stale, state="failed", reason="late"),
    ):
        with pytest.raises(LeaseLostError), transaction() as session:
            write(session)
    assert (_row(row_id).state, _row(row_id).stage, _row(row_id).worker) == ("running", "starting", "other")
    with transaction() as session:
        finish(session, fresh, state="done", fingerprint="f")
    assert _row(row_id).state == "done"
    with pytest.raises(LeaseLostError), transaction() as session:
        finish(session, fresh, state="failed")


def test_a_stale_token_records_no_score() -> None:
    with transaction() as session:
        ranking = add_ranking(session, ["a"])
        row = evaluations(session, ranking)["a"]
        stale = claim_evaluation(session, row.id, worker="w")
    assert stale is not None
    _expire(Evaluation)
    with transaction() as session:
        fresh = claim_evaluation(session, row.id, worker="v")
    assert fresh is not None
    with pytest.raises(LeaseLostError), transaction() as session:
        record_score(session, stale.claim, score_of(0.1))
    with transaction() as session:
        record_score(session, fresh.claim, score_of(0.2))
    with transaction() as session:
        record_score(session, fresh.claim, score_of(0.3))
    with reading() as session:
        assert [score.value for score in session.scalars(select(Score))] == [0.3]


def test_renewing_holds_the_lease_by_the_database_clock(configured: Settings) -> None:
    row_id = _queued()
    held = _claim(row_id)
    assert held is not None
    _expire()
    with transaction() as session:
        renew(session, held, stage="reading", done=1, total=9)
    row = _row(row_id)
    assert row.started_at is not None
    assert row.lease_until is not None
    assert row.lease_until - row.started_at == pytest.approx(configured.lease_seconds, abs=5)
    assert _claim(row_id) is None


def test_the_sweep_gives_back_what_a_dead_worker_held() -> None:
    row_id = _queued()
    assert _claim(row_id) is not None
    assert _sweep() == []
    _expire()
    assert _sweep() == [(Dataset.job, row_id)]
    assert _row(row_id).state == "queued"


def test_work_whose_workers_all_died_fails_with_that_reason() -> None:
    row_id = _queued()
    for _ in range(settings().attempts):
        assert _claim(row_id) is not None
        _die("its process crashed (SIGSEGV)")
    assert _row(row_id).state == "failed"
    assert "died 3 times" in (_row(row_id).reason or "")
    assert _claim(row_id) is None


def test_simultaneous_sweeps_do_one_sweep() -> None:
    row_id = _queued()
    assert _claim(row_id) is not None
    _expire()
    rung = _together(*[_sweep] * 4)
    assert sum(len(bells) for bells in rung if isinstance(bells, list)) == 1
    assert _row(row_id).attempts == 1


def test_what_waits_too_long_is_rung_again() -> None:
    row_id = _queued()
    assert _sweep() == []
    with transaction() as session:
        session.execute(update(Dataset).values(sent_at=1.0))
    assert _sweep() == [(Dataset.job, row_id)]
    assert _sweep() == []


def test_an_evaluation_waits_for_what_it_needs_and_is_rung_for() -> None:
    with transaction() as session:
        ranking = add_ranking(session, ["a"], dataset_id=add_dataset(session, "late", ready=False).id)
        row = evaluations(session, ranking)["a"]
        assert claim_evaluation(session, row.id, worker="w") is None
    with transaction() as session:
        work = claim_inspection(session, ranking.dataset_id, worker="w")
        assert work is not None
        ending.complete(session, work.claim, state="done", fingerprint="f")
        assert (Evaluation.job, row.id) in outbox_of(session)
    with transaction() as session:
        assert claim_evaluation(session, row.id, worker="w") is not None


def test_a_failed_dataset_fails_its_evaluations_with_its_reason() -> None:
    with transaction() as session:
        ranking = add_ranking(session, ["a"], dataset_id=add_dataset(session, "bad", ready=False).id)
        row = evaluations(session, ranking)["a"]
        work = claim_inspection(session, ranking.dataset_id, worker="w")
        assert work is not None
        ending.complete(session, work.claim, state="failed", reason="one class only")
    with transaction() as session:
        assert claim_evaluation(session, row.id, worker="w") is None
    with reading() as session:
        own = session.get_one(Evaluation, row.id)
        assert (own.state, own.reason) == ("failed", "dataset bad: one class only")


def test_cancel_and_a_workers_end_wait_for_each_other_in_one_order(monkeypatch: pytest.MonkeyPatch) -> None:
    with transaction() as session:
        ranking = add_ranking(session, ["a", "b"], finetune_top=1)
        work = claim_evaluation(session, evaluations(session, ranking)["a"].id, worker="w")
    assert work is not None
    finished = threading.Event()

    def finish_slowly(*args: Any, **values: Any) -> None:
        finish(*args, **values)
        finished.set()
        time.sleep(0.5)  # the evaluation is written, its ranking not yet locked

    def end() -> None:
        with transaction() as session:
            ending.complete(session, work.claim, state="done", facts=EvaluationFacts())

    def cancel() -> None:
        assert finished.wait(10)
        with transaction() as session:
            own = rankings.find(session, ranking.id)
            assert own is not None
            requests.cancel_ranking(session, own)

    monkeypatch.setattr(claims, "finish", finish_slowly)
    _together(end, cancel)
    with reading() as session:
        assert rankings.states(session, [ranking.id]) == {ranking.id: {"done": 1, "canceled": 1}}


def test_cancel_and_a_last_end_start_no_finetune_run_that_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    with transaction() as session:
        ranking = add_ranking(session, ["a"], finetune_top=1)
        work = claim_evaluation(session, evaluations(session, ranking)["a"].id, worker="w")
        assert work is not None
        record_score(session, work.claim, score_of(0.5))
    settling = threading.Event()
    take = answers.take_due

    def take_slowly(*args: Any) -> bool:
        taken = take(*args)
        settling.set()
        time.sleep(0.5)  # the ranking is locked, its finetune run not yet there
        return taken

    def end() -> None:
        with transaction() as session:
            ending.complete(session, work.claim, state="done", facts=EvaluationFacts())

    def cancel() -> None:
        assert settling.wait(10)
        with transaction() as session:
            own = rankings.find(session, ranking.id)
            assert own is not None
            requests.cancel_ranking(session, own)

    monkeypatch.setattr(answers, "take_due", take_slowly)
    _together(end, cancel)
    with reading() as session:
        assert [run.state for run in finetune_runs.of_ranking(session, ranking.id)] == ["canceled"]


def test_a_reader_sees_one_moment() -> None:
    row_id = _queued()
    with reading() as session:
        before = session.scalar(select(Dataset.state))
        assert _claim(row_id) is not None
        assert (before, session.scalar(select(Dataset.state))) == ("queued", "queued")


def test_a_canceled_evaluation_can_be_written_no_more() -> None:
    with transaction() as session:
        ranking = add_ranking(session, ["a", "b"])
        row = evaluations(session, ranking)["a"]
        work = claim_evaluation(session, row.id, worker="w")
    assert work is not None
    with transaction() as session:
        requests.cancel_ranking(session, ranking)
    with pytest.raises(LeaseLostError), transaction() as session:
        record_score(session, work.claim, score_of(1.0))
    with transaction() as session:
        assert claim_evaluation(session, row.id, worker="w") is None
        assert rankings.states(session, [ranking.id]) == {ranking.id: {"canceled": 2}}


def _end_with(held: Claim, value: float) -> Callable[[], object]:
    def end() -> None:
        with transaction() as session:
            record_score(session, held, score_of(value))
            ending.complete(session, held, state="done", facts=EvaluationFacts())

    return end


def test_last_evaluations_ending_together_store_one_answer_and_start_the_finetune_runs_once() -> None:
    for number in range(4):
        with transaction() as session:
            target = add_dataset(session, f"d{number}")
            names = [f"{number}{name}" for name in "abc"]
            ranking = add_ranking(session, names, dataset_id=target.id, finetune_top=2)
            rows = evaluations(session, ranking)
            held = []
            for row in rows.values():
                work = claim_evaluation(session, row.id, worker="w")
                assert work is not None
                held.append(work.claim)
        _together(*(_end_with(one, value) for one, value in zip(held, (0.1, 0.9, 0.5), strict=True)))
        with reading() as session:
            assert [row.number for row in answers.listed(session, ranking.id, limit=9)] == [1]
            runs = finetune_runs.of_ranking(session, ranking.id)
            found = sorted(candidate.checkpoint.name for candidate in rank(session, ranking).candidates[:2])
            by_id = {row.checkpoint_id: name for name, row in rows.items()}
            assert sorted(by_id[run.checkpoint_id] for run in runs) == found
            assert {run.protocol.epochs for run in runs} == {100}


@pytest.mark.parametrize("crashes", [0, 2])
def test_a_failed_last_evaluation_still_starts_the_finetune_runs(crashes: int) -> None:
    """Also where processes crashed at it before, as long as one of them found out why it can't be done."""
    assert crashes < settings().attempts
    with transaction() as session:
        ranking = add_ranking(session, ["a", "b"], finetune_top=2)
        rows = evaluations(session, ranking)
    evaluate(rows["a"].id, score_of(0.1))
    for _ in range(crashes):
        with transaction() as session:
            assert claim_evaluation(session, rows["b"].id, worker="w") is not None
        _die("its process crashed (SIGSEGV)")
    fail(rows["b"].id, "wrong channel count")
    with reading() as session:
        runs = list(session.scalars(select(FinetuneRun)))
    assert [run.checkpoint_id for run in runs] == [rows["a"].checkpoint_id]


def test_no_finetune_run_starts_where_an_evaluation_was_lost() -> None:
    with transaction() as session:
        ranking = add_ranking(session, ["a", "b"], finetune_top=1)
        rows = evaluations(session, ranking)
    evaluate(rows["a"].id, score_of(0.1))
    for _ in range(settings().attempts):
        with transaction() as session:
            assert claim_evaluation(session, rows["b"].id, worker="w") is not None
        _die("its process crashed (SIGSEGV)")
    with reading() as session:
        assert session.get_one(Evaluation, rows["b"].id).state == "failed"
        assert list(session.scalars(select(FinetuneRun))) == []
        assert WITHHELD in ranked(session, ranking.id).notes


def test_no_finetune_run_starts_from_unsound_scores() -> None:
    with transaction() as session:
        ranking = add_ranking(session, ["a"], finetune_top=1)
        row = evaluations(session, ranking)["a"]
    evaluate(row.id, score_of(0.1, "saturated"))
    with reading() as session:
        assert list(session.scalars(select(FinetuneRun))) == []


def test_the_order() -> None:
    scored: dict[str, Score] = {
        "best": score_of(0.9),
        "tied-a": score_of(0.5),
        "tied-b": score_of(0.5),
        "low": score_of(-3.0, "low_spread"),
        "degenerate": score_of(9.0, "degenerate"),
        "not applicable": score_of(None, "not_applicable"),
        "saturated": score_of(8.0, "saturated"),
        "scored by others only": score_of(1.0, measure="logme"),
    }
    with transaction() as session:
        ranking = add_ranking(session, [*scored, "queued", "failed"])
        rows = evaluations(session, ranking)
    for name, score in scored.items():
        evaluate(rows[name].id, score)
    fail(rows["failed"].id, "no weights")
    with reading() as session:
        listed = rank(session, ranking).candidates
    assert [(row.position, row.checkpoint.name) for row in listed] == [
        (1, "best"),
        (2, "tied-a"),
        (2, "tied-b"),
        (4, "low"),
        (None, "degenerate"),
        (None, "not applicable"),
        (None, "saturated"),
        (None, "scored by others only"),
        (None, "queued"),
        (None, "failed"),
    ]
    assert listed[7].positions == {"logme": 1}


def test_what_failed_or_was_canceled_has_no_place_by_any_measure() -> None:
    with transaction() as session:
        ranking = add_ranking(session, ["failed", "canceled", "running", "done"])
        rows = evaluations(session, ranking)
        held = {}
        for name, row in rows.items():
            work = claim_evaluation(session, row.id, worker="w")
            assert work is not None
            held[name] = work.claim
            record_score(session, work.claim, score_of(9.0 - len(name), measure="logme"))
        ending.complete(session, held["failed"], state="failed", reason="out of memory")
        ending.complete(session, held["canceled"], state="canceled", reason="the ranking was canceled")
        ending.complete(session, held["done"], state="done", facts=EvaluationFacts())
    with reading() as session:
        found = {row.checkpoint.name: row.positions for row in rank(session, ranking).candidates}
    assert found == {"done": {"logme": 1}, "running": {"logme": 2}, "failed": {}, "canceled": {}}


def test_equal_work_is_copied_only_when_all_its_measures_are_there() -> None:
    with transaction() as session:
        first = add_ranking(session, ["a"], measures=["one_epoch_outcome"])
        donor = evaluations(session, first)["a"]
    evaluate(donor.id, score_of(0.7))
    with transaction() as session:
        session.execute(update(Evaluation).values(content_key="k"))
        target = add_dataset(session, "second")
        wanted = {"one": ["one_epoch_outcome"], "two": ["one_epoch_outcome", "logme"]}
        for name, measures in wanted.items():
            ranking = add_ranking(session, [name], dataset_id=target.id, measures=measures)
            row = evaluations(session, ranking)[name]
            work = claim_evaluation(session, row.id, worker="w")
            assert work is not None
            found = copy_scores(session, work, "k")
            assert (found is not None) == (name == "one")
            if found is not None:
                assert found.id == donor.id
                assert [score.value for score in session.scalars(_scores(row.id))] == [0.7]


def _scores(evaluation_id: str) -> Select[Score]:
    return select(Score).where(Score.evaluation_id == evaluation_id)


def test_nothing_rings_when_the_transaction_fails(configured: Settings) -> None:
    def stopped() -> None:
        with transaction() as session:
            add_checkpoint(session, "a", ready=False)
            raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"):
        stopped()
    messages = configured.broker_dir / "messages"
    assert not messages.exists() or not list(messages.iterdir())
    with reading() as session:
        assert rankings.listed(session, after=None, limit=1) == []
