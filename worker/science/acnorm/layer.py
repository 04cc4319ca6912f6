"""AC-Norm as one normalisation whose affines Eq. 9 calibrates: BatchNorm, and norms beyond the paper."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from worker.science.acnorm.equations import calibrated_affines, check_temperature, kept_correlation
from worker.science.errors import ScienceError
from worker.science.single_voxels import check_voxels


class ACNorm(nn.Module):
    """What all kinds share: a norm layer that remembers the affines it was pretrained with.

    Mixed in before a torch norm. `weight`, `bias` (K,) are the target's and learn; `source_weight`,
    `source_bias` (K,) are buffers. Gradients reach the target affines through I + C with C constant.
    `reference` repeats the public code: |gamma| + eps in Eq. 6 and, in BatchNorm, running statistics
    updated twice a step. ScienceError for a norm without affines or a temperature that isn't positive.
    """

    weight: nn.Parameter
    bias: nn.Parameter
    eps: float
    source_weight: Tensor
    source_bias: Tensor

    def __init__(self, *sizes: Any, temperature: float = 1.0, reference: bool = False, **norm: Any) -> None:
        check_temperature(temperature)
        super().__init__(*sizes, **norm)
        if any(getattr(self, name) is None for name in ("weight", "bias")):
            raise ScienceError("AC-Norm recalibrates weight and bias; this layer is built without")
        self.temperature = temperature
        self.reference = reference
        self.register_buffer("source_weight", self.weight.detach().clone())
        self.register_buffer("source_bias", self.bias.detach().clone())
        self._evaluation: tuple[tuple[object, ...], Tensor, tuple[Tensor, Tensor]] | None = None

    def affines(self) -> tuple[Tensor, Tensor]:
        """(I + C) gamma and (I + C) beta, each (K,); kept in evaluation until a value changes."""
        learns = self.weight.requires_grad or self.bias.requires_grad
        if self.training or (learns and torch.is_grad_enabled()):
            return self._calibrate()
        return self._calibrate_once()

    def correlation(self) -> Tensor:
        """C of Eq. 6-8 between the present and the source affines, in float32 at least: (K, K)."""
        weight, bias, source_weight, source_bias = (
            _at_least_float32(p) for p in (self.weight, self.bias, self.source_weight, self.source_bias)
        )
        return kept_correlation(
            (source_weight, source_bias),
            (weight, bias),
            temperature=self.temperature,
            eps=self.eps,
            reference=self.reference,
        )

    def _calibrate(self) -> tuple[Tensor, Tensor]:
        dtype = self.weight.dtype
        with torch.autocast(self.weight.device.type, enabled=False):
            gamma, beta = _at_least_float32(self.weight), _at_least_float32(self.bias)
            weight, bias = calibrated_affines(gamma, beta, self.correlation())
        return weight.to(dtype), bias.to(dtype)

    def _calibrate_once(self) -> tuple[Tensor, Tensor]:
        """Compare by value: versions miss writes through `.data` and don't exist in inference mode."""
        with torch.inference_mode(False), torch.no_grad():
            options = (self.temperature, self.eps, self.reference, self.weight.device, self.weight.dtype)
            values = torch.stack((self.weight, self.bias, self.source_weight, self.source_bias))
            kept = self._evaluation
            if kept is None or kept[0] != options or not torch.equal(kept[1], values):
                kept = self._evaluation = (options, values, self._calibrate())
        return kept[2]

    def extra_repr(self) -> str:
        """Torch's line and what AC-Norm adds."""
        return f"{super().extra_repr()}, temperature={self.temperature}, reference={self.reference}"


class ACBatchNorm(ACNorm, _BatchNorm):
    """The paper's layer (Eq. 9): what ACNorm1d, 2d and 3d share."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name, callers may use it
        """Normalise `input` (N, K, ...) by batch (training) or running (evaluation) statistics."""
        self._check_input_dim(input)
        weight, bias = self.affines()
        rate = self._update_rate() if self.training else 0.0
        return F.batch_norm(
            input, self.running_mean, self.running_var, weight, bias, self.training, rate, self.eps
        )

    def _update_rate(self) -> float:
        """The share of this batch in the running statistics; counts the batch, as torch does."""
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        rate = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked or 1)
        return 1.0 - (1.0 - rate) ** 2 if self.reference else rate


class ACNorm1d(ACBatchNorm, nn.BatchNorm1d):
    """AC-Norm over (N, K) or (N, K, L)."""


class ACNorm2d(ACBatchNorm, nn.BatchNorm2d):
    """AC-Norm over (N, K, H, W)."""


class ACNorm3d(ACBatchNorm, nn.BatchNorm3d):
    """AC-Norm over (N, K, D, H, W)."""


class ACGroupNorm(ACNorm, nn.GroupNorm):
    """Eq. 9 on GroupNorm, beyond the paper."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Normalise `input` (N, K, ...) by the statistics of each image's groups of channels."""
        return F.group_norm(input, self.num_groups, *self.affines(), self.eps)


class ACInstanceNorm(ACNorm, _InstanceNorm):
    """Eq. 9 on InstanceNorm, beyond the paper: what the three below share; built with `affine=True`."""

    def _apply_instance_norm(self, input: Tensor) -> Tensor:  # noqa: A002
        """Called by torch's `forward`, which checks the shape of `input` (N, K, ...) or (K, ...)."""
        weight, bias = self.affines()
        own_statistics = self.training or not self.track_running_stats
        if own_statistics:
            check_voxels(input)
        rate = self.momentum if self.momentum is not None else 0.0
        return F.instance_norm(
            input, self.running_mean, self.running_var, weight, bias, own_statistics, rate, self.eps
        )


class ACInstanceNorm1d(ACInstanceNorm, nn.InstanceNorm1d):
    """AC-Norm over each of (N, K, L) by itself."""


class ACInstanceNorm2d(ACInstanceNorm, nn.InstanceNorm2d):
    """AC-Norm over each of (N, K, H, W) by itself."""


class ACInstanceNorm3d(ACInstanceNorm, nn.InstanceNorm3d):
    """AC-Norm over each of (N, K, D, H, W) by itself."""


class ACLayerNorm(ACNorm, nn.LayerNorm):
    """Eq. 9 on LayerNorm over channels, beyond the paper."""

    def __init__(self, *sizes: Any, **options: Any) -> None:
        super().__init__(*sizes, **options)
        self.register_forward_pre_hook(_observe)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Normalise `input` (..., K) over its K channels."""
        return F.layer_norm(input, self.normalized_shape, *self.affines(), self.eps)


def _observe(*_: object) -> None:
    """A hook that does nothing: hooked layers are called, where torch's transformer would fuse their `weight`."""


def _at_least_float32(values: Tensor) -> Tensor:
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
