"""Tables of marked EPVS."""

from __future__ import annotations

from pathlib import Path

import pytest

from epvs_bids.analyses.base import Study
from epvs_bids.analyses.markers import read_markers
from epvs_bids.analyses.options import GroupOptions
from epvs_bids.errors import BadDataError


def _study(folder: Path, table: str) -> Study:
    path = folder / "bids/derivatives/simulation/sub-1/anat/sub-1_PDw_desc-epvs_markers.tsv"
    path.parent.mkdir(parents=True)
    path.write_text(table)
    return Study(output_dir=folder / "out", bids_dir=folder / "bids", options=GroupOptions())


def test_a_scan_without_epvs_has_no_points(tmp_path: Path) -> None:
    (_, points), *others = read_markers(_study(tmp_path, "x\ty\tz\tcalibre\n")).values()
    assert points.shape == (0, 3)
    assert not others


def test_text_for_a_number_names_file_and_row(tmp_path: Path) -> None:
    with pytest.raises(BadDataError, match=r"markers\.tsv, row 3"):
        read_markers(_study(tmp_path, "x\ty\tz\n1\t2\t3\n1\tleft\t3\n"))
