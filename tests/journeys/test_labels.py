"""Targets of several columns over HTTP: registered, ranked, finetuned, delivered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.metrics import mean_absolute_error, r2_score, roc_auc_score

from models_zoo import architecture as registry
from tests.journeys.lab import Lab
from tests.worker.targets import columns_target

pytestmark = pytest.mark.timeout(280)

OWN = {"in_channels": 1, "classes": 2, "width": 4}
IMAGES = 90
SPLIT = np.array(["train"] * 54 + ["val"] * 18 + ["test"] * 18)
FINETUNE = {"epochs": 12, "patience": 12, "learning_rate": 5e-3, "batch_size": 6}
OF_CLASSES = {"leep", "nce", "nleep", "h_score", "gbc", "gbc_diagonal", "cc_fv", "cc_fv_energy"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("labels"))
    lab.serve()
    lab.wait_until_ready()
    for seed, name in enumerate(("first", "second")):
        add_classifier(lab, name, seed=seed)
    yield lab
    lab.close()
    assert "Traceback" not in lab.output()


def add_classifier(lab: Lab, name: str, *, seed: int) -> None:
    torch.manual_seed(seed)
    module = registry.build("unet_classifier", spatial_dims=2, **OWN).module
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(layer.weight, 1.0, 0.2)
            torch.nn.init.normal_(layer.bias, 0.0, 0.2)
    path = lab.folder / f"{name}.safetensors"
    save_file(module.state_dict(), path)
    body = {**lab.unet_body(name, path), "architecture": "unet_classifier", "parameters": OWN}
    lab.post("/v1/checkpoints", body, 201)


def add_target(lab: Lab, task: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Register the task's target under its name; its test images, as a network takes them, and their labels."""
    data = columns_target(task, count=IMAGES)
    path = lab.folder / f"{task}.npz"
    np.savez(path, images=np.moveaxis(data.images, 1, -1), labels=data.labels, split=SPLIT)
    lab.post("/v1/datasets", {"name": task, "uri": str(path), "task": task, "spatial_dims": 2}, 201)
    test = SPLIT == "test"
    return data.images[test].astype(np.float32) / 255, data.labels[test]


def ranked_and_finetuned(lab: Lab, task: str) -> dict[str, Any]:
    """The result of the finetune run that the ranking of all candidates started for its leader."""
    ranking_id = lab.rank(task, ["first", "second"], finetune_top=1, finetune=FINETUNE)
    ranking = lab.wait_for_ranking(ranking_id)
    assert {"ac_corr", "logme", "knn", "linear_probe", "one_epoch_outcome"} <= set(ranking["measures"])
    assert not OF_CLASSES & set(ranking["measures"])
    for row in ranking["ranked"]:
        assert row["position"], row["reason"]
        assert {name for name, score in row["scores"].items() if score["value"] is None} == set()
    (run_id,) = lab.wait(lambda: lab.ranking(ranking_id)["finetune_runs"])
    lab.wait(lambda: lab.http.get(f"/v1/finetune-runs/{run_id}").json()["state"] in ("done", "failed"))
    run: dict[str, Any] = lab.http.get(f"/v1/finetune-runs/{run_id}").json()
    assert run["state"] == "done", run["reason"]
    for address in (f"/datasets/{task}", f"/rankings/{ranking_id}", f"/finetune-runs/{run_id}"):
        page = lab.http.get(address, headers={"accept": "text/html"})
        assert page.is_success
        assert "<html" in page.text
    return run


def outputs_of(lab: Lab, run: dict[str, Any], images: np.ndarray[Any, Any], folder: Path) -> np.ndarray[Any, Any]:
    """What the delivered weights say, in a network built by nothing but the card."""
    (folder / "network.safetensors").write_bytes(lab.http.get(run["network"]).content)
    card = run["result"]["card"]
    assert (card["normalisation"]["scale"], card["value_range"]) == ("unit", [0.0, 255.0])
    network = registry.build(card["architecture"], **card["parameters"]).module
    network.load_state_dict(load_file(folder / "network.safetensors"))
    with torch.no_grad():
        outputs: np.ndarray[Any, Any] = network.eval()(torch.from_numpy(images)).numpy()
    return outputs


def test_a_regression_target_from_registration_to_values_in_its_units(lab: Lab, tmp_path: Path) -> None:
    images, values = add_target(lab, "regression")
    run = ranked_and_finetuned(lab, "regression")
    card, found = run["result"]["card"], run["result"]["metrics"]["test"]
    assert (card["task"], card["labels"], card["head"]) == ("regression", [0, 1], "none")
    told = outputs_of(lab, run, images, tmp_path) * card["output_scale"] + card["output_mean"]
    errors = mean_absolute_error(values, told, multioutput="raw_values")
    assert [found["mean_absolute_error_0"], found["mean_absolute_error_1"]] == pytest.approx(errors, rel=1e-3)
    assert found["r2"] == pytest.approx(r2_score(values, told), rel=1e-3)
    assert found["r2"] > 0.5
    assert np.mean(run["result"]["cases"]) == pytest.approx(found["r2"])
    inspected = lab.http.get("/v1/datasets/regression").json()["inspection"]
    assert [one["column"] for one in inspected["targets"]] == [0, 1]


def test_a_multilabel_target_from_registration_to_probabilities(lab: Lab, tmp_path: Path) -> None:
    images, labels = add_target(lab, "multilabel")
    run = ranked_and_finetuned(lab, "multilabel")
    card, found = run["result"]["card"], run["result"]["metrics"]["test"]
    assert (card["task"], card["labels"], card["head"]) == ("multilabel", [0, 1], "sigmoid")
    outputs = outputs_of(lab, run, images, tmp_path)
    assert found["auc"] == pytest.approx(roc_auc_score(labels, outputs, average="macro"))
    assert found["auc"] > 0.9
    assert found["label_accuracy"] == pytest.approx(((outputs > 0) == labels).mean())
    inspected = lab.http.get("/v1/datasets/multilabel").json()["inspection"]
    assert [one["label"] for one in inspected["classes"]] == [0, 1]


@pytest.mark.parametrize("task", ["regression", "multilabel"])
def test_a_measure_of_classes_is_refused_with_those_that_fit(lab: Lab, task: str) -> None:
    body = {"dataset": task, "candidates": ["first"], "measures": ["leep"]}
    refused = lab.post("/v1/rankings", body, 422)["errors"][0]
    assert refused["field"] == "measures.0"
    assert task in refused["message"]
    assert "logme" in refused["remedy"]


def test_a_segmentation_network_is_told_which_targets_it_is_for(lab: Lab) -> None:
    lab.add_unet("segmenting", seed=3)
    refused = lab.post("/v1/rankings", {"dataset": "regression", "candidates": ["segmenting"]}, 422)
    assert "unet is for segmentation, the dataset for regression" in refused["detail"]
