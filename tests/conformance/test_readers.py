"""Every reader gives what a good file holds, and the reason for every file that it can't read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from tests.conformance.stored_labels import IMAGES, SIDE, SPLIT, stored_labels
from worker.science.data.data_file import data_file
from worker.science.data.raw_target import RawTarget
from worker.science.data.readers.registry import Reader, read, readers
from worker.science.errors import ScienceError
from worker.science.target_tasks.registry import TargetTask, target_tasks


def write_npz(path: Path, raw: RawTarget, task: TargetTask) -> None:
    arrays = {one.name: getattr(raw, one.name) for one in fields(raw) if one.name != "labels"}
    np.savez(path, **{task.field: raw.labels}, **{name: it for name, it in arrays.items() if it is not None})


# An ending without a writer here is tested with damaged files alone.
WRITERS: dict[str, Callable[[Path, RawTarget, TargetTask], None]] = {".npz": write_npz}
ENDINGS = {ending: reader for reader in readers().values() for ending in reader.endings}
TASKS = [pytest.param(task, id=name) for name, task in target_tasks().items()]
WRITTEN = [ending for ending in ENDINGS if ending in WRITERS]
REASON = r"^[a-z_]+: .*\w.*; .*\w"  # the field, the problem, the remedy
DAMAGED = {
    "empty": b"",
    "text": b"images,labels\n1,2\n",
    "noise": np.random.default_rng(0).bytes(5000),
    "zeros": bytes(5000),
    "an archive cut short": b"PK\x03\x04" + bytes(26),
    "an empty archive": b"PK\x05\x06" + bytes(18),
    "a compressed stream cut short": b"\x1f\x8b\x08\x00" + bytes(6),
}


def raw_target(task: TargetTask) -> RawTarget:
    """Everything that a file can hold."""
    images = np.random.default_rng(1).integers(0, 255, (IMAGES, SIDE, SIDE), dtype=np.uint8)
    groups, spacing = np.array([f"patient-{number // 2}" for number in range(IMAGES)]), np.array([0.5, 0.75])
    return RawTarget(images, stored_labels(task), split=SPLIT, groups=groups, spacing=spacing)


def test_some_format_is_written_here() -> None:
    assert ".npz" in WRITTEN


@pytest.mark.parametrize(("name", "reader"), readers().items(), ids=readers())
def test_a_reader_has_a_name_a_summary_and_endings(name: str, reader: Reader) -> None:
    assert reader.name == name
    assert len(reader.summary.split()) >= 5
    assert reader.endings
    for ending in reader.endings:
        assert ending.startswith(".")
        assert ending == ending.lower()


def test_no_file_has_two_readers() -> None:
    assert len(ENDINGS) == sum(len(reader.endings) for reader in readers().values())
    for ending, reader in ENDINGS.items():
        others = tuple(other for other, of in ENDINGS.items() if of is not reader)
        assert not f"file{ending}".endswith(others)


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_damaged_file_is_refused_with_the_reason(
    tmp_path: Path, ending: str, task: TargetTask, content: bytes
) -> None:
    path = tmp_path / f"damaged{ending}"
    path.write_bytes(content)
    for dims in (2, 3):
        with pytest.raises(ScienceError, match=REASON):
            read(path, task=task.name, spatial_dims=dims)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_that_is_not_there_is_named(tmp_path: Path, ending: str) -> None:
    for task in target_tasks():
        with pytest.raises(ScienceError, match=rf"^uri: .*'nowhere{ending}'; "):
            read(tmp_path / f"nowhere{ending}", task=task, spatial_dims=2)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("ending", WRITTEN)
def test_a_good_file_gives_the_arrays_that_were_written(tmp_path: Path, ending: str, task: TargetTask) -> None:
    path, whole = tmp_path / f"good{ending}", raw_target(task)
    for raw in (whole, replace(whole, split=None, groups=None, spacing=None)):
        WRITERS[ending](path, raw, task)
        with data_file(path) as file:
            result = ENDINGS[ending].read(file, task)
        for one in fields(raw):
            written, returned = getattr(raw, one.name), getattr(result, one.name)
            assert (written is None) == (returned is None), one.name
            if written is not None:
                assert returned.dtype == written.dtype, one.name
                assert np.array_equal(returned, written), one.name


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("ending", WRITTEN)
def test_a_good_file_becomes_a_target(tmp_path: Path, ending: str, task: TargetTask) -> None:
    path, raw = tmp_path / f"good{ending}", raw_target(task)
    WRITERS[ending](path, raw, task)
    data = read(path, task=task.name, spatial_dims=2)
    assert data.task is task
    assert np.array_equal(data.images[:, 0], raw.images)
    assert np.array_equal(data.split, SPLIT)
    assert data.spacing == (0.5, 0.75)
    assert len(data.labels) == IMAGES


@pytest.mark.parametrize("ending", WRITTEN)
def test_a_file_cut_short_anywhere_is_refused_with_the_reason(tmp_path: Path, ending: str) -> None:
    path, [task] = tmp_path / f"short{ending}", list(target_tasks().values())[:1]
    WRITERS[ending](path, raw_target(task), task)
    content = path.read_bytes()
    for kept in range(0, len(content), max(1, len(content) // 50)):
        path.write_bytes(content[:kept])
        with pytest.raises(ScienceError, match=REASON):
            read(path, task=task.name, spatial_dims=2)
