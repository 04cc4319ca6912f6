"""A target task is one set of functions: everything else asks it, and nothing else names it."""

from __future__ import annotations

import ast
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from models_zoo.architecture import Outputs
from models_zoo.registry import NameClashError
from tests.worker.targets import candidate, gather, silent, unet_file
from worker.science.data.readers.registry import read
from worker.science.errors import ScienceError
from worker.science.evidence.parts import Part
from worker.science.measures.registry import evaluate, measures
from worker.science.metrics import Metric
from worker.science.specs import FinetuneProtocol
from worker.science.target_tasks import columns, registry
from worker.science.target_tasks.registry import LabelKind, Standard, TargetTask, target_tasks, tasks_for
from worker.science.target_tasks.regression import check, describe, standardise, tensor
from worker.science.target_tasks.tally import Judged, RowTally
from worker.science.training.finetune import finetune
from worker.science.training.method import methods
from worker.tasks.contents import inspection_of

SCIENCE = Path(registry.__file__).parents[1]
TOY = "toy_counting"  # a name that no task of the product has
FIELD = "counts"
ERROR = Metric("toy_count_error", "Mean absolute error of the counts.", higher_is_better=False, lowest=0.0)
SHARE = Metric("toy_near_counts", "Share of counts told within one half.", lowest=0.0, highest=1.0)


def decode(stored: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    table = columns.columns_of(stored, shape[0], field=FIELD, task=TOY, one_axis=True, form="(N,)")
    return columns.numbers(table, field=FIELD, task=TOY)


def tally(outputs: int, standard: Standard | None) -> RowTally:
    assert standard is not None

    def judge(told: Tensor, counts: Tensor) -> Judged:
        away = (told - counts).abs().double().numpy() * standard.deviation
        near = away < 0.5
        metrics = {"toy_count_error": float(away.mean()), "toy_near_counts": float(near.mean())}
        return Judged(metrics, away[:, 0].tolist())

    return RowTally(judge)


COUNTING = TargetTask(
    name=TOY,
    summary="How many there are in every image.",
    field=FIELD,
    label_kind=LabelKind.NUMBER,
    outputs=Outputs.IMAGE,
    head="none",
    primary=ERROR,
    threshold_free=SHARE,
    further_metrics=(),
    decode=decode,
    check=partial(check, field=FIELD),
    describe=describe,
    standardise=standardise,
    tensor=tensor,
    loss=lambda: F.smooth_l1_loss,
    tally=tally,
)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> TargetTask:
    """One more target task, forgotten after the test."""
    monkeypatch.setattr(registry._REGISTERED, "_items", dict(registry._REGISTERED.all()))
    return registry.register(COUNTING)


def _file(folder: Path, stored: NDArray[Any] | None = None) -> Path:
    """Images with as many bright squares as their count says; the file may hold other counts."""
    random = np.random.default_rng(0)
    counts = np.arange(40) % 5
    images = random.normal(60, 8, (40, 16, 16))
    for index, count in enumerate(counts):
        for place in range(count):
            images[index, 3 * place : 3 * place + 2, 4:12] += 120
    path = folder / "counts.npz"
    np.savez(path, images=images.clip(0, 255).astype(np.uint8), counts=counts if stored is None else stored)
    return path


def test_one_more_target_task_is_one_set_of_functions(tmp_path: Path, counting: TargetTask) -> None:
    data = read(_file(tmp_path), task=TOY, spatial_dims=2)
    assert data.task is counting
    [summary] = inspection_of(data).targets or ()
    assert summary.highest == 4.0
    fitting = {name for name, measure in measures().items() if TOY in measure.tasks}
    assert fitting == {name for name, measure in measures().items() if "regression" in measure.tasks}
    spec = unet_file(tmp_path, architecture="unet_classifier")
    evidence = gather(candidate(spec, data), silent, needs={Part.FEATURES, Part.EPOCH}).evidence
    knn, outcome = (evaluate(measures()[name], evidence) for name in ("knn", "one_epoch_outcome"))
    assert knn.value is not None
    assert evidence.epoch is not None
    assert outcome.value == -evidence.epoch.metrics["toy_count_error"]  # an error is better when it is lower
    made = candidate(spec, data, FinetuneProtocol(epochs=1))
    result = finetune(
        made.candidate, data, method=methods()["vanilla"], protocol=FinetuneProtocol(epochs=1), progress=silent
    )
    assert set(result.metrics["test"]) == {"toy_count_error", "toy_near_counts", "loss"}
    assert len(result.cases) == len(data.indices("test"))
    of_voxels = ", ".join(tasks_for(Outputs.VOXEL))
    with pytest.raises(ScienceError, match=f"unet is for {of_voxels}, the target is {TOY}"):
        candidate(unet_file(tmp_path), data)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (np.arange(7), "shape"),
        (np.zeros((40, 1001)), "1001 columns"),
        (np.array(["many"] * 40), "needs numbers"),
        (np.full(40, np.nan), "NaN or infinite"),
        (np.ones(40), "one value only in the training images"),
        (np.arange(40) * 1e300, "too large"),
        (np.where(np.arange(40) == 39, 1e12, np.arange(40)), "standard deviations"),
    ],
)
def test_refusals_name_the_field_of_the_task(
    tmp_path: Path, counting: TargetTask, stored: NDArray[Any], message: str
) -> None:
    with pytest.raises(ScienceError, match=rf"^{FIELD}: .*({message})"):
        read(_file(tmp_path, stored), task=TOY, spatial_dims=2)


def test_an_unknown_target_task_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScienceError, match=f"task: '{TOY}' is not known; use one of ") as refusal:
        read(_file(tmp_path), task=TOY, spatial_dims=2)
    offered = str(refusal.value).partition("use one of ")[2].split(", ")
    assert sorted(offered) == sorted(target_tasks())


def test_every_metric_is_explained_and_has_a_direction() -> None:
    for name, metric in registry.metrics().items():
        assert len(metric.meaning.split()) >= 5, name
        assert metric.meaning.endswith("."), name
        assert metric.signed(2.0) == (2.0 if metric.higher_is_better else -2.0)
    for lower_is_better in ("loss", "mean_absolute_error"):
        assert not registry.metric(lower_is_better).higher_is_better
    for name, task in target_tasks().items():
        assert name in registry.primary_for(task.primary.name)
    assert "multilabel" in registry.primary_for("auc")
    assert "classification" not in registry.primary_for("auc")
    assert "segmentation" in registry.primary_for("dice")
    assert registry.primary_for("loss") == ()


def test_each_of_several_targets_has_an_error_of_its_own() -> None:
    assert registry.metric("mean_absolute_error_11").name == "mean_absolute_error_11"
    assert not registry.metric("mean_absolute_error_11").higher_is_better
    for name in ("dice_0", "mean_absolute_error_x", "colour"):
        with pytest.raises(ScienceError, match=f"metric: '{name}' is not known; use one of"):
            registry.metric(name)


def test_two_meanings_of_one_metric_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry._REGISTERED, "_items", dict(registry._REGISTERED.all()))
    registry.register(replace(COUNTING, primary=replace(ERROR, name="dice")))
    with pytest.raises(NameClashError, match="two metrics are named 'dice'"):
        registry.metrics()


def test_no_other_file_names_a_target_task() -> None:
    for file in sorted(SCIENCE.rglob("*.py")):
        if file.parent.name != "target_tasks":
            texts = {
                node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant)
            }
            assert texts.isdisjoint(target_tasks()), file
