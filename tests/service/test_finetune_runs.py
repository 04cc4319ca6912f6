"""Finetune runs over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from service.jobs import ending
from service.jobs.claims import claim
from service.settings import settings
from service.store import finetune_runs
from service.store.contents import FinetuneResult
from service.store.dict_form import plain
from service.store.session import reading, transaction
from service.store.tables import Checkpoint
from tests.conftest import TestClient
from tests.service.conftest import CAPABILITIES, add_checkpoint, add_dataset, finish_run


def _run(client: TestClient, **more: Any) -> Any:
    with transaction() as session:
        add_dataset(session)
        add_checkpoint(session, "a")
    return client.post("/v1/finetune-runs", json={"dataset": "discs", "checkpoint": "a", **more})


def _finish(run_id: str, result: dict[str, Any]) -> None:
    with reading() as session:
        row = finetune_runs.find(session, run_id)
    assert row is not None
    finish_run(row, result)


def test_a_request_is_accepted(client: TestClient) -> None:
    made = _run(client, protocol={"epochs": 2})
    assert made.status_code == 202
    shown = client.get(made.headers["Location"]).json()
    assert shown == made.json()
    assert (shown["state"], shown["method"], shown["network"]) == ("queued", "ac_norm", None)
    assert shown["protocol"] == {**CAPABILITIES["finetune_protocol"]["default"], "epochs": 2}


def test_a_finished_run_gives_its_network(client: TestClient) -> None:
    made = _run(client).json()
    early = client.get(f"/v1/finetune-runs/{made['id']}/network")
    assert early.status_code == 409
    assert early.headers["content-type"] == "application/problem+json"
    settings().networks_dir.mkdir(parents=True)
    (settings().networks_dir / "x.safetensors").write_bytes(b"weights")
    result = plain(FinetuneResult(metrics={"test": {"dice": 0.9}, "validation": {}}, network_file="x.safetensors"))
    _finish(made["id"], result)
    shown = client.get(f"/v1/finetune-runs/{made['id']}").json()
    assert shown["result"] == result
    network = client.get(shown["network"])
    assert network.content == b"weights"
    assert 'filename="x.safetensors"' in network.headers["content-disposition"]
    (settings().networks_dir / "x.safetensors").unlink()
    assert client.get(shown["network"]).status_code == 404


def test_a_network_outside_its_folder_is_never_sent(sqlite_client: TestClient) -> None:
    made = _run(sqlite_client).json()
    settings().networks_dir.mkdir(parents=True)
    _finish(made["id"], {"network_file": "../zoorank.db"})
    assert sqlite_client.get(f"/v1/finetune-runs/{made['id']}/network").status_code == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"dataset": "none"}, "dataset"),
        ({"checkpoint": "none"}, "checkpoint"),
        ({"method": "none"}, "method"),
        ({"protocol": {"patience": 0}}, "protocol.patience"),
        ({"protocol": {"crop": [8, 8, 8]}}, "protocol.crop"),
    ],
)
def test_a_bad_field_is_named(sqlite_client: TestClient, change: dict[str, Any], field: str) -> None:
    answer = _run(sqlite_client, **change)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field
    assert answer.json()["errors"][0]["remedy"]


def test_a_failed_checkpoint_is_refused_with_its_reason(sqlite_client: TestClient) -> None:
    with transaction() as session:
        row = add_checkpoint(session, "broken", ready=False)
        held = claim(session, Checkpoint, row.id, worker="w")
        assert held is not None
        ending.complete(session, held, state="failed", reason="NaN weights")
    answer = _run(sqlite_client, checkpoint="broken")
    assert answer.status_code == 409
    assert "NaN weights" in answer.json()["detail"]


def test_cancel(client: TestClient) -> None:
    made = _run(client).json()
    canceled = client.post(f"/v1/finetune-runs/{made['id']}/cancel").json()
    assert (canceled["state"], canceled["reason"]) == ("canceled", "the run was canceled")
    assert client.post(f"/v1/finetune-runs/{made['id']}/cancel").status_code == 409
    assert client.post("/v1/finetune-runs/none/cancel").status_code == 404


def test_lists_filter_by_state(client: TestClient) -> None:
    made = _run(client).json()
    ids = [row["id"] for row in client.get("/v1/finetune-runs", params={"state": "queued"}).json()["items"]]
    assert ids == [made["id"]]
    assert client.get("/v1/finetune-runs", params={"state": "done"}).json()["items"] == []
