"""Bag of words, rescaling, and the whole comparison on images whose counts are known."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from scipy import ndimage, optimize

from epvs_bids.baselines.experiment import METHODS, ScanFeatures, run_methods, scan_features
from epvs_bids.baselines.rescaling import icc_maximising_line
from epvs_bids.baselines.sift_bow import fit_forest, learn_vocabulary, slice_descriptors, word_counts
from epvs_bids.baselines.thresholds import threshold_levels
from epvs_bids.statistics.agreement import agreement
from epvs_bids.statistics.icc import intraclass_correlations


def scan(n: int, seed: int) -> np.ndarray:
    """Noisy tissue with `n` bright tubes through the three slices in the middle, (48, 40, 9)."""
    rng = np.random.default_rng(seed)
    image = ndimage.gaussian_filter(rng.normal(size=(48, 40, 9)), 0.8) * 8 + 100
    sites = [(x, y) for x in range(6, 44, 8) for y in range(6, 36, 8)]
    for index in rng.permutation(len(sites))[:n]:
        x, y = sites[index]
        image[x : x + 3, y : y + 3, 3:6] += 60
    return image.astype(np.float32)


def test_line_maximises_icc() -> None:
    rng = np.random.default_rng(0)
    y = rng.poisson(4, 60).astype(float)
    x = 30 - 7 * y + rng.normal(0, 12, 60)

    def negative_icc(line: np.ndarray) -> float:
        return -intraclass_correlations(np.column_stack([line[0] * x + line[1], y])).icc11.value

    ours = icc_maximising_line(x, y)
    found = optimize.minimize(
        negative_icc, [-0.1, 3.0], method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10}
    )
    assert [ours.slope, ours.intercept] == pytest.approx(found.x, rel=1e-3)
    assert icc_maximising_line([2, 2, 2], [1, 2, 3])([9.0]).tolist() == [2]


def test_descriptors_words_and_slices_outside_the_region() -> None:
    image = scan(12, 0)
    descriptors = slice_descriptors(image, 3, n_slices=15)
    assert len(descriptors) == 15
    assert [len(one) for one in descriptors[:4]] == [0, 0, 0, 0]
    assert len(descriptors[7 + 1]) >= 12  # slice 4, through the tubes
    vocabulary = learn_vocabulary([descriptors, slice_descriptors(scan(3, 1), 3)], n_words=10)
    words = word_counts(descriptors, vocabulary, n_words=10)
    assert words.shape == (150,)
    assert words.sum() == sum(map(len, descriptors))


def test_forest_repeats_itself() -> None:
    x = np.random.default_rng(0).normal(size=(30, 9))
    first, second = (fit_forest(x, x[:, 0], n_trees=10, seed=4).predict(x) for _ in range(2))
    assert first.tolist() == second.tolist()


@pytest.fixture(scope="module")
def scans() -> tuple[np.ndarray, np.ndarray, list[ScanFeatures]]:
    """Counts, thresholds and features of 40 scans: 24 for training, 6 for validation, 10 for testing."""
    counts = np.random.default_rng(3).integers(0, 18, 40)
    images = [scan(int(n), seed) for seed, n in enumerate(counts)]
    levels = threshold_levels(images[:24])
    return counts, levels, [scan_features(one, one / one.max(), middle=4, levels=levels) for one in images]


def outputs_of(
    scans: tuple[np.ndarray, np.ndarray, list[ScanFeatures]], counts: np.ndarray
) -> Mapping[str, np.ndarray]:
    split = {"training": np.arange(24), "validation": np.arange(24, 30)}
    return run_methods(scans[2], counts, levels=scans[1], n_trees=50, **split).outputs


def test_methods_find_what_is_counted(scans: tuple[np.ndarray, np.ndarray, list[ScanFeatures]]) -> None:
    counts = scans[0]
    outputs = outputs_of(scans, counts)
    assert list(outputs) == list(METHODS)
    for name, least in zip(METHODS[1:], (0.9, 0.9, 0.5, 0.9), strict=True):
        assert agreement(counts[30:], outputs[name][30:]).pearson.value > least, name
    assert agreement(counts[30:], outputs["components (c)"][30:]).icc11.value > 0.9


def test_test_scans_have_no_say_in_what_is_fitted(
    scans: tuple[np.ndarray, np.ndarray, list[ScanFeatures]],
) -> None:
    changed = scans[0].copy()
    changed[30:] = 99
    before, after = outputs_of(scans, scans[0]), outputs_of(scans, changed)
    for name in METHODS:
        assert after[name].tolist() == before[name].tolist()
