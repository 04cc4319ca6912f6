"""AC-Corr against its null: is the drift of the last encoder norm more than any labels would cause?"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from worker.science import flags
from worker.science.errors import NotApplicableError, ScienceError
from worker.science.evidence.parts import Evidence, Part, gathered
from worker.science.flags import Flag, raised
from worker.science.measures.ac_corr import PAPER, layer_correlation
from worker.science.measures.registry import DEGENERATE, Score, register

USUAL_PERMUTATIONS = 19  # with fewer, p can't reach 0.05
REACHABLE_P = 1 / (USUAL_PERMUTATIONS + 1)
FEW_PERMUTATIONS = flags.register(
    Flag(
        "few_permutations",
        f"Fewer than {USUAL_PERMUTATIONS} permutations of the labels were trained, so the p-value of ac_corr_null "
        f"can't reach {REACHABLE_P}, and its z-score rests on few values.",
    )
)
NO_SPREAD = 1e-9  # null values nearer than this share of their mean differ by rounding only

OF_SOURCE = ("channels", "tied_share", "dead_share", "spread", "zero_drift")


@dataclass(frozen=True)
class Calibration:
    """A value against the values that the same epoch gave on permuted labels."""

    observed: float
    null: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean of the null values."""
        return statistics.fmean(self.null)

    @property
    def deviation(self) -> float:
        """Standard deviation of the R null values, over R - 1; 0 where they differ by rounding only."""
        deviation = statistics.stdev(self.null)
        return deviation if deviation > NO_SPREAD * abs(self.mean) else 0.0

    @property
    def z(self) -> float | None:
        """How many standard deviations the value lies above the mean of the null; None without spread."""
        return (self.observed - self.mean) / self.deviation if self.deviation else None

    @property
    def p(self) -> float:
        """(1 + null values at or above the observed) / (R + 1), one-sided."""
        return (1 + sum(value >= self.observed for value in self.null)) / (len(self.null) + 1)

    @property
    def p_below(self) -> float:
        """(1 + null values at or below the observed) / (R + 1): small where other labels move the norm more."""
        return (1 + sum(value <= self.observed for value in self.null)) / (len(self.null) + 1)


@register(
    title="AC-Corr above its label-permutation null",
    source=f"{PAPER}; z-score against the same epoch on permuted labels",
    needs={Part.AFFINES, Part.NULL},
)
def ac_corr_null(evidence: Evidence) -> Score:
    """z of AC-Corr, with p in the record; the same for the raw sum, per channel, and above zero drift.

    The labels, or whole masks, are permuted among the training images, and the epoch is repeated from the same
    weights in the same order. What the permutation keeps is no evidence: class shares, where masks usually lie.
    Images are permuted freely: where several come from one patient, p is too small.
    """
    path, moved = evidence.last_encoder_norm, gathered(evidence.affines, Part.AFFINES)
    null = gathered(evidence.null, Part.NULL)
    if path is None or path not in moved:
        raise NotApplicableError("AC-Corr is not defined for this candidate, so neither is its null")
    if null.reason is not None:
        raise ScienceError(null.reason)
    if len(null.affines) < 2:
        raise NotApplicableError("null_permutations: a standard deviation needs two permutations at least")

    observed = layer_correlation(moved[path], temperature=evidence.temperature)
    repeated = (layer_correlation(layers[path], temperature=evidence.temperature) for layers in null.affines)
    calibration = Calibration(observed.ac_corr, tuple(layer.ac_corr for layer in repeated))
    few = raised({FEW_PERMUTATIONS: len(calibration.null) < USUAL_PERMUTATIONS})
    record = {
        "layer": path,
        **_record(calibration),
        "source": {name: getattr(observed, name) for name in OF_SOURCE},
    }
    if calibration.z is None:
        without_scale = tuple(dict.fromkeys((*observed.flags, DEGENERATE.name, *few)))
        return Score(
            None, without_scale, record, reason="all permutations gave one value: there is no scale for a z-score"
        )
    return Score(calibration.z, (*observed.flags, *few), record)


def _record(calibration: Calibration) -> dict[str, Any]:
    return {
        "p": calibration.p,
        "p_below": calibration.p_below,
        "permutations": len(calibration.null),
        "observed": calibration.observed,
        "null_mean": calibration.mean,
        "null_deviation": calibration.deviation,
        "null": list(calibration.null),
    }
