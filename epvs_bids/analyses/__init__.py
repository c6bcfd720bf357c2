"""The group level, one module an analysis: tables in, tables and figures out.

Every module that `ANALYSES` names has a `NAME`, the word that `--analysis` takes, and `run(study)`, which
takes a `base.Study` and returns a `base.AnalysisResult`, or raises `errors.CannotRun` with the reason.
Modules are imported only when they run, so that a table of ages costs no import of torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Protocol, cast

from epvs_bids.analyses.base import AnalysisResult, Study

ANALYSES = {
    "summary": "epvs_bids.analyses.summary",
    "agreement": "epvs_bids.analyses.agreement",
    "raters": "epvs_bids.analyses.raters",
    "baselines": "epvs_bids.analyses.baselines",
    "reproducibility": "epvs_bids.analyses.reproducibility",
    "age": "epvs_bids.analyses.age",
    "occlusion": "epvs_bids.analyses.occlusion",
    "potter": "epvs_bids.analyses.potter",
    "calibrate": "epvs_bids.analyses.calibrate",
    "train": "epvs_bids.analyses.train",
    "learning-curve": "epvs_bids.analyses.learning_curve",
    "hyperparameters": "epvs_bids.analyses.hyperparameters",
}
"""Module of every analysis, in the order in which they run."""

ON_REQUEST = ("calibrate", "train", "learning-curve", "hyperparameters")
"""Analyses that make models: they run only when `--analysis` names them."""


class Analysis(Protocol):
    """What an analysis module offers."""

    NAME: str

    def run(self, study: Study) -> AnalysisResult:
        """Run the analysis on the study's tables."""


def load_analysis(name: str) -> Analysis:
    """Import the module of the analysis `name` (a key of `ANALYSES`)."""
    return cast("Analysis", import_module(ANALYSES[name]))
