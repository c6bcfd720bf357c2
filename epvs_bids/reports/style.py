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
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

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


def _linear_rgb(colour: str) -> NDArray[np.float64]:
    """Linear-light red, green and blue in [0, 1] of a matplotlib colour."""
    rgb = np.asarray(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two colours, 1 (none) to 21 (black on white), as WCAG 2.1 defines it.

    (L1 + 0.05) / (L2 + 0.05), L1 and L2 the relative luminance 0.2126 R + 0.7152 G + 0.0722 B of the lighter
    and the darker colour.
    """
    weights = np.array([0.2126, 0.7152, 0.0722])
    luminance = sorted(float(weights @ _linear_rgb(colour)) for colour in (first, second))
    return (luminance[1] + 0.05) / (luminance[0] + 0.05)


_CVD = {
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}


def seen_with(deficiency: str, colour: str) -> NDArray[np.float64]:
    """`colour` as CIELAB (L, a, b), as a person with `deficiency` sees it.

    Parameters
    ----------
    deficiency
        `protanopia`, `deuteranopia`, `tritanopia` or `none`.
    colour
        Any matplotlib colour.

    Notes
    -----
    Full-severity matrices of Machado, Oliveira & Fernandes 2009 (doi:10.1109/TVCG.2009.113), in linear light.
    """
    linear = _linear_rgb(colour)
    if deficiency != "none":
        linear = np.clip(np.asarray(_CVD[deficiency]) @ linear, 0, 1)
    to_xyz = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    ratio = to_xyz @ linear / np.array([0.95047, 1.0, 1.08883])
    root = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])
