"""CC-FV's parts and sum against recorded values of the public code."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from worker.science.evidence.parts import Stage
from worker.science.measures.cc_fv import gaussian, log_ratio, stage_consistency, wasserstein

FAMILY = "cc-fv"


def stage(case, layer: str) -> Stage:
    """One recorded layer: inputs are named l<layer>_c<class>_i<image>."""
    names = sorted(name for name in case.arrays if name.startswith(f"in_{layer}_c"))
    clouds = [case.arrays[name] for name in names]
    rows = [len(cloud) for cloud in clouds]
    labels, images = (np.repeat([int(name.split(mark)[-1][0]) for name in names], rows) for mark in ("_c", "_i"))
    values = torch.from_numpy(np.concatenate(clouds))
    return Stage(layer, values, torch.from_numpy(labels), torch.from_numpy(images), 1.0)


@pytest.mark.parametrize("layer", ["l0", "l1"])
def test_parts(case, layer):
    one, other = (gaussian(case.input(f"{layer}_c1_i{image}")) for image in (0, 1))
    case.check(f"{layer}_w_c1_i0_i1", wasserstein(one, other))
    found = stage_consistency(stage(case, layer))
    case.check(f"{layer}_w_mean_pairs_classes", found.consistency)
    case.check(f"{layer}_variety", found.energy)
    assert (found.classes, found.images) == (2, 5)


def test_sum(case):
    found = [stage_consistency(stage(case, layer)) for layer in ("l0", "l1")]
    case.check("ccfv_mean_normalised", sum(log_ratio(one, sign=1.0) for one in found))
    published = sum(-np.log(one.energy) - np.log(one.consistency) for one in found)
    assert sum(map(log_ratio, found)) == pytest.approx(published)
