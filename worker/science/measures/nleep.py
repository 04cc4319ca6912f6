"""N-LEEP: LEEP with the clusters of the features in the place of a source head (Li et al., CVPR 2021)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits
from torch import Tensor

from worker.science import flags
from worker.science.evidence.parts import Evidence, Part, gathered
from worker.science.flags import Flag, raised
from worker.science.measures.leep import expectation
from worker.science.measures.registry import Score, register
from worker.science.measures.samples import Array, checked_features, describe, flags_of, present_classes

ENERGY = 0.8  # share of the variance that the projection keeps
CLUSTERS_PER_CLASS = 5
REGULARISATION = 1e-6  # added to the diagonal of each covariance
LARGEST = 5_000  # rows that the mixture is fitted to; all get posteriors
NOT_CONVERGED = flags.register(
    Flag(
        "not_converged",
        "The Gaussian mixture that the score is computed from had not converged when its fitting was stopped.",
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
    source="Li et al., CVPR 2021, with the logarithm",
    needs={Part.FEATURES},
    trust=0.41,  # arXiv 2412.20172
)
def nleep(evidence: Evidence) -> Score:
    """LEEP of the clusters' posteriors; the record also has the mean without logarithm of the public code."""
    features = gathered(evidence.features, Part.FEATURES)
    checked_features(features.values)
    classes = int(present_classes(features.values, features.labels).max()) + 1
    mixture = cluster(features.values, CLUSTERS_PER_CLASS * classes)
    expected = expectation(torch.from_numpy(mixture.posteriors), features.labels)
    record = describe(features) | {
        "without_log": float(expected.mean()),
        "clusters": mixture.posteriors.shape[1],
        "dimensions": mixture.dimensions,
        "covariance": mixture.covariance,
    }
    caveats = raised({NOT_CONVERGED: not mixture.converged}) + flags_of(features)
    return Score(float(np.log(expected).mean()), caveats, record)


def cluster(features: Tensor, clusters: int, *, seed: int = 0) -> Mixture:
    """A seeded Gaussian mixture on the principal components that keep ENERGY of the variance.

    features: (N, D). The rows are sorted first and one thread is used, so that neither their order nor the
    number of cores changes the clusters. At most LARGEST rows (drawn by the seed) and N clusters are fitted.
    """
    values = checked_features(features).astype(np.float64)
    order = np.lexsort(values.T)
    with threadpool_limits(1):
        projected = _project(values[order])
        drawn = np.random.default_rng(seed).permutation(len(projected))[:LARGEST]
        model = _fit(projected[np.sort(drawn)], min(clusters, len(drawn)), seed)
        posteriors = np.empty((len(values), model.n_components))
        posteriors[order] = model.predict_proba(projected)
    return Mixture(posteriors, projected.shape[1], model.covariance_type, bool(model.converged_))


def _project(values: Array) -> Array:
    if not np.ptp(values, axis=0).any():
        return values[:, :1]  # one point: nothing to project, one cluster
    projected: Array = PCA(n_components=ENERGY, svd_solver="full").fit_transform(values)
    return projected


def _fit(projected: Array, clusters: int, seed: int) -> GaussianMixture:
    """Full covariances, or diagonal ones where a cluster's is singular."""
    for covariance in ("full", "diag"):
        model = GaussianMixture(clusters, covariance_type=covariance, reg_covar=REGULARISATION, random_state=seed)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                return model.fit(projected)
        except ValueError:
            if covariance == "diag":
                raise
    raise AssertionError
