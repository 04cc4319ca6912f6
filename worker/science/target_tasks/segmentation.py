"""Segmentation: one class for every voxel, 0 being the background."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.losses import DiceCELoss
from monai.metrics import compute_dice
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from models_zoo.architecture import Outputs
from worker.science.errors import ScienceError
from worker.science.metrics import AVERAGE_PRECISION, Metric, log_odds, mean_or_nan
from worker.science.target_tasks.class_labels import (
    checked_classes,
    class_balance,
    decoded_classes,
    integers,
    reindexed,
)
from worker.science.target_tasks.registry import LabelKind, Labels, Loss, Standard, TargetTask, register
from worker.science.target_tasks.tally import Judged

FIELD = "masks"
MANY_CLASSES = 16  # a mask with more values was probably interpolated
PLACES = 1 << 16  # half-precision numbers, in ascending order
LARGEST = 65504.0  # of them
VOXELS = 1 << 18  # taken to float64 at a time
Counts = NDArray[np.int64]


def _decode(stored: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    return decoded_classes(stored, field=FIELD, shape=(shape[0], *shape[2:]))


def _check(masks: NDArray[Any], split: NDArray[np.str_]) -> Labels:
    classes, places = reindexed(masks, split, field=FIELD, always=(0,))
    if not places[split == "train"].any():
        raise ScienceError(f"{FIELD}: no foreground in any training image; store class numbers from 1")
    warnings = checked_classes(places, classes, split, field=FIELD)
    empty = sum(not mask.any() for mask in places)
    if empty:
        warnings.append(
            f"{empty} images have no foreground: whatever a network paints there counts as a Dice of 0"
        )
    if len(classes) > MANY_CLASSES:
        warnings.append(f"{len(classes)} different values in the masks: were they interpolated, or saved as JPEG?")
    return Labels(places, classes, warnings)


def _loss() -> Loss:
    """Dice plus cross-entropy over the foreground classes, of raw outputs (B, C, ...) and masks (B, ...)."""
    dice = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
    return lambda outputs, masks: dice(outputs, masks[:, None])


class SegmentationTally:
    """Mean Dice over images and foreground classes, and average precision over their voxels, image by image.

    The Dice of a class that an image does not have is 0 where the network paints it (as in nnU-Net). Where the
    network is silent too, `dice` leaves the pair out, and `dice_empty_one` counts it as 1 (MONAI, ignore_empty
    False). Average precision leaves out a class that no image has. NaN: there is nothing to count. Log-odds are
    counted by their value in half precision (a relative step of 2^-11), so that no voxel has to be kept.
    """

    def __init__(self, classes: int) -> None:
        self._overlaps: list[Tensor] = []  # of every image, its foreground classes; silence counts as 1
        self._silent: list[Tensor] = []  # where neither the mask nor the network has the class
        self._counts = np.zeros((classes, 2, PLACES), dtype=np.int64)  # class, is it true, value

    def update(self, outputs: Tensor, labels: Tensor) -> None:
        """Count a batch: raw outputs (B, C, [D,] H, W) and class indices (B, [D,] H, W)."""
        for of_image, mask in zip(outputs, labels, strict=True):
            self.add(of_image, mask)

    def compute(self) -> Judged:
        """Metrics of everything that was counted, and the Dice of each image."""
        return Judged(self.metrics(), self.cases())

    def add(self, outputs: Tensor, mask: Tensor) -> None:
        """Count one image: raw outputs (C, [D,] H, W) and its class indices ([D,] H, W)."""
        overlap, silent = _image_dice(outputs, mask)
        self._overlaps.append(overlap)
        self._silent.append(silent)
        pieces = zip(outputs.flatten(1).split(VOXELS, dim=1), mask.flatten().split(VOXELS), strict=True)
        for piece, true in pieces:
            places = _places(log_odds(piece))  # (C, V)
            for index in range(1, len(self._counts)):
                chosen = (true == index) * PLACES + places[index]
                self._counts[index] += chosen.bincount(minlength=2 * PLACES).view(2, PLACES).numpy()

    def metrics(self) -> dict[str, float]:
        """Metrics of everything that was counted so far."""
        overlaps, silent = torch.cat(self._overlaps), torch.cat(self._silent)
        return {
            DICE.name: float(overlaps[~silent].mean()),  # NaN for no pair
            DICE_EMPTY_ONE.name: float(overlaps.mean()),
            "average_precision": mean_or_nan(
                _average_precision(*counts) for counts in self._counts[1:] if counts[1].any()
            ),
        }

    def cases(self) -> list[float]:
        """The `dice` of every image; NaN where neither its mask nor the network has any foreground."""
        return [
            float(overlap[~silent].mean()) for overlap, silent in zip(self._overlaps, self._silent, strict=True)
        ]


def _places(values: Tensor) -> Tensor:
    """The place of each value among the numbers of half precision, 0 to PLACES - 1, of the same shape."""
    bits = values.clamp(-LARGEST, LARGEST).half().view(torch.int16).long()
    return torch.where(bits < 0, -1 - (bits & 0x7FFF), bits) + PLACES // 2  # the bits of x >= 0 order like x


def _image_dice(outputs: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Dice of each foreground class, 1 for silence on a class that is not there, and where that is so."""
    classes = outputs.shape[0]
    predicted, true = (
        one_hot(labels.long(), classes).movedim(-1, 0)[None] for labels in (outputs.argmax(0), mask)
    )
    overlap = compute_dice(predicted, true, include_background=False, ignore_empty=False).flatten()
    silent = ~(predicted + true)[0, 1:].flatten(1).any(1)
    return overlap, silent


def _average_precision(negatives: Counts, positives: Counts) -> float:
    """Sum of precision times gained recall over falling thresholds, from counts per value, lowest first."""
    hits, all_above = np.cumsum(positives[::-1]), np.cumsum((positives + negatives)[::-1])
    gained = positives[::-1] / hits[-1]
    return float((gained * hits / np.maximum(all_above, 1)).sum())


def _tally(outputs: int, standard: Standard | None) -> SegmentationTally:
    return SegmentationTally(outputs)


DICE = Metric(
    "dice",
    "Dice overlap of each foreground class in each image, mean over all. A class that an image does not have "
    "counts as 0 where it is predicted, and is left out where it is not.",
    lowest=0.0,
    highest=1.0,
    preference=1,
)
DICE_EMPTY_ONE = Metric(
    "dice_empty_one",
    "Dice overlap of each foreground class in each image, mean over all. A class that an image does not have "
    "counts as 0 where it is predicted, and as 1 where it is not.",
    lowest=0.0,
    highest=1.0,
)
SEGMENTATION = register(
    TargetTask(
        name="segmentation",
        summary="One class for every voxel.",
        field=FIELD,
        label_kind=LabelKind.CLASS,
        outputs=Outputs.VOXEL,
        head="softmax",
        primary=DICE,
        threshold_free=AVERAGE_PRECISION,
        further_metrics=(DICE_EMPTY_ONE,),
        decode=_decode,
        check=_check,
        describe=class_balance,
        tensor=integers,
        loss=_loss,
        tally=_tally,
    )
)
