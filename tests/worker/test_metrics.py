"""Metrics agree with the libraries that define them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, f1_score, r2_score, roc_auc_score

from worker.science.metrics import log_odds
from worker.science.target_tasks import segmentation
from worker.science.target_tasks.classification import classification_metrics
from worker.science.target_tasks.multilabel import multilabel_metrics
from worker.science.target_tasks.regression import regression_cases, regression_metrics
from worker.science.target_tasks.segmentation import SegmentationTally


def _tally(outputs: torch.Tensor, masks: torch.Tensor) -> dict[str, float]:
    tally = SegmentationTally(outputs.shape[1])
    for of_image, mask in zip(outputs, masks, strict=True):
        tally.add(of_image, mask)
    return tally.metrics()


def odds_of(outputs: torch.Tensor, index: int) -> torch.Tensor:
    """log p / (1 - p) of one class from raw outputs (N, C, ...), by its definition."""
    raw = outputs.double()
    others = torch.cat((raw[:, :index], raw[:, index + 1 :]), 1)
    return raw[:, index] - others.logsumexp(1)


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("spread", [0.3, 3.0, 30.0, 300.0])
def test_log_odds_are_their_definition_however_sure(classes: int, spread: float) -> None:
    outputs = torch.randn(classes, 500, generator=torch.Generator().manual_seed(0)) * spread
    for index in range(classes):
        expected = odds_of(outputs.T, index)
        assert torch.allclose(log_odds(outputs)[index], expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(log_odds(torch.zeros(2, 3)), torch.zeros(2, 3).double())


@pytest.mark.parametrize("spread", [0.3, 3.0, 9.0, 30.0, 100.0])
def test_average_precision_is_scikit_learns_however_sure_the_network_is(spread: float) -> None:
    """Voxels with outputs far apart have probabilities that are 1 in half precision, and in float32."""
    torch.manual_seed(0)
    masks = (torch.rand(3, 40, 40) > 0.9).long() + (torch.rand(3, 40, 40) > 0.95).long()
    outputs = spread * (torch.randn(3, 3, 40, 40) + torch.nn.functional.one_hot(masks, 3).movedim(-1, 1))
    outputs[:, 0] -= 2 * spread  # sure of foreground nearly everywhere
    expected = np.mean(
        [average_precision_score(masks.flatten() == c, odds_of(outputs, c).flatten()) for c in (1, 2)]
    )
    assert _tally(outputs, masks)["average_precision"] == pytest.approx(expected, abs=5e-4)


def test_average_precision_of_a_large_image_is_that_of_its_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    masks, outputs = (torch.rand(1, 40, 40) > 0.9).long(), torch.randn(1, 2, 40, 40)
    whole = _tally(outputs, masks)
    monkeypatch.setattr(segmentation, "VOXELS", 300)
    assert _tally(outputs, masks) == whole


def test_area_of_a_classifier_whose_probabilities_are_all_1_is_that_of_its_log_odds() -> None:
    torch.manual_seed(0)
    labels = torch.arange(60) % 3
    outputs = 20 * (torch.randn(60, 3) + torch.nn.functional.one_hot(labels, 3))
    outputs[:, 0] += 60
    areas = [roc_auc_score(labels == index, odds_of(outputs, index)) for index in range(3)]
    assert classification_metrics(outputs, labels)["auc"] == pytest.approx(np.mean(areas), abs=1e-12)
    rounded = [roc_auc_score(labels == index, outputs.softmax(1)[:, index]) for index in range(3)]
    assert abs(np.mean(areas) - np.mean(rounded)) > 0.01


def test_dice_leaves_out_classes_that_nobody_has() -> None:
    masks = torch.zeros(2, 8, 8, dtype=torch.long)
    masks[0, :4] = 1
    perfect = torch.nn.functional.one_hot(masks, 3).movedim(-1, 1).float()
    assert _tally(perfect, masks)["dice"] == 1.0
    half = perfect.clone()
    half[0, :, :2] = torch.tensor([1.0, 0.0, 0.0])[:, None, None]
    assert _tally(half, masks)["dice"] == pytest.approx(2 / 3)


def sick_and_healthy() -> torch.Tensor:
    """Masks (4, 8, 8) of two images with a lesion and two without."""
    masks = torch.zeros(4, 8, 8, dtype=torch.long)
    masks[:2, :4] = 1
    return masks


def painted(masks: torch.Tensor) -> torch.Tensor:
    """Probabilities of a network that answers with these masks."""
    return torch.nn.functional.one_hot(masks, 2).movedim(-1, 1).float()


def test_what_is_painted_in_an_image_without_foreground_counts_as_0() -> None:
    masks = sick_and_healthy()
    timid, bold = masks.clone(), masks.clone()
    timid[:2, 2:4] = 0  # finds half of each lesion, and nothing in the healthy images
    bold[2:, :3] = 1  # finds the lesions whole, and paints a third of the healthy images
    assert _tally(painted(timid), masks)["dice"] == pytest.approx(2 / 3)
    assert _tally(painted(timid), masks)["dice_empty_one"] == pytest.approx((2 / 3 + 1) / 2)
    assert _tally(painted(bold), masks)["dice"] == _tally(painted(bold), masks)["dice_empty_one"] == 0.5


def test_an_image_without_foreground_has_a_case_where_something_is_painted() -> None:
    masks = sick_and_healthy()
    answers = masks.clone()
    answers[2, 0, 0] = 1
    tally = SegmentationTally(2)
    tally.update(20 * painted(answers), masks)
    assert tally.cases()[:3] == [1.0, 1.0, 0.0]
    assert math.isnan(tally.cases()[3])
    assert tally.metrics()["dice"] == pytest.approx(np.nanmean(tally.cases()))


def test_a_class_that_an_image_lacks_counts_as_0_where_it_is_painted() -> None:
    masks = torch.zeros(1, 8, 8, dtype=torch.long)
    masks[0, :4] = 1
    answers = masks.clone()
    answers[0, 7, 7] = 2
    found = _tally(torch.nn.functional.one_hot(answers, 3).movedim(-1, 1).float(), masks)
    assert found["dice"] == found["dice_empty_one"] == 0.5


def test_without_any_foreground_a_silent_network_has_no_dice() -> None:
    masks = torch.zeros(2, 8, 8, dtype=torch.long)
    found = _tally(torch.full((2, 2, 8, 8), 0.5), masks)
    assert math.isnan(found["dice"])
    assert found["dice_empty_one"] == 1.0
    assert math.isnan(found["average_precision"])


def test_classification_over_the_classes_present() -> None:
    labels = torch.tensor([0, 0, 2, 2])
    probabilities = torch.tensor([[0.8, 0.1, 0.1], [0.4, 0.3, 0.3], [0.1, 0.1, 0.8], [0.5, 0.3, 0.2]])
    found = classification_metrics(probabilities.log(), labels)
    assert found["accuracy"] == 0.75
    assert found["balanced_accuracy"] == 0.75
    assert found["auc"] == pytest.approx(0.75)


def test_labels_with_one_value_are_left_out() -> None:
    torch.manual_seed(0)
    labels = (torch.rand(40, 3) > 0.6).long()
    labels[:, 1] = 0
    logits = 2 * torch.randn(40, 3)
    found = multilabel_metrics(logits, labels)
    mixed, scores = labels[:, [0, 2]].numpy(), logits[:, [0, 2]].numpy()
    assert found["auc"] == pytest.approx(roc_auc_score(mixed, scores, average="macro"))
    assert found["average_precision"] == pytest.approx(average_precision_score(mixed, scores, average="macro"))
    assert found["f1"] == pytest.approx(f1_score(mixed, scores > 0, average="macro"))
    assert found["label_accuracy"] == pytest.approx(float(((logits > 0) == labels).double().mean()))
    nothing = multilabel_metrics(logits, torch.ones(40, 3).long())
    assert all(math.isnan(nothing[name]) for name in ("auc", "average_precision", "f1"))
    assert nothing["label_accuracy"] == pytest.approx(float((logits > 0).double().mean()))
    sure = multilabel_metrics(torch.tensor([[40.0], [50.0], [60.0]]), torch.tensor([[0], [1], [1]]))
    assert sure["auc"] == 1.0  # whose probabilities are all 1 in float32


def test_regression_metrics_are_the_libraries_and_errors_have_units() -> None:
    torch.manual_seed(0)
    values = torch.randn(30, 2).double()
    predicted = values + 0.5 * torch.randn(30, 2).double()
    found = regression_metrics(predicted, values, np.array([10.0, 0.1]))
    assert found["r2"] == pytest.approx(r2_score(values, predicted))
    expected = np.mean([spearmanr(values[:, i], predicted[:, i])[0] for i in (0, 1)])
    assert found["spearman"] == pytest.approx(expected)
    errors = (predicted - values).abs().mean(0) * torch.tensor([10.0, 0.1])
    assert found["mean_absolute_error_0"] == pytest.approx(float(errors[0]))
    assert found["mean_absolute_error_1"] == pytest.approx(float(errors[1]))
    cases = regression_cases(predicted, values)
    assert len(cases) == 30
    assert np.mean(cases) == pytest.approx(found["r2"])


def test_what_regression_can_not_say_is_nan() -> None:
    values = torch.tensor([[1.0], [2.0], [4.0]])
    still = regression_metrics(torch.full((3, 1), 2.0), values, np.ones(1))
    assert math.isnan(still["pearson"])
    assert math.isnan(still["spearman"])
    assert still["r2"] < 0
    assert still["mean_absolute_error"] == pytest.approx(1.0)
    for rows in (slice(0, 1), [0, 0]):  # one image, or one value
        found = regression_metrics(torch.zeros(3, 1)[rows], values[rows], np.ones(1))
        assert math.isnan(found["r2"])
        assert found["mean_absolute_error"] == pytest.approx(1.0)
        assert all(map(math.isnan, regression_cases(torch.zeros(3, 1)[rows], values[rows])))
    # a target that doesn't vary leaves the other's
    both = torch.cat((values, torch.ones(3, 1)), 1)
    assert regression_metrics(both, both, np.ones(2))["r2"] == 1.0
