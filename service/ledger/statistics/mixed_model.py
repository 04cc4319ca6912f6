"""A linear mixed model of outcomes: what past targets say of the candidates of a new one.

A standardised outcome of candidate c on target t is  z_tc = x_tc . w + g_c + e_tc: the standardised scores x of
the measures times their slopes w, the candidate's own effect g, and what is left. All three are normal. A
published measure's slope is expected to be PUBLISHED_SLOPE, any other's 0. A candidate without history has an
effect of mean 0 and the full variance, so its order comes from its scores, and its width says what is not known.

Everything follows from sums over targets, so a target is left out by a subtraction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from service.ledger.statistics.target_record import Numbers, TargetRecord, standardised_rows

PUBLISHED_SLOPE = 0.15  # of a measure that a published study found to agree with outcomes
SLOPE_VARIANCE = 0.03  # of a single slope
EFFECT_VARIANCES = (
    0.02,
    0.1,
    0.2,
    0.3,
    0.4,
    0.5,
)  # of a candidate's effect: how alike its outcomes on two targets are
EFFECT_WEIGHTS = (1.0, 2.0, 3.0, 4.0, 3.0, 2.0)  # before any target is known
EXPLAINED = 0.9  # of the variance: the effect and the rest together

Scores = Mapping[str, Mapping[str, float]]  # measure -> candidate -> score


@dataclass(frozen=True)
class _Sums:
    """Sums over targets: M measures, C candidates."""

    outcomes: Numbers  # () of z z
    slopes: Numbers  # (M, M) of x x'
    slopes_outcomes: Numbers  # (M,) of x z
    effects: Numbers  # (C,) of 1
    effects_slopes: Numbers  # (C, M) of x
    effects_outcomes: Numbers  # (C,) of z

    @classmethod
    def none(cls, candidates: int, measures: int) -> _Sums:
        shapes = ((), (measures, measures), (measures,), (candidates,), (candidates, measures), (candidates,))
        return cls(*(np.zeros(shape) for shape in shapes))

    def plus(self, places: Sequence[int], x: Numbers, z: Numbers, sign: float = 1.0) -> None:
        """Add a target, or with sign -1 take it away, in place: x (n, M), z (n,), at these candidates (n,)."""
        self.outcomes[...] += sign * z @ z
        self.slopes[...] += sign * x.T @ x
        self.slopes_outcomes[...] += sign * x.T @ z
        self.effects[places] += sign
        self.effects_slopes[places] += sign * x
        self.effects_outcomes[places] += sign * z


@dataclass(frozen=True)
class Posterior:
    """What the targets say: slopes are normal, and given them every candidate's effect is, by itself."""

    measures: tuple[str, ...]
    places: Mapping[str, int]  # candidate -> row of the sums; others have no history
    slopes: Numbers  # (M,) mean
    covariance: Numbers  # (M, M) of the slopes
    effect: float  # variance of a candidate's effect
    log_likelihood: float  # of the targets' outcomes
    _sums: _Sums

    @property
    def rest(self) -> float:
        """Variance of what neither scores nor history tell."""
        return EXPLAINED - self.effect

    def of(self, scores: Scores, candidates: Sequence[str]) -> Prediction:
        """The standardised outcomes of these candidates on a target where they have these scores."""
        x = rows(scores, candidates, self.measures)
        places = np.array([self.places.get(name, -1) for name in candidates], int)
        known = places >= 0
        precision = np.full(len(candidates), self.rest / self.effect)
        precision[known] += self._sums.effects[places[known]]
        taken = np.zeros_like(x)
        taken[known] = self._sums.effects_slopes[places[known]]
        given = np.zeros(len(candidates))
        given[known] = self._sums.effects_outcomes[places[known]]
        on_slopes = x - taken / precision[:, None]
        return Prediction(
            mean=on_slopes @ self.slopes + given / precision,
            factors=on_slopes @ np.linalg.cholesky(self.covariance),
            own=self.rest / precision + self.rest,
        )


@dataclass(frozen=True)
class Prediction:
    """Standardised outcomes of n candidates: normal, with covariance  factors factors' + diag(own)."""

    mean: Numbers  # (n,)
    factors: Numbers  # (n, M)
    own: Numbers  # (n,)

    @property
    def variance(self) -> Numbers:
        """The variance of each: (n,)."""
        return np.asarray(np.square(self.factors).sum(1) + self.own)


@dataclass(frozen=True)
class Model:
    """Past targets of one task, as sums from which any of them can be left out."""

    records: tuple[TargetRecord, ...]
    measures: tuple[str, ...]
    trust: Mapping[str, float]

    @cached_property
    def _places(self) -> dict[str, int]:
        names = sorted({name for record in self.records for name in record.outcomes})
        return {name: place for place, name in enumerate(names)}

    @cached_property
    def _parts(self) -> dict[str, tuple[list[int], Numbers, Numbers]]:
        """Target -> its candidates' rows, scores (n, M) and standardised outcomes (n,)."""
        parts = {}
        for record in self.records:
            names, z = record.standardised_outcomes
            if z.any():
                parts[record.target] = (
                    [self._places[n] for n in names],
                    rows(record.scores, names, self.measures),
                    z,
                )
        return parts

    @cached_property
    def _all(self) -> _Sums:
        sums = _Sums.none(len(self._places), len(self.measures))
        for part in self._parts.values():
            sums.plus(*part)
        return sums

    @cached_property
    def whole(self) -> Posterior:
        """The posterior from all targets."""
        return self.without(())

    def without(self, targets: Iterable[str]) -> Posterior:
        """The posterior from all targets but these."""
        sums = _Sums(*(getattr(self._all, name).copy() for name in _Sums.__dataclass_fields__))
        for target in targets:
            if target in self._parts:
                sums.plus(*self._parts[target], sign=-1.0)
        found = [self._posterior(sums, effect) for effect in EFFECT_VARIANCES]
        logs = np.array([one.log_likelihood for one in found]) + np.log(EFFECT_WEIGHTS)
        weights = np.exp(logs - logs.max())
        return self._posterior(sums, float(weights @ EFFECT_VARIANCES / weights.sum()))

    def _posterior(self, sums: _Sums, effect: float) -> Posterior:
        """At this variance of the effects, which are integrated out: each by itself, given the slopes."""
        rest = EXPLAINED - effect
        prior = np.array([PUBLISHED_SLOPE if self.trust.get(name, 0) > 0 else 0.0 for name in self.measures])
        precision = sums.effects + rest / effect  # times 1 / rest
        taken = sums.effects_slopes / precision[:, None]
        system = np.eye(len(prior)) / SLOPE_VARIANCE + (sums.slopes - sums.effects_slopes.T @ taken) / rest
        right = prior / SLOPE_VARIANCE + (sums.slopes_outcomes - taken.T @ sums.effects_outcomes) / rest
        covariance = np.linalg.inv(system)
        slopes = covariance @ right
        unexplained = sums.outcomes - (sums.effects_outcomes**2 / precision).sum()
        apart = unexplained / rest + prior @ prior / SLOPE_VARIANCE - slopes @ right
        volume = (
            sums.effects.sum() * np.log(rest)
            + np.log(precision * effect / rest).sum()
            + np.linalg.slogdet(system * SLOPE_VARIANCE)[1]
        )
        return Posterior(
            self.measures,
            self._places,
            slopes,
            (covariance + covariance.T) / 2,
            effect,
            -0.5 * (apart + volume),
            sums,
        )


def rows(scores: Scores, candidates: Sequence[str], measures: Sequence[str]) -> Numbers:
    """Standardised scores, (n, M); what is missing counts as average."""
    return standardised_rows({name: scores.get(name, {}) for name in measures}, candidates).T
