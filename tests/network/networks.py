"""Networks that several tests build."""

from __future__ import annotations

from epvs_bids.network.architecture import Architecture

COUNTING = Architecture(
    channels=((16, 16), (32, 32, 32)),
    dilations=((1, 1), (1, 2, 4)),
    head="sum",
    normalisation="batch",
    scaling="robust",
)
"""The small network that counts by adding up a detection map (ours): a cell is 1 mm, its context 17 mm."""
