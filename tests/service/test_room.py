"""A data folder that takes no files: /readyz says it, and a body that does not fit is refused with a remedy."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from service.api.bodies import IN_MEMORY, Bodies
from service.api.errors import UnavailableError
from tests.conftest import TestClient


@contextmanager
def _files_of_at_most(size: int) -> Iterator[None]:
    """Have the system refuse to write beyond this size in bytes, as it does where there is no room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _warnings(client: TestClient) -> list[str]:
    answer = client.get("/readyz")
    assert answer.status_code == 200, answer.text
    found: list[str] = answer.json()["warnings"]
    return [warning for warning in found if "data folder" in warning]


def test_a_data_folder_that_takes_no_files_is_a_warning(sqlite_client: TestClient) -> None:
    assert _warnings(sqlite_client) == []
    with _files_of_at_most(1000):
        [warning] = _warnings(sqlite_client)
    assert "make room on its disk" in warning
    assert _warnings(sqlite_client) == []


def test_a_body_that_the_disk_does_not_take_is_refused_with_a_remedy(sqlite_client: TestClient) -> None:
    with _files_of_at_most(1000):
        answer = sqlite_client.post("/v1/outcomes", content=b" " * 4 * IN_MEMORY)
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:zoorank:problem:unavailable")
    assert "make room on the disk" in answer.json()["errors"][0]["remedy"]
    assert sqlite_client.post("/v1/outcomes", content=b" " * 4 * IN_MEMORY).status_code == 400


@pytest.mark.parametrize("chunk", [IN_MEMORY // 2, 2 * IN_MEMORY])
def test_bodies_that_the_disk_does_not_take_count_no_longer(tmp_path: Path, chunk: int) -> None:
    bodies = Bodies(tmp_path, seconds=5, most_at_once=4 * IN_MEMORY)

    async def receive() -> dict[str, Any]:
        waiting.pop()
        return {"type": "http.request", "body": b"x" * chunk, "more_body": bool(waiting)}

    async def one() -> int:
        async with bodies.received({"type": "http", "headers": []}, receive, limit=4 * IN_MEMORY) as body:
            return body.size

    for _ in range(3):
        waiting = [None] * (4 * IN_MEMORY // chunk)
        with _files_of_at_most(1000), pytest.raises(UnavailableError, match="data folder"):
            asyncio.run(one())
    waiting = [None] * (4 * IN_MEMORY // chunk)
    assert asyncio.run(one()) == 4 * IN_MEMORY
