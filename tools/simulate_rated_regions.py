"""Write a study of simulated regions with visual scores, as `participant` leaves one, to measure training on.

    .venv/bin/python tools/simulate_rated_regions.py study --regions 260
    .venv/bin/python run.py study/bids study/out group --analysis learning-curve --recipe modern \
        --init-from default --training-sizes 40 200

The protocol is the paper's; four participants share an anatomy, whose drawing takes most time, but nothing
else. Two raters count the slice of the anterior commissure. `A` has an intra-rater ICC of 0.80 and no habits
(inter-rater ICC 0.80 too); `B` has an intra-rater ICC of 0.80 and an inter-rater ICC of 0.66: habits that no
method can know. Regions that are there are kept.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed

from epvs_bids.anatomy.images import save_volume
from epvs_bids.anatomy.roi import RoiParameters
from epvs_bids.files import write_json, write_tsv
from epvs_bids.simulation.raters import rate
from epvs_bids.simulation.region import REGION, TRAINING, simulate_region

LIKE_THE_PAPER = replace(
    TRAINING,
    contrasts=("PDw",),
    voxel_sizes=((0.49, 0.49, 0.8, -1),),
    noise=(0.02, 0.05),
    texture=(0.4, 1.5),
    smoothing=(0.0, 0.0),
    sharpening=(0.0, 0.0),
)
"""One scanner and one protocol, as the paper's scans have (section 2.1)."""
FAMILY = 4
FIRST_SEED = 7_000_000
"""Far from the seeds that the default model is trained on."""


def write_family(out: Path, first: int, count: int, seed: int) -> list[dict[str, object]]:
    """Simulate participants `first` … that share an anatomy, unless they are there; return their truth."""
    torch.set_num_threads(1)
    anatomy = None
    rows = []
    for index in range(first, first + count):
        label = f"sub-{index + 1:04d}"
        stem = f"{label}_space-MNI152NLin2009cAsym_res-05_label-BG_desc-roi_PDw"
        path = out / label / "anat" / f"{stem}.nii.gz"
        sidecar = path.with_name(f"{stem}.json")
        if not sidecar.exists():
            region = simulate_region(seed + index, LIKE_THE_PAPER, anatomy=anatomy)
            anatomy = region.anatomy
            save_volume(path, region.region, REGION.affine)
            facts = {"total": region.total_count, "slice": region.slice_count}
            write_json(sidecar, {"Preprocessing": RoiParameters().to_dict(), "SimulatedCount": facts})
        rows.append({"participant_id": label, **json.loads(sidecar.read_text())["SimulatedCount"]})
    return rows


def main() -> None:
    """Write regions, ratings and participants."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="gets bids/ and out/")
    parser.add_argument("--regions", type=int, default=260)
    parser.add_argument("--seed", type=int, default=FIRST_SEED)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    bids, out = options.study / "bids", options.study / "out"
    families = [
        delayed(write_family)(out, first, min(FAMILY, options.regions - first), options.seed)
        for first in range(0, options.regions, FAMILY)
    ]
    truth = pd.DataFrame([row for rows in Parallel(options.jobs, verbose=5)(families) for row in rows])
    rng = np.random.default_rng(options.seed)
    truth["A"] = rate(rng, truth["slice"], intra=0.80, inter=0.80)["A1"]
    truth["B"] = rate(rng, truth["slice"], intra=0.80, inter=0.66)["A1"]
    write_tsv(bids / "phenotype" / "epvs.tsv", truth[["participant_id", "A", "B"]])
    write_tsv(bids / "participants.tsv", truth[["participant_id"]])
    write_tsv(options.study / "truth.tsv", truth)
    write_json(bids / "dataset_description.json", {"Name": "Simulated regions", "BIDSVersion": "1.10.0"})


if __name__ == "__main__":
    main()
