"""L2-SP pulls source weights to their source values and new weights to zero, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from models_zoo.architecture import Network
from tests.worker.targets import candidate, finetuned, loader, target, unet_file
from worker.science.specs import FinetuneProtocol, Protocol
from worker.science.training.finetune import Finetuned
from worker.science.training.method import Start, methods
from worker.science.training.methods.l2_sp import L2_SP, half_squared_distance
from worker.science.training.objective import Objective, Step
from worker.science.training.options import complete_options
from worker.science.training.target_objective import labelled_batches, target_objective

PROTOCOL = FinetuneProtocol(epochs=2, learning_rate=5e-3)


def network() -> nn.Module:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(1, 3, kernel_size=3), nn.BatchNorm2d(3))
    return nn.Sequential(body, nn.Conv2d(3, 2, kernel_size=1)).double()


def prepared(module: nn.Module, **options: float) -> Objective:
    batches = loader(target())
    return L2_SP.prepare(
        Start(
            network=Network(module, None, {}, head="1"),
            fresh=("1",),
            protocol=Protocol(),
            options=complete_options(L2_SP.options, options, owner="l2_sp"),
            objective=target_objective(batches),
            stream=labelled_batches(batches),
        )
    )


def values(objective: Objective, module: nn.Module) -> list[float]:
    return [penalty(Step(module, (), {})).item() for penalty in objective.penalties]


def moved(module: nn.Module, by: float) -> None:
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(by * torch.rand_like(weight))


def test_at_the_source_only_new_weights_are_pulled() -> None:
    module = network()
    to_source, to_zero = values(prepared(module, alpha=0.3, beta=0.2), module)
    assert to_source == 0.0
    assert to_zero == pytest.approx(0.1 * sum(w.square().sum().item() for w in module[1].parameters()))


def test_the_gradient_is_strength_times_distance_and_source_values_are_copies() -> None:
    module = network()
    source = {name: weight.detach().clone() for name, weight in module.named_parameters()}
    objective = prepared(module, alpha=0.3, beta=0.2)
    moved(module, 0.5)
    sum(penalty(Step(module, (), {})) for penalty in objective.penalties).backward()
    for name, weight in module.named_parameters():
        pull = 0.2 * weight.detach() if name.startswith("1.") else 0.3 * (weight.detach() - source[name])
        assert weight.grad is not None
        torch.testing.assert_close(weight.grad, pull, rtol=1e-12, atol=0.0)


def test_buffers_are_not_penalised() -> None:
    module = network()
    objective = prepared(module)
    before = values(objective, module)
    module[0][1].running_mean += 3
    assert values(objective, module) == before


def test_a_pull_of_strength_0_is_left_out() -> None:
    module = network()
    assert len(prepared(module, alpha=0).penalties) == len(prepared(module, beta=0).penalties) == 1
    assert prepared(module, alpha=0, beta=0).penalties == ()


def run(folder: Path, method: str, options: Mapping[str, float] | None = None) -> Finetuned:
    made = candidate(unet_file(folder), target(), PROTOCOL)
    return finetuned(made, methods()[method], options=options)


def test_without_pulls_it_is_vanilla_to_the_last_bit(tmp_path: Path) -> None:
    vanilla, without = run(tmp_path, "vanilla"), run(tmp_path, "l2_sp", {"alpha": 0, "beta": 0})
    plain, ours = vanilla.network.state_dict(), without.network.state_dict()
    assert all(torch.equal(plain[key], ours[key]) for key in plain)
    assert vanilla.epochs == without.epochs


def test_a_strong_pull_keeps_the_weights_nearer_to_the_source(tmp_path: Path) -> None:
    made = candidate(unet_file(tmp_path), target(), PROTOCOL)
    source = {name: weight.detach().clone() for name, weight in made.network.module.named_parameters()}
    source = {name: weight for name, weight in source.items() if not name.startswith(made.network.head)}

    def drift(result: Finetuned, origin: Mapping[str, Tensor] = source) -> float:
        return half_squared_distance(result.network, origin).item()

    weak, strong = (run(tmp_path, "l2_sp", {"alpha": alpha}) for alpha in (0.01, 100.0))
    assert drift(strong) < drift(weak)
    assert strong.epochs[0].penalty > 0
