"""Every error is a problem document that names the remedy and no secret."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

import pytest

from service.api.app import create_app
from service.api.middleware import BODY_LIMIT
from service.settings import Settings, settings
from service.store.session import transaction
from tests.conftest import TestClient
from tests.service.conftest import checkpoint_body, publish, there

PROBLEM = "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("GET", "/v1/nothing", None, 404),
        ("GET", "/v1/rankings/none", None, 404),
        ("GET", "/v1/rankings/%00", None, 422),
        ("GET", "/v1/rankings?limit=0", None, 422),
        ("GET", "/v1/rankings?after=x", None, 422),
        ("GET", "/v1/rankings?state=odd", None, 422),
        ("GET", "/v1/datasets?modality=%00", None, 422),
        ("DELETE", "/v1/rankings", None, 405),
        ("POST", "/v1/rankings", b"{", 400),
        ("POST", "/v1/rankings", b"\xff", 400),
        ("POST", "/v1/rankings", b"[]", 422),
        ("POST", "/v1/rankings", b"", 422),
        ("POST", "/v1/rankings", b"[" * 100_000, 400),
        ("POST", "/v1/rankings", b'{"dataset": ' + b"1" * 5000 + b"}", 400),
        ("POST", "/v1/rankings/cost", b"{", 400),
        ("POST", "/v1/rankings/cost", b"[]", 422),
        ("POST", "/v1/rankings/cost", b'{"dataset": NaN}', 400),
        ("POST", "/v1/rankings/cost", b"[" * 100_000, 400),
        ("POST", "/v1/rankings/cost", b" " * (BODY_LIMIT + 1), 413),
        ("POST", "/v1/rankings/none/cancel", b"{", 400),
        ("POST", "/v1/rankings/none/cancel", b"\xff", 400),
        ("POST", "/v1/rankings/none/cancel", b"[" * 100_000, 400),
        ("POST", "/v1/rankings/none/cancel", b"1" * 5000, 400),
        ("POST", "/v1/finetune-runs/none/cancel", b"{", 400),
        ("POST", "/v1/rankings", b" " * (BODY_LIMIT + 1), 413),
    ],
)
def test_every_error_is_a_problem_document(
    client: TestClient, method: str, path: str, content: bytes | None, status: int
) -> None:
    answer = client.request(method, path, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert answer.headers["content-type"] == PROBLEM
    problem = answer.json()
    assert problem["status"] == status
    assert set(problem) == {"type", "title", "status", "detail", "errors"}
    assert problem["detail"]
    assert problem["errors"]
    assert all(fault["remedy"] for fault in problem["errors"])


def test_a_broken_body_of_another_content_type_is_no_defect(sqlite_client: TestClient) -> None:
    answer = sqlite_client.post("/v1/rankings", content=b"{", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 400


@pytest.mark.parametrize("depth", [40, 100, 900, 5000])
def test_a_deeply_nested_card_is_no_defect(sqlite_client: TestClient, depth: int) -> None:
    body = json.dumps(checkpoint_body(settings()))
    card = '{"more": ' + "[" * depth + "]" * depth + "}"
    content = body.replace(json.dumps(checkpoint_body(settings())["card"]), card)
    answer = sqlite_client.post("/v1/checkpoints", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in (201, 400, 422)
    assert sqlite_client.get("/v1/checkpoints").status_code == 200


def test_a_body_without_a_length_is_limited_too(sqlite_client: TestClient) -> None:
    parts = (b" " * 100_000 for _ in range(11))
    answer = sqlite_client.post("/v1/rankings", content=parts)
    assert answer.status_code == 413


def test_a_body_at_the_limit_is_read(sqlite_client: TestClient) -> None:
    content = b"{}" + b" " * (BODY_LIMIT - 2)
    answer = sqlite_client.post("/v1/rankings", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "dataset"


def test_405_names_all_methods(sqlite_client: TestClient) -> None:
    assert sqlite_client.delete("/v1/rankings").headers["Allow"] == "GET, POST"
    assert sqlite_client.post("/healthz").headers["Allow"] == "GET"


def test_an_unexpected_error_is_a_problem_without_its_words(
    sqlite_client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a hidden word")

    monkeypatch.setattr("service.api.rankings.service.listed", broken)
    answer = sqlite_client.get("/v1/rankings")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == PROBLEM
    assert "hidden" not in answer.text


def test_a_database_that_is_away_is_a_503_and_its_password_stays_hidden(
    configure: Callable[..., Settings], caplog: pytest.LogCaptureFixture
) -> None:
    config = configure(database_url="postgresql+psycopg://lab:pass-word-1@127.0.0.1:1/zoo?connect_timeout=2")
    caplog.set_level(logging.DEBUG)
    with TestClient(create_app(), raise_server_exceptions=False) as client:
        assert client.get("/healthz").status_code == 200
        for path in ("/readyz", "/v1/datasets", "/"):
            answer = client.get(path)
            assert answer.status_code == 503, path
            assert "zoorank db upgrade" in answer.text
            assert "pass-word-1" not in answer.text
    assert "pass-word-1" not in caplog.text
    assert "pass-word-1" not in repr(config)


def test_a_broker_that_is_away_delays_and_its_password_stays_hidden(
    configure: Callable[..., Settings], sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = configure(database_url=sqlite_url, broker_url="redis://:pass-word-2@127.0.0.1:1/0")
    caplog.set_level(logging.DEBUG)
    with transaction() as session:
        publish(session)
    with TestClient(create_app(), raise_server_exceptions=False) as client:
        body = {"uri": there(config, "x.npz"), "task": "segmentation", "spatial_dims": 2}
        assert client.post("/v1/datasets", json=body).status_code == 201
    assert "waits for the sweep" in caplog.text
    assert "pass-word-2" not in caplog.text


def test_readiness_needs_migrations_and_a_worker(configure: Callable[..., Settings]) -> None:
    configure()
    with TestClient(create_app(), raise_server_exceptions=False) as client:
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert "zoorank db upgrade" in answer.json()["errors"][0]["remedy"]


def test_readiness_without_a_worker(configure: Callable[..., Settings], database_url: str) -> None:
    configure(database_url=database_url)
    with TestClient(create_app(), raise_server_exceptions=False) as client:
        assert "worker" in client.get("/readyz").json()["errors"][0]["remedy"]


def test_readiness(client: TestClient) -> None:
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")


def test_answers_carry_security_headers(sqlite_client: TestClient) -> None:
    for path in ("/", "/v1/rankings", "/v1/nothing"):
        headers = sqlite_client.get(path).headers
        assert headers["Content-Security-Policy"].startswith("default-src 'self'")
        assert headers["X-Content-Type-Options"] == "nosniff"
