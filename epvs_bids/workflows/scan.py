"""The order of work for one scan, as Nipype graphs.

Memory (`mem_gb`) is an estimate for a scan of 512 × 512 × 192 voxels; 4 GB of segmentation are measured.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node, Workflow

from epvs_bids.bids.scan import Scan
from epvs_bids.interfaces.derivatives import WriteDerivatives
from epvs_bids.interfaces.scan import ExtractRegion, ReadScan, RegisterScan, SegmentScan
from epvs_bids.interfaces.score import MapSaliency, ScoreRegion
from epvs_bids.workflows.plan import Plan, segmentation_evidence

STAGES = {
    "read": 3.0,
    "segment": 400.0,
    "register": 15.0,
    "extract": 5.0,
    "score": 5.0,
    "map": 8.0,
    "write": 1.0,
}
"""Steps of a scan in the order of work, with the seconds that each is expected to take at first."""

_READ = ("warnings", "brain_extracted")
_RESULTS = ("preproc", "mask", "roi", "head", "brain", "facts")


def scan_workflow_name(scan: Scan) -> str:
    """Return the name of a scan's workflow: letters, digits and `_` only."""
    return re.sub(r"\W", "_", scan.name.replace("+", "plus")) + "_wf"


def init_region_wf(*, plan: Plan, scan: Scan) -> Workflow:
    """Build the way from a scan to its region.

    Reading and checking, segmentation of the basal ganglia, rigid registration, one resampling.

    Parameters
    ----------
    plan
        What the run does.
    scan
        The scan.

    Inputs
    ------
    in_file
        The scan as it is in the data set.

    Outputs
    -------
    scan, warnings, brain_extracted
        The checked scan, what is to be known about it, and whether it holds the brain alone.
    labels, source, notes
        Label image in the scan's space, what made it, what was done to it.
    transform, inverse, quality
        ITK transforms and the metric of the registration; undefined without it.
    preproc, mask, roi, head, brain, facts
        See `ExtractRegion`.
    """
    inputnode = Node(IdentityInterface(fields=["in_file"]), name="inputnode")
    registered = ["transform", "inverse", "quality"] if plan.templates else []
    fields = ["scan", *_READ, "labels", "source", "notes", *registered, *_RESULTS]
    outputnode = Node(IdentityInterface(fields=fields), name="outputnode")
    read = Node(ReadScan(volume=scan.volume, stamp=_stamp(scan)), name="read", mem_gb=1.5)
    segment = _segment_node(plan, scan)
    extract = Node(ExtractRegion(parameters=plan.parameters.to_dict()), name="extract", mem_gb=2.0)
    workflow = Workflow(name="region_wf")
    workflow.connect(
        [
            (inputnode, read, [("in_file", "in_file")]),
            (read, segment, [("scan", "scan")]),
            (read, extract, [("scan", "scan")]),
            (segment, extract, [("labels", "labels"), ("brain_mask", "brain_mask")]),
            (read, outputnode, [(fact, fact) for fact in ("scan", *_READ)]),
            (segment, outputnode, [("labels", "labels"), ("source", "source"), ("notes", "notes")]),
            (extract, outputnode, [(result, result) for result in _RESULTS]),
        ]
    )
    if plan.templates:
        register = _register_node(plan, scan)
        extract.inputs.template = str(plan.templates[scan.suffix].image)
        workflow.connect(
            [
                (read, register, [("scan", "scan")]),
                (segment, register, [("labels", "labels"), ("brain_mask", "brain_mask")]),
                (register, extract, [("transform", "transform")]),
                (register, outputnode, [(field, field) for field in registered]),
            ]
        )
    return workflow


def _segment_node(plan: Plan, scan: Scan) -> Node:
    settings = plan.settings
    evidence = segmentation_evidence(plan, scan)
    interface = SegmentScan(
        choice=settings.segmentation,
        t1w=str(scan.t1w) if scan.t1w else None,
        freesurfer_dirs=[str(folder) for folder in plan.segmentation_dirs],
        evidence=evidence.files,
        participant=scan.participant,
        session=scan.session,
        licence=str(settings.fs_license_file) if settings.fs_license_file else None,
        threads=settings.omp_nthreads,
        sloppy=settings.sloppy,
    )
    cores = 1 if evidence.found else settings.omp_nthreads
    return Node(interface, name="segment", n_procs=cores, mem_gb=4.0)


def _register_node(plan: Plan, scan: Scan) -> Node:
    template = plan.templates[scan.suffix]
    interface = RegisterScan(
        template=str(template.image),
        template_mask=str(template.mask),
        seed=plan.settings.random_seed,
    )
    return Node(interface, name="register", mem_gb=2.0)


def init_score_wf(*, plan: Plan) -> Workflow:
    """Build the way from a region to its score and saliency map.

    Parameters
    ----------
    plan
        What the run does; it names a model.

    Inputs
    ------
    roi, mask, scan, transform
        Region, smooth mask, checked scan and transform of `init_region_wf`.

    Outputs
    -------
    score
        JSON of mean, spread and the networks' own scores.
    saliency, native
        Map on the grids of region and scan; undefined with `--saliency none`.
    """
    settings, model = plan.settings, plan.model
    assert model is not None
    common = {"model": str(model.folder), "key": model.key, "device": settings.device}
    threads = plan.network_threads
    inputnode = Node(IdentityInterface(fields=["roi", "mask", "scan", "transform"]), name="inputnode")
    mapped = [] if settings.saliency == "none" else ["saliency", "native"]
    outputnode = Node(IdentityInterface(fields=["score", *mapped]), name="outputnode")
    score = Node(ScoreRegion(threads=threads, **common), name="score", n_procs=threads, mem_gb=2.5)
    workflow = Workflow(name="score_wf")
    workflow.connect(
        [(inputnode, score, [("roi", "roi")]), (score, outputnode, [("score", "score")])],
    )
    if mapped:
        interface = MapSaliency(
            method=settings.saliency, seed=settings.random_seed, threads=threads, **common
        )
        saliency = Node(interface, name="map", n_procs=threads, mem_gb=4.0)
        wanted = ["roi", "mask", "scan", *(["transform"] if plan.templates else [])]
        workflow.connect(
            [
                (inputnode, saliency, [(field, field) for field in wanted]),
                (saliency, outputnode, [(field, field) for field in mapped]),
            ]
        )
    return workflow


def init_scan_wf(*, plan: Plan, scan: Scan) -> Workflow:
    """Build everything that is done for one scan: region, score, derivatives.

    Parameters
    ----------
    plan
        What the run does.
    scan
        The scan.
    """
    workflow = Workflow(name=scan_workflow_name(scan))
    region_wf = init_region_wf(plan=plan, scan=scan)
    region_wf.inputs.inputnode.in_file = str(scan.path)
    write = Node(WriteDerivatives(**_write_inputs(plan, scan)), name="write", mem_gb=0.5)
    outputs = region_wf.get_node("outputnode").interface._fields
    passed = [field for field in outputs if field != "scan"]
    workflow.connect([(region_wf, write, [(f"outputnode.{field}", field) for field in passed])])
    if plan.model is not None:
        score_wf = init_score_wf(plan=plan)
        wanted = ["roi", "mask", "scan", *(["transform"] if plan.templates else [])]
        scored = score_wf.get_node("outputnode").interface._fields
        workflow.connect(
            [
                (region_wf, score_wf, [(f"outputnode.{field}", f"inputnode.{field}") for field in wanted]),
                (score_wf, write, [(f"outputnode.{field}", field) for field in scored]),
            ]
        )
    return workflow


def _write_inputs(plan: Plan, scan: Scan) -> dict[str, Any]:
    template = plan.templates.get(scan.suffix)
    facts = {
        key: str(value) if key in ("path", "t1w") and value else value for key, value in asdict(scan).items()
    }
    return {
        "bids_dir": str(plan.settings.bids_dir),
        "output_dir": str(plan.settings.output_dir),
        "scan": facts,
        "template": {"name": plan.space, "source": template.source if template else None},
        "parameters": plan.parameters.to_dict(),
        "model": plan.model.name if plan.model else None,
        "method": plan.settings.saliency,
    }


def _stamp(scan: Scan) -> list[float]:
    """Size and time of the scan's file; empty for one that can't be looked at, which reading will tell."""
    try:
        facts = scan.path.stat()
    except OSError:
        return []
    return [float(facts.st_size), facts.st_mtime]
