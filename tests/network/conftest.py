"""Tiny regions whose number of bright spots is the score."""

from __future__ import annotations

import numpy as np
import pytest

from epvs_bids.network.data import RegionStore, write_store

SHAPE = (20, 18, 16)


def spots(count: int, seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """Regions (count, X, Y, Z) of even tissue with bright spots, and the number of spots in each."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 9, count)
    regions = np.full((count, *shape), 0.3, np.float32)
    for region, score in zip(regions, scores, strict=True):
        for _ in range(score):
            x, y, z = (int(rng.integers(4, size - 5)) for size in shape)
            region[x : x + 2, y : y + 2, z : z + 2] = 1.0
    return regions, scores.astype(float)


@pytest.fixture(scope="session")
def spotted(tmp_path_factory: pytest.TempPathFactory) -> tuple[RegionStore, np.ndarray]:
    regions, scores = spots(24)
    return write_store(tmp_path_factory.mktemp("store") / "regions.f16", regions), scores
