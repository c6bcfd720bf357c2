from pathlib import Path

import pytest

from epvs_bids.errors import TryAgainError, UsageError
from epvs_bids.simulation.writing import whole_dataset


def write_parts(folder: Path) -> None:
    (folder / "sub-01").mkdir()
    (folder / "sub-01" / "scan").write_text("new")
    (folder / "dataset_description.json").write_text("{}")


def test_an_interrupted_data_set_can_be_made_anew(tmp_path: Path) -> None:
    out = tmp_path / "bids"
    with pytest.raises(KeyboardInterrupt), whole_dataset(out) as folder:  # noqa: PT012
        write_parts(folder)
        raise KeyboardInterrupt
    assert list(out.iterdir()) == []
    killed = out / ".incomplete" / "sub-02"  # what SIGKILL leaves
    killed.mkdir(parents=True)
    with whole_dataset(out) as folder:
        write_parts(folder)
        assert not (out / "dataset_description.json").exists()
    assert sorted(path.name for path in out.iterdir()) == ["dataset_description.json", "sub-01"]
    assert (out / "sub-01" / "scan").read_text() == "new"


def test_a_folder_with_anything_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UsageError, match="Choose another folder or remove it"), whole_dataset(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_two_do_not_write_to_one_folder(tmp_path: Path) -> None:
    with whole_dataset(tmp_path / "bids") as folder:
        write_parts(folder)
        with pytest.raises(TryAgainError, match="Another epvs-simulate"), whole_dataset(tmp_path / "bids"):
            pass
    assert (tmp_path / "bids" / "sub-01" / "scan").is_file()
