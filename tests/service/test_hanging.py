"""A database or a broker that takes connections and never answers: every request is answered, liveness at once."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import make_url, text

from service.api.app import create_app
from service.settings import Settings
from service.store.session import DatabaseError, transaction
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


class Proxy(threading.Thread):
    """A way to the server on this Unix socket, for TCP clients; while it is `frozen`, nothing passes."""

    def __init__(self, server: str) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.frozen = threading.Event()
        self._ends: dict[socket.socket, socket.socket] = {}
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.is_set():
            ready, _, _ = select.select([self._listener, *self._ends], [], [], 0.02)
            if self.frozen.is_set():
                time.sleep(0.02)
                continue
            for end in ready:
                self._accept() if end is self._listener else self._pass_on(end)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._server)
        self._ends |= {client: server, server: client}

    def _pass_on(self, end: socket.socket) -> None:
        other = self._ends.get(end)
        try:
            data = end.recv(65536)
        except OSError:
            data = b""
        if other is None:
            return
        if data:
            other.sendall(data)
            return
        for closed in (end, other):
            self._ends.pop(closed)
            closed.close()

    def close(self) -> None:
        self._over.set()
        self.join(5)
        for end in (self._listener, *self._ends):
            end.close()


@pytest.fixture
def proxy(postgres_server: str) -> Iterator[Proxy]:
    """A way to the PostgreSQL server of the tests."""
    own = Proxy(f"{postgres_server}/.s.PGSQL.5432")
    own.start()
    yield own
    own.close()


def test_a_database_that_freezes_with_open_connections_is_given_up(
    configure: Callable[..., Settings], postgres_url: str, proxy: Proxy
) -> None:
    name = make_url(postgres_url).database
    configure(database_url=f"postgresql://postgres@127.0.0.1:{proxy.port}/{name}", statement_seconds=1)
    with transaction() as session:
        publish(session)
    with TestClient(create_app(), raise_server_exceptions=False) as client:
        assert client.get("/v1/datasets").status_code == 200
        proxy.frozen.set()
        start = time.monotonic()
        answer = client.get("/v1/datasets")
        took = time.monotonic() - start
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        assert took < 1.25 + 5 + SOON, f"{took:.1f} s"  # the ping of the open connection, then a new one
        proxy.frozen.clear()
        assert client.get("/v1/datasets").status_code == 200


@pytest.mark.parametrize("statement", ["SELECT pg_sleep(30)", "LOCK TABLE datasets"])
def test_a_statement_that_takes_too_long_is_canceled(
    configure: Callable[..., Settings], postgres_url: str, statement: str
) -> None:
    configure(database_url=postgres_url, statement_seconds=1)
    with transaction() as other:
        other.execute(text("LOCK TABLE datasets"))
        start = time.monotonic()
        with pytest.raises(DatabaseError, match="canceling statement due to"), transaction() as session:
            session.execute(text(statement))
        assert time.monotonic() - start < SOON


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
    assert took < SOON, f"{took:.1f} s"  # 1.9 s for the broker
