"""Whether a checkpoint can be used for a dataset, as far as their registrations and the inspection say.

The worker's own check (`worker.science.candidate.check_fit`) looks again once it has read the files.
"""

from __future__ import annotations

from collections.abc import Mapping

from service.api.errors import InvalidError
from service.store.published import PublishedArchitecture
from service.store.tables import Checkpoint, Dataset

Architectures = Mapping[str, PublishedArchitecture]


def misfit(dataset: Dataset, checkpoint: Checkpoint, architectures: Architectures) -> str | None:
    """What of the checkpoint does not fit the dataset; None when nothing is known to."""
    dims, channels = checkpoint.parameters["spatial_dims"], checkpoint.parameters["in_channels"]
    architecture = architectures.get(checkpoint.architecture)
    if architecture is not None and dataset.task not in architecture.tasks:
        return f"{checkpoint.architecture} is for {', '.join(architecture.tasks)}, the dataset for {dataset.task}"
    if dims != dataset.spatial_dims:
        return f"the checkpoint is {dims}D, the dataset {dataset.spatial_dims}D"
    if dataset.inspection is not None and channels != dataset.inspection.channels:
        return f"the checkpoint takes {channels} channels, the dataset has {dataset.inspection.channels}"
    return None


def check_fit(dataset: Dataset, checkpoint: Checkpoint, architectures: Architectures, *, field: str) -> None:
    """InvalidError when the checkpoint that this field names does not fit the dataset."""
    why = misfit(dataset, checkpoint, architectures)
    if why is not None:
        raise InvalidError(
            f"checkpoint {checkpoint.name} does not fit dataset {dataset.name}: {why}",
            field=field,
            remedy="leave it out, or correct the registration that is wrong with PATCH",
        )
