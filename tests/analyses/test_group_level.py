"""The group level as a whole: all that the data allow, what can't run with its reason, exit codes."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from epvs_bids.analyses import ANALYSES, ON_REQUEST
from epvs_bids.analyses.base import Study
from epvs_bids.analyses.options import GroupSettings
from epvs_bids.errors import MissingInputError, UsageError
from epvs_bids.settings import Settings
from epvs_bids.workflows.group import make_study as study_of
from epvs_bids.workflows.group import run_group

MakeStudy = Callable[..., Study]


def settings_of(study: Study, *analyses: str, **options: object) -> Settings:
    group = GroupSettings(analyses=analyses, **options)  # type: ignore[arg-type]
    assert study.bids_dir is not None
    return Settings(
        bids_dir=study.bids_dir, output_dir=study.output_dir, level="group", group=group, nprocs=1
    )


def entries(out: Path) -> dict[str, dict[str, object]]:
    found = json.loads((out / "group_results.json").read_text())["analyses"]
    return {entry["name"]: entry for entry in found}


def test_all_that_the_data_allow_runs_and_the_rest_says_why(make_study: MakeStudy) -> None:
    study = make_study(60, rescanned=10)
    assert run_group(settings_of(study)) == 0
    found = entries(study.output_dir)
    assert set(found) == set(ANALYSES) - set(ON_REQUEST)
    done = {name for name, entry in found.items() if entry["status"] == "done"}
    assert done == {"summary", "agreement", "raters", "reproducibility", "age", "potter"}
    assert "region on disk" in str(found["baselines"]["reason"])
    assert "no marked EPVS" in str(found["occlusion"]["reason"])
    table = pd.read_csv(study.output_dir / "group_analyses.tsv", sep="\t")
    assert table.set_index("analysis").loc["occlusion", "status"] == "skipped"
    assert len(pd.read_csv(study.output_dir / "group_scores.tsv", sep="\t")) == 70
    page = (study.output_dir / "group.html").read_text()
    assert "no marked EPVS" in page


def test_every_file_named_is_there_and_every_column_described(make_study: MakeStudy) -> None:
    study = make_study(40)
    run_group(settings_of(study, "summary", "agreement", "age", site="scanner", covariates=("sex",)))
    for entry in entries(study.output_dir).values():
        assert entry["status"] == "done", entry
        for name in (*entry["tables"], *entry["figures"]):  # type: ignore[misc]
            assert (study.output_dir / str(name)).stat().st_size > 0
    for path in study.output_dir.glob("group_*.tsv"):
        described = json.loads(path.with_suffix(".json").read_text())
        columns = pd.read_csv(path, sep="\t").columns
        assert set(columns) == set(described), path.name
        assert all(entry["Description"] for entry in described.values())


def test_a_bad_table_fails_its_analyses_and_no_other(make_study: MakeStudy) -> None:
    study = make_study(30, rescanned=5)
    path = study.ratings_path
    path.write_text(path.read_text() + "sub-0001\tses-1\tmany\t1\t1\n")
    assert run_group(settings_of(study)) == 65
    found = entries(study.output_dir)
    assert found["agreement"]["status"] == "failed"
    assert f"{path}, row 32" in str(found["agreement"]["reason"])
    assert found["summary"]["status"] == "done"


def test_a_requested_analysis_that_can_not_run_ends_in_66(make_study: MakeStudy) -> None:
    study = make_study(10)
    assert run_group(settings_of(study, "reproducibility")) == 66
    assert entries(study.output_dir)["reproducibility"]["status"] == "skipped"


def test_helpers_of_torchrun_compute_but_do_not_write(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(20)
    before = sorted(study.output_dir.rglob("*"))
    logger = logging.getLogger("epvs_bids")
    monkeypatch.setattr(logger, "level", logger.level)
    monkeypatch.setenv("RANK", "1")
    assert run_group(settings_of(study, "summary")) == 0
    assert run_group(settings_of(study, "reproducibility")) == 66
    assert sorted(study.output_dir.rglob("*")) == before


def test_unknown_analysis_and_empty_output_are_errors(make_study: MakeStudy, tmp_path: Path) -> None:
    study = make_study(10)
    with pytest.raises(UsageError, match="--analysis magic"):
        run_group(settings_of(study, "magic"))
    with pytest.raises(MissingInputError, match="participant level first"):
        run_group(Settings(bids_dir=tmp_path, output_dir=tmp_path / "empty", level="group"))


def test_raw_data_need_not_be_at_hand(make_study: MakeStudy, tmp_path: Path) -> None:
    study = make_study(40)
    gone = Settings(
        bids_dir=tmp_path / "nowhere", output_dir=study.output_dir, level="group",
        group=GroupSettings(analyses=("summary", "agreement"), ratings=study.ratings_path),
    )  # fmt: skip
    assert run_group(gone) == 0
    assert study_of(gone).bids_dir is None


def test_participant_labels_choose_rows(make_study: MakeStudy) -> None:
    study = make_study(30)
    settings = settings_of(study)
    chosen = Settings(
        bids_dir=settings.bids_dir,
        output_dir=settings.output_dir,
        level="group",
        participant_labels=("0001", "0002"),
    )
    assert study_of(chosen).scores["participant_id"].tolist() == ["sub-0001", "sub-0002"]
