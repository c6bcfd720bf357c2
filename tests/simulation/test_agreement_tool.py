"""The tool that measures the default model on sets of held-out regions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from epvs_bids.errors import MissingInputError


@pytest.fixture
def tool(load_tool: Callable[[str], ModuleType]) -> ModuleType:
    return load_tool("measure_agreement")


def test_measures_of_a_score_that_is_one_too_high(tool: ModuleType) -> None:
    total = np.arange(21.0)
    rows = np.column_stack([total, 3 * total + 2, total + 1, np.zeros(21)])
    words = tool.describe("set", rows)
    # by hand: MSR 77, MSE 0, MSC 10.5, so ICC(2,1) = 77 / (77 + 2 × 10.5 / 21)
    assert "21 regions, ICC 0.987 (" in words
    assert "Pearson 1.000, bias 1.00, slope 1.00, without EPVS 1.00, slice 1.000 of 1.000" in words


def test_a_model_that_is_not_there_is_named(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["measure_agreement.py", "--model", str(tmp_path / "nowhere")])
    with pytest.raises(MissingInputError, match="nowhere"):
        tool.main()


def test_a_handful_of_regions_is_refused(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["measure_agreement.py", "--regions", "3"])
    with pytest.raises(SystemExit):
        tool.main()
    assert "--regions" in capsys.readouterr().err
