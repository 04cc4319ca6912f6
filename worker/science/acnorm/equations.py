"""Eq. 6-10 of AC-Norm, one function each; layer and measure both compute with these."""

from __future__ import annotations

import torch
from torch import Tensor

from worker.science.errors import ScienceError


def channel_ratio(gamma: Tensor, beta: Tensor, *, eps: float = 1e-5, reference: bool = False) -> Tensor:
    """Eq. 6: z = beta / sqrt(gamma^2 + eps), what a channel sends through a following ReLU.

    gamma, beta: (K,). `reference` gives the public code's beta / (|gamma| + eps), which differs for
    dead channels only (by 316 at gamma = 0). Returns (K,).
    """
    if reference:
        return beta / (gamma.abs() + eps)
    return beta / (gamma.square() + eps).sqrt()


def channel_correlation(z_target: Tensor, z_source: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Eq. 7: C_pq = softmax over q of -|z_target_p - z_source_q| / temperature.

    z_target, z_source: (K,). Returns (K, K); every row sums to 1.
    """
    distance = (z_target.unsqueeze(1) - z_source).abs_()
    return torch.softmax(distance.div_(-temperature), dim=1)


def keep_correlated(correlation: Tensor) -> Tensor:
    """Eq. 8: C_pq stays where C_pq >= C_pp and becomes 0 elsewhere; rows are not normalised again.

    correlation: (K, K), overwritten and returned. Exact ties stay, so equal channels keep each other.
    """
    diagonal = correlation.diagonal().unsqueeze(1)  # (K, 1)
    keep = torch.ge(correlation, diagonal, out=torch.empty_like(correlation))  # 1 or 0: a float mask is faster
    return correlation.mul_(keep)


def calibrated_affines(gamma: Tensor, beta: Tensor, correlation: Tensor) -> tuple[Tensor, Tensor]:
    """Eq. 9: gamma + C gamma and beta + C beta, the affines of the one equal norm layer.

    The paper's y = (gamma x + beta) + (C gamma x + C beta) for the normalised x is linear in the affines.
    gamma, beta: (K,); correlation: (K, K), a constant to the gradient. Returns two of (K,).
    """
    return torch.addmv(gamma, correlation, gamma), torch.addmv(beta, correlation, beta)


def correlation_sum(correlation: Tensor) -> Tensor:
    """Eq. 10: AC-Corr = the sum over p and q of C_pq after Eq. 8; between 1 and K.

    correlation: (K, K). Returns a scalar tensor.
    """
    return correlation.sum()


@torch.no_grad()
def kept_correlation(
    source: tuple[Tensor, Tensor],
    target: tuple[Tensor, Tensor],
    *,
    temperature: float = 1.0,
    eps: float = 1e-5,
    reference: bool = False,
) -> Tensor:
    """C of Eq. 6, 7 and 8 in a row, without gradient, from (gamma, beta) pairs of (K,) each: (K, K)."""
    z_source = channel_ratio(*source, eps=eps, reference=reference)
    z_target = channel_ratio(*target, eps=eps, reference=reference)
    return keep_correlated(channel_correlation(z_target, z_source, temperature=temperature))


def check_affines(*vectors: Tensor) -> None:
    """Refuse affines that aren't finite vectors of one length K >= 1 (ScienceError)."""
    shapes = {tuple(vector.shape) for vector in vectors}
    if len(shapes) != 1 or len(shape := shapes.pop()) != 1 or shape[0] < 1:
        raise ScienceError(f"affine parameters must be vectors of one length; got shapes {sorted(shapes)}")
    if not all(bool(vector.isfinite().all()) for vector in vectors):
        raise ScienceError("affine parameters hold NaN or infinity; load the checkpoint's weights again")


def check_temperature(temperature: float) -> None:
    """Refuse a temperature that isn't a positive finite number (ScienceError)."""
    if not 0.0 < temperature < float("inf"):
        raise ScienceError(f"temperature must be positive and finite; got {temperature}")
