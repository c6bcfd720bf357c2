"""Files are whole or absent; tables that can't be read name file, row and column."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pandas as pd
import pytest

from epvs_bids.errors import BadDataError, CannotCreateError, MissingInputError
from epvs_bids.files import atomic_write, read_json, read_tsv, write_json, write_text, write_tsv


def test_atomic_write_keeps_the_old_file_when_the_writer_fails(tmp_path: Path) -> None:
    path = tmp_path / "new" / "image.nii.gz"
    with atomic_write(path) as temporary:
        assert temporary.name.endswith(".nii.gz")
        temporary.write_bytes(b"old")
    with pytest.raises(RuntimeError), atomic_write(path) as temporary:  # noqa: PT012
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_full_disk_is_a_named_error_and_leaves_nothing(tmp_path: Path) -> None:
    def write() -> None:
        with atomic_write(tmp_path / "a") as temporary:
            temporary.touch()
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(CannotCreateError, match="the disk is full"):
        write()
    assert not list(tmp_path.iterdir())


def test_a_file_in_place_of_a_folder_is_a_named_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotCreateError, match="Cannot write"):
        write_text(tmp_path / "file" / "a", "text")


def test_identical_text_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "same")
    inode = path.stat().st_ino
    write_text(path, "same")
    assert path.stat().st_ino == inode


def test_tables_come_back_as_they_went(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"participant_id": ["sub-01", "sub-02"], "rater_label": ["01", "1"], "score": [1.5, None]}
    )
    write_tsv(tmp_path / "t.tsv", frame, {"score": {"Description": "EPVS", "Units": "count"}})
    assert (tmp_path / "t.tsv").read_text().splitlines()[2] == "sub-02\t1\tn/a"
    pd.testing.assert_frame_equal(read_tsv(tmp_path / "t.tsv"), frame)
    assert read_json(tmp_path / "t.json")["score"]["Units"] == "count"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("a\tb\n1\t2\n1\n", "row 3: 1 columns where the header has 2"),
        ("a\ta\n1\t2\n", "'a' twice"),
    ],
)
def test_broken_tables_name_the_place(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "t.tsv").write_text(text)
    with pytest.raises(BadDataError, match=says):
        read_tsv(tmp_path / "t.tsv")


def test_dangling_link_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").symlink_to(tmp_path / "nowhere")
    with pytest.raises(MissingInputError, match="datalad get"):
        read_tsv(tmp_path / "t.tsv")


def test_json_that_is_no_object(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(BadDataError, match="an object is expected"):
        read_json(tmp_path / "a.json")
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "b.json", {"x": float("nan")})
    assert not (tmp_path / "b.json").exists()
    write_json(tmp_path / "c.json", {"path": tmp_path})
    assert json.loads((tmp_path / "c.json").read_text()) == {"path": str(tmp_path)}
