"""Restoration corrupts as published, never what is to be restored, and is learnt."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch

from models_zoo import architecture as registry
from tests.worker.targets import loader, made, silent, target
from worker.science.errors import ScienceError
from worker.science.training.options import Options, complete_options
from worker.science.training.pretrain import pretrain
from worker.science.training.recipes.restoration import (
    RESTORATION,
    Image,
    flipped,
    inside_places,
    outside_places,
    random_curve,
    sample,
    shuffled,
)

SIZES = [(24, 20), (16, 20, 24)]
SEEDS = range(40)

both_dimensions = pytest.mark.parametrize("size", SIZES, ids=["2d", "3d"])


def options(**given: float) -> Options:
    return complete_options(RESTORATION.options, given, owner="restoration")


def picture(size: tuple[int, ...], *, channels: int = 2) -> Image:
    """Every value occurs once, so that a value says where it came from."""
    count = channels * int(np.prod(size))
    values = np.random.default_rng(0).permutation(count) / (count - 1)
    return values.reshape(channels, *size).astype(np.float32)


def samples(size: tuple[int, ...], **given: float) -> list[tuple[Image, Image]]:
    image = torch.from_numpy(picture(size))
    drawn = [sample(image, np.random.default_rng(seed), options(**given)) for seed in SEEDS]
    return [(corrupted.numpy(), clean.numpy()) for corrupted, clean in drawn]


@both_dimensions
def test_the_target_is_the_image_flipped_and_nothing_else(size: tuple[int, ...]) -> None:
    image = picture(size)
    axes = range(1, 1 + len(size))
    turns = [turn for count in range(1 + len(size)) for turn in combinations(axes, count)]
    allowed = [np.flip(image, turn) for turn in turns]
    seen = [[np.array_equal(turned, clean) for turned in allowed].index(True) for _, clean in samples(size)]
    assert {0, 1, 2} <= set(seen)


@both_dimensions
def test_the_image_that_is_given_stays_as_it_is(size: tuple[int, ...]) -> None:
    image = torch.from_numpy(picture(size))
    before = image.clone()
    for seed in SEEDS:
        corrupted, clean = sample(image, np.random.default_rng(seed), options(shuffle=1, curve=1, paint=1))
        corrupted.fill_(9)
        assert torch.equal(image, before)
        assert clean.max() <= 1


@both_dimensions
def test_without_corruption_the_input_is_the_target(size: tuple[int, ...]) -> None:
    assert all(np.array_equal(*pair) for pair in samples(size, shuffle=0, curve=0, paint=0))


@both_dimensions
def test_unpainted_voxels_are_mapped_by_one_monotone_curve(size: tuple[int, ...]) -> None:
    directions = set()
    for seed in SEEDS:
        generator = np.random.default_rng(seed)
        x, y = random_curve(generator)
        assert (x[0], x[-1]) == (0, 1)
        assert sorted((y[0], y[-1])) == [0, 1]
        assert (np.diff(x) >= 0).all()
        assert (np.diff(y) >= 0).all() or (np.diff(y) <= 0).all()
        directions.add(bool(y[-1] > y[0]))
    assert directions == {True, False}
    for corrupted, clean in samples(size, shuffle=0, curve=1, paint=0):
        mapped = corrupted.ravel()[np.argsort(clean.ravel())]
        assert (np.diff(mapped) >= 0).all() or (np.diff(mapped) <= 0).all()


@both_dimensions
def test_unpainted_voxels_are_untouched_and_painted_ones_are_noise_of_every_channel(size: tuple[int, ...]) -> None:
    for corrupted, clean in samples(size, shuffle=0, curve=0, paint=1):
        changed = corrupted != clean
        assert np.array_equal(changed[0], changed[1])  # the same regions of all channels
        assert (corrupted >= 0).all()
        assert (corrupted <= 1).all()
        if changed.sum() > 400:
            first, second = corrupted[:, changed[0]]
            assert abs(np.corrcoef(first, second)[0, 1]) < 0.2
            assert corrupted[changed].std() == pytest.approx(12**-0.5, abs=0.03)


@both_dimensions
def test_shuffled_voxels_come_from_nearby_and_keep_their_channels(size: tuple[int, ...]) -> None:
    image = picture(size)
    where = {value: place for place, value in np.ndenumerate(image)}
    result = shuffled(image, np.random.default_rng(0))
    assert not np.array_equal(result, image)
    for place, value in np.ndenumerate(result):
        origin = where[value]
        assert origin[0] == place[0]
        assert all(abs(a - b) < max(side // 10, 1) for a, b, side in zip(origin[1:], place[1:], size, strict=True))
    second = np.vectorize(lambda value: np.ravel_multi_index(where[value][1:], size))
    assert np.array_equal(second(result[0]), second(result[1]))


def test_a_tenth_of_the_sides_and_the_published_count_shuffle_four_fifths_of_a_volume() -> None:
    image = picture((64, 64, 32), channels=1)
    assert (shuffled(image, np.random.default_rng(0)) != image).mean() == pytest.approx(0.78, abs=0.02)


@pytest.mark.parametrize(
    ("size", "inside", "outside"),
    [((64, 64, 32), 0.055, 0.68), ((48, 64, 48), 0.061, 0.68), ((128, 128), 0.22, 0.46)],
)
def test_painted_shares_are_those_of_the_published_scheme(
    size: tuple[int, ...], inside: float, outside: float
) -> None:
    for places, expected in ((inside_places, inside), (outside_places, outside)):
        shares = np.array([places(size, np.random.default_rng(seed)).mean() for seed in range(600)])
        error = shares.std() / len(shares) ** 0.5
        assert abs(shares.mean() - expected) < 3 * error + 0.005  # the published figures are rounded


@pytest.mark.parametrize("size", [(1, 2), (3, 8), (9, 13), (4, 5, 6), (1, 8, 30)])
def test_small_images_are_corrupted_too(size: tuple[int, ...]) -> None:
    for corrupted, clean in samples(size, shuffle=1, curve=1, paint=1):
        assert corrupted.shape == clean.shape == (2, *size)
        assert np.isfinite(corrupted).all()


def test_flips_are_as_likely_as_published() -> None:
    image = picture((4, 4))
    turned = [flipped(image, np.random.default_rng(seed)) for seed in range(2000)]
    share = np.mean([not np.array_equal(result, image) for result in turned])
    assert share == pytest.approx(0.4, abs=0.035)


def test_values_beyond_0_and_1_are_refused_with_the_remedy() -> None:
    with pytest.raises(ScienceError, match="use the scale 'unit'"):
        sample(torch.full((1, 8, 8), 1.5), np.random.default_rng(0), options())


def test_a_short_training_restores_far_better_than_chance() -> None:
    """Bright discs at random places: neither the mean nor the input comes near them."""
    random = np.random.default_rng(0)
    grid = np.mgrid[:32, :32]
    centres = random.uniform(0.3, 0.7, (80, 2, 1, 1)) * 32
    distance = np.sqrt(((grid - centres) ** 2).sum(axis=1))
    images = 40 + 180 * np.clip((10.5 - distance) / 4 + 0.5, 0, 1)
    data = made("classification", images[:, None], np.zeros(80, int), 1)
    torch.manual_seed(0)
    network = registry.build("unet", spatial_dims=2, in_channels=1, classes=1, width=4)
    batches = replace(loader(data, batch_size=8, learning_rate=4e-3), divisor=network.divisor)
    attained = pretrain(network, RESTORATION, batches, epochs=24, progress=silent).attained
    assert attained is not None
    assert attained.value < 0.4 * min(attained.chance.values())


def test_what_learning_nothing_gives_is_computed_from_the_same_images() -> None:
    data = target(count=20)
    network = registry.build("unet", spatial_dims=2, in_channels=1, classes=1, width=2)
    batches = replace(loader(data), divisor=network.divisor)
    attained = pretrain(network, RESTORATION, batches, epochs=0, progress=silent, options={"paint": 0}).attained
    assert attained is not None
    clean = batches.batch(data.indices("val"))[0].double()
    assert attained.chance["predict each channel's mean"] == pytest.approx(float(clean.var(correction=0)))
    assert attained.chance["copy the input"] < 0.5
