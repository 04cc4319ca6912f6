"""Random numbers that layers and libraries draw in a training: the generators of torch, numpy and Python."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

_MT19937 = "MT19937"  # the generator behind numpy's global functions
_NO_GAUSS = float("nan")  # Python keeps no second normal number


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Every global generator starts from `seed`; the caller's states are put back afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def random_states(device: torch.device) -> dict[str, Tensor]:
    """The state of every generator as a tensor, by its name; that of CUDA where the device is one."""
    cuda = {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}
    return {"cpu": torch.get_rng_state(), **cuda, "numpy": _numpy_state(), "python": _python_state()}


def restore_random_states(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Put captured states back."""
    for kind, state in states.items():
        if kind == "cuda":
            torch.cuda.set_rng_state(state, device)
        elif kind == "numpy":
            *keys, place, has_gauss, gauss = state.tolist()
            np.random.set_state((_MT19937, np.array(keys, np.uint32), int(place), int(has_gauss), gauss))
        elif kind == "python":
            version, *internal, gauss = state.tolist()
            kept = None if np.isnan(gauss) else gauss
            random.setstate((int(version), tuple(map(int, internal)), kept))
        else:
            torch.set_rng_state(state)


def _numpy_state() -> Tensor:
    """Keys, place, whether a second normal number is kept, and that number: float64 holds each exactly."""
    _, keys, place, has_gauss, gauss = np.random.get_state()
    return torch.tensor([*map(float, keys), place, has_gauss, gauss], dtype=torch.float64)


def _python_state() -> Tensor:
    """Version, the internal numbers, and the second normal number that may be kept."""
    version, internal, gauss = random.getstate()
    return torch.tensor([version, *internal, _NO_GAUSS if gauss is None else gauss], dtype=torch.float64)
