"""What every analysis is given (`Study`) and what it gives back (`AnalysisResult`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from epvs_bids.analyses.options import GroupOptions, TrainingSettings
from epvs_bids.errors import CannotRun, MissingInputError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from epvs_bids.analyses.outputs import Region

Description = Mapping[str, object]
"""What one column of a table means, as a BIDS data dictionary says it: `Description`, `Units`, `Levels` …"""


@dataclass(frozen=True)
class Study:
    """The tables of one study, each read and checked when it is first needed.

    Parameters
    ----------
    output_dir
        Derivatives that the participant level wrote.
    bids_dir
        Raw data set; only its tables are read. None where it is not at hand.
    options
        Choices of this run.
    training
        Settings of the analyses that make models.
    """

    output_dir: Path
    bids_dir: Path | None = None
    options: GroupOptions = field(default_factory=GroupOptions)
    training: TrainingSettings = field(default_factory=TrainingSettings)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """All scores, one row a scan and region.

        Columns `participant_id` (`sub-…`), `session_id` (`ses-…` or empty), `scan` (file name up to
        `_desc-`), `region`, `score`, `score_sd`, `potter_class`, `model`, `segmentation`, `qc_pass` (bool),
        `qc_reason`, and `model-1` … `model-N` where an ensemble scored. Scans that fail quality control are
        in it. Raises `CannotRun` where nothing was scored.
        """
        from epvs_bids.analyses.outputs import read_scores

        scores = self._chosen(read_scores(self.output_dir), self.options.sessions)
        if scores.empty:
            raise CannotRun(f"no scores of the participants and sessions asked for under {self.output_dir}")
        return scores

    @cached_property
    def ratings(self) -> pd.DataFrame:
        """Ratings: `participant_id`, `session_id` (may be empty), a float column a rater (NaN: missing).

        Raises `CannotRun` where there is no table, and `BadDataError` naming file, row and column where it
        can't be used.
        """
        from epvs_bids.analyses.tables import read_ratings

        return self._chosen_ratings(read_ratings(self.ratings_path, known=self.known_participants))

    @cached_property
    def usable_ratings(self) -> pd.DataFrame:
        """Like `ratings`, but unusable cells are left out with a warning, unless `options.strict`."""
        from epvs_bids.analyses.tables import read_ratings

        ratings = read_ratings(
            self.ratings_path, known=self.known_participants, drop_unusable=not self.options.strict
        )
        return self._chosen_ratings(ratings)

    @cached_property
    def raters(self) -> tuple[str, ...]:
        """Rater columns of `ratings`, the reference rater (`options.rater`, else the first) first."""
        from epvs_bids.analyses.tables import rater_columns

        return rater_columns(
            self.ratings, self.ratings_path, rater=self.options.rater, site=self.options.site
        )

    @cached_property
    def participants(self) -> pd.DataFrame:
        """`participants.tsv` as text, `participant_id` first. Raises `CannotRun` where there is none."""
        from epvs_bids.analyses.tables import read_participants

        return read_participants(self.participants_path)

    @property
    def new_model(self) -> Path:
        """Folder of the model that this run makes."""
        return self.output_dir / "models" / self.training.model_name

    @property
    def ratings_path(self) -> Path:
        """Where the ratings are read from.

        That is `--ratings`, else `phenotype/epvs.tsv` of `bids_dir`, else the one that `epvs-rate` leaves in
        `output_dir` when it is not told a data set. Raises `MissingInputError` where `--ratings` is no file.
        """
        if self.options.ratings is not None:
            if not self.options.ratings.is_file():
                raise MissingInputError(f"{self.options.ratings}: there is no such table (--ratings)")
            return self.options.ratings
        folders = [folder for folder in (self.bids_dir, self.output_dir) if folder is not None]
        places = [folder / "phenotype" / "epvs.tsv" for folder in folders]
        return next((path for path in places if path.is_file()), places[0])

    @property
    def participants_path(self) -> Path:
        """Where ages, sexes and sites are read from. Raises `CannotRun` without a raw data set."""
        if self.bids_dir is None:
            raise CannotRun("there is no participants.tsv: bids_dir is not at hand")
        return self.bids_dir / "participants.tsv"

    @cached_property
    def known_participants(self) -> frozenset[str]:
        """Labels (`sub-…`) in `participants.tsv` and the folders of `bids_dir`; empty without either."""
        from epvs_bids.analyses.tables import known_participants

        return known_participants(self.bids_dir)

    @cached_property
    def regions(self) -> Sequence[Region]:
        """Regions of interest that the participant level wrote, one a scan, by participant and session."""
        from epvs_bids.analyses.outputs import find_regions

        people, sessions = self.options.participants, self.options.sessions
        return tuple(
            region
            for region in find_regions(self.output_dir)
            if (not people or region.participant_id in people)
            and (not sessions or region.session_id in sessions)
        )

    def _chosen_ratings(self, ratings: pd.DataFrame) -> pd.DataFrame:
        """Rows that may belong to the chosen participants and sessions."""
        sessions = self.options.sessions
        return self._chosen(ratings, (*sessions, "") if sessions else ())

    def _chosen(self, frame: pd.DataFrame, sessions: Sequence[str]) -> pd.DataFrame:
        """Rows of the chosen participants and of these sessions; all where none is named."""
        from epvs_bids.analyses.tables import only

        frame = only(frame, self.options.participants)
        return frame[frame["session_id"].isin(list(sessions))].reset_index(drop=True) if sessions else frame


@dataclass(frozen=True)
class AnalysisResult:
    """What an analysis found.

    Parameters
    ----------
    name
        Its `NAME`.
    tables
        By name; `""` is written as `group_<name>.tsv`, any other key as `group_<name>_<key>.tsv`.
    descriptions
        By column, for all tables; written beside each as its data dictionary.
    figures
        By name: functions that draw one; written as `figures/group_<name>_<key>.svg`.
    summary
        One paragraph with the main numbers, for the log and the page.
    numbers
        The main numbers by name, for `group_results.json`.
    notes
        What a reader has to know (rows left out, a method that differs).
    skipped
        Why the analysis did not run; None where it did.
    """

    name: str
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    descriptions: Mapping[str, Description] = field(default_factory=dict)
    figures: Mapping[str, Callable[[], Figure]] = field(default_factory=dict)
    summary: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    skipped: str | None = None
