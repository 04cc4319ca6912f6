"""AC-Norm finetuning: norms recalibrated by its source affines (Eq. 6-9), delivered folded."""

from __future__ import annotations

from worker.science.acnorm.convert import convert, fold
from worker.science.training.method import Method, Start, register
from worker.science.training.objective import Objective


def prepare(start: Start) -> Objective:
    """Convert every norm that has source affines; NotApplicableError where there is none."""
    convert(start.network.module, temperature=start.protocol.temperature, skip=tuple(start.fresh))
    return start.objective


AC_NORM = register(Method("ac_norm", "AC-Norm (Eq. 6-9), folded into plain norms", prepare, fold, usual=True))
