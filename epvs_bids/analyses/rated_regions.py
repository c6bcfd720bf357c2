"""The training set of a study: regions that have a visual score, gathered in one file."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from epvs_bids.analyses.base import Study
from epvs_bids.analyses.matching import listed, with_sessions
from epvs_bids.analyses.outputs import Region
from epvs_bids.analyses.tables import rater_columns
from epvs_bids.bids.scores import failed_scans
from epvs_bids.errors import BadDataError, CannotRun
from epvs_bids.network.checkpoint import DEFAULT_MODEL, LoadedModel, load_models
from epvs_bids.network.data import (
    RatedRegion,
    check_training_set,
    common_preprocessing,
    read_sidecar,
    store_regions,
)
from epvs_bids.network.fit import TrainingSet
from epvs_bids.network.options import TrainingOptions, make_options

LOGGER = logging.getLogger(__name__)

CHANGES = (
    "loss",
    "features",
    "blocks",
    "convolutions",
    "dense",
    "flip_axes",
    "augmentation",
    "max_epochs",
    "patience",
)
"""Settings of a run that replace what a recipe says."""


@dataclass(frozen=True)
class RatedRegions:
    """Regions with their scores, and what was left out of them."""

    regions: tuple[RatedRegion, ...]
    rater: str
    notes: tuple[str, ...]


def rated_regions(study: Study) -> RatedRegions:
    """Pair the regions of a study with the reference rater's scores.

    A rating without a session belongs to the participant's only session. Of several scans of a session, the
    first is used. Regions that failed quality control are left out.

    Raises
    ------
    CannotRun
        No region or no rating is there.
    BadDataError
        With `options.strict`, a region without a rating or the reverse; a rating that names no session where
        there are several; a training set that nothing can be learned from.
    """
    if not study.regions:
        raise CannotRun(f"there are no regions under {study.output_dir}: run the participant level first")
    ratings = study.usable_ratings
    options = study.options
    rater = rater_columns(ratings, study.ratings_path, rater=options.rater, site=options.site)[0]
    regions, failed = _by_session(study)
    keys = pd.DataFrame(sorted(regions), columns=["participant_id", "session_id"])
    rated = with_sessions(study, keys, ratings[["participant_id", "session_id", rater]])
    scores = rated[rated[rater].notna()].set_index(["participant_id", "session_id"])[rater]
    scores = scores[~scores.index.isin(failed)]
    usable = {key: region for key, region in regions.items() if key not in failed}
    found = [
        RatedRegion(participant=key[0], name=usable[key].scan, path=usable[key].image, score=float(score))
        for key, score in scores.items()
        if key in usable
    ]
    notes = _left_out(study, scores.index.to_list(), usable, found, rater)
    if failed:
        notes += (f"failed quality control, {listed([regions[key].scan for key in failed])}",)
    check_training_set(found)
    return RatedRegions(tuple(found), rater, notes)


def _by_session(study: Study) -> tuple[dict[tuple[str, str], Region], list[tuple[str, str]]]:
    """Regions by participant and session, and the keys of those that are not to be learned from."""
    again = failed_scans(study.output_dir)
    bad = [one for one in study.regions if one.scan in again or read_sidecar(one.image).get("FailedChecks")]
    regions: dict[tuple[str, str], Region] = {}
    for region in (*(one for one in study.regions if one not in bad), *bad):
        regions.setdefault((region.participant_id, region.session_id), region)
    return regions, [key for key, region in regions.items() if region in bad]


def _left_out(
    study: Study,
    rated: Sequence[tuple[str, str]],
    regions: Mapping[tuple[str, str], Region],
    found: list[RatedRegion],
    rater: str,
) -> tuple[str, ...]:
    """Say which regions and ratings have no partner; refuse them where the run is strict."""
    used = {pair.path for pair in found}
    without = {
        f"a region but no rating by {rater}": [r.scan for r in regions.values() if r.image not in used],
        "a rating but no region": sorted({row[0] for row in rated} - {pair.participant for pair in found}),
    }
    notes = []
    for problem, names in without.items():
        if names:
            note = f"{problem}, left out, {listed(names)}"
            if study.options.strict:
                raise BadDataError(f"{note} (--strict)")
            LOGGER.warning("%s", note)
            notes.append(note)
    return tuple(notes)


def training_set(rated: RatedRegions, folder: Path) -> TrainingSet:
    """Gather rated regions in one file under `folder`, and check that they were made alike."""
    preprocessing, template = common_preprocessing(rated.regions)
    store = store_regions([region.path for region in rated.regions], folder / "regions.f16")
    return TrainingSet(
        store=store,
        scores=np.array([region.score for region in rated.regions]),
        participants=tuple(region.participant for region in rated.regions),
        preprocessing=preprocessing,
        template=template,
    )


def source_model(init_from: str | None) -> LoadedModel | None:
    """Load the model to start from; `default` is the one that ships, of an ensemble the first is taken."""
    if init_from is None:
        return None
    return load_models(DEFAULT_MODEL if init_from == "default" else Path(init_from))[0]


def training_options(study: Study, source: LoadedModel | None, **more: Any) -> TrainingOptions:  # noqa: ANN401
    """Make the options that the settings of a run ask for; `more` replaces them."""
    given = {name: getattr(study.training, name) for name in CHANGES}
    given = {"seed": study.options.seed} | given | more
    recipe = more.get("recipe") or study.training.recipe
    given.pop("recipe", None)
    return make_options(recipe, source=source.description.architecture if source else None, changes=given)
