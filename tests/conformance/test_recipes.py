"""What every registered pretext recipe promises."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models_zoo import architecture as registry
from models_zoo.architecture import Network
from models_zoo.normalisation import Scaling, scaling_of
from tests.worker.targets import loader, silent, target
from worker.science.data import loader as loader_module
from worker.science.data.loader import TargetLoader
from worker.science.data.target import Target
from worker.science.errors import ScienceError
from worker.science.training.options import complete_options
from worker.science.training.pretrain import Pretrained, pretrain
from worker.science.training.recipe import Recipe, recipes
from worker.science.training.samples import Samples
from worker.science.training.state import TrainingState, load_state, save_state

DATA = target(count=20)

every_recipe = pytest.mark.parametrize("recipe", recipes().values(), ids=list(recipes()))
label_free = [recipe for recipe in recipes().values() if recipe.sample is not None]


def network(recipe: Recipe, data: Target = DATA) -> Network:
    torch.manual_seed(0)
    outputs = recipe.outputs(data)
    return registry.build("unet", spatial_dims=data.spatial_dims, in_channels=1, classes=outputs, width=2)


def run(
    recipe: Recipe, data: Target = DATA, *, epochs: int = 2, made: Network | None = None, **more: Any
) -> Pretrained:
    batches = replace(loader(data, learning_rate=5e-3), divisor=8)
    return pretrain(made or network(recipe, data), recipe, batches, epochs=epochs, progress=silent, **more)


def samples(recipe: Recipe, batches: TargetLoader) -> Samples:
    return Samples(recipe, complete_options(recipe.options, {}, owner=recipe.name), batches)


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@every_recipe
@pytest.mark.parametrize("size", [(16, 16), (16, 16, 8)], ids=["2d", "3d"])
def test_it_makes_a_plain_trained_network_and_says_how_well(recipe: Recipe, size: tuple[int, ...]) -> None:
    data = target(size=size, count=20)
    made = network(recipe, data)
    before = {key: value.clone() for key, value in made.module.state_dict().items()}
    result = run(recipe, data, made=made)
    assert result.network is made.module
    assert result.network.state_dict().keys() == before.keys()
    assert not equal(dict(result.network.state_dict()), before)
    assert result.attained is not None
    assert result.attained.chance
    assert all(np.isfinite(value) for value in (result.attained.value, *result.attained.chance.values()))
    assert len(result.losses) == 2


@every_recipe
def test_samples_depend_on_seed_epoch_and_image_only(recipe: Recipe) -> None:
    ours = samples(recipe, loader(DATA))
    together = ours.batch(np.array([5, 3]), epoch=2)
    alone = [ours.batch(np.array([index]), epoch=2) for index in (5, 3)]
    for part, *single in zip(together, *alone, strict=True):
        assert torch.equal(part, torch.cat(single))
    if recipe.sample is not None:
        other_seed = samples(recipe, loader(DATA, seed=1))
        for other in (ours.batch(np.array([5, 3]), epoch=1), other_seed.batch(np.array([5, 3]), epoch=2)):
            assert not torch.equal(together[0], other[0])


@pytest.mark.parametrize("recipe", label_free, ids=[recipe.name for recipe in label_free])
def test_equal_images_get_different_samples(recipe: Recipe) -> None:
    alike = replace(DATA, images=np.repeat(DATA.images[:1], len(DATA.images), axis=0))
    inputs = samples(recipe, loader(alike)).batch(np.arange(8), epoch=0)[0]
    assert len({sample.numpy().tobytes() for sample in inputs}) > 4


@every_recipe
def test_validation_samples_are_the_same_every_time(recipe: Recipe) -> None:
    ours = samples(recipe, loader(DATA))
    for first, second in zip(ours.validation(), ours.validation(), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("recipe", label_free, ids=[recipe.name for recipe in label_free])
def test_labels_are_never_read(recipe: Recipe) -> None:
    class Unread:
        def __getattr__(self, name: str) -> None:
            raise AssertionError(f"the recipe looked at the labels: {name}")

    without = replace(DATA, labels=Unread())
    plain, blind = run(recipe), run(recipe, without, made=network(recipe))
    assert equal(dict(plain.network.state_dict()), dict(blind.network.state_dict()))


@every_recipe
def test_a_run_that_stopped_goes_on_as_if_it_had_not(recipe: Recipe, tmp_path: Path) -> None:
    files: list[Path] = []

    def keep(state: TrainingState) -> None:
        files.append(tmp_path / f"{state.epoch}.safetensors")
        save_state(state, files[-1])

    whole = run(recipe, epochs=3, after_epoch=keep)
    assert len(files) == 3
    for file in files:
        resumed = run(recipe, epochs=3, resume=load_state(file))
        assert equal(dict(whole.network.state_dict()), dict(resumed.network.state_dict()))
        assert (resumed.losses, resumed.attained) == (whole.losses, whole.attained)


@every_recipe
def test_the_scaling_of_an_image_is_computed_once_a_run(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    scaled: list[bytes] = []

    def watched(image: Tensor, *rest: Any, **more: Any) -> Scaling:
        scaled.append(image.numpy().tobytes())
        return scaling_of(image, *rest, **more)

    monkeypatch.setattr(loader_module, "scaling_of", watched)
    run(recipe, epochs=3)
    assert len(scaled) == len(set(scaled)) == (DATA.split != "test").sum()


@every_recipe
def test_options_are_described_and_an_unknown_one_is_refused(recipe: Recipe) -> None:
    assert all(option.meaning.endswith(".") for option in recipe.options)
    defaults = {option.name: option.default for option in recipe.options}
    assert complete_options(recipe.options, defaults, owner=recipe.name) == defaults
    with pytest.raises(ScienceError, match=f"{recipe.name} has no option nonsense"):
        run(recipe, options={"nonsense": 1})


@every_recipe
def test_without_validation_images_nothing_is_said_of_how_well(recipe: Recipe) -> None:
    everything = replace(DATA, split=np.full(len(DATA.images), "train"))
    assert run(recipe, everything, epochs=1).attained is None
