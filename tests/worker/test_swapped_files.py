"""A file that is exchanged while it is used: the scores are those of the registered weights, or there are none."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from models_zoo import architecture as registry
from service.api.app import create_app
from service.settings import Settings, settings
from tests.conftest import TestClient
from tests.worker.hostile import endless
from worker.publish import publish
from worker.tasks import datasets, rankings, targets
from worker.tasks.checkpoints import preflight_checkpoint
from worker.tasks.datasets import inspect_dataset
from worker.tasks.finetune_runs import CARD, run_finetune
from worker.tasks.rankings import score_candidate

PARAMETERS = {"in_channels": 1, "classes": 2, "width": 2}
MEASURE = "logme"


@pytest.fixture
def zoo(configure: Callable[..., Settings], sqlite_url: str, tmp_path: Path) -> Iterator[TestClient]:
    """A service with one dataset, and this process as its worker."""
    configure(database_url=sqlite_url, roots=tmp_path, devices="cpu")
    publish()
    write_dataset(tmp_path / "target.npz", seed=0)
    with TestClient(create_app(), raise_server_exceptions=False) as client:
        body = {"name": "target", "uri": str(tmp_path / "target.npz"), "task": "segmentation", "spatial_dims": 2}
        inspect_dataset(client.post("/v1/datasets", json=body).json()["id"])
        assert client.get("/v1/datasets/target").json()["state"] == "done"
        yield client


def write_dataset(path: Path, *, seed: int) -> None:
    random = np.random.default_rng(seed)
    masks = random.integers(0, 2, (20, 16, 16), dtype=np.uint8)
    np.savez(path, images=masks * 100 + random.integers(0, 100, (20, 16, 16), dtype=np.uint8), masks=masks)


def weights(seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return registry.build("unet", spatial_dims=2, **PARAMETERS).module.state_dict()


def register(zoo: TestClient, path: Path, **more: Any) -> dict[str, Any]:
    """A checkpoint after its preflight."""
    body = {
        "name": path.stem,
        "uri": str(path),
        "architecture": "unet",
        "spatial_dims": 2,
        "parameters": PARAMETERS,
        **more,
    }
    preflight_checkpoint(zoo.post("/v1/checkpoints", json=body).json()["id"])
    shown: dict[str, Any] = zoo.get(f"/v1/checkpoints/{path.stem}").json()
    return shown


def evaluated(zoo: TestClient, name: str, *, seed: int = 0) -> dict[str, Any]:
    """The only row of a ranking of one candidate."""
    body = {"dataset": "target", "candidates": [name], "measures": [MEASURE], "protocol": {"seed": seed}}
    made = zoo.post("/v1/rankings", json={**body, "order_by": MEASURE}).json()
    score_candidate(made["ranked"][0]["evaluation"])
    [row] = zoo.get(f"/v1/rankings/{made['id']}").json()["ranked"]
    return row  # type: ignore[no-any-return]


def test_another_network_that_takes_the_files_place_after_the_digest_is_not_scored(
    zoo: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_file(weights(1), path)
    save_file(weights(2), other)
    register(zoo, path)
    register(zoo, other)
    expected, others = (evaluated(zoo, name, seed=7)["scores"][MEASURE]["value"] for name in ("a", "b"))
    assert expected != others
    prepare = rankings.prepare

    def exchanged(*given: Any, **more: Any) -> Any:
        """The digest is known, the network is loaded next."""
        os.replace(other, path)
        return prepare(*given, **more)

    monkeypatch.setattr(rankings, "prepare", exchanged)
    monkeypatch.setattr(rankings, "copy_scores", lambda *given: None)  # else nothing would be loaded again
    assert evaluated(zoo, "a", seed=7)["scores"][MEASURE]["value"] == expected
    monkeypatch.undo()
    row = evaluated(zoo, "a", seed=8)
    assert row["state"] == "failed"
    assert row["reason"].startswith("checkpoint: the file of a changed")


def test_a_dataset_that_is_written_to_while_it_is_read_is_no_target(
    zoo: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its arrays may be half of one file and half of the other."""
    path = tmp_path / "growing.npz"
    write_dataset(path, seed=3)
    inspected = targets.reader().read

    class Writing:
        def read(self, *given: Any, **more: Any) -> Any:
            found = inspected(*given, **more)
            with path.open("r+b") as file:
                file.write(b"P")  # the byte that was there: only the time of change differs
            return found

    monkeypatch.setattr(targets, "reader", Writing)
    body = {"name": "growing", "uri": str(path), "task": "segmentation", "spatial_dims": 2}
    datasets.inspect_dataset(zoo.post("/v1/datasets", json=body).json()["id"])
    shown = zoo.get("/v1/datasets/growing").json()
    assert shown["state"] == "failed"
    assert shown["reason"].startswith("uri: the file was written to while it was read")


def test_content_that_nobody_read_before_goes_through_the_reading_process(
    zoo: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same arrays in another file are the same dataset, but the file is a new one."""
    asked: list[str] = []
    inspected = targets.inspected

    def noted(*given: Any, **more: Any) -> Any:
        asked.append("inspect")
        return inspected(*given, **more)

    monkeypatch.setattr(targets, "inspected", noted)
    save_file(weights(1), tmp_path / "a.safetensors")
    register(zoo, tmp_path / "a.safetensors")
    assert evaluated(zoo, "a", seed=1)["state"] == "done"
    assert asked == []
    with np.load(tmp_path / "target.npz") as arrays:
        np.savez_compressed(tmp_path / "compressed.npz", **arrays)
    os.replace(tmp_path / "compressed.npz", tmp_path / "target.npz")
    assert evaluated(zoo, "a", seed=2)["state"] == "done"
    assert asked == ["inspect"]


def test_a_partly_loaded_network_is_delivered_with_the_share(zoo: TestClient, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    save_file({key: tensor for key, tensor in weights(1).items() if not key.startswith("up_tr64.")}, path)
    refused = register(zoo, path)
    assert refused["state"] == "failed"
    assert "up_tr64." in refused["reason"]
    assert "allow_partial" in refused["reason"]
    taken = register(zoo, path.rename(tmp_path / "taken.safetensors"), allow_partial=True)
    assert (taken["state"], taken["partly_loaded"]) == ("done", True)
    assert 50 < taken["percent_loaded"] < 100
    protocol = {"epochs": 1, "steps": 1}
    body = {"dataset": "target", "checkpoint": "taken", "method": "vanilla", "protocol": protocol}
    run = zoo.post("/v1/finetune-runs", json=body).json()["id"]
    run_finetune(run)
    shown = zoo.get(f"/v1/finetune-runs/{run}").json()
    assert shown["state"] == "done", shown["reason"]
    card = shown["result"]["card"]
    assert (card["partly_loaded"], card["percent_loaded"]) == (True, taken["percent_loaded"])
    with safe_open(settings().networks_dir / shown["result"]["network_file"], "pt") as file:
        assert json.loads(file.metadata()[CARD])["partly_loaded"] is True


def test_a_file_that_never_ends_fails_its_preflight_and_the_worker_goes_on(
    zoo: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOORANK_READ_SECONDS", "2")
    settings.cache_clear()
    endless(tmp_path / "endless.pt")
    assert (tmp_path / "endless.pt").stat().st_size <= 814
    failed = register(zoo, tmp_path / "endless.pt")
    assert failed["state"] == "failed"
    assert failed["reason"].startswith("uri: endless.pt could not be read in 2 s")
    monkeypatch.setenv("ZOORANK_READ_SECONDS", "120")
    settings.cache_clear()
    save_file(weights(1), tmp_path / "a.safetensors")
    assert register(zoo, tmp_path / "a.safetensors")["state"] == "done"


def test_torchs_out_of_memory_is_named_with_the_remedy(
    zoo: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file(weights(1), tmp_path / "a.safetensors")
    register(zoo, tmp_path / "a.safetensors")

    def too_large(*given: Any, **more: Any) -> Any:
        return torch.empty(2**60, dtype=torch.uint8)

    monkeypatch.setattr(rankings, "gather", too_large)
    row = evaluated(zoo, "a", seed=5)
    assert row["reason"] == "out of memory: use a smaller batch_size or crop, or a larger machine"
