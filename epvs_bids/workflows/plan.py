"""What a run of the participant level will do, worked out before any scan is touched."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from epvs_bids import __version__
from epvs_bids.anatomy.existing import find_existing
from epvs_bids.anatomy.freesurfer import can_run
from epvs_bids.anatomy.images import save_volume
from epvs_bids.anatomy.roi import RoiParameters
from epvs_bids.anatomy.template import get_template
from epvs_bids.bids.derivatives import NATIVE_SPACE
from epvs_bids.bids.scan import Scan
from epvs_bids.errors import MissingInputError, UsageError
from epvs_bids.settings import Settings
from epvs_bids.workflows import server

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelPlan:
    """The model that scores.

    Attributes
    ----------
    folder
        Where it lies.
    name
        What it is called in the outputs.
    key
        Checksum of its description, which holds those of its weights.
    networks
        Number of its networks.
    template
        Space that it was trained in; None where it can't be told or does not matter.
    """

    folder: Path
    name: str
    key: str
    networks: int
    template: str | None = None


@dataclass(frozen=True)
class TemplateFiles:
    """A template on disk.

    Attributes
    ----------
    name, source
        Its name, and the program and version that it came with.
    image, mask
        Image and brain mask, 1 mm.
    """

    name: str
    source: str
    image: Path
    mask: Path


@dataclass(frozen=True)
class Plan:
    """Everything that the workflow needs beside the scans.

    Attributes
    ----------
    settings
        What was asked for.
    model
        None with `--model none`: only regions are made.
    parameters
        How regions are made.
    templates
        By contrast (`PDw`, `T2w`); empty without registration.
    network_threads
        Threads of a network: more than one where there are more cores than scans.
    """

    settings: Settings
    model: ModelPlan | None
    parameters: RoiParameters
    templates: Mapping[str, TemplateFiles]
    network_threads: int = 1

    @property
    def space(self) -> str:
        """What `space-` says in the names of the outputs."""
        return next(iter(self.templates.values())).name if self.templates else NATIVE_SPACE

    @property
    def segmentation_dirs(self) -> list[Path]:
        """Folders in which segmentations may be found, those that were given first."""
        settings = self.settings
        given = [settings.fs_subjects_dir] if settings.fs_subjects_dir else []
        return [*given, *settings.derivatives, settings.bids_dir / "derivatives"]


def make_plan(settings: Settings, scans: Sequence[Scan]) -> Plan:
    """Find model and templates.

    Parameters
    ----------
    settings
        What was asked for.
    scans
        What was found.

    Raises
    ------
    MissingInputError, BadDataError
        There is no such model, template or GPU, or it is damaged.
    UsageError
        Regions were asked for that the model was not trained on.
    """
    model, trained = None, None
    contrasts = sorted({scan.suffix for scan in scans})
    templates: dict[str, TemplateFiles] = {}
    if settings.model == "default" and settings.mni_registration is not False:
        # Before the model, known to register, is asked for: the server that looks at it is still importing.
        templates = {contrast: _template_files(settings, contrast) for contrast in contrasts}
    if settings.model != "none":
        model, trained = server.ask(examine_model, settings.model, settings.device)
    parameters = _parameters(settings, trained)
    if parameters.registration and not templates:
        templates = {contrast: _template_files(settings, contrast) for contrast in contrasts}
    _warn_of_other_space(model, {files.name for files in templates.values()})
    threads = min(settings.omp_nthreads, max(1, settings.nprocs // max(1, len(scans))))
    return Plan(settings, model, parameters, templates, threads)


def _warn_of_other_space(model: ModelPlan | None, spaces: set[str]) -> None:
    """Say so where scans are registered to another template than those that a model learned from."""
    if model is not None and model.template is not None and spaces - {model.template}:
        _LOGGER.warning(
            "Model %s was trained in the space of %s; these scans are registered to %s, whose positions "
            "differ by millimetres. --template %s registers them as it was trained.",
            model.name,
            model.template,
            " and ".join(sorted(spaces)),
            model.template,
        )


def examine_model(choice: str, device: str) -> tuple[ModelPlan, RoiParameters]:
    """Load a model for a look at it, and return how its regions are made. Imports torch, which takes seconds.

    Parameters
    ----------
    choice, device
        As in the settings; not `none`.
    """
    from epvs_bids.network.checkpoint import DEFAULT_MODEL, load_models
    from epvs_bids.network.device import choose_device

    choose_device(device)
    folder = DEFAULT_MODEL if choice == "default" else Path(choice)
    if not folder.is_dir():
        remedy = "Give --model with the folder of a model, or --model none to make regions to train one on."
        what = "The default model is not installed" if choice == "default" else f"There is no model {folder}"
        raise MissingInputError(f"{what}. {remedy}")
    models = load_models(folder)
    trained = RoiParameters.from_dict(models[0].description.preprocessing)
    descriptions = sorted(folder.glob("**/*.json"))
    key = hashlib.sha256(b"".join(path.read_bytes() for path in descriptions)).hexdigest()
    name = choice if choice == "default" else folder.name
    template = models[0].description.training.get("template")
    return ModelPlan(folder, name, key, len(models), template), trained


def _template_files(settings: Settings, contrast: str) -> TemplateFiles:
    """Write the template into the work folder, unless it is there: its time is part of the cache's key."""
    template = get_template(settings.template, contrast)
    stem = f"tpl-{template.name}_{template.contrast}_{template.source.replace(' ', '-')}"
    image, mask = (work_folder(settings) / "templates" / f"{stem}_{kind}.nii" for kind in ("image", "mask"))
    if not image.is_file():
        save_volume(image, template.image.data, template.image.affine)
    if not mask.is_file():
        save_volume(mask, template.mask, template.image.affine, np.uint8)
    return TemplateFiles(template.name, template.source, image, mask)


def work_folder(settings: Settings) -> Path:
    """Return the folder for intermediate files: one for each version and data set.

    Results of another version are never taken for this one's, and two data sets that have participants of the
    same name do not meet.
    """
    place = hashlib.sha256(str(settings.bids_dir.resolve()).encode()).hexdigest()[:8]
    return settings.work_dir / f"epvs-bids-{__version__}" / f"{settings.bids_dir.name}-{place}"


def _parameters(settings: Settings, trained: RoiParameters | None) -> RoiParameters:
    changes: dict[str, Any] = {"intensity": settings.intensity, "registration": settings.mni_registration}
    changes = {name: value for name, value in changes.items() if value is not None}
    parameters = replace(trained or RoiParameters(), **changes)
    if trained is not None and parameters != trained:
        name = next(name for name in changes if getattr(trained, name) != changes[name])
        raise UsageError(
            f"The model {settings.model} was trained with {name} = {getattr(trained, name)!r}, not "
            f"{changes[name]!r}. Give --model none to make regions only, or a model that was trained so."
        )
    return parameters


@dataclass(frozen=True)
class Evidence:
    """What a scan's segmentation rests on.

    Attributes
    ----------
    found
        Whether there are labels already.
    files
        Files with size and time, so that changed ones are noticed.
    """

    found: bool
    files: list[str]


def segmentation_evidence(plan: Plan, scan: Scan) -> Evidence:
    """Look for labels of a scan, and say which files its segmentation rests on.

    Parameters
    ----------
    plan
        What the run does.
    scan
        The scan.
    """
    choice = plan.settings.segmentation
    found, files = None, list[Path | None]()
    passed_over: tuple[str, ...] = ()
    if choice in ("auto", "existing"):
        search = find_existing(plan.segmentation_dirs, participant=scan.participant, session=scan.session)
        found, passed_over = search.found, search.unfinished
    if found is not None:
        files = [found.labels, found.reference]
    if choice == "freesurfer" or (found.in_t1w if found else choice == "auto" and can_run()):
        files.append(scan.t1w)
    return Evidence(found is not None, [*(_stamp(path) for path in files if path), *passed_over])


def _stamp(path: Path) -> str:
    """Return a file's path, size and time; its path alone where it can't be looked at."""
    try:
        facts = path.stat()
    except OSError:
        return str(path)
    return f"{path} {facts.st_size} {facts.st_mtime:.3f}"
