#!/usr/bin/env python3
"""Compare two output folders of the app: the same files, the same tables, the same images.

    tools/compare_outputs.py FOLDER OTHER

Pages, figures and JSON sidecars, which name paths, dates and versions, need only be there in both; logs need
not. The column `seconds` and the folders of paths in texts are not compared. Ends with exit code 1 when a
table or an image differs by more than 1e-6 of its largest value.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

TOLERANCE = 1e-6


def find_files(folder: Path) -> dict[str, Path]:
    """Return the output files by their path inside the folder, logs left out."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in files if "logs" not in path.parts}


def compare_tables(path: Path, other: Path) -> float:
    """Return the largest relative difference of two tables; infinite when anything but a number differs."""
    left, right = (
        pd.read_csv(each, sep="\t").drop(columns="seconds", errors="ignore") for each in (path, other)
    )
    if list(left) != list(right) or len(left) != len(right):
        return np.inf
    worst = 0.0
    for column in left:
        if is_numeric_dtype(left[column]) and is_numeric_dtype(right[column]):
            worst = max(
                worst, relative_difference(left[column].to_numpy(float), right[column].to_numpy(float))
            )
        elif not without_folders(left[column]).equals(without_folders(right[column])):
            return np.inf
    return worst


def without_folders(texts: pd.Series) -> pd.Series:
    """Leave of each path only its last part, since input and output may lie elsewhere."""
    return texts.astype(object).replace(r"(?<!\S)/\S*/", "", regex=True)


def relative_difference(left: np.ndarray, right: np.ndarray) -> float:
    """Return the largest difference over the largest value; infinite when shapes or gaps differ."""
    if left.shape != right.shape or not np.array_equal(np.isnan(left), np.isnan(right)):
        return np.inf
    scale = max(float(np.nanmax(np.abs(left), initial=0.0)), 1e-12)
    return float(np.nanmax(np.abs(left - right), initial=0.0)) / scale


def compare(folder: Path, other: Path) -> int:
    """Print one line a file that differs and return their number."""
    left, right = find_files(folder), find_files(other)
    missing = sorted(left.keys() ^ right.keys())
    for name in missing:
        print(f"only in {folder if name in left else other}: {name}")
    failures, compared = len(missing), 0
    for name in sorted(left.keys() & right.keys()):
        if name.endswith(".tsv"):
            difference = compare_tables(left[name], right[name])
        elif name.endswith((".nii.gz", ".nii")):
            images = [np.asarray(nib.load(each).dataobj, dtype=float) for each in (left[name], right[name])]
            difference = relative_difference(*images)
        else:
            continue
        compared += 1
        failures += difference > TOLERANCE
        if difference:
            print(f"{name}: differs by {difference:.2g} of its largest value")
    print(f"{compared} tables and images compared, {failures} files differ or are missing.")
    return failures if compared else 1


if __name__ == "__main__":
    sys.exit(bool(compare(Path(sys.argv[1]), Path(sys.argv[2]))))
