"""Write a study of simulated regions with visual scores, as `participant` leaves one, to measure training on.

    .venv/bin/python tools/simulate_rated_regions.py study --regions 320
    .venv/bin/python run.py study/bids study/out group --analysis learning-curve --recipe modern \
        --init-from default --training-sizes 40 200

Every participant has an anatomy of their own. Two raters count the slice of the anterior commissure. `A` has
an intra-rater ICC of 0.80 and no habits (inter-rater ICC 0.80 too); `B` has an intra-rater ICC of 0.80 and an
inter-rater ICC of 0.66: habits that no method can know. Regions that are there are kept.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from epvs_bids.anatomy.images import save_volume
from epvs_bids.anatomy.roi import RoiParameters
from epvs_bids.files import write_json, write_tsv
from epvs_bids.simulation.raters import rate
from epvs_bids.simulation.region import REGION, TRAINING, simulate_region

FIRST_SEED = 7_000_000
"""Far from the seeds that the default model is trained on."""


def write_region(out: Path, index: int, seed: int) -> dict[str, object]:
    """Simulate one participant's region, unless it is there; return its truth."""
    label = f"sub-{index + 1:04d}"
    stem = f"{label}_space-MNI152NLin2009cAsym_res-05_label-BG_desc-roi_T2w"
    path = out / label / "anat" / f"{stem}.nii.gz"
    sidecar = path.with_name(f"{stem}.json")
    if not sidecar.exists():
        region = simulate_region(seed + index, TRAINING)
        save_volume(path, region.region, REGION.affine)
        facts = {"total": region.total_count, "slice": region.slice_count}
        write_json(sidecar, {"Preprocessing": RoiParameters().to_dict(), "SimulatedCount": facts})
    return {"participant_id": label, **json.loads(sidecar.read_text())["SimulatedCount"]}


def main() -> None:
    """Write regions, ratings and participants."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="gets bids/ and out/")
    parser.add_argument("--regions", type=int, default=320)
    parser.add_argument("--seed", type=int, default=FIRST_SEED)
    options = parser.parse_args()
    bids, out = options.study / "bids", options.study / "out"
    rows = []
    for index in range(options.regions):
        rows.append(write_region(out, index, options.seed))
        if (index + 1) % 20 == 0:
            sys.stderr.write(f"{index + 1} of {options.regions} regions\n")
    truth = pd.DataFrame(rows)
    rng = np.random.default_rng(options.seed)
    truth["A"] = rate(rng, truth["slice"], intra=0.80, inter=0.80)["A1"]
    truth["B"] = rate(rng, truth["slice"], intra=0.80, inter=0.66)["A1"]
    write_tsv(bids / "phenotype" / "epvs.tsv", truth[["participant_id", "A", "B"]])
    write_tsv(bids / "participants.tsv", truth[["participant_id"]])
    write_tsv(options.study / "truth.tsv", truth)
    write_json(bids / "dataset_description.json", {"Name": "Simulated regions", "BIDSVersion": "1.10.0"})


if __name__ == "__main__":
    main()
