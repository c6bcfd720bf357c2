"""`summary`: how the scores are distributed, what failed quality control, and who is missing and why."""

from __future__ import annotations

import pandas as pd

from epvs_bids.analyses import plots
from epvs_bids.analyses.base import AnalysisResult, Study
from epvs_bids.analyses.matching import listed
from epvs_bids.analyses.outputs import LAST_RUN
from epvs_bids.bids.scores import read_failures

NAME = "summary"

DESCRIPTIONS = {
    "n_passed": {"Description": "Scans that passed quality control; all that follows is about these"},
    "n_zero": {"Description": "Scans with a score that rounds to 0 or less"},
    "mean": {"Description": "Mean score", "Units": "EPVS"},
    "sd": {"Description": "Standard deviation of the scores", "Units": "EPVS"},
    "min": {"Description": "Smallest score", "Units": "EPVS"},
    "q25": {"Description": "First quartile of the scores", "Units": "EPVS"},
    "median": {"Description": "Median score", "Units": "EPVS"},
    "q75": {"Description": "Third quartile of the scores", "Units": "EPVS"},
    "max": {"Description": "Largest score", "Units": "EPVS"},
}


def _distribution(scores: pd.DataFrame) -> pd.DataFrame:
    """One row a region: how many scans, how many passed, and how their scores are distributed."""
    rows = []
    for region, group in scores.groupby("region"):
        passed = group.loc[group["qc_pass"], "score"].dropna()
        quartiles = passed.quantile([0.25, 0.5, 0.75])
        rows.append(
            {
                "region": region,
                "n": len(group),
                "n_participants": group["participant_id"].nunique(),
                "n_passed": len(passed),
                "n_zero": int((passed < 0.5).sum()),
                "mean": passed.mean(),
                "sd": passed.std(),
                "min": passed.min(),
                "q25": quartiles[0.25],
                "median": quartiles[0.5],
                "q75": quartiles[0.75],
                "max": passed.max(),
            }
        )
    return pd.DataFrame(rows).round(4)


def _missing(study: Study) -> pd.DataFrame:
    """Everybody who is in the data set and has no usable score, with the reason."""
    scores, wanted, sessions = study.scores, study.options.participants, study.options.sessions
    rejected = scores[~scores["qc_pass"]]
    rows = [
        (row.participant_id, row.session_id, _rejected(str(row.qc_reason))) for row in rejected.itertuples()
    ]
    scored = set(zip(scores["participant_id"], scores["session_id"], strict=True))
    failures = [failure for failure in read_failures(study.output_dir) if failure[:2] not in scored]
    rows += [
        failure
        for failure in failures
        if (not wanted or failure[0] in wanted) and (not sessions or failure[1] in (*sessions, ""))
    ]
    everybody = study.known_participants & set(wanted) if wanted else study.known_participants
    named = {row[0] for row in rows} | set(scores["participant_id"])
    rows += [(label, "", _reason(study, label)) for label in sorted(everybody - named)]
    table = pd.DataFrame(rows, columns=["participant_id", "session_id", "reason"])
    return table.assign(session_id=table["session_id"].replace("", None)).drop_duplicates()


def _rejected(reason: str) -> str:
    """Why a score is not used."""
    return reason if reason.startswith(LAST_RUN) else f"failed quality control: {reason}"


def _reason(study: Study, label: str) -> str:
    """Why a participant whom no log mentions has no score."""
    if study.bids_dir is not None and not (study.bids_dir / label).is_dir():
        return "listed in participants.tsv, but there is no folder"
    return "not scored yet"


def run(study: Study) -> AnalysisResult:
    """Summarise all scores; see the module."""
    scores = study.scores
    distribution, missing = _distribution(scores), _missing(study)
    passed = scores[scores["qc_pass"]]
    sentences = [
        f"{row.n} scans of {row.n_participants} participants have a score of {row.region}; "
        f"{row.n_passed} passed quality control, with a median of {row.median:.1f} EPVS "
        f"(quartiles {row.q25:.1f} to {row.q75:.1f})."
        for row in distribution.itertuples()
    ]
    if len(missing):
        sentences.append(f"{len(missing)} have no usable score.")
    figures = {}
    if len(passed):
        series = {str(region): group["score"].dropna() for region, group in passed.groupby("region")}
        figures["distribution"] = lambda: plots.distribution(series)
    labels = missing["participant_id"].tolist()
    return AnalysisResult(
        NAME,
        tables={"": distribution, "missing": missing},
        descriptions=DESCRIPTIONS,
        figures=figures,
        summary=" ".join(sentences),
        numbers={"scans": len(scores), "passed": len(passed), "missing": len(missing)},
        notes=[f"without a usable score, {listed(labels)}"] if labels else [],
    )
