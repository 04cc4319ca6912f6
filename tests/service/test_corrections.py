"""Mistakes over HTTP: what was registered or requested is corrected, removed or retried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from service.api.app import create_app
from service.client.http import ZooRank
from service.client.terminal import tables
from service.jobs import ending, requests
from service.jobs.claims import LeaseLostError, claim, renew
from service.jobs.work import claim_evaluation
from service.settings import Settings, settings
from service.store import outcomes, rankings
from service.store.session import Session, reading, transaction
from service.store.tables import Checkpoint, Dataset, Evaluation, FinetuneRun, Worked, WorkState
from tests.conftest import TestClient
from tests.service.conftest import (
    add_checkpoint,
    add_dataset,
    add_ranking,
    checkpoint_body,
    dataset_body,
    evaluate,
    evaluations,
    fail,
    finish_run,
    publish,
    score_of,
)

KINDS = (("datasets", Dataset), ("checkpoints", Checkpoint))


def end(table: type[Worked], row_id: str, reason: str = "uri: no such file; give another") -> None:
    """Fail a queued row as a worker does."""
    with transaction() as session:
        held = claim(session, table, row_id, worker="w")
        assert held is not None
        ending.complete(session, held, state="failed", reason=reason)


def register(client: TestClient, kind: str) -> dict[str, Any]:
    body = dataset_body(settings()) if kind == "datasets" else checkpoint_body(settings())
    made = client.post(f"/v1/{kind}", json=body)
    assert made.status_code == 201, made.text
    return made.json()


def problem(answer: Any, status: int, *words: str) -> None:
    assert answer.status_code == status, answer.text
    fault = answer.json()["errors"][0]
    assert fault["remedy"]
    for word in words:
        assert word in fault["message"] + fault["remedy"]


def ranked(*names: str, **more: Any) -> str:
    with transaction() as session:
        return add_ranking(session, list(names), **more).id


def of(ranking_id: str, session: Session) -> dict[str, Evaluation]:
    ranking = rankings.find(session, ranking_id)
    assert ranking is not None
    return evaluations(session, ranking)


def ids_of(ranking_id: str) -> dict[str, str]:
    with reading() as session:
        return {name: row.id for name, row in of(ranking_id, session).items()}


@pytest.mark.parametrize(("kind", "table"), KINDS)
def test_a_mistake_burns_no_name(client: TestClient, kind: str, table: type[Worked]) -> None:
    made = register(client, kind)
    end(table, made["id"])
    assert client.delete(f"/v1/{kind}/{made['name']}").status_code == 204
    assert client.get(f"/v1/{kind}/{made['id']}").status_code == 404
    assert register(client, kind)["state"] == "queued"


@pytest.mark.parametrize(("kind", "table"), KINDS)
def test_what_failed_is_retried_with_all_its_attempts(client: TestClient, kind: str, table: type[Worked]) -> None:
    made = register(client, kind)
    problem(client.post(f"/v1/{kind}/{made['id']}/retry"), 409, "queued", "or was canceled")
    for _ in range(settings().attempts + 1):
        end(table, made["id"])
        again = client.post(f"/v1/{kind}/{made['id']}/retry")
        assert again.status_code == 202
        assert (again.json()["state"], again.json()["reason"]) == ("queued", None)
    with transaction() as session:
        assert claim(session, table, made["id"], worker="w") is not None


@pytest.mark.parametrize(("kind", "table"), KINDS)
def test_a_worker_writes_nothing_about_what_was_removed_or_changed(
    client: TestClient, kind: str, table: type[Worked]
) -> None:
    made = register(client, kind)
    with transaction() as session:
        held = claim(session, table, made["id"], worker="w")
        assert held is not None
    other = settings().data_dir / "other.npz"
    other.touch()
    changed = client.patch(f"/v1/{kind}/{made['id']}", json={"uri": str(other)}).json()
    assert (changed["state"], changed["uri"]) == ("queued", str(other))
    with pytest.raises(LeaseLostError), transaction() as session:
        ending.complete(session, held, state="done")
    with transaction() as session:
        held = claim(session, table, made["id"], worker="w")
        assert held is not None
    assert client.delete(f"/v1/{kind}/{made['id']}").status_code == 204
    with pytest.raises(LeaseLostError), transaction() as session:
        renew(session, held, stage="reading", done=0, total=0)


def test_what_is_needed_is_not_removed_and_says_by_what(client: TestClient) -> None:
    ranking = ranked("a", "b")
    problem(client.delete("/v1/datasets/discs"), 409, ranking, "delete")
    problem(client.delete("/v1/checkpoints/a"), 409, ranking)
    client.post(f"/v1/rankings/{ranking}/cancel")
    assert client.delete(f"/v1/rankings/{ranking}").status_code == 204
    run = client.post("/v1/finetune-runs", json={"dataset": "discs", "checkpoint": "a"}).json()["id"]
    problem(client.delete("/v1/datasets/discs"), 409, run)
    problem(client.delete("/v1/checkpoints/a"), 409, run)
    assert client.delete("/v1/checkpoints/b").status_code == 204


def test_what_decides_results_stays_where_there_are_results(client: TestClient) -> None:
    ranking = ranked("a")
    for name in ("other.npz", "other.pt"):
        (settings().data_dir / name).touch()
    changes = {"datasets/discs": {"uri": f"{settings().data_dir}/other.npz"}}
    changes["checkpoints/a"] = {"parameters": {"in_channels": 1, "classes": 2}}
    with transaction() as session:
        work = claim_evaluation(session, ids_of(ranking)["a"], worker="w")
        assert work is not None
    for place, change in changes.items():
        problem(client.patch(f"/v1/{place}", json=change), 409, ranking)
    problem(client.patch("/v1/datasets/discs", json={"task": "classification"}), 409, ranking)
    card = {"normalisation": {"scale": "zscore"}}
    problem(client.patch("/v1/checkpoints/a", json={"card": card}), 409, ranking)
    described = client.patch("/v1/datasets/discs", json={"modality": "fundus", "cohort": "B"}).json()
    assert (described["modality"], described["cohort"], described["state"]) == ("fundus", "B", "done")
    own = client.patch("/v1/checkpoints/a", json={"card": {"licence": "MIT", "note": "ours"}}).json()
    assert (own["card"]["licence"], own["card"]["note"], own["state"]) == ("MIT", "ours", "done")
    assert own["card"]["source_data"] == "a"


def test_a_card_is_checked_whatever_of_it_is_changed(sqlite_client: TestClient) -> None:
    register(sqlite_client, "checkpoints")
    own = "/v1/checkpoints/vessels"
    problem(sqlite_client.patch(own, json={"card": {"spacing": [1, 1, 1, 1, 1]}}), 422, "spacing")
    assert sqlite_client.get(own).json()["card"]["spacing"] == []


def test_an_entry_of_a_card_that_is_null_is_taken_away(sqlite_client: TestClient) -> None:
    before = register(sqlite_client, "checkpoints")["card"]
    own = "/v1/checkpoints/vessels"
    given = {"licence": "MIT", "head": "none", "spacing": [1, 1], "normalisation": {"scale": "zscore"}, "by": "me"}
    changed = sqlite_client.patch(own, json={"card": given}).json()["card"]
    assert (changed["spacing"], changed["head"], changed["by"]) == ([1.0, 1.0], "none", "me")
    assert sqlite_client.patch(own, json={"card": None}).json()["card"] == changed
    assert sqlite_client.patch(own, json={"card": dict.fromkeys(given)}).json()["card"] == before


def test_a_wrong_registration_is_corrected_and_looked_at_anew(client: TestClient) -> None:
    dataset, checkpoint = register(client, "datasets"), register(client, "checkpoints")
    end(Dataset, dataset["id"])
    end(Checkpoint, checkpoint["id"])
    file = settings().data_dir / "right.npz"
    file.touch()
    right = {"uri": str(file), "task": "classification", "spatial_dims": 3, "modality": None}
    changed = client.patch("/v1/datasets/discs", json=right).json()
    assert {name: changed[name] for name in right} == right
    assert (changed["state"], changed["reason"]) == ("queued", None)
    own = {"in_channels": 1, "classes": 4}
    changed = client.patch("/v1/checkpoints/vessels", json={"parameters": own, "card": {"head": "none"}}).json()
    assert changed["parameters"] == {**own, "spatial_dims": 2}
    assert (changed["state"], changed["card"]["head"]) == ("queued", "none")
    problem(client.patch("/v1/checkpoints/vessels", json={"parameters": {"in_channels": 1}}), 422, "classes")
    problem(client.patch("/v1/checkpoints/vessels", json={"architecture": "nope"}), 422, "unet")
    problem(client.patch("/v1/datasets/discs", json={"uri": "/etc/passwd"}), 422, "ZOORANK_ROOTS")
    problem(client.patch("/v1/datasets/discs", json={"name": "x"}), 422, "remove")
    assert client.patch("/v1/datasets/none", json={}).status_code == 404


def test_a_retried_ranking_evaluates_what_failed_and_keeps_what_is_done(client: TestClient) -> None:
    ranking = ranked("a", "b", "c")
    ids = ids_of(ranking)
    evaluate(ids["a"], score_of(0.5), score_of(0.1, measure="logme"))
    fail(ids["b"], "out of memory")
    client.post(f"/v1/rankings/{ranking}/cancel")
    again = client.post(f"/v1/rankings/{ranking}/retry")
    assert again.status_code == 202
    states = {row["candidate"]["name"]: row["state"] for row in again.json()["ranked"]}
    assert states == {"a": "done", "b": "queued", "c": "queued"}
    for name in ("b", "c"):
        evaluate(ids[name], score_of(0.7), score_of(0.2, measure="logme"))
    assert client.get(f"/v1/rankings/{ranking}").json()["state"] == "done"
    problem(client.post(f"/v1/rankings/{ranking}/retry"), 409, "nothing is left")


def test_a_retried_ranking_goes_on_without_the_candidate_whose_checkpoint_failed(client: TestClient) -> None:
    ranking = ranked("a", "b", finetune_top=1)
    ids = ids_of(ranking)
    client.post(f"/v1/rankings/{ranking}/cancel")
    with transaction() as session:
        failed = session.query(Checkpoint).filter_by(name="b").one()
        failed.state, failed.reason = WorkState.FAILED, "uri: no such file; give another"
    assert client.post(f"/v1/rankings/{ranking}/retry").status_code == 202
    evaluate(ids["a"], score_of(0.5), score_of(0.1, measure="logme"))
    shown = client.get(f"/v1/rankings/{ranking}").json()
    rows = {row["candidate"]["name"]: (row["state"], row["reason"]) for row in shown["ranked"]}
    assert rows == {"a": ("done", None), "b": ("failed", "checkpoint b: uri: no such file; give another")}
    assert shown["state"] == "done"
    assert "canceled" not in str(shown["answer"])
    assert len(client.get("/v1/finetune-runs").json()["items"]) == 1


def test_a_ranking_is_retried_after_what_it_needs(client: TestClient) -> None:
    with transaction() as session:
        dataset = add_dataset(session, ready=False)
        ranking = add_ranking(session, ["a"], dataset_id=dataset.id).id
    end(Dataset, dataset.id)
    with transaction() as session:
        assert claim_evaluation(session, ids_of(ranking)["a"], worker="w") is None
    problem(client.post(f"/v1/rankings/{ranking}/retry"), 409, "no such file", "/v1/datasets/discs/retry")
    client.post("/v1/datasets/discs/retry")
    assert client.post(f"/v1/rankings/{ranking}/retry").status_code == 202


def test_a_ranking_whose_scores_are_evidence_is_removed_by_force_only(client: TestClient) -> None:
    ranking = ranked("a", "b")
    problem(client.delete(f"/v1/rankings/{ranking}"), 409, "cancel")
    for number, row_id in enumerate(ids_of(ranking).values()):
        evaluate(row_id, score_of(number / 2))
    row = {"target": "discs", "candidate": "a", "kind": "outcome", "name": "dice", "value": 0.5}
    client.post("/v1/outcomes", json={"source": "paper", "rows": [{**row, "higher_is_better": True}]})
    problem(client.delete(f"/v1/rankings/{ranking}"), 409, "2 scores", "force")
    [outcome] = client.get("/v1/outcomes").json()["items"]
    spare = ranked("c", dataset_id=client.get("/v1/datasets/discs").json()["id"])
    evaluate(ids_of(spare)["c"], score_of(0.5))
    client.patch(f"/v1/outcomes/{outcome['id']}", json={"excluded": True, "reason": "a toy run"})
    assert client.delete(f"/v1/rankings/{spare}").status_code == 204
    client.patch(f"/v1/outcomes/{outcome['id']}", json={"excluded": False})
    assert client.delete(f"/v1/rankings/{ranking}", params={"force": "true"}).status_code == 204
    assert client.get(f"/v1/rankings/{ranking}").status_code == 404
    assert client.delete("/v1/datasets/discs").status_code == 204


def test_a_removed_run_takes_its_network_and_leaves_its_outcomes(client: TestClient) -> None:
    ranking = ranked("a")
    client.post(f"/v1/rankings/{ranking}/cancel")
    with transaction() as session:
        run_id = client.post("/v1/finetune-runs", json={"dataset": "discs", "checkpoint": "a"}).json()["id"]
        run = session.get_one(FinetuneRun, run_id)
    problem(client.delete(f"/v1/finetune-runs/{run_id}"), 409, "cancel")
    network = settings().networks_dir / f"{run_id}.safetensors"
    network.parent.mkdir()
    network.write_bytes(b"weights")
    finish_run(run, {"metrics": {"test": {"dice": 0.9}}, "network_file": network.name})
    (settings().data_dir / "copy.pt").touch()
    client.post("/v1/checkpoints", json={**checkpoint_body(settings()), "uri": str(network)})
    problem(client.delete(f"/v1/finetune-runs/{run_id}"), 409, "vessels")
    assert network.exists()
    client.delete("/v1/checkpoints/vessels")
    assert client.delete(f"/v1/finetune-runs/{run_id}").status_code == 204
    assert not network.exists()
    assert client.delete(f"/v1/rankings/{ranking}", params={"force": "true"}).status_code == 204
    assert client.delete("/v1/datasets/discs").status_code == 204
    assert client.delete("/v1/checkpoints/a").status_code == 204
    with reading() as session:
        [row] = outcomes.rows(session)
    assert (row.target, row.candidate, row.value, row.finetune_run_id) == ("discs", "a", 0.9, run_id)


def recorded(client: TestClient) -> str:
    """A finetune run of `a` on `discs`, whose outcome is in the ledger."""
    with transaction() as session:
        add_dataset(session)
        add_checkpoint(session, "a")
    run_id: str = client.post("/v1/finetune-runs", json={"dataset": "discs", "checkpoint": "a"}).json()["id"]
    with reading() as session:
        run = session.get_one(FinetuneRun, run_id)
    finish_run(run, {"metrics": {"test": {"dice": 0.9}}})
    return run_id


def test_outcomes_of_own_runs_never_count_for_another_file(client: TestClient) -> None:
    run_id = recorded(client)
    with reading() as session:
        [outcome] = outcomes.rows(session)
    other = {"uri": str(settings().data_dir / "other.npz")}
    (settings().data_dir / "other.npz").touch()
    other_task = {"task": "classification", "spatial_dims": 3}
    assert client.delete(f"/v1/finetune-runs/{run_id}").status_code == 204
    problem(client.patch("/v1/checkpoints/a", json=other), 409, outcome.id, "exclude")
    problem(client.patch("/v1/datasets/discs", json=other), 409, outcome.id, "exclude")
    problem(client.patch("/v1/datasets/discs", json=other_task), 409, outcome.id, "exclude")
    bodies = {
        "checkpoints": checkpoint_body(settings(), "a"),
        "datasets": dataset_body(settings(), "discs"),
    }
    for kind, body in bodies.items():
        assert client.delete(f"/v1/{kind}/{body['name']}").status_code == 204
        problem(client.post(f"/v1/{kind}", json=body), 409, outcome.id, "another name")
    excluded = {"excluded": True, "reason": "the file is another now"}
    assert client.patch(f"/v1/outcomes/{outcome.id}", json=excluded).status_code == 200
    for kind, body in bodies.items():
        assert client.post(f"/v1/{kind}", json=body).status_code == 201


def test_what_has_excluded_outcomes_only_may_become_another(client: TestClient) -> None:
    run_id = recorded(client)
    (settings().data_dir / "other.npz").touch()
    other = {"uri": str(settings().data_dir / "other.npz")}
    with reading() as session:
        [outcome] = outcomes.rows(session)
    problem(client.patch("/v1/checkpoints/a", json=other), 409, run_id, "another name")
    client.delete(f"/v1/finetune-runs/{run_id}")
    client.patch(f"/v1/outcomes/{outcome.id}", json={"excluded": True, "reason": "another file"})
    for place in ("checkpoints/a", "datasets/discs"):
        assert client.patch(f"/v1/{place}", json=other).json()["state"] == "queued"
    problem(client.patch(f"/v1/outcomes/{outcome.id}", json={"excluded": False}), 409, "finetune again")


def test_a_canceled_run_is_retried(client: TestClient) -> None:
    with transaction() as session:
        add_dataset(session)
        add_checkpoint(session, "a")
    run_id = client.post("/v1/finetune-runs", json={"dataset": "discs", "checkpoint": "a"}).json()["id"]
    problem(client.post(f"/v1/finetune-runs/{run_id}/retry"), 409, "queued")
    client.post(f"/v1/finetune-runs/{run_id}/cancel")
    assert client.post(f"/v1/finetune-runs/{run_id}/retry").json()["state"] == "queued"


def test_a_ranking_and_a_run_have_a_note_that_changes_nothing_else(client: TestClient) -> None:
    with transaction() as session:
        add_dataset(session)
        add_checkpoint(session, "a")
    asked = {"dataset": "discs", "note": "first look"}
    bodies = {"rankings": {**asked, "candidates": ["a"]}, "finetune-runs": {**asked, "checkpoint": "a"}}
    for kind, body in bodies.items():
        made = client.post(f"/v1/{kind}", json=body).json()
        assert made["note"] == "first look"
        own = f"/v1/{kind}/{made['id']}"
        assert client.patch(own, json={"note": "<with new masks>"}).json() == {**made, "note": "<with new masks>"}
        assert client.get(own).json()["note"] == "<with new masks>"
        assert client.get(f"/v1/{kind}").json()["items"][0]["note"] == "<with new masks>"
        for page in (f"/{kind}/{made['id']}", "/"):
            assert "Note: &lt;with new masks&gt;" in client.get(page, headers={"accept": "text/html"}).text
        assert client.patch(own, json={"note": None}).json() == {**made, "note": None}
        assert "Note:" not in client.get(f"/{kind}/{made['id']}", headers={"accept": "text/html"}).text
        problem(client.patch(own, json={}), 422)
        problem(client.patch(own, json={"note": "x", "dataset": "other"}), 422)
        problem(client.patch(f"/v1/{kind}/none", json={"note": "x"}), 404, kind[:4])


def test_the_terminal_shows_the_note_of_a_ranking(sqlite_client: TestClient) -> None:
    ranking_id = ranked("a")
    with ZooRank("http://zoo") as zoo:
        zoo._http = sqlite_client  # the service in this process
        changed = zoo.describe("rankings", ranking_id, "first look")
    screen = Console(record=True, width=200)
    screen.print(tables.ranked_list(changed, url="http://zoo"))
    assert "Note: first look" in screen.export_text()


def test_what_is_removed_while_it_is_referred_to_is_not_said_to_be_a_taken_name(
    configure: Callable[..., Settings], postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(database_url=postgres_url)  # SQLite lets one transaction write at a time
    with transaction() as session:
        publish(session)
        add_dataset(session)
        add_checkpoint(session, "a")
    real = requests.add

    def add(session: Session, row: FinetuneRun) -> None:
        assert client.delete("/v1/checkpoints/a").status_code == 204  # at this very moment
        real(session, row)

    with TestClient(create_app(), raise_server_exceptions=False) as client:
        monkeypatch.setattr(requests, "add", add)
        answer = client.post("/v1/finetune-runs", json={"dataset": "discs", "checkpoint": "a"})
        problem(answer, 409, "was removed at the same moment", "look at what is there now")
        assert "name" not in answer.text
        assert client.get("/v1/finetune-runs").json()["items"] == []


@pytest.mark.parametrize(
    ("place", "noun", "table"), [("datasets", "dataset", Dataset), ("checkpoints", "checkpoint", Checkpoint)]
)
def test_the_page_of_a_failure_says_how_to_retry(
    sqlite_client: TestClient, place: str, noun: str, table: type[Worked]
) -> None:
    made = register(sqlite_client, place)
    end(table, made["id"], "uri: broken; copy it again")
    page = sqlite_client.get(f"/{place}/{made['id']}", headers={"accept": "text/html"}).text
    assert "uri: broken" in page
    assert f"zoorank {noun} retry {made['id']}" in page
    assert f"zoorank {noun} change {made['id']}" in page
