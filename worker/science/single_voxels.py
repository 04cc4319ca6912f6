"""Instance norms that are given a single voxel: its own mean and deviation say nothing of it."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.modules.instancenorm import _InstanceNorm

from worker.science.errors import ScienceError


def check_voxels(values: Tensor) -> None:
    """ScienceError for feature maps (B, C, *space) of one voxel, which an instance norm would all make equal."""
    if values[:1, :1].numel() == 1:
        shape = " x ".join(map(str, values.shape[2:]))
        raise ScienceError(
            f"crop: an instance norm of this network is given {shape} voxels, which "
            "have no statistics; choose a larger crop, larger images, or a candidate without instance norm"
        )


def guard_instance_norms(module: nn.Module) -> None:
    """Let every instance norm that takes the statistics of its input check that these exist."""
    for layer in module.modules():
        if isinstance(layer, _InstanceNorm):
            layer.register_forward_pre_hook(_check)


def _check(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    if layer.training or not layer.track_running_stats:
        check_voxels(inputs[0])
