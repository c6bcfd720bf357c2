"""A study as the participant level leaves it: tables of scores, ratings and participants with known truth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from epvs_bids.analyses.base import Study
from epvs_bids.analyses.options import GroupOptions

RATE_PER_DECADE = 1.3


def write_scores(out: Path, participant: str, session: str, score: float, **more: object) -> Path:
    prefix = f"{participant}_{session}" if session else participant
    folder = out / participant / session / "anat" if session else out / participant / "anat"
    folder.mkdir(parents=True, exist_ok=True)
    row = {
        "region": "BG", "score": round(score, 4), "score_sd": "n/a", "potter_class": 1, "model": "default",
        "segmentation": "samseg", "qc_pass": "true", "qc_reason": "n/a",
    } | more  # fmt: skip
    path = folder / f"{prefix}_T2w_desc-epvs_scores.tsv"
    path.write_text("\t".join(row) + "\n" + "\t".join(str(v) for v in row.values()) + "\n")
    return path


def write_split(folder: Path, parts: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = "".join(f"{label}\t{part}\n" for label, part in parts.items())
    path = folder / "split.tsv"
    path.write_text(f"participant_id\tsplit\n{rows}")
    return path


def simulate(n: int, seed: int = 0) -> pd.DataFrame:
    """Ages, true counts (zero-inflated negative binomial), raters A, B1, B2 and a score."""
    rng = np.random.default_rng(seed)
    age = rng.uniform(60, 96, n).round(1)
    mean = 4 * RATE_PER_DECADE ** ((age - 75) / 10)
    truth = rng.poisson(rng.gamma(2.0, mean / 2.0)) * (rng.random(n) > 0.15)
    read = [np.clip(np.rint(truth + rng.normal(0, 1.0 + 0.1 * truth)), 0, None) for _ in range(3)]
    return pd.DataFrame(
        {
            "participant_id": [f"sub-{i:04d}" for i in range(1, n + 1)],
            "age": age,
            "sex": rng.choice(["F", "M"], n),
            "scanner": rng.choice(["one", "two"], n),
            "A": read[0].astype(int),
            "B1": read[1].astype(int),
            "B2": read[2].astype(int),
            "score": truth + rng.normal(0, 1.0, n),
        }
    )


@pytest.fixture
def make_study(tmp_path: Path) -> Callable[..., Study]:
    """Write a study of `n` participants, `rescanned` of them with a second session, and return it."""

    def make(
        n: int = 60, *, rescanned: int = 0, raters: tuple[str, ...] = ("A", "B1", "B2"), **options: object
    ) -> Study:
        table, bids, out = simulate(n), tmp_path / "bids", tmp_path / "out"
        (bids / "phenotype").mkdir(parents=True)
        rng = np.random.default_rng(1)
        sessions = []
        for index, row in enumerate(table.itertuples()):
            first = "ses-1" if rescanned else ""
            sessions.append(first or "n/a")
            write_scores(
                out,
                row.participant_id,
                first,
                row.score,
                **{"model-1": row.score, "model-2": row.score + 0.1},
            )
            if index < rescanned:
                again = row.score + rng.normal(0, 0.3)
                write_scores(
                    out, row.participant_id, "ses-2", again, **{"model-1": again, "model-2": again + 0.2}
                )
        columns = ["participant_id", "age", "sex", "scanner"]
        table[columns].to_csv(bids / "participants.tsv", sep="\t", index=False)
        table.insert(1, "session_id", sessions)
        ratings = table[["participant_id", "session_id", *raters]]
        ratings.to_csv(bids / "phenotype" / "epvs.tsv", sep="\t", index=False)
        return Study(out, bids, GroupOptions(**options))  # type: ignore[arg-type]

    return make
