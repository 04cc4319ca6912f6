"""What an evaluation or a finetune run is told: the protocol and the candidate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Called as progress(stage, done, total) while work goes on; may raise to stop it.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Protocol:
    """Everything that must be equal for two scores to be comparable."""

    optimizer: str = "adam"  # or "sgd" (momentum .9)
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    batch_size: int = 4
    crop: tuple[int, ...] | None = None  # None: whole images in 2D, at most 96 voxels a side in 3D
    steps: int | None = None  # stop the epoch after so many; None: every training image once
    seed: int = 0
    voxels_per_class: int = 200  # drawn per present class and image
    voxels_total: int = 20_000
    stage: str | None = None  # None: "encoder" (classification), the last decoder stage (segmentation)
    threads: int = 1  # the thread count changes numbers on CPU
    temperature: float = 1.0  # of Eq. 7
    precision: str = "float32"  # or "mixed": bfloat16 where CUDA is
    null_permutations: int = 19  # epochs on permuted labels, where a measure needs them; 19: p can reach 0.05


@dataclass(frozen=True)
class FinetuneProtocol(Protocol):
    """A full finetune: the same, for several epochs with early stopping on the validation metric."""

    epochs: int = 20
    patience: int = 5


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
