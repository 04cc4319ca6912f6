"""Frozen features: the same voxels for everybody, at label resolution, one scale, nothing left behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.worker.targets import candidate, features_of, loader, silent, target, unet_file
from worker.science.data.loader import TargetLoader
from worker.science.data.sampling import sample_voxels
from worker.science.errors import ScienceError
from worker.science.evidence.at_voxels import voxels_of
from worker.science.evidence.features import FeatureCollector
from worker.science.evidence.forward_pass import FrozenBatch, frozen_pass


def test_voxels_follow_the_sampling_rule() -> None:
    data = target(size=(32, 32), classes=3)
    train = data.indices("train")
    drawn = sample_voxels(loader(data, voxels_per_class=50), train)
    for index, places in zip(train, drawn, strict=True):
        mask = data.labels[index].ravel()
        counts = np.bincount(mask[places], minlength=3)
        present = np.bincount(mask, minlength=3)
        assert (counts[1:] == np.minimum(present[1:], 50)).all()
        assert counts[0] == min(50, present[0], present[1:].max())
        assert len(set(places.tolist())) == len(places)


def test_background_is_capped_at_the_largest_foreground_class() -> None:
    data = target(size=(32, 32))
    data.labels[:] = 0
    data.labels[:, 0, :7] = 1
    for places in sample_voxels(loader(data), data.indices("train")):
        assert len(places) == 14


def test_images_without_foreground_give_background_in_proportion() -> None:
    data = target(size=(32, 32))
    train = data.indices("train")
    data.labels[:] = 0
    for place, index in enumerate(train[3:]):
        data.labels[index, 0, : 5 + place % 3] = 1  # 5, 6 or 7 voxels, 6 in the median
    drawn = sample_voxels(loader(data), train)
    assert [len(places) for places in drawn[:3]] == [6, 6, 6]
    assert [len(places) for places in drawn[3:6]] == [10, 12, 14]


def test_the_total_is_kept_by_fewer_voxels_of_every_class() -> None:
    data = target(size=(32, 32), count=40)
    drawn = sample_voxels(loader(data, voxels_total=300), data.indices("train"))
    assert sum(map(len, drawn)) <= 300
    assert {len(places) for places in drawn} == {12}  # 24 images, 2 classes, 6 each


def test_voxels_depend_on_image_and_seed_only() -> None:
    data = target(size=(32, 32))
    train = data.indices("train")
    one = sample_voxels(loader(data), train)
    again = sample_voxels(loader(data, batch_size=7, learning_rate=1.0), train[::-1])
    assert all((a == b).all() for a, b in zip(one, again[::-1], strict=True))
    assert any((a != b).any() for a, b in zip(one, sample_voxels(loader(data, seed=1), train), strict=True))


@pytest.mark.parametrize("stage", ["encoder", "decoder_1", None])
def test_features_of_coarse_stages_are_interpolated_to_the_same_voxels(tmp_path: Path, stage: str | None) -> None:
    data = target(size=(20, 18))  # not a multiple of the divisor
    made = candidate(unet_file(tmp_path), data, stage=stage)
    features = features_of(made)
    drawn = sample_voxels(made.loader, data.indices("train"))
    assert len(features.values) == sum(map(len, drawn))
    expected = np.concatenate(
        [data.labels[index].ravel()[places] for index, places in zip(data.indices("train"), drawn, strict=True)]
    )
    assert (features.labels.numpy() == expected).all()
    centred = features.values.double() - features.values.double().mean(0)
    assert float(centred.square().mean().sqrt()) == pytest.approx(1, abs=1e-5)


def test_the_last_decoder_stage_is_read_where_the_voxels_are(tmp_path: Path) -> None:
    data = target(size=(16, 16))
    made = candidate(unet_file(tmp_path), data)
    features = features_of(made)
    index = data.indices("train")[0]
    places = sample_voxels(made.loader, data.indices("train"))[0]
    caught: list[torch.Tensor] = []
    made.network.module.up_tr64.register_forward_hook(lambda *call: caught.append(call[2]))
    with torch.no_grad():
        made.network.module(made.loader.batch([index])[0])
    expected = caught[0][0].flatten(1)[:, torch.from_numpy(places)].T
    assert torch.allclose(features.values[: len(places)] * features.scale, expected, atol=1e-4)


def test_classification_features_are_pooled_one_row_an_image(tmp_path: Path) -> None:
    data = target(task="classification")
    made = candidate(unet_file(tmp_path, architecture="unet_classifier"), data)
    features = features_of(made)
    assert features.values.shape == (len(data.indices("train")), 32)
    assert features.stage == "encoder"


def test_the_frozen_pass_changes_nothing(tmp_path: Path) -> None:
    data = target()
    made = candidate(unet_file(tmp_path), data)
    before = {key: value.clone() for key, value in made.network.module.state_dict().items()}
    features_of(made)
    assert all(torch.equal(before[key], value) for key, value in made.network.module.state_dict().items())
    assert not any(module._forward_hooks for module in made.network.module.modules())


def test_an_unknown_stage_is_named(tmp_path: Path) -> None:
    made = candidate(unet_file(tmp_path), target(), stage="attic")
    with pytest.raises(ScienceError, match="stage: the network has no 'attic'; it has encoder"):
        features_of(made)


def test_whole_images_are_left_out_where_one_voxel_each_is_too_much() -> None:
    drawn = sample_voxels(loader(target(size=(8, 8), count=100), voxels_total=50), np.arange(60))
    assert sum(map(len, drawn)) == 50
    assert {len(places) for places in drawn} == {0, 2}


class Everything:
    """A collector that keeps nothing of any training image."""

    paths = ()

    def __init__(self, loader: TargetLoader) -> None:
        self.images = loader.data.indices("train")
        self.seen: list[int] = []

    def update(self, batch: FrozenBatch) -> None:
        """Note what the network was shown."""
        self.seen += batch.indices.tolist()


@pytest.mark.parametrize("stage", ["encoder", None])
def test_only_images_with_sampled_voxels_are_shown_to_the_network(tmp_path: Path, stage: str | None) -> None:
    data = target(count=40)  # 24 for training
    spec = unet_file(tmp_path)
    made = candidate(spec, data, voxels_total=7, stage=stage)
    shown: list[int] = []
    made.network.module.register_forward_hook(lambda _, inputs, __: shown.append(len(inputs[0])))
    features = features_of(made)
    sampled = [len(places) for places in sample_voxels(made.loader, data.indices("train"))]
    assert sum(shown) == np.count_nonzero(sampled) == 3
    everything = Everything(made.loader)
    collector = FeatureCollector(made.network, made.loader, voxels_of(made.loader))
    frozen_pass(made.network, made.loader, collectors=[collector, everything], progress=silent)
    assert everything.seen == data.indices("train").tolist()
    assert torch.equal(collector.compute().values, features.values)
    assert torch.equal(collector.compute().groups, features.groups)


def test_features_of_a_coarse_stage_are_never_blown_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """512 channels of a coarse stage at the size of a volume are gigabytes."""
    sizes: list[int] = []
    resize = torch.nn.functional.interpolate
    monkeypatch.setattr(
        torch.nn.functional, "interpolate", lambda *given, **more: sizes.append(1) or resize(*given, **more)
    )
    made = candidate(unet_file(tmp_path), target(), stage="encoder")
    assert len(features_of(made).values)
    assert not sizes
