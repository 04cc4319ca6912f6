"""Bringing images to the scale of a checkpoint's source."""

from __future__ import annotations

import pytest
import torch

from models_zoo.card import Normalisation, normalise
from models_zoo.errors import ZooError

EIGHT_BIT = (0.0, 255.0)


def test_unit_maps_the_value_range_and_not_the_images_own() -> None:
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 1, 3)
    unit = normalise(images, Normalisation("unit"), value_range=EIGHT_BIT)
    assert unit.dtype == torch.float32
    assert unit.flatten().tolist() == pytest.approx([0, 0.2, 1])
    hounsfield = torch.tensor([-1000.0, 0, 1000]).reshape(1, 1, 1, 1, 3)
    shifted = normalise(hounsfield, Normalisation("unit"), value_range=(-1000, 1000))
    assert shifted.flatten().tolist() == pytest.approx([0, 0.5, 1])


def test_none_only_changes_the_type() -> None:
    images = torch.tensor([[[[7, 250]]]], dtype=torch.uint8)
    assert normalise(images, Normalisation("none"), value_range=EIGHT_BIT).flatten().tolist() == [7, 250]


@pytest.mark.parametrize("shape", [(2, 3, 8, 6), (2, 1, 5, 4, 6)])
def test_zscore_is_per_image_and_channel(shape: tuple[int, ...]) -> None:
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 90 + 1000
    scaled = normalise(images, Normalisation("zscore"), value_range=EIGHT_BIT)
    assert scaled.shape == images.shape
    std, mean = torch.std_mean(scaled.flatten(2), dim=2, correction=0)
    torch.testing.assert_close(mean, torch.zeros(shape[:2]), atol=1e-5, rtol=0)
    torch.testing.assert_close(std, torch.ones(shape[:2]))
    alone = normalise(images[:1, :1], Normalisation("zscore"), value_range=EIGHT_BIT)
    torch.testing.assert_close(alone, scaled[:1, :1])


@pytest.mark.parametrize("value", [0.0, 0.1, 1000.1, -3e30, 1e-30])
def test_zscore_of_a_constant_image_is_zero(value: float) -> None:
    scaled = normalise(torch.full((1, 2, 9, 7), value), Normalisation("zscore"), value_range=EIGHT_BIT)
    assert torch.equal(scaled, torch.zeros(1, 2, 9, 7))


def test_zscore_does_not_hide_nan() -> None:
    images = torch.tensor([[[[1.0, float("nan")]]]])
    assert normalise(images, Normalisation("zscore"), value_range=EIGHT_BIT).isnan().all()


def test_mean_and_std_follow_the_scale_per_channel() -> None:
    images = torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 2, 1, 1)
    rule = Normalisation("unit", mean=(0.5, 0.25), std=(0.5, 0.25))
    assert normalise(images, rule, value_range=EIGHT_BIT).flatten().tolist() == pytest.approx([-1, 3])
    only_mean = Normalisation("unit", mean=(0.5, 0.25))
    assert normalise(images, only_mean, value_range=EIGHT_BIT).flatten().tolist() == pytest.approx([-0.5, 0.75])


@pytest.mark.parametrize("field", ["mean", "std"])
def test_a_wrong_number_of_values_is_named(field: str) -> None:
    rule = Normalisation("unit", **{field: (0.5, 0.5)})
    with pytest.raises(ZooError, match=rf"normalisation\.{field}: 2 values for 3 channels"):
        normalise(torch.zeros(1, 3, 2, 2), rule, value_range=EIGHT_BIT)


def test_an_empty_value_range_is_refused() -> None:
    with pytest.raises(ZooError, match="value_range"):
        normalise(torch.zeros(1, 1, 2, 2), Normalisation("unit"), value_range=(5, 5))


@pytest.mark.parametrize(
    ("settings", "field"),
    [({"scale": "half"}, "scale"), ({"std": (0.0,)}, "std"), ({"mean": (float("nan"),)}, "mean")],
)
def test_an_unusable_rule_is_refused(settings: dict[str, object], field: str) -> None:
    with pytest.raises(ZooError, match=rf"normalisation\.{field}"):
        Normalisation(**settings)  # type: ignore[arg-type]
