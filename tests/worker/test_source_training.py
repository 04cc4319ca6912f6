"""The demo's source training: the recipe `supervised` is plain training on labelled batches, to the last bit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from models_zoo import architecture as registry
from tests.worker.targets import loader, target
from worker.science.specs import Protocol
from worker.science.training.loop import start_training, train_epoch
from worker.science.training.recipes.supervised import train_source
from worker.science.training.target_objective import labelled_batches, target_objective

PROTOCOL = Protocol(batch_size=4, seed=3, learning_rate=2e-3)


def unet() -> registry.Network:
    torch.manual_seed(0)
    return registry.build("unet", spatial_dims=2, in_channels=1, classes=2, width=2)


@pytest.mark.parametrize("size", [(16, 16), (18, 20)])  # the second is padded for the network
def test_source_training_is_plain_training(size: tuple[int, int]) -> None:
    data, epochs = target(size=size), 2
    plain, ours = unet(), unet()
    batches = replace(loader(data, batch_size=4, seed=3, learning_rate=2e-3), divisor=plain.divisor)
    objective, stream = target_objective(batches), labelled_batches(batches)
    training = start_training(plain.module, objective, stream=stream, protocol=PROTOCOL, epochs=epochs)
    for epoch in range(epochs):
        train_epoch(training, epoch, after_step=lambda *_: None)
    reported: list[tuple[int, int]] = []
    train_source(ours, data, PROTOCOL, epochs=epochs, progress=lambda *step: reported.append(step))
    state = ours.module.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in plain.module.state_dict().items())
    steps = epochs * len(batches.training_order(epoch=0))
    assert reported == [(done + 1, steps) for done in range(steps)]


def test_a_source_that_is_never_trained_stays_as_it_was_built() -> None:
    made, fresh = unet(), unet()
    train_source(made, target(), PROTOCOL, epochs=0, progress=lambda *_: None)
    state = fresh.module.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in made.module.state_dict().items())
