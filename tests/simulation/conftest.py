import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from epvs_bids.simulation.anatomy import Anatomy, draw_anatomy, draw_person
from epvs_bids.simulation.region import REGION


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture(scope="session")
def anatomy() -> Anatomy:
    torch.set_num_threads(1)
    return draw_anatomy(draw_person(np.random.default_rng(10)), REGION)


@pytest.fixture
def load_tool(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import a tool by its name, with those beside it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "tools"))
    return importlib.import_module
