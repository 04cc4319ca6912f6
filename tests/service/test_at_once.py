"""What can be seen at once is refused at once: files that are not there, misfits, too many candidates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service.api.app import create_app
from service.settings import Settings, settings
from service.store.contents import Inspection
from service.store.dict_form import read
from service.store.session import transaction
from tests.conftest import TestClient
from tests.service.conftest import (
    CAPABILITIES,
    INSPECTION,
    add_checkpoint,
    add_dataset,
    checkpoint_body,
    dataset_body,
    publish,
)

OWN: dict[str, Any] = {"spatial_dims": 2, "in_channels": 3, "classes": 2}


def refused(answer: Any, field: str, *words: str) -> None:
    assert answer.status_code == 422, answer.text
    fault = answer.json()["errors"][0]
    assert fault["field"] == field
    for word in words:
        assert word in f"{fault['message']} -> {fault['remedy']}"


@pytest.mark.parametrize("kind", ["datasets", "checkpoints"])
@pytest.mark.parametrize(
    ("name", "words"),
    [("nowhere.npz", "does not exist"), ("folder.npz", "is no file"), (f"{'x' * 300}.npz", "too long")],
)
def test_a_file_that_is_not_there_is_refused_and_burns_no_name(
    sqlite_client: TestClient, kind: str, name: str, words: str
) -> None:
    (settings().data_dir / "folder.npz").mkdir()
    body = (dataset_body if kind == "datasets" else checkpoint_body)(settings())
    wrong = {**body, "uri": str(settings().data_dir / name)}
    refused(sqlite_client.post(f"/v1/{kind}", json=wrong), "uri", words)
    made = sqlite_client.post(f"/v1/{kind}", json=body)
    assert made.status_code == 201
    refused(sqlite_client.patch(f"/v1/{kind}/{body['name']}", json={"uri": wrong["uri"]}), "uri", words)


def test_a_root_that_only_the_workers_have_is_left_to_them(
    configure: Callable[..., Settings], sqlite_url: str, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "mounted-at-the-workers"
    config = configure(database_url=sqlite_url, roots=elsewhere)
    with transaction() as session:
        publish(session)
    body = {**dataset_body(config), "uri": str(elsewhere / "discs.npz")}
    with TestClient(create_app(), raise_server_exceptions=False) as client:
        assert client.post("/v1/datasets", json=body).status_code == 201


def test_a_file_that_no_reader_reads_is_refused(sqlite_client: TestClient) -> None:
    file = settings().data_dir / "scan.xyz"
    file.touch()
    with transaction() as session:
        publish(session, {"reader": {"npz": {"summary": "NumPy", "endings": [".npz"]}}})
    body = {**dataset_body(settings()), "uri": str(file)}
    refused(sqlite_client.post("/v1/datasets", json=body), "uri", "scan.xyz", ".npz")


@pytest.mark.parametrize(
    ("checkpoint", "words"),
    [
        ({"parameters": {**OWN, "in_channels": 1}}, "takes 1 channels, the dataset has 3"),
        ({"parameters": {**OWN, "spatial_dims": 3}}, "is 3D, the dataset 2D"),
        ({"architecture": "classifier"}, "classifier is for classification, the dataset for segmentation"),
    ],
)
def test_what_does_not_fit_is_refused_where_it_is_named_and_left_out_of_a_filter(
    sqlite_client: TestClient, checkpoint: dict[str, Any], words: str
) -> None:
    kind = {
        "summary": "a class of an image",
        "tasks": ["classification"],
        "spatial_dims": [2, 3],
        "parameters": {},
    }
    with transaction() as session:
        dataset = add_dataset(session)
        dataset.inspection = replace(read(Inspection, INSPECTION), channels=3)
        add_checkpoint(session, "good")
        add_checkpoint(session, "odd", **checkpoint)
        published = {"classifier": kind, "unet": {**kind, "tasks": ["segmentation"]}}
    body: dict[str, Any] = {"dataset": "discs", "candidates": ["good", "odd"]}
    with transaction() as session:
        publish(session, {**CAPABILITIES, "architecture": published})
    refused(sqlite_client.post("/v1/rankings", json=body), "candidates.1", words)
    run = {"dataset": "discs", "checkpoint": "odd"}
    refused(sqlite_client.post("/v1/finetune-runs", json=run), "checkpoint", words)
    asked = sqlite_client.post("/v1/rankings", json={"dataset": "discs", "filter": {}}).json()
    assert [row["candidate"]["name"] for row in asked["ranked"]] == ["good"]


def test_more_candidates_than_the_cap_are_refused_with_both_numbers(
    configure: Callable[..., Settings], sqlite_url: str
) -> None:
    configure(database_url=sqlite_url, most_candidates=3)
    with transaction() as session:
        publish(session)
        add_dataset(session)
        for number in range(4):
            add_checkpoint(session, f"c{number}")
    with TestClient(create_app(), raise_server_exceptions=False) as client:
        everything = {"dataset": "discs", "filter": {}}
        words = ("4 candidates", "at most 3", "ZOORANK_MOST_CANDIDATES")
        refused(client.post("/v1/rankings", json=everything), "filter", *words)
        refused(client.post("/v1/rankings/cost", json=everything), "filter", *words)
        listed = {"dataset": "discs", "candidates": [f"c{number}" for number in range(4)]}
        refused(client.post("/v1/rankings", json=listed), "candidates", *words)
        assert client.get("/v1/rankings").json()["items"] == []


def test_a_long_list_is_read_in_parts(sqlite_client: TestClient) -> None:
    with transaction() as session:
        add_dataset(session)
        for number in range(205):
            add_checkpoint(session, f"c{number}")
    made = sqlite_client.post("/v1/rankings", json={"dataset": "discs", "filter": {}}).json()
    assert (made["counts"], len(made["ranked"])) == ({"queued": 205}, 200)
    address = f"/v1/rankings/{made['id']}"
    parts = [sqlite_client.get(address, params={"first": first, "limit": 100}).json() for first in (0, 100, 200)]
    names = [row["candidate"]["name"] for part in parts for row in part["ranked"]]
    assert (len(names), len(set(names))) == (205, 205)
    assert "5 more rows" in sqlite_client.get(f"/rankings/{made['id']}").text
