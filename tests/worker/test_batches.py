"""Order, crops and padding depend on the protocol and the data, not on the candidate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models_zoo.normalisation import Normalisation, normalise
from service.api.rankings.cost import steps_of_an_epoch
from tests.worker.targets import loader, target


def test_an_epoch_is_every_training_image_once_in_seeded_order() -> None:
    data = target(count=30)
    one, again = loader(data).training_order(epoch=0), loader(data).training_order(epoch=0)
    assert sorted(np.concatenate(one).tolist()) == data.indices("train").tolist()
    assert [batch.tolist() for batch in one] == [batch.tolist() for batch in again]
    other = loader(data, seed=1).training_order(epoch=0)
    assert [batch.tolist() for batch in one] != [batch.tolist() for batch in other]
    assert np.concatenate(one).tolist() != data.indices("train").tolist()


def test_a_last_batch_of_one_image_is_dropped_and_steps_cut_the_epoch() -> None:
    data = target(count=35)  # 21 for training
    assert [len(batch) for batch in loader(data).training_order(epoch=0)] == [4] * 5
    assert [len(batch) for batch in loader(data, batch_size=6).training_order(epoch=0)] == [6, 6, 6, 3]
    assert len(loader(data, steps=2).training_order(epoch=0)) == 2


@pytest.mark.parametrize("count", [34, 35, 37, 40])
def test_the_cost_of_a_ranking_counts_the_steps_that_are_trained(count: int) -> None:
    data = target(count=count)
    images = len(data.indices("train"))
    for batch_size in (2, 3, 4, 5, images - 1, images, images + 1):
        for steps in (None, 1, 3, 90):
            trained = loader(data, batch_size=batch_size, steps=steps).training_order(epoch=0)
            assert steps_of_an_epoch(images, batch_size=batch_size, steps=steps) == len(trained)


def test_crops_cut_image_and_mask_alike_and_move_with_the_epoch() -> None:
    data = target(size=(20, 24, 22))
    data.images[:, 0] = data.labels  # the image is its own mask
    batches = loader(data, crop=(8, 8, 8))
    images, masks = batches.batch([0, 1], epoch=0)
    assert images.shape == (2, 1, 8, 8, 8)
    assert ((images[:, 0] * 255).round() == masks).all()
    places = {batches.crop_of(0, epoch=epoch)[0].start for epoch in range(8)}
    assert len(places) > 1


def test_volumes_are_cropped_to_96_by_default_and_smaller_ones_are_whole() -> None:
    assert loader(target(size=(100, 12, 12), count=8)).crop == (96, 12, 12)
    assert loader(target(size=(20, 30))).crop == (20, 30)


def test_padding_reaches_the_divisor_and_no_further() -> None:
    data = target(size=(18, 16))
    images, _ = loader(data).batch([0])
    padded = loader(data, divisor=8).pad(images)
    assert padded.shape[2:] == (24, 16)
    assert (padded[..., :18, :] == images).all()
    assert (padded[..., 18:, :] == 0).all()


@pytest.mark.parametrize("rule", [Normalisation("zscore"), Normalisation(percentiles=(1, 99))])
def test_a_crop_is_cut_from_the_normalised_image(rule: Normalisation) -> None:
    data = target(size=(24, 24), channels=2)
    data.images[:, :, :, 12:] //= 4  # a crop's mean and deviation are not its image's
    batches = replace(loader(data, crop=(8, 8)), normalisation=rule)
    cropped, _ = batches.batch([3, 5], epoch=0)
    whole, _ = batches.batch([3, 5])
    expected = normalise(torch.from_numpy(data.images[[3, 5]]), rule, value_range=data.value_range)
    assert torch.equal(whole, expected)
    for row, index in enumerate((3, 5)):
        assert torch.equal(cropped[row], expected[(row, slice(None), *batches.crop_of(index, epoch=0))])


def test_other_images_are_scaled_by_their_own_statistics() -> None:
    data = target(size=(16, 16))
    batches = replace(loader(data), normalisation=Normalisation("zscore"))
    batches.batch([0, 1])
    other = replace(data, images=data.images // 3)
    expected = normalise(torch.from_numpy(other.images[:2]), batches.normalisation, value_range=data.value_range)
    for changed in (batches.relabelled(other), replace(batches, data=other)):
        assert torch.equal(changed.batch([0, 1])[0], expected)


def test_the_layout_of_the_file_changes_no_bit_and_no_stride() -> None:
    data = target(size=(20, 24), channels=3)
    channels_last = np.moveaxis(np.ascontiguousarray(np.moveaxis(data.images, 1, -1)), -1, 1)
    fortran = np.asfortranarray(data.images)
    batches = replace(loader(data, crop=(16, 16)), normalisation=Normalisation("zscore"))
    expected, _ = batches.batch([0, 1, 2], epoch=0)
    assert expected.is_contiguous()
    for images in (channels_last, fortran):
        stored, _ = replace(batches, data=replace(data, images=images)).batch([0, 1, 2], epoch=0)
        assert torch.equal(stored, expected)
        assert stored.stride() == expected.stride()
