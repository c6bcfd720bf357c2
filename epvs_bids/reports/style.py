"""One look for every figure: colours that colour-blind readers can tell apart, dark text, units on axes.

Figures are made without pyplot (no global state, so any thread may draw one) and saved as SVG whose bytes
depend on nothing but the drawing.

The first two colours are those of Okabe & Ito 2008 (*Color Universal Design*). The others were searched for
so that any two are at least 19 CIELAB units apart for normal sight and full protanopia, deuteranopia and
tritanopia, and so that each has a contrast of at least 3:1 on white, which WCAG 2.1 (1.4.11) asks of
graphical objects. Text has at least 4.5:1 (1.4.3).
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from epvs_bids.files import atomic_write, make_folder

BLUE = "#0072B2"
VERMILLION = "#D55E00"
GREEN = "#115630"
MAGENTA = "#A91D6A"
BLACK = "#1F2328"
CYCLE = (BLUE, VERMILLION, GREEN, MAGENTA, BLACK)
"""Colours of the series of a plot, in order. Beyond three, tell series apart by `MARKERS` or `LINES` too."""

MARKERS = ("o", "s", "^", "D", "v")
LINES = ("-", "--", "-.", ":", (0, (5, 1)))

TEXT = "#1F2328"
MUTED = "#57606A"
GRID = "#D8DEE4"
BAND = "#DCEAF5"
"""Fill of a confidence band or a reference range; carries no text."""

SALIENCY_COLOURMAP = "inferno"

PARAMETERS: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.labelcolor": TEXT,
    "axes.labelsize": 10,
    "axes.prop_cycle": cycler(color=CYCLE),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlecolor": TEXT,
    "figure.facecolor": "white",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "svg.fonttype": "path",
    "svg.hashsalt": "epvs-bids",
    "text.color": TEXT,
    "xtick.color": MUTED,
    "xtick.labelcolor": TEXT,
    "xtick.labelsize": 9,
    "ytick.color": MUTED,
    "ytick.labelcolor": TEXT,
    "ytick.labelsize": 9,
}
"""matplotlib settings of every figure."""


def new_figure(
    *,
    width: float = 6.0,
    height: float = 4.0,
    rows: int = 1,
    columns: int = 1,
    managed: bool = True,
    **options: Any,  # noqa: ANN401
) -> tuple[Figure, Any]:
    """Make an empty figure in the app's style.

    Parameters
    ----------
    width, height
        Size in inches.
    rows, columns
        Number of axes.
    managed
        Whether matplotlib makes room for labels; False where the caller places the axes.
    options
        Passed to `Figure.subplots` (`sharey`, `width_ratios`, …).

    Returns
    -------
    The figure, and its axes: one `Axes`, or an array of them where there are several.
    """
    with mpl.rc_context(PARAMETERS):
        figure = Figure(figsize=(width, height), layout="constrained" if managed else None)
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, **options)
    return figure, axes


def _finish(figure: Figure) -> None:
    """Put titles at the left in bold and take frames off legends.

    matplotlib looks these settings up when the plotting code asks for a title or legend, which is outside of
    our context; setting them for the whole process would change other people's figures.
    """
    for axis in figure.axes:
        title = axis.title
        if text := title.get_text():
            axis.set_title(text, loc="left", color=title.get_color(), fontsize=title.get_fontsize())
            axis.set_title("", loc="center")
        if legend := axis.get_legend():
            legend.set_frame_on(False)


def dot_style(count: int) -> tuple[float, float]:
    """Diameter (points) and opacity of dots: bold where they are few, faint where they lie on each other."""
    return (5.5, 0.9) if count <= 60 else (4.5, 0.6) if count <= 300 else (3.8, 0.4)


def whole_numbers(axis: Axes) -> None:
    """Put ticks of the vertical axis, a number of scans, at whole numbers only."""
    axis.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def to_svg(figure: Figure, *, dpi: int = 200) -> bytes:
    """Draw `figure` as SVG; the same figure gives the same bytes. Pictures in it have `dpi` dots an inch."""
    buffer = io.BytesIO()
    with mpl.rc_context(PARAMETERS):
        _finish(figure)
        figure.savefig(buffer, format="svg", dpi=dpi, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def to_png(figure: Figure, *, dpi: int = 144) -> bytes:
    """Draw `figure` as PNG with `dpi` dots an inch."""
    buffer = io.BytesIO()
    with mpl.rc_context(PARAMETERS):
        _finish(figure)
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def save_svg(figure: Figure, path: Path) -> Path:
    """Write `figure` to `path` as SVG, whole or not at all; folders are made as needed."""
    make_folder(path.parent)
    with atomic_write(path) as temporary:
        temporary.write_bytes(to_svg(figure))
    return path
