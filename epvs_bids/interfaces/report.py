"""The page of a participant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nipype.interfaces.base import BaseInterfaceInputSpec, File, TraitedSpec, traits

from epvs_bids.interfaces.base import Stage


class _PageInputs(BaseInterfaceInputSpec):
    output_dir = traits.Str(mandatory=True)
    participant = traits.Str(mandatory=True, desc="label without `sub-`")
    state = traits.Str(desc="checksum of what the page shows: unchanged, it is not written again")


class _PageOutputs(TraitedSpec):
    page = File(exists=True)


class ParticipantPage(Stage):
    """Write the page of a participant from what lies in the output folder."""

    input_spec, output_spec = _PageInputs, _PageOutputs

    def work(self, folder: Path) -> dict[str, Any]:
        """Write the page."""
        from epvs_bids.reports.pages import write_participant_page  # matplotlib takes a second to import

        output_dir, label = Path(self.inputs.output_dir), f"sub-{self.inputs.participant}"
        write_participant_page(output_dir, label)
        return {"page": str(output_dir / f"{label}.html")}
