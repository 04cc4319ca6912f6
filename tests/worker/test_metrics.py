"""Metrics agree with the libraries that define them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from worker.science.metrics import SegmentationTally, classification_metrics


def _tally(probabilities: torch.Tensor, masks: torch.Tensor) -> dict[str, float]:
    tally = SegmentationTally(probabilities.shape[1])
    for probability, mask in zip(probabilities, masks, strict=True):
        tally.add(probability, mask)
    return tally.metrics()


@pytest.mark.parametrize("spread", [0.3, 3.0, 9.0])
def test_average_precision_is_scikit_learns_to_half_precision(spread: float) -> None:
    torch.manual_seed(0)
    masks = (torch.rand(3, 40, 40) > 0.9).long() + (torch.rand(3, 40, 40) > 0.95).long()
    logits = torch.randn(3, 3, 40, 40) * spread + torch.nn.functional.one_hot(masks, 3).movedim(-1, 1)
    probabilities = logits.softmax(1)
    expected = np.mean(
        [average_precision_score(masks.flatten() == c, probabilities[:, c].flatten()) for c in (1, 2)]
    )
    assert _tally(probabilities, masks)["average_precision"] == pytest.approx(expected, abs=2e-3)


def test_dice_leaves_out_classes_that_an_image_does_not_have() -> None:
    masks = torch.zeros(2, 8, 8, dtype=torch.long)
    masks[0, :4] = 1
    perfect = torch.nn.functional.one_hot(masks, 3).movedim(-1, 1).float()
    assert _tally(perfect, masks)["dice"] == 1.0
    half = perfect.clone()
    half[0, :, :2] = torch.tensor([1.0, 0.0, 0.0])[:, None, None]
    assert _tally(half, masks)["dice"] == pytest.approx(2 / 3)


def test_without_any_foreground_there_is_no_metric() -> None:
    masks = torch.zeros(2, 8, 8, dtype=torch.long)
    found = _tally(torch.full((2, 2, 8, 8), 0.5), masks)
    assert math.isnan(found["dice"])
    assert math.isnan(found["average_precision"])


def test_classification_over_the_classes_present() -> None:
    labels = torch.tensor([0, 0, 2, 2])
    probabilities = torch.tensor([[0.8, 0.1, 0.1], [0.4, 0.3, 0.3], [0.1, 0.1, 0.8], [0.5, 0.3, 0.2]])
    found = classification_metrics(probabilities, labels)
    assert found["accuracy"] == 0.75
    assert found["balanced_accuracy"] == 0.75
    assert found["auc"] == pytest.approx(0.75)
