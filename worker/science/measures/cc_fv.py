"""CC-FV: classes that look the same in every image, images that look different (Yang et al., MICCAI 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy.spatial.distance import pdist

from worker.science.errors import NotApplicableError
from worker.science.evidence.parts import Evidence, Part, Stage, gathered
from worker.science.measures.registry import Score, register
from worker.science.measures.samples import Array, checked_features

SOFTENING = 1e-3  # added to squared distances between images, as in the public code
PAPER = "Yang et al., MICCAI 2023"
Cloud = tuple[Array, Array]  # a class's voxels in one image: mean (D,), and a root of the covariance (r, D)


@dataclass(frozen=True)
class StageConsistency:
    """W_cons and the hyperspherical energy of one stage; F_v is 1 / energy."""

    consistency: float  # mean Wasserstein distance of a class between two images: lower is better
    energy: float  # mean 1 / distance between the images' mean features: lower is more varied
    classes: int
    images: int


@register(title="CC-FV", source=f"{PAPER}, mean over decoder stages", needs={Part.STAGES})
def cc_fv(evidence: Evidence) -> Score:
    """log(F_v / W_cons), mean over decoder stages, F_v = 1 / energy: as published. Unchanged by scale.

    The mean and not the sum, so that networks with more stages have no other level.
    """
    return _score(evidence, sign=-1.0)


@register(
    title="CC-FV with energy",
    source=f"{PAPER}, F_v = energy, as its code has it, mean over decoder stages",
    needs={Part.STAGES},
)
def cc_fv_energy(evidence: Evidence) -> Score:
    """log(energy / W_cons), mean over decoder stages: the other sign, under which variety lowers the score."""
    return _score(evidence, sign=1.0)


def _score(evidence: Evidence, *, sign: float) -> Score:
    found = evidence.once(_consistencies)
    value = float(np.mean([log_ratio(consistency, sign=sign) for _, consistency in found]))
    return Score(value, record={"stages": {stage.name: _record(stage, of_stage) for stage, of_stage in found}})


def _consistencies(evidence: Evidence) -> list[tuple[Stage, StageConsistency]]:
    """Every stage with its figures, which both signs are computed from; the distances take nearly all the time."""
    stages = gathered(evidence.stages, Part.STAGES)
    if not stages:
        raise NotApplicableError("CC-FV needs decoder stages and training images with foreground")
    return [(stage, stage_consistency(stage)) for stage in stages]


def _record(stage: Stage, consistency: StageConsistency) -> dict[str, Any]:
    rows, width = stage.values.shape
    counted = {"N": rows, "D": width, "C": consistency.classes, "images": consistency.images, "scale": stage.scale}
    return counted | {"consistency": consistency.consistency, "energy": consistency.energy}


def log_ratio(stage: StageConsistency, *, sign: float = -1.0) -> float:
    """log(F_v / W_cons) of one stage; sign -1: F_v = 1 / energy, +1: F_v = energy."""
    if stage.consistency == 0.0:
        raise NotApplicableError("a class has the same features in every image; a stage does not respond")
    return float(sign * np.log(stage.energy) - np.log(stage.consistency))


def stage_consistency(stage: Stage) -> StageConsistency:
    """W_cons over all pairs of images and foreground classes, and the energy over all pairs of images."""
    values = checked_features(stage.values).astype(np.float64)
    labels, images = stage.labels.numpy(), stage.images.numpy()
    by_class = [
        [values[(images == image) & (labels == label)] for image in np.unique(images[labels == label])]
        for label in np.unique(labels[labels > 0])
    ]
    pairs = [
        class_distances([gaussian(voxels) for voxels in per_image if len(voxels) > 1]) for per_image in by_class
    ]
    means = np.stack([values[images == image].mean(0) for image in np.unique(images)])
    if not any(map(len, pairs)):
        raise NotApplicableError("no foreground class has two voxels in each of two training images")
    consistency = np.mean([np.mean(distances) for distances in pairs if len(distances)])
    return StageConsistency(float(consistency), energy(means), sum(bool(len(p)) for p in pairs), len(means))


def energy(means: Array) -> float:
    """Mean over pairs of the images' mean features (I, D) of 1 / sqrt(distance^2 + SOFTENING)."""
    return float(np.mean(1 / np.sqrt(pdist(means, "sqeuclidean") + SOFTENING)))


def gaussian(voxels: Array) -> Cloud:
    """Mean (D,) and a triangular root R (r, D), R^T R the covariance (ddof 1), of voxels (n, D), n >= 2."""
    mean = voxels.mean(0)
    root: Array = np.linalg.qr((voxels - mean) / np.sqrt(len(voxels) - 1), mode="r")  # type: ignore[assignment]
    return mean, root


def class_distances(clouds: list[Cloud]) -> list[float]:
    """Wasserstein-2 distances between every two of them."""
    return [wasserstein(one, other) for one, other in combinations(clouds, 2)]


def wasserstein(one: Cloud, other: Cloud) -> float:
    """sqrt(|m - m'|^2 + tr(S + S' - 2 (S S')^(1/2))) of two Gaussians.

    The last trace is that of the symmetric (S'^(1/2) S S'^(1/2))^(1/2): the sum of the singular values of R R'^T
    for any roots S = R^T R, so no complex number and no D x D root is needed.
    """
    (mean, root), (other_mean, other_root) = one, other
    shared = np.linalg.svd(root @ other_root.T, compute_uv=False).sum()
    squared = np.square(mean - other_mean).sum() + np.square(root).sum() + np.square(other_root).sum() - 2 * shared
    return float(np.sqrt(max(squared, 0.0)))
