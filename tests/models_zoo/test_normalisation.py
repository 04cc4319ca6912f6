"""Bringing images to the scale of a checkpoint's source."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from monai.transforms import NormalizeIntensity, ScaleIntensityRange, ScaleIntensityRangePercentiles

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
    [
        ({"scale": "half"}, "scale"),
        ({"std": (0.0,)}, "std"),
        ({"mean": (float("nan"),)}, "mean"),
        ({"clip": (1.0,)}, "clip"),
        ({"clip": (240.0, -160.0)}, "clip"),
        ({"clip": (0.0, float("inf"))}, "clip"),
        ({"window": (40.0, 0.0)}, "window"),
        ({"percentiles": (-1.0, 99.0)}, "percentiles"),
        ({"percentiles": (99.0, 1.0)}, "percentiles"),
        ({"clip": (0.0, 1.0), "percentiles": (1.0, 99.0)}, "percentiles: clip is given too"),
        ({"nonzero": True}, "nonzero"),
    ],
)
def test_an_unusable_rule_is_refused(settings: dict[str, object], field: str) -> None:
    with pytest.raises(ZooError, match=rf"normalisation\.{field}"):
        Normalisation(**settings)  # type: ignore[arg-type]


def scan(*, channels: int = 2) -> torch.Tensor:
    """A volume in Hounsfield units, a third of it stored as 0."""
    random = np.random.default_rng(0)
    values = random.normal(40, 300, (channels, 6, 7, 8)).round()
    return torch.from_numpy(np.where(random.random(values.shape) < 1 / 3, 0, values).astype(np.int16))


@pytest.mark.parametrize(
    ("rule", "oracle"),
    [
        (Normalisation(clip=(-160, 240)), ScaleIntensityRange(-160, 240, 0, 1, clip=True)),
        (Normalisation(window=(40, 400)), ScaleIntensityRange(-160, 240, 0, 1, clip=True)),
        (
            Normalisation(percentiles=(5, 95)),
            ScaleIntensityRangePercentiles(5, 95, 0, 1, clip=True, channel_wise=True),
        ),
        (
            Normalisation("zscore", nonzero=True),
            NormalizeIntensity(nonzero=True, channel_wise=True, dtype=np.float64),
        ),
        (
            Normalisation("none", clip=(-100, 200), mean=(50, 60), std=(10, 20)),
            lambda image: NormalizeIntensity([50, 60], [10, 20], channel_wise=True)(image.clamp(-100, 200)),
        ),
    ],
    ids=["clip", "window", "percentiles", "nonzero", "nnunet-ct"],
)
def test_limits_and_nonzero_are_those_of_monai(
    rule: Normalisation, oracle: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    image = scan()
    scaled = normalise(image[None], rule, value_range=(-1024, 3071))[0]
    torch.testing.assert_close(scaled, torch.as_tensor(oracle(image.float())).float(), atol=1e-5, rtol=1e-5)


def test_zeros_that_are_kept_stay_zero_also_with_a_mean_and_a_deviation() -> None:
    image = torch.tensor([[[0.0, 2.0, 4.0, 6.0]]])
    rule = Normalisation("zscore", mean=(1.0,), std=(2.0,), nonzero=True)
    scaled = normalise(image[None], rule, value_range=EIGHT_BIT)[0, 0, 0]
    assert scaled[0] == 0
    assert scaled[1:].mean() == pytest.approx(-0.5)


def test_percentiles_of_nonzero_voxels_leave_the_background_at_zero() -> None:
    image = scan(channels=1)
    scaled = normalise(image[None], Normalisation(percentiles=(0, 100), nonzero=True), value_range=EIGHT_BIT)[0]
    assert (scaled[image == 0] == 0).all()
    voxels = image[image != 0].double()
    expected = (voxels - voxels.min()) / (voxels.max() - voxels.min())
    torch.testing.assert_close(scaled[image != 0], expected.float())


@pytest.mark.parametrize("scale", ["unit", "zscore"])
def test_an_image_of_zeros_stays_zero(scale: str) -> None:
    rule = Normalisation(scale, percentiles=(1, 99), nonzero=True)
    assert not normalise(torch.zeros(1, 2, 4, 5), rule, value_range=EIGHT_BIT).any()
