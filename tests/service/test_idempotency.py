"""A repeated POST gets the first answer and makes nothing twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from service.jobs import ending
from service.settings import settings
from service.store.session import transaction
from service.store.tables import IdempotentRequest
from tests.conftest import TestClient
from tests.service.conftest import add_checkpoint, add_dataset, checkpoint_body, dataset_body

PATHS = ["/v1/datasets", "/v1/checkpoints", "/v1/rankings", "/v1/finetune-runs"]


def _body(path: str) -> dict[str, Any]:
    if path == "/v1/datasets":
        return dataset_body(settings(), "new")
    if path == "/v1/checkpoints":
        return checkpoint_body(settings(), "new")
    with transaction() as session:
        add_dataset(session)
        add_checkpoint(session, "a")
    return {
        "dataset": "discs",
        **({"candidates": ["a"]} if path == "/v1/rankings" else {"checkpoint": "a"}),
    }


def _rows(client: TestClient, path: str) -> int:
    return len(client.get(path).json()["items"])


@pytest.mark.parametrize("path", PATHS)
def test_a_repeat_is_replayed(client: TestClient, path: str) -> None:
    body, key = _body(path), {"Idempotency-Key": "k" * 200}
    before = _rows(client, path)
    first = client.post(path, json=body, headers=key)
    again = client.post(path, json=dict(reversed(body.items())), headers=key)
    assert first.status_code == again.status_code
    assert first.json() == again.json()
    assert first.headers["Location"] == again.headers["Location"]
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert _rows(client, path) == before + 1


@pytest.mark.parametrize("path", PATHS)
def test_another_body_under_the_key_is_refused(client: TestClient, path: str) -> None:
    body, key = _body(path), {"Idempotency-Key": "k"}
    first = client.post(path, json=body, headers=key)
    changed = {**body, **({"finetune_top": 1} if "rank" in path else {"name": "b"})}
    if "finetune" in path:
        changed = {**body, "method": "vanilla"}
    other = client.post(path, json=changed, headers=key)
    assert other.status_code == 422
    assert other.json()["errors"][0]["field"] == "Idempotency-Key"
    assert client.post(path, json=body, headers=key).json() == first.json()


@pytest.mark.parametrize("path", PATHS)
def test_simultaneous_repeats_make_one_row(client: TestClient, path: str) -> None:
    body, key = _body(path), {"Idempotency-Key": "k"}
    before = _rows(client, path)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: client.post(path, json=body, headers=key), range(8)))
    assert {answer.status_code for answer in answers} <= {201, 202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    assert _rows(client, path) == before + 1


def test_simultaneous_requests_for_one_name_make_one_row(client: TestClient) -> None:
    body = dataset_body(settings())
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: client.post("/v1/datasets", json=body), range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    assert _rows(client, "/v1/datasets") == 1


@pytest.mark.parametrize("path", ["/v1/datasets", "/v1/checkpoints"])
def test_a_name_taken_at_the_same_moment_is_a_conflict(client: TestClient, path: str) -> None:
    body = dataset_body(settings()) if path == "/v1/datasets" else checkpoint_body(settings())

    def post(number: int) -> int:
        return client.post(path, json=body, headers={"Idempotency-Key": f"k{number}"}).status_code

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(post, range(8))) == [201] + [409] * 7


def test_answers_are_kept_for_a_day(client: TestClient) -> None:
    for name in ("old", "new"):
        client.post("/v1/datasets", json=dataset_body(settings(), name), headers={"Idempotency-Key": name})
    with transaction() as session:
        row = session.get_one(IdempotentRequest, ("old", "POST /v1/datasets"))
        row.created_at -= 24 * 3600 + 60
    with transaction() as session:
        ending.sweep(session)
    with transaction() as session:
        assert [row.key for row in session.query(IdempotentRequest)] == ["new"]


def test_many_simultaneous_writers_are_all_served(client: TestClient) -> None:
    bodies = [dataset_body(settings(), f"d{number}") for number in range(60)]
    with ThreadPoolExecutor(60) as threads:
        answers = list(threads.map(lambda body: client.post("/v1/datasets", json=body), bodies))
    assert {answer.status_code for answer in answers} == {201}


def test_a_refused_request_may_be_corrected_under_its_key(client: TestClient) -> None:
    key = {"Idempotency-Key": "k"}
    wrong = client.post("/v1/datasets", json={**dataset_body(settings()), "uri": "/etc/x"}, headers=key)
    assert wrong.status_code == 422
    assert client.post("/v1/datasets", json=dataset_body(settings()), headers=key).status_code == 201


def test_a_key_belongs_to_its_path(client: TestClient) -> None:
    key = {"Idempotency-Key": "k"}
    assert client.post("/v1/datasets", json=dataset_body(settings()), headers=key).status_code == 201
    assert client.post("/v1/checkpoints", json=checkpoint_body(settings()), headers=key).status_code == 201


def test_a_cancel_can_be_repeated_under_its_key(client: TestClient) -> None:
    made = client.post("/v1/rankings", json=_body("/v1/rankings")).json()
    path, key = f"/v1/rankings/{made['id']}/cancel", {"Idempotency-Key": "k"}
    first, again = client.post(path, headers=key), client.post(path, headers=key)
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()


@pytest.mark.parametrize("key", ["", "k" * 201, "käse".encode("latin-1")])
def test_a_bad_key_is_refused(sqlite_client: TestClient, key: str | bytes) -> None:
    headers = {"Idempotency-Key": key}
    answer = sqlite_client.post("/v1/datasets", json=dataset_body(settings()), headers=headers)  # type: ignore[arg-type]
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "idempotency-key"
