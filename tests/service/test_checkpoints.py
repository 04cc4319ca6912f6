"""Checkpoints over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from service.settings import settings
from service.store import capabilities
from service.store.session import transaction
from tests.conftest import TestClient
from tests.service.conftest import CAPABILITIES, add_checkpoint, checkpoint_body, there


def test_a_registered_checkpoint_keeps_card_and_parameters(client: TestClient) -> None:
    normalisation: dict[str, object] = {"scale": "zscore", "mean": [0.1, 0.2, 0.3], "std": [0.2, 0.2, 0.2]}
    normalisation |= {"clip": [], "window": [], "percentiles": [0.5, 99.5], "nonzero": True}
    body = checkpoint_body(settings())
    body["card"] |= {"normalisation": normalisation, "pretext": "kept as it is"}
    body["parameters"] |= {"channels": [8, 16], "dropout": 1}
    made = client.post("/v1/checkpoints", json=body)
    assert made.status_code == 201
    shown = client.get("/v1/checkpoints/vessels").json()
    assert shown == made.json() == client.get(made.headers["Location"]).json()
    assert shown["parameters"] == {
        "in_channels": 3,
        "classes": 2,
        "spatial_dims": 2,
        "channels": [8, 16],
        "dropout": 1,
    }
    assert shown["card"]["normalisation"] == normalisation
    assert shown["card"]["pretext"] == "kept as it is"


def test_a_catalogue_name_stands_for_architecture_parameters_and_card(client: TestClient) -> None:
    body = {"uri": there(settings(), "x.pth"), "catalogue": "disc_card"}
    made = client.post("/v1/checkpoints", json=body).json()
    assert (made["name"], made["architecture"]) == ("disc_card", "wnet")
    assert made["parameters"] == {"spatial_dims": 2, "in_channels": 3, "classes": 3}
    assert made["card"]["source_data"] == "discs"


@pytest.mark.parametrize(
    ("change", "field", "word"),
    [
        ({"uri": "/etc/passwd"}, "uri", "ZOORANK_ROOTS"),
        ({"architecture": "resnet"}, "architecture", "unet, wnet"),
        ({"architecture": "wnet", "spatial_dims": 3}, "spatial_dims", "[2]"),
        (
            {"parameters": {"in_channels": 3, "classes": 2, "depth": 4}},
            "parameters.depth",
            "channels, classes",
        ),
        ({"parameters": {"in_channels": 3}}, "parameters.classes", "at least 1"),
        ({"parameters": {"in_channels": 0, "classes": 2}}, "parameters.in_channels", "at least 1"),
        (
            {"parameters": {"in_channels": 3, "classes": 2, "channels": "many"}},
            "parameters.channels",
            "[16, 32]",
        ),
        ({"card": {"source_task": ""}}, "card.source_task", ""),
        ({"catalogue": "disc_card"}, None, ""),
        ({"architecture": None}, None, ""),
    ],
)
def test_a_bad_field_is_named_with_its_remedy(
    sqlite_client: TestClient, change: dict[str, Any], field: str | None, word: str
) -> None:
    answer = sqlite_client.post("/v1/checkpoints", json={**checkpoint_body(settings()), **change})
    assert answer.status_code == 422
    assert [fault["field"] for fault in answer.json()["errors"]] == [field]
    assert word in answer.json()["errors"][0]["remedy"]
    assert sqlite_client.get("/v1/checkpoints").json()["items"] == []


@pytest.mark.parametrize(
    "entries",
    [
        {"note": 5, "origin": "hospital B", "file": 7, "sha256": 5, "catalogue": 3},
        {"origin": {"a": 1}, "more": {"b": [2]}, "version": "2.1", "nothing": None},
    ],
)
def test_a_card_keeps_every_entry_of_the_user(client: TestClient, entries: dict[str, Any]) -> None:
    body = checkpoint_body(settings())
    made = client.post("/v1/checkpoints", json={**body, "card": {**body["card"], **entries}})
    assert made.status_code == 201
    for shown in (made.json(), client.get(made.headers["Location"]).json()):
        assert {name: shown["card"][name] for name in entries} == entries
        assert shown["card"]["source_data"] == body["card"]["source_data"]


def test_a_card_of_the_catalogue_keeps_its_entries(client: TestClient) -> None:
    body = {"uri": there(settings(), "x.pth"), "catalogue": "disc_card"}
    card = client.post("/v1/checkpoints", json=body).json()["card"]
    assert (card["catalogue"], card["modality"], card["note"]) == ("disc_card", "fundus", "two heads")
    assert "architecture" not in card


def test_every_wrong_entry_of_a_card_is_named(sqlite_client: TestClient) -> None:
    body = checkpoint_body(settings())
    body["card"] |= {"head": "relu", "normalisation": {"scale": "half"}}
    answer = sqlite_client.post("/v1/checkpoints", json=body)
    named = [fault["field"] for fault in answer.json()["errors"]]
    assert named == ["card.head", "card.normalisation.scale"]


def test_an_unknown_catalogue_name_lists_the_known(sqlite_client: TestClient) -> None:
    body = {"uri": there(settings(), "x.pth"), "catalogue": "nope"}
    answer = sqlite_client.post("/v1/checkpoints", json=body)
    assert answer.status_code == 422
    assert "disc_card" in answer.json()["errors"][0]["remedy"]


def test_normalisation_needs_as_many_means_as_deviations(sqlite_client: TestClient) -> None:
    body = checkpoint_body(settings())
    body["card"]["normalisation"] = {"scale": "unit", "mean": [0.5], "std": []}
    answer = sqlite_client.post("/v1/checkpoints", json=body)
    assert answer.json()["errors"][0]["field"] == "card.normalisation"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"clip": [240, -160]}, "clip takes the lowest"),
        ({"clip": [240]}, "clip takes two numbers"),
        ({"window": [40, 0]}, "a width above 0"),
        ({"percentiles": [1, 101]}, "from 0 to 100"),
        ({"clip": [0, 1], "window": [0, 1]}, "clip and window both limit"),
        ({"nonzero": True}, "nonzero has a meaning for zscore and percentiles"),
    ],
    ids=str,
)
def test_limits_that_make_no_sense_are_refused(
    sqlite_client: TestClient, wrong: dict[str, object], said: str
) -> None:
    body = checkpoint_body(settings())
    body["card"]["normalisation"] = wrong
    fault = sqlite_client.post("/v1/checkpoints", json=body).json()["errors"][0]
    assert fault["field"] == "card.normalisation"
    assert said in fault["message"]


@pytest.mark.parametrize("spacing", [[1.0], [1.0, 0.0], [1.0, "wide"]], ids=str)
def test_a_spacing_is_one_size_for_each_axis(sqlite_client: TestClient, spacing: list[object]) -> None:
    body = checkpoint_body(settings())
    body["card"]["spacing"] = spacing
    fault = sqlite_client.post("/v1/checkpoints", json=body).json()["errors"][0]
    assert fault["field"].startswith("card.spacing")
    body["card"]["spacing"] = [0.7, 0.9]
    assert sqlite_client.post("/v1/checkpoints", json=body).json()["card"]["spacing"] == [0.7, 0.9]


def test_without_a_worker_the_remedy_is_to_start_one(sqlite_client: TestClient) -> None:
    with transaction() as session:
        capabilities.publish(session, {kind: {} for kind in CAPABILITIES})
    answer = sqlite_client.post("/v1/checkpoints", json=checkpoint_body(settings()))
    assert answer.status_code == 503
    assert "zoorank worker" in answer.json()["errors"][0]["remedy"]


def test_a_taken_name_names_the_remedy(client: TestClient) -> None:
    first = client.post("/v1/checkpoints", json=checkpoint_body(settings())).json()
    same = client.post("/v1/checkpoints", json=checkpoint_body(settings()))
    assert same.status_code == 409
    assert first["id"] in same.json()["errors"][0]["remedy"]


def test_lists_filter_by_architecture_and_state(client: TestClient) -> None:
    with transaction() as session:
        add_checkpoint(session, "a")
        add_checkpoint(session, "b", architecture="wnet")
        add_checkpoint(session, "c", ready=False)

    def names(**params: str) -> list[str]:
        return [row["name"] for row in client.get("/v1/checkpoints", params=params).json()["items"]]

    assert names() == ["c", "b", "a"]
    assert names(architecture="wnet") == ["b"]
    assert names(state="queued") == ["c"]
    assert client.get("/v1/checkpoints", params={"state": "odd"}).status_code == 422


def test_a_missing_checkpoint_is_a_404(client: TestClient) -> None:
    assert client.get("/v1/checkpoints/none").status_code == 404
