"""Crops meet the foreground as often as the protocol says, at the same places for every candidate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monai.transforms.utils import generate_label_classes_crop_centers
from numpy.typing import NDArray

from models_zoo.card import Normalisation
from service.store.contents import Protocol as StoredProtocol
from service.store.dict_form import plain, read
from tests.worker.targets import candidate, gather, loader, silent, target, unet_file
from worker.science.data import loader as loader_module
from worker.science.data.crops import Key, Place, foreground_place, random_place
from worker.science.data.loader import TargetLoader
from worker.science.data.sampling import sample_voxels
from worker.science.data.target import Target
from worker.science.evidence.one_epoch import permuted
from worker.science.evidence.parts import Part
from worker.tasks.contents import default_protocol, protocol_of

CROP = (16, 16, 16)


def with_lesions(*, count: int = 40, empty: int = 0, classes: int = 2) -> Target:
    """Volumes with a lesion of 6 voxels at a random place, and a large organ as class 2 where it is asked for."""
    data = target(size=(40, 40, 40), count=count, classes=classes)
    labels, random = np.zeros_like(data.labels), np.random.default_rng(0)
    for index in data.indices("train")[empty:]:
        if classes > 2:
            labels[index, :, 30:] = 2
        z, y, x = random.integers(40, size=3)
        labels[index, z, y, min(x, 34) : min(x, 34) + 6] = 1
    return replace(data, labels=labels)


def seen(batches: TargetLoader, *, label: int = 1, epoch: int = 0) -> float:
    """Share of the training images whose crop shows some of a class."""
    train = batches.data.indices("train").tolist()
    crops = [batches.data.labels[index][batches.crop_of(index, epoch=epoch)] for index in train]
    return float(np.mean([(crop == label).any() for crop in crops]))


def test_crops_meet_a_small_lesion_as_often_as_asked() -> None:
    data = with_lesions(count=200)
    assert seen(loader(data, crop=CROP, foreground_crops=0)) < 0.3
    assert 0.45 < seen(loader(data, crop=CROP)) < 0.75  # half of the crops, and some of the random ones
    assert seen(loader(data, crop=CROP, foreground_crops=1)) == 1


def test_a_small_class_is_met_as_often_as_a_large_one() -> None:
    data = with_lesions(count=200, classes=3)
    assert seen(loader(data, crop=CROP, foreground_crops=1)) > 0.45


def test_random_crops_stay_where_they_were() -> None:
    """A protocol from before there were crops around the foreground still means the same crops."""
    data = with_lesions()
    before = {name: value for name, value in plain(default_protocol()).items() if name != "foreground_crops"}
    protocol = replace(protocol_of(read(StoredProtocol, before)), crop=CROP)
    assert protocol.foreground_crops == 0
    batches = replace(loader(data), protocol=protocol)
    for index in range(5):
        assert batches.crop_of(index, epoch=3) == random_place((40, 40, 40), CROP, (0, 3, index))
        random = np.random.default_rng((0, 3, index))
        assert [place.start for place in batches.crop_of(index, epoch=3)] == [
            int(random.integers(25)) for _ in range(3)
        ]


def test_crops_depend_on_seed_epoch_image_and_mask_only() -> None:
    data = with_lesions()
    one = loader(data, crop=CROP)
    other = replace(one, normalisation=Normalisation("zscore"), divisor=16)
    assert [one.crop_of(3, epoch=e) for e in range(5)] == [other.crop_of(3, epoch=e) for e in range(5)]
    assert one.window_of(3) == other.window_of(3)
    assert len({one.crop_of(3, epoch=e)[0].start for e in range(8)}) > 1
    assert one.crop_of(3, epoch=0) != loader(data, crop=CROP, seed=1).crop_of(3, epoch=0)


@pytest.mark.parametrize("size", [(9, 31), (8, 8), (33, 9), (10, 8, 23)])
@pytest.mark.parametrize("length", [8, 7])
def test_a_crop_lies_in_the_image_and_has_the_voxel_it_is_placed_on(size: tuple[int, ...], length: int) -> None:
    crop, random = (length,) * len(size), np.random.default_rng(0)
    for turn in range(40):
        mask = np.zeros(size, np.uint8)
        mask[tuple(int(random.integers(side)) for side in size)] = 3
        place = foreground_place(mask, crop, (0, 0, turn), share=1.0)
        assert place is not None
        assert mask[place].shape == crop
        assert mask[place].sum() == 3


def test_an_image_without_foreground_is_cropped_at_random() -> None:
    data = with_lesions(empty=3)
    batches = loader(data, crop=CROP, foreground_crops=1)
    index = int(data.indices("train")[0])
    assert batches.crop_of(index, epoch=0) == random_place((40, 40, 40), CROP, (0, 0, index))


def test_the_frozen_pass_looks_at_windows_with_foreground() -> None:
    data = with_lesions(empty=2)
    train = data.indices("train")
    drawn = sample_voxels(loader(data, crop=CROP), train)
    assert [len(places) for places in drawn] == [6, 6] + [12] * (len(train) - 2)  # all of every lesion
    at_random = sample_voxels(loader(data, crop=CROP, foreground_crops=0), train)
    assert sum(len(places) == 12 for places in at_random) < len(train) / 2


def reference_place(mask: NDArray[Any], crop: tuple[int, ...], key: tuple[int, int, int]) -> tuple[slice, ...]:
    """The place around a foreground voxel in the plainest way: by every label of the sorted mask in turn."""
    random = np.random.RandomState(np.random.MT19937(np.random.SeedSequence((0x63726F70, *key))))
    random.random_sample()
    flat = mask.ravel()
    voxels = [np.flatnonzero(flat == label) for label in np.unique(flat) if label]
    [center] = generate_label_classes_crop_centers(crop, 1, mask.shape, voxels, rand_state=random)
    starts = [int(middle) - length // 2 for middle, length in zip(center, crop, strict=True)]
    return tuple(slice(start, start + length) for start, length in zip(starts, crop, strict=True))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_windows_are_those_of_a_plain_reference(dtype: type, order: Any) -> None:
    data = with_lesions(count=20, classes=3)
    labels = data.labels * np.where(data.labels == 2, 3, 1)  # no voxel of class 2
    data = replace(data, labels=np.asarray(labels, dtype=dtype, order=order), classes=(0, 1, 2, 3))
    for seed in (0, 7):
        batches = loader(data, crop=CROP, seed=seed)
        for index in data.indices("train").tolist():
            expected = reference_place(data.labels[index], CROP, (seed, 0, index))
            assert [batches.window_of(index) for _ in range(2)] == [expected] * 2


def test_an_evaluation_places_each_window_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    placed: list[int] = []

    def watched(mask: NDArray[Any], crop: Sequence[int], key: Key, *, share: float) -> Place | None:
        placed.extend([key[2]] * (share == 1))  # a window; half of the crops are placed on foreground
        return foreground_place(mask, crop, key, share=share)

    monkeypatch.setattr(loader_module, "foreground_place", watched)
    data = with_lesions(count=20)
    gather(candidate(unet_file(tmp_path, dims=3), data, crop=CROP), silent, needs=set(Part) - {Part.NULL})
    assert set(placed) == set(data.indices("train").tolist())
    assert len(placed) == len(set(placed))


def test_the_record_says_how_many_images_with_foreground_were_seen(tmp_path: Path) -> None:
    data = with_lesions(count=20, empty=2)  # 12 for training
    made = candidate(unet_file(tmp_path, dims=3), data, crop=CROP, foreground_crops=1)
    figures = gather(made, silent, needs={Part.EPOCH}).figures
    assert (figures.foreground_images, figures.foreground_in_epoch) == (10, 10)
    assert figures.foreground_in_features is None
    made = candidate(unet_file(tmp_path, dims=3), data, crop=CROP, foreground_crops=0)
    figures = gather(made, silent, needs={Part.EPOCH, Part.FEATURES}).figures
    assert figures.foreground_images == 10
    assert figures.foreground_in_epoch == seen(made.loader) * 12 < 6
    assert figures.foreground_in_features == seen(made.loader) * 12  # its windows are these random crops
    figures = gather(made, silent, needs={Part.FEATURES}).figures
    assert (figures.foreground_in_epoch, figures.foreground_in_features) == (None, seen(made.loader) * 12)
    of_images = target(task="classification")
    figures = gather(
        candidate(unet_file(tmp_path, architecture="unet_classifier"), of_images), silent, needs={Part.EPOCH}
    ).figures
    assert (figures.foreground_images, figures.foreground_in_epoch) == (None, None)


def test_crops_follow_permuted_masks() -> None:
    """Else the true labels would have foreground in their crops, and the permuted ones would not."""
    batches = loader(with_lesions(), crop=CROP, foreground_crops=1)
    assert seen(batches.relabelled(permuted(batches.data, seed=0, number=0))) == 1


def test_random_crops_stay_where_they_were_on_permuted_masks() -> None:
    batches = loader(with_lesions(), crop=CROP, foreground_crops=0)
    moved = batches.relabelled(permuted(batches.data, seed=0, number=0))
    for index in batches.data.indices("train").tolist():
        assert moved.crop_of(index, epoch=0) == batches.crop_of(index, epoch=0)


def test_windows_follow_permuted_masks_also_where_the_true_ones_are_kept() -> None:
    data = with_lesions()
    train, batches, moved = (
        data.indices("train").tolist(),
        loader(data, crop=CROP),
        permuted(data, seed=0, number=0),
    )
    true = [batches.window_of(index) for index in train]
    followed = [batches.relabelled(moved).window_of(index) for index in train]
    assert followed == [loader(moved, crop=CROP).window_of(index) for index in train] != true
    assert [batches.window_of(index) for index in train] == true
