"""N-LEEP: LEEP with the clusters of the features in the place of a source head (Li et al., CVPR 2021)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits
from torch import Tensor

from worker.science import flags
from worker.science.errors import NotApplicableError
from worker.science.evidence.parts import Evidence, Part, gathered
from worker.science.flags import Flag, raised
from worker.science.measures.leep import expectation
from worker.science.measures.registry import Score, register
from worker.science.measures.samples import (
    Array,
    canonical_order,
    checked_features,
    describe,
    flags_of,
    present_classes,
)

ENERGY = 0.8  # share of the variance that the projection keeps
CLUSTERS_PER_CLASS = 5
ROWS_PER_CLUSTER = 5  # more than these: of clusters of a row or two, each knows its rows' labels
MIXTURES = 5
REGULARISATION = 1e-6  # added to the diagonal of each covariance
LARGEST = 1_000  # rows that a mixture is fitted to; all get posteriors. For 20 000 that takes less than k-NN
NOT_CONVERGED = flags.register(
    Flag(
        "not_converged",
        "A Gaussian mixture that the score is computed from had not converged when its fitting was stopped.",
    )
)
FEW_CLUSTERS = flags.register(
    Flag(
        "few_clusters",
        f"There were too few samples for {CLUSTERS_PER_CLASS} clusters a class, so fewer were fitted, to few "
        "samples each. Such a score says little about weakly informative features: noise can stand above them.",
    )
)
UNSTABLE = flags.register(
    Flag(
        "unstable",
        "The score depends on random starts, and its spread over them is larger than the gap to the next "
        "candidate's, so other starts may change their order.",
        within_spread=True,
    )
)


@dataclass(frozen=True)
class Mixture:
    """The features' probabilities of belonging to each cluster, and how the mixture came about."""

    posteriors: Array  # (N, K)
    dimensions: int  # after the projection
    covariance: str  # "full", or "diag" where full covariances are singular
    converged: bool


@register(
    title="N-LEEP",
    source=f"Li et al., CVPR 2021, with the logarithm, mean of {MIXTURES} seeded mixtures",
    needs={Part.FEATURES},
    trust=0.41,  # arXiv 2412.20172
)
def nleep(evidence: Evidence) -> Score:
    """Mean LEEP of the posteriors of several mixtures, each with its own start and rows, and their spread.

    Not applicable where the rows do not suffice for a cluster a class. The record also has the mean without
    logarithm of the public code.
    """
    features = gathered(evidence.features, Part.FEATURES)
    rows = len(checked_features(features.values))
    classes = present_classes(features.values, features.labels)
    clusters = clusters_of(rows, int(classes.max()) + 1)
    mixtures = mixtures_of(features.values, classes, clusters)
    expected = [expectation(torch.from_numpy(mixture.posteriors), features.labels) for mixture in mixtures]
    values = [float(np.log(of_mixture).mean()) for of_mixture in expected]
    spread = float(np.std(values, ddof=1))
    record = describe(features) | {
        "without_log": float(np.mean(expected)),
        "clusters": clusters,
        "dimensions": mixtures[0].dimensions,
        "covariance": mixtures[0].covariance,
        "mixtures": tuple(values),
        "spread": spread,
    }
    caveats = {
        NOT_CONVERGED: not all(mixture.converged for mixture in mixtures),
        FEW_CLUSTERS: clusters < CLUSTERS_PER_CLASS * (int(classes.max()) + 1),
    }
    return Score(float(np.mean(values)), raised(caveats) + flags_of(features), record, spread=spread)


def clusters_of(rows: int, classes: int) -> int:
    """CLUSTERS_PER_CLASS a class, as published, but more than ROWS_PER_CLUSTER fitted rows for each of them.

    A mixture with a cluster for every row or two scores pure noise as 0, the maximum. Raises NotApplicableError
    where there would be fewer clusters than classes.
    """
    clusters = min(CLUSTERS_PER_CLASS * classes, (min(rows, LARGEST) - 1) // ROWS_PER_CLUSTER)
    if clusters < classes:
        raise NotApplicableError(
            f"N-LEEP needs more than {ROWS_PER_CLUSTER} samples for each cluster and a cluster for each class; "
            f"{rows} samples, of which it takes at most {LARGEST}, are too few for {classes} classes"
        )
    return clusters


def mixtures_of(features: Tensor, classes: Tensor, clusters: int) -> list[Mixture]:
    """MIXTURES Gaussian mixtures, of one seed each, on the principal components that keep ENERGY of the variance.

    features: (N, D); classes: (N,) 0..C-1. Each is fitted to the rows that `drawn` gives. They are put in an order
    of their own first and one thread is used: neither the rows' order nor the number of cores changes anything.
    """
    values = checked_features(features)
    order = canonical_order(np.column_stack((values, classes.numpy())))
    with threadpool_limits(1):
        projected = _project(values[order].astype(np.float64))
        return [_mixture(projected, order, classes.numpy(), clusters, seed) for seed in range(MIXTURES)]


def _mixture(
    projected: Array, order: NDArray[np.intp], classes: NDArray[np.integer], clusters: int, seed: int
) -> Mixture:
    """One mixture, from the projected rows in their own order; its posteriors are in the order of `classes`."""
    model = _fit(projected[drawn(classes[order], seed=seed)], clusters, seed)
    posteriors = np.empty((len(projected), model.n_components))
    posteriors[order] = model.predict_proba(projected)
    return Mixture(posteriors, projected.shape[1], model.covariance_type, bool(model.converged_))


def drawn(classes: NDArray[np.integer], *, seed: int) -> NDArray[np.intp]:
    """Which LARGEST rows of classes (N,), ascending; all where there are no more.

    Drawn by the seed: of each class as many as it has, up to a number that is the same for all classes.
    """
    chance = np.random.default_rng(seed).random(len(classes))
    by_class = np.lexsort((chance, classes))
    starts = np.searchsorted(classes[by_class], classes[by_class])
    place = np.empty(len(classes), dtype=np.intp)  # of each row within its class
    place[by_class] = np.arange(len(classes)) - starts
    return np.sort(np.lexsort((chance, place))[:LARGEST])


def _project(values: Array) -> Array:
    if not np.ptp(values, axis=0).any():
        return values[:, :1]  # one point: nothing to project, one cluster
    solver = "covariance_eigh" if len(values) > values.shape[1] else "full"
    projected: Array = PCA(n_components=ENERGY, svd_solver=solver).fit_transform(values)
    return projected


def _fit(projected: Array, clusters: int, seed: int) -> GaussianMixture:
    """Full covariances, or diagonal ones where a cluster has fewer rows than dimensions or is singular."""
    enough = len(projected) >= clusters * projected.shape[1]
    for covariance in ("full", "diag") if enough else ("diag",):
        model = GaussianMixture(clusters, covariance_type=covariance, reg_covar=REGULARISATION, random_state=seed)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                return model.fit(projected)
        except ValueError:
            if covariance == "diag":
                raise
    raise AssertionError
