"""From claimed rows to the datasets and candidate specs that science takes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from models_zoo.loading.load import sha256
from service.jobs import contents
from service.jobs.work import CandidateCheckpoint, TargetDataset
from service.settings import local_path
from worker.science.data.readers.registry import read
from worker.science.data.target import Target
from worker.science.errors import ScienceError
from worker.science.specs import CandidateSpec
from worker.tasks.contents import normalisation_of


def checked_path(uri: str) -> Path:
    """The file behind a URI; ScienceError when it lies outside the roots, as this worker sees them."""
    try:
        return local_path(uri)
    except ValueError as error:
        raise ScienceError(f"uri: {error}") from error


def read_target(uri: str, *, task: str, spatial_dims: int) -> Target:
    """Read a dataset; the last one read is kept, since a ranking reads the same one for every candidate."""
    path = checked_path(uri)
    if not os.path.isfile(path) or not os.access(path, os.R_OK):  # false, where Path.is_file may raise
        raise ScienceError(f"uri: there is no readable file {uri!r}; check the path, as the worker sees it")
    status = path.stat()
    return _read_version(path, task, spatial_dims, (status.st_mtime_ns, status.st_size, status.st_ino))


@lru_cache(maxsize=1)
def _read_version(path: Path, task: str, spatial_dims: int, _version: tuple[int, ...]) -> Target:
    return read(path, task=task, spatial_dims=spatial_dims)


def read_registered(dataset: TargetDataset) -> Target:
    """Read a registered dataset; ScienceError when its content is not what was registered."""
    data = read_target(dataset.uri, task=dataset.task, spatial_dims=dataset.spatial_dims)
    if data.fingerprint != dataset.fingerprint:
        raise ScienceError("dataset: its content changed after registration; register it again under a new name")
    return data


def candidate_spec(
    uri: str, architecture: str, parameters: Mapping[str, Any], card: contents.Card, *, allow_partial: bool
) -> CandidateSpec:
    """What science needs to build and load a checkpoint; ScienceError names a missing parameter."""
    remaining = dict(parameters)
    try:
        common = {name: int(remaining.pop(name)) for name in ("spatial_dims", "in_channels", "classes")}
    except (KeyError, TypeError, ValueError) as error:
        raise ScienceError(f"parameters: {error} must be a whole number; register the checkpoint again") from error
    return CandidateSpec(
        path=checked_path(uri),
        architecture=architecture,
        parameters=remaining,
        normalisation=vars(normalisation_of(card.normalisation)),
        head=card.head,
        allow_partial=allow_partial,
        **common,
    )


def verified_spec(checkpoint: CandidateCheckpoint) -> CandidateSpec:
    """The spec of a registered checkpoint; ScienceError when its file is not the one that passed preflight."""
    spec = candidate_spec(
        checkpoint.uri,
        checkpoint.architecture,
        checkpoint.parameters,
        checkpoint.card,
        allow_partial=checkpoint.allow_partial,
    )
    if not spec.path.is_file() or sha256(spec.path) != checkpoint.sha256:
        raise ScienceError(
            f"checkpoint: the file of {checkpoint.name} changed or vanished after registration; "
            "register it again under a new name"
        )
    return spec
