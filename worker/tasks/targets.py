"""From claimed rows to the datasets that science takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from service.jobs.work import TargetDataset
from worker.reading.files import OpenFile, Version, opened
from worker.reading.reader import reader
from worker.science.data.readers.registry import read_file
from worker.science.data.target import Target
from worker.science.errors import ScienceError
from worker.science.specs import Progress


@dataclass(frozen=True)
class _Kept:
    """The last dataset that was read: a ranking takes the same one for every candidate."""

    version: Version
    dataset: TargetDataset
    target: Target


_kept: _Kept | None = None


def inspected(file: OpenFile, *, task: str, spatial_dims: int, progress: Progress) -> dict[str, Any]:
    """What the reading process finds in a dataset's file (`worker.reading.untrusted.inspect`), and its digest."""
    version = file.version
    arguments = {"name": file.path.name, "task": task, "spatial_dims": spatial_dims}
    found = reader().read("inspect", file, arguments, pulse=lambda: progress("reading", 0, 1))
    found["sha256"] = file.sha256()
    _check_unwritten(file, version)
    return found


def read_registered(dataset: TargetDataset, progress: Progress) -> Target:
    """Read a registered dataset; ScienceError when its content is not what was registered.

    This process reads only what the reading process has read before, now or when the dataset was inspected.
    """
    global _kept
    with opened(dataset.uri) as file:
        version = file.version
        if _kept is None or (_kept.version, _kept.dataset) != (version, dataset):
            _kept = None
            _kept = _Kept(version, dataset, _read(dataset, file, progress))
        return _kept.target


def _read(dataset: TargetDataset, file: OpenFile, progress: Progress) -> Target:
    version = file.version
    if file.sha256() != dataset.sha256:
        found = inspected(file, task=dataset.task, spatial_dims=dataset.spatial_dims, progress=progress)
        _check(found["fingerprint"], dataset)
    target = read_file(file.data_file(), task=dataset.task, spatial_dims=dataset.spatial_dims)
    _check(target.fingerprint, dataset)
    _check_unwritten(file, version)
    return target


def _check_unwritten(file: OpenFile, version: Version) -> None:
    if file.version != version:
        raise ScienceError("uri: the file was written to while it was read; try again once it is complete")


def _check(fingerprint: str, dataset: TargetDataset) -> None:
    if fingerprint != dataset.fingerprint:
        raise ScienceError("dataset: its content changed after registration; register it again under a new name")
