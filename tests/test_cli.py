"""The command line: options in either spelling, exit codes, and answers at once."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from epvs_bids import __version__
from epvs_bids.arguments import parse_arguments
from epvs_bids.cli import main
from epvs_bids.errors import UnknownLevelError, UsageError
from epvs_bids.progress import Outcome, RunResult
from epvs_bids.settings import Settings


def parse(*words: str) -> Settings:
    return parse_arguments(["bids", "out", "participant", *words])


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (["--participant-label", "sub-01", "02"], "participant_labels", ("01", "02")),
        (["--participant_label", "01", "--participant_label", "sub-01"], "participant_labels", ("01",)),
        (["--session-label", "ses-1"], "session_labels", ("1",)),
        (["--skip-bids-validation"], "validate", False),
        (["--skip_bids_validator"], "validate", False),
        (["--nprocs", "3"], "nprocs", 3),
        (["--n_cpus", "3"], "nprocs", 3),
        (["--mem-mb", "8G"], "mem_mb", 8192),
        (["--mem_mb", "8000"], "mem_mb", 8000),
        (["--derivatives", "freesurfer=/fs", "-d", "/other"], "derivatives", (Path("/fs"), Path("/other"))),
        (["--use-plugin", "/slurm.yml"], "plugin_file", Path("/slurm.yml")),
        (["--model", "none"], "model", "none"),
        (["--model", "mine"], "model", str(Path("mine").absolute())),
        (["--no-mni-registration"], "mni_registration", False),
        (["-vv"], "verbose", 2),
        (["--notrack"], "verbose", 0),
    ],
)
def test_options(words: list[str], field: str, value: object) -> None:
    assert getattr(parse(*words), field) == value


def test_training_options() -> None:
    words = "--analysis train --dense 2000 --flip-axes x y --training-sizes 40 200 --n-models 5 --age-cap 89"
    settings = parse_arguments(["bids", "out", "group", *words.split()])
    assert settings.group.analyses == ("train",)
    assert settings.group.age_cap == 89
    assert settings.training.dense == (2000,)
    assert settings.training.flip_axes == ("x", "y")
    assert settings.training.training_sizes == (40, 200)
    assert parse("--dense", "none", "--flip-axes", "none").training.flip_axes == ()


def test_threads_never_exceed_processes() -> None:
    assert parse("--nprocs", "2", "--omp-nthreads", "8").omp_nthreads == 2


def test_paths_are_absolute_and_settings_are_plain() -> None:
    settings = parse("-w", "work")
    assert settings.work_dir.is_absolute()
    plain = settings.to_json()
    assert plain["output_dir"] == str(Path("out").absolute())
    assert plain["version"] == __version__
    assert plain["training"]["model_name"] == "epvs"


@pytest.mark.parametrize(
    "words",
    [
        ["bids"],
        ["bids", "out", "participant", "--nonsense"],
        ["bids", "out", "participant", "--nprocs", "0"],
        ["bids", "out", "participant", "--mem-mb", "much"],
        ["bids", "out", "participant", "--mem-mb", "8"],  # gigabytes were meant; nipype would wait for ever
        ["bids", "out", "participant", "--model-name", "../x"],
        ["bids", "out", "participant", "--validation-fraction", "1"],
        ["bids", "out", "participant", "--flip-axes", "x", "none"],
        ["bids", "out", "participant", "--part", "01"],  # abbreviations may come to mean something else
        ["", "out", "participant"],
    ],
)
def test_wrong_usage_ends_with_64(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError):
        parse_arguments(words)
    assert main(words) == 64
    assert "usage:" in capsys.readouterr().err


def test_the_group_level_refuses_boilerplate_only() -> None:
    with pytest.raises(UsageError, match="--boilerplate-only"):
        parse_arguments(["bids", "out", "group", "--boilerplate-only"])


def test_unknown_level_ends_with_17(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnknownLevelError):
        parse_arguments(["bids", "out", "session"])
    assert main(["bids", "out", "session"]) == 17
    assert "`participant` or `group`" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_answers_at_once_without_heavy_imports(option: str) -> None:
    code = (
        "import sys, epvs_bids.cli as c\n"
        "try: c.main(sys.argv[1:])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'nipype', 'bids', 'pandas', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code, option], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Processor time: what else the machine does changes it little. A tenth of this is usual.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 5
    assert ("exit codes:" if option == "--help" else __version__) in done.stdout


def test_missing_input_ends_with_66(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work = ["-w", str(tmp_path / "work")]
    assert main([str(tmp_path / "nothing"), str(tmp_path / "out"), "participant", *work]) == 66
    assert "does not exist" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("codes", "stopped", "expected"),
    [((), 0, 0), ((0, 0), 0, 0), ((0, 65, 65), 0, 65), ((65, 66), 0, 1), ((0,), 143, 143)],
)
def test_exit_code_sums_up(codes: tuple[int, ...], stopped: int, expected: int) -> None:
    outcomes = tuple(Outcome(str(code), "failed", exit_code=code) for code in codes)
    assert RunResult(outcomes, stopped).exit_code == expected
