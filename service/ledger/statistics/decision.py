"""From what is expected of the candidates to a decision: how much a choice may cost, against a tolerance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from service.ledger.statistics.mixed_model import Prediction
from service.ledger.statistics.target_record import Numbers

DRAWS, FEWER_DRAWS, MANY = 4000, 1000, 100  # draws; fewer for more than MANY candidates
DRAWS_OF_PAST = 400  # of each past target, whose figures are means over targets
LIKELY = 0.1, 0.9  # the ends of an 80 % interval
Places = NDArray[np.intp]


class Kind(StrEnum):
    """The three kinds of answer."""

    USE = "use"
    ANY = "any"
    SHORTLIST = "shortlist"


@dataclass(frozen=True)
class Decision:
    """What to do, for n candidates. Regret: how much better the best of them is than the chosen one."""

    kind: Kind
    first: int  # the one of least expected regret
    shortlist: tuple[int, ...]  # the fewest of which one is within the tolerance but for the risk, first to last
    equal: tuple[int, ...]  # those within the tolerance of the best, each but for the risk
    cover: float  # the probability that one of the shortlist is
    within: Numbers  # (n,) the probability of being within the tolerance of the best
    best: Numbers  # (n,) of being the best
    regret: Numbers  # (n,) expected
    regret_ends: Numbers  # (2, n) of its 80 % interval


def decide(values: Numbers, *, tolerance: float, risk: float) -> Decision:
    """Decide from draws of the candidates' outcomes (L, n), by the tolerance in their unit.

    The answer is to use one where it alone is enough: within the tolerance with probability 1 - risk. Where
    several are, any of them will do.
    """
    lost = values.max(1, keepdims=True) - values
    regret = lost.mean(0)
    near = lost <= tolerance
    within = near.mean(0)
    shortlist = _fewest(near, int(regret.argmin()), risk)
    equal = tuple(int(i) for i in np.lexsort((regret, -within)) if within[i] >= 1 - risk)
    kind = Kind.SHORTLIST if len(shortlist) > 1 else Kind.ANY if len(equal) > 1 else Kind.USE
    return Decision(
        kind=kind,
        first=shortlist[0],
        shortlist=shortlist,
        equal=equal,
        cover=float(near[:, list(shortlist)].any(1).mean()),
        within=within,
        best=(lost == 0).mean(0),
        regret=regret,
        regret_ends=np.quantile(lost, LIKELY, axis=0),
    )


def _fewest(near: NDArray[np.bool_], first: int, risk: float) -> tuple[int, ...]:
    """The shortlist: greedily whatever leaves the fewest draws without a member within the tolerance."""
    chosen, left = [first], ~near[:, first]
    while left.mean() > risk:
        gains = (near & left[:, None]).sum(0)
        chosen.append(int(gains.argmax()))
        left &= ~near[:, chosen[-1]]
    return tuple(chosen)


@dataclass(frozen=True)
class Conditional:
    """What is expected of the candidates once outcomes on this very target are known."""

    mean: Numbers  # (n,) standardised
    draws: Numbers  # (L, n) of outcomes less a constant of each draw, in the outcomes' unit


def conditional(
    prediction: Prediction,
    spreads: Numbers,
    *,
    known: Mapping[int, float],
    noise: float = 0.0,
    most_draws: int = DRAWS,
) -> Conditional:
    """Means and draws of the candidates' outcomes.

    spreads: values of equal probability before any outcome here is known. known: candidate -> its outcome on this
    very target, which has this standard deviation of noise.
    """
    places = np.array(sorted(known), int)
    outcomes = np.array([known[place] for place in places])
    weights = _likelihoods(prediction, spreads, places, outcomes, noise)
    random = np.random.default_rng(0)
    n, factors = len(prediction.mean), prediction.factors.shape[1]
    total = min(most_draws, DRAWS if n <= MANY else FEWER_DRAWS)
    counts = 2 * np.floor(weights * total / 2 + 0.5).astype(int)
    mean, parts = np.zeros(n), []
    for spread, weight, count in zip(spreads, weights, counts, strict=True):
        move = _move(prediction, spread, places, outcomes, noise)
        mean += weight * move(spread * prediction.mean[None], np.zeros((1, len(places))))[0] / spread
        half = random.standard_normal((count // 2, factors + n + len(places)))
        normal = np.concatenate([half, -half])
        of_factors, of_own, of_noise = np.split(normal, [factors, factors + n], 1)
        values = prediction.mean + of_factors @ prediction.factors.T + of_own * np.sqrt(prediction.own)
        parts.append(move(spread * values, noise * of_noise))
    return Conditional(mean, np.concatenate(parts))


def _move(
    prediction: Prediction, spread: float, places: Places, outcomes: Numbers, noise: float
) -> Callable[[Numbers, Numbers], Numbers]:
    """What moves draws (L, n), with noise (L, K) for the known ones, so that they agree with the outcomes."""
    if len(places) < 2:  # one outcome tells the level of the target, which is nothing to differences
        return lambda values, _: values
    contrasts = _contrasts(len(places))
    across = spread**2 * _covariance(prediction, places) @ contrasts.T  # (n, K - 1)
    inner = contrasts @ across[places] + noise**2 * contrasts @ contrasts.T
    gain = np.linalg.solve(inner, across.T)
    return lambda values, errors: values + (outcomes - values[:, places] - errors) @ contrasts.T @ gain


def _contrasts(count: int) -> Numbers:
    """Each but the first less the mean of all: (K - 1, K)."""
    return np.asarray(np.eye(count)[1:] - 1 / count)


def _covariance(prediction: Prediction, places: Places) -> Numbers:
    """Between all candidates and these, (n, K), standardised."""
    between = prediction.factors @ prediction.factors[places].T
    between[places, np.arange(len(places))] += prediction.own[places]
    return np.asarray(between)


def _likelihoods(
    prediction: Prediction, spreads: Numbers, places: Places, outcomes: Numbers, noise: float
) -> Numbers:
    """The probability of each spread, given the outcomes that are known: (POINTS,), summing to 1."""
    if len(places) < 2:
        return np.full(len(spreads), 1 / len(spreads))
    contrasts = _contrasts(len(places))
    standard = contrasts @ _covariance(prediction, places)[places] @ contrasts.T
    of_noise = noise**2 * contrasts @ contrasts.T
    logs = []
    for spread in spreads:
        inner = spread**2 * standard + of_noise
        apart = contrasts @ (outcomes - spread * prediction.mean[places])
        logs.append(-0.5 * (np.linalg.slogdet(inner)[1] + apart @ np.linalg.solve(inner, apart)))
    weights = np.exp(np.array(logs) - max(logs))
    return np.asarray(weights / weights.sum())
