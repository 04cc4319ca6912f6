"""What a ranking costs is said before it is requested, and nothing is made by asking."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select

from service.store.contents import Inspection
from service.store.dict_form import read
from service.store.session import reading, transaction
from service.store.tables import Base
from tests.conftest import TestClient
from tests.service.conftest import (
    CAPABILITIES,
    INSPECTION,
    add_checkpoint,
    add_dataset,
    evaluate,
    fail,
    publish,
    score_of,
)

NULL = ["ac_corr_null", "logme"]
TRAIN = 25  # 8 a batch: three whole ones, and one image that is dropped
PAST = {"flags": [], "seconds": 10.0, "epoch_seconds": 6.0, "steps": 3}  # 2 seconds a step, 4 beside them


def _zoo(train: int | None = TRAIN) -> None:
    with transaction() as session:
        dataset = add_dataset(session)
        splits = {"train": train, "val": 9, "test": 0}
        dataset.inspection = None if train is None else read(Inspection, {**INSPECTION, "splits": splits})
        for name in ("a", "b"):
            add_checkpoint(session, name)
        add_checkpoint(
            session, "wide", parameters={"spatial_dims": 2, "in_channels": 3, "classes": 2, "width": 64}
        )


def _body(*names: str, **more: Any) -> dict[str, Any]:
    return {"dataset": "discs", "candidates": list(names or ("a", "b")), **more}


def _cost(client: TestClient, *names: str, **more: Any) -> dict[str, Any]:
    answer = client.post("/v1/rankings/cost", json=_body(*names, **more))
    assert answer.status_code == 200, answer.text
    return answer.json()


def _evaluate(client: TestClient, name: str, facts: dict[str, Any], **more: Any) -> None:
    made = client.post("/v1/rankings", json=_body(name, **more)).json()
    evaluate(made["ranked"][0]["evaluation"], score_of(0.5), facts=facts)


def test_the_null_is_an_epoch_for_every_permutation_and_one_more(client: TestClient) -> None:
    _zoo()
    found = _cost(client, measures=NULL)
    assert found["dataset"]["name"] == "discs"
    assert (found["candidates"], found["measures"]) == (2, NULL)
    assert (found["null_epochs_per_candidate"], found["epochs_per_candidate"], found["epochs"]) == (19, 20, 40)
    assert (found["steps_per_epoch"], found["steps"]) == (3, 120)
    assert found["seconds"] is None
    assert "no past evaluation for this dataset shows how long a, b will take" in found["seconds_from"]


@pytest.mark.parametrize(
    ("measures", "null", "every"),
    [(["logme"], 0, 0), (["logme", "ac_corr"], 0, 1), (None, 0, 1), (["ac_corr", "ac_corr_null"], 5, 6)],
)
def test_epochs_are_those_that_the_measures_share(
    sqlite_client: TestClient, measures: list[str] | None, null: int, every: int
) -> None:
    _zoo()
    found = _cost(sqlite_client, measures=measures, protocol={"null_permutations": 5})
    assert (found["null_epochs_per_candidate"], found["epochs_per_candidate"]) == (null, every)
    made = sqlite_client.post("/v1/rankings", json=_body(measures=measures, protocol={"null_permutations": 5}))
    assert made.status_code == 202
    assert made.json()["epochs_per_candidate"] == every
    shown = sqlite_client.get(f"/rankings/{made.json()['id']}").text
    assert f"{every} training epoch{'' if every == 1 else 's'} for each candidate" in shown


def test_a_default_ranking_does_not_repeat_its_epoch(client: TestClient) -> None:
    _zoo()
    made = client.post("/v1/rankings", json=_body()).json()
    assert "ac_corr_null" in CAPABILITIES["measure"]
    assert made["measures"] == _cost(client)["measures"] == ["ac_corr", "logme", "one_epoch_outcome"]


@pytest.mark.parametrize(
    ("train", "protocol", "steps"),
    [
        (24, {}, 3),
        (25, {}, 3),
        (26, {}, 4),
        (25, {"batch_size": 5}, 5),
        (25, {"steps": 2}, 2),
        (25, {"steps": 90}, 3),
        (None, {}, None),
    ],
)
def test_the_steps_of_an_epoch_are_those_that_will_be_trained(
    sqlite_client: TestClient, train: int | None, protocol: dict[str, Any], steps: int | None
) -> None:
    _zoo(train)
    found = _cost(sqlite_client, protocol=protocol)
    assert (found["steps_per_epoch"], found["steps"]) == (steps, steps and 2 * steps)
    if steps is None:
        assert found["epochs"] == 2
        assert "not been inspected" in found["seconds_from"]


def test_a_published_bound_of_the_batch_size_changes_no_cost(sqlite_client: TestClient) -> None:
    _zoo(26)
    fields = CAPABILITIES["protocol_field"]
    with transaction() as session:
        publish(session, {**CAPABILITIES, "protocol_field": {**fields, "batch_size": {"lowest": 4}}})
    assert _cost(sqlite_client)["steps_per_epoch"] == 4


def test_past_evaluations_of_equal_networks_tell_the_seconds(client: TestClient) -> None:
    _zoo()
    _evaluate(client, "a", PAST)
    assert _cost(client)["seconds"] == 2 * (4.0 + 3 * 2.0)  # b is a network like a
    assert _cost(client, measures=NULL)["seconds"] == 2 * (4.0 + 20 * 3 * 2.0)
    assert _cost(client, measures=["logme"])["seconds"] == 2 * 4.0
    repeated = {
        **PAST,
        "seconds": 124.0,
        "null_seconds": 114.0,
        "null_epochs": 19,
    }  # 120 seconds for 20 epochs of 3 steps
    _evaluate(client, "b", repeated, measures=NULL)
    assert _cost(client)["seconds"] == 2 * (4.0 + 3 * 2.0)
    for median in (10.0, 7.5, 5.0):
        _evaluate(client, "b", {**PAST, "seconds": 5.0, "epoch_seconds": 3.0})  # 1 second a step, 2 beside them
        assert _cost(client)["seconds"] == 2 * median
    assert "on one worker" in _cost(client)["seconds_from"]


def test_what_does_not_tell_is_not_taken(sqlite_client: TestClient) -> None:
    _zoo()
    _evaluate(sqlite_client, "wide", PAST)  # another network
    _evaluate(sqlite_client, "a", PAST, protocol={"batch_size": 4})  # other steps
    _evaluate(sqlite_client, "a", {"flags": [], "seconds": 3.0})  # no epoch
    with transaction() as session:
        add_dataset(session, "other")
    made = sqlite_client.post("/v1/rankings", json={**_body("a"), "dataset": "other"}).json()
    evaluate(made["ranked"][0]["evaluation"], score_of(0.5), facts=PAST)
    fail(sqlite_client.post("/v1/rankings", json=_body("a")).json()["ranked"][0]["evaluation"], "broken")
    found = _cost(sqlite_client, "a", "wide")
    assert found["seconds"] is None
    assert "how long a will take" in found["seconds_from"]
    assert _cost(sqlite_client, "wide")["seconds"] == 10.0
    assert _cost(sqlite_client, "a", protocol={"batch_size": 4, "seed": 3})["seconds"] == 4.0 + 6 * 2.0


def _rows() -> dict[str, int]:
    with reading() as session:
        return {
            name: session.scalar(select(func.count()).select_from(table)) or 0
            for name, table in Base.metadata.tables.items()
        }


def test_asking_makes_nothing(client: TestClient) -> None:
    _zoo()
    before = _rows()
    for _ in range(2):
        headers = {"Idempotency-Key": "k"}
        answer = client.post("/v1/rankings/cost", json=_body(measures=NULL, finetune_top=1), headers=headers)
        assert answer.status_code == 200
    assert _rows() == before
    assert client.post("/v1/rankings", json=_body(), headers=headers).status_code == 202
    assert _rows()["evaluations"] == 2


def test_workers_that_do_not_tell_their_epochs(sqlite_client: TestClient) -> None:
    _zoo()
    older = {"title": "LogME", "source": "You et al. 2021", "tasks": ["segmentation"]}
    with transaction() as session:
        publish(session, {**CAPABILITIES, "measure": {"logme": older}})
    found = _cost(sqlite_client)
    assert (found["measures"], found["epochs_per_candidate"], found["epochs"], found["steps"]) == (
        ["logme"],
        None,
        None,
        None,
    )
    assert "do not say" in found["seconds_from"]
    made = sqlite_client.post("/v1/rankings", json=_body()).json()
    assert made["epochs_per_candidate"] is None
    assert "training epoch" not in sqlite_client.get(f"/rankings/{made['id']}").text
