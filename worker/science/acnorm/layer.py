"""AC-Norm as one BatchNorm whose affines Eq. 9 calibrates (1D, 2D and 3D)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worker.science.acnorm.equations import calibrated_affines, check_temperature, kept_correlation

if TYPE_CHECKING:
    from torch.nn.modules.batchnorm import _BatchNorm as Base
else:
    Base = object  # mixed into BatchNorm1d/2d/3d below, which bring the shape checks


class ACNorm(Base):
    """What the three layers share: a BatchNorm that remembers the affines it was pretrained with.

    `weight`, `bias` (K,) are the target's and learn; `source_weight`, `source_bias` (K,) are buffers.
    Gradients reach the target affines through I + C with C constant. `reference` repeats the public
    code: |gamma| + eps in Eq. 6, running statistics updated twice a step.
    """

    source_weight: Tensor
    source_bias: Tensor

    def __init__(
        self, num_features: int, *, temperature: float = 1.0, reference: bool = False, **batch_norm: Any
    ) -> None:
        check_temperature(temperature)
        super().__init__(num_features, **batch_norm)
        self.temperature = temperature
        self.reference = reference
        self.register_buffer("source_weight", self.weight.detach().clone())
        self.register_buffer("source_bias", self.bias.detach().clone())
        self._evaluation: tuple[tuple[object, ...], Tensor, tuple[Tensor, Tensor]] | None = None

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name, callers may use it
        """Normalise `input` (N, K, ...) by batch (training) or running (evaluation) statistics."""
        self._check_input_dim(input)
        weight, bias = self.affines()
        rate = self._update_rate() if self.training else 0.0
        return F.batch_norm(
            input, self.running_mean, self.running_var, weight, bias, self.training, rate, self.eps
        )

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

    def _update_rate(self) -> float:
        """The share of this batch in the running statistics; counts the batch, as torch does."""
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        rate = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked or 1)
        return 1.0 - (1.0 - rate) ** 2 if self.reference else rate

    def extra_repr(self) -> str:
        """Torch's line and what AC-Norm adds."""
        return f"{super().extra_repr()}, temperature={self.temperature}, reference={self.reference}"


class ACNorm1d(ACNorm, nn.BatchNorm1d):
    """AC-Norm over (N, K) or (N, K, L)."""


class ACNorm2d(ACNorm, nn.BatchNorm2d):
    """AC-Norm over (N, K, H, W)."""


class ACNorm3d(ACNorm, nn.BatchNorm3d):
    """AC-Norm over (N, K, D, H, W)."""


def _at_least_float32(values: Tensor) -> Tensor:
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
