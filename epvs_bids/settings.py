"""Everything that a run was asked to do: one frozen object, made once from the arguments and written out."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from epvs_bids import __version__
from epvs_bids.analyses.options import GroupSettings, TrainingSettings
from epvs_bids.resources import available_cores

Level = Literal["participant", "group"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The whole of a run; paths are absolute.

    Attributes
    ----------
    bids_dir, output_dir, level
        The three positional arguments.
    participant_labels, session_labels
        Labels without `sub-`/`ses-`; empty for all.
    bids_filter_file, bids_database_dir
        pybids filters for each kind of scan, and a stored pybids index.
    validate
        Whether the input goes through the BIDS validator.
    derivatives, fs_subjects_dir, fs_license_file
        Where results of segmenters are looked for; FreeSurfer's licence.
    work_dir
        Intermediate files; never inside `bids_dir`.
    nprocs, omp_nthreads, mem_mb
        Processes in all, threads a process, memory in MB (None: 90 % of what the machine has).
    plugin_file
        A nipype plugin file (YAML).
    stop_on_first_crash, resource_monitor, write_graph, clean_workdir
        Switches of the workflow engine.
    reports_only, boilerplate_only, sloppy
        Only write pages; only write the methods paragraph; quick and coarse.
    verbose
        How often `-v` was given.
    random_seed
        Seed of everything random.
    segmentation, template, contrast, intensity, mni_registration
        The way from scan to region; `intensity` and `mni_registration` None: as the model was trained.
    model
        A model folder, `default`, or `none` (regions only).
    device, saliency
        Where the network runs; which saliency map is written.
    group, training
        Settings of the group level and of training.
    """

    bids_dir: Path
    output_dir: Path
    level: Level
    participant_labels: tuple[str, ...] = ()
    session_labels: tuple[str, ...] = ()
    bids_filter_file: Path | None = None
    bids_database_dir: Path | None = None
    validate: bool = True
    derivatives: tuple[Path, ...] = ()
    fs_subjects_dir: Path | None = None
    fs_license_file: Path | None = None
    work_dir: Path = field(default_factory=lambda: Path("work").absolute())
    nprocs: int = field(default_factory=available_cores)
    omp_nthreads: int = 1
    mem_mb: int | None = None
    plugin_file: Path | None = None
    stop_on_first_crash: bool = False
    resource_monitor: bool = False
    write_graph: bool = False
    clean_workdir: bool = False
    reports_only: bool = False
    boilerplate_only: bool = False
    sloppy: bool = False
    verbose: int = 0
    random_seed: int = 1
    segmentation: str = "auto"
    template: str = "MNI152NLin2009cAsym"
    contrast: str = "auto"
    intensity: str | None = None
    mni_registration: bool | None = None
    model: str = "default"
    device: str = "auto"
    saliency: str = "gradient"
    group: GroupSettings = field(default_factory=GroupSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values, with the version that ran."""
        plain: dict[str, Any] = _plain(dataclasses.asdict(self))
        return {"version": __version__, **plain}


def _plain(value: object) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
