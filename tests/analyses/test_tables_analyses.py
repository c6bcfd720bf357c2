"""The analyses of tables, on a study whose truth is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from epvs_bids.analyses import age, agreement, potter, raters, reproducibility, summary
from epvs_bids.analyses.base import AnalysisResult, Study
from epvs_bids.errors import BadDataError, CannotRun, UsageError
from epvs_bids.files import write_json
from epvs_bids.statistics.icc import intraclass_correlations

from .conftest import RATE_PER_DECADE, write_scores, write_split

MakeStudy = Callable[..., Study]


def drawn(result: AnalysisResult) -> None:
    for draw in result.figures.values():
        assert isinstance(draw(), Figure)


def test_summary_counts_scans_and_says_who_is_missing(make_study: MakeStudy) -> None:
    study = make_study(20)
    people = study.bids_dir / "participants.tsv"  # type: ignore[operator]
    people.write_text(people.read_text() + "sub-0777\t70\tF\tone\nsub-0888\t71\tF\tone\n")
    (study.bids_dir / "sub-0888").mkdir()  # type: ignore[operator]
    write_scores(study.output_dir, "sub-0002", "", 99.0, qc_pass="false", qc_reason="cut off")
    status = {
        "participant_id": "sub-0999",
        "session_id": "ses-1",
        "result": "failed",
        "reason": "truncated file",
    }
    write_json(study.output_dir / "logs" / "scans" / "sub-0999_ses-1_T2w.json", status)
    again = {**status, "participant_id": "sub-0003", "session_id": None, "scan": "sub-0003_T2w_T2w"}
    write_json(study.output_dir / "logs" / "scans" / "sub-0003_T2w.json", again)
    result = summary.run(study)
    row = result.tables[""].iloc[0]
    assert (row["n"], row["n_passed"], row["max"] < 99) == (20, 18, True)
    missing = result.tables["missing"].set_index("participant_id")["reason"]
    assert missing["sub-0002"] == "failed quality control: cut off"
    assert missing["sub-0999"] == "truncated file"
    assert missing["sub-0003"] == "its last run failed, the score is of an earlier one: truncated file"
    assert "no folder" in missing["sub-0777"]
    assert missing["sub-0888"] == "not scored yet"
    drawn(result)


def test_agreement_has_every_measure_with_its_interval_for_every_rater_and_subset(
    make_study: MakeStudy,
) -> None:
    study = make_study(80, site="scanner")
    result = agreement.run(study)
    table = result.tables[""]
    assert set(table["subset"]) == {"all", "at most 20 EPVS", "site one", "site two"}
    assert set(table["rater"]) == {"A", "B1", "B2"}
    assert (table["ci_low"] < table["value"]).all()
    assert (table["value"] < table["ci_high"]).all()
    scans = study.scores.merge(study.ratings, on="participant_id")
    icc = intraclass_correlations(scans[["A", "score"]].to_numpy()).icc31.value
    row = table.query("rater == 'A' and subset == 'all' and measure == 'icc31'").iloc[0]
    assert row["value"] == pytest.approx(icc, abs=1e-4)
    assert row["ci_method"] == "F"
    few = table.query("rater == 'A' and subset == 'at most 20 EPVS'")["n"].iloc[0]
    assert few == (scans["A"] <= 20).sum()
    assert "bias" in result.tables["bland-altman"].columns
    drawn(result)


def test_scans_that_the_network_learned_from_are_told_apart(make_study: MakeStudy) -> None:
    study = make_study(40)
    labels = study.scores["participant_id"].tolist()
    for label, score in zip(labels, study.scores["score"], strict=True):
        write_scores(study.output_dir, label, "", score, model="ours")
    parts = {label: "train" if index < 20 else "validation" for index, label in enumerate(labels[:30])}
    write_split(study.output_dir / "models" / "ours", parts)
    study = Study(study.output_dir, study.bids_dir)
    result = agreement.run(study)
    table = result.tables[""].query("rater == 'A' and subset == 'not seen in training'").set_index("measure")
    scans = study.scores.merge(study.ratings, on="participant_id")[30:]
    assert table["n"].unique().tolist() == [10]
    assert table.loc["mse", "value"] == pytest.approx(((scans["A"] - scans["score"]) ** 2).mean(), abs=1e-4)
    assert "In the 10 of them that the network did not learn from: ICC(1,1)" in result.summary
    assert "not seen in training" in result.tables["bland-altman"]["subset"].tolist()
    for notes in (result.notes, raters.run(study).notes, potter.run(study).notes):
        assert any(note.startswith("30 of 40 rated scans were in the network's training") for note in notes)


def test_agreement_with_all_zeros_or_too_few_says_so(make_study: MakeStudy) -> None:
    study = make_study(10)
    frame = pd.read_csv(study.ratings_path, sep="\t")
    frame.assign(A=0).to_csv(study.ratings_path, sep="\t", index=False)
    with pytest.raises(BadDataError, match="column A: all 10 ratings are zero"):
        agreement.run(study)
    frame.iloc[:2].to_csv(study.ratings_path, sep="\t", index=False)
    with pytest.raises(CannotRun, match="3 that differ"):
        agreement.run(Study(study.output_dir, study.bids_dir))


def test_raters_table_has_every_pair_and_its_kind(make_study: MakeStudy) -> None:
    result = raters.run(make_study(60))
    kinds = {(row.first, row.second): row.kind for row in result.tables[""].itertuples()}
    assert kinds == {
        ("A", "B1"): "inter-rater", ("A", "B2"): "inter-rater", ("B1", "B2"): "intra-rater",
        ("A", "method"): "method", ("B1", "method"): "method", ("B2", "method"): "method",
    }  # fmt: skip
    assert result.tables["icc11"]["series"].tolist() == ["B1", "B2", "method"]


@pytest.mark.parametrize(("rated", "scored"), [("n/a", "ses-1"), ("ses-1", "")])
def test_raters_meet_the_method_where_one_side_names_no_session(
    make_study: MakeStudy, rated: str, scored: str
) -> None:
    study = make_study(20)
    for row in study.scores.itertuples():
        next((study.output_dir / row.participant_id).rglob("*_scores.tsv")).unlink()
        write_scores(study.output_dir, row.participant_id, scored, row.score)
    path = study.ratings_path
    path.write_text(path.read_text().replace("n/a", rated))
    pairs = raters.run(Study(study.output_dir, study.bids_dir)).tables[""]
    assert pairs.query("second == 'method'")["n"].tolist() == [20, 20, 20]


def test_raters_summary_names_few_pairs_and_the_ends_of_many() -> None:
    pairs = pd.DataFrame(
        [
            ("A1", "A2", "intra-rater", 3, 1.0, np.nan, np.nan),
            *[("A1", f"{name}1", "inter-rater", 9, icc, icc - 0.1, icc + 0.1)
              for name, icc in zip("BCDEF", (0.5, 0.7, 0.3, 0.8, 0.6), strict=True)],
        ],
        columns=["first", "second", "kind", "n", "icc11", "icc11_low", "icc11_high"],
    )  # fmt: skip
    assert raters._summary(pairs) == (
        "ICC(1,1) with 95 % intervals. Intra-rater: 1.00 (A1 with A2: n = 3). "
        "Inter-rater: 5 pairs, from 0.30 (A1 with D1: 0.20 to 0.40, n = 9) "
        "to 0.80 (A1 with E1: 0.70 to 0.90, n = 9), median 0.60."
    )


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        ("HA", "HA_2", "intra-rater"),
        ("HA_repeat", "HA", "intra-rater"),
        ("A", "B", "inter-rater"),
        ("1", "2", "inter-rater"),
        ("rater1", "rater2", "inter-rater"),
        ("Rater_1", "Rater_2", "inter-rater"),
        ("rater-01", "rater-02", "inter-rater"),
        ("R1", "R2", "inter-rater"),
        ("epvs_count_1", "epvs_count_2", "inter-rater"),
        ("rater1", "rater1_repeat", "intra-rater"),
        ("R1_1", "R1_2", "intra-rater"),
        ("epvs", "epvs_retest", "intra-rater"),
        ("rater_A1", "rater_A2", "intra-rater"),
    ],
)
def test_repeat_ratings_are_known_by_name(first: str, second: str, kind: str) -> None:
    assert raters.kind_of_pair(first, second) == kind


def test_one_rater_can_not_be_compared(make_study: MakeStudy) -> None:
    with pytest.raises(CannotRun, match=r"epvs.tsv holds one rater only, column A"):
        raters.run(make_study(20, raters=("A",)))


def test_reproducibility_of_score_models_and_raters(make_study: MakeStudy) -> None:
    study = make_study(40, rescanned=25)
    result = reproducibility.run(study)
    table = result.tables[""].set_index("series")
    assert table.index.tolist() == ["score", "model-1", "model-2", "rater B1, B2"]
    assert table.loc["score", "n"] == 25
    assert table.loc["score", "within_sd"] == pytest.approx(0.3 / np.sqrt(2), rel=0.35)
    assert table.loc["model-2", "bias"] - table.loc["model-1", "bias"] == pytest.approx(0.1, abs=1e-3)
    both = table.loc[["model-1", "model-2"], "icc11"]
    assert result.numbers["ensemble_icc11_mean"] == pytest.approx(both.mean())
    assert result.numbers["ensemble_icc11_sd"] == pytest.approx(both.std(), abs=1e-4)
    drawn(result)


def test_reproducibility_needs_two_sessions(make_study: MakeStudy) -> None:
    with pytest.raises(CannotRun, match="0 participants have scores of BG in two sessions"):
        reproducibility.run(make_study(10))


def test_age_effect_of_score_and_raters_holds_the_truth(make_study: MakeStudy) -> None:
    result = age.run(make_study(400, covariates=("sex",), site="scanner"))
    table = result.tables[""]
    main = table[table["model"] == "zinb"].set_index("series")
    assert set(main.index) == {
        "score",
        "score, site one",
        "score, site two",
        "rater A",
        "rater B1",
        "rater B2",
    }
    assert (main["rate_ratio_low"] < RATE_PER_DECADE).all()
    assert (main["rate_ratio_high"] > RATE_PER_DECADE).all()
    assert table[table["best"]].groupby("series").size().tolist() == [1] * 6
    coefficients = result.tables["coefficients"].query("series == 'score'").set_index("predictor")
    assert coefficients.index.tolist() == ["age", "sex=M"]
    assert coefficients.loc["sex=M", "rate_ratio_low"] < 1 < coefficients.loc["sex=M", "rate_ratio_high"]
    groups = result.tables["groups"].query("series == 'score'")
    assert groups["n"].sum() == 400
    assert (groups["age_high"] - groups["age_low"] == 5).all()
    assert any("rate ratio" in note and "odds ratio" in note for note in result.notes)
    drawn(result)


def test_age_says_what_it_lacks(make_study: MakeStudy) -> None:
    study = make_study(10)
    with pytest.raises(CannotRun, match="10 participants have a count and an age; 20 are needed"):
        age.run(study)
    people = study.participants_path
    people.write_text(people.read_text().replace("age", "years"))
    with pytest.raises(CannotRun, match="no column age"):
        age.run(Study(study.output_dir, study.bids_dir))


def test_categories_that_nobody_scored_has_do_not_stop_the_age_model(make_study: MakeStudy) -> None:
    study = make_study(60, covariates=("sex",))
    people = study.participants_path
    people.write_text(people.read_text() + "sub-0777\t70\tO\tone\nsub-0888\t71\tA\tone\n")
    result = age.run(study)
    predictors = result.tables["coefficients"].query("series == 'score'")["predictor"]
    assert predictors.tolist() == ["age", "sex=M"]
    people.write_text(people.read_text().replace("\tM\t", "\tF\t"))
    with pytest.raises(CannotRun, match="score is left out: sex is the same for all"):
        age.run(Study(study.output_dir, study.bids_dir, study.options))


@pytest.mark.parametrize(("name", "why"), [("age", "in the model"), ("participant_id", "tells participants")])
def test_covariates_that_are_none_are_refused(make_study: MakeStudy, name: str, why: str) -> None:
    with pytest.raises(UsageError, match=rf"--covariates {name}: .*{why}.*leave it out"):
        age.run(make_study(30, covariates=("sex", name)))


@pytest.mark.parametrize(
    ("line", "rater", "what"),
    [
        ("sub-0001\tses-1\t1\t1\t1\n", None, "row 32"),
        ("sub-0002\tses-9\tmany\t1\t1\n", None, "'many' is not a number"),
        ("", "Z", "no rater's column Z"),
    ],
)
def test_ratings_that_can_not_be_used_do_not_stop_what_needs_none(
    make_study: MakeStudy, line: str, rater: str | None, what: str
) -> None:
    study = make_study(30, rescanned=5, rater=rater)
    path = study.ratings_path
    path.write_text(path.read_text() + line)
    for analysis in (age, reproducibility):
        result = analysis.run(Study(study.output_dir, study.bids_dir, study.options))
        assert result.tables[""]["series"].iloc[0] == "score"
        assert any(what in note and "not analysed" in note for note in result.notes)
    with pytest.raises(BadDataError):
        agreement.run(Study(study.output_dir, study.bids_dir, study.options))


def test_potter_categories_of_counts_and_of_categories(make_study: MakeStudy) -> None:
    study = make_study(60)
    frame = pd.read_csv(study.ratings_path, sep="\t")
    frame.assign(potter_HA=np.clip(frame["A"], 0, 1)).to_csv(study.ratings_path, sep="\t", index=False)
    result = potter.run(study)
    table = result.tables[""].set_index("rater")
    assert table["source"].to_dict() == {"A": "count", "B1": "count", "B2": "count", "potter_HA": "category"}
    assert result.numbers["rater"] == "potter_HA"
    assert result.tables["cross"].drop(columns="visual").to_numpy().sum() == 60
    drawn(result)
    frame.assign(potter_HA=7).to_csv(study.ratings_path, sep="\t", index=False)
    with pytest.raises(BadDataError, match="column potter_HA: 7 is no category"):
        potter.run(Study(study.output_dir, study.bids_dir))


def test_harmonising_brings_sites_together(make_study: MakeStudy) -> None:
    study = make_study(200, site="scanner", harmonise=True)
    people = study.participants.set_index("participant_id")["scanner"]
    for path in study.output_dir.rglob("*_scores.tsv"):
        label = path.name.split("_")[0]
        if people[label] == "two":
            write_scores(study.output_dir, label, "", float(pd.read_csv(path, sep="\t")["score"][0]) * 2 + 5)
    plain = agreement.run(Study(study.output_dir, study.bids_dir, type(study.options)(site="scanner")))
    result = agreement.run(study)
    assert result.numbers["pearson"][0] > plain.numbers["pearson"][0] + 0.1
    assert any("ComBat" in note for note in result.notes)


def test_harmonising_needs_a_site(make_study: MakeStudy) -> None:
    with pytest.raises(UsageError, match="--site"):
        agreement.run(make_study(20, harmonise=True))
