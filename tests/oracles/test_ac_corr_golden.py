"""AC-Corr against recorded values: checkpoints of three widths and its response to drift."""

from __future__ import annotations

import numpy as np
import torch

from worker.science.acnorm.equations import correlation_sum, kept_correlation

FAMILY = "ac-corr"


def ac_corr(source, target) -> float:
    pairs = [tuple(torch.from_numpy(np.array(vector)) for vector in pair) for pair in (source, target)]
    return float(correlation_sum(kept_correlation(*pairs, reference=True)))


def test_checkpoints(case):
    layers = [f"enc_{i}_" for i in range(3) if f"in_enc_{i}_gamma_s" in case.arrays]
    values = [
        ac_corr(*[(case.input(f"{layer}gamma_{d}"), case.input(f"{layer}beta_{d}")) for d in "st"])
        for layer in layers
    ]
    for layer, value in zip(layers, values, strict=True):
        case.check(f"ac_corr_{layer}", value)
    if values:
        case.check("ac_corr_last_layer", values[-1])
        case.check("ac_corr_mean_of_three", np.mean(values))


def test_drift_curve(case):
    if "in_drift" not in case.arrays:
        return
    gamma, beta = case.input("gamma_s"), case.input("beta_s")
    d1, d2, one = case.input("d1"), case.input("d2"), np.ones_like(gamma)
    drift = case.input("drift")
    curves = {
        "random_drift": [ac_corr((gamma, beta), (gamma, beta + a * d2)) for a in drift],
        "uniform_shift_of_z": [ac_corr((gamma, beta), (gamma, beta + a * gamma)) for a in drift],
        "fresh_source_random_drift": [ac_corr((one, 0 * beta), (one, a * d2)) for a in drift],
        "zero_drift_source_jitter": [ac_corr((one, a * d1), (one, a * d1)) for a in drift],
    }
    for name, values in curves.items():
        case.check(name, values)
