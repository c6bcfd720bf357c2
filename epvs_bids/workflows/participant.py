"""The participant level: from a data set to a score for each scan, with derivatives, pages and logs."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from nipype.pipeline.engine import Node, Workflow
from rich.console import Console

from epvs_bids.bids.boilerplate import methods_text, write_boilerplate
from epvs_bids.bids.dataset import write_dataset_files
from epvs_bids.bids.derivatives import NATIVE_SPACE, ScanOutputs
from epvs_bids.bids.filters import read_filters
from epvs_bids.bids.query import Selection, Unavailable, find_scans
from epvs_bids.bids.scan import Scan
from epvs_bids.bids.scores import failed_scans, find_score_tables
from epvs_bids.bids.validation import check_folders, check_given, validate
from epvs_bids.errors import (
    EmptySelectionError,
    EPVSError,
    InputOutputError,
    MissingInputError,
    TryAgainError,
)
from epvs_bids.files import read_tsv
from epvs_bids.interfaces.report import ParticipantPage
from epvs_bids.progress import Outcome, Progress, RunResult
from epvs_bids.settings import Settings
from epvs_bids.stopping import Stopped, check
from epvs_bids.workflows.engine import (
    Locks,
    configure,
    run_graph,
)
from epvs_bids.workflows.monitor import Monitor, failure_of, write_status
from epvs_bids.workflows.plan import Plan, make_plan, work_folder
from epvs_bids.workflows.record import recorded, write_settings
from epvs_bids.workflows.scan import STAGES, init_scan_wf

_LOGGER = logging.getLogger(__name__)


def run_participant(settings: Settings, console: Console) -> RunResult:
    """Run the participant level.

    Parameters
    ----------
    settings
        What was asked for.
    console
        Where the progress is shown.

    Raises
    ------
    EPVSError
        When nothing can be done at all; a scan's own trouble is its outcome.
    """
    if settings.reports_only:
        return _only_reports(settings)
    writable = {"output_dir": settings.output_dir, "-w": settings.work_dir}
    if settings.bids_database_dir:
        writable["--bids-database-dir"] = settings.bids_database_dir
    check_folders(settings.bids_dir, writable)
    subjects = [settings.fs_subjects_dir] if settings.fs_subjects_dir else []
    check_given({"--fs-subjects-dir": subjects, "--derivatives": settings.derivatives})
    with recorded(settings) as name:
        return _run_selected(settings, console, name)


def _run_selected(settings: Settings, console: Console, name: str) -> RunResult:
    """Find the scans and run them; `name` is that of the run."""
    filters = read_filters(settings.bids_filter_file)
    if settings.validate:
        validate(settings.bids_dir)
    check()
    selection = find_scans(
        settings.bids_dir,
        participants=settings.participant_labels,
        sessions=settings.session_labels,
        filters=filters,
        contrast=settings.contrast,
        database=settings.bids_database_dir,
    )
    check()
    plan = make_plan(settings, selection.scans)
    _write_run_files(plan, name)
    if settings.boilerplate_only:
        return RunResult()
    missing = _write_missing(settings, selection)
    with _locked(settings, selection) as (free, busy):
        outcomes, stopped = _run_scans(plan, free, console, missing=missing)
    return RunResult(_in_order(selection, [*outcomes, *busy]), stopped)


@contextmanager
def _locked(settings: Settings, selection: Selection) -> Iterator[tuple[list[Scan], list[Outcome]]]:
    """Lock the participants; give the scans that are free, and outcomes for those that are not."""
    locks = Locks(work_folder(settings))
    try:
        taken = locks.take(dict.fromkeys(scan.participant for scan in selection.scans))
        reason = "another run is working on this participant in the same work folder; try again later"
        busy = [
            Outcome(scan.name, "stopped", reason=reason, exit_code=TryAgainError.exit_code)
            for scan in selection.scans
            if scan.participant in taken
        ]
        yield [scan for scan in selection.scans if scan.participant not in taken], busy
    finally:
        locks.release()


def _run_scans(
    plan: Plan, scans: Sequence[Scan], console: Console, *, missing: Sequence[str]
) -> tuple[list[Outcome], int]:
    """Run the graph of all scans, then write the pages; however it ends, tell what became of each scan.

    Returns the outcomes of the scans, of the pages that could not be written, and the code of a signal.
    """
    if not scans:
        return [], 0
    settings = plan.settings
    outputs = [ScanOutputs(settings.output_dir, scan, plan.space) for scan in scans]
    slots = max(1, settings.nprocs // settings.omp_nthreads)
    pages, stopped = list[Outcome](), 0
    with Progress([scan.name for scan in scans], _expected(plan), slots=slots, console=console) as progress:
        monitor = Monitor(scans, outputs, progress, clean=settings.clean_workdir)
        try:
            workflow = init_participants_wf(plan=plan, scans=scans)
            if settings.write_graph:
                _draw(workflow)
            complaint = run_graph(workflow, settings, monitor)
            if complaint and settings.stop_on_first_crash:
                complaint = "another scan failed (--stop-on-first-crash)"
            _complete(monitor, outputs, complaint or "the run was stopped", 1)
            pages = _write_pages(settings, sorted({*missing, *(scan.participant for scan in scans)}))
        except Stopped as stop:
            stopped = stop.exit_code
    _write_methods(plan)
    _complete(monitor, outputs, "the run was stopped", stopped)
    return [*monitor.outcomes.values(), *pages], stopped


def init_participants_wf(*, plan: Plan, scans: Sequence[Scan], name: str = "epvs_wf") -> Workflow:
    """Build the graph of all scans; each participant has a workflow and a work folder of its own.

    Parameters
    ----------
    plan
        What the run does.
    scans
        The scans.
    """
    workflow = Workflow(name=name, base_dir=str(work_folder(plan.settings)))
    participants: dict[str, list[Workflow]] = {}
    for scan in scans:
        participants.setdefault(scan.participant, []).append(init_scan_wf(plan=plan, scan=scan))
    for label, scan_workflows in participants.items():
        participant_wf = Workflow(name=participant_workflow_name(label))
        participant_wf.add_nodes(scan_workflows)
        workflow.add_nodes([participant_wf])
    return workflow


def participant_workflow_name(label: str) -> str:
    """Return the name of a participant's workflow, and of its folder in the work folder."""
    return f"sub_{label.replace('+', 'plus')}_wf"


def _expected(plan: Plan) -> Mapping[str, float]:
    left_out = set() if plan.templates else {"register"}
    if plan.model is None:
        left_out |= {"score", "map"}
    elif plan.settings.saliency == "none":
        left_out.add("map")
    return {stage: seconds for stage, seconds in STAGES.items() if stage not in left_out}


def _draw(workflow: Workflow) -> None:
    """Draw the graph; where Graphviz is not installed, leave its description."""
    try:
        workflow.write_graph(graph2use="colored", format="svg", simple_form=True)
    except OSError as error:
        _LOGGER.warning("The graph is not drawn (%s); its description is in %s.", error, workflow.base_dir)


def _write_run_files(plan: Plan, name: str) -> None:
    """Write what concerns the whole data set, and the settings of this run under its name."""
    settings = plan.settings
    write_dataset_files(settings.output_dir, settings.bids_dir)
    write_settings(settings, name)
    configure(settings, settings.output_dir / "logs", run=name)
    _write_methods(plan)


def _write_methods(plan: Plan) -> None:
    """Write the methods paragraph, naming the segmentations that results tell of, else the choice."""
    settings, model = plan.settings, plan.model
    text = methods_text(
        segmentations=_segmentations_used(settings.output_dir) or [settings.segmentation],
        template=plan.space if plan.templates else None,
        model=model.name if model else "none",
        n_models=model.networks if model else 0,
        intensity=plan.parameters.intensity,
        saliency=settings.saliency,
    )
    write_boilerplate(settings.output_dir, text)


def _segmentations_used(output_dir: Path) -> list[str]:
    used = set()
    for path in find_score_tables(output_dir):
        try:
            used |= {str(value) for value in read_tsv(path).get("segmentation", [])}
        except EPVSError:
            continue
    return sorted(used)


def _write_pages(settings: Settings, participants: Sequence[str]) -> list[Outcome]:
    """Write the pages of some participants, those only whose content has changed; tell which failed."""
    output_dir = settings.output_dir
    linked = (output_dir / "group.html").is_file()  # whatever it holds, pages link to it
    tables = _state([*find_score_tables(output_dir), output_dir / "participants.tsv"])
    cohort = f"{tables} {sorted(failed_scans(output_dir))} {linked}"
    workflow = Workflow(name="pages_wf", base_dir=str(work_folder(settings)))
    for label in participants:
        own = sorted((output_dir / f"sub-{label}").glob("**/*"))
        own += sorted((output_dir / "logs" / "scans").glob(f"sub-{label}[._]*json"))
        page = ParticipantPage(output_dir=str(output_dir), participant=label, state=f"{cohort} {_state(own)}")
        missing = not (output_dir / f"sub-{label}.html").is_file()
        name = re.sub(r"[^\w-]", lambda odd: f"_{ord(odd[0]):x}_", f"page_{label}")  # nipype allows no other
        workflow.add_nodes([Node(page, name=name, mem_gb=1.0, overwrite=missing or None)])
    failed: dict[str, Outcome] = {}

    def hear(node: Any, status: str) -> None:  # noqa: ANN401 - nipype's status_callback
        if status == "exception":
            page = f"sub-{node.inputs.participant}.html"
            failed[page] = _failed_page(page, **failure_of(node))

    complaint = run_graph(workflow, settings, hear)
    if complaint and not failed:
        failed["pages"] = _failed_page("pages", complaint, EPVSError.exit_code)
    return list(failed.values())


def _failed_page(page: str, reason: str, exit_code: int) -> Outcome:
    remedy = "scores stand; the same command, or --reports-only, writes the page"
    _LOGGER.error("%s: %s (%s)", page, reason, remedy)
    return Outcome(page, "failed", reason=f"{reason} ({remedy})", exit_code=exit_code)


def _state(paths: Sequence[Path]) -> str:
    """Return a checksum of names, sizes and times of the files among some paths.

    Other jobs write beside this one: their files under way, whose names begin with a dot, do not count, and
    files may go while they are looked at.
    """
    digest = hashlib.sha256()
    for path in paths:
        with suppress(FileNotFoundError, NotADirectoryError):
            if not path.name.startswith(".") and path.is_file():
                facts = path.stat()
                digest.update(f"{path} {facts.st_size} {facts.st_mtime}\n".encode())
    return digest.hexdigest()


def _complete(monitor: Monitor, outputs: Sequence[ScanOutputs], why: str, exit_code: int) -> None:
    """Give an outcome to the scans that the graph did not come to."""
    for one in outputs:
        if one.scan.name not in monitor.outcomes:
            reason = f"not finished: {why}; the same command goes on from here"
            outcome = Outcome(one.scan.name, "stopped", reason=reason, exit_code=exit_code)
            monitor.outcomes[one.scan.name] = outcome
            write_status(one, outcome)


def _in_order(selection: Selection, outcomes: Sequence[Outcome]) -> tuple[Outcome, ...]:
    """Sort outcomes as the scans are, and add the participants that have none; pages come last."""
    by_name = {outcome.scan: outcome for outcome in outcomes}
    found = [by_name.pop(scan.name) for scan in selection.scans]
    return (*found, *(_missing(one) for one in selection.unavailable), *by_name.values())


def _write_missing(settings: Settings, selection: Selection) -> list[str]:
    """Leave word of the participants that are there but have no scan, and take back what no longer holds.

    Returns the labels of those without a scan. Those with one in another session than those asked for are
    none of them.
    """
    logs = settings.output_dir / "logs" / "scans"
    sessions = {(scan.participant, scan.session): scan.name for scan in selection.scans}
    for participant, session in sessions:
        home = f"sub-{participant}_ses-{session}" if session else f"sub-{participant}"
        for path in logs.glob(f"{home}*.json"):
            old_session = next((part[4:] for part in path.stem.split("_") if part.startswith("ses-")), None)
            mine = path.stem.split("_")[0] == f"sub-{participant}" and old_session == session
            if mine and path.stem not in sessions.values():
                path.unlink(missing_ok=True)
    elsewhere = {one.participant for one in selection.unavailable if one.elsewhere}
    for label in elsewhere | {participant for participant, _ in sessions}:
        (logs / f"sub-{label}.json").unlink(missing_ok=True)
    missing = []
    for one in selection.unavailable:
        there = (settings.bids_dir / f"sub-{one.participant}").is_dir() and "/" not in one.participant
        if there and not one.elsewhere:
            nothing = Scan(one.participant, None, settings.bids_dir / f"sub-{one.participant}")
            write_status(ScanOutputs(settings.output_dir, nothing, NATIVE_SPACE), _missing(one))
            missing.append(one.participant)
    return missing


def _missing(one: Unavailable) -> Outcome:
    code = MissingInputError.exit_code if one.asked else 0
    code = InputOutputError.exit_code if one.unreadable else code
    return Outcome(f"sub-{one.participant}", "missing", reason=one.reason, exit_code=code)


def _only_reports(settings: Settings) -> RunResult:
    """Write the pages of the wanted participants anew, from what the output folder holds."""
    from epvs_bids.reports.outputs import cohort
    from epvs_bids.reports.pages import write_participant_page

    output_dir = settings.output_dir
    if not output_dir.is_dir():
        raise MissingInputError(f"output_dir {output_dir} does not exist: there is nothing to report on.")
    found = {path.name for path in output_dir.glob("sub-*") if path.is_dir()}
    found |= {path.stem.partition("_")[0] for path in (output_dir / "logs" / "scans").glob("sub-*.json")}
    labels = sorted(name[4:] for name in found)
    wanted = [label for label in labels if label in (settings.participant_labels or labels)]
    if not wanted:
        raise EmptySelectionError(f"{output_dir} holds no results of the participants asked for.")
    everyone = cohort(output_dir)  # once, not for every page: it looks at each scan of the study
    for label in wanted:
        write_participant_page(output_dir, f"sub-{label}", everyone=everyone)
        _LOGGER.info("sub-%s.html is written.", label)
    return RunResult()
