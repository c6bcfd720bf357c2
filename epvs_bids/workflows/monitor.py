"""Follows a running graph: what each node is about to do, what became of each scan."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from epvs_bids import __version__
from epvs_bids.bids.derivatives import ScanOutputs
from epvs_bids.bids.scan import Scan
from epvs_bids.errors import EPVSError
from epvs_bids.files import read_json, read_tsv, write_json
from epvs_bids.interfaces.base import FAILURE, describe_traceback
from epvs_bids.progress import Outcome, Progress
from epvs_bids.workflows.scan import STAGES, scan_workflow_name

_NO_ANSWER = {
    "reason": "its job ended without a result: it may have been killed, for memory or time",
    "exit_code": 75,
}


class Monitor:
    """Receives the status of nodes from nipype and keeps the outcome of each scan.

    Parameters
    ----------
    scans
        All scans of the graph.
    outputs
        Where their derivatives go, in the same order.
    progress
        The display.
    clean
        Whether the intermediate files of a scan are removed as soon as it is done.
    """

    def __init__(
        self,
        scans: Sequence[Scan],
        outputs: Sequence[ScanOutputs],
        progress: Progress,
        *,
        clean: bool = False,
    ) -> None:
        self._outputs = dict(zip((scan_workflow_name(scan) for scan in scans), outputs, strict=True))
        self._progress, self._clean = progress, clean
        self.outcomes: dict[str, Outcome] = {}

    def __call__(self, node: Any, status: str) -> None:  # noqa: ANN401 - nipype's status_callback
        """Take note of a node that starts, ends or fails."""
        workflow = next((part for part in str(node.fullname).split(".") if part in self._outputs), None)
        if workflow is None or node.name not in STAGES:
            return
        earlier = self.outcomes.get(self._outputs[workflow].scan.name)
        if earlier is not None and earlier.result == "failed":
            return  # Linear tells the end also of nodes that it leaves out after a failure
        outputs, stage = self._outputs[workflow], str(node.name)
        name = outputs.scan.name
        if status == "start":
            self._progress.start(name, stage)
        elif status == "end":
            self._progress.end(name, stage)
            if stage == "write":
                self._finish(outputs, scored_outcome(outputs), None)
                if self._clean:
                    shutil.rmtree(Path(node.output_dir()).parent, ignore_errors=True)
        else:
            failure = failure_of(node)
            reason = f"{failure['reason']} (while: {stage})"
            outcome = Outcome(name, "failed", reason=reason, exit_code=int(failure["exit_code"]))
            self._finish(outputs, outcome, stage)

    def _finish(self, outputs: ScanOutputs, outcome: Outcome, stage: str | None) -> None:
        self.outcomes[outcome.scan] = outcome
        self._progress.finish(outcome.scan, outcome, stage=stage)
        write_status(outputs, outcome)


def failure_of(node: Any) -> Mapping[str, Any]:  # noqa: ANN401 - nipype carries no types
    """Return `reason` and `exit_code` of a node that failed.

    They are as its step left them in a file, else as its traceback ends; with neither, it gave no answer.
    """
    folder = Path(node.output_dir())
    try:
        return {**_NO_ANSWER, **read_json(folder / FAILURE)}
    except EPVSError:
        lines = getattr(node, "_traceback", None)
        return describe_traceback(lines, folder) if lines else _NO_ANSWER


def scored_outcome(outputs: ScanOutputs) -> Outcome:
    """Read the outcome of a scan whose derivatives are written."""
    if not outputs.scores.is_file():
        return Outcome(outputs.scan.name, "made")
    row = read_tsv(outputs.scores).iloc[0]
    spread = None if row.isna()["score_sd"] else float(row["score_sd"])
    remark = "" if row.isna()["qc_reason"] else str(row["qc_reason"])
    if str(row["qc_pass"]).lower() == "false":
        remark = f"fails quality control: {remark}"
    return Outcome(outputs.scan.name, "scored", float(row["score"]), spread, remark)


def write_status(outputs: ScanOutputs, outcome: Outcome) -> None:
    """Write what became of a scan to `logs/scans`, for the pages and the group level."""
    session = outputs.scan.session
    status = {
        "participant_id": f"sub-{outputs.scan.participant}",
        "session_id": f"ses-{session}" if session else None,
        "scan": outcome.scan,
        "result": outcome.result,
        "score": outcome.score,
        "reason": outcome.reason or None,
        "exit_code": outcome.exit_code,
        "version": __version__,
    }
    try:
        earlier = read_json(outputs.status)
    except EPVSError:
        earlier = {}
    if {**earlier, **status} != earlier:  # a second run that finds all as it was leaves the file alone
        write_json(outputs.status, {**status, "time": datetime.now(UTC).isoformat(timespec="seconds")})
