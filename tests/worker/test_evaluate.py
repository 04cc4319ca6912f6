"""One evaluation: reproducible, honest about what it could not do, and blind to the test images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.worker.targets import candidate, silent, target, unet_file
from worker.science.errors import ScienceError
from worker.science.evaluate import gather
from worker.science.measures.registry import evaluate, measures, needs_of
from worker.science.target import TargetData

OF_VALIDATION = {"one_epoch_outcome", "one_epoch_threshold_free", "one_epoch_loss"}


def _scores(spec, data: TargetData, **protocol) -> dict[str, float | None]:  # type: ignore[no-untyped-def]
    fitting = {name: measure for name, measure in measures().items() if data.task in measure.tasks}
    made = candidate(spec, data, null_permutations=2, **protocol)
    evidence = gather(made, silent, needs=needs_of(fitting.values())).evidence
    return {name: evaluate(measure, evidence).value for name, measure in fitting.items()}


@pytest.mark.parametrize(
    ("architecture", "dims", "task"),
    [("unet", 2, "segmentation"), ("unet", 3, "segmentation"), ("unet_classifier", 2, "classification")],
)
def test_every_measure_scores_and_the_same_seed_gives_the_same_numbers(
    tmp_path: Path, architecture: str, dims: int, task: str
) -> None:
    data = target(task=task, size=(16,) * dims, count=24)
    spec = unet_file(tmp_path, architecture=architecture, dims=dims)
    one = _scores(spec, data)
    assert all(value is not None for value in one.values()), one
    assert one == _scores(spec, data)
    assert one != _scores(spec, data, seed=1)


def test_the_test_images_are_never_looked_at(tmp_path: Path) -> None:
    data = target(count=24)
    images, labels = data.images.copy(), data.labels.copy()
    test = data.indices("test")
    images[test], labels[test] = 255, 1
    spec = unet_file(tmp_path)
    assert _scores(spec, data) == _scores(spec, replace(data, images=images, labels=labels))


def test_the_validation_images_teach_nothing(tmp_path: Path) -> None:
    data = target(count=24)
    images = data.images.copy()
    images[data.indices("val")] = 0
    spec = unet_file(tmp_path)
    one, other = _scores(spec, data), _scores(spec, replace(data, images=images))
    assert {name for name in one if one[name] != other[name]} <= OF_VALIDATION


def test_a_never_trained_network_is_degenerate_at_the_maximum_of_ac_corr(tmp_path: Path) -> None:
    gathered = gather(candidate(unet_file(tmp_path, fresh=True), target()), silent)
    score = evaluate(measures()["ac_corr"], gathered.evidence)
    assert score.value == pytest.approx(gathered.facts["width"])
    assert "degenerate" in score.flags


def test_facts_tell_how_it_came_about(tmp_path: Path) -> None:
    facts = gather(candidate(unet_file(tmp_path), target(count=20)), silent).facts
    assert facts["steps"] == 3  # 12 training images, 4 a batch
    assert facts["flags"] == ["few_steps"]
    assert facts["width"] == 32
    assert len(facts["losses"]) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"in_channels": 3}, "the checkpoint takes 3 channels, the dataset has 1"),
        ({"spatial_dims": 3}, "the checkpoint is 3D, the dataset 2D"),
        ({"architecture": "unet_classifier"}, "is for classification, the target is segmentation"),
    ],
)
def test_a_candidate_that_does_not_fit_the_target_says_why(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ScienceError, match=message):
        candidate(replace(unet_file(tmp_path), **changes), target())


def test_a_learning_rate_that_breaks_training_is_named(tmp_path: Path) -> None:
    with np.errstate(all="ignore"), pytest.raises(ScienceError, match="learning_rate: the loss is"):
        gather(candidate(unet_file(tmp_path), target(), optimizer="sgd", learning_rate=1e30), silent)


def test_an_unknown_optimiser_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScienceError, match="optimizer: 'lion' is not known"):
        gather(candidate(unet_file(tmp_path), target(), optimizer="lion"), silent)


def test_a_network_that_breaks_at_its_last_step_is_named_too(tmp_path: Path) -> None:
    with pytest.raises(ScienceError, match="learning_rate: the trained network gives NaN"):
        gather(candidate(unet_file(tmp_path), target(), optimizer="sgd", learning_rate=1e4, steps=1), silent)
