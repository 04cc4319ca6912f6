"""A database or a broker that takes connections and never answers: every request is answered, liveness at once."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.api.app import create_app
from service.settings import Settings
from service.store.session import transaction
from tests.conftest import TestClient
from tests.service.conftest import dataset_body, publish

MANY = 45  # more than there are threads
SOON = 4.0  # seconds, on a busy machine


@pytest.fixture
def hanging() -> Iterator[int]:
    """The port of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as server:
        port: int = server.getsockname()[1]
        yield port


def test_liveness_does_not_wait_for_a_database_that_hangs(
    configure: Callable[..., Settings], hanging: int
) -> None:
    configure(database_url=f"postgresql+psycopg://lab:x@127.0.0.1:{hanging}/zoo")
    with (
        TestClient(create_app(), raise_server_exceptions=False) as client,
        ThreadPoolExecutor(MANY) as threads,
    ):
        start = time.monotonic()
        waiting = [threads.submit(client.get, "/v1/datasets") for _ in range(MANY)]
        time.sleep(0.5)
        asked = time.monotonic()
        assert client.get("/healthz").status_code == 200
        assert time.monotonic() - asked < SOON
        answers = [one.result() for one in waiting]
        assert {answer.status_code for answer in answers} == {503}
        assert all(answer.json()["errors"][0]["remedy"] for answer in answers)
        assert time.monotonic() - start < 40


def test_a_post_does_not_wait_for_a_broker_that_hangs(
    configure: Callable[..., Settings], sqlite_url: str, hanging: int, caplog: pytest.LogCaptureFixture
) -> None:
    config = configure(database_url=sqlite_url, broker_url=f"redis://127.0.0.1:{hanging}/0")
    with transaction() as session:
        publish(session)
    with TestClient(create_app(), raise_server_exceptions=False) as client:
        start = time.monotonic()
        assert client.post("/v1/datasets", json=dataset_body(config)).status_code == 201
        took = time.monotonic() - start
    assert "waits for the sweep" in caplog.text
    assert took < 2 * SOON, f"{took:.1f} s"
