"""The demo's checkpoints: each trained here on its own source, or not at all, so that they differ for real."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from models_zoo import architecture as registry
from worker.demo.images import FAR, NEAR, TARGET, Domain, photographs
from worker.science.data.target import Target
from worker.science.specs import Protocol
from worker.science.target_tasks.registry import target_task
from worker.science.training.recipes.supervised import train_source

ARCHITECTURE = "unet"
PARAMETERS = {"spatial_dims": 2, "in_channels": 3, "classes": 2, "width": 8}
TARGET_IMAGES = 240  # 144 for training: an epoch of 36 steps
SOURCE_IMAGES = 160
EPOCHS = 6
BATCH = 8
Masks = NDArray[np.uint8]


@dataclass(frozen=True)
class Source:
    """What a checkpoint was trained on: a domain and which masks; `epochs` 0 is never trained."""

    name: str
    task: str
    data: str
    domain: Domain
    masks: Callable[[Masks, Masks], Masks]
    epochs: int = EPOCHS
    seed: int = 0


def _vessels(vessels: Masks, discs: Masks) -> Masks:
    return vessels


def _discs(vessels: Masks, discs: Masks) -> Masks:
    return discs


def _shuffled(vessels: Masks, discs: Masks) -> Masks:
    """Every image with another's mask, mirrored: nothing to learn but how much is vessel."""
    return np.roll(vessels, 1, axis=0)[:, ::-1].copy()


SOURCES = (
    Source("near-domain", "vessels", "photographs by a similar camera", NEAR, _vessels, seed=1),
    Source("far-domain", "vessels", "angiograms: bright on dark, striped", FAR, _vessels, seed=2),
    Source("another-task", "disc", "photographs by a similar camera", NEAR, _discs, seed=3),
    Source("random-labels", "shuffled masks", "photographs by a similar camera", NEAR, _shuffled, seed=4),
    Source("never-trained", "none", "none", NEAR, _vessels, epochs=0, seed=5),
)
MUST_NOT_LEAD = ("random-labels", "never-trained")


def write_target(path: Path) -> None:
    """The target dataset, in the documented npz layout, without a split."""
    images, vessels, _ = photographs(TARGET, TARGET_IMAGES, seed=100)
    partial = path.with_suffix(".part.npz")
    np.savez_compressed(partial, images=images, masks=vessels)
    partial.rename(path)


def build_checkpoint(source: Source, path: Path, steps: MutableMapping[str, tuple[int, int]]) -> None:
    """Train a U-Net on its source, if it is to be trained, and write its weights.

    `steps` holds the progress under the source's name: steps done and steps in all.
    """

    def progress(done: int, total: int) -> None:
        steps[source.name] = (done, total)

    torch.set_num_threads(1)
    torch.manual_seed(source.seed)
    network = registry.build(ARCHITECTURE, **PARAMETERS)
    protocol = Protocol(batch_size=BATCH, seed=source.seed, learning_rate=2e-3)
    if source.epochs:
        train_source(network, _source_data(source), protocol, epochs=source.epochs, progress=progress)
    write_weights(network, path)
    steps[source.name] = (1, 1)


def write_weights(network: registry.Network, path: Path) -> None:
    """Write under another name, then rename, so that a file that is there is whole."""
    partial = path.with_suffix(".part")
    save_file({key: value.contiguous() for key, value in network.module.state_dict().items()}, partial)
    partial.rename(path)


def source_data(images: NDArray[np.uint8], labels: NDArray[np.integer], *, task: str) -> Target:
    """Images (N, C, [D,] H, W) and class indices as data to train a source on: all of it is training data."""
    return Target(
        task=target_task(task),
        spatial_dims=images.ndim - 2,
        images=images,
        labels=labels.astype(np.int64),
        classes=tuple(range(int(labels.max()) + 1)),
        split=np.full(len(images), "train"),
        groups=np.arange(len(images)),
        value_range=(0.0, 255.0),
        spacing=None,
        fingerprint="",
        warnings=(),
    )


def _source_data(source: Source) -> Target:
    images, vessels, discs = photographs(source.domain, SOURCE_IMAGES, seed=source.seed)
    return source_data(np.moveaxis(images, -1, 1), source.masks(vessels, discs), task="segmentation")
