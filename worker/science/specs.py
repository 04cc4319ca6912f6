"""The protocol and the candidate of an evaluation or a finetune run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from models_zoo.loading.state_dicts import Content

# Called as progress(stage, done, total) while work goes on; may raise to stop it.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class FieldBounds:
    """What a field of a protocol may be: its default, its bounds or choices, and whether it may be null.

    For a list the bounds are those of its items.
    """

    default: Any
    above: float | None = None
    lowest: float | None = None
    highest: float | None = None
    choices: tuple[str, ...] | None = None
    nullable: bool = False


def bounded(default: Any, **bounds: Any) -> Any:
    """A dataclass field with its bounds, named as in `FieldBounds`, in its metadata."""
    return field(default=default, metadata=bounds)


@dataclass(frozen=True)
class Protocol:
    """Everything that must be equal for two scores to be comparable."""

    optimizer: str = bounded("adam", choices=("adam", "sgd"))  # sgd has momentum 0.9
    learning_rate: float = bounded(1e-3, above=0, highest=1e30)
    weight_decay: float = bounded(0.0, lowest=0, highest=1e6)
    batch_size: int = bounded(4, lowest=2, highest=100_000)  # a norm layer needs two images
    # None: whole images in 2D, at most 96 voxels a side in 3D
    crop: tuple[int, ...] | None = bounded(None, lowest=8, highest=100_000, nullable=True)
    # share of the crops around a foreground voxel, where there is a label for every voxel; MONAI's pos = neg = 1
    foreground_crops: float = bounded(0.5, lowest=0, highest=1)
    # stop the epoch after so many; None: every training image once
    steps: int | None = bounded(None, lowest=1, highest=10_000_000, nullable=True)
    seed: int = bounded(0, lowest=0, highest=2**32 - 1)
    voxels_per_class: int = bounded(200, lowest=1, highest=10_000_000)  # drawn per present class and image
    voxels_total: int = bounded(20_000, lowest=1, highest=10_000_000)
    # None: the last decoder stage where there is a label for every voxel, else "encoder"
    stage: str | None = bounded(None, nullable=True)
    threads: int = bounded(1, lowest=1, highest=1024)  # the thread count changes numbers on CPU
    temperature: float = bounded(1.0, lowest=1e-6, highest=1e6)  # of Eq. 7
    # tf32 and mixed (bfloat16) differ from float32 where CUDA is
    precision: str = bounded("float32", choices=("float32", "tf32", "mixed"))
    # principal components for measures that grow with the number of features; None or 0: all features
    feature_width: int | None = bounded(None, lowest=0, highest=1_000_000, nullable=True)
    # epochs on permuted labels, where a measure needs them; a z-score takes two, p can reach 0.05 with 19
    null_permutations: int = bounded(19, lowest=2, highest=999)


@dataclass(frozen=True)
class FinetuneProtocol(Protocol):
    """The protocol of a full finetune: several epochs with early stopping on the validation metric."""

    epochs: int = bounded(20, lowest=1, highest=100_000)
    patience: int = bounded(5, lowest=1, highest=100_000)  # epochs without a better validation metric


def protocol_fields(kind: type[Protocol]) -> dict[str, FieldBounds]:
    """Every field of a protocol by name, with its default and bounds."""
    return {declared.name: FieldBounds(declared.default, **declared.metadata) for declared in fields(kind)}


@dataclass(frozen=True)
class CandidateSpec:
    """A checkpoint to adapt: its file, how to build its network, and how it wants its input."""

    path: Path
    architecture: str
    spatial_dims: int
    in_channels: int
    classes: int  # of the source
    parameters: Mapping[str, Any] = field(default_factory=dict)
    normalisation: Mapping[str, Any] = field(default_factory=dict)
    head: str = "softmax"  # what the source head's outputs are: "softmax", "sigmoid", or "none": no classes
    spacing: tuple[float, ...] = ()  # millimetres of a voxel of the source's images; empty: not known
    allow_partial: bool = False  # whether tensors of the body may keep random values
    content: Content | None = None  # of the file, where it was read already: then `path` is not opened again

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments that `architecture.build` takes beside the name."""
        own = {"spatial_dims": self.spatial_dims, "in_channels": self.in_channels, "classes": self.classes}
        return {**own, **self.parameters}
