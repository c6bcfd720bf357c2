"""Steps from a scan to its region: read, segment, register, extract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, File, TraitedSpec, traits

from epvs_bids.anatomy.grid import resample_to_grid, template_grid
from epvs_bids.anatomy.images import load_labels, load_volume, save_volume
from epvs_bids.anatomy.labels import basal_ganglia_mask, brain_mask
from epvs_bids.anatomy.quality import coverage_remarks, volume_remarks
from epvs_bids.anatomy.registration import check_registration, load_itk, register_to_template, save_itk
from epvs_bids.anatomy.roi import RoiParameters, region_of_scan
from epvs_bids.anatomy.segmentation import segment
from epvs_bids.errors import BadDataError
from epvs_bids.files import write_json
from epvs_bids.interfaces.base import Stage, read_checked, read_mask


class _ReadInputs(BaseInterfaceInputSpec):
    in_file = traits.Str(mandatory=True, desc="the scan as it is in the data set")
    stamp = traits.List(traits.Float(), desc="size and time of the scan, so that a changed one is read again")
    volume = traits.Either(None, traits.Int(), usedefault=True, desc="which volume of a PDT2")


class _ReadOutputs(TraitedSpec):
    scan = File(exists=True, desc="the scan, three-dimensional and checked")
    warnings = traits.List(traits.Str(), desc="what the reader of the results should know")
    brain_extracted = traits.Bool(desc="whether everything but the brain is zero")


class ReadScan(Stage):
    """Check a scan and write it as one plain volume, which later steps read without doubts."""

    input_spec, output_spec = _ReadInputs, _ReadOutputs

    def work(self, folder: Path) -> dict[str, Any]:
        """Read, check and write."""
        scan = load_volume(Path(self.inputs.in_file), volume=self.inputs.volume)
        out = folder / f"{scan.path.name.partition('.')[0]}.nii"
        save_volume(out, scan.data, scan.affine)
        facts = {"warnings": list(scan.warnings), "brain_extracted": scan.brain_extracted}
        return {"scan": str(out), **facts}


class _SegmentInputs(BaseInterfaceInputSpec):
    scan = File(exists=True, mandatory=True)
    choice = traits.Str("auto", usedefault=True)
    t1w = traits.Either(None, traits.Str(), usedefault=True)
    freesurfer_dirs = traits.List(traits.Str())
    evidence = traits.List(traits.Str(), desc="results that exist, with their times: new ones are noticed")
    participant = traits.Str(mandatory=True)
    session = traits.Either(None, traits.Str(), usedefault=True)
    licence = traits.Either(None, traits.Str(), usedefault=True, nohash=True)
    threads = traits.Int(1, usedefault=True, nohash=True)
    sloppy = traits.Bool(False, usedefault=True)


class _SegmentOutputs(TraitedSpec):
    labels = File(exists=True, desc="label image in the scan's space")
    brain_mask = File(exists=True, desc="mask of the brain in the scan's space")
    source = traits.Str(desc="what made it")
    notes = traits.List(traits.Str(), desc="what was done to it")


class SegmentScan(Stage):
    """Find or make a label image in the scan's space."""

    input_spec, output_spec = _SegmentInputs, _SegmentOutputs

    def work(self, folder: Path) -> dict[str, Any]:
        """Segment and write the labels."""
        given = self.inputs
        result = segment(
            read_checked(given.scan),
            choice=given.choice,
            t1w=Path(given.t1w) if given.t1w else None,
            freesurfer_dirs=[Path(one) for one in given.freesurfer_dirs],
            participant=given.participant,
            session=given.session,
            work_dir=folder,
            threads=given.threads,
            licence=Path(given.licence) if given.licence else None,
            sloppy=given.sloppy,
        )
        images = {name: folder / f"{name}.nii.gz" for name in ("labels", "brain_mask")}
        save_volume(images["labels"], result.labels, result.affine, result.labels.dtype)
        save_volume(images["brain_mask"], brain_mask(result.labels), result.affine, np.uint8)
        files = {name: str(path) for name, path in images.items()}
        return {**files, "source": result.source, "notes": list(result.notes)}


class _RegisterInputs(BaseInterfaceInputSpec):
    scan = File(exists=True, mandatory=True)
    labels = File(exists=True, mandatory=True)
    brain_mask = File(exists=True, mandatory=True)
    template = File(exists=True, mandatory=True)
    template_mask = File(exists=True, mandatory=True)
    seed = traits.Int(1, usedefault=True)


class _RegisterOutputs(TraitedSpec):
    transform = File(exists=True, desc="ITK transform, template mm to scan mm")
    inverse = File(exists=True, desc="ITK transform, scan mm to template mm")
    quality = File(exists=True, desc="JSON: metric and overlap of the brain masks")


class RegisterScan(Stage):
    """Lay a scan on the template; a brain that ends up misplaced is an error."""

    input_spec, output_spec = _RegisterInputs, _RegisterOutputs

    def work(self, folder: Path) -> dict[str, Any]:
        """Register, judge the result and write it both ways."""
        given = self.inputs
        scan, template = read_checked(given.scan), read_checked(given.template)
        labels, _ = load_labels(Path(given.labels))
        brain, template_brain = read_mask(given.brain_mask), read_mask(given.template_mask)
        transform = register_to_template(template, template_brain, scan, labels, brain=brain, seed=given.seed)
        check = check_registration(
            transform,
            template_mask=template_brain,
            template_affine=template.affine,
            labels=labels,
            affine=scan.affine,
            brain=brain,
        )
        quality = {"metric": transform.metric, "dice": check.dice, "passed": check.passed}
        write_json(folder / "quality.json", quality)
        if not check.passed:
            raise BadDataError(f"The registration to the template can't be trusted: {check.reason}")
        save_itk(folder / "transform.txt", transform.matrix)
        save_itk(folder / "inverse.txt", np.linalg.inv(transform.matrix).astype(np.float64))
        return {name: str(folder / f"{name}.txt") for name in ("transform", "inverse")} | {
            "quality": str(folder / "quality.json")
        }


class _ExtractInputs(BaseInterfaceInputSpec):
    scan = File(exists=True, mandatory=True)
    labels = File(exists=True, mandatory=True)
    brain_mask = File(exists=True, mandatory=True)
    transform = traits.Either(None, File(exists=True), usedefault=True, desc="None: stay in the scan's space")
    template = traits.Either(None, File(exists=True), usedefault=True)
    parameters = traits.Dict(mandatory=True, desc="RoiParameters as plain values")


class _ExtractOutputs(TraitedSpec):
    preproc = File(exists=True, desc="the scan in the region's box, 0.5 mm")
    mask = File(exists=True, desc="the smooth mask in the same box")
    roi = File(exists=True, desc="the region: what the network sees")
    head = File(exists=True, desc="the whole head on the template's field of view, 1 mm")
    brain = File(exists=True, desc="the brain mask on the grid of `head`")
    facts = File(exists=True, desc="JSON: scale, volume of the basal ganglia, remarks, failed checks")


class ExtractRegion(Stage):
    """Resample a scan once and cut out the region that the network sees."""

    input_spec, output_spec = _ExtractInputs, _ExtractOutputs

    def work(self, folder: Path) -> dict[str, Any]:
        """Make the region, and the overview of the head."""
        given = self.inputs
        scan = read_checked(given.scan)
        labels, _ = load_labels(Path(given.labels))
        target = read_checked(given.template) if given.template else scan
        matrix = load_itk(Path(given.transform)) if given.transform else np.eye(4)
        parameters = RoiParameters.from_dict(given.parameters)
        structures = basal_ganglia_mask(labels)
        shape = target.data.shape
        roi = region_of_scan(
            scan.data,
            scan.affine,
            mask=structures,
            transform=matrix,
            grid=template_grid(target.affine, shape, parameters.voxel_size),
            params=parameters,
        )
        outputs = {"preproc": roi.image, "mask": roi.mask, "roi": roi.data}
        for name, data in outputs.items():
            save_volume(folder / f"{name}.nii.gz", data, roi.affine)
        overview = template_grid(target.affine, shape, 1.0)
        head = resample_to_grid(scan.data, scan.affine, matrix, overview, order=1)
        inside = read_mask(given.brain_mask)
        brain = resample_to_grid(inside, scan.affine, matrix, overview, order=0)
        save_volume(folder / "head.nii.gz", head, overview.affine)
        save_volume(folder / "brain.nii.gz", brain, overview.affine, np.uint8)
        volume, odd_volume = volume_remarks(structures, scan.affine)
        cut = coverage_remarks(roi.mask, roi.affine, matrix, scan.affine, scan.data.shape)
        facts = {"scale": roi.scale, "volume_ml": volume, "failed": odd_volume + cut}
        write_json(folder / "facts.json", facts)
        names = (*outputs, "head", "brain")
        return {name: str(folder / f"{name}.nii.gz") for name in names} | {
            "facts": str(folder / "facts.json")
        }
