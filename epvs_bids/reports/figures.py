"""Figures of the participant page: arrays in, matplotlib figures out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from nibabel.affines import apply_affine
from numpy.typing import NDArray

from epvs_bids.reports.style import (
    BAND,
    BLUE,
    MUTED,
    SALIENCY_COLOURMAP,
    VERMILLION,
    dot_style,
    new_figure,
    whole_numbers,
)
from epvs_bids.reports.volumes import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    Image,
    Limits,
    Point,
    inner_window,
    plane,
    window,
)

OUTLINE = "#4DD2FF"
"""Outline of the mask: apart from greys, and from the reds and yellows of the saliency map."""

_BACKGROUND = "#0B0D0E"
_AXIS_NAMES = {SAGITTAL: "sagittal", CORONAL: "coronal", AXIAL: "axial"}
_LETTERS = "xyz"
_MASK_LEVEL = 0.5


@dataclass(frozen=True)
class Cut:
    """A plane through the head: its axis (0 sagittal, 1 coronal, 2 axial) and where, in mm."""

    axis: int
    position: float

    @property
    def title(self) -> str:
        """Name and position, as in `axial z = −5 mm`."""
        position = str(round(self.position)).replace("-", "−")
        return f"{_AXIS_NAMES[self.axis]} {_LETTERS[self.axis]} = {position} mm"


def standard_cuts(level: Point, mask_centre: Point) -> list[Cut]:
    """Choose the planes to show: axial and coronal through `level`, sagittal through each basal ganglia.

    A midsagittal plane would show the commissure but nothing of the mask, so the sagittal planes lie 24 mm to
    the left and right of the mask's centre, in the putamen (ours).
    """
    sagittal = [Cut(SAGITTAL, mask_centre[0] + side * 24.0) for side in (-1, 1)]
    return [Cut(AXIAL, level[2]), Cut(CORONAL, level[1]), *sagittal]


def planes(
    image: Image,
    cuts: Sequence[Cut],
    *,
    limits: Limits,
    mask: Image | None = None,
    spacing: float = 0.5,
) -> Figure:
    """Show planes through an image side by side, at one scale.

    Parameters
    ----------
    image
        Scan or template.
    cuts
        Which planes.
    limits
        Extent in mm, the same for all images that are to be compared.
    mask
        Smooth mask whose outline (at 0.5) is drawn.
    spacing
        Size of a pixel in mm.
    """
    widths = [np.ptp(limits[CORONAL if cut.axis == SAGITTAL else SAGITTAL]) for cut in cuts]
    height = max(np.ptp(limits[CORONAL if cut.axis == AXIAL else AXIAL]) for cut in cuts)
    figure, axes = new_figure(
        width=13.0,
        height=height * 12.7 / sum(widths) + 0.32,
        columns=len(cuts),
        managed=False,
        width_ratios=widths,
        squeeze=False,
    )
    _darken(figure)
    sampled = [plane(image, cut.axis, cut.position, limits=limits, spacing=spacing) for cut in cuts]
    black, white = window(np.concatenate([pixels.ravel() for pixels in sampled]))
    for axis, cut, pixels in zip(axes[0], cuts, sampled, strict=True):
        extent = _extent(cut, limits)
        axis.imshow(pixels, cmap="gray", vmin=black, vmax=white, extent=extent, interpolation="bicubic")
        if mask is not None:
            inside = plane(mask, cut.axis, cut.position, limits=limits, spacing=spacing)
            _outline(axis, inside, extent)
        middle = (extent[2] + extent[3]) / 2
        axis.set_ylim(middle - height / 2, middle + height / 2)
        axis.set_title(cut.title)
        _letters(axis, cut.axis)
    _scale_bar(axes[0][min(1, len(cuts) - 1)])  # the coronal plane leaves room below the head
    return figure


def region_mosaic(region: Image, mask: Image, *, saliency: Image | None = None, slices: int = 6) -> Figure:
    """Show the region that the network saw in axial slices, and below it what it looked at.

    Parameters
    ----------
    region
        The region in [0, 1].
    mask
        Smooth mask; slices are spread over its height, and its outline is drawn.
    saliency
        Saliency map; its absolute value inside the mask is shown from black (transparent) to its 99.9th
        percentile.
    slices
        Number of columns.
    """
    positions = _slice_positions(mask, slices)
    limits = _mask_limits(mask)
    rows = 1 if saliency is None else 2
    aspect = np.ptp(limits[1]) / np.ptp(limits[0])
    figure, axes = new_figure(
        width=13.0,
        height=rows * (12.7 / slices * aspect) + 0.35,
        rows=rows,
        columns=slices,
        managed=False,
        squeeze=False,
    )
    _darken(figure)
    black, white = inner_window(region, mask)
    heat = heat_scale(saliency, mask) if saliency is not None else 1.0
    for column, position in enumerate(positions):
        cut = Cut(AXIAL, position)
        extent = _extent(cut, limits)
        pixels = plane(region, AXIAL, position, limits=limits, spacing=0.5)
        inside = plane(mask, AXIAL, position, limits=limits, spacing=0.5)
        for row in range(rows):
            axis = axes[row][column]
            top = black + (white - black) * (1 + row)  # the second row is darker, so that colours show
            axis.imshow(pixels, cmap="gray", vmin=black, vmax=top, extent=extent)
            _outline(axis, inside, extent)
            _letters(axis, AXIAL)
        axes[0][column].set_title(cut.title.removeprefix("axial "))
        if saliency is not None:
            values = np.abs(plane(saliency, AXIAL, position, limits=limits, spacing=0.5)) / np.float32(heat)
            _overlay(axes[1][column], values, extent)
    _scale_bar(axes[0][0])
    return figure


def cohort_context(
    scores: NDArray[np.float64],
    score: float,
    *,
    spread: float | None = None,
    ages: NDArray[np.float64] | None = None,
    age: float | None = None,
) -> Figure:
    """Show one score among those of the study, and against age where ages are known.

    Parameters
    ----------
    scores
        Scores of all scans, in EPVS.
    score, spread
        This scan's score and its standard deviation over the networks.
    ages, age
        In years, one for each of `scores` (nan where unknown), and this participant's.
    """
    known = ages is not None and np.isfinite(ages).sum() >= 2
    figure, axes = new_figure(
        width=9.6, height=5.2 if known else 4.4, columns=2 if known else 1, squeeze=False
    )
    _histogram(axes[0][0], scores, score, spread)
    if known and ages is not None:
        _against_age(axes[0][1], scores, ages, score, spread=spread, age=age)
    return figure


def _histogram(axis: Axes, scores: NDArray[np.float64], score: float, spread: float | None) -> None:
    """Draw the distribution with this scan's score in it."""
    top = max(float(scores.max()), score, 1.0)
    bins = np.linspace(
        min(float(scores.min()), score, 0.0), top, int(np.clip(len(scores) ** 0.5 * 2, 8, 40)) + 1
    )
    axis.hist(scores, bins=bins.tolist(), color=BAND, edgecolor=BLUE, linewidth=0.8)
    if spread:
        axis.axvspan(score - spread, score + spread, color=VERMILLION, alpha=0.18, linewidth=0)
    axis.axvline(score, color=VERMILLION, linewidth=2.2)
    axis.margins(y=0.18)
    axis.set(xlabel="Score (EPVS)", ylabel="Scans (number)", title=f"Among {len(scores)} scans")
    whole_numbers(axis)
    axis.annotate(
        "this scan",
        (score, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(4 if score < top * 0.75 else -4, -4),
        textcoords="offset points",
        color=VERMILLION,
        va="top",
        ha="left" if score < top * 0.75 else "right",
        fontweight="bold",
    )


def _against_age(
    axis: Axes,
    scores: NDArray[np.float64],
    ages: NDArray[np.float64],
    score: float,
    *,
    spread: float | None,
    age: float | None,
) -> None:
    """Draw score against age, with the mean of each five years of age where at least three scans are."""
    size, opacity = dot_style(len(scores))
    axis.plot(
        ages, scores, "o", color=BLUE, alpha=opacity, markersize=size, markeredgewidth=0, rasterized=True
    )
    groups = np.floor(ages / 5)
    centres = [group for group in np.unique(groups[np.isfinite(groups)]) if (groups == group).sum() >= 3]
    if len(centres) >= 2:
        means = [scores[groups == group].mean() for group in centres]
        axis.plot([5 * group + 2.5 for group in centres], means, "-", color=MUTED, label="mean per 5 years")
        axis.legend(loc="upper left")
    if age is not None:
        axis.errorbar(
            [age],
            [score],
            yerr=[spread] if spread else None,
            fmt="D",
            color=VERMILLION,
            markersize=8,
            capsize=3,
        )
    else:
        axis.axhline(score, color=VERMILLION, linewidth=2.2)
    low, high = min(float(scores.min()), score, 0.0), max(float(scores.max()), score, 1.0)
    axis.set_ylim(low - 0.04 * (high - low), high + 0.18 * (high - low))
    axis.set(xlabel="Age (years)", ylabel="Score (EPVS)", title="Against age")
    axis.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10], integer=True))


def _darken(figure: Figure) -> None:
    """Make a figure of images: black ground, white titles, no ticks, as little space between as can be."""
    figure.set_facecolor(_BACKGROUND)
    title = 0.3 / float(figure.get_figheight())
    figure.subplots_adjust(left=0.003, right=0.997, bottom=0.01, top=1 - title, wspace=0.02, hspace=0.03)
    for axis in figure.axes:
        axis.set_axis_off()
        axis.title.set_color("white")
        axis.title.set_fontsize(10)


def _extent(cut: Cut, limits: Limits) -> tuple[float, float, float, float]:
    """Left, right, bottom and top of a plane in mm."""
    across, up = [axis for axis in range(3) if axis != cut.axis]
    return (*limits[across], *limits[up])


def _outline(axis: Axes, inside: NDArray[np.float32], extent: tuple[float, float, float, float]) -> None:
    """Draw the outline of a mask, where the plane meets it."""
    if inside.max() > _MASK_LEVEL:
        axis.contour(
            inside, levels=[_MASK_LEVEL], colors=[OUTLINE], linewidths=0.9, extent=extent, origin="upper"
        )


def _overlay(axis: Axes, values: NDArray[np.floating], extent: tuple[float, float, float, float]) -> None:
    """Lay a map in [0, 1] over a plane, the more opaque the higher."""
    axis.imshow(
        values,
        cmap=SALIENCY_COLOURMAP,
        vmin=0,
        vmax=1,
        alpha=np.clip(values * 1.6, 0, 1),
        extent=extent,
        interpolation="nearest",
    )


def _letters(axis: Axes, plane_axis: int) -> None:
    """Write at the sides which way the person lies."""
    left, right = ("P", "A") if plane_axis == SAGITTAL else ("L", "R")
    for text, where, align in ((left, 0.02, "left"), (right, 0.98, "right")):
        axis.text(
            where, 0.03, text, transform=axis.transAxes, color="white", ha=align, va="bottom", fontsize=9
        )


def _scale_bar(axis: Axes, length: float = 20.0) -> None:
    """Draw a bar of `length` mm."""
    low, high = axis.get_xlim()
    bottom, top = axis.get_ylim()
    start, height = low + 0.5 * (high - low) - length / 2, bottom + 0.05 * (top - bottom)
    axis.plot([start, start + length], [height, height], color="white", linewidth=2, solid_capstyle="butt")
    axis.text(
        start + length / 2, height, f"{length:.0f} mm", color="white", ha="center", va="bottom", fontsize=8
    )
    axis.set(xlim=(low, high), ylim=(bottom, top))


def _slice_positions(mask: Image, count: int) -> list[float]:
    """Heights in mm that divide the mask evenly."""
    rows = np.flatnonzero(mask.data.max(axis=(0, 1)) > _MASK_LEVEL)
    low, high = (rows[0], rows[-1]) if rows.size else (0, mask.data.shape[2] - 1)
    voxels = np.linspace(low, high, count + 2)[1:-1]
    heights: list[float] = (mask.affine[2, 2] * voxels + mask.affine[2, 3]).tolist()
    return heights


def _mask_limits(mask: Image, margin: float = 4.0) -> Limits:
    """Extent of the mask in mm, with a margin."""
    inside = np.argwhere(mask.data > _MASK_LEVEL)
    if not len(inside):
        return mask.limits
    ends = np.stack([inside.min(axis=0), inside.max(axis=0)])
    world = np.sort(apply_affine(mask.affine, ends), axis=0)
    (x0, y0, z0), (x1, y1, z1) = (world[0] - margin).tolist(), (world[1] + margin).tolist()
    return ((x0, x1), (y0, y1), (z0, z1))


def heat_scale(saliency: Image, mask: Image) -> float:
    """Value of a saliency map that is shown brightest: the 99.9th percentile of its size inside the mask."""
    inside = np.abs(saliency.data[mask.data > _MASK_LEVEL])
    return (float(np.percentile(inside, 99.9)) if inside.size else 0.0) or 1.0
