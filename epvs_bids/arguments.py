"""The command line: every option, in either spelling, turned into settings."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, cast

from epvs_bids import __version__
from epvs_bids.analyses.options import GroupSettings, TrainingSettings
from epvs_bids.errors import MissingInputError, UnknownLevelError, UsageError
from epvs_bids.resources import available_cores
from epvs_bids.settings import Level, Settings

EXAMPLES = """\
examples:
  a score for every scan, from the model that comes with the app
      epvs-bids /data/bids /data/out participant
  two participants, with FreeSurfer results that are there, on four cores
      epvs-bids /data/bids /data/out participant --participant-label 01 02 \\
          --fs-subjects-dir /data/freesurfer --nprocs 4 -w /scratch/work
  every analysis that the data allow
      epvs-bids /data/bids /data/out group
  a model of your own, from one visual count per scan, and its use
      epvs-bids /data/bids /data/out group --analysis train --ratings ratings.tsv --model-name mine
      epvs-bids /data/bids /data/out participant --model /data/out/models/mine

exit codes: 0 success, 1 failure, 16 invalid BIDS, 17 unknown level, 18 nothing selected, 64 usage, 65 bad
data, 66 missing input, 73 cannot create output, 74 input/output error, 75 try again, 130 and 143 stopped by a
signal. A failed participant never stops the others; when all failures are of one kind, the code is theirs.
"""

_LEAST_MEMORY = 500
"""MB; the smallest step takes as much, and a scheduler with less would wait for ever."""

SEGMENTATIONS = ("auto", "existing", "freesurfer", "synthseg", "samseg")
CONTRASTS = ("auto", "PDw", "T2w", "PDT2")


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints end the run with exit code 64, not argparse's 2."""

    def error(self, message: str) -> NoReturn:
        if "bids_dir" in message or "analysis_level" in message:
            message += " (an option that takes several values must come after the three positional arguments)"
        raise UsageError(f"{message}\n{self.format_usage()}see `{self.prog} --help`.")


def parse_arguments(arguments: Sequence[str] | None = None) -> Settings:
    """Turn a command line into settings.

    Parameters
    ----------
    arguments
        The words after the program's name; None for those of this process.

    Raises
    ------
    UsageError
        When the command line is wrong, or an option is not of the level.
    UnknownLevelError
        When the level is neither `participant` nor `group`.
    """
    given = vars(_build_parser().parse_args(arguments))
    level = given.pop("analysis_level")
    if level not in ("participant", "group"):
        raise UnknownLevelError(f"Unknown analysis level {level!r}: `participant` or `group` is expected.")
    if level == "group" and given["boilerplate_only"]:
        raise UsageError("--boilerplate-only: it is the participant level that writes the methods paragraph.")
    given["participant_labels"] = _without_prefix(given["participant_labels"], "sub-")
    given["session_labels"] = _without_prefix(given["session_labels"], "ses-")
    given["omp_nthreads"] = min(given["omp_nthreads"] or 4, given["nprocs"])
    group = GroupSettings(**_take(given, GroupSettings))
    training = TrainingSettings(**_take(given, TrainingSettings))
    return Settings(level=cast(Level, level), group=group, training=training, **given)


def _take(given: dict[str, Any], kind: type[GroupSettings | TrainingSettings]) -> dict[str, Any]:
    return {name: given.pop(name) for name in kind.__dataclass_fields__}


def _without_prefix(labels: Sequence[str], prefix: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(label.removeprefix(prefix) for label in labels))


def _build_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="epvs-bids",
        usage="%(prog)s bids_dir output_dir {participant,group} [options]",
        description="Counts enlarged perivascular spaces (EPVS) in the basal ganglia on PD and T2 scans.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("bids_dir", type=_path, help="the BIDS data set; never written to")
    parser.add_argument("output_dir", type=_path, help="where results go")
    parser.add_argument("analysis_level", metavar="{participant,group}", help="one scan at a time, or all")
    parser.add_argument("--version", action="version", version=f"epvs-bids {__version__}")
    _add_selection(parser.add_argument_group("which scans"))
    _add_method(parser.add_argument_group("from scan to score"))
    _add_resources(parser.add_argument_group("resources and workflow"))
    _add_group(parser.add_argument_group("group level"))
    _add_training(
        parser.add_argument_group("training (group --analysis train, learning-curve, hyperparameters)")
    )
    return parser


class _Words(argparse.Action):
    """Collects the values of an option that takes several and may be repeated, as a tuple."""

    def __init__(self, option_strings: Sequence[str], dest: str, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(option_strings, dest, nargs="+", default=(), **kwargs)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,  # noqa: ANN401 - argparse's signature
        option_string: str | None = None,
    ) -> None:
        earlier = getattr(namespace, self.dest) or ()
        setattr(namespace, self.dest, (*earlier, *values))


def _add_selection(add: argparse._ArgumentGroup) -> None:
    add.add_argument(
        "--participant-label", "--participant_label", dest="participant_labels", action=_Words,
        metavar="LABEL",
        help="only these participants, with or without `sub-`",
    )  # fmt: skip
    add.add_argument(
        "--session-label", "--session_label", dest="session_labels", metavar="LABEL", action=_Words,
        help="only these sessions, with or without `ses-`",
    )  # fmt: skip
    add.add_argument(
        "--bids-filter-file", type=_path, metavar="FILE",
        help="JSON of pybids filters for `pdw`, `t2w`, `pdt2` and `t1w`",
    )  # fmt: skip
    add.add_argument(
        "--bids-database-dir", type=_path, metavar="DIR", help="where a pybids index is kept and used again"
    )
    add.add_argument(
        "--skip-bids-validation", "--skip_bids_validation", "--skip-bids-validator", "--skip_bids_validator",
        dest="validate", action="store_false", help="do not run the BIDS validator on the input",
    )  # fmt: skip
    add.add_argument(
        "--contrast", choices=CONTRASTS, default="auto", help="auto takes PDw, else T2w, else PDT2"
    )


def _add_method(add: argparse._ArgumentGroup) -> None:
    add.add_argument(
        "--model", default="default", metavar="DIR", type=_model,
        help="a model's folder; `default` comes with the app, `none` only makes regions (to train on)",
    )  # fmt: skip
    add.add_argument(
        "--segmentation", choices=SEGMENTATIONS, default="auto",
        help="auto takes results that exist, else FreeSurfer where installed, else SAMSEG",
    )  # fmt: skip
    add.add_argument(
        "-d", "--derivatives", action=_Words, type=_derivatives, metavar="DIR",
        help="folders of derivatives that may hold segmentations",
    )  # fmt: skip
    add.add_argument("--fs-subjects-dir", type=_path, metavar="DIR", help="FreeSurfer's subjects folder")
    add.add_argument(
        "--fs-license-file", type=_path, metavar="FILE", help="needed only where FreeSurfer runs"
    )
    add.add_argument(
        "--template", default="MNI152NLin2009cAsym", metavar="NAME", help="a TemplateFlow template"
    )
    add.add_argument(
        "--no-mni-registration", dest="mni_registration", action="store_const", const=False,
        help="make regions in the scan's own orientation (to train a model on such)",
    )  # fmt: skip
    add.add_argument(
        "--intensity", choices=("maximum", "percentile"),
        help="what region intensities are divided by (default: as the model was trained)",
    )  # fmt: skip
    add.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="where the network runs"
    )
    add.add_argument(
        "--saliency", choices=("none", "gradient", "smoothgrad", "occlusion"), default="gradient",
        help="the map of what the score rests on (default: gradient); smoothgrad takes 8 times as long, "
        "occlusion some hundred times",
    )  # fmt: skip
    add.add_argument("--sloppy", action="store_true", help="quick and coarse, for trying things out")


def _add_resources(add: argparse._ArgumentGroup) -> None:
    add.add_argument(
        "--nprocs", "--n_cpus", "--n-cpus", type=_positive, default=available_cores(), metavar="N",
        help="cores in all",
    )  # fmt: skip
    add.add_argument(
        "--omp-nthreads",
        type=_positive,
        metavar="N",
        help="cores for one scan's segmentation and network (default: at most 4)",
    )
    add.add_argument(
        "--mem-mb", "--mem_mb", type=_megabytes, metavar="MB", help="memory in all, such as 8000 or 8G"
    )
    add.add_argument(
        "-w", "--work-dir", type=_path, default=_path("work"), metavar="DIR", help="intermediate files"
    )
    add.add_argument("--clean-workdir", action="store_true", help="remove them when a scan is finished")
    add.add_argument(
        "--use-plugin", dest="plugin_file", type=_path, metavar="FILE", help="nipype plugin (YAML)"
    )
    add.add_argument("--stop-on-first-crash", action="store_true", help="do not go on with the other scans")
    add.add_argument("--resource-monitor", action="store_true", help="log each step's memory and cores")
    add.add_argument("--write-graph", action="store_true", help="draw the workflow into the work folder")
    add.add_argument("--reports-only", action="store_true", help="only write the pages anew")
    add.add_argument(
        "--boilerplate-only", action="store_true", help="only write the methods paragraph (participant level)"
    )
    add.add_argument(
        "--random-seed", type=_natural, default=1, metavar="N", help="seed of all that is random"
    )
    add.add_argument("-v", dest="verbose", action="count", default=0, help="say more; twice: everything")
    add.add_argument("--notrack", action=_Nothing, help="accepted for habit's sake: nothing is ever sent")


class _Nothing(argparse.Action):
    """An option that is taken and changes nothing."""

    def __init__(self, option_strings: Sequence[str], dest: str, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, **kwargs)

    def __call__(self, *_: object) -> None:
        pass


def _add_group(add: argparse._ArgumentGroup) -> None:
    add.add_argument(
        "--analysis",
        dest="analyses",
        metavar="NAME",
        action=_Words,
        help="only these (default: all that the data allow)",
    )
    add.add_argument(
        "--ratings", type=_path, metavar="FILE", help="visual scores (default: phenotype/epvs.tsv)"
    )
    add.add_argument(
        "--rater", metavar="COLUMN", help="the column of the ratings to train on and compare with"
    )
    add.add_argument(
        "--covariates",
        metavar="COLUMN",
        action=_Words,
        help="columns of participants.tsv, beside age",
    )
    add.add_argument("--site", metavar="COLUMN", help="the column of participants.tsv with site or scanner")
    add.add_argument("--strict", action="store_true", help="refuse tables with unusable rows")
    add.add_argument("--age-cap", type=_years, metavar="YEARS", help="what an age of `89+` counts as")
    add.add_argument("--harmonise", action="store_true", help="harmonise scores across sites")


def _add_training(add: argparse._ArgumentGroup) -> None:
    add.add_argument(
        "--model-name", default="epvs", type=_name, metavar="NAME", help="written to models/NAME"
    )
    add.add_argument("--recipe", choices=("paper", "modern"), default="paper", help="defaults of all below")
    add.add_argument("--loss", choices=("mse", "mce", "mqe", "tukey", "rmse"))
    add.add_argument("--features", type=_positive, metavar="N", help="of the first block")
    add.add_argument("--blocks", type=int, choices=(1, 2, 3))
    add.add_argument("--convolutions", type=int, choices=(1, 2, 3, 4), help="in each block")
    add.add_argument("--dense", type=_sizes, metavar="SIZES", help="`2000,2000`, `2000` or `none`")
    add.add_argument("--flip-axes", nargs="+", choices=("x", "y", "z", "none"), action=_Axes)
    add.add_argument("--no-augmentation", dest="augmentation", action="store_false")
    add.add_argument("--max-epochs", type=_positive, metavar="N")
    add.add_argument(
        "--patience", type=_positive, metavar="N", help="epochs without improvement before the end"
    )
    add.add_argument("--n-models", type=_positive, default=1, metavar="N", help="an ensemble of so many")
    add.add_argument("--init-from", metavar="DIR", type=_model, help="a model to start from, or `default`")
    add.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    add.add_argument("--training-sizes", type=_positive, action=_Words, metavar="N")
    add.add_argument("--repeats", type=_positive, default=5, metavar="N", help="random splits a size")
    add.add_argument("--configurations", type=_path, metavar="FILE", help="YAML of configurations to compare")
    add.add_argument("--run-index", type=_natural, metavar="K", help="only this run of a curve or comparison")
    add.add_argument(
        "--validation-fraction", type=_fraction, metavar="SHARE", help="of the participants (default: 0.2)"
    )
    add.add_argument(
        "--test-fraction", type=_fraction, metavar="SHARE", help="left out (default: 0, `train` alone)"
    )


class _Axes(argparse.Action):
    """Turns `x y` into a tuple and `none` into an empty one."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,  # noqa: ANN401 - argparse's signature
        option_string: str | None = None,
    ) -> None:
        if "none" in values and len(values) > 1:
            parser.error("--flip-axes: `none` can't be combined with an axis")
        setattr(namespace, self.dest, tuple(value for value in values if value != "none"))


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("an empty path")
    try:
        text.encode()
    except UnicodeEncodeError:  # neither databases nor JSON can hold such a name
        remedy = "rename the folder, or set the locale (LC_ALL=C.UTF-8)"
        raise argparse.ArgumentTypeError(f"{text!r} is not UTF-8 text: {remedy}") from None
    try:
        return Path(text).expanduser().absolute()
    except (FileNotFoundError, RuntimeError) as error:  # the current folder, or a home, that is not there
        raise MissingInputError(f"{text!r} leads nowhere from here ({error}); give a full path.") from error


def _derivatives(text: str) -> Path:
    name, equals, path = text.partition("=")
    return _path(path if equals and "/" not in name else text)


def _model(text: str) -> str:
    return text if text in ("default", "none") else str(_path(text))


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", text):
        raise argparse.ArgumentTypeError(f"{text!r}: letters, digits, `-` and `_` are expected")
    return text


def _number(text: str, convert: Callable[[str], Any], accept: Callable[[Any], bool], expected: str) -> Any:  # noqa: ANN401
    try:
        value = convert(text)
    except ValueError:
        value = None
    if value is None or not accept(value):
        raise argparse.ArgumentTypeError(f"{text!r}: {expected} is expected")
    return value


def _positive(text: str) -> int:
    return cast(int, _number(text, int, lambda value: value > 0, "a whole number above 0"))


def _natural(text: str) -> int:
    return cast(int, _number(text, int, lambda value: 0 <= value < 2**31, "a whole number from 0 on"))


def _years(text: str) -> float:
    return cast(float, _number(text, float, lambda value: 0 < value < 150, "an age in years"))


def _fraction(text: str) -> float:
    return cast(float, _number(text, float, lambda value: 0 <= value < 1, "a number from 0 to below 1"))


def _megabytes(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", text.strip(), flags=re.IGNORECASE)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r}: a size such as 8000 (MB) or 8G is expected")
    factor = {"": 1, "K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2}[match[2].upper()]
    if (size := int(float(match[1]) * factor)) < _LEAST_MEMORY:
        raise argparse.ArgumentTypeError(
            f"{text!r}: {size} MB are too few for a scan; a size such as 8000 (MB) or 8G is expected"
        )
    return size


def _sizes(text: str) -> tuple[int, ...]:
    return () if text == "none" else tuple(_positive(part) for part in text.split(","))
