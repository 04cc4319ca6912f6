"""AC-Norm's layer and equations against recorded runs of the public reference code."""

from __future__ import annotations

import pytest
import torch

from worker.science.acnorm.equations import correlation_sum, kept_correlation
from worker.science.acnorm.layer import ACNorm, ACNorm2d, ACNorm3d

FAMILY = "ac-norm"


def tensor(case, name):
    return torch.from_numpy(case.input(name).copy())


def correlation(case, *, reference, temperature=None):
    return kept_correlation(
        (tensor(case, "gamma_s"), tensor(case, "beta_s")),
        (tensor(case, "gamma_t"), tensor(case, "beta_t")),
        temperature=float(case.input("temperature")) if temperature is None else temperature,
        eps=float(case.input("eps")),
        reference=reference,
    )


def layer_of(case, *, reference) -> ACNorm:
    gamma = tensor(case, "gamma_s")
    kind = ACNorm3d if case.input("x").ndim == 6 else ACNorm2d
    layer = kind(
        len(gamma),
        temperature=float(case.input("temperature")),
        reference=reference,
        eps=float(case.input("eps")),
        momentum=float(case.input("momentum")),
        dtype=gamma.dtype,
    )
    names = {"weight": "gamma_t", "bias": "beta_t", "source_weight": "gamma_s", "source_bias": "beta_s"}
    names |= {"running_mean": "running_mean0", "running_var": "running_var0"}
    with torch.no_grad():
        for name, recorded in names.items():
            getattr(layer, name).copy_(tensor(case, recorded))
    return layer


def test_eq_7_8_and_10_in_both_forms_of_z(case):
    code, paper = correlation(case, reference=True), correlation(case, reference=False)
    case.check("C_code_z", code)
    case.check("C_paper_z", paper)
    case.check("ac_corr_paper_z", correlation_sum(paper))
    at_one = correlation(case, reference=True, temperature=1.0)
    case.check("C_reference_tem1", at_one)
    case.check("ac_corr_reference_tem1", correlation_sum(at_one))


def test_reference_mode_repeats_outputs_gradients_and_statistics(case):
    if not case.expects("y_train"):
        pytest.skip("the reference raised on this input")
    layer = layer_of(case, reference=True)
    for step in tensor(case, "x")[:-1]:
        layer(step)
    x = tensor(case, "x")[-1].requires_grad_()
    y = layer(x)
    y.backward(tensor(case, "grad_out"))
    case.check("y_train", y.detach())
    case.check("grad_x", x.grad)
    case.check("grad_gamma_t", layer.weight.grad)
    case.check("grad_beta_t", layer.bias.grad)
    case.check("running_mean_reference", layer.running_mean)
    case.check("running_var_reference", layer.running_var)
    case.check("y_eval_after", layer.eval()(x).detach())


def test_paper_mode_updates_statistics_once_a_step(case):
    if not case.expects("running_mean_single_update"):
        pytest.skip("not recorded")
    layer = layer_of(case, reference=False)
    for step in tensor(case, "x"):
        layer(step)
    case.check("running_mean_single_update", layer.running_mean)
    case.check("running_var_single_update", layer.running_var)
    assert int(layer.num_batches_tracked) == len(case.input("x"))
