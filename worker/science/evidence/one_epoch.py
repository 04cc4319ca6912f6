"""The one AC-Norm epoch, and its repetitions with labels that belong to other images (the null epochs)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from time import perf_counter

import numpy as np
from torch import Tensor

from worker.science.acnorm.convert import affines
from worker.science.candidate import Candidate
from worker.science.data.loader import TargetLoader
from worker.science.data.target import Target
from worker.science.errors import ScienceError
from worker.science.evidence.parts import NullEpochs
from worker.science.specs import Progress
from worker.science.training.loop import start_training, steps_of_all, train_epoch
from worker.science.training.random_numbers import seeded
from worker.science.training.target_objective import labelled_batches, target_objective

State = Mapping[str, Tensor]
_STREAM = 0x6E756C6C  # keeps the permutations apart from the orders, crops and voxels of the same seed


def one_epoch(candidate: Candidate, loader: TargetLoader, after_step: Callable[[int, int], None]) -> list[float]:
    """Train the candidate's network for one epoch of these batches; the loss of every step.

    The random numbers that layers draw (dropout) depend on the protocol's seed alone.
    """
    with seeded(loader.protocol.seed, loader.device):
        training = start_training(
            candidate.network.module,
            target_objective(loader),
            stream=labelled_batches(loader),
            protocol=loader.protocol,
            epochs=1,
        )
        return list(train_epoch(training, 0, after_step=after_step).loss)


def kept_state(candidate: Candidate) -> State:
    """A copy of every tensor of the network, to start an epoch from again."""
    return {key: tensor.clone() for key, tensor in candidate.network.module.state_dict().items()}


def permuted(data: Target, *, seed: int, number: int) -> Target:
    """The target with the labels (or whole masks) of its training images permuted among them.

    The permutation depends on seed, number and the training split only; images, order and all other splits stay.
    Crops that lie around foreground follow the permuted masks, and crops that are placed at random stay. Images
    are permuted freely, those of one group (patient) too.
    """
    train = data.indices("train")
    rows = np.arange(len(data.labels))
    rows[train] = np.random.default_rng((seed, _STREAM, number)).permutation(train)
    return replace(data, labels=data.labels[rows])


def null_epochs(candidate: Candidate, loader: TargetLoader, *, start: State, progress: Progress) -> NullEpochs:
    """Repeat the epoch from `start` on permuted labels, as often as the protocol asks; restore the network.

    An epoch that can't be trained is the reason why there is no null; it doesn't end the evaluation.
    """
    module = candidate.network.module
    count, seed = loader.protocol.null_permutations, loader.protocol.seed
    began, end, training = perf_counter(), kept_state(candidate), module.training
    repeated = []
    reason = None
    try:
        for number in range(count):
            module.load_state_dict(start)
            shuffled = loader.relabelled(permuted(loader.data, seed=seed, number=number))
            one_epoch(candidate, shuffled, steps_of_all(progress, "null epoch", epoch=number, epochs=count))
            repeated.append(affines(module))
    except ScienceError as error:
        reason = f"the epoch on permuted labels {len(repeated) + 1} of {count} failed: {error}"
    finally:
        module.load_state_dict(end)
        module.train(training)
    return NullEpochs(tuple(repeated), perf_counter() - began, reason)
