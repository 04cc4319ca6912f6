"""The edge of the service: foreign hosts and pages, slow and large bodies, files that are private."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from service.api.app import create_app
from service.api.bodies import IN_MEMORY, Bodies
from service.api.errors import TooManyError
from service.api.middleware import MOST_AT_ONCE, PATIENCE
from service.settings import Settings, settings
from service.store.session import engine
from tests.conftest import TestClient
from tests.service.conftest import add_ranking, dataset_body, transaction

PROBLEM = "application/problem+json"
FOREIGN = ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "10.0.0.7", "", "[::1", "localhost.evil"]
EVERYWHERE = "0.0.0.0"  # noqa: S104 - what is tested
OWN = ["localhost", "localhost:8000", "127.0.0.1:1", "127.8.8.8", "[::1]:8000", "LOCALHOST"]


@pytest.mark.parametrize("host", FOREIGN)
def test_a_foreign_host_is_refused(sqlite_client: TestClient, host: str) -> None:
    for path in ("/", "/healthz", "/v1/datasets"):
        answer = sqlite_client.get(path, headers={"Host": host})
        assert answer.status_code == 421, path
        assert answer.headers["content-type"] == PROBLEM
        assert "ZOORANK_ALLOWED_HOSTS" in answer.json()["errors"][0]["remedy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("host", OWN)
def test_loopback_is_known_by_every_name(sqlite_client: TestClient, host: str) -> None:
    assert sqlite_client.get("/v1/datasets", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("values", "known", "foreign"),
    [
        (
            {"allowed_hosts": "zoo.lab.example, other"},
            ["zoo.lab.example", "Other:80"],
            ["lab.example", "10.0.0.7"],
        ),
        ({"allowed_hosts": "*"}, ["anything.example"], []),
        ({"host": EVERYWHERE}, ["10.0.0.7", "[fe80::1]", socket.gethostname()], ["evil.example"]),
        ({"host": "zoo.lab.example"}, ["zoo.lab.example", "10.0.0.7"], ["evil.example"]),
    ],
)
def test_the_settings_say_by_which_names_it_is_known(
    configure: Callable[..., Settings],
    sqlite_url: str,
    values: dict[str, str],
    known: list[str],
    foreign: list[str],
) -> None:
    configure(database_url=sqlite_url, **values)
    with TestClient(create_app(), raise_server_exceptions=False) as client:
        for host in [*known, "localhost"]:
            assert client.get("/v1/datasets", headers={"Host": host}).status_code == 200, host
        for host in foreign:
            assert client.get("/v1/datasets", headers={"Host": host}).status_code == 421, host


CROSS_SITE = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:3000"},
    {"Origin": "http://evil.example"},
    {"Origin": "http://127.0.0.1:3000"},
    {"Origin": "null"},
    {"Origin": "http://["},
    {"Origin": "http://[x]:1"},
]
SAME_SITE = [{}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {"Origin": "http://127.0.0.1"}]


@pytest.mark.parametrize("headers", CROSS_SITE)
def test_a_page_of_another_site_changes_nothing(sqlite_client: TestClient, headers: dict[str, str]) -> None:
    with transaction() as session:
        ranking = add_ranking(session, ["a"]).id
    form = {"Content-Type": "application/x-www-form-urlencoded", **headers}
    for method, path in [
        ("POST", f"/v1/rankings/{ranking}/cancel"),
        ("POST", "/v1/datasets"),
        ("DELETE", "/v1/outcomes?source=paper"),
    ]:
        answer = sqlite_client.request(method, path, headers=form)
        assert answer.status_code == 403, path
        assert answer.json()["errors"][0]["field"] == "Origin"
    assert sqlite_client.get(f"/v1/rankings/{ranking}", headers=headers).json()["state"] == "queued"


@pytest.mark.parametrize("headers", SAME_SITE)
def test_own_pages_and_programs_change_things(sqlite_client: TestClient, headers: dict[str, str]) -> None:
    assert sqlite_client.post("/v1/datasets", json=dataset_body(settings()), headers=headers).status_code == 201


def test_a_proxy_that_is_named_may_send_its_own_origin(
    configure: Callable[..., Settings], sqlite_url: str
) -> None:
    configure(database_url=sqlite_url, allowed_hosts="zoo.lab.example")
    headers = {"Origin": "https://zoo.lab.example", "Host": "127.0.0.1:8000"}
    with TestClient(create_app(), raise_server_exceptions=False) as client:
        assert client.delete("/v1/outcomes?source=paper", headers=headers).status_code == 200


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("::1", False), (EVERYWHERE, True)])
def test_listening_openly_warns(
    configure: Callable[..., Settings], caplog: pytest.LogCaptureFixture, host: str, warned: bool
) -> None:
    configure(host=host)
    create_app()
    assert ("there is no log-in" in caplog.text) == warned


# --- bodies ----------------------------------------------------------------------------------------------------

SENDERS = 20
LARGE = 8_000_000


@pytest.fixture
def slow_api(configure: Callable[..., Settings], sqlite_url: str) -> Iterator[tuple[int, psutil.Process]]:
    """The API in a process of its own, with two seconds for a body: its port and process."""
    configure(database_url=sqlite_url, body_seconds=2)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "service.api.app:create_app", "--factory", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                httpx.get(f"http://127.0.0.1:{port}/healthz")
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield port, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(20)


def unfinished(port: int) -> socket.socket:
    """A connection that has sent most of a large body, and waits."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    head = f"POST /v1/outcomes HTTP/1.1\r\nHost: localhost\r\nContent-Length: {LARGE + 1000}\r\n\r\n"
    connection.sendall(head.encode() + b" " * LARGE)
    return connection


def test_unfinished_bodies_cost_no_memory_and_are_closed(slow_api: tuple[int, psutil.Process]) -> None:
    port, process = slow_api
    before = process.memory_info().rss
    connections = [unfinished(port) for _ in range(SENDERS)]
    grown = process.memory_info().rss - before
    assert grown < SENDERS * LARGE / 4, f"{grown / 1e6:.0f} MB for {SENDERS * LARGE / 1e6:.0f} MB"
    assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
    for connection in connections:
        answer = b"".join(iter(lambda: connection.recv(65536), b""))  # noqa: B023 - until it is closed
        assert answer.startswith(b"HTTP/1.1 408 "), answer[:200]
        assert b"ZOORANK_BODY_SECONDS" in answer
        connection.close()
    assert not list(settings().data_dir.glob("tmp*"))


def _messages(*chunks: bytes) -> Callable[[], Any]:
    waiting = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]

    async def receive() -> dict[str, Any]:
        if waiting:
            return waiting.pop(0)
        await asyncio.sleep(60)
        raise AssertionError("nobody waits that long")

    return receive


def test_all_bodies_together_are_bounded_and_give_back_what_they_held(tmp_path: Path) -> None:
    scope = {"type": "http", "headers": []}
    bodies = Bodies(tmp_path, seconds=0.2, most_at_once=3 * IN_MEMORY)

    async def one() -> str:
        try:
            async with bodies.received(scope, _messages(b"x" * 2 * IN_MEMORY), limit=10 * IN_MEMORY):
                return "taken"
        except TooManyError as error:
            return f"retry after {error.headers['Retry-After']}"
        except Exception as error:
            return type(error).__name__

    async def several() -> list[str]:
        return list(await asyncio.gather(one(), one(), one()))

    for _ in range(3):
        assert sorted(asyncio.run(several())) == ["SlowBodyError", "retry after 5", "retry after 5"]


def test_readers_that_do_not_read_hold_up_no_other_request(sqlite_client: TestClient) -> None:
    scope = {"type": "http", "method": "GET", "path": "/v1/datasets", "query_string": b"", "headers": []}

    async def one_more() -> list[int]:
        app, reading, statuses = create_app(), asyncio.Semaphore(0), []

        async def slow(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.body":
                reading.release()
                await asyncio.sleep(60)

        async def keep(message: dict[str, Any]) -> None:
            statuses.extend([message["status"]] if "status" in message else [])

        readers = [asyncio.create_task(app(scope, _messages(b""), slow)) for _ in range(MOST_AT_ONCE)]
        for _ in readers:
            await reading.acquire()
        async with asyncio.timeout(PATIENCE):
            await app(scope, _messages(b""), keep)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        return statuses

    assert asyncio.run(one_more()) == [200]


@pytest.mark.parametrize("size", [0, 1, IN_MEMORY, IN_MEMORY + 1, 5 * IN_MEMORY])
def test_a_body_on_disk_is_read_as_it_was_sent(sqlite_client: TestClient, size: int) -> None:
    padding = " " * size
    row = {
        "target": "t",
        "candidate": "c",
        "kind": "outcome",
        "name": "dice",
        "value": 0.5,
        "higher_is_better": True,
    }
    sent = sqlite_client.post(
        "/v1/outcomes",
        content=f'{{"source": "paper", {padding} "rows": [{json.dumps(row)}]}}',
        headers={"Content-Type": "application/json"},
    )
    assert sent.json() == {"added": 1, "replaced": 0, "unchanged": 0}


# --- files -----------------------------------------------------------------------------------------------------


def test_the_data_folder_is_closed_to_other_users(configure: Callable[..., Settings], tmp_path: Path) -> None:
    folder = tmp_path / "open" / "data"
    folder.mkdir(parents=True, mode=0o755)
    configure(data_dir=folder)
    engine()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_database_file_is_its_users_alone(configure: Callable[..., Settings]) -> None:
    config = configure()
    subprocess.run([sys.executable, "-m", "service.store.migrate"], check=True, env=os.environ)
    assert stat.S_IMODE(config.data_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE((config.data_dir / "zoorank.db").stat().st_mode) == 0o600
