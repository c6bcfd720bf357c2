"""Potter's categories of EPVS counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

POTTER_LIMITS = (0, 10, 20, 40)
"""Largest count of categories 0 (none), 1 (1–10), 2 (11–20) and 3 (21–40); 4 is more (Potter et al. 2015)."""

N_CATEGORIES = len(POTTER_LIMITS) + 1


def potter_class(counts: ArrayLike) -> NDArray[np.int64]:
    """Potter category 0–4 of each count, rounded to whole EPVS and clipped at 0; same shape as `counts`.

    Potter et al. (2015), Cerebrovascular Diseases 39:224–231.
    """
    whole = np.clip(np.rint(np.asarray(counts, dtype=np.float64)), 0, None)
    return np.searchsorted(POTTER_LIMITS, whole, side="left").astype(np.int64)
