"""One evaluation: reproducible, honest about what it could not do, and blind to the test images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.networks.nets import UNet
from torch import nn

from models_zoo import architecture as registry
from models_zoo.architecture import Outputs
from models_zoo.card import Normalisation
from models_zoo.loading.load import load
from tests.worker.targets import Made, candidate, gather, silent, target, unet_file
from worker.science.candidate import Candidate, give_fresh_head
from worker.science.data.target import Target
from worker.science.errors import ScienceError
from worker.science.evidence.parts import Part
from worker.science.measures.registry import evaluate, measures, needs_of
from worker.science.specs import Protocol
from worker.science.target_tasks.registry import tasks_for
from worker.science.training.loop import start_training, train_epoch
from worker.science.training.target_objective import labelled_batches, target_objective

AC_CORR = ("ac_corr", "ac_corr_per_channel", "ac_corr_excess")
OF_VALIDATION = {"one_epoch_outcome", "one_epoch_threshold_free", "one_epoch_loss"}


def _scores(spec, data: Target, **protocol) -> dict[str, float | None]:  # type: ignore[no-untyped-def]
    fitting = {name: measure for name, measure in measures().items() if data.task.name in measure.tasks}
    made = candidate(spec, data, null_permutations=2, **protocol)
    evidence = gather(made, silent, needs=needs_of(fitting.values())).evidence
    return {name: evaluate(measure, evidence).value for name, measure in fitting.items()}


@pytest.mark.parametrize(
    ("architecture", "dims", "task"),
    [
        ("unet", 2, "segmentation"),
        ("unet", 3, "segmentation"),
        ("unet_classifier", 2, "classification"),
        ("unet_classifier", 2, "regression"),
        ("unet_classifier", 3, "multilabel"),
    ],
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


@pytest.mark.parametrize("task", ["segmentation", "regression", "multilabel"])
def test_the_test_images_are_never_looked_at(tmp_path: Path, task: str) -> None:
    data = target(task=task, count=24)
    images, labels = data.images.copy(), data.labels.copy()
    test = data.indices("test")
    images[test], labels[test] = 255, 1
    spec = unet_file(tmp_path, architecture="unet" if task == "segmentation" else "unet_classifier")
    assert _scores(spec, data) == _scores(spec, replace(data, images=images, labels=labels))


def test_the_validation_images_teach_nothing(tmp_path: Path) -> None:
    data = target(count=24)
    images = data.images.copy()
    images[data.indices("val")] = 0
    spec = unet_file(tmp_path)
    one, other = _scores(spec, data), _scores(spec, replace(data, images=images))
    assert {name for name in one if one[name] != other[name]} <= OF_VALIDATION


def test_the_unit_of_a_regression_target_changes_no_score(tmp_path: Path) -> None:
    data = target(task="regression", count=24)
    other = replace(data, labels=data.labels * [1e-3, 1e4] - [0, 500])
    spec = unet_file(tmp_path, architecture="unet_classifier")
    one, same = _scores(spec, data), _scores(spec, other)
    assert one["logme"] != _scores(spec, replace(data, labels=data.labels[::-1]))["logme"]
    for name, value in one.items():
        assert same[name] == pytest.approx(value, rel=1e-3), name


def test_a_never_trained_network_is_degenerate_at_the_maximum_of_ac_corr(tmp_path: Path) -> None:
    gathered = gather(candidate(unet_file(tmp_path, fresh=True), target()), silent)
    score = evaluate(measures()["ac_corr"], gathered.evidence)
    assert score.value == pytest.approx(gathered.figures.width)
    assert "degenerate" in score.flags


@pytest.mark.parametrize(
    ("norm", "dims", "kind"),
    [("group", 3, "GroupNorm"), ("instance", 2, "InstanceNorm2d"), ("batch", 2, "BatchNorm2d")],
)
def test_ac_corr_of_other_norms_is_scored_and_says_so(tmp_path: Path, norm: str, dims: int, kind: str) -> None:
    data = target(size=(16,) * dims)
    gathered = gather(candidate(unet_file(tmp_path, dims=dims, norm=norm), data), silent)
    assert gathered.figures.flags == ("few_steps",)
    for name in AC_CORR:
        score = evaluate(measures()[name], gathered.evidence)
        assert score.value is not None
        assert np.isfinite(score.value)
        assert ("beyond_paper" in score.flags) == (norm != "batch")
        assert (score.record["norm"], score.record["channels"]) == (kind, gathered.figures.width)
        assert score.record["mean_drift"] > 0
        assert len(score.record["layers"]) == 14


def test_the_epoch_of_other_norms_is_one_of_ac_norm(tmp_path: Path) -> None:
    """Every pretrained channel is scaled by 1 + C_pp at least, so the very first loss tells."""
    spec = unet_file(tmp_path, norm="group")
    ours = gather(candidate(spec, target()), silent, needs={Part.EPOCH}).figures.losses
    assert ours is not None
    made = candidate(spec, target())
    give_fresh_head(made.candidate, outputs=2, seed=0)
    loader, module = made.loader, made.network.module
    plain = start_training(
        module, target_objective(loader), stream=labelled_batches(loader), protocol=loader.protocol, epochs=1
    )
    losses = train_epoch(plain, 0, after_step=lambda *_: None)
    assert ours[0] != pytest.approx(losses.loss[0], rel=1e-4)


def test_without_an_affine_norm_the_epoch_is_plain_and_ac_corr_says_why(tmp_path: Path) -> None:
    """MONAI's U-Net as its constructor makes it: InstanceNorm without weight and bias."""
    unet = UNet(spatial_dims=2, in_channels=1, out_channels=4, channels=(4, 8, 16), strides=(2, 2))
    bottleneck = "0.model.1.submodule.1.submodule"
    network = registry.Network(
        module=nn.Sequential(unet, nn.Conv2d(4, 2, kernel_size=1)),
        last_encoder_norm=f"{bottleneck}.adn.N",
        stages={"encoder": bottleneck, "decoder_1": "0.model.1.submodule.2", "decoder_2": "0"},
        head="1",
        divisor=4,
    )
    assert network.last_encoder_norm is not None
    assert type(network.module.get_submodule(network.last_encoder_norm)) is nn.InstanceNorm2d
    report = load(network, network.module.state_dict())
    cpu = torch.device("cpu")
    unread = Candidate(
        network, report, Normalisation(), spatial_dims=2, device=cpu, source_classes=2, head="softmax"
    )
    gathered = gather(Made(unread, target(), Protocol()), silent)
    assert gathered.figures.flags == ("few_steps", "no_affine_norm")
    assert gathered.figures.width is None
    for name in AC_CORR:
        score = evaluate(measures()[name], gathered.evidence)
        assert (score.value, score.flags) == (None, ("not_applicable",))
        assert score.reason is not None
        assert f"{network.last_encoder_norm}: InstanceNorm2d without affine parameters" in score.reason
    assert evaluate(measures()["one_epoch_loss"], gathered.evidence).value is not None


def test_a_norm_that_the_file_lacks_is_named(tmp_path: Path) -> None:
    """An InstanceNorm checkpoint under the default architecture: no running statistics in the file."""
    spec = replace(unet_file(tmp_path, norm="instance"), parameters={"width": 2}, allow_partial=True)
    gathered = gather(candidate(spec, target()), silent)
    score = evaluate(measures()["ac_corr"], gathered.evidence)
    assert score.reason is not None
    assert score.reason.endswith("BatchNorm2d re-initialised")


def test_many_images_without_foreground_are_flagged(tmp_path: Path) -> None:
    data = target(count=30)
    seen = np.flatnonzero(data.split != "test")  # 24 of them
    for empty, flags in ((8, ()), (9, ("many_empty",))):
        labels = data.labels.copy()
        labels[seen[:empty]] = 0
        made = candidate(unet_file(tmp_path), replace(data, labels=labels))
        assert gather(made, silent, needs={Part.FEATURES}).figures.flags == flags
    of_images = target(task="classification")
    made = candidate(unet_file(tmp_path, architecture="unet_classifier"), of_images)
    assert gather(made, silent, needs={Part.FEATURES}).figures.flags == ()


@pytest.mark.parametrize(
    ("source", "dataset", "flags"),
    [
        ((1.0, 1.0), (1.3, 0.8), ()),
        ((1.0, 1.0), (1.0, 1.5), ("other_spacing",)),
        ((1.0, 1.0), (0.5, 1.0), ("other_spacing",)),
        ((), (0.5, 1.0), ()),
        ((1.0, 1.0), None, ()),
    ],
)
def test_another_spacing_than_the_sources_is_flagged(
    tmp_path: Path, source: tuple[float, ...], dataset: tuple[float, ...] | None, flags: tuple[str, ...]
) -> None:
    made = candidate(replace(unet_file(tmp_path), spacing=source), replace(target(), spacing=dataset))
    assert gather(made, silent, needs={Part.FEATURES}).figures.flags == flags


def test_figures_tell_how_it_came_about(tmp_path: Path) -> None:
    figures = gather(candidate(unet_file(tmp_path), target(count=20)), silent).figures
    assert figures.steps == 3  # 12 training images, 4 a batch
    assert figures.flags == ("few_steps",)
    assert figures.width == 32
    assert figures.losses is not None
    assert len(figures.losses) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"in_channels": 3}, "the checkpoint takes 3 channels, the dataset has 1"),
        ({"spatial_dims": 3}, "the checkpoint is 3D, the dataset 2D"),
        (
            {"architecture": "unet_classifier"},
            f"is for {', '.join(tasks_for(Outputs.IMAGE))}, the target is segmentation",
        ),
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


@pytest.mark.parametrize("needs", [{Part.FEATURES}, {Part.EPOCH}])
def test_an_instance_norm_that_is_given_one_voxel_is_refused_by_name(tmp_path: Path, needs: set[Part]) -> None:
    made = candidate(unet_file(tmp_path, norm="instance"), target(), crop=(8, 8))
    with pytest.raises(ScienceError, match="crop: an instance norm of this network is given 1 x 1 voxels"):
        gather(made, silent, needs=needs)


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"in_channels": 3}, "in_channels"), ({"spatial_dims": 3}, "spatial_dims"), ({"head": "relu"}, "card.head")],
)
def test_a_candidate_that_does_not_fit_the_target_is_refused_by_name(
    tmp_path: Path, changes: dict[str, int | str], field: str
) -> None:
    spec = replace(unet_file(tmp_path), **changes)  # type: ignore[arg-type]
    with pytest.raises(ScienceError, match=rf"^{field}: .*; \w+"):
        candidate(spec, target())
