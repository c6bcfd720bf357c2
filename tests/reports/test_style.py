"""Colours that everybody can tell apart, and figures that do not depend on when they are drawn."""

from __future__ import annotations

import itertools
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from epvs_bids.reports import style

from .colours import contrast, seen_with


@pytest.mark.parametrize(("first", "second", "ratio"), [("white", "black", 21.0), ("#777777", "white", 4.48)])
def test_contrast_is_that_of_wcag(first: str, second: str, ratio: float) -> None:
    assert contrast(first, second) == pytest.approx(ratio, abs=0.01)


def test_colours_of_series_stand_out_from_paper_and_text_is_readable() -> None:
    assert min(contrast(colour, "white") for colour in style.CYCLE) >= 3.0
    assert min(contrast(colour, "white") for colour in (style.TEXT, style.MUTED)) >= 4.5


def test_cielab_is_that_of_the_standard() -> None:
    np.testing.assert_allclose(seen_with("none", "#ff0000"), [53.24, 80.09, 67.20], atol=0.02)
    np.testing.assert_allclose(seen_with("none", "white"), [100, 0, 0], atol=0.02)


@pytest.mark.parametrize("sight", ["none", "protanopia", "deuteranopia", "tritanopia"])
def test_series_are_told_apart_by_every_sight(sight: str) -> None:
    seen = {colour: seen_with(sight, colour) for colour in style.CYCLE}
    near = min(float(np.linalg.norm(seen[a] - seen[b])) for a, b in itertools.combinations(seen, 2))
    assert near > 19


def test_red_and_green_that_dichromats_confuse_are_found_out() -> None:
    gap = seen_with("deuteranopia", "#CC3311") - seen_with("deuteranopia", "#6B6B00")
    assert np.linalg.norm(gap) < 19


def _figure() -> Figure:
    figure, axis = style.new_figure(width=3, height=2)
    axis.plot([1, 2], [3, 4], label="series")
    axis.set(title="Title", xlabel="Age (years)", ylabel="Score (EPVS)")
    axis.legend()
    return figure


def test_svg_is_the_same_each_time_and_leaves_the_settings_of_others_alone(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    first = style.to_svg(_figure())
    assert first == style.to_svg(_figure())
    assert dict(mpl.rcParams) == before
    path = style.save_svg(_figure(), tmp_path / "figures" / "a.svg")
    assert path.read_bytes() == first


def test_title_is_at_the_left_and_the_legend_has_no_frame() -> None:
    figure = _figure()
    style.to_png(figure, dpi=40)
    axis = figure.axes[0]
    assert axis.get_title(loc="left") == "Title"
    assert not axis.get_title(loc="center")
    assert not axis.get_legend().get_frame_on()
