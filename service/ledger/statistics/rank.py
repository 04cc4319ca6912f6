"""Rank statistics of scores against outcomes, for one order or for many at once.

Arrays are float64 of shape (..., n): the last axis runs over candidates, all others over draws. Higher is better
for both. NaN marks what has no value: a constant score or outcome is no order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Numbers = NDArray[np.float64]
Statistic = Callable[[ArrayLike, ArrayLike], Numbers]

EXACT_UP_TO = 8  # candidates: 40 320 orders
DRAWS = 10_000
_ROUNDING = 1e-9
_AT_ONCE = 4_000_000  # pairs of candidates held in memory


def pearson(scores: ArrayLike, outcomes: ArrayLike) -> Numbers:
    """Pearson's r over the last axis: (...)."""
    x, y = _both(scores, outcomes)
    x, y = x - x.mean(-1, keepdims=True), y - y.mean(-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation: Numbers = (x * y).sum(-1) / np.sqrt((x * x).sum(-1) * (y * y).sum(-1))
    return np.where(_ordered(x, y), correlation, np.nan)


def kendall_tau(scores: ArrayLike, outcomes: ArrayLike) -> Numbers:
    """Kendall's tau-b over the last axis: (...)."""
    x, y = _both(scores, outcomes)
    return _tau(x, y, np.ones(x.shape[-1]))


def weighted_tau(scores: ArrayLike, outcomes: ArrayLike) -> Numbers:
    """Weighted tau over the last axis: (...); Vigna 2015, as `scipy.stats.weightedtau` by default.

    A pair weighs 1/(r+1) + 1/(s+1) for the places r and s of its members, counted from 0 at the highest; the
    mean of the value by the scores' places (ties by outcome) and by the outcomes' (ties by score).
    """
    x, y = _both(scores, outcomes)
    return (_tau(x, y, 1 / (_places(x, y) + 1)) + _tau(x, y, 1 / (_places(y, x) + 1))) / 2


def _both(scores: ArrayLike, outcomes: ArrayLike) -> tuple[Numbers, Numbers]:
    x, y = np.broadcast_arrays(np.asarray(scores, float), np.asarray(outcomes, float))
    return x, y


def _ordered(x: Numbers, y: Numbers) -> NDArray[np.bool_]:
    """Whether neither is constant."""
    if x.shape[-1] < 2:
        return np.zeros(x.shape[:-1], bool)
    return np.asarray((np.ptp(x, axis=-1) > 0) & (np.ptp(y, axis=-1) > 0))


def _places(first: Numbers, second: Numbers) -> Numbers:
    """Place from 0 at the highest by `first`, ties by `second`."""
    ascending = np.lexsort((second, first), axis=-1)
    places = np.empty(first.shape)
    np.put_along_axis(places, ascending, np.arange(first.shape[-1] - 1.0, -1.0, -1.0), axis=-1)
    return places


def _tau(x: Numbers, y: Numbers, weights: Numbers) -> Numbers:
    """Tau-b with additive weights of the pairs; every pair is counted twice, above and below the line."""
    pairs = weights[..., :, None] + weights[..., None, :]
    of_x, of_y = _signs(x), _signs(y)
    with np.errstate(invalid="ignore", divide="ignore"):
        untied = (pairs * np.abs(of_x)).sum((-2, -1)) * (pairs * np.abs(of_y)).sum((-2, -1))
        tau: Numbers = (pairs * of_x * of_y).sum((-2, -1)) / np.sqrt(untied)
    return np.where(_ordered(x, y), np.clip(tau, -1, 1), np.nan)


def _signs(values: Numbers) -> NDArray[np.int8]:
    return np.sign(values[..., :, None] - values[..., None, :]).astype(np.int8)


def top_choice(scores: ArrayLike, outcomes: ArrayLike) -> tuple[Numbers, Numbers]:
    """Hit and regret of following the scores' first choice: two of (...).

    Hit: 1 when it has the best outcome. Regret: the best outcome less its own. Over tied first choices both are
    expected values.
    """
    x, y = _both(scores, outcomes)
    first = x == x.max(-1, keepdims=True)
    best = y.max(-1, keepdims=True)
    share = first / first.sum(-1, keepdims=True)
    return (share * (y == best)).sum(-1), (share * (best - y)).sum(-1)


def permutation_p(pairs: Sequence[tuple[ArrayLike, ArrayLike]], statistic: Statistic, *, seed: int = 0) -> float:
    """Two-sided p of a statistic's mean over (scores, outcomes) pairs, when outcomes are shuffled in each.

    One pair of up to EXACT_UP_TO candidates: exact, the share of all orders at least as far from 0. Else from
    DRAWS seeded draws, which count what was observed as one of them. NaN without any pair that has an order.
    """
    observed = [float(statistic(*pair)) for pair in pairs]
    ordered = [pair for pair, value in zip(pairs, observed, strict=True) if not np.isnan(value)]
    if not ordered:
        return float("nan")
    far = abs(float(np.nanmean(observed))) - _ROUNDING
    nulls = [_shuffled_values(*pair, statistic, seed=seed) for pair in ordered]
    if len(ordered) == 1 and len(np.asarray(ordered[0][0])) <= EXACT_UP_TO:
        return float((np.abs(nulls[0]) >= far).mean())
    random = np.random.default_rng(seed)
    drawn = np.mean([random.choice(values, DRAWS) for values in nulls], axis=0)
    return float(((np.abs(drawn) >= far).sum() + 1) / (DRAWS + 1))


def _shuffled_values(scores: ArrayLike, outcomes: ArrayLike, statistic: Statistic, *, seed: int) -> Numbers:
    """The statistic for shuffled outcomes: all orders up to EXACT_UP_TO candidates, else DRAWS: (draws,)."""
    x, y = _both(scores, outcomes)
    return in_parts(lambda order: statistic(x, y[order]), _orders(len(x), seed))


@lru_cache(maxsize=8)
def _orders(n: int, seed: int) -> NDArray[np.intp]:
    if n <= EXACT_UP_TO:
        return np.array(list(permutations(range(n))), dtype=np.intp).reshape(-1, n)
    return np.random.default_rng(seed).permuted(np.tile(np.arange(n), (DRAWS, 1)), axis=1)


def in_parts(statistic: Callable[[NDArray[np.intp]], Numbers], orders: NDArray[np.intp]) -> Numbers:
    """A statistic of many orders (draws, n), so many at a time that their pairs fit into memory: (draws,)."""
    step = max(_AT_ONCE // orders.shape[1] ** 2, 1)
    return np.concatenate([statistic(orders[start : start + step]) for start in range(0, len(orders), step)])
