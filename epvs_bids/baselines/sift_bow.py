"""Method (d): bag of visual words from 2D SIFT, and a regression forest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from skimage.feature import SIFT
from sklearn.cluster import MiniBatchKMeans
from sklearn.ensemble import RandomForestRegressor
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

N_SLICES = 15
N_WORDS = 100
N_TREES = 3000
MAX_DEPTH = 50
DESCRIPTOR_LENGTH = 128
FINEST_SCALE, LEAST_CONTRAST = 1.0, 0.005
"""Of SIFT, tuned on simulated regions as the paper tuned its own by eye: with scikit-image's
defaults (1.6 and 0.013) fewer than half of the EPVS in a slice had a keypoint."""

Descriptors = list[NDArray[np.uint8]]
"""SIFT descriptors of one scan: for each slice an array (k, 128), k ≥ 0."""


def slice_descriptors(
    region: NDArray[np.floating[Any]], middle: int, *, n_slices: int = N_SLICES
) -> Descriptors:
    """SIFT descriptors in each of the axial slices around the rated one (section 3.4).

    Parameters
    ----------
    region
        S, (X, Y, Z); each scan is divided by its maximum, as for the network.
    middle
        Index along Z of the slice that raters count in, that of the anterior commissure.
    n_slices
        Odd number of slices, centred at `middle`; slices beyond the region have no descriptors.
    """
    first = middle - n_slices // 2
    return [_describe(region, z, float(region.max()) or 1.0) for z in range(first, first + n_slices)]


def _describe(region: NDArray[np.floating[Any]], z: int, maximum: float) -> NDArray[np.uint8]:
    """Descriptors of one slice; none where SIFT finds nothing or there is no such slice."""
    nothing = np.zeros((0, DESCRIPTOR_LENGTH), dtype=np.uint8)
    if not 0 <= z < region.shape[2] or not region[..., z].any():
        return nothing
    detector = SIFT(sigma_min=FINEST_SCALE, c_dog=LEAST_CONTRAST)  # type: ignore[no-untyped-call]
    try:
        detector.detect_and_extract(region[..., z] / maximum)  # type: ignore[no-untyped-call]
    except RuntimeError:  # scikit-image's way to say that it found no keypoint
        return nothing
    return np.asarray(detector.descriptors, dtype=np.uint8)


def learn_vocabulary(
    training: Sequence[Descriptors], *, n_words: int = N_WORDS, seed: int = 0
) -> list[NDArray[np.float32]]:
    """Cluster the descriptors of training scans into visual words, slice by slice (k-means).

    Parameters
    ----------
    training
        Descriptors of training scans, all with the same number of slices.
    n_words
        Words a slice; fewer where a slice has fewer descriptors.
    seed
        Of the clustering.

    Returns
    -------
    For each slice the centres, (words, 128); empty for a slice without descriptors.
    """
    vocabulary = []
    for slices in zip(*training, strict=True):
        pooled = np.concatenate(slices).astype(np.float32)
        words = min(n_words, len(pooled))
        if words == 0:
            vocabulary.append(np.zeros((0, DESCRIPTOR_LENGTH), dtype=np.float32))
            continue
        with threadpool_limits(1):  # OpenMP's threads wait for each other longer than these few points take
            clusters = MiniBatchKMeans(words, random_state=seed, n_init=1, batch_size=4096).fit(pooled)
        vocabulary.append(clusters.cluster_centers_.astype(np.float32))
    return vocabulary


def word_counts(
    descriptors: Descriptors, vocabulary: Sequence[NDArray[np.float32]], *, n_words: int = N_WORDS
) -> NDArray[np.float32]:
    """How often each visual word occurs in each slice: shape (slices × n_words,), 1,500 by default.

    Counts, not frequencies: their number is what a count of lesions needs (ours).
    """
    features = np.zeros((len(vocabulary), n_words), dtype=np.float32)
    for row, found, centres in zip(features, descriptors, vocabulary, strict=True):
        if len(found) and len(centres):
            x = found.astype(np.float32)
            distance = (centres**2).sum(axis=1) - 2 * x @ centres.T
            words, counts = np.unique(distance.argmin(axis=1), return_counts=True)
            row[words] = counts
    return features.ravel()


def fit_forest(
    features: ArrayLike,
    counts: ArrayLike,
    *,
    n_trees: int = N_TREES,
    max_depth: int = MAX_DEPTH,
    seed: int = 0,
    threads: int = 1,
) -> RandomForestRegressor:
    """Grow a forest from word counts (n, f) to visual counts (n,); a third of the features a split (ours)."""
    forest = RandomForestRegressor(
        n_trees, max_depth=max_depth, max_features=1 / 3, random_state=seed, n_jobs=threads
    )
    return forest.fit(np.asarray(features), np.asarray(counts))
