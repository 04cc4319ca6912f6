"""A finetune learns, keeps its best epoch, looks at test once, and delivers a plain network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error, r2_score, roc_auc_score
from torch import nn

from models_zoo import architecture as registry
from tests.worker.targets import candidate, silent, target, unet_file
from worker.science.specs import FinetuneProtocol
from worker.science.training import finetune as run
from worker.science.training.finetune import finetune
from worker.science.training.method import methods
from worker.science.training.validation import Validation, validate

PROTOCOL = FinetuneProtocol(epochs=12, learning_rate=5e-3)


@pytest.mark.parametrize(
    ("method", "norm"), [("ac_norm", "batch"), ("ac_norm", "group"), ("ac_norm", "instance"), ("vanilla", "batch")]
)
def test_it_learns_and_delivers_the_plain_architecture(tmp_path: Path, method: str, norm: str) -> None:
    data = target(count=40)
    spec = unet_file(tmp_path, norm=norm)
    made = candidate(spec, data, PROTOCOL)
    result = finetune(made.candidate, data, method=methods()[method], protocol=PROTOCOL, progress=silent)
    assert result.metrics["test"]["dice"] > 0.8
    plain = registry.build("unet", spatial_dims=2, in_channels=1, classes=2, **spec.parameters).module
    plain.load_state_dict(result.network.state_dict())  # strict: exactly its keys
    assert all(type(a) is type(b) for a, b in zip(plain.modules(), result.network.modules(), strict=True))
    assert validate(plain, made.loader, data.indices("test")).metrics["dice"] == result.metrics["test"]["dice"]


def test_the_best_epoch_is_kept_and_patience_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = target(count=20)
    made = candidate(unet_file(tmp_path), data, PROTOCOL)
    dice = iter([0.1, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0])
    seen: list[dict[str, torch.Tensor]] = []

    def scripted(network: nn.Module, *_: object) -> Validation:
        seen.append({key: value.clone() for key, value in network.state_dict().items()})
        return Validation({"dice": next(dice), "average_precision": 0.5, "loss": 1.0}, [])

    monkeypatch.setattr(run, "validate", scripted)
    protocol = FinetuneProtocol(epochs=6, patience=2)
    result = finetune(made.candidate, data, method=methods()["vanilla"], protocol=protocol, progress=silent)
    assert result.best_epoch == 2
    assert len(result.epochs) == 4
    assert all(torch.equal(seen[1][key], value) for key, value in result.network.state_dict().items())


def test_classification_with_more_classes_than_the_source(tmp_path: Path) -> None:
    data = target(task="classification", count=30, classes=3)
    made = candidate(unet_file(tmp_path, architecture="unet_classifier"), data, PROTOCOL)
    result = finetune(made.candidate, data, method=methods()["ac_norm"], protocol=PROTOCOL, progress=silent)
    assert result.network.get_submodule("fc").out_features == 3
    assert 0 <= result.metrics["test"]["auc"] <= 1


@pytest.mark.parametrize("method", ["ac_norm", "vanilla"])
def test_regression_is_learnt_and_told_in_its_own_units(tmp_path: Path, method: str) -> None:
    data = target(task="regression", count=80)
    made = candidate(unet_file(tmp_path, architecture="unet_classifier"), data, PROTOCOL)
    result = finetune(made.candidate, data, method=methods()[method], protocol=PROTOCOL, progress=silent)
    test = data.indices("test")
    with torch.no_grad():
        outputs = result.network.eval()(made.loader.batch(test)[0]).double().numpy()
    told = outputs * data.standard.deviation + data.standard.mean
    found = result.metrics["test"]
    assert found["r2"] == pytest.approx(r2_score(data.labels[test], told), rel=1e-4)
    assert found["r2"] > 0.5
    errors = mean_absolute_error(data.labels[test], told, multioutput="raw_values")
    assert [found[f"mean_absolute_error_{column}"] for column in (0, 1)] == pytest.approx(errors, rel=1e-4)
    assert len(result.cases) == len(test)
    assert np.mean(result.cases) == pytest.approx(found["r2"])


@pytest.mark.parametrize("method", ["ac_norm", "vanilla"])
def test_several_labels_of_an_image_are_learnt(tmp_path: Path, method: str) -> None:
    data = target(task="multilabel", count=80)
    made = candidate(unet_file(tmp_path, architecture="unet_classifier"), data, PROTOCOL)
    result = finetune(made.candidate, data, method=methods()[method], protocol=PROTOCOL, progress=silent)
    test = data.indices("test")
    with torch.no_grad():
        outputs = result.network.eval()(made.loader.batch(test)[0]).numpy()
    found = result.metrics["test"]
    assert found["auc"] == pytest.approx(roc_auc_score(data.labels[test], outputs, average="macro"))
    assert found["auc"] > 0.9
    assert found["label_accuracy"] == pytest.approx(((outputs > 0) == data.labels[test]).mean())
    assert result.cases == []
