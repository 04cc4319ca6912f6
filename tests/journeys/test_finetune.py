"""Finetune runs over HTTP: a plain network comes back, runs start once and stop when told, work is reused."""

from __future__ import annotations

import json
import site
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from models_zoo import architecture as registry
from tests.journeys.lab import Lab, values
from worker.science.candidate import prepare
from worker.science.data.readers.registry import read
from worker.science.specs import CandidateSpec, FinetuneProtocol
from worker.science.training.finetune import finetune
from worker.science.training.methods.ac_norm import AC_NORM

pytestmark = pytest.mark.timeout(280)

BASIC = {"in_channels": 3, "classes": 4, "features": [4, 4, 8, 8, 16, 4]}
EPOCHS = {"epochs": 2, "batch_size": 4}
PROJECT = ("service", "worker", "models_zoo", "migrations", "tests", "zoorank", "_zoorank", "_editable")
SOON = 20.0  # seconds

STRANGER = """
import json, sys
folder, packages = sys.argv[1:]
sys.path.append(packages)
for module in ("worker", "models_zoo", "service"):
    try:
        __import__(module)
    except ImportError:
        continue
    raise SystemExit(f"{module} is here: this proves nothing")
import numpy, torch
from monai.networks.nets import BasicUNet
from safetensors.torch import load_file
parameters = json.load(open(f"{folder}/card.json"))["parameters"]
network = BasicUNet(
    spatial_dims=parameters["spatial_dims"],
    in_channels=parameters["in_channels"],
    out_channels=parameters["classes"],
    features=parameters["features"],
    norm="batch",
)
network.load_state_dict(load_file(f"{folder}/network.safetensors"), strict=True)
with torch.no_grad():
    outputs = network.eval()(torch.from_numpy(numpy.load(f"{folder}/input.npy")))
numpy.save(f"{folder}/output.npy", outputs.numpy())
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("finetune"))
    lab.serve()
    lab.wait_until_ready()
    lab.add_target("small", images=20)
    lab.add_target("target")
    lab.add_unet("first", seed=0)
    lab.add_unet("second", seed=1)
    add_basic_unet(lab, "basic")
    yield lab
    lab.close()
    assert "Traceback" not in lab.output()


def add_basic_unet(lab: Lab, name: str) -> None:
    torch.manual_seed(4)
    module = registry.build("basic_unet", spatial_dims=2, **BASIC).module
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(layer.weight, 1.0, 0.2)
            torch.nn.init.normal_(layer.bias, 0.0, 0.2)
    save_file(module.state_dict(), lab.folder / f"{name}.safetensors")
    body = {**lab.unet_body(name, lab.folder / f"{name}.safetensors"), "architecture": "basic_unet"}
    lab.post("/v1/checkpoints", {**body, "parameters": BASIC}, 201)


def run_of(lab: Lab, run_id: str) -> dict[str, Any]:
    run: dict[str, Any] = lab.http.get(f"/v1/finetune-runs/{run_id}").json()
    return run


def wait_for_run(lab: Lab, run_id: str) -> dict[str, Any]:
    lab.wait(lambda: run_of(lab, run_id)["state"] in ("done", "failed"))
    run = run_of(lab, run_id)
    assert run["state"] == "done", run["reason"]
    return run


def without_the_project(folder: Path) -> Path:
    """The installed packages, linked into a folder, all but this project."""
    folder.mkdir()
    for packages in filter(Path.is_dir, map(Path, site.getsitepackages())):  # Debian names some that are not there
        for entry in packages.iterdir():
            ours = entry.name.startswith(PROJECT) or entry.suffix == ".pth"
            if not ours and not (folder / entry.name).exists():
                (folder / entry.name).symlink_to(entry)
    return folder


def test_the_network_works_where_this_project_is_not(lab: Lab, tmp_path: Path) -> None:
    request = {"dataset": "small", "checkpoint": "basic", "protocol": EPOCHS}
    run = wait_for_run(lab, lab.post("/v1/finetune-runs", request, 202)["id"])
    card = run["result"]["card"]
    answer = lab.http.get(f"/v1/finetune-runs/{run['id']}/network")
    assert answer.is_success
    pictures = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    (tmp_path / "network.safetensors").write_bytes(answer.content)
    (tmp_path / "card.json").write_text(json.dumps(card))
    np.save(tmp_path / "input.npy", pictures.numpy())

    packages = without_the_project(tmp_path / "packages")
    command = [sys.executable, "-I", "-S", "-W", "ignore", "-c", STRANGER, str(tmp_path), str(packages)]
    stranger = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=120, check=False)
    assert stranger.returncode == 0, stranger.stderr

    spec = CandidateSpec(
        path=lab.folder / "basic.safetensors",
        architecture="basic_unet",
        spatial_dims=2,
        in_channels=3,
        classes=4,
        parameters={"features": BASIC["features"]},
        normalisation={"scale": "unit"},
    )
    protocol = FinetuneProtocol(**EPOCHS)
    data = read(lab.folder / "small.npz", task="segmentation", spatial_dims=2)
    candidate = prepare(spec, data, seed=protocol.seed, device=torch.device("cpu"))
    own = finetune(candidate, data, method=AC_NORM, protocol=protocol, progress=lambda *_: None).network
    with torch.no_grad():
        expected = own.eval()(pictures)
    found = torch.from_numpy(np.load(tmp_path / "output.npy"))
    assert found.shape == (2, 2, 32, 48)  # background and vessel, not the source's four classes
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert expected.std() > 1e-3  # a network that says something

    source = registry.build("basic_unet", spatial_dims=2, **BASIC).module.state_dict()
    assert set(own.state_dict()) == set(source)  # the plain architecture's own keys
    assert set(run["result"]["metrics"]) == {"validation", "test"}


def test_a_ranking_starts_one_run_for_its_leader(lab: Lab) -> None:
    more = {"finetune_top": 1, "finetune": {"epochs": 1, "steps": 2}}
    ranking_id = lab.rank("small", ["first", "second", "basic"], **more)
    ranking = lab.wait_for_ranking(ranking_id)
    (run_id,) = ranking["finetune_runs"]
    run = wait_for_run(lab, run_id)
    assert run["checkpoint"]["name"] == ranking["ranked"][0]["candidate"]["name"]
    assert run["ranking"] == ranking_id
    assert run["protocol"]["epochs"] == 1
    time.sleep(3)  # three sweeps
    runs = lab.http.get("/v1/finetune-runs", params={"ranking": ranking_id}).json()["items"]
    assert [one["id"] for one in runs] == [run_id]


def outcomes_of(lab: Lab, run_id: str) -> list[dict[str, Any]]:
    page = lab.http.get("/v1/outcomes", params={"source": "finetune run", "limit": 100}).json()
    assert page["next"] is None
    return [row for row in page["items"] if row["finetune_run"] == run_id]


def test_a_run_adds_its_test_metrics_to_the_ledger_when_it_is_done(lab: Lab) -> None:
    request = {"dataset": "small", "checkpoint": "second", "protocol": {"epochs": 2, "steps": 2, "seed": 5}}
    run_id = lab.post("/v1/finetune-runs", request, 202)["id"]
    assert outcomes_of(lab, run_id) == []
    run = wait_for_run(lab, run_id)
    rows = outcomes_of(lab, run_id)
    known = {name: value for name, value in run["result"]["metrics"]["test"].items() if value is not None}
    assert {"dice", "loss"} <= known.keys()
    assert {row["name"]: row["value"] for row in rows} == known
    assert len(rows) == len(known)
    assert {row["name"] for row in rows if not row["higher_is_better"]} == {"loss"}
    for row in rows:
        assert (row["kind"], row["target"], row["candidate"], row["seed"]) == ("outcome", "small", "second", 5)
        assert (row["registered_target"], row["registered_candidate"]) == (
            run["dataset"]["id"],
            run["checkpoint"]["id"],
        )
    time.sleep(3)  # three sweeps
    assert outcomes_of(lab, run_id) == rows


def test_an_equal_ranking_reuses_the_scores(lab: Lab) -> None:
    start = time.monotonic()
    one = lab.wait_for_ranking(lab.rank("target", ["first", "second"], protocol={"seed": 3}))
    computed = time.monotonic() - start
    two = lab.wait_for_ranking(lab.rank("target", ["second", "first"], protocol={"seed": 3}))
    reused = time.monotonic() - start - computed
    assert values(one) == values(two)
    assert all(row["reused_from"] is None for row in one["ranked"])
    evaluations = {row["candidate"]["name"]: row["evaluation"] for row in one["ranked"]}
    assert {row["candidate"]["name"]: row["reused_from"] for row in two["ranked"]} == evaluations
    assert [row["position"] for row in one["ranked"]] == [row["position"] for row in two["ranked"]]
    assert reused < computed / 2
    other = lab.wait_for_ranking(lab.rank("target", ["first"], protocol={"seed": 4, "steps": 2}))
    assert other["ranked"][0]["reused_from"] is None  # another protocol is other work


def check_goes_on(lab: Lab, seed: int) -> None:
    """The worker soon has time for other work."""
    start = time.monotonic()
    ranking = lab.wait_for_ranking(lab.rank("small", ["basic"], protocol={"seed": seed}))
    assert ranking["ranked"][0]["state"] == "done"
    assert time.monotonic() - start < SOON


def test_a_canceled_run_stops(lab: Lab) -> None:
    endless = {"epochs": 10_000, "patience": 10_000}
    run_id = lab.post("/v1/finetune-runs", {"dataset": "target", "checkpoint": "first", "protocol": endless}, 202)[
        "id"
    ]
    lab.wait(lambda: run_of(lab, run_id)["stage"] == "finetune")
    assert lab.post(f"/v1/finetune-runs/{run_id}/cancel", {}, 200)["state"] == "canceled"
    check_goes_on(lab, seed=11)
    run = run_of(lab, run_id)
    assert (run["state"], run["network"], run["result"]) == ("canceled", None, None)
    assert lab.http.get(f"/v1/finetune-runs/{run_id}/network").status_code == 409
    assert lab.post(f"/v1/finetune-runs/{run_id}/cancel", {}, 409)["errors"][0]["remedy"]


def test_a_canceled_ranking_stops(lab: Lab) -> None:
    ranking_id = lab.rank("target", ["first", "second"], protocol={"batch_size": 2, "seed": 21}, finetune_top=1)
    lab.wait_for_stage(ranking_id, "epoch")
    assert lab.post(f"/v1/rankings/{ranking_id}/cancel", {}, 200)["state"] == "canceled"
    check_goes_on(lab, seed=12)
    ranking = lab.ranking(ranking_id)
    assert ranking["counts"] == {"canceled": 2}
    assert ranking["finetune_runs"] == []
    assert all(row["position"] is None and row["reason"] for row in ranking["ranked"])


def test_nothing_half_written_is_left(lab: Lab) -> None:
    networks = lab.folder / "data" / "networks"
    assert list(networks.glob("*.safetensors"))
    assert not list(networks.glob("*.part"))
