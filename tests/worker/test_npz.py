"""The npz reader: what it makes of good files, and the reason it gives for every bad one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worker.science.data.readers.registry import read
from worker.science.data.target import split_by_hash
from worker.science.errors import ScienceError
from worker.tasks.contents import inspection_of


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


def test_an_inspection_counts_the_images_without_foreground(tmp_path: Path) -> None:
    masks = np.ones((20, 8, 8), np.uint8)
    masks[:, 0] = 0
    masks[[0, 1, 2, 12, 16]] = 0
    path = _file(tmp_path, masks=masks, split=SPLIT)
    data = read(path, task="segmentation", spatial_dims=2)
    assert inspection_of(data).empty == {"train": 3, "val": 1, "test": 1}
    assert any("5 images have no foreground" in warning for warning in data.warnings)
    of_images = read(path, task="classification", spatial_dims=2)
    assert inspection_of(of_images).empty is None


def test_spacings_that_differ_between_images_are_a_warning(tmp_path: Path) -> None:
    spacing = np.full((20, 2), 0.8)
    for factor, warned in ((1.0, False), (1.001, False), (1.5, True)):
        spacing[3, 1] = 0.8 * factor
        data = read(_file(tmp_path, spacing=spacing), task="classification", spatial_dims=2)
        assert any("spacings differ by up to a factor of 1.5" in one for one in data.warnings) is warned


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
    report = inspection_of(read(_file(tmp_path), task="classification", spatial_dims=2))
    assert [one.count for one in report.classes or ()] == [7, 7, 6]
    assert report.shape == (8, 8)
    assert report.splits == {"train": 12, "val": 4, "test": 4}


def test_the_fingerprint_follows_the_content_not_the_file(tmp_path: Path) -> None:
    path = _file(tmp_path)
    before = read(path, task="segmentation", spatial_dims=2).fingerprint
    np.savez_compressed(path, **_arrays())
    assert read(path, task="segmentation", spatial_dims=2).fingerprint == before
    changed = _arrays()
    changed["masks"][0, 0, 0] ^= 1
    np.savez(path, **changed)
    assert read(path, task="segmentation", spatial_dims=2).fingerprint != before


SPLIT = np.array(["train"] * 12 + ["val"] * 4 + ["test"] * 4)
YES_OR_NO = np.stack((np.arange(20) % 2, np.arange(20) // 2 % 2), 1)


def _with(values: Any, place: int, value: float) -> Any:
    changed = values.copy()
    changed[place] = value
    return changed


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
        ("regression", {"labels": None}, "labels: the npz has no such array, which regression needs"),
        ("regression", {"labels": np.zeros((20, 2, 2))}, r"labels: shape \(20, 2, 2\).* needs \(N,\) or \(N,T\)"),
        ("regression", {"labels": np.arange(19.0)}, "labels: shape"),
        ("regression", {"labels": np.zeros((20, 0))}, "labels: 0 columns"),
        ("regression", {"labels": np.zeros((20, 1001))}, "labels: 1001 columns"),
        ("regression", {"labels": np.array(["1.5"] * 20)}, "labels: <U3 values; regression needs numbers"),
        ("regression", {"labels": np.arange(20) > 9}, "labels: bool values"),
        ("regression", {"labels": _with(np.arange(20.0), 3, np.nan)}, r"labels: NaN .* 1 images, first \[3\]"),
        ("regression", {"labels": _with(np.arange(20.0), 3, -np.inf)}, "labels: NaN or infinite"),
        ("regression", {"labels": np.full(20, 0.1)}, r"labels: one value only in the training images, .* \[0\]"),
        ("regression", {"labels": np.stack((np.arange(20), np.full(20, 7)), 1)}, r"one value only.* \[1\]"),
        ("regression", {"labels": np.arange(20.0) * 1e300}, "labels: values up to .* too large"),
        (  # the variance of the training images is finite, that of all images is not
            "regression",
            {"labels": _with(np.arange(20.0) * 1e150, 19, 1e155), "split": SPLIT},
            r"labels: values up to 1e\+155 are too large; use another unit",
        ),
        ("classification", {"spacing": np.full((20, 2), 1e308)}, r"spacing: numbers up to 1e\+308 are too large"),
        (
            "classification",
            {"spacing": np.full((20, 2), 3e38, np.float32)},
            "spacing: numbers up to 3e.38 are too",
        ),
        ("classification", {"spacing": np.array([np.inf, 1.0])}, "spacing: not every number is finite"),
        ("classification", {"spacing": np.array([np.nan, 1.0])}, "spacing: not every number is finite"),
        (
            "regression",
            {"labels": _with(np.arange(20.0), 19, 1e30), "split": SPLIT},
            r"labels: images \[19\] are more",
        ),
        ("multilabel", {"labels": None}, "labels: the npz has no such array, which multilabel needs"),
        ("multilabel", {"labels": np.arange(20) % 2}, r"labels: shape \(20,\), but multilabel of 20 images needs"),
        ("multilabel", {"labels": np.arange(20).reshape(20, 1) % 2}, "labels: one column only; .* classification"),
        ("multilabel", {"labels": YES_OR_NO * 2}, r"labels: \[2\] are neither 0 nor 1"),
        ("multilabel", {"labels": YES_OR_NO - 1}, r"labels: \[-1\] are neither"),
        ("multilabel", {"labels": _with(YES_OR_NO * 1.0, 3, np.nan)}, r"labels: \[nan\] are neither"),
        ("multilabel", {"labels": YES_OR_NO.astype(str)}, "labels: .* store 0 and 1"),
        ("multilabel", {"labels": YES_OR_NO * [1, 0]}, r"one value only in the training images, in columns \[1\]"),
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


def test_range_and_classes_are_not_learnt_from_the_test_images(tmp_path: Path) -> None:
    split = np.array(["train"] * 12 + ["val"] * 4 + ["test"] * 4)
    images = np.linspace(0, 1, 20 * 64).reshape(20, 8, 8)
    one = read(_file(tmp_path, images=images, split=split), task="classification", spatial_dims=2)
    images[16:] *= 20
    other = read(_file(tmp_path, images=images, split=split), task="classification", spatial_dims=2)
    assert one.value_range == other.value_range
    masks = _arrays()["masks"]
    masks[18, 0, 0] = 7
    with pytest.raises(ScienceError, match=r"masks: \[7\] occur in test images only"):
        read(_file(tmp_path, masks=masks, split=split), task="segmentation", spatial_dims=2)


def test_masks_keep_a_small_type(tmp_path: Path) -> None:
    masks = _arrays()["masks"].astype(np.int64) * 5
    assert read(_file(tmp_path, masks=masks), task="segmentation", spatial_dims=2).labels.dtype == np.uint8


def test_channels_first_is_recognised(tmp_path: Path) -> None:
    with pytest.raises(ScienceError, match="channels first"):
        read(_file(tmp_path, images=np.zeros((20, 3, 8, 8))), task="classification", spatial_dims=2)


@pytest.mark.parametrize("shape", [(20,), (20, 1), (20, 2)])
def test_regression_targets_are_standardised_by_the_training_images(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    values = np.random.default_rng(0).normal(70, 12, shape).astype(np.float32)
    data = read(_file(tmp_path, labels=values, split=SPLIT), task="regression", spatial_dims=2)
    columns = values.reshape(20, -1).astype(float)
    assert data.classes == tuple(range(columns.shape[1]))
    assert np.array_equal(data.labels, columns)  # in the file's units
    standardised = data.standard.apply(data.labels)[data.indices("train")]
    assert np.allclose(standardised.mean(0), 0)
    assert np.allclose(standardised.std(0), 1)
    assert np.allclose(data.standard.mean, columns[:12].mean(0))
    targets = inspection_of(data).targets or ()
    assert [one.column for one in targets] == list(data.classes)
    assert [one.highest for one in targets] == pytest.approx(columns.max(0).tolist())
    assert inspection_of(data).classes is None


def test_whole_numbers_are_numbers(tmp_path: Path) -> None:
    assert (
        read(_file(tmp_path, labels=np.arange(20)), task="regression", spatial_dims=2).labels.dtype == np.float64
    )


@pytest.mark.parametrize("dtype", [bool, np.int64, np.float32])
def test_several_labels_an_image(tmp_path: Path, dtype: type) -> None:
    labels = YES_OR_NO.copy()
    labels[:15, 1] = np.arange(15) < 3
    data = read(_file(tmp_path, labels=labels.astype(dtype)), task="multilabel", spatial_dims=2)
    assert data.classes == (0, 1)
    assert np.array_equal(data.labels, labels)
    counted = inspection_of(data).classes or ()
    assert [(one.count, one.share) for one in counted] == [(10, 0.5), (6, 0.3)]
    assert data.warnings == ("fewer than 5 validation images: outcomes will be noisy",)


def test_columns_that_say_little_are_warnings(tmp_path: Path) -> None:
    one_hot = np.stack((np.arange(20) % 2, 1 - np.arange(20) % 2), 1)
    one_hot[12:16] = [1, 0]
    data = read(_file(tmp_path, labels=one_hot, split=SPLIT), task="multilabel", spatial_dims=2)
    assert any("one value only in the validation images, in columns [0, 1]" in one for one in data.warnings)
    assert any("exactly one label" in one for one in data.warnings)
    values = _with(np.arange(20.0), slice(12, 16), 3.0)  # type: ignore[arg-type]
    data = read(_file(tmp_path, labels=values, split=SPLIT), task="regression", spatial_dims=2)
    assert any("one value only in the validation images" in one for one in data.warnings)


@pytest.mark.parametrize(
    "changes",
    [
        {"spacing": np.array([1e308, 5e-324])},
        {"spacing": np.full((20, 2), 65504, np.float16)},
        {"images": np.stack((np.full((20, 8, 8), -1.7e308), np.full((20, 8, 8), 1.7e308)), 3)},
        {"images": np.full((20, 8, 8), 65504, np.float16)},
        {"images": np.full((20, 8, 8), 2**64 - 1, np.uint64)},
        {"labels": np.arange(20.0) * 1e152},
        {"labels": np.arange(20.0) * 1e-150},
    ],
)
def test_every_number_of_an_inspection_is_finite(tmp_path: Path, changes: dict[str, Any]) -> None:
    changes = {"labels": np.arange(20.0), **changes}
    inspection = inspection_of(read(_file(tmp_path, **changes), task="regression", spatial_dims=2))
    assert np.isfinite(inspection.value_range).all()
    assert np.isfinite(inspection.spacing or ()).all()
    for column in inspection.targets or ():
        assert np.isfinite((column.lowest, column.mean, column.deviation, column.highest)).all()
