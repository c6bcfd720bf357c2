"""The comparison of section 3.4: features of each scan, methods fitted on training scans, outputs for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from epvs_bids.baselines.components import bounding_box, components_above
from epvs_bids.baselines.frangi import vesselness
from epvs_bids.baselines.intensity import mean_intensity
from epvs_bids.baselines.rescaling import icc_maximising_line
from epvs_bids.baselines.sift_bow import (
    N_TREES,
    Descriptors,
    fit_forest,
    learn_vocabulary,
    slice_descriptors,
    word_counts,
)
from epvs_bids.baselines.thresholds import best_threshold
from epvs_bids.baselines.volume import volumes_above

Floats = NDArray[np.float64]

METHODS = ("intensity (a)", "volume (b)", "components (c)", "SIFT bag of words (d)", "Frangi (e)")

VESSELNESS_LEVELS = np.geomspace(0.02, 0.8, 12)
"""Candidate thresholds of vesselness, which lies in [0, 1] for every scan."""


@dataclass(frozen=True)
class ScanFeatures:
    """What the methods need of one scan.

    Parameters
    ----------
    intensity
        Mean of the rescaled region.
    volumes, components
        Shape (t,): voxels and connected components of the region, not rescaled, above each threshold.
    vessels
        Shape (12,): connected components of vesselness above `VESSELNESS_LEVELS`.
    descriptors
        SIFT descriptors by slice.
    """

    intensity: float
    volumes: NDArray[np.int64]
    components: NDArray[np.int64]
    vessels: NDArray[np.int64]
    descriptors: Descriptors


def scan_features(
    raw: NDArray[np.floating[Any]], region: NDArray[np.floating[Any]], *, middle: int, levels: ArrayLike
) -> ScanFeatures:
    """Compute the features of one scan.

    Parameters
    ----------
    raw
        S = V × M_s in the scan's own intensities, (X, Y, Z): methods (b) and (c).
    region
        S as the network sees it, in [0, 1]: methods (a), (d) and (e).
    middle
        Index along Z of the slice that raters count in.
    levels
        Candidate thresholds of `raw`, shape (t,).
    """
    box = bounding_box(region)
    return ScanFeatures(
        intensity=mean_intensity(region),
        volumes=volumes_above(raw[box], levels),
        components=components_above(raw[box], levels),
        vessels=components_above(vesselness(region[box]), VESSELNESS_LEVELS),
        descriptors=slice_descriptors(region, middle),
    )


@dataclass(frozen=True)
class BaselineOutputs:
    """What `run_methods` gives.

    Parameters
    ----------
    outputs
        By method: shape (n,), rescaled by the line that maximises ICC on the validation scans.
    choices
        By method: what was chosen on the training scans, in words.
    """

    outputs: Mapping[str, Floats]
    choices: Mapping[str, str]


def run_methods(
    features: Sequence[ScanFeatures],
    counts: ArrayLike,
    *,
    levels: ArrayLike,
    training: ArrayLike,
    validation: ArrayLike,
    n_trees: int = N_TREES,
    seed: int = 0,
    threads: int = 1,
) -> BaselineOutputs:
    """Fit the five methods and apply them to all scans.

    Thresholds, vocabulary and forest see the training scans only, the lines that rescale see the validation
    scans only.

    Parameters
    ----------
    features
        Of n scans.
    counts
        Visual counts, shape (n,).
    levels
        The thresholds that the features were computed at.
    training, validation
        Indices of scans; what is in neither is for testing.
    n_trees, seed, threads
        Of the forest; the seed is also that of the vocabulary.
    """
    y, train = np.asarray(counts, dtype=np.float64), np.asarray(training, dtype=np.intp)
    raw: dict[str, Floats] = {METHODS[0]: np.array([one.intensity for one in features])}
    choices = {METHODS[0]: "nothing to choose"}
    for name, responses, thresholds in (
        (METHODS[1], [one.volumes for one in features], np.asarray(levels)),
        (METHODS[2], [one.components for one in features], np.asarray(levels)),
        (METHODS[4], [one.vessels for one in features], VESSELNESS_LEVELS),
    ):
        table = np.array(responses, dtype=np.float64)
        chosen = best_threshold(table[train], y[train])
        raw[name] = table[:, chosen]
        choices[name] = f"threshold {thresholds[chosen]:.4g}"
    raw[METHODS[3]] = _bag_of_words(features, y, train, n_trees=n_trees, seed=seed, threads=threads)
    choices[METHODS[3]] = f"{n_trees} trees"
    held_out = np.asarray(validation, dtype=np.intp)
    outputs = {name: icc_maximising_line(raw[name][held_out], y[held_out])(raw[name]) for name in METHODS}
    return BaselineOutputs(outputs, {name: choices[name] for name in METHODS})


def _bag_of_words(
    features: Sequence[ScanFeatures],
    counts: Floats,
    training: NDArray[np.intp],
    *,
    n_trees: int,
    seed: int,
    threads: int,
) -> Floats:
    """Output of the forest for all scans; vocabulary and forest come from the training scans."""
    vocabulary = learn_vocabulary([features[index].descriptors for index in training], seed=seed)
    words = np.array([word_counts(one.descriptors, vocabulary) for one in features])
    forest = fit_forest(words[training], counts[training], n_trees=n_trees, seed=seed, threads=threads)
    return np.asarray(forest.predict(words), dtype=np.float64)
