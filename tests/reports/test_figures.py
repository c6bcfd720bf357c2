"""Figures name their axes with units and show what they are given."""

from __future__ import annotations

import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from epvs_bids.reports import style
from epvs_bids.reports.figures import OUTLINE, cohort_context, planes, region_mosaic, standard_cuts
from epvs_bids.reports.volumes import AXIAL, Image

from .colours import contrast

AFFINE = np.array([[2.0, 0, 0, -40], [0, 2, 0, -40], [0, 0, 2, -40], [0, 0, 0, 1]])


@pytest.fixture
def mask() -> Image:
    data = np.zeros((40, 40, 40), np.float32)
    data[5:15, 12:28, 12:28] = data[25:35, 12:28, 12:28] = 1
    return Image(data, AFFINE)


@pytest.fixture
def scan() -> Image:
    return Image(np.random.default_rng(0).uniform(50, 200, (40, 40, 40)).astype(np.float32), AFFINE)


def _titles(figure: Figure) -> list[str]:
    return [axis.get_title(loc="left") or axis.get_title() for axis in figure.axes]


def test_planes_say_where_they_are(scan: Image, mask: Image) -> None:
    cuts = standard_cuts((0.0, 3.0, -5.0), (0.0, 0.0, 0.0))
    figure = planes(scan, cuts, limits=scan.limits, mask=mask, spacing=2.0)
    assert _titles(figure) == [
        "axial z = −5 mm",
        "coronal y = 3 mm",
        "sagittal x = −24 mm",
        "sagittal x = 24 mm",
    ]
    assert {text.get_text() for text in figure.axes[0].texts} == {"L", "R"}
    assert "20 mm" in {text.get_text() for text in figure.axes[1].texts}
    assert {text.get_text() for text in figure.axes[2].texts} == {"P", "A"}
    assert all(axis.collections for axis in figure.axes)  # the outline of the mask
    assert style.to_png(figure, dpi=40).startswith(b"\x89PNG")


def test_outline_and_letters_stand_out_from_dark_and_bright_tissue() -> None:
    assert contrast(OUTLINE, "black") > 4.5
    assert contrast(OUTLINE, "#808080") > 2


def test_outline_lies_where_the_mask_ends(scan: Image, mask: Image) -> None:
    figure = planes(
        scan, [standard_cuts((0, 0, 0), (0, 0, 0))[0]], limits=scan.limits, mask=mask, spacing=0.5
    )
    outline = np.concatenate([path.vertices for path in figure.axes[0].collections[0].get_paths()])
    # Voxels 5 to 14 and 25 to 34 along x are inside: their edges are at half a voxel beyond.
    assert sorted({round(value) for value in (outline[:, 0].min(), outline[:, 0].max())}) == [-31, 29]
    assert outline[:, 1].min() == pytest.approx(-17, abs=0.6)
    assert outline[:, 1].max() == pytest.approx(15, abs=0.6)


def test_mosaic_has_a_second_row_with_saliency(scan: Image, mask: Image) -> None:
    assert len(region_mosaic(scan, mask, slices=4).axes) == 4
    saliency = Image(-mask.data * scan.data, AFFINE)  # negative values count by their size
    figure = region_mosaic(scan, mask, saliency=saliency, slices=4)
    assert len(figure.axes) == 8
    overlay = figure.axes[4].images[1]
    assert float(np.max(overlay.get_alpha())) == 1.0
    assert all(re.fullmatch(r"z = −?\d+ mm", title) for title in _titles(figure)[:4])


def test_mosaic_of_an_empty_saliency_map_is_drawn(scan: Image, mask: Image) -> None:
    region_mosaic(scan, mask, saliency=Image(np.zeros_like(scan.data), AFFINE), slices=2)


def test_cohort_has_units_and_marks_the_scan() -> None:
    scores = np.random.default_rng(0).poisson(6, 100).astype(float)
    ages = np.linspace(45, 90, 100)
    figure = cohort_context(scores, 12.0, spread=1.0, ages=ages, age=70.0)
    labels = [(axis.get_xlabel(), axis.get_ylabel()) for axis in figure.axes]
    assert labels == [("Score (EPVS)", "Scans (number)"), ("Age (years)", "Score (EPVS)")]
    marked = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_color() == style.VERMILLION]
    assert marked == [12.0]
    assert figure.axes[1].lines[-1].get_color() == style.VERMILLION


@pytest.mark.parametrize("ages", [None, np.full(5, np.nan)])
def test_cohort_without_ages_is_one_panel(ages: np.ndarray | None) -> None:
    assert len(cohort_context(np.zeros(5), 0.0, ages=ages).axes) == 1


def test_standard_cuts_go_through_both_sides() -> None:
    cuts = standard_cuts((0, 3, -5), (1.0, 4, 2))
    assert [(cut.axis, cut.position) for cut in cuts] == [(AXIAL, -5), (1, 3), (0, -23), (0, 25)]
