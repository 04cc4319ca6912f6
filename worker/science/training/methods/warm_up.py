"""Warm-up finetuning: first the new layers alone, then every weight."""

from __future__ import annotations

from dataclasses import replace

from worker.science.training.method import Method, Start, register
from worker.science.training.objective import Objective
from worker.science.training.options import Option
from worker.science.training.phases import Phase

SHARE = Option(
    "share",
    1 / 16,
    "Share of the epochs in which only layers without source weights train, at least one epoch; 0 for no warm-up.",
    lowest=0.0,
    highest=1.0,
)


def prepare(start: Start) -> Objective:
    """One phase in which nothing from the source changes, running statistics included; then everything trains."""
    share = float(start.options[SHARE.name])
    if not share:
        return start.objective
    warm_up = Phase("warm-up", trains=lambda name: not start.from_source(name), share=share)
    return replace(start.objective, phases=(warm_up,))


WARM_UP = register(Method("warm_up", "new layers first, then all weights", prepare, options=(SHARE,)))
