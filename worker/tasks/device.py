"""This process's torch device."""

from __future__ import annotations

import torch

from service.settings import settings
from worker.devices import own_device
from worker.science.errors import ScienceError


def device() -> torch.device:
    """The device this process was given; the CPU where `auto` found a GPU that CUDA can't use."""
    name = own_device()
    if name.startswith("cuda") and not torch.cuda.is_available():
        if settings().devices != "auto":
            raise ScienceError(
                f"devices: {name} is set, but CUDA is not available; repair it or set ZOORANK_DEVICES"
            )
        name = "cpu"
    return torch.device(name)
