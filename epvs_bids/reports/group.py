"""Everything that the study's page shows, as plain values for its template."""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from epvs_bids.files import MISSING
from epvs_bids.reports import outputs
from epvs_bids.reports.outputs import Row, number, passed
from epvs_bids.reports.run import flat, short

_LOGGER = logging.getLogger(__name__)

OUTLIER = 3.5
"""Modified z-score beyond which a score is called an outlier (Iglewicz & Hoaglin 1993)."""

TITLES = {
    "summary": "Distribution",
    "agreement": "Agreement with visual ratings",
    "raters": "Raters among themselves",
    "baselines": "Against simpler methods",
    "reproducibility": "Scan–rescan reproducibility",
    "age": "Age",
    "occlusion": "Occlusion of marked EPVS",
    "potter": "Potter classes",
    "calibrate": "Calibration to visual ratings",
    "train": "Training",
    "learning-curve": "Learning curve",
    "hyperparameters": "Hyper-parameters",
}

FIRST_ROWS = 100
"""Rows of the scans' table that the page holds as markup; its script makes the others when they are seen."""

_MAX_ROWS, _MAX_COLUMNS = 30, 16


def group_view(output_dir: Path) -> dict[str, Any]:
    """Gather what the study's page shows; what is missing on disk is missing on the page."""
    pages = {path.name for path in output_dir.glob("sub-*.html")}
    scores = _score_views(outputs.group_scores(output_dir), pages)
    analyses = outputs.content(output_dir / "group_results.json").get("analyses", [])
    entries = [entry for entry in analyses if isinstance(entry, dict) and "name" in entry]
    missing = output_dir / "group_summary_missing.tsv"
    return {
        "scores": scores,
        "table": scores_table(scores),
        "first_rows": FIRST_ROWS,
        "facts": _facts(scores),
        "missing": outputs.rows(missing) if missing.is_file() else [],
        "missing_known": missing.is_file(),
        "analyses": [_analysis_view(output_dir, entry) for entry in entries if entry.get("status") == "done"],
        "left_out": [
            {"title": _title(entry), "status": entry.get("status", ""), "reason": entry.get("reason", "")}
            for entry in entries
            if entry.get("status") != "done"
        ],
        "downloads": [
            name for name in ("group_scores.tsv", "group_analyses.tsv") if (output_dir / name).is_file()
        ],
        "outlier_limit": OUTLIER,
    }


def outlier_scores(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute modified z-scores of counts.

    0.6745 (y − median) / MAD (Iglewicz & Hoaglin 1993, *How to detect and handle outliers*), of
    y = √(x + 3/8), which gives counts about the same variance everywhere (Anscombe 1948). Where more than
    half of the scores are equal, the mean absolute deviation times 1.2533 takes the place of MAD / 0.6745.

    Parameters
    ----------
    scores
        Scores in EPVS, nan where missing; negative ones count as 0.

    Returns
    -------
    z
        Same shape; nan where missing, 0 where all scores are equal.
    """
    roots = np.sqrt(np.clip(scores, 0, None) + 3 / 8)
    if not np.isfinite(roots).any():
        return roots
    difference: NDArray[np.float64] = roots - np.nanmedian(roots)
    spread = np.nanmedian(np.abs(difference)) / 0.6745 or 1.2533 * np.nanmean(np.abs(difference))
    return difference / spread if spread else difference


def _score_views(table: Sequence[Row], pages: set[str]) -> list[dict[str, Any]]:
    """One entry a scan and region, those to look at first."""
    values = np.array([number(row.get("score")) or 0.0 for row in table])
    values[[number(row.get("score")) is None for row in table]] = np.nan
    regions = np.array([row.get("region", "") for row in table])
    z = np.full(len(table), np.nan)
    for region in np.unique(regions):
        z[regions == region] = outlier_scores(values[regions == region])
    views = [_score_view(row, z=float(value), pages=pages) for row, value in zip(table, z, strict=True)]
    return sorted(
        views, key=lambda view: (-view["rank"], view["participant"], view["session"], view["region"])
    )


def _score_view(row: Row, *, z: float, pages: set[str]) -> dict[str, Any]:
    """One scan's entry; `rank` is higher the more it deserves a look."""
    session = row.get("session_id", MISSING)
    page = f"{row['participant_id']}.html"
    fine, score = passed(row), number(row.get("score"))
    outlier = abs(z) > OUTLIER
    return {
        "participant": row["participant_id"],
        "session": "" if session == MISSING else session,
        "scan": row.get("scan", ""),
        "region": row.get("region", ""),
        "score": score,
        "spread": number(row.get("score_sd")),
        "potter": row.get("potter_class", "").removesuffix(".0").replace(MISSING, ""),
        "z": round(z, 1) + 0.0 if np.isfinite(z) else None,
        "passed": fine,
        "outlier": outlier,
        "reason": row.get("qc_reason", "").replace(MISSING, ""),
        "page": page if page in pages else "",
        "rank": 1000.0 * (not fine) + 500.0 * (score is None) + (abs(z) if outlier else 0.0),
    }


def scores_table(scores: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Lay out the table of scans as text; sessions and regions have a column only where they differ.

    Returns
    -------
    table
        `columns` (`text`, `numeric`, `title`), `labels` (how many of them name the scan) and `rows`: page or
        an empty string, classes of the row, score in EPVS or None, and the cells' texts.
    """
    labels = ["participant"]
    labels += ["session"] if any(score["session"] for score in scores) else []
    labels += ["region"] if len({score["region"] for score in scores}) > 1 else []
    columns = [{"text": label, "numeric": False, "title": ""} for label in labels]
    columns += [
        {"text": "score (EPVS)", "numeric": True, "title": ""},
        {"text": "± SD", "numeric": True, "title": "standard deviation over the networks, in EPVS"},
        {"text": "Potter class", "numeric": True, "title": ""},
        {"text": "z", "numeric": True, "title": "modified z-score of the square root"},
        {"text": "quality control", "numeric": False, "title": ""},
    ]
    rows = []
    for score in scores:
        kinds = ["failed"] * (not score["passed"]) + ["outlier"] * score["outlier"]
        cells = [score[label] for label in labels]
        cells += [_decimal(score["score"], 2), _decimal(score["spread"], 2), score["potter"]]
        cells += [_decimal(score["z"], 1), _verdict(score)]
        rows.append((score["page"], " ".join(kinds), score["score"], cells))
    return {"columns": columns, "labels": len(labels), "rows": rows}


def _decimal(value: float | None, digits: int) -> str:
    """Write a number with its digits and a true minus sign; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def _verdict(score: Mapping[str, Any]) -> str:
    """Say what quality control and the search for outliers found."""
    found = "passed" if score["passed"] else "failed"
    found += ", outlier" if score["outlier"] else ""
    return f"{found}: {score['reason']}" if score["reason"] else found


def _facts(scores: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Numbers at the top of the page; the distribution is of scans that passed quality control."""
    good = [score["score"] for score in scores if score["passed"] and score["score"] is not None]
    quartiles = np.percentile(good, [25, 50, 75]).tolist() if good else None
    return {
        "scans": len({(score["participant"], score["scan"]) for score in scores}),
        "participants": len({score["participant"] for score in scores}),
        "failed": sum(not score["passed"] for score in scores),
        "outliers": sum(score["outlier"] for score in scores),
        "quartiles": quartiles,
    }


def _title(entry: Mapping[str, Any]) -> str:
    return TITLES.get(str(entry["name"]), str(entry["name"]))


def _analysis_view(output_dir: Path, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Figures, numbers and tables of an analysis that ran."""
    tables = [path for name in entry.get("tables", []) if (path := _inside(output_dir, name, ".tsv"))]
    figures = [path for name in entry.get("figures", []) if (path := _inside(output_dir, name, ".svg"))]
    return {
        "name": str(entry["name"]),
        "title": _title(entry),
        "summary": entry.get("summary", ""),
        "notes": entry.get("notes", []),
        "numbers": flat(entry.get("numbers", {})),
        "tables": [_table_view(output_dir, path) for path in tables],
        "figures": [
            {"name": path.stem.removeprefix(f"group_{entry['name']}_").replace("_", " "), "image": _svg(path)}
            for path in figures
        ],
    }


def _inside(output_dir: Path, name: object, suffix: str) -> Path | None:
    """Path of a file that the results name, if it is there, inside the outputs and of the right kind."""
    path = (output_dir / str(name)).resolve()
    if path.suffix == suffix and path.is_relative_to(output_dir.resolve()) and path.is_file():
        return path
    _LOGGER.warning("%s is named by group_results.json, but is not there", name)
    return None


def _table_view(output_dir: Path, path: Path) -> dict[str, Any]:
    """Link to a table, and its rows where it is small."""
    table = outputs.rows(path)
    columns = list(table[0]) if table else []
    small = 0 < len(table) <= _MAX_ROWS and len(columns) <= _MAX_COLUMNS
    return {
        "href": path.relative_to(output_dir.resolve()).as_posix(),
        "name": path.name,
        "size": len(table),
        "columns": columns if small else [],
        "numeric": [
            all(number(row[column]) is not None or row[column] == MISSING for row in table)
            for column in columns
        ],
        "rows": [[short(row[column]) for column in columns] for row in table] if small else [],
    }


def _svg(path: Path) -> str:
    """Return a figure as an address that holds it; scripts in an SVG shown as an image do not run."""
    return "data:image/svg+xml;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
