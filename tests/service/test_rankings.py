"""Rankings over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import pytest

from service.api.errors import MOST_FAULTS
from service.api.rankings import service
from service.jobs import ending
from service.jobs.claims import claim, renew
from service.jobs.work import claim_evaluation
from service.ledger import ranked_list
from service.store import capabilities
from service.store.session import engine, reading, transaction
from service.store.tables import Dataset, Evaluation, WorkState
from tests.conftest import TestClient
from tests.service.conftest import (
    CAPABILITIES,
    PROTOCOL,
    add_checkpoint,
    add_dataset,
    add_ranking,
    evaluate,
    evaluations,
    fail,
    score_of,
)


def _zoo() -> None:
    with transaction() as session:
        add_dataset(session)
        for name in ("a", "b", "c"):
            add_checkpoint(session, name)


def _post(client: TestClient, **more: Any) -> Any:
    return client.post("/v1/rankings", json={"dataset": "discs", "candidates": ["a", "b"], **more})


def test_a_request_is_accepted_with_defaults(client: TestClient) -> None:
    _zoo()
    made = _post(client)
    assert made.status_code == 202
    shown = client.get(made.headers["Location"]).json()
    assert shown == made.json()
    assert shown["state"] == "queued"
    assert shown["counts"] == {"queued": 2}
    assert shown["protocol"] == PROTOCOL
    assert shown["measures"] == ["ac_corr", "logme", "one_epoch_outcome"]  # leep is for classification
    assert shown["order_by"] == "fused"
    assert [row["candidate"]["name"] for row in shown["ranked"]] == ["a", "b"]
    assert (shown["answer"]["first"], shown["track_record"]["measures"]) == (None, {})


def test_overrides_are_laid_over_the_published_protocol(client: TestClient) -> None:
    _zoo()
    made = _post(
        client,
        protocol={"batch_size": 4, "crop": [64, 64], "steps": None},
        finetune={"epochs": 3},
        finetune_top=2,
        measures=["logme", "logme"],
        order_by="logme",
    ).json()
    assert made["protocol"] == {**PROTOCOL, "batch_size": 4, "crop": [64, 64]}
    defaults = CAPABILITIES["finetune_protocol"]["default"]
    assert made["finetune_protocol"] == {**defaults, "batch_size": 4, "crop": [64, 64], "epochs": 3}
    assert (made["measures"], made["finetune_top"]) == (["logme"], 2)


@pytest.mark.parametrize(
    ("measures", "first"),
    [
        (None, "fused"),
        (["logme", "one_epoch_outcome"], "fused"),
        (["logme", "ac_corr"], "logme"),
    ],
)
def test_where_no_measure_is_trusted_the_first_one_orders(
    sqlite_client: TestClient, measures: list[str] | None, first: str
) -> None:
    _zoo()
    assert _post(sqlite_client, measures=measures).json()["order_by"] == first


def test_a_filter_adds_what_matches_and_fits(client: TestClient) -> None:
    _zoo()
    with transaction() as session:
        add_checkpoint(session, "volume", parameters={"spatial_dims": 3, "in_channels": 1, "classes": 2})
        add_checkpoint(session, "ct", card={"modality": "ct"})
        row = add_checkpoint(session, "broken", ready=False)
        held = claim(session, type(row), row.id, worker="w")
        assert held is not None
        ending.complete(session, held, state="failed", reason="truncated")
    made = _post(client, filter={"modality": "fundus"}).json()
    assert [row["candidate"]["name"] for row in made["ranked"]] == ["a", "b", "c"]
    whole = _post(client, candidates=[], filter={}).json()
    assert sorted(row["candidate"]["name"] for row in whole["ranked"]) == ["a", "b", "c", "ct"]


@pytest.mark.parametrize(
    ("change", "field", "word"),
    [
        ({"dataset": "none"}, "dataset", "POST /v1/datasets"),
        ({"candidates": ["a", "none"]}, "candidates.1", "POST /v1/checkpoints"),
        ({"candidates": ["a", "b", "a"]}, "candidates.2", "once"),
        ({"candidates": []}, "candidates", "candidates"),
        ({"candidates": [], "filter": {"modality": "ct"}}, "filter", "usable"),
        ({"filter": {"colour": "red"}}, "filter.colour", "remove"),
        ({"measures": ["logm"]}, "measures.0", "logme"),
        ({"measures": ["one_epoch_outcome", "leep"]}, "measures.1", "logme"),
        ({"measures": []}, "measures", ""),
        ({"measures": ["logme"], "order_by": "ac_corr"}, "order_by", "logme"),
        ({"order_by": "leep"}, "order_by", "one_epoch_outcome"),
        ({"finetune_top": 6}, "finetune_top", ""),
        ({"protocol": {"batch_size": 1}}, "protocol.batch_size", ""),
        ({"protocol": {"learning_rate": 0}}, "protocol.learning_rate", ""),
        ({"protocol": {"learning_rate": "nan"}}, "protocol.learning_rate", "a finite number"),
        ({"protocol": {"temperature": "inf"}}, "protocol.temperature", "a finite number"),
        ({"protocol": {"weight_decay": "-1"}}, "protocol.weight_decay", "at least 0"),
        ({"protocol": {"batch_size": "0"}}, "protocol.batch_size", "at least 2"),
        ({"protocol": {"batch_size": True}}, "protocol.batch_size", "a whole number"),
        ({"protocol": {"batch_size": 2.5}}, "protocol.batch_size", "a whole number"),
        ({"protocol": {"batch_size": {"a": 1}}}, "protocol.batch_size", "a number"),
        ({"protocol": {"steps": False}}, "protocol.steps", "a whole number or null"),
        ({"protocol": {"seed": 10**400}}, "protocol.seed", "at most 4294967295"),
        ({"protocol": {"stage": 5}}, "protocol.stage", "a text"),
        ({"protocol": {"crop": [True, True]}}, "protocol.crop", "a list of whole numbers"),
        ({"protocol": {"crop": 64}}, "protocol.crop", "a list of whole numbers"),
        ({"protocol": {"crop": [64, "7"]}}, "protocol.crop.1", "at least 8"),
        ({"protocol": {"optimizer": "lion"}}, "protocol.optimizer", "'adam' or 'sgd'"),
        ({"protocol": {"crop": [64]}}, "protocol.crop", ""),
        ({"protocol": {"crop": [64, 64, 64]}}, "protocol.crop", "2 whole numbers"),
        ({"protocol": {"epochs": 3}}, "protocol.epochs", "remove"),
        ({"protocol": {"null_permutations": 1}}, "protocol.null_permutations", ""),
        ({"protocol": {"null_permutations": 1000}}, "protocol.null_permutations", ""),
        ({"protocol": {"seed": None}}, "protocol.seed", "leave it out"),
        ({"finetune": {"epochs": 0}}, "finetune.epochs", ""),
        ({"finetune": {"crop": [8, 8, 8]}}, "finetune.crop", "2 whole numbers"),
    ],
)
def test_a_bad_field_is_named_with_its_remedy(
    sqlite_client: TestClient, change: dict[str, Any], field: str, word: str
) -> None:
    _zoo()
    answer = _post(sqlite_client, **change)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [fault["field"] for fault in answer.json()["errors"]] == [field]
    assert answer.json()["errors"][0]["remedy"]
    assert word in answer.json()["errors"][0]["remedy"]
    body = {"dataset": "discs", "candidates": ["a", "b"], **change}
    asked = sqlite_client.post("/v1/rankings/cost", json=body)
    assert (asked.status_code, asked.json()) == (422, answer.json())
    assert sqlite_client.get("/v1/rankings").json()["items"] == []


def test_every_wrong_field_of_a_protocol_is_named(sqlite_client: TestClient) -> None:
    _zoo()
    answer = _post(sqlite_client, protocol={"batch_size": 1, "crop": [1, 2], "nope": 3, "seed": 4})
    named = [fault["field"] for fault in answer.json()["errors"]]
    assert named == ["protocol.batch_size", "protocol.crop.0", "protocol.crop.1", "protocol.nope"]


def test_many_wrong_fields_are_named_up_to_a_limit(sqlite_client: TestClient) -> None:
    _zoo()
    answer = _post(sqlite_client, protocol={f"field{number}": 1 for number in range(5000)})
    assert len(answer.json()["errors"]) == MOST_FAULTS


def test_a_request_can_override_every_field_of_the_protocol(sqlite_client: TestClient) -> None:
    _zoo()
    given = {**PROTOCOL, "crop": [8, 8], "steps": 5, "stage": "encoder", "learning_rate": "0.5", "seed": 7.0}
    made = _post(sqlite_client, protocol=given)
    assert made.status_code == 202
    assert made.json()["protocol"] == {**given, "learning_rate": 0.5, "seed": 7}


def test_a_candidate_listed_by_id_and_by_name_is_listed_twice(client: TestClient) -> None:
    _zoo()
    own = client.get("/v1/checkpoints/a").json()["id"]
    answer = _post(client, candidates=["a", own])
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "candidates.1"


def test_without_a_worker_the_remedy_is_to_start_one(client: TestClient) -> None:
    _zoo()
    with transaction() as session:
        capabilities.publish(session, {kind: {} for kind in CAPABILITIES})
    answer = _post(client)
    assert answer.status_code == 503
    assert "worker" in answer.json()["errors"][0]["remedy"]


def test_a_failed_dataset_is_refused_with_its_reason(client: TestClient) -> None:
    _zoo()
    with transaction() as session:
        row = add_dataset(session, "bad", ready=False)
        held = claim(session, Dataset, row.id, worker="w")
        assert held is not None
        ending.complete(session, held, state="failed", reason="images hold NaN")
    answer = _post(client, dataset="bad")
    assert answer.status_code == 409
    assert "images hold NaN" in answer.json()["detail"]


def test_what_is_still_inspected_may_be_ranked(client: TestClient) -> None:
    with transaction() as session:
        add_dataset(session, ready=False)
        add_checkpoint(session, "a", ready=False)
        add_checkpoint(session, "b", ready=False)
    assert _post(client).status_code == 202


def test_a_failed_checkpoint_fails_alone(client: TestClient) -> None:
    _zoo()
    with transaction() as session:
        row = add_checkpoint(session, "broken", ready=False)
        held = claim(session, type(row), row.id, worker="w")
        assert held is not None
        ending.complete(session, held, state="failed", reason="a pickle that would run code")
    made = _post(client, candidates=["a", "broken"]).json()
    by_name = {row["candidate"]["name"]: row["evaluation"] for row in made["ranked"]}
    with transaction() as session:
        assert claim_evaluation(session, by_name["broken"], worker="w") is None
    evaluate(by_name["a"], score_of(0.5))
    shown = client.get(f"/v1/rankings/{made['id']}").json()
    assert shown["state"] == "done"
    assert [(row["candidate"]["name"], row["state"]) for row in shown["ranked"]] == [
        ("a", "done"),
        ("broken", "failed"),
    ]
    assert "a pickle that would run code" in shown["ranked"][1]["reason"]


def test_the_list_is_ordered_and_says_what_it_knows(client: TestClient) -> None:
    with transaction() as session:
        measures = ["one_epoch_outcome", "logme", "ac_corr"]
        ranking = add_ranking(session, ["a", "b", "c", "d", "e", "f"], measures=measures)
        rows = {name: row.id for name, row in evaluations(session, ranking).items()}
    moved = [score_of(2.0, measure="ac_corr") for _ in "ab"]
    evaluate(rows["a"], score_of(0.5), score_of(9.0, measure="logme"), moved[0])
    wide = {"flags": ["few_steps"], "width": 64, "seconds": 3.0, "finetune_epoch_seconds": 0.8}
    evaluate(rows["b"], score_of(0.8), score_of(1.0, measure="logme"), moved[1], facts=wide)
    evaluate(rows["c"], score_of(0.9, "degenerate"), score_of(5.0, measure="logme"))
    evaluate(rows["d"], score_of(0.5), score_of(None, "not_applicable", measure="logme"))
    fail(rows["e"], "not a state dict")
    shown = client.get(f"/v1/rankings/{ranking.id}").json()
    assert shown["state"] == "running"
    order = [(row["position"], row["candidate"]["name"]) for row in shown["ranked"]]
    assert order == [(1, "b"), (2, "a"), (2, "d"), (None, "c"), (None, "f"), (None, "e")]
    assert shown["flags"] == ["few_steps", "mixed_widths"]
    assert any("different widths" in note for note in shown["notes"])
    assert any("Not placed" in note and note.endswith(": c.") for note in shown["notes"])
    assert shown["finetune_seconds"] == 80.0
    first = shown["ranked"][0]
    assert first["scores"]["logme"] == {
        "value": 1.0,
        "spread": None,
        "position": 3,
        "flags": [],
        "seconds": 0.25,
        "reason": None,
        "record": None,
    }
    whole = client.get(f"/v1/rankings/{ranking.id}", params={"records": True}).json()
    assert whole["ranked"][0]["scores"]["logme"] == {**first["scores"]["logme"], "record": {"N": 9}}
    assert (first["width"], first["seconds"], first["flags"]) == (64, 3.0, ["few_steps"])
    assert shown["ranked"][-1]["reason"] == "not a state dict"
    evaluate(rows["f"], score_of(0.1))
    assert client.get(f"/v1/rankings/{ranking.id}").json()["state"] == "done"


def test_norms_beyond_the_paper_are_placed_and_explained(client: TestClient) -> None:
    with transaction() as session:
        ranking = add_ranking(session, ["a", "b", "c"], measures=["ac_corr"], order_by="ac_corr")
        rows = {name: row.id for name, row in evaluations(session, ranking).items()}
    evaluate(rows["a"], score_of(2.0, "beyond_paper", measure="ac_corr"))
    evaluate(rows["b"], score_of(1.0, measure="ac_corr"))
    shown = client.get(f"/v1/rankings/{ranking.id}").json()
    assert [(row["position"], row["candidate"]["name"]) for row in shown["ranked"]][:2] == [(1, "a"), (2, "b")]
    assert any(note.startswith("beyond_paper: AC-Norm recalibrated norm layers") for note in shown["notes"])
    assert not any("no_affine_norm" in note for note in shown["notes"])
    plain = {"flags": ["no_affine_norm"], "width": None, "seconds": 1.0}
    evaluate(rows["c"], score_of(None, "not_applicable", measure="ac_corr"), facts=plain)
    shown = client.get(f"/v1/rankings/{ranking.id}").json()
    assert shown["flags"] == ["no_affine_norm"]
    assert any("the one epoch was plain training" in note for note in shown["notes"])


@pytest.mark.parametrize("session_of", [reading, transaction])
def test_a_list_that_is_done_is_whole(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, session_of: Callable[..., Any]
) -> None:
    with transaction() as session:
        ranking = add_ranking(session, ["a"])
        row = evaluations(session, ranking)["a"]
    real, at_first = ranked_list.in_order, [True]

    def end_meanwhile(*args: Any, **more: Any) -> Any:
        if at_first and engine().dialect.name == "postgresql":  # SQLite has one writer
            at_first.clear()
            evaluate(row.id, score_of(0.5))
        return real(*args, **more)

    monkeypatch.setattr(ranked_list, "in_order", end_meanwhile)
    with session_of() as session:
        shown = service.ranked(session, ranking.id)
    assert (shown.state, shown.counts, shown.ranked[0].position) == ("queued", {"queued": 1}, None)


def test_finetune_runs_start_from_the_rankings_own_protocol(sqlite_client: TestClient) -> None:
    _zoo()
    own = {"batch_size": 4, "crop": [64, 64], "seed": 7, "learning_rate": 0.01, "steps": 20}
    made = _post(sqlite_client, protocol=own, finetune={"seed": 8, "epochs": 3}, finetune_top=1).json()
    assert made["protocol"] == {**PROTOCOL, **own}
    expected = {**CAPABILITIES["finetune_protocol"]["default"], **own, "steps": None, "seed": 8, "epochs": 3}
    assert made["finetune_protocol"] == expected


@pytest.mark.parametrize(
    ("facts", "protocol", "finetune", "seconds"),
    [
        ({}, {}, {}, 200.0),  # older evaluations don't say how many steps a whole epoch has
        ({"steps": 5}, {}, {}, 200.0),
        ({"steps": 5, "epoch_steps": 20}, {"steps": 5}, {}, 800.0),
        ({"steps": 20, "epoch_steps": 20}, {}, {}, 200.0),
        ({"steps": 20, "epoch_steps": 20}, {}, {"steps": 10}, 100.0),
        ({"steps": 5, "epoch_steps": 20}, {"steps": 5}, {"steps": 400}, 800.0),
    ],
)
def test_a_finetune_is_estimated_by_whole_epochs(
    sqlite_client: TestClient, facts: Any, protocol: Any, finetune: Any, seconds: float
) -> None:
    _zoo()
    made = _post(sqlite_client, candidates=["a"], protocol=protocol, finetune=finetune).json()
    own = {"flags": [], "finetune_epoch_seconds": 2.0, **facts}
    evaluate(made["ranked"][0]["evaluation"], score_of(0.5), facts=own)
    shown = sqlite_client.get(f"/v1/rankings/{made['id']}").json()
    assert (shown["finetune_seconds"], shown["ranked"][0]["finetune_seconds"]) == (seconds, seconds)


def test_equal_widths_are_not_flagged(sqlite_client: TestClient) -> None:
    with transaction() as session:
        ranking = add_ranking(session, ["a", "b"])
        rows = evaluations(session, ranking)
    for row in rows.values():
        evaluate(row.id, score_of(0.5))
    assert sqlite_client.get(f"/v1/rankings/{ranking.id}").json()["flags"] == []


def test_progress_is_shown(client: TestClient) -> None:
    with transaction() as session:
        ranking = add_ranking(session, ["a"])
        row = evaluations(session, ranking)["a"]
        held = claim(session, Evaluation, row.id, worker="w")
        assert held is not None
        renew(session, held, stage="one epoch", done=3, total=12)
    own = client.get(f"/v1/rankings/{ranking.id}").json()["ranked"][0]
    shown = (own["state"], own["stage"], own["steps_done"], own["steps_total"], own["attempts"])
    assert shown == ("running", "one epoch", 3, 12, 1)


def test_lists_filter_by_dataset_and_by_state(client: TestClient) -> None:
    _zoo()
    with transaction() as session:
        add_dataset(session, "other")
    queued = _post(client).json()["id"]
    done = _post(client, dataset="other").json()
    for row in done["ranked"]:
        evaluate(row["evaluation"], score_of(0.1))
    canceled = _post(client).json()["id"]
    assert client.post(f"/v1/rankings/{canceled}/cancel").json()["state"] == "canceled"
    running = _post(client).json()
    evaluate(running["ranked"][0]["evaluation"], score_of(0.1))

    def ids(**params: Any) -> list[str]:
        return [row["id"] for row in client.get("/v1/rankings", params=params).json()["items"]]

    assert ids() == [running["id"], canceled, done["id"], queued]
    assert ids(dataset="other") == [done["id"]]
    assert ids(dataset="nobody") == []
    states = {"queued": queued, "done": done["id"], "canceled": canceled, "running": running["id"]}
    for state, own in states.items():
        assert ids(state=state) == [own], state
        assert client.get(f"/v1/rankings/{own}").json()["state"] == state
    assert ids(limit=2) == [running["id"], canceled]
    assert ids(limit=2, after=canceled) == [done["id"], queued]


def test_the_filter_agrees_with_the_state_for_every_combination_of_evaluations(client: TestClient) -> None:
    every = [states for size in range(6) for states in combinations(WorkState, size)]
    assert len(every) == 32
    with transaction() as session:
        dataset = add_dataset(session)
        found = [add_checkpoint(session, f"c{number}") for number in range(6)]
        made = [add_ranking(session, [], dataset_id=dataset.id) for _ in every]
        for ranking, states in zip(made, every, strict=True):
            twice = [*states, *states[:1]]  # two evaluations in one state count once
            for checkpoint, state in zip(found, twice, strict=False):
                session.add(Evaluation(ranking_id=ranking.id, checkpoint_id=checkpoint.id, state=state))
    expected: dict[str, set[str]] = {}
    for ranking, states in zip(made, every, strict=True):
        is_open = bool({"queued", "running"} & set(states))
        failed = "failed" if set(states) == {"failed"} else "done"
        ended = "canceled" if "canceled" in states else failed
        state = ("queued" if set(states) == {"queued"} else "running") if is_open else ended
        expected.setdefault(state, set()).add(ranking.id)
    for state, ids in expected.items():
        shown = client.get("/v1/rankings", params={"state": state, "limit": 100}).json()["items"]
        assert {row["id"] for row in shown} == ids, state
        assert {row["state"] for row in shown} == {state}
    assert {state: len(ids) for state, ids in expected.items()} == {
        "done": 3,
        "failed": 1,
        "canceled": 4,
        "queued": 1,
        "running": 23,
    }


def test_cancel_keeps_what_is_done(client: TestClient) -> None:
    _zoo()
    made = _post(client).json()
    evaluate(made["ranked"][0]["evaluation"], score_of(0.4))
    canceled = client.post(f"/v1/rankings/{made['id']}/cancel")
    assert canceled.status_code == 200
    assert (canceled.json()["state"], canceled.json()["counts"]) == ("canceled", {"canceled": 1, "done": 1})
    assert canceled.json()["ranked"][0]["position"] == 1
    again = client.post(f"/v1/rankings/{made['id']}/cancel")
    assert again.status_code == 409
    assert client.post("/v1/rankings/none/cancel").status_code == 404


def test_asked_finetune_runs_are_named(client: TestClient) -> None:
    _zoo()
    made = _post(client, finetune_top=1).json()
    evaluate(made["ranked"][0]["evaluation"], score_of(0.4))
    evaluate(made["ranked"][1]["evaluation"], score_of(0.6))
    runs = client.get(f"/v1/rankings/{made['id']}").json()["finetune_runs"]
    assert len(runs) == 1
    run = client.get(f"/v1/finetune-runs/{runs[0]}").json()
    assert (run["checkpoint"]["name"], run["ranking"]) == ("b", made["id"])


def test_a_missing_ranking_is_a_404(client: TestClient) -> None:
    assert client.get("/v1/rankings/none").status_code == 404
