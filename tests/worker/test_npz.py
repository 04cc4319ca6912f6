"""The npz reader: what it makes of good files, and the reason it gives for every bad one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worker.science.errors import ScienceError
from worker.science.readers.registry import read
from worker.science.target import inspection, split_by_hash


def _arrays(**changes: Any) -> dict[str, Any]:
    random = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "images": random.integers(0, 255, (20, 8, 8, 3), dtype=np.uint8),
        "masks": random.integers(0, 2, (20, 8, 8), dtype=np.uint8),
        "labels": np.arange(20) % 3,
    }
    arrays.update(changes)
    return {name: value for name, value in arrays.items() if value is not None}


def _file(folder: Path, **changes: Any) -> Path:
    path = folder / "target.npz"
    np.savez(path, **_arrays(**changes))
    return path


def test_reads_channels_last_images_and_completes_the_split(tmp_path: Path) -> None:
    data = read(_file(tmp_path), task="segmentation", spatial_dims=2)
    assert data.images.shape == (20, 3, 8, 8)
    assert data.classes == (0, 1)
    assert {name: len(data.indices(name)) for name in ("train", "val", "test")} == {
        "train": 12,
        "val": 4,
        "test": 4,
    }
    assert data.value_range == (0.0, 255.0)


def test_images_without_a_channel_axis_get_one(tmp_path: Path) -> None:
    path = _file(tmp_path, images=np.zeros((20, 8, 8), np.uint8))
    assert read(path, task="classification", spatial_dims=2).channels == 1


def test_three_dimensions(tmp_path: Path) -> None:
    volumes, masks = np.zeros((6, 4, 5, 6)), np.ones((6, 4, 5, 6), np.uint8)
    masks[:, 0] = 0
    data = read(_file(tmp_path, images=volumes, masks=masks, labels=None), task="segmentation", spatial_dims=3)
    assert data.images.shape == (6, 1, 4, 5, 6)


def test_labels_are_reindexed_over_those_present(tmp_path: Path) -> None:
    data = read(_file(tmp_path, labels=np.arange(20) % 2 * 7 + 3), task="classification", spatial_dims=2)
    assert data.classes == (3, 10)
    assert set(data.labels.tolist()) == {0, 1}


def test_a_mask_of_0_and_255_is_two_classes(tmp_path: Path) -> None:
    masks = _arrays()["masks"] * 255
    assert read(_file(tmp_path, masks=masks), task="segmentation", spatial_dims=2).classes == (0, 255)


def test_validation_comes_out_of_train_by_group_and_test_is_left_alone(tmp_path: Path) -> None:
    split = np.array(["train"] * 16 + ["test"] * 4)
    groups = np.arange(20) // 2
    data = read(_file(tmp_path, split=split, groups=groups), task="classification", spatial_dims=2)
    assert data.indices("test").tolist() == [16, 17, 18, 19]
    validation = data.indices("val")
    assert len(validation) == 4  # 20 % of 8 groups, 2 images each
    assert not set(data.groups[validation]) & set(data.groups[data.indices("train")])


def test_a_split_by_hash_does_not_depend_on_the_order() -> None:
    ids = np.array([f"patient-{i}" for i in range(50)])
    split = split_by_hash(ids, shares={"val": 0.2}, rest="train")
    backwards = split_by_hash(ids[::-1], shares={"val": 0.2}, rest="train")
    assert (split == backwards[::-1]).all()
    assert (split == "val").sum() == 10


def test_a_group_in_two_splits_is_a_warning(tmp_path: Path) -> None:
    split = np.array((["train"] * 3 + ["val", "test"]) * 4)
    data = read(_file(tmp_path, split=split, groups=np.arange(20) // 5), task="classification", spatial_dims=2)
    assert any("groups" in warning for warning in data.warnings)


def test_the_inspection_counts_classes_and_splits(tmp_path: Path) -> None:
    report = inspection(read(_file(tmp_path), task="classification", spatial_dims=2))
    assert [one["count"] for one in report["classes"]] == [7, 7, 6]
    assert report["shape"] == [8, 8]
    assert report["splits"] == {"train": 12, "val": 4, "test": 4}


def test_the_fingerprint_follows_the_content_not_the_file(tmp_path: Path) -> None:
    path = _file(tmp_path)
    before = read(path, task="segmentation", spatial_dims=2).fingerprint
    np.savez_compressed(path, **_arrays())
    assert read(path, task="segmentation", spatial_dims=2).fingerprint == before
    changed = _arrays()
    changed["masks"][0, 0, 0] ^= 1
    np.savez(path, **changed)
    assert read(path, task="segmentation", spatial_dims=2).fingerprint != before


def _nan_images() -> Any:
    images = np.zeros((20, 8, 8))
    images[3, 2, 2] = np.nan
    return images


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        ("segmentation", {"images": None}, "images: the npz has no such array"),
        ("segmentation", {"masks": None}, "masks: the npz has no such array"),
        ("classification", {"labels": None}, "labels: the npz has no such array"),
        ("segmentation", {"images": np.zeros((20, 8))}, "images: shape"),
        ("segmentation", {"images": np.array(["x"] * 20)}, "images"),
        ("classification", {"images": _nan_images()}, r"images: NaN or infinite values in 1 images, first \[3\]"),
        ("segmentation", {"masks": np.zeros((20, 8, 8), np.uint8)}, "masks: no foreground"),
        ("segmentation", {"masks": np.ones((20, 8, 8), np.uint8)}, "one class only"),
        ("segmentation", {"masks": np.zeros((20, 8, 7), np.uint8)}, "masks: shape"),
        ("segmentation", {"masks": np.zeros((20, 8, 8)) + 0.5}, "store integers"),
        ("segmentation", {"masks": np.full((20, 8, 8), -1)}, "negative label"),
        ("classification", {"labels": np.zeros(20, int)}, "labels: one class only"),
        ("classification", {"labels": np.arange(19)}, "labels: shape"),
        ("classification", {"split": np.array(["somewhere"] * 20)}, "split: .*unknown values"),
        ("classification", {"split": np.array(["test"] * 20)}, "split: 0 images in 'train'"),
        ("classification", {"groups": np.arange(3)}, "groups: shape"),
        ("classification", {"labels": np.array([{}] * 20, dtype=object)}, "Python objects"),
    ],
)
def test_bad_content_is_refused_with_the_field_and_the_remedy(
    tmp_path: Path, task: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ScienceError, match=message):
        read(_file(tmp_path, **changes), task=task, spatial_dims=2)


def test_missing_truncated_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(ScienceError, match="no file"):
        read(tmp_path / "nowhere.npz", task="segmentation", spatial_dims=2)
    path = _file(tmp_path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ScienceError, match="no readable npz"):
        read(path, task="segmentation", spatial_dims=2)
    with pytest.raises(ScienceError, match="no reader"):
        read(tmp_path / "image.tiff", task="segmentation", spatial_dims=2)
