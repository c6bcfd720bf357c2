"""Figures of the group level: arrays in, matplotlib figures out, in the app's style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from epvs_bids.reports.style import (
    BAND,
    BLUE,
    CYCLE,
    LINES,
    MARKERS,
    MUTED,
    VERMILLION,
    dot_style,
    new_figure,
    whole_numbers,
)
from epvs_bids.statistics.agreement import BlandAltman

_VECTOR_DOTS = 500


def _dots(count: int) -> dict[str, Any]:
    """Style of a scatter of so many points; thousands are a picture, which pages draw much faster."""
    diameter, opacity = dot_style(count)
    return {"s": diameter**2, "alpha": opacity, "linewidths": 0, "rasterized": count > _VECTOR_DOTS}


def _limits(axis: Axes, *values: ArrayLike) -> tuple[float, float]:
    """Set equal limits that hold all values, and return them."""
    pooled = np.concatenate([np.asarray(v, dtype=np.float64).ravel() for v in values])
    low, high = min(float(pooled.min()), 0.0), float(pooled.max())
    margin = 0.04 * (high - low or 1.0)
    axis.set_xlim(low - margin, high + margin)
    axis.set_ylim(low - margin, high + margin)
    return low, high


def distribution(series: Mapping[str, ArrayLike]) -> Figure:
    """Histogram of counts, one panel a series (the paper's Fig. 6, bottom left); values in EPVS."""
    figure, axes = new_figure(width=4.2 * len(series), height=3.2, columns=len(series), squeeze=False)
    for axis, (name, values) in zip(axes[0], series.items(), strict=True):
        array = np.asarray(values, dtype=np.float64)
        first, last = np.floor(array.min()), np.ceil(array.max())
        width = max(1.0, np.ceil((last - first) / 60))
        axis.hist(
            array,
            bins=np.arange(first - 0.5, last + width + 0.5, width),
            color=BLUE,
            edgecolor="white",
            linewidth=0.5,
        )
        axis.set(title=name, xlabel="EPVS (count)", ylabel="scans (number)")
        whole_numbers(axis)
    return figure


def scatter(reference: ArrayLike, scores: Mapping[str, ArrayLike], *, reference_name: str) -> Figure:
    """Score against visual count with the line of identity, one panel a method (Fig. 6); in EPVS.

    Visual counts are whole numbers; they are spread by up to ± 0.15 so that points do not hide each other.
    """
    x = np.asarray(reference, dtype=np.float64)
    jitter = np.random.default_rng(0).uniform(-0.15, 0.15, x.size)
    columns = min(3, len(scores))
    rows = -(-len(scores) // columns)
    figure, axes = new_figure(
        width=3.6 * columns, height=3.5 * rows, rows=rows, columns=columns, squeeze=False
    )
    for axis, (name, values) in zip(axes.flat, scores.items(), strict=False):
        axis.scatter(x + jitter, values, color=BLUE, **_dots(x.size))
        low, high = _limits(axis, x, values)
        axis.plot([low, high], [low, high], color=MUTED, linewidth=1, linestyle="--")
        axis.set(title=name, xlabel=f"{reference_name} (EPVS)", ylabel="score (EPVS)", aspect="equal")
    for axis in axes.flat[len(scores) :]:
        axis.remove()
    return figure


def bland_altman_plot(
    first: ArrayLike, second: ArrayLike, result: BlandAltman, *, labels: tuple[str, str]
) -> Figure:
    """Difference against mean, with bias and limits of agreement and their intervals; in EPVS."""
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    figure, axis = new_figure(width=6.0, height=3.8)
    axis.scatter((x + y) / 2, y - x, color=BLUE, **_dots(x.size))
    for estimate, name, style in (
        (result.upper, "+1.96 SD", "--"),
        (result.bias, "mean", "-"),
        (result.lower, "−1.96 SD", "--"),
    ):
        axis.axhspan(estimate.low, estimate.high, color=BAND, zorder=0)
        axis.axhline(estimate.value, color=VERMILLION, linestyle=style, linewidth=1.4)
        axis.annotate(  # beside the axes, where no point can lie under it
            f"{name}\n{estimate.value:.2f}".replace("-", "−"), (1, estimate.value),
            xycoords=("axes fraction", "data"), xytext=(5, 0), textcoords="offset points",
            va="center", fontsize=8,
        )  # fmt: skip
    axis.set(xlabel=f"mean of {labels[0]} and {labels[1]} (EPVS)", ylabel=f"{labels[1]} − {labels[0]} (EPVS)")
    return figure


def by_age(groups: Mapping[str, pd.DataFrame]) -> Figure:
    """Mean score and 95 % interval per age group, one panel a series (Fig. 9).

    Each table has the columns `age_low`, `age_high` (years), `mean`, `mean_low`, `mean_high` (EPVS) and `n`.
    """
    columns = min(3, len(groups))
    rows = -(-len(groups) // columns)
    figure, axes = new_figure(
        width=3.8 * columns, height=3.2 * rows, rows=rows, columns=columns, squeeze=False, sharex=True
    )
    for axis, (name, table) in zip(axes.flat, groups.items(), strict=False):
        middle = (table["age_low"] + table["age_high"]) / 2
        spread = [table["mean"] - table["mean_low"], table["mean_high"] - table["mean"]]
        axis.errorbar(middle, table["mean"], yerr=spread, color=BLUE, marker="o", capsize=3)
        axis.set_ylim(bottom=min(0.0, float(table["mean_low"].min())))
        axis.set(title=name, xlabel="age (years)", ylabel="EPVS (mean, 95 % CI)")
        axis.tick_params(labelbottom=True)  # sharing the axis would leave the ages to the last row
    for axis in axes.flat[len(groups) :]:
        axis.remove()
    return figure


def curves(
    series: Mapping[str, pd.DataFrame], *, x: str, x_label: str, y_label: str, band: bool = True
) -> Figure:
    """Lines with their 95 % intervals; each table has the columns `x`, `mean`, `mean_low`, `mean_high`."""
    figure, axis = new_figure(width=5.2, height=3.6)
    for index, (name, table) in enumerate(series.items()):
        colour = CYCLE[index % len(CYCLE)]
        axis.plot(
            table[x], table["mean"], label=name, color=colour,
            marker=MARKERS[index % len(MARKERS)], linestyle=LINES[index % len(LINES)],
        )  # fmt: skip
        if band:
            axis.fill_between(table[x], table["mean_low"], table["mean_high"], color=colour, alpha=0.15)
    axis.set(xlabel=x_label, ylabel=y_label)
    if len(series) > 1:
        axis.legend()
    return figure


def heat_map(values: ArrayLike, *, labels: Sequence[str], axis_names: tuple[str, str]) -> Figure:
    """Cross-table with the number of scans in every cell: rows first, columns second."""
    table = np.asarray(values)
    figure, axis = new_figure(width=4.2, height=3.8)
    axis.imshow(table, cmap="Blues", vmin=0)
    for (row, column), count in np.ndenumerate(table):
        dark = count > 0.6 * table.max()
        axis.text(column, row, int(count), ha="center", va="center", color="white" if dark else "#1F2328")
    ticks = range(len(labels))
    axis.set(xticks=ticks, yticks=ticks, xticklabels=labels, yticklabels=labels)
    axis.set(xlabel=axis_names[1], ylabel=axis_names[0])
    axis.grid(visible=False)
    return figure
