"""AC-Corr against its null, asked for by name: the cost before, the epochs, the z-score, and a stop amid them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.lab import Lab, worker_below

CANDIDATES = ["first", "second"]
MEASURES = ["one_epoch_outcome", "ac_corr", "ac_corr_null"]
ASKED = {"measures": MEASURES, "protocol": {"null_permutations": 8}}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    own = Lab(tmp_path)
    yield own
    own.close()


@pytest.mark.timeout(300)
def test_the_null_is_asked_for_stopped_and_given(lab: Lab) -> None:
    server = lab.serve()
    lab.wait_until_ready()
    lab.add_target("target")
    for seed, name in enumerate(CANDIDATES):
        lab.add_unet(name, seed=seed)
    request = {"dataset": "target", "candidates": CANDIDATES}
    usual = lab.wait_for_ranking(lab.rank("target", CANDIDATES))
    assert "ac_corr_null" not in usual["measures"]
    assert usual["epochs_per_candidate"] == 1

    cost = lab.post("/v1/rankings/cost", {**request, **ASKED}, 200)
    assert (cost["epochs_per_candidate"], cost["epochs"]) == (9, 18)
    facts = {row["candidate"]["name"]: row["facts"] for row in usual["ranked"]}
    assert cost["steps_per_epoch"] == facts["first"]["epoch_steps"]
    assert cost["seconds"] > sum(own["seconds"] for own in facts.values())

    ranking_id = lab.rank("target", CANDIDATES, **ASKED)
    lab.wait_for_stage(ranking_id, "null epoch")
    os.kill(worker_below(server.pid), signal.SIGTERM)  # the supervisor starts another one
    ranking = lab.wait_for_ranking(ranking_id)
    assert ranking["epochs_per_candidate"] == 9
    assert max(row["attempts"] for row in ranking["ranked"]) > 1
    assert any(note.startswith("few_permutations") for note in ranking["notes"])
    whole = lab.http.get(f"/v1/rankings/{ranking_id}", params={"records": True}).json()
    before = {row["candidate"]["name"]: row["scores"]["ac_corr"]["value"] for row in usual["ranked"]}
    for row in whole["ranked"]:
        score, ac_corr = row["scores"]["ac_corr_null"], row["scores"]["ac_corr"]
        assert (row["state"], row["facts"]["flags"]) == ("done", ["few_steps"])
        assert "few_permutations" in score["flags"]
        record = score["record"]
        assert record["observed"] == ac_corr["value"] == before[row["candidate"]["name"]]
        assert len(set(record["null"])) == record["permutations"] == 8
        above = sum(value >= record["observed"] for value in record["null"])
        assert record["p"] == (1 + above) / 9
        expected = (record["observed"] - record["null_mean"]) / record["null_deviation"]
        assert score["value"] == pytest.approx(expected)
        assert row["facts"]["null_seconds"] > row["facts"]["epoch_seconds"]
