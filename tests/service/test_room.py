"""/readyz says when nothing can be written to the data folder."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager

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
