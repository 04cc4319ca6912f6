"""Penalties, parameter groups, phases, hooks and states of the one training loop, each with a toy method."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.worker.targets import candidate, finetuned, loader, target, unet_file
from worker.science.candidate import give_fresh_head
from worker.science.errors import ScienceError
from worker.science.specs import FinetuneProtocol, Protocol
from worker.science.training.finetune import Finetuned
from worker.science.training.loop import Training, start_training, train_epoch
from worker.science.training.method import Method, Start
from worker.science.training.objective import Batch, Objective, ParameterGroup, Step, Stream
from worker.science.training.phases import EVERYTHING, Phase, phase_at
from worker.science.training.state import TrainingState, capture, load_state, restore, save_state
from worker.science.training.target_objective import labelled_batches, target_objective
from worker.science.training.trained_epoch import TrainedEpoch

PROTOCOL = FinetuneProtocol(epochs=3, learning_rate=1e-2)
ENCODER = "down_tr512.ops"


def run(folder: Path, prepare: Callable[[Start], Objective], **more: object) -> Finetuned:
    made = candidate(unet_file(folder), target(), PROTOCOL)
    return finetuned(
        made,
        Method("toy", "A toy.", prepare),
        **more,
    )


def same(first: Finetuned, second: Finetuned) -> bool:
    one, other = first.network.state_dict(), second.network.state_dict()
    return all(torch.equal(one[key], other[key]) for key in one)


def squared(network: nn.Module, batch: Batch) -> Tensor:
    inputs, wanted = batch
    return (network(inputs) - wanted).square().mean()


def toy_training(objective: Objective, *, epochs: int = 4, network: nn.Module | None = None, **protocol: float):  # type: ignore[no-untyped-def]
    """A stream of numbers, neither images nor labels of a target."""
    torch.manual_seed(0)
    network = network or nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))

    def batches(epoch: int):  # type: ignore[no-untyped-def]
        generator = torch.Generator().manual_seed(epoch)
        return ((torch.rand(5, 3, generator=generator), torch.rand(5, 2, generator=generator)) for _ in range(3))

    stream = Stream(batches, lambda epoch: 3)
    return start_training(network, objective, stream=stream, protocol=Protocol(**protocol), epochs=epochs)


def trained(training: Training, epochs: range = range(4)) -> Training:
    for epoch in epochs:
        train_epoch(training, epoch, after_step=lambda *_: None)
    return training


def weights(training: Training) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in training.network.state_dict().items()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {key for key in before if not torch.equal(before[key], after[key])}


def test_a_penalty_on_features_of_the_step_reaches_the_encoder(tmp_path: Path) -> None:
    """As BSS and DELTA want it: the watched output has a gradient, and costs no second forward pass."""
    shapes: list[tuple[int, ...]] = []

    def smallest_singular_value(step: Step) -> Tensor:
        features = step.outputs[ENCODER].flatten(2).mean(dim=2)
        shapes.append(tuple(features.shape))
        return 10 * torch.linalg.svdvals(features)[-1] ** 2

    def prepare(start: Start) -> Objective:
        return replace(start.objective, watched=(ENCODER,), penalties=(smallest_singular_value,))

    plain, ours = run(tmp_path, lambda start: start.objective), run(tmp_path, prepare)
    assert set(shapes) == {(4, 32)}
    assert ours.epochs[-1].penalty < ours.epochs[0].penalty
    assert not same(plain, ours)
    assert all(not module._forward_hooks for module in ours.network.modules())


def test_a_penalty_may_look_at_the_batch_with_the_source_network(tmp_path: Path) -> None:
    """As DELTA wants it: a frozen copy of the source, fed what the network was fed."""

    def prepare(start: Start) -> Objective:
        source = deepcopy(start.network.module).eval().requires_grad_(False)
        outputs: list[Tensor] = []
        source.get_submodule(ENCODER).register_forward_hook(lambda module, inputs, output: outputs.append(output))

        def distance(step: Step) -> Tensor:
            source(step.batch[0])
            return (step.outputs[ENCODER] - outputs.pop()).square().sum() / 2

        return replace(start.objective, watched=(ENCODER,), penalties=(distance,))

    assert run(tmp_path, prepare).epochs[0].penalty > 0


def test_a_method_may_look_at_the_data_before_the_first_step(tmp_path: Path) -> None:
    """As EWC wants it: the mean squared gradient of the loss at the source weights."""
    fisher: dict[str, Tensor] = {}

    def prepare(start: Start) -> Objective:
        module, before = start.network.module, deepcopy(start.network.module.state_dict())
        for batch in start.stream.batches(0):
            start.objective.loss(module, batch).backward()
            for name, weight in module.named_parameters():
                assert weight.grad is not None
                fisher[name] = fisher.get(name, torch.zeros_like(weight)) + weight.grad.square()
            module.zero_grad()
        module.load_state_dict(before)
        return start.objective

    assert same(run(tmp_path, prepare), run(tmp_path, lambda start: start.objective))
    assert all(values.isfinite().all() for values in fisher.values())


def test_groups_have_their_rates_and_the_rest_the_protocols() -> None:
    """As layer-wise rates want it; a frozen norm keeps its statistics too."""
    groups = (
        ParameterGroup("first", lambda name: name.startswith("0."), rate=0.5, weight_decay=0.0),
        ParameterGroup("norm", lambda name: name.startswith("1."), frozen=True),
    )
    training = toy_training(
        Objective(squared, groups=groups), optimizer="sgd", learning_rate=0.1, weight_decay=0.2
    )
    rates = [(group["lr"], group["weight_decay"]) for group in training.optimizer.param_groups]
    assert rates == [(0.05, 0.0), (0.1, 0.2), (0.1, 0.2)]
    before = weights(training)
    changes = changed(before, weights(trained(training)))
    assert changes == {"0.weight", "0.bias", "3.weight", "3.bias"}


def one_batch():  # type: ignore[no-untyped-def]
    return iter([(torch.ones(5, 3).cumsum(0), torch.ones(5, 2))])


def test_half_the_rate_is_half_the_step() -> None:
    network = nn.Linear(3, 2)
    taken = []
    for rate in (1.0, 0.5):
        group = ParameterGroup("all", lambda name: True, rate=rate)
        training = toy_training(
            Objective(squared, groups=(group,)), network=deepcopy(network), optimizer="sgd", learning_rate=0.125
        )
        before = weights(training)
        training = replace(training, stream=Stream(lambda epoch: one_batch(), lambda epoch: 1))
        train_epoch(training, 0, after_step=lambda *_: None)
        taken.append(weights(training)["weight"] - before["weight"])
    torch.testing.assert_close(taken[1], taken[0] / 2)


def test_rates_follow_the_schedule_and_the_phase() -> None:
    objective = Objective(
        squared, phases=(Phase("slow", epochs=1, rate=0.5),), schedule=lambda epoch, epochs: 1 - epoch / epochs
    )
    training = toy_training(objective, epochs=4, learning_rate=0.25)
    rates = []
    for epoch in range(4):
        trained(training, range(epoch, epoch + 1))
        rates.append(training.optimizer.param_groups[0]["lr"])
    assert rates == [0.125, 0.1875, 0.125, 0.0625]


def test_phases_follow_each_other_and_everything_trains_after_the_last() -> None:
    phases = (Phase("first", epochs=2), Phase("second", share=0.3, rate=0.5))
    names = [phase_at(phases, epoch, epochs=10).name for epoch in range(10)]
    assert names == ["first"] * 2 + ["second"] * 3 + [EVERYTHING.name] * 5
    assert phase_at((Phase("all"),), 9, epochs=10).name == "all"
    assert phase_at((Phase("short", share=0.01),), 0, epochs=10).name == "short"
    with pytest.raises(ValueError, match="both epochs and share"):
        Phase("wrong", epochs=1, share=0.5)


def test_a_phase_freezes_weights_and_statistics_and_gives_them_back() -> None:
    phases = (Phase("last layer", trains=lambda name: name.startswith("3."), epochs=1),)
    training = toy_training(Objective(squared, phases=phases))
    start = weights(training)
    first = weights(trained(training, range(1)))
    assert changed(start, first) == {"3.weight", "3.bias"}
    assert all(weight.requires_grad for weight in training.network.parameters())
    assert changed(first, weights(trained(training, range(1, 2)))) == set(start)


def test_a_phase_in_which_nothing_trains_is_refused() -> None:
    training = toy_training(Objective(squared, phases=(Phase("nothing", trains=lambda name: False),)))
    with pytest.raises(ScienceError, match="no weight of this network trains"):
        trained(training)


def test_weights_that_were_frozen_before_stay_so() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    network[0].requires_grad_(False)
    training = toy_training(Objective(squared), network=network)
    before = weights(training)
    assert changed(before, weights(trained(training))) == {"1.weight", "1.bias"}
    assert not network[0].weight.requires_grad


def test_gradients_are_clipped_and_weights_can_be_held_in_bounds_after_each_step() -> None:
    def clamp(network: nn.Module) -> None:
        for weight in network.parameters():
            weight.clamp_(-0.1, 0.1)

    training = trained(toy_training(Objective(squared, after_step=(clamp,))))
    assert all(weight.abs().max() <= 0.1 for weight in training.network.parameters())
    training = toy_training(Objective(squared, clip_norm=1e-3), optimizer="sgd", learning_rate=1.0)
    before = weights(training)
    training = replace(training, stream=Stream(lambda epoch: one_batch(), lambda epoch: 1))
    train_epoch(training, 0, after_step=lambda *_: None)
    moves = [weights(training)[name] - before[name] for name, _ in training.network.named_parameters()]
    assert torch.cat([move.flatten() for move in moves]).norm() == pytest.approx(1e-3, rel=1e-3)


def averaging(network: nn.Module) -> Objective:
    """A running average of the weights, as momentum teachers keep it: a memory besides the network."""
    average = {name: weight.detach().clone() for name, weight in network.named_parameters()}

    def update(network: nn.Module) -> None:
        for name, weight in network.named_parameters():
            average[name].lerp_(weight, 0.1 * torch.rand(()))

    def to_average(step: Step) -> Tensor:
        terms = [(weight - average[name]).square().sum() for name, weight in step.network.named_parameters()]
        return torch.stack(terms).sum()

    return Objective(squared, penalties=(to_average,), after_step=(update,), memory=average)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("stopped", [0, 1, 2, 3])
def test_memory_dropout_and_random_hooks_survive_a_stop(tmp_path: Path, optimizer: str, stopped: int) -> None:
    def begun() -> Training:
        torch.manual_seed(1)
        network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
        return toy_training(averaging(network), network=network, optimizer=optimizer, learning_rate=0.05)

    file = tmp_path / "state.safetensors"
    whole = begun()
    trained(whole, range(stopped))
    save_state(capture(whole, stopped, epochs=(TrainedEpoch(0.1 + 0.2),)), file)
    trained(whole, range(stopped, 4))
    resumed = begun()
    torch.manual_seed(99)
    state = load_state(file)
    assert (state.epoch, state.best, state.epochs) == (stopped, None, (TrainedEpoch(0.1 + 0.2),))
    restore(resumed, state)
    trained(resumed, range(stopped, 4))
    assert not changed(weights(whole), weights(resumed))
    assert not changed(dict(whole.objective.memory), dict(resumed.objective.memory))
    assert not changed(*(dict(capture(one, 4).optimizer) for one in (whole, resumed)))


def test_a_state_is_a_copy_and_another_runs_state_is_refused() -> None:
    training = toy_training(Objective(squared))
    state: TrainingState = capture(training, 0)
    trained(training)
    assert changed(dict(state.network), weights(training))
    with pytest.raises(ScienceError, match="resume: the state is of another run"):
        restore(toy_training(Objective(squared), network=nn.Linear(3, 2)), state)
    with pytest.raises(ScienceError, match="it keeps nothing, the run average"):
        restore(toy_training(Objective(squared, memory={"average": torch.zeros(1)})), state)


def test_the_penalty_is_part_of_what_must_be_finite() -> None:
    training = toy_training(Objective(squared, penalties=(lambda step: torch.tensor(float("inf")),)))
    with pytest.raises(ScienceError, match="learning_rate: the loss is inf at step 1"):
        trained(training)


def test_the_loss_of_a_target_is_one_objective_among_others(tmp_path: Path) -> None:
    made = candidate(unet_file(tmp_path), target())
    give_fresh_head(made.candidate, outputs=2, seed=0)
    training = start_training(
        made.network.module,
        target_objective(made.loader),
        stream=labelled_batches(made.loader),
        protocol=made.loader.protocol,
        epochs=1,
    )
    seen: list[tuple[int, int]] = []
    losses = train_epoch(training, 0, after_step=lambda *step: seen.append(step))
    total = len(loader(target()).training_order(epoch=0))
    assert seen == [(done + 1, total) for done in range(total)]
    assert len(losses.loss) == total
    assert losses.penalty == (0.0,) * total
