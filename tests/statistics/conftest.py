"""Reference values that R made once; see reference/make_reference.R."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

REFERENCE = Path(__file__).parent / "reference"


@pytest.fixture(scope="session")
def reference() -> dict[str, Any]:
    return json.loads((REFERENCE / "reference.json").read_text())


@pytest.fixture(scope="session")
def counts() -> pd.DataFrame:
    return pd.read_csv(REFERENCE / "counts.csv")
