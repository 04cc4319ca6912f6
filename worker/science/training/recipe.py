"""What a pretext recipe is (training that makes a checkpoint), and how one file adds one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from models_zoo.architecture import Network
from models_zoo.registry import Registry
from worker.science.data.loader import TargetLoader
from worker.science.data.target import Target
from worker.science.training.objective import Batch, Schedule, constant_rate
from worker.science.training.options import Option, Options


@dataclass(frozen=True)
class Pretext:
    """One pretext run: the network, the recipe's heads beside it (dropped at the end), its data and options."""

    network: Network
    heads: nn.Module
    loader: TargetLoader
    options: Options


@dataclass(frozen=True)
class Attained:
    """How well the pretext task is solved on validation images.

    `chance` says what a network that has learnt nothing would get, by the way in which it would get it.
    """

    metric: str
    value: float
    chance: Mapping[str, float]
    lower_is_better: bool


def no_heads(network: Network, options: Options) -> nn.Module:
    """The recipe trains the network's own outputs."""
    return nn.Identity()


@dataclass(frozen=True)
class Recipe:
    """Training that makes a checkpoint.

    outputs(data): the classes that the network is built with. sample(image, generator, options): the tensors of
    one training crop (C, [D,] H, W), normalised; its randomness comes from `generator` alone, which is made for
    one seed, epoch and image. None: images and labels as the loader gives them; otherwise no label is ever read.
    heads(network, options): modules trained beside the network. loss(pretext, batch): a scalar with gradient, of
    stacked samples. progress(pretext, batches): over validation samples, without gradient, in evaluation mode.
    after_step(pretext): called without gradient when the weights have changed. schedule: as in `Objective`.
    """

    name: str
    summary: str
    outputs: Callable[[Target], int]
    loss: Callable[[Pretext, Batch], Tensor]
    progress: Callable[[Pretext, Iterable[Batch]], Attained]
    sample: Callable[[Tensor, np.random.Generator, Options], Batch] | None
    heads: Callable[[Network, Options], nn.Module] = no_heads
    after_step: Callable[[Pretext], None] | None = None
    schedule: Schedule = constant_rate
    options: tuple[Option, ...] = ()


_RECIPES: Registry[Recipe] = Registry("pretext recipe", "worker.science.training.recipes")


def register(recipe: Recipe) -> Recipe:
    """Add a recipe under its name."""
    return _RECIPES.add(recipe.name, recipe)


def recipes() -> dict[str, Recipe]:
    """Every registered recipe by name."""
    return _RECIPES.all()
