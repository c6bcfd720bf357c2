"""Counts enlarged perivascular spaces (EPVS) in PD- and T2-weighted brain MRI, as a BIDS App."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

try:
    __version__ = version("epvs-bids")
except PackageNotFoundError:  # run from a checkout that was not installed
    __version__ = (Path(__file__).parent.parent / "version").read_text().strip()
