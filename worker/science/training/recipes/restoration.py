"""Restoration: a network restores images whose places, intensities and regions were corrupted.

Zhou et al., Models Genesis, MICCAI 2019 and Medical Image Analysis 2021.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from worker.science.data.target import Target
from worker.science.errors import ScienceError
from worker.science.training.objective import Batch
from worker.science.training.options import Option, Options
from worker.science.training.recipe import Attained, Pretext, Recipe, register
from worker.science.training.target_objective import raw_outputs
from worker.science.training.validation import autocast

Image = NDArray[np.float32]  # (C, [D,] H, W), values from 0 to 1
Mask = NDArray[np.bool_]  # ([D,] H, W)
Curve = tuple[NDArray[np.float64], NDArray[np.float64]]  # rising x from 0 to 1, and y at each

FLIP = 0.4  # probability of each flip
FLIPS = {2: 1, 3: 3}  # at most so many, by spatial dimensions
WINDOWS_2D = 500  # shuffled windows of an image
WINDOWS_3D = 10_000  # shuffled windows of a volume of VOXELS_3D or more; in proportion below
VOXELS_3D = 64 * 64 * 32
NEXT_WINDOW = 0.95  # probability that one more region is painted, or kept
IN_PAINTED = 5  # regions at most
KEPT = 4  # regions at most, after the first
MARGIN = 3  # least distance of a region from the border, less in small images

OPTIONS = (
    Option("shuffle", 0.5, "Probability that voxels are shuffled within small windows.", lowest=0.0, highest=1.0),
    Option("curve", 0.9, "Probability that intensities are mapped by a random curve.", lowest=0.0, highest=1.0),
    Option("paint", 0.9, "Probability that regions are replaced by noise.", lowest=0.0, highest=1.0),
    Option(
        "in_paint",
        0.2,
        "Share of the painted images in which the noise is inside; in the others it is all around.",
        lowest=0.0,
        highest=1.0,
    ),
)


def outputs(data: Target) -> int:
    """The network gives back as many channels as the image has."""
    return data.channels


def sample(image: Tensor, generator: np.random.Generator, options: Options) -> Batch:
    """The corrupted crop and the crop that it is to become, each (C, [D,] H, W) from 0 to 1."""
    if image.min() < 0 or image.max() > 1:
        raise ScienceError(
            "normalisation: restoration needs values from 0 to 1; use the scale 'unit' without mean and std"
        )
    clean = flipped(image.numpy(), generator)
    corrupted = clean
    if generator.random() < float(options["shuffle"]):
        corrupted = shuffled(corrupted, generator)
    if generator.random() < float(options["curve"]):
        corrupted = np.interp(corrupted, *random_curve(generator)).astype(np.float32)
    if generator.random() < float(options["paint"]):
        inside = generator.random() < float(options["in_paint"])
        places = (
            inside_places(clean.shape[1:], generator) if inside else outside_places(clean.shape[1:], generator)
        )
        noise = generator.random(clean.shape, dtype=np.float32)
        corrupted = np.where(places, noise, corrupted)
    return torch.from_numpy(corrupted.copy()), torch.from_numpy(clean.copy())


def flipped(image: Image, generator: np.random.Generator) -> Image:
    """The image flipped along random spatial axes."""
    dims = image.ndim - 1
    for _ in range(FLIPS[dims]):
        if generator.random() >= FLIP:
            break
        image = np.flip(image, axis=1 + int(generator.integers(dims)))
    return image


def shuffled(image: Image, generator: np.random.Generator) -> Image:
    """A copy in which windows of at most a tenth of each side hold the image's own voxels in random order.

    Windows read from `image`, so that where they overlap the last one counts; a voxel keeps its channels.
    """
    size = np.array(image.shape[1:])
    voxels = int(size.prod())
    count = WINDOWS_2D if len(size) == 2 else min(WINDOWS_3D, round(WINDOWS_3D * voxels / VOXELS_3D))
    lengths = generator.integers(1, np.maximum(size // 10, 1), size=(count, len(size)), endpoint=True)
    starts = generator.integers(0, size - lengths, endpoint=True)
    result = image.copy()
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        window = (slice(None), *(slice(at, at + side) for at, side in zip(start, length, strict=True)))
        block = image[window]
        flat = block.reshape(len(block), -1)
        result[window] = flat[:, generator.permutation(flat.shape[1])].reshape(block.shape)
    return result


def random_curve(generator: np.random.Generator) -> Curve:
    """A monotone map of 0..1 onto itself: a cubic Bezier curve with random inner points, rising or falling.

    Both coordinates of such a curve rise with its parameter wherever the inner points lie in the unit square.
    """
    t = np.linspace(0, 1, 1000)
    inner = generator.random((2, 2))  # (point, coordinate)
    weights = np.stack((3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t)))
    x, y = inner.T @ weights + t**3
    return x, y if generator.random() < 0.5 else y[::-1]


def inside_places(size: Sequence[int], generator: np.random.Generator) -> Mask:
    """Some regions with sides of a sixth to a third of the image's."""
    places = np.zeros(size, dtype=np.bool_)
    for _ in range(IN_PAINTED):
        if generator.random() >= NEXT_WINDOW:
            break
        places[_region(size, [(side // 6, side // 3) for side in size], generator)] = True
    return places


def outside_places(size: Sequence[int], generator: np.random.Generator) -> Mask:
    """Everything but some regions with sides of three to four sevenths of the image's."""
    bounds = [(side - 4 * side // 7, side - 3 * side // 7) for side in size]
    places = np.ones(size, dtype=np.bool_)
    places[_region(size, bounds, generator)] = False
    for _ in range(KEPT):
        if generator.random() >= NEXT_WINDOW:
            break
        places[_region(size, bounds, generator)] = False
    return places


def _region(
    size: Sequence[int], bounds: Sequence[tuple[int, int]], generator: np.random.Generator
) -> tuple[slice, ...]:
    """A box whose sides lie within `bounds`, inclusive, at a random place away from the border."""
    region = []
    for side, (low, high) in zip(size, bounds, strict=True):
        length = max(1, int(generator.integers(low, high, endpoint=True)))
        margin = min(MARGIN, side // 8)
        start = int(generator.integers(margin, side - length - margin, endpoint=True))
        region.append(slice(start, start + length))
    return tuple(region)


def restored(pretext: Pretext, corrupted: Tensor) -> Tensor:
    """What the network makes of corrupted images: (B, C, [D,] H, W) from 0 to 1."""
    with autocast(pretext.loader):
        return raw_outputs(pretext.network.module, pretext.loader, corrupted).sigmoid()


def loss(pretext: Pretext, batch: Batch) -> Tensor:
    """Mean squared error over all voxels."""
    corrupted, clean = batch
    return F.mse_loss(restored(pretext, corrupted), clean)


def progress(pretext: Pretext, batches: Iterable[Batch]) -> Attained:
    """Mean squared error of the validation images, beside that of each channel's mean and of the input itself."""
    channels = pretext.loader.data.channels
    error = copied = 0.0
    total, squares = torch.zeros(2, channels, dtype=torch.float64)
    voxels = 0  # of one channel
    for corrupted, clean in batches:
        error += float((restored(pretext, corrupted) - clean).double().square().sum())
        copied += float((corrupted - clean).double().square().sum())
        by_channel = clean.double().cpu().movedim(1, 0).flatten(1)
        total += by_channel.sum(dim=1)
        squares += by_channel.square().sum(dim=1)
        voxels += by_channel.shape[1]
    variance = squares / voxels - (total / voxels) ** 2
    values = voxels * channels
    chance = {"predict each channel's mean": float(variance.mean()), "copy the input": copied / values}
    return Attained("mean_squared_error", error / values, chance, lower_is_better=True)


RESTORATION = register(
    Recipe(
        "restoration",
        "restores flipped, shuffled, recoloured and painted images (Models Genesis)",
        outputs,
        loss,
        progress,
        sample,
        options=OPTIONS,
    )
)
