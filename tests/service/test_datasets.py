"""Datasets over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from service.jobs import ending
from service.jobs.work import claim_inspection
from service.settings import settings
from service.store import capabilities
from service.store.contents import Inspection
from service.store.dict_form import read
from service.store.session import transaction
from tests.conftest import TestClient
from tests.service.conftest import INSPECTION, add_dataset, dataset_body, there


def test_a_registered_dataset_is_found_by_id_and_by_name(client: TestClient) -> None:
    made = client.post("/v1/datasets", json=dataset_body(settings(), modality="fundus", cohort="A"))
    assert made.status_code == 201
    assert made.headers["Location"] == f"/v1/datasets/{made.json()['id']}"
    assert made.json()["state"] == "queued"
    assert made.json()["modality"] == "fundus"
    assert client.get(made.headers["Location"]).json() == made.json()
    assert client.get("/v1/datasets/discs").json() == made.json()


def test_registering_rings_for_the_inspection_after_the_commit(sqlite_client: TestClient) -> None:
    made = sqlite_client.post("/v1/datasets", json=dataset_body(settings())).json()
    messages = list((settings().broker_dir / "messages").iterdir())
    assert len(messages) == 1
    with transaction() as session:
        assert claim_inspection(session, made["id"], worker="w") is not None


def test_a_list_of_an_unknown_task_names_the_known(sqlite_client: TestClient) -> None:
    answer = sqlite_client.get("/v1/datasets", params={"task": "nope"})
    assert answer.status_code == 422
    assert "segmentation" in answer.json()["errors"][0]["remedy"]


def test_before_any_worker_a_dataset_can_be_registered(sqlite_client: TestClient) -> None:
    with transaction() as session:
        capabilities.publish(session, {})
    body = {"uri": there(settings(), "x.npz"), "task": "segmentation", "spatial_dims": 2}
    assert sqlite_client.post("/v1/datasets", json=body).status_code == 201


def test_a_name_is_made_from_the_file(sqlite_client: TestClient) -> None:
    body = dataset_body(settings(), name="optic disc (2)")
    del body["name"]
    assert sqlite_client.post("/v1/datasets", json=body).json()["name"] == "optic-disc-2"


@pytest.mark.parametrize(
    ("change", "field", "word"),
    [
        ({"uri": "/etc/passwd"}, "uri", "ZOORANK_ROOTS"),
        ({"uri": "relative.npz"}, "uri", "absolute"),
        ({"uri": "s3://bucket/x.npz"}, "uri", "absolute"),
        ({"uri": "/a\x00b"}, "uri", ""),
        ({"task": "detection"}, "task", "classification"),
        ({"spatial_dims": 4}, "spatial_dims", "2 or 3"),
        ({"name": "a/b"}, "name", ""),
        ({"nmae": "x"}, "nmae", "remove"),
    ],
)
def test_a_bad_field_is_named_with_its_remedy(
    sqlite_client: TestClient, change: dict[str, Any], field: str, word: str
) -> None:
    answer = sqlite_client.post("/v1/datasets", json={**dataset_body(settings()), **change})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [fault["field"] for fault in answer.json()["errors"]] == [field]
    assert word in answer.json()["errors"][0]["remedy"]
    assert answer.json()["errors"][0]["remedy"]
    assert sqlite_client.get("/v1/datasets").json()["items"] == []


def test_a_link_out_of_the_roots_is_refused(sqlite_client: TestClient) -> None:
    (settings().data_dir / "discs.npz").symlink_to("/etc/hostname")
    answer = sqlite_client.post("/v1/datasets", json=dataset_body(settings()))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "uri"


def test_a_taken_name_names_the_remedy(client: TestClient) -> None:
    first = client.post("/v1/datasets", json=dataset_body(settings())).json()
    same = client.post("/v1/datasets", json=dataset_body(settings()))
    assert same.status_code == 409
    assert first["id"] in same.json()["errors"][0]["remedy"]
    other = client.post("/v1/datasets", json=dataset_body(settings(), task="classification"))
    assert other.status_code == 409
    assert "another name" in other.json()["errors"][0]["remedy"]


def test_pages_cover_all_rows_once_newest_first(client: TestClient) -> None:
    with transaction() as session:
        ids = [add_dataset(session, f"d{number}", ready=False).id for number in range(7)]
    seen: list[str] = []
    after: str | None = None
    for _ in range(4):
        params: dict[str, Any] = {"limit": 3, **({"after": after} if after else {})}
        page = client.get("/v1/datasets", params=params).json()
        seen += [row["id"] for row in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert seen == sorted(ids, reverse=True)


@pytest.mark.parametrize("task", ["classification", "segmentation", "regression", "multilabel"])
def test_every_task_is_registered_and_listed(sqlite_client: TestClient, task: str) -> None:
    answer = sqlite_client.post("/v1/datasets", json=dataset_body(settings(), task=task))
    assert (answer.status_code, answer.json()["task"]) == (201, task)
    for other in ("regression", "multilabel"):
        found = sqlite_client.get("/v1/datasets", params={"task": other}).json()["items"]
        assert len(found) == (other == task)


def test_lists_filter(client: TestClient) -> None:
    with transaction() as session:
        add_dataset(session, "a", modality="ct")
        add_dataset(session, "b", modality="mr")
    found = client.get("/v1/datasets", params={"modality": "mr"}).json()["items"]
    assert [row["name"] for row in found] == ["b"]
    assert client.get("/v1/datasets", params={"task": "classification"}).json()["items"] == []


def test_the_inspection_is_shown(client: TestClient) -> None:
    found = read(Inspection, INSPECTION)
    with transaction() as session:
        row = add_dataset(session, ready=False)
        work = claim_inspection(session, row.id, worker="w")
        assert work is not None
        ending.complete(session, work.claim, state="done", fingerprint="abc", inspection=found)
    shown = client.get("/v1/datasets/discs").json()
    assert (shown["state"], shown["fingerprint"], shown["inspection"]) == ("done", "abc", INSPECTION)


def test_a_missing_dataset_is_a_404(client: TestClient) -> None:
    answer = client.get("/v1/datasets/none")
    assert answer.status_code == 404
    assert answer.json()["errors"][0]["remedy"] == "see GET /v1/datasets"
