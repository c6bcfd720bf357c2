"""Compare ways to train from few visual scores: agreement on held-out regions against processor time.

    .venv/bin/python tools/simulate_rated_regions.py study --regions 120
    .venv/bin/python tools/compare_recipes.py study --scans 40 --held-out 24 --epochs 3

Every way trains on the same scans, starts from the same seed, and is measured after each epoch on the same
held-out scans; none of its choices depends on those. Results are kept in `study/recipes`, one file a way, and
the table is printed.
"""

import argparse
import csv
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from epvs_bids.analyses.base import Study
from epvs_bids.analyses.options import GroupOptions
from epvs_bids.analyses.rated_regions import RatedRegions, rated_regions, training_set
from epvs_bids.files import read_json, write_json
from epvs_bids.network.checkpoint import DEFAULT_MODEL, LoadedModel, load_models
from epvs_bids.network.distributed import workers
from epvs_bids.network.fit import TrainingSet, fit_model
from epvs_bids.network.options import MODERN, TrainingOptions, make_options
from epvs_bids.network.state import as_plain
from epvs_bids.network.training import HISTORY, agreement_icc

SEED = 40


def ways(source: LoadedModel, epochs: int) -> Mapping[str, tuple[LoadedModel | None, TrainingOptions]]:
    """By name: the model to start from, and the options."""
    kept = source.description.architecture
    every_weight = replace(MODERN, architecture=kept, learning_rate=3e-4, max_epochs=epochs)
    small = make_options("paper", changes={"features": 16, "convolutions": 1, "dense": ()})
    return {
        "warm start, readout by ridge regression": (source, make_options("modern", source=kept)),
        "warm start, all weights, AdamW 3e-4, cosine": (source, every_weight),
        "cold start, the modern recipe": (None, replace(MODERN, max_epochs=10 * epochs)),
        "cold start, paper's recipe made small, Adadelta": (None, replace(small, max_epochs=epochs)),
    }


def measure(
    data: TrainingSet, parts: np.ndarray, way: tuple[LoadedModel | None, TrainingOptions], folder: Path
) -> dict[str, object]:
    """Train one way; ICC(1,1) on the held-out scans after each epoch, and processor seconds in all."""
    source, options = way
    readout = options.trainable == "readout"
    parts = np.where(parts == "held-out", "test" if readout else "validation", parts)
    start = time.process_time()
    with workers() as alone:
        fitted = fit_model(
            data, parts, options, folder, device=torch.device("cpu"), workers=alone, source=source
        )
    seconds = time.process_time() - start
    if readout:
        held = parts == "test"
        curve = [agreement_icc(data.scores[held], fitted.predictions[held])]
    else:
        with (folder / HISTORY).open(encoding="utf-8") as file:
            curve = [float(row["validation_icc"]) for row in csv.DictReader(file)]
    return {"icc11": curve, "seconds": seconds}


def choose(rated: RatedRegions, scans: int, held_out: int) -> tuple[RatedRegions, np.ndarray]:
    """Choose scans at random: `scans` to train and `held_out` to measure on."""
    order = np.random.default_rng(SEED).permutation(len(rated.regions))[: scans + held_out]
    chosen = replace(rated, regions=tuple(rated.regions[index] for index in order))
    return chosen, np.array(["train"] * scans + ["held-out"] * (len(order) - scans))


def main() -> None:
    """Measure every way that has no result yet, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("study", type=Path, help="what simulate_rated_regions.py wrote")
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--scans", type=int, default=40)
    parser.add_argument("--held-out", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rated = rated_regions(Study(options.study / "out", options.study / "bids", GroupOptions(rater="A")))
    folder = options.study / "recipes"
    chosen, parts = choose(rated, options.scans, options.held_out)
    data = training_set(chosen, folder)
    rows = []
    for number, (name, way) in enumerate(ways(load_models(options.model)[0], options.epochs).items(), 1):
        result = folder / f"way-{number}.json"
        asked = {"name": name, "options": as_plain(way[1])}
        found = read_json(result) if result.is_file() else {}
        if any(found.get(key) != value for key, value in asked.items()):
            found = asked | measure(data, parts, way, folder / f"way-{number}")
            write_json(result, found)
        curve = ", ".join(f"{value:.2f}" for value in found["icc11"])
        rows.append({"way": name, "ICC(1,1) after each pass": curve, "processor seconds": found["seconds"]})
        sys.stderr.write(f"{name}: {curve}; {found['seconds']:.0f} s\n")
    print(pd.DataFrame(rows).round(0).to_csv(sep="|", index=False))


if __name__ == "__main__":
    main()
