"""A network is computed in the precision that its protocol names, with random numbers that its seed decides."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.worker.targets import Made, candidate, finetuned, gather, silent, target, unet_file
from worker.science.specs import CandidateSpec, FinetuneProtocol
from worker.science.training.finetune import Finetuned
from worker.science.training.method import Method
from worker.science.training.state import TrainingState, load_state, save_state

SHORT = FinetuneProtocol(epochs=3, learning_rate=1e-2, steps=2)
ENCODER = "down_tr512.ops"


def tf32() -> tuple[bool, bool]:
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("precision", ["float32", "tf32", "mixed"])
def test_tf32_is_used_only_by_the_precision_of_that_name(tmp_path: Path, precision: str) -> None:
    before, seen = tf32(), set()
    made = candidate(unet_file(tmp_path), target(), SHORT, precision=precision)
    made.network.module.register_forward_hook(lambda *_: seen.add(tf32()))
    gather(made, silent)
    finetuned(made, Method("plain", "Plain."))
    allowed = precision == "tf32"
    assert seen == {(allowed, allowed)}
    assert tf32() == before


class Noise(nn.Module):
    """Adds a number of each global generator while it trains, as an augmentation of some library might."""

    def forward(self, values: Tensor) -> Tensor:
        """The same values in evaluation mode."""
        if not self.training:
            return values
        return values + random.gauss(0, 1) + float(np.random.standard_normal()) + torch.randn(())


def noisy(spec: CandidateSpec) -> Made:
    made = candidate(spec, target(), SHORT)
    block = made.network.module.get_submodule(ENCODER)
    block.register_forward_hook(lambda module, _inputs, output: Noise().train(module.training)(output))
    return made


def run(spec: CandidateSpec, **more: object) -> Finetuned:
    """A finetune after other work has drawn from every generator."""
    for draw in (random.random, np.random.random, lambda: torch.rand(())):
        draw()
    return finetuned(noisy(spec), Method("plain", "Plain."), **more)


def weights(result: Finetuned) -> list[Tensor]:
    return list(result.network.state_dict().values())


def test_the_seed_decides_the_numbers_of_torch_numpy_and_python(tmp_path: Path) -> None:
    spec, states = unet_file(tmp_path), list[TrainingState]()
    once = run(spec, after_epoch=states.append)
    assert all(map(torch.equal, weights(once), weights(run(spec))))
    save_state(states[0], tmp_path / "state.safetensors")
    resumed = run(spec, resume=load_state(tmp_path / "state.safetensors"))
    assert all(map(torch.equal, weights(once), weights(resumed)))


def test_a_finetune_leaves_the_generators_of_its_caller_as_they_were(tmp_path: Path) -> None:
    made = noisy(unet_file(tmp_path))
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    finetuned(made, Method("plain", "Plain."))
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])
