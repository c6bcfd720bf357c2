"""Contrast of colours, and how people with a colour-vision deficiency see them."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray


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
