"""How far outcomes of a target's candidates lie apart: the unit that standardised outcomes are multiplied by.

Spreads differ by a factor of three between targets of one metric, so one is never taken for known: it is
log-normal, with the mean and the width that past targets show.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from service.ledger.statistics.target_record import Numbers, TargetRecord

USUAL, USUAL_TARGETS = (
    0.02,
    1.0,
)  # of a metric between 0 and 1, before any target is known, and how many that counts for
USUAL_WIDTH, WIDTH_TARGETS = 0.7, 2.0  # standard deviation of the logarithm, likewise
USUAL_OF_LEVEL = 0.1  # spread as a share of m (1 - m), m the mean outcome
POINTS = 13
LEAST = 1e-6  # a spread that is computed with


@dataclass(frozen=True)
class Spread:
    """A log-normal standard deviation of outcomes over candidates, by the mean and deviation of its logarithm."""

    log_mean: float
    log_deviation: float

    @property
    def values(self) -> Numbers:
        """POINTS values of equal probability: (POINTS,)."""
        standard = [NormalDist().inv_cdf((point + 0.5) / POINTS) for point in range(POINTS)]
        return np.asarray(np.exp(self.log_mean + self.log_deviation * np.array(standard)))


def spread(past: Sequence[TargetRecord], *, level: float | None, bounded: bool) -> Spread | None:
    """The spread to expect on a new target, from past targets of its metric; None where nothing is known.

    level: the mean outcome there as far as it is known. bounded: whether the metric lies between 0 and 1.
    """
    siblings = Counter(record.cohort for record in past)
    seen = [
        (
            float(np.std(list(record.outcomes.values()))),
            2 / (1 + (siblings[record.cohort] if record.cohort else 1)),
            _mean(record),
        )
        for record in past
        if len(record.outcomes) > 1
    ]
    seen = [one for one in seen if one[0] > 0]
    if not seen and not bounded:
        return None
    plain = _fitted([(value, weight) for value, weight, _ in seen], USUAL if bounded else None)
    if not bounded or level is None or not 0 < level < 1:
        return plain
    of_level = [(value / (m * (1 - m)), weight) for value, weight, m in seen if 0 < m < 1]
    relative = _fitted(of_level, USUAL_OF_LEVEL)
    if relative.log_deviation > plain.log_deviation:
        return plain
    return Spread(relative.log_mean + math.log(level * (1 - level)), relative.log_deviation)


def _mean(record: TargetRecord) -> float:
    return sum(record.outcomes.values()) / len(record.outcomes)


def _fitted(seen: Sequence[tuple[float, float]], usual: float | None) -> Spread:
    """From values and weights; the arithmetic mean is kept, since that of a fitted log-normal inflates it."""
    values, weights = (np.array(column, float) for column in (zip(*seen, strict=True) if seen else ((), ())))
    extra = 0.0 if usual is None else USUAL_TARGETS
    mean = (weights @ values + extra * (usual or 0.0)) / (weights.sum() + extra)
    logs = np.log(values)
    centre = weights @ logs / weights.sum() if len(values) else 0.0
    apart = weights @ np.square(logs - centre) + WIDTH_TARGETS * USUAL_WIDTH**2
    deviation = math.sqrt(apart / (max(weights.sum() - 1, 0.0) + WIDTH_TARGETS))
    return Spread(math.log(max(mean, LEAST)) - deviation**2 / 2, deviation)
