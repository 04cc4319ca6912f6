"""A worker killed in mid-epoch costs a delay: the ranking ends complete, nothing twice, the same numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.ledger.fusion import DERIVED
from tests.journeys.lab import Lab, kill_tree, values, worker_below

CANDIDATES = ["first", "second"]


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.close()


@pytest.fixture
def distributed(tmp_path: Path, postgres_url: str, redis_url: str) -> Iterator[Lab]:
    lab = Lab(tmp_path, ZOORANK_DATABASE_URL=postgres_url, ZOORANK_BROKER_URL=redis_url)
    yield lab
    lab.close()


def _prepare(lab: Lab) -> None:
    lab.wait_until_ready()
    lab.add_target("target", images=300)
    for seed, name in enumerate(CANDIDATES):
        lab.add_unet(name, seed=seed)


def _check_complete(ranking: dict[str, Any]) -> None:
    assert [row["state"] for row in ranking["ranked"]] == ["done", "done"]
    assert [row["position"] for row in ranking["ranked"]] == [1, 2]
    attempts = sorted(row["attempts"] for row in ranking["ranked"])
    assert attempts[0] == 1  # the one that was not running
    assert attempts[1] >= 2  # the one that was killed
    for row in ranking["ranked"]:
        assert set(row["scores"]) - set(DERIVED) == set(ranking["measures"])


@pytest.mark.timeout(420)
def test_embedded_and_distributed_survive_sigkill_and_agree(embedded: Lab, distributed: Lab) -> None:
    server = embedded.serve()
    _prepare(embedded)
    ranking_id = embedded.rank("target", CANDIDATES)
    embedded.wait_for_stage(ranking_id, "epoch")
    kill_tree(worker_below(server.pid))
    one = embedded.wait_for_ranking(ranking_id)
    _check_complete(one)
    embedded.close()
    assert server.returncode == 0

    distributed.serve_api()
    first = distributed.serve_worker()
    _prepare(distributed)
    ranking_id = distributed.rank("target", CANDIDATES)
    distributed.wait_for_stage(ranking_id, "epoch")
    kill_tree(first.pid)
    distributed.serve_worker()
    two = distributed.wait_for_ranking(ranking_id)
    _check_complete(two)

    assert values(one) == values(two)  # same seed, same numbers, whichever worker and mode
    assert all(value is not None for scores in values(one).values() for value in scores.values())
