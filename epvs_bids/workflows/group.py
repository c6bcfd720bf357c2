"""The group level: runs the analyses asked for, or all that the data allow, and writes what they found.

`group_results.json` says of each analysis what became of it::

    {"version": …, "options": {…},
     "analyses": [{"name": "agreement", "status": "done" | "skipped" | "failed", "reason": "", "summary": "…",
                   "numbers": {…}, "notes": […], "tables": ["group_agreement.tsv"],
                   "figures": ["figures/group_agreement_scatter.svg"], "seconds": 1.2}, …]}

`group_analyses.tsv` is the same as a table. A run replaces the entries of the analyses that it runs, and
leaves those of the others; version and options are those of the last run.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from epvs_bids import __version__
from epvs_bids.analyses import ANALYSES, ON_REQUEST, load_analysis
from epvs_bids.analyses.base import AnalysisResult, Study
from epvs_bids.analyses.descriptions import describe
from epvs_bids.analyses.options import GroupOptions
from epvs_bids.errors import CannotRun, EmptySelectionError, EPVSError, MissingInputError, UsageError
from epvs_bids.files import read_json, write_json, write_tsv
from epvs_bids.settings import Settings
from epvs_bids.workflows.record import recorded, write_settings

LOGGER = logging.getLogger(__name__)

RESULTS = "group_results.json"


_EMPTY: Mapping[str, Any] = {
    "name": "",
    "status": "",
    "reason": "",
    "summary": "",
    "numbers": {},
    "notes": [],
    "tables": [],
    "figures": [],
}
"""Fields of every entry."""


def make_study(settings: Settings) -> Study:
    """Translate the settings of a run into what analyses are given."""
    options = GroupOptions(
        **dataclasses.asdict(settings.group),
        participants=tuple(f"sub-{label}" for label in settings.participant_labels),
        sessions=tuple(f"ses-{label}" for label in settings.session_labels),
        model=None if settings.model in ("default", "none") else Path(settings.model),
        seed=settings.random_seed,
        threads=settings.nprocs,
        device=settings.device,
    )
    bids_dir = settings.bids_dir if settings.bids_dir.is_dir() else None
    return Study(settings.output_dir, bids_dir, options, settings.training)


def run_group(settings: Settings) -> int:
    """Run the group level; settings and messages are left in `logs`.

    Every analysis has its chance: one that fails does not stop the others. Analyses that the data do not
    allow are skipped with the reason in the log, in `group_analyses.tsv` and in `group_results.json`.

    Returns
    -------
    Exit code: 0; that of the first error of an analysis; 66 where an analysis that `--analysis` named was
    skipped.

    Raises
    ------
    UsageError
        For an analysis of another name.
    EmptySelectionError
        Where scores are of other participants or sessions than those asked for.
    MissingInputError
        Where nothing was scored.
    """
    from epvs_bids.reports.pages import write_group_page

    if settings.reports_only:
        write_group_page(settings.output_dir)
        return 0
    study = make_study(settings)
    names = _chosen(study.options.analyses)
    requested = bool(study.options.analyses)
    if os.environ.get("RANK", "0") != "0":  # `torchrun` starts helpers, which neither write nor speak
        logging.getLogger("epvs_bids").setLevel(logging.CRITICAL)
        return _exit_code([_run_one(name, study, write=False) for name in names], requested=requested)
    with recorded(settings) as run:
        if not requested:
            _require_scores(study)
        _name_absent(study)
        write_settings(settings, run)
        records = [_run_one(name, study, write=True) for name in names]
        _write_scores(study)
        _write_records(records, study)
        write_group_page(study.output_dir)
    return _exit_code(records, requested=requested)


def _chosen(names: Sequence[str]) -> list[str]:
    """Names of the analyses to run, in the order of `ANALYSES`."""
    unknown = [name for name in names if name not in ANALYSES]
    if unknown:
        raise UsageError(
            f"--analysis {unknown[0]}: there is no such analysis; there are {', '.join(ANALYSES)}"
        )
    if names:
        return [name for name in ANALYSES if name in names]
    return [name for name in ANALYSES if name not in ON_REQUEST]


def _require_scores(study: Study) -> None:
    """Turn the absence of any score into an error of the run, or of the labels where others have scores."""
    try:
        _ = study.scores
    except CannotRun as reason:
        chosen = study.options.participants or study.options.sessions
        if chosen and any(study.output_dir.glob("sub-*/**/anat/sub-*_desc-epvs_scores.tsv")):
            remedy = "Correct --participant-label and --session-label, or run the participant level for them."
            raise EmptySelectionError(f"There are {reason} ({', '.join(chosen)}). {remedy}") from reason
        raise MissingInputError(str(reason)) from reason


def _name_absent(study: Study) -> None:
    """Warn of each label that was asked for and has no results."""
    output_dir = study.output_dir
    there = {path.name for pattern in ("sub-*", "sub-*/ses-*") for path in output_dir.glob(pattern)}
    for label in (*study.options.participants, *study.options.sessions):
        if label not in there:
            LOGGER.warning(
                "%s was asked for, but %s holds no results of it: is it misspelt?", label, output_dir
            )


@dataclasses.dataclass(frozen=True)
class _Record:
    """What became of one analysis, as `group_results.json` has it, and the exit code it asks for."""

    entry: dict[str, Any]
    exit_code: int = 0


def _run_one(name: str, study: Study, *, write: bool) -> _Record:
    """Run one analysis and write what it found, if asked to."""
    LOGGER.info("%s: started", name)
    start = time.perf_counter()
    entry: dict[str, Any] = {**_EMPTY, "name": name, "status": "done"}
    exit_code = 0
    try:
        result = load_analysis(name).run(study)
        if result.skipped is not None:
            raise CannotRun(result.skipped)
        entry |= _write_result(result, study.output_dir) if write else {}
        LOGGER.info("%s: %s", name, result.summary)
    except CannotRun as reason:
        entry |= {"status": "skipped", "reason": str(reason)}
        LOGGER.warning("%s: skipped, %s", name, reason)
    except EPVSError as error:
        entry |= {"status": "failed", "reason": str(error)}
        exit_code = error.exit_code
        LOGGER.error("%s: failed, %s", name, error)
    except Exception as error:
        entry |= {"status": "failed", "reason": f"unexpected {type(error).__name__}: {error}"}
        exit_code = 1
        LOGGER.exception("%s: failed unexpectedly; please report this", name)
    return _Record(entry | {"seconds": round(time.perf_counter() - start, 2)}, exit_code)


def _write_result(result: AnalysisResult, output_dir: Path) -> dict[str, Any]:
    """Write tables and figures; return the part of the entry that speaks of them."""
    from epvs_bids.reports.style import save_svg

    tables, figures = [], []
    for key, table in result.tables.items():
        path = output_dir / f"group_{'_'.join(filter(None, [result.name, key]))}.tsv"
        write_tsv(path, table, describe(table, result.descriptions))
        tables.append(path.name)
    for key, draw in result.figures.items():
        path = output_dir / "figures" / f"group_{result.name}_{key}.svg"
        save_svg(draw(), path)
        figures.append(f"figures/{path.name}")
    return {
        "summary": result.summary,
        "numbers": _plain(result.numbers),
        "notes": list(result.notes),
        "tables": tables,
        "figures": figures,
    }


def _plain(value: Any) -> Any:  # noqa: ANN401 - anything that becomes JSON
    """Numbers of numpy as Python's own; NaN and infinity, which JSON lacks, as None."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write_scores(study: Study) -> None:
    """Write `group_scores.tsv`, where anything was scored."""
    try:
        scores = study.scores
    except (CannotRun, EPVSError) as error:
        LOGGER.warning("no group_scores.tsv: %s", error)
        return
    scores = _with_ages(scores, study)
    write_tsv(study.output_dir / "group_scores.tsv", scores, describe(scores, {}))


def _with_ages(scores: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Add the column `age` where `participants.tsv` has one, so that pages can show scores against age."""
    try:
        people = study.participants
    except (CannotRun, EPVSError):
        return scores
    if "age" not in people:
        return scores
    ages = pd.to_numeric(people.set_index("participant_id")["age"], errors="coerce")
    return scores.assign(age=scores["participant_id"].map(ages))


def _write_records(records: Sequence[_Record], study: Study) -> None:
    """Write `group_results.json` and `group_analyses.tsv`, with the analyses of earlier runs."""
    found = _earlier(study.output_dir / RESULTS) | {record.entry["name"]: record.entry for record in records}
    entries = [found[name] for name in ANALYSES if name in found]
    columns = ["name", "status", "reason", "summary", "seconds"]
    table = pd.DataFrame(entries, columns=columns).rename(columns={"name": "analysis"}).replace("", None)
    write_tsv(study.output_dir / "group_analyses.tsv", table, describe(table, {}))
    options = {key: _plain(value) for key, value in dataclasses.asdict(study.options).items()}
    write_json(study.output_dir / RESULTS, {"version": __version__, "options": options, "analyses": entries})


def _earlier(path: Path) -> dict[str, dict[str, Any]]:
    """Read what earlier runs found, by analysis; nothing, with a warning, where that can't be read."""
    if not path.is_file():
        return {}
    try:
        entries = read_json(path).get("analyses")
    except EPVSError as error:
        LOGGER.warning("%s It is written anew, without the analyses of earlier runs.", error)
        return {}
    complete = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    return {str(entry["name"]): entry for entry in complete if entry.keys() >= _EMPTY.keys()}


def _exit_code(records: Sequence[_Record], *, requested: bool) -> int:
    """First error's code; that of a missing input where a requested analysis was skipped; else 0."""
    failed = [record.exit_code for record in records if record.exit_code]
    if failed:
        return failed[0]
    if requested and any(record.entry["status"] == "skipped" for record in records):
        return MissingInputError.exit_code
    return 0
