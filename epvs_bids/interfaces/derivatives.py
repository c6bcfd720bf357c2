"""The last step of a scan: its derivatives, put into the output folder under their BIDS names.

The folder then holds what the last run of a scan made of it, and nothing that an earlier one made with other
options: a score must not stand beside another region than its own.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from nipype.interfaces.base import BaseInterfaceInputSpec, File, TraitedSpec, isdefined, traits

from epvs_bids import __version__
from epvs_bids.bids.derivatives import ScanOutputs, image_sidecar, own_uri, raw_uri, score_dictionary
from epvs_bids.bids.scan import Scan
from epvs_bids.files import atomic_write, cannot_create, read_json, write_json, write_tsv
from epvs_bids.interfaces.base import Stage
from epvs_bids.statistics.potter import potter_class

_LOGGER = logging.getLogger(__name__)


class _WriteInputs(BaseInterfaceInputSpec):
    bids_dir = traits.Str(mandatory=True)
    output_dir = traits.Str(mandatory=True)
    scan = traits.Dict(mandatory=True, desc="participant, session, path, volume, t1w of the scan")
    template = traits.Dict(desc="name and source of the template; empty without registration")
    parameters = traits.Dict(desc="how the region was made")
    model = traits.Either(None, traits.Str(), usedefault=True, desc="the model's name")
    method = traits.Str("none", usedefault=True, desc="of the saliency map")
    warnings = traits.List(traits.Str())
    brain_extracted = traits.Bool()
    source = traits.Str(desc="what the segmentation is made with")
    notes = traits.List(traits.Str())
    labels = File(exists=True)
    preproc = File(exists=True)
    mask = File(exists=True)
    roi = File(exists=True)
    head = File(exists=True)
    brain = File(exists=True)
    facts = File(exists=True)
    transform = File(exists=True)
    inverse = File(exists=True)
    quality = File(exists=True)
    score = File(exists=True)
    saliency = File(exists=True)
    native = File(exists=True)


class _WriteOutputs(TraitedSpec):
    files = traits.List(File(exists=True), desc="what was written")


class WriteDerivatives(Stage):
    """Copy results to their places with sidecars; what is there already and the same is left alone.

    What an earlier run wrote of the same scan and this one does not is removed.
    """

    input_spec, output_spec = _WriteInputs, _WriteOutputs
    _always_run = True  # the output folder may have been emptied since

    def work(self, folder: Path) -> dict[str, Any]:
        """Write images, transforms and the table of scores, the table last: it says that all is there."""
        given = self.inputs
        scan = Scan(**{**given.scan, "path": Path(given.scan["path"]), "t1w": _path(given.scan["t1w"])})
        outputs = ScanOutputs(Path(given.output_dir), scan, given.template["name"])
        writer = _Writer(outputs, Path(given.bids_dir))
        self._write_images(writer)
        if isdefined(given.transform):
            writer.copy(given.transform, outputs.transform())
            writer.copy(given.inverse, outputs.transform(inverse=True))
        if isdefined(given.score):
            self._write_scores(writer)
        _remove(outputs.leftovers(writer.written), scan.name)
        return {"files": [str(path) for path in writer.written]}

    def _write_images(self, writer: _Writer) -> None:
        given, outputs = self.inputs, writer.outputs
        registered = given.template.get("source") is not None
        reference = {"Template": given.template} if registered else {"SpatialReference": writer.sources[0]}
        made = {**reference, "Segmentation": given.source}
        for source, path, description, more in self._region_images(outputs):
            self._write_image(writer, source, path, description, made | more)
        what = "Label image in the scan's space, FreeSurfer's numbers (FreeSurferColorLUT)"
        dseg = outputs.image("dseg", desc="aseg")
        self._write_image(writer, given.labels, dseg, what, {"Segmentation": given.source})
        if isdefined(given.saliency):
            origin = {"Method": given.method, "Model": given.model}
            what = f"What the score rests on ({given.method}), in EPVS a unit of region intensity"
            for source, res in ((given.saliency, "05"), (given.native, None)):
                path = outputs.image(outputs.scan.suffix, res=res, label="BG", desc="saliency")
                self._write_image(writer, source, path, what, origin)

    def _region_images(self, outputs: ScanOutputs) -> list[tuple[str, Path, str, dict[str, Any]]]:
        """Source, place, description and further fields of the images on the template's grid."""
        given, image = self.inputs, outputs.image
        facts, suffix = read_json(Path(given.facts)), outputs.scan.suffix
        units = "in the scan's own intensities (arbitrary units)"
        around = image(suffix, res="05", desc="preproc")
        whole = image(suffix, res="1", desc="preproc")
        brain = image("mask", res="1", desc="brain")
        smooth = image("probseg", res="05", label="BG", desc="smooth")
        region = image(suffix, res="05", label="BG", desc="roi")
        seen = "Scan × smooth mask / IntensityScale, in [0, 1]: exactly what the network sees"
        how = {
            "IntensityScale": facts["scale"],
            "Preprocessing": given.parameters,
            "FailedChecks": facts["failed"],
        }
        return [
            (given.preproc, around, f"The scan around the basal ganglia, {units}", {}),
            (given.head, whole, f"The whole scan, {units}", {}),
            (given.brain, brain, "Brain mask", {"Type": "Brain"}),
            (given.mask, smooth, "Smooth mask of the basal ganglia, in [0, 1]", {}),
            (given.roi, region, seen, how),
        ]

    def _write_image(
        self, writer: _Writer, source: str, path: Path, description: str, more: dict[str, Any]
    ) -> None:
        res = next((part[4:] for part in path.name.split("_") if part.startswith("res-")), None)
        stripped = self.inputs.brain_extracted
        writer.copy(source, path)
        writer.json(
            path.with_name(path.name.partition(".")[0] + ".json"),
            image_sidecar(description, sources=writer.sources, res=res, skull_stripped=stripped, **more),
        )

    def _write_scores(self, writer: _Writer) -> None:
        given, outputs = self.inputs, writer.outputs
        score, facts = read_json(Path(given.score)), read_json(Path(given.facts))
        remarks = [*facts["failed"], *given.warnings]
        members = {f"model-{number}": value for number, value in enumerate(score["per_model"], start=1)}
        row = {
            "region": "BG",
            "score": score["score"],
            "score_sd": score["score_sd"],
            "potter_class": int(potter_class([score["score"]])[0]),
            "model": given.model,
            "segmentation": given.source,
            "qc_pass": "false" if facts["failed"] else "true",
            "qc_reason": "; ".join(" ".join(remark.split()) for remark in remarks) or None,
            **(members if len(members) > 1 else {}),
        }
        region = outputs.image(outputs.scan.suffix, res="05", label="BG", desc="roi")
        provenance = {
            "Sources": [own_uri(outputs.output_dir, region)],
            "Template": given.template,
            "Preprocessing": given.parameters,
            "Registration": read_json(Path(given.quality)) if isdefined(given.quality) else None,
            "BasalGangliaVolume": {"Value": facts["volume_ml"], "Units": "mL"},
            "SegmentationNotes": given.notes,
            "SoftwareVersions": f"epvs-bids {__version__}",
        }
        write_tsv(outputs.scores, pd.DataFrame([row]), {**score_dictionary(len(members)), **provenance})
        writer.written += [outputs.scores, outputs.scores.with_suffix(".json")]


class _Writer:
    """Puts files into the output folder and remembers which."""

    def __init__(self, outputs: ScanOutputs, bids_dir: Path) -> None:
        self.outputs, self.sources = outputs, [raw_uri(bids_dir, outputs.scan.path)]
        self.written: list[Path] = []

    def copy(self, source: str, path: Path) -> None:
        """Copy a file unless the copy is there, of the same size and time."""
        self.written.append(path)
        if not _same(Path(source), path):
            with atomic_write(path) as temporary:
                shutil.copyfile(source, temporary)
                shutil.copystat(source, temporary)

    def json(self, path: Path, content: dict[str, Any]) -> None:
        """Write a sidecar."""
        self.written.append(path)
        write_json(path, content)


def _remove(leftovers: Sequence[Path], scan: str) -> None:
    """Remove what an earlier run left of a scan, and say so."""
    for path in leftovers:
        _LOGGER.debug("removes %s", path)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise cannot_create(path, error) from error
    if leftovers:
        words = "%s: removed %d files that an earlier run had made with other options."
        _LOGGER.info(words, scan, len(leftovers))


def _same(source: Path, copy: Path) -> bool:
    if not copy.is_file():
        return False
    ours, theirs = source.stat(), copy.stat()
    return ours.st_size == theirs.st_size and abs(ours.st_mtime - theirs.st_mtime) < 2


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
