"""The null epochs: the same epoch but for the labels of the training images, and nothing of it stays behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from models_zoo.normalisation import Scaling, scaling_of
from tests.worker.targets import Made, candidate, gather, silent, target, unet_file
from worker.science.data import loader as loader_module
from worker.science.data.target import Target
from worker.science.evidence import one_epoch
from worker.science.evidence.one_epoch import permuted
from worker.science.evidence.parts import Evidence, Part
from worker.science.measures.registry import Score, evaluate, measures

TASKS = {"segmentation": "unet", "classification": "unet_classifier"}


def _made(folder: Path, data: Target, *, seed: int = 0, **protocol: object) -> Made:
    spec = unet_file(folder, architecture=TASKS[data.task.name], seed=seed)
    return candidate(spec, data, **{"null_permutations": 3, **protocol})


def _evidence(made: Made) -> Evidence:
    return gather(made, silent, needs={Part.AFFINES, Part.EPOCH, Part.NULL}).evidence


def _score(evidence: Evidence) -> Score:
    return evaluate(measures()["ac_corr_null"], evidence)


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Permutations that leave every label where it is."""
    monkeypatch.setattr(one_epoch, "permuted", lambda data, **_: replace(data, labels=data.labels.copy()))


@pytest.mark.parametrize("task", TASKS)
def test_unpermuted_labels_give_the_very_same_epoch(tmp_path: Path, still: None, task: str) -> None:
    evidence = _evidence(_made(tmp_path, target(task=task, count=24)))
    assert evidence.affines
    assert evidence.null is not None
    assert len(evidence.null.affines) == 3
    for repeated in evidence.null.affines:
        assert repeated.keys() == evidence.affines.keys()
        for path, own in evidence.affines.items():
            assert not torch.equal(own.target_bias, own.source_bias)  # it did learn
            for part in ("source_weight", "source_bias", "target_weight", "target_bias"):
                assert torch.equal(getattr(repeated[path], part), getattr(own, part)), (path, part)
    found = _score(evidence)
    assert found.record["null"] == [found.record["observed"]] * 3
    assert (found.value, found.record["p"]) == (None, 1.0)


def test_layers_that_draw_random_numbers_draw_the_same_ones(tmp_path: Path, still: None) -> None:
    found = []
    for state in (1, 2):
        made = _made(tmp_path, target(count=24))
        path = made.network.last_encoder_norm
        assert path is not None
        drop = made.network.module.get_submodule(path.rpartition(".")[0])
        drop.register_forward_hook(lambda module, _, output: F.dropout(output, 0.5, module.training))
        torch.manual_seed(state)
        found.append(_score(_evidence(made)).record)
    assert found[0] == found[1]
    assert found[0]["null"] == [found[0]["observed"]] * 3


@pytest.mark.parametrize("task", TASKS)
def test_permuted_labels_give_other_epochs_and_the_observed_one_stays(tmp_path: Path, task: str) -> None:
    data = target(task=task, count=24)
    evidence = _evidence(_made(tmp_path, data))
    alone = gather(_made(tmp_path, data), silent, needs={Part.AFFINES, Part.EPOCH}).evidence
    assert alone.epoch is not None
    assert evidence.epoch is not None
    assert (alone.epoch.losses, alone.epoch.metrics) == (evidence.epoch.losses, evidence.epoch.metrics)
    found = _score(evidence)
    assert found.record["observed"] == evaluate(measures()["ac_corr"], alone).value
    assert len({*found.record["null"], found.record["observed"]}) == 4
    assert found.record["null"] == _score(_evidence(_made(tmp_path, data))).record["null"]


@pytest.mark.parametrize("task", TASKS)
def test_only_training_labels_move_and_whole(task: str) -> None:
    data = target(task=task, count=40)
    train, kept = data.indices("train"), np.flatnonzero(data.split != "train")
    marked = np.arange(40).reshape(40, *[1] * (data.labels.ndim - 1)) + np.zeros_like(data.labels)
    moved = permuted(replace(data, labels=marked), seed=0, number=0)
    owners = moved.labels.reshape(40, -1)
    assert (owners == owners[:, :1]).all()  # one image's label or mask, whole
    assert owners[kept, 0].tolist() == kept.tolist()
    assert sorted(owners[train, 0].tolist()) == train.tolist()
    assert owners[train, 0].tolist() != train.tolist()
    assert moved.images is data.images
    assert moved.labels.dtype == marked.dtype


def test_permutations_follow_seed_and_number_and_nothing_else() -> None:
    data = replace(target(task="classification", count=40), labels=np.arange(40))

    def order(seed: int, number: int) -> tuple[int, ...]:
        return tuple(permuted(data, seed=seed, number=number).labels.tolist())

    assert order(0, 0) == order(0, 0)
    assert len({order(0, 0), order(0, 1), order(1, 0), order(1, 1)}) == 4


def test_candidates_see_the_same_permutations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is fed to one candidate is fed to the next, batch by batch, but for its own normalisation."""
    data = target(count=24)
    fed: list[list[bytes]] = []
    train_epoch = one_epoch.train_epoch

    def watched(training, epoch, **more):  # type: ignore[no-untyped-def]
        fed[-1] += [labels.numpy().tobytes() for _, labels in training.stream.batches(epoch)]
        return train_epoch(training, epoch, **more)

    monkeypatch.setattr(one_epoch, "train_epoch", watched)
    for seed in (0, 1):
        fed.append([])
        _evidence(_made(tmp_path, data, seed=seed))
    steps = len(fed[0]) // 4  # the epoch and three null epochs
    epochs = [tuple(fed[0][start : start + steps]) for start in range(0, len(fed[0]), steps)]
    assert fed[0] == fed[1]
    assert len(set(epochs)) == len(epochs) == 4


def test_null_epochs_keep_the_scalings_of_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scaled: list[bytes] = []

    def watched(image: Tensor, *rest: Any, **more: Any) -> Scaling:
        scaled.append(image.numpy().tobytes())
        return scaling_of(image, *rest, **more)

    monkeypatch.setattr(loader_module, "scaling_of", watched)
    data = target(count=24)
    _evidence(_made(tmp_path, data))
    assert len(scaled) == len(set(scaled)) == (data.split != "test").sum()


def test_the_network_is_left_as_the_epoch_left_it(tmp_path: Path) -> None:
    data = target(count=24)
    states = []
    for needs in ({Part.EPOCH}, {Part.EPOCH, Part.NULL}):
        made = _made(tmp_path, data)
        gather(made, silent, needs=needs)
        assert not made.network.module.training
        states.append(made.network.module.state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


class StopError(Exception):
    """What a lost lease or a stopping worker raises."""


def test_progress_covers_all_null_epochs_and_may_stop_them(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    data = target(count=20)  # 12 training images, 4 a batch: 3 steps
    gather(_made(tmp_path, data), lambda *step: seen.append(step), needs={Part.NULL})
    assert [step for step in seen if step[0] == "null epoch"] == [("null epoch", n, 9) for n in range(1, 10)]
    assert [stage for stage, *_ in seen if stage != "null epoch"] == ["epoch"] * 3 + ["validation"]

    def stop(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("null epoch", 4):
            raise StopError

    with pytest.raises(StopError):
        gather(_made(tmp_path, data), stop, needs={Part.NULL})


def test_a_null_epoch_that_fails_costs_its_own_measure_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(data: Target, *, seed: int, number: int) -> Target:
        images = data.images.astype(np.float32)
        images[data.split == "train"] = np.nan
        return replace(data, images=images) if number == 1 else permuted(data, seed=seed, number=number)

    monkeypatch.setattr(one_epoch, "permuted", broken)
    evidence = _evidence(_made(tmp_path, target(count=24)))
    found = _score(evidence)
    assert (found.value, found.flags) == (None, ("failed",))
    assert "permuted labels 2 of 3 failed: learning_rate: the loss is nan" in str(found.reason)
    assert evaluate(measures()["ac_corr"], evidence).value is not None


def test_without_a_norm_to_compare_no_null_epoch_is_trained(tmp_path: Path) -> None:
    stages: list[str] = []
    made = _made(tmp_path, target(count=24))
    network = replace(made.network, last_encoder_norm=None)
    made = replace(made, candidate=replace(made.candidate, network=network))
    evidence = gather(made, lambda stage, *_: stages.append(stage), needs={Part.AFFINES, Part.NULL}).evidence
    assert "null epoch" not in stages
    assert _score(evidence).flags == ("not_applicable",)


def test_figures_keep_the_null_apart_from_a_finetunes_epoch(tmp_path: Path) -> None:
    figures = gather(_made(tmp_path, target(count=24), null_permutations=8), silent, needs={Part.NULL}).figures
    assert figures.null_seconds is not None
    assert figures.epoch_seconds is not None
    assert figures.finetune_epoch_seconds is not None
    parts = figures.null_seconds + figures.finetune_epoch_seconds + figures.features_seconds
    assert parts == pytest.approx(figures.evidence_seconds)
    assert figures.epoch_seconds <= figures.finetune_epoch_seconds < figures.null_seconds
    assert figures.null_epochs == 8
    assert gather(_made(tmp_path, target(count=24)), silent).figures.null_seconds is None
