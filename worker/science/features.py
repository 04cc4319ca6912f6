"""Frozen features of one stage: pooled per image, or at sampled voxels that are the same for every candidate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from models_zoo.registry import Network
from worker.science.batches import Feeder, Indices
from worker.science.errors import ScienceError
from worker.science.evidence import Features
from worker.science.specs import Progress

FROZEN_EPOCH = 0  # the frozen pass sees the crops of the first epoch
INTERPOLATION = {1: "linear", 2: "bilinear", 3: "trilinear"}


def stage_of(network: Network, feeder: Feeder) -> str:
    """The stage that features are taken from: the protocol's, else the encoder or the last decoder stage."""
    wanted = feeder.protocol.stage
    if wanted is None:
        return list(network.stages)[-1] if feeder.data.task == "segmentation" else "encoder"
    if wanted not in network.stages:
        raise ScienceError(f"stage: the network has no {wanted!r}; it has {', '.join(network.stages)}")
    return wanted


@contextmanager
def _output_of(module: nn.Module, path: str) -> Iterator[list[Tensor]]:
    caught: list[Tensor] = []
    handle = module.get_submodule(path).register_forward_hook(lambda _, __, output: caught.append(output))
    try:
        yield caught
    finally:
        handle.remove()


@torch.no_grad()
def frozen_features(network: Network, feeder: Feeder, progress: Progress) -> Features:
    """One pass in evaluation mode (source running statistics) over the training split.

    Classification: the stage's output averaged over space, one row an image. Segmentation: the stage's output,
    interpolated linearly, at the voxels that `sample_voxels` draws. Divided by one scalar, the root mean square
    of the centred features.
    """
    stage = stage_of(network, feeder)
    train = feeder.data.indices("train")
    voxels = sample_voxels(feeder, train) if feeder.data.task == "segmentation" else None
    values, labels, groups = [], [], []
    network.module.eval()
    size = feeder.protocol.batch_size
    with _output_of(network.module, network.stages[stage]) as caught:
        for start in range(0, len(train), size):
            progress("features", start, len(train))
            indices = train[start : start + size]
            images, truth = feeder.batch(indices, epoch=FROZEN_EPOCH)
            padded = feeder.pad(images)
            network.module(padded)
            maps = caught.pop().float()
            if voxels is None:
                values.append(maps.flatten(2).mean(-1))
                labels.append(truth)
                groups.append(feeder.data.groups[indices])
                continue
            maps = F.interpolate(
                maps, padded.shape[2:], mode=INTERPOLATION[feeder.data.spatial_dims], align_corners=False
            )
            for row, index in enumerate(indices):
                places = torch.from_numpy(voxels[start + row]).to(maps.device)
                valid = maps[row][(slice(None), *(slice(side) for side in images.shape[2:]))]
                values.append(valid.flatten(1)[:, places].T)
                labels.append(truth[row].flatten()[places.cpu()])
                groups.append(np.full(len(places), feeder.data.groups[index]))
    return _scaled(torch.cat(values).cpu(), torch.cat(labels), np.concatenate(groups), stage)


def _scaled(values: Tensor, labels: Tensor, groups: NDArray[np.int64], stage: str) -> Features:
    if not values.isfinite().all():
        raise ScienceError(
            f"features: the {stage} stage gives NaN or infinite values; check the card's normalisation, and "
            "that the checkpoint's run did not diverge"
        )
    if not len(values):
        raise ScienceError("crop: no training crop has any foreground; choose a larger crop, or leave it out")
    centred = values.double() - values.double().mean(0)
    scale = float(centred.square().mean().sqrt()) or 1.0
    return Features(values / scale, labels, torch.from_numpy(groups), scale, stage)


def sample_voxels(feeder: Feeder, indices: Indices) -> list[Indices]:
    """Flat voxel positions in each image's crop, sorted; they depend on data and protocol only.

    Per image as many voxels of every present class (at most `voxels_per_class`), background at most as many as
    the largest foreground class has; the number per class shrinks until `voxels_total` is kept.
    """
    masks = [
        feeder.data.labels[(index, *feeder.crop_of(int(index), epoch=FROZEN_EPOCH))].ravel() for index in indices
    ]
    counts = np.stack([np.bincount(mask, minlength=len(feeder.data.classes)) for mask in masks])
    counts[:, 0] = np.minimum(counts[:, 0], counts[:, 1:].max(axis=1))
    per_class = _fitting(counts, feeder.protocol.voxels_per_class, feeder.protocol.voxels_total)
    drawn = []
    for index, mask, present in zip(indices, masks, counts, strict=True):
        random = np.random.default_rng((feeder.protocol.seed, int(index)))
        places = [
            random.choice(np.flatnonzero(mask == label), min(per_class, count), replace=False)
            for label, count in enumerate(present)
            if count
        ]
        drawn.append(np.sort(np.concatenate(places)) if places else np.empty(0, dtype=np.int64))
    return drawn


def _fitting(counts: NDArray[np.int64], per_class: int, total: int) -> int:
    """The largest number per class, at most `per_class`, that draws no more than `total` voxels (at least 1)."""
    low, high = 1, per_class
    while low < high:
        middle = (low + high + 1) // 2
        if np.minimum(counts, middle).sum() <= total:
            low = middle
        else:
            high = middle - 1
    return low
