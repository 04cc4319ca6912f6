"""Outcomes that shall not count: excluded with a reason and included again, or never recorded by their run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from typer.testing import CliRunner

from service.client.http import ProblemError
from service.client.terminal import commands
from service.jobs import requests
from service.settings import settings
from service.store.session import transaction
from service.store.tables import Checkpoint, FinetuneRun
from tests.conftest import TestClient
from tests.service.conftest import (
    DEFAULT_FINETUNE,
    add_checkpoint,
    add_dataset,
    checkpoint_body,
    client_of,
    finish_run,
)

REASON = "a trial of four steps"
RESULT = {
    "metrics": {"test": {"dice": 0.8, "loss": 0.3}},
    "primary": "dice",
    "higher_is_better": {"dice": True, "loss": False},
}
ROW = {"kind": "outcome", "name": "dice", "higher_is_better": True, "target": "discs"}


def imported(client: TestClient, values: dict[str, float], **more: Any) -> None:
    rows = [{**ROW, "candidate": name, "value": value, **more} for name, value in values.items()]
    assert client.post("/v1/outcomes", json={"source": "paper", "rows": rows}).status_code == 200


def finished_run(name: str = "a", *, record_outcome: bool = True, **protocol: Any) -> str:
    with transaction() as session:
        dataset = session.query(FinetuneRun.dataset_id).limit(1).scalar() or add_dataset(session, "discs").id
        checkpoint = session.query(Checkpoint).filter_by(name=name).one_or_none() or add_checkpoint(session, name)
        run = FinetuneRun(
            dataset_id=dataset,
            checkpoint_id=checkpoint.id,
            method="ac_norm",
            protocol=replace(DEFAULT_FINETUNE, **protocol),
            record_outcome=record_outcome,
        )
        requests.add(session, run)
    finish_run(run, RESULT)
    return run.id


def stored(client: TestClient, **filters: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = client.get("/v1/outcomes", params=filters).json()["items"]
    return items


def change(client: TestClient, row_id: str, **body: Any) -> Any:
    return client.patch(f"/v1/outcomes/{row_id}", json=body)


def counting(client: TestClient) -> list[tuple[str, list[str]]]:
    """Group and candidates of every target that has outcomes which count."""
    targets = client.get("/v1/agreement").json()["targets"]
    return [
        (group["words"], group["candidates"])
        for target in targets
        for group in (target["group"], *target["other_groups"])
    ]


def test_an_excluded_outcome_counts_nowhere_and_stays_visible_with_its_reason(client: TestClient) -> None:
    imported(client, {"a": 0.9, "b": 0.7, "c": 0.5})
    [row] = stored(client, candidate="c")
    assert (row["excluded"], row["exclusions"]) == (False, [])
    shown = change(client, row["id"], excluded=True, reason=REASON).json()
    assert shown == {**row, "excluded": True, "exclusions": shown["exclusions"]}
    assert counting(client) == [("imported from paper", ["a", "b"])]
    assert stored(client, candidate="c") == stored(client, excluded=True) == [shown]
    assert {one["candidate"] for one in stored(client, excluded=False)} == {"a", "b"}
    page = client.get("/agreement").text
    assert REASON in page
    assert row["id"] in page
    change(client, row["id"], excluded=False)
    assert counting(client) == [("imported from paper", ["a", "b", "c"])]
    [last, again] = stored(client, candidate="c")[0]["exclusions"]
    assert (last["excluded"], last["reason"], again["excluded"], again["reason"]) == (True, REASON, False, None)
    assert last["at"] <= again["at"]
    assert "Excluded outcomes" not in client.get("/agreement").text


def test_an_excluded_outcome_stays_so_when_it_is_imported_again(client: TestClient) -> None:
    imported(client, {"a": 0.9, "b": 0.7})
    [row] = stored(client, candidate="a")
    change(client, row["id"], excluded=True, reason=REASON)
    imported(client, {"a": 0.8, "b": 0.7})
    [again] = stored(client, candidate="a")
    assert (again["value"], again["excluded"]) == (0.8, True)
    assert counting(client) == [("imported from paper", ["b"])]


def test_a_score_can_be_excluded_too(client: TestClient) -> None:
    imported(client, {"a": 0.9, "b": 0.7})
    imported(client, {"a": 1.0, "b": 2.0}, kind="score", name="logme")
    assert "logme" in client.get("/v1/agreement").json()["measures"]
    change(client, stored(client, kind="score")[0]["id"], excluded=True, reason=REASON)
    assert "logme" not in client.get("/v1/agreement").json()["measures"]


def test_all_metrics_of_an_own_run_go_together(client: TestClient) -> None:
    imported(client, {"a": 0.9, "b": 0.7}, seed=None)
    run = finished_run(steps=4)
    rows = stored(client, finetune_run=run)
    assert {row["name"] for row in rows} == {"dice", "loss"}
    assert [words for words, _ in counting(client)] == ["imported from paper", "ac_norm, epochs 100, steps 4"]
    change(client, rows[0]["id"], excluded=True, reason=REASON)
    assert all(row["excluded"] for row in stored(client, finetune_run=run))
    assert counting(client) == [("imported from paper", ["a", "b"])]
    page = client.get(f"/finetune-runs/{run}").text
    assert REASON in page
    change(client, rows[1]["id"], excluded=False)
    assert not any(row["excluded"] for row in stored(client, finetune_run=run))
    assert REASON not in client.get(f"/finetune-runs/{run}").text


def test_outcomes_of_a_removed_run_go_together_too(client: TestClient) -> None:
    runs = [finished_run(), finished_run()]
    for run in runs:
        assert client.delete(f"/v1/finetune-runs/{run}").status_code == 204
    first, _ = stored(client, finetune_run=runs[0])
    change(client, first["id"], excluded=True, reason=REASON)
    assert {row["finetune_run"]: row["excluded"] for row in stored(client)} == {runs[0]: True, runs[1]: False}
    assert [row["excluded"] for row in stored(client, finetune_run=runs[0])] == [True, True]


def test_an_outcome_of_what_was_changed_since_is_not_included_again(client: TestClient) -> None:
    finished_run()
    first, _ = stored(client)
    for excluded in (True, False, True):
        assert change(client, first["id"], excluded=excluded, reason=REASON).status_code == 200
    [run] = {row["finetune_run"] for row in stored(client)}
    assert client.delete(f"/v1/finetune-runs/{run}").status_code == 204
    assert client.delete("/v1/checkpoints/a").status_code == 204
    assert client.post("/v1/checkpoints", json=checkpoint_body(settings(), "a")).status_code == 201
    refused = change(client, first["id"], excluded=False)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (409, "excluded")
    assert all(row["excluded"] for row in stored(client))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"excluded": True}, "reason"),
        ({"excluded": True, "reason": ""}, "reason"),
        ({"excluded": True, "reason": None}, "reason"),
        ({"excluded": "yes", "reason": REASON}, "excluded"),
        ({"reason": REASON}, "excluded"),
        ({"excluded": True, "reason": REASON, "value": 0.5}, "value"),
    ],
)
def test_what_can_not_be_done_names_the_field(sqlite_client: TestClient, body: dict[str, Any], field: str) -> None:
    imported(sqlite_client, {"a": 0.9})
    [row] = stored(sqlite_client)
    refused = change(sqlite_client, row["id"], **body)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)
    assert refused.json()["errors"][0]["remedy"]
    assert stored(sqlite_client) == [row]


def test_an_unknown_outcome_is_named(sqlite_client: TestClient) -> None:
    missing = change(sqlite_client, "lg_none", excluded=True, reason=REASON)
    assert (missing.status_code, missing.json()["errors"][0]["field"]) == (404, "outcome")


def test_the_same_change_twice_is_one_change(client: TestClient) -> None:
    imported(client, {"a": 0.9})
    [row] = stored(client)
    change(client, row["id"], excluded=False)
    assert stored(client)[0]["exclusions"] == []
    for reason in (REASON, REASON, "the wrong file"):
        change(client, row["id"], excluded=True, reason=reason)
    assert [one["reason"] for one in stored(client)[0]["exclusions"]] == [REASON, "the wrong file"]


def test_simultaneous_changes_lose_no_reason(client: TestClient) -> None:
    imported(client, {"a": 0.9})
    [row] = stored(client)
    reasons = [f"reason {number}" for number in range(8)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda reason: change(client, row["id"], excluded=True, reason=reason), reasons))
    assert {answer.status_code for answer in answers} == {200}
    assert sorted(one["reason"] for one in stored(client)[0]["exclusions"]) == reasons


def test_a_run_that_shall_not_be_recorded_shows_its_metrics_and_teaches_nothing(client: TestClient) -> None:
    finished_run("a")
    body = {"dataset": "discs", "checkpoint": "a", "record_outcome": False}
    requested = client.post("/v1/finetune-runs", json=body).json()
    assert requested["record_outcome"] is False
    assert client.post("/v1/finetune-runs", json={**body, "record_outcome": None}).status_code == 422
    run = finished_run("b", record_outcome=False)
    shown = client.get(f"/v1/finetune-runs/{run}").json()
    assert (shown["record_outcome"], shown["result"]["metrics"]["test"]["dice"]) == (False, 0.8)
    assert stored(client, candidate="b") == []
    assert counting(client) == [("ac_norm, epochs 100", ["a"])]
    assert "not in the ledger, as the request asked" in client.get(f"/finetune-runs/{run}").text


def test_the_python_client_excludes_and_includes(sqlite_client: TestClient) -> None:
    imported(sqlite_client, {"a": 0.9, "b": 0.7})
    with client_of(sqlite_client) as zoo:
        [row] = zoo.outcomes(candidate="a")
        assert zoo.exclude_outcome(row["id"], REASON)["excluded"]
        assert [one["id"] for one in zoo.outcomes(excluded=True)] == [row["id"]]
        assert not zoo.include_outcome(row["id"])["excluded"]
        with pytest.raises(ProblemError, match="no outcome"):
            zoo.exclude_outcome("lg_none", REASON)


def test_the_terminal_excludes_and_includes(sqlite_client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    imported(sqlite_client, {"a": 0.9, "b": 0.7})
    monkeypatch.setattr(commands, "ZooRank", lambda _url: client_of(sqlite_client))
    [row] = stored(sqlite_client, candidate="a")

    def said(*words: str) -> str:
        ended = CliRunner().invoke(commands.app, words, env={"COLUMNS": "200"})
        assert ended.exit_code == 0, ended.output
        return ended.output

    assert (
        said("outcomes", "exclude", row["id"], "--reason", REASON) == f"dice of a on discs is excluded: {REASON}\n"
    )
    listed = said("outcomes", "list", "--excluded")
    assert "0.9 excluded" in listed
    assert row["id"] in listed
    assert said("outcomes", "include", row["id"]) == "dice of a on discs counts\n"
    assert "excluded" not in said("outcomes", "list")
    assert "imported from paper: dice of 2 candidates, 1 seed (paper)" in said("agreement", "--protocol", "paper")
    assert CliRunner().invoke(commands.app, ["outcomes", "exclude", row["id"]]).exit_code != 0
