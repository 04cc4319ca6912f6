"""This process's torch device."""

from __future__ import annotations

import torch

from worker.devices import own_device


def device() -> torch.device:
    """The device this process was given; the CPU where CUDA is not there."""
    name = own_device()
    return torch.device(name if torch.cuda.is_available() or not name.startswith("cuda") else "cpu")
