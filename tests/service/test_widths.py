"""The common number of features of a ranking, which its protocol has once all preflights are over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.jobs import ending, following, order
from service.jobs import requests as jobs
from service.jobs.claims import claim
from service.jobs.work import EvaluationWork, claim_evaluation
from service.ledger import records
from service.ledger.flags import flags
from service.store import outcomes
from service.store.contents import Preflight
from service.store.session import transaction
from service.store.tables import Checkpoint, Evaluation, LedgerRow, Ranking
from tests.service.conftest import (
    CAPABILITIES,
    DEFAULT_FINETUNE,
    DEFAULT_PROTOCOL,
    add_checkpoint,
    add_dataset,
    checkpoint_body,
    dataset_body,
    evaluate,
    evaluations,
    publish,
    score_of,
)

GROWS = {"title": "GBC", "source": "2022", "tasks": ["segmentation"], "epochs": 0, "grows_with_width": True}


def publish_growing() -> None:
    """Publish a measure that grows with the width beside the others."""
    with transaction() as session:
        publish(session, {**CAPABILITIES, "measure": {**CAPABILITIES["measure"], "gbc": GROWS}})


def preflight(width: int | None) -> Preflight:
    widths = {} if width is None else {"encoder": 512, "decoder_1": width}
    return Preflight(tensors=9, loaded=9, percent_loaded=100.0, widths=widths, usual_stage="decoder_1")


def rank_of(widths: dict[str, int | None], *, ready: bool = True, **more: Any) -> str:
    """A ranking of candidates with these widths; unless `ready`, the preflight of the last is still open."""
    with transaction() as session:
        found = [add_checkpoint(session, name, ready=ready or name != list(widths)[-1]) for name in widths]
        for row in found:
            row.preflight = preflight(widths[row.name]) if row.state == "done" else None
        values = {"measures": ["gbc", "logme"], "order_by": "gbc", "protocol": DEFAULT_PROTOCOL, **more}
        ranking = Ranking(
            dataset_id=add_dataset(session, "-".join(widths)).id,
            finetune_protocol=DEFAULT_FINETUNE,
            finetune_method="ac_norm",
            **values,
        )
        jobs.add_ranking(session, ranking, found)
        return ranking.id


def claimed(ranking_id: str, name: str) -> EvaluationWork | None:
    with transaction() as session:
        rows = evaluations(session, session.get_one(Ranking, ranking_id))
        return claim_evaluation(session, rows[name].id, worker="test")


def width_of(ranking_id: str) -> int | None:
    with transaction() as session:
        return session.get_one(Ranking, ranking_id).protocol.feature_width


def test_a_ranking_compares_at_the_smallest_width_of_its_candidates(client: TestClient) -> None:
    publish_growing()
    ranking = rank_of({"wide": 64, "narrow": 8, "unknown": None})
    assert width_of(ranking) is None
    first, second = claimed(ranking, "wide"), claimed(ranking, "narrow")
    assert first is not None
    assert second is not None
    assert first.protocol.feature_width == second.protocol.feature_width == width_of(ranking) == 8
    assert client.get(f"/v1/rankings/{ranking}").json()["protocol"]["feature_width"] == 8


def test_the_width_is_that_of_the_stage_that_the_protocol_names(sqlite_client: TestClient) -> None:
    publish_growing()
    ranking = rank_of({"wide": 64, "narrow": 8}, protocol=replace(DEFAULT_PROTOCOL, stage="encoder"))
    assert claimed(ranking, "wide") is not None
    assert width_of(ranking) == 512


def test_what_was_asked_for_stays_and_other_measures_need_no_width(sqlite_client: TestClient) -> None:
    publish_growing()
    own = rank_of({"a": 64, "b": 8}, protocol=replace(DEFAULT_PROTOCOL, feature_width=0))
    given = rank_of({"c": 64, "d": 8}, protocol=replace(DEFAULT_PROTOCOL, feature_width=4))
    without = rank_of({"e": 64, "f": 8}, measures=["logme"], order_by="logme")
    for ranking, name in ((own, "a"), (given, "c"), (without, "e")):
        assert claimed(ranking, name) is not None
    assert [width_of(ranking) for ranking in (own, given, without)] == [0, 4, None]


def test_evaluations_wait_until_the_last_preflight_is_over(client: TestClient) -> None:
    publish_growing()
    ranking = rank_of({"wide": 64, "narrow": 8, "late": 4}, ready=False)
    assert claimed(ranking, "wide") is None
    assert width_of(ranking) is None
    with transaction() as session:
        late = session.query(Checkpoint).filter_by(name="late").one()
        held = claim(session, Checkpoint, late.id, worker="test")
        assert held is not None
        ending.complete(session, held, state="done", sha256="1" * 64, preflight=preflight(4))
    assert claimed(ranking, "wide") is not None
    assert width_of(ranking) == 4


def test_no_evaluation_that_waits_for_a_width_is_in_line(client: TestClient) -> None:
    publish_growing()
    ranking = rank_of({"wide": 64, "bad": 8, "late": 4}, ready=False)
    with transaction() as session:
        rows = evaluations(session, session.get_one(Ranking, ranking))
        late = rows["late"].checkpoint_id
        assert order.first(session, host="here") == (Checkpoint, late)
        held = claim(session, Checkpoint, late, worker="test")
        assert order.first(session, host="here") is None
        session.get_one(Checkpoint, rows["bad"].checkpoint_id).state = "failed"
        assert order.first(session, host="here") == (Evaluation, rows["bad"].id)
        assert held is not None
        ending.complete(session, held, state="done", sha256="1" * 64, preflight=preflight(4))
        assert order.first(session, host="here") == (Evaluation, rows["wide"].id)


def test_the_end_of_the_last_preflight_sends_what_waited(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_growing()
    ranking = rank_of({"wide": 64, "narrow": 8, "late": 4}, ready=False)
    sent: list[str] = []
    monkeypatch.setattr(following, "enqueue", lambda session, table, row_id: sent.append(row_id))
    with transaction() as session:
        rows = evaluations(session, session.get_one(Ranking, ranking))
        following.after_preflight(session, rows["wide"].checkpoint_id)
        assert sent == [rows["wide"].id]  # another preflight is open, so the others are sent when it ends
        session.get_one(Checkpoint, rows["late"].checkpoint_id).state = "failed"
        session.flush()
        sent.clear()
        following.after_preflight(session, rows["late"].checkpoint_id)
        assert sorted(sent) == sorted(row.id for row in rows.values())
    assert claimed(ranking, "wide") is not None
    assert width_of(ranking) == 8  # of those that can be used


def test_a_failed_candidate_fails_while_others_are_in_preflight(sqlite_client: TestClient) -> None:
    publish_growing()
    ranking = rank_of({"bad": 64, "narrow": 8, "late": 4}, ready=False)
    with transaction() as session:
        bad = session.query(Checkpoint).filter_by(name="bad").one()
        bad.state, bad.reason = "failed", "no such file"
    assert claimed(ranking, "bad") is None
    with transaction() as session:
        assert evaluations(session, session.get_one(Ranking, ranking))["bad"].state == "failed"


def test_past_scores_of_rankings_at_other_widths_count_together_unless_they_grow(
    sqlite_client: TestClient,
) -> None:
    publish_growing()
    first = rank_of({"a": 64, "b": 8})
    with transaction() as session:
        dataset = session.get_one(Ranking, first).dataset_id
        names = {"c": 64, "d": 16}
        second = Ranking(
            dataset_id=dataset,
            measures=["gbc", "logme"],
            order_by="gbc",
            protocol=DEFAULT_PROTOCOL,
            finetune_protocol=DEFAULT_FINETUNE,
            finetune_method="ac_norm",
        )
        found = [add_checkpoint(session, name) for name in names]
        for row in found:
            row.preflight = preflight(names[row.name])
        jobs.add_ranking(session, second, found)
        common = {"target": "a-b", "source": "paper", "comparison_group": "paper", "higher_is_better": True}
        outcomes.add(
            session,
            [LedgerRow(kind="outcome", name="dice", candidate=one, value=0.5, **common) for one in "abcd"],
        )
        rows = {**evaluations(session, session.get_one(Ranking, first)), **evaluations(session, second)}
    for name, row in rows.items():
        evaluate(row.id, score_of(ord(name) / 100, measure="gbc"), score_of(ord(name) / 100, measure="logme"))
    with transaction() as session:
        [record] = records.records(session, flags(session))
        asked = records.records(session, flags(session), protocol=session.get_one(Ranking, first).protocol)
    assert set(record.scores["logme"]) == set("abcd")
    assert set(record.scores["gbc"]) == set("cd")  # the latest of equals
    assert set(asked[0].scores["gbc"]) == set("ab")
    assert set(asked[0].scores["logme"]) == set("abcd")


def test_finetune_runs_take_no_width_from_their_ranking(client: TestClient, configured: Any) -> None:
    client.post("/v1/datasets", json=dataset_body(configured))
    client.post("/v1/checkpoints", json=checkpoint_body(configured))
    body = {"dataset": "discs", "candidates": ["vessels"], "protocol": {"feature_width": 16}}
    made = client.post("/v1/rankings", json=body)
    assert made.status_code == 202, made.json()
    assert made.json()["protocol"]["feature_width"] == 16
    assert made.json()["finetune_protocol"]["feature_width"] is None
