"""Which scan of a session is taken, and why a participant has none."""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from epvs_bids.bids.filters import read_filters
from epvs_bids.bids.query import find_scans
from epvs_bids.errors import BadDataError, EmptySelectionError, InputOutputError

Make = Callable[..., Path]


def names(root: Path, **options: object) -> list[str]:
    return [scan.path.name for scan in find_scans(root, **options).scans]  # type: ignore[arg-type]


def test_proton_density_first_then_t2_then_the_double_echo(empty_files: Make) -> None:
    root = empty_files(
        "sub-01/anat/sub-01_PDw.nii.gz",
        "sub-01/anat/sub-01_T2w.nii.gz",
        "sub-02/anat/sub-02_T2w.nii",
        "sub-02/anat/sub-02_PDT2.nii.gz",
        "sub-03/anat/sub-03_PDT2.nii.gz",
        "sub-03/func/sub-03_task-rest_bold.nii.gz",
    )
    selection = find_scans(root)
    assert [scan.name for scan in selection.scans] == ["sub-01_PDw", "sub-02_T2w", "sub-03_PDT2"]
    assert [scan.suffix for scan in selection.scans] == ["PDw", "T2w", "PDw"]
    assert [scan.volume for scan in selection.scans] == [None, None, 0]
    assert names(root, contrast="T2w") == ["sub-01_T2w.nii.gz", "sub-02_T2w.nii"]


def test_echo_times_tell_which_volume_is_proton_density(empty_files: Make) -> None:
    root = empty_files("sub-01/anat/sub-01_PDT2.nii.gz")
    (root / "sub-01/anat/sub-01_PDT2.json").write_text(json.dumps({"EchoTime": [0.09, 0.012]}))
    assert find_scans(root).scans[0].volume == 1


def test_one_scan_a_session_the_plainest_name_and_first_run(
    empty_files: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="epvs_bids")
    folder = "sub-01/ses-a/anat/sub-01_ses-a"
    root = empty_files(
        f"{folder}_acq-hires_PDw.nii.gz",
        f"{folder}_run-10_PDw.nii.gz",
        f"{folder}_run-2_PDw.nii.gz",
        f"{folder}_rec-norm_run-1_PDw.nii.gz",
        f"{folder}_part-phase_PDw.nii.gz",
        "sub-01/ses-b/anat/sub-01_ses-b_T2w.nii.gz",
    )
    assert names(root) == ["sub-01_ses-a_run-2_PDw.nii.gz", "sub-01_ses-b_T2w.nii.gz"]
    assert "sub-01_ses-a_acq-hires_PDw.nii.gz" in caplog.text
    assert names(root, sessions=["b"]) == ["sub-01_ses-b_T2w.nii.gz"]


def test_t1w_of_the_session_else_of_the_participant(empty_files: Make) -> None:
    root = empty_files(
        "sub-01/ses-1/anat/sub-01_ses-1_T2w.nii.gz",
        "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz",
        "sub-01/ses-2/anat/sub-01_ses-2_T2w.nii.gz",
        "sub-02/anat/sub-02_T2w.nii.gz",
    )
    t1ws = [scan.t1w.name if scan.t1w else None for scan in find_scans(root).scans]
    assert t1ws == ["sub-01_ses-1_T1w.nii.gz", "sub-01_ses-1_T1w.nii.gz", None]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"acquisition": "hires"}, "sub-01_acq-hires_PDw.nii.gz"),
        ({"acquisition": None}, "sub-01_run-1_PDw.nii.gz"),
        ({"acquisition": "*"}, "sub-01_acq-hires_PDw.nii.gz"),
        ({"acquisition": "Query.NONE", "run": 2}, "sub-01_run-2_PDw.nii.gz"),
        ({"run": [2, 3]}, "sub-01_run-2_PDw.nii.gz"),
        ({"acquisition": "hi.*", "regex_search": True}, "sub-01_acq-hires_PDw.nii.gz"),
        ({"EchoTime": 0.02}, "sub-01_run-2_PDw.nii.gz"),
    ],
)
def test_filter_file(empty_files: Make, tmp_path: Path, conditions: dict[str, object], expected: str) -> None:
    root = empty_files(
        "sub-01/anat/sub-01_acq-hires_PDw.nii.gz",
        "sub-01/anat/sub-01_run-1_PDw.nii.gz",
        "sub-01/anat/sub-01_run-2_PDw.nii.gz",
    )
    (root / "sub-01/anat/sub-01_run-2_PDw.json").write_text(json.dumps({"EchoTime": 0.02}))
    file = tmp_path / "filters.json"
    file.write_text(json.dumps({"pdw": conditions, "bold": {"task": "rest"}}))
    assert names(root, filters=read_filters(file)) == [expected]


@pytest.mark.parametrize(
    ("content", "says"),
    [("{", "not valid JSON"), ('{"pdw": 3}', "no object"), ('{"pdw": {"run": "Query.SOME"}}', "Query.NONE")],
)
def test_bad_filter_files(tmp_path: Path, content: str, says: str) -> None:
    file = tmp_path / "filters.json"
    file.write_text(content)
    with pytest.raises(BadDataError, match=says):
        read_filters(file)


def test_filters_by_an_unknown_entity(empty_files: Make, tmp_path: Path) -> None:
    root = empty_files("sub-01/anat/sub-01_PDw.nii.gz")
    file = tmp_path / "filters.json"
    file.write_text('{"pdw": {"sesion": "1"}}')
    with pytest.raises(BadDataError, match="sesion"):
        find_scans(root, filters=read_filters(file))


def test_reasons_for_participants_without_a_scan(empty_files: Make) -> None:
    root = empty_files(
        "sub-01/anat/sub-01_PDw.nii.gz",
        "sub-02/anat/sub-02_T1w.nii.gz",
        "sub-03/anat/sub-04_PDw.nii.gz",
    )
    selection = find_scans(root, participants=["01", "02", "03", "1", "../x"])
    assert [scan.participant for scan in selection.scans] == ["01"]
    reasons = {one.participant: one.reason for one in selection.unavailable}
    assert "found: T1w" in reasons["02"]
    assert "another label than its folder" in reasons["03"]
    assert "did you mean 01?" in reasons["1"]
    assert "no such participant" in reasons["../x"]
    assert all(one.asked for one in selection.unavailable)
    assert not any(one.asked for one in find_scans(root).unavailable)


def test_nothing_selected_says_what_there_is(empty_files: Make) -> None:
    root = empty_files("sub-01/ses-1/anat/sub-01_ses-1_PDw.nii.gz")
    with pytest.raises(EmptySelectionError, match="in session 2"):
        find_scans(root, sessions=["2"])
    with pytest.raises(EmptySelectionError, match="no folder sub"):
        find_scans(root / "sub-01")


def test_kept_index_is_used_again_and_belongs_to_its_data_set(empty_files: Make, tmp_path: Path) -> None:
    root, folder = empty_files("sub-01/anat/sub-01_PDw.nii.gz"), tmp_path / "index"
    assert names(root, database=folder) == ["sub-01_PDw.nii.gz"]
    (root / "sub-01/anat/sub-01_PDw.nii.gz").rename(root / "sub-01/anat/sub-01_T2w.nii.gz")
    assert names(root, database=folder) == ["sub-01_PDw.nii.gz"]  # as pybids: a kept index is not looked over
    root.rename(tmp_path / "elsewhere")
    with pytest.raises(BadDataError, match="Remove it"):
        find_scans(tmp_path / "elsewhere", database=folder)
    (folder / "layout_index.sqlite").write_bytes(b"damaged")
    with pytest.raises(BadDataError, match="pybids index"):
        find_scans(tmp_path / "elsewhere", database=folder)


def test_labels_in_the_path_above_the_data_set_do_not_matter(empty_files: Make, tmp_path: Path) -> None:
    root = empty_files("sub-01/anat/sub-01_PDw.nii.gz")
    (tmp_path / "sub-x" / "ses-y").mkdir(parents=True)
    moved = root.rename(tmp_path / "sub-x" / "ses-y" / "bids")
    scan = find_scans(moved).scans[0]
    assert (scan.participant, scan.session) == ("01", None)


def test_a_scan_in_another_session_than_those_asked_for_is_told(empty_files: Make) -> None:
    root = empty_files(
        "sub-01/ses-1/anat/sub-01_ses-1_PDw.nii.gz",
        "sub-02/ses-2/anat/sub-02_ses-2_T2w.nii.gz",
        "sub-03/ses-1/anat/sub-03_ses-1_T1w.nii.gz",
    )
    selection = find_scans(root, sessions=["2"])
    assert [scan.name for scan in selection.scans] == ["sub-02_ses-2_T2w"]
    assert {one.participant: one.elsewhere for one in selection.unavailable} == {"01": True, "03": False}
    assert [one.elsewhere for one in find_scans(root).unavailable] == [False]


@pytest.mark.parametrize("kept", [False, True])
def test_a_participant_that_can_not_be_read_stops_no_other(
    kept: bool,
    empty_files: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(logging.getLogger("epvs_bids"), "propagate", True)
    root = empty_files("sub-01/anat/sub-01_PDw.nii.gz", "sub-02/anat/sub-02_PDw.nii.gz")
    scandir = os.scandir

    def guarded(folder: Any) -> Any:  # noqa: ANN401 - as os.scandir has it
        if str(folder).endswith("sub-02/anat"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", guarded)
    selection = find_scans(root, database=tmp_path / "index" if kept else None)
    assert [scan.name for scan in selection.scans] == ["sub-01_PDw"]
    (locked,) = selection.unavailable
    assert (locked.participant, locked.unreadable) == ("02", True)
    assert f"{root}/sub-02/anat: Permission denied. Check its permissions" in locked.reason
    assert ("sub-02 is left out of" in caplog.text) == kept  # nobody would know of it later
    with pytest.raises(InputOutputError, match="sub-02/anat"):
        find_scans(root, participants=["02"])
