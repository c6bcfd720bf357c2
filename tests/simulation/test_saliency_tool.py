"""The tool that measures how much of the saliency lies at true EPVS."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
from scipy import ndimage


def test_share_near_epvs(load_tool: Callable[[str], ModuleType]) -> None:
    share_near = load_tool("measure_saliency").share_near
    inside = np.zeros((40, 40, 40), bool)
    inside[5:35, 5:35, 5:35] = True
    epvs = np.zeros_like(inside)
    epvs[20, 20, 10:30] = True
    random = np.random.default_rng(0).normal(size=inside.shape).astype(np.float32)
    share, chance = share_near(random, epvs, inside)
    near = ndimage.binary_dilation(epvs, iterations=2) & inside
    assert near.sum() / inside.sum() < chance < 0.02  # the ball is larger than the diamond
    assert share == pytest.approx(chance, abs=0.02)
    perfect = np.where(epvs, -9.0, random * 0.01).astype(np.float32)
    assert share_near(perfect, epvs, inside, fraction=epvs.sum() / inside.sum())[0] == 1.0
    assert all(np.isnan(share_near(random, np.zeros_like(epvs), inside)))
