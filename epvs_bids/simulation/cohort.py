"""A simulated cohort as a BIDS data set, with the truth beside it."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from epvs_bids.errors import TryAgainError, UsageError
from epvs_bids.network.memory import reuse_large_blocks
from epvs_bids.simulation import head as heads
from epvs_bids.simulation.anatomy import draw_person
from epvs_bids.simulation.contrast import Contrast, draw_relaxation
from epvs_bids.simulation.lesions import EpvsDistribution, Mimics, draw_epvs
from epvs_bids.simulation.mimics import draw_mimics
from epvs_bids.simulation.raters import rate
from epvs_bids.simulation.writing import Place, write_dataset, write_scan, write_segmentation

logger = logging.getLogger(__name__)

MOST_EPVS = 255
"""A participant has no more: what a label image of 8 bits can tell apart, and all can be placed."""


@dataclass(frozen=True, kw_only=True)
class CohortSettings:
    """What a cohort is like.

    Parameters
    ----------
    participants
        How many.
    sessions
        Scans of each: 1, or 2 for a rescan with the same protocol, and a new pose, noise and slice position.
    rescanned
        Participants with a second session; all of them when None.
    contrasts
        BIDS suffixes of each session.
    voxel_size
        mm, of PDw and T2w; a T1w has 1 mm.
    age
        Mean, standard deviation, least and greatest in years (the paper's Rotterdam participants: 60 to 96).
    rate_ratio
        Factor by which the mean count grows per decade of age (the paper: 1.30).
    mean_count
        Mean count at 65 years among those who are not structural zeros.
    dispersion
        Of the negative binomial: variance = mean + mean² / dispersion.
    zeros
        Probability of a structural zero.
    intra, inter
        Reliability of the raters.
    noise
        Range of 1 / SNR, which the sessions of a participant have in common.
    epvs, mimics
        What they are like, and what must not be counted.
    seed
        The same settings give the same files.
    """

    participants: int = 12
    sessions: int = 1
    rescanned: int | None = None
    contrasts: tuple[Contrast, ...] = ("PDw",)
    voxel_size: tuple[float, float, float] = (0.8, 0.8, 1.0)
    age: tuple[float, float, float, float] = (72.0, 8.0, 60.0, 96.0)
    rate_ratio: float = 1.30
    mean_count: float = 7.0
    dispersion: float = 1.5
    zeros: float = 0.08
    intra: float = 0.80
    inter: float = 0.66
    noise: tuple[float, float] = (0.02, 0.05)
    epvs: EpvsDistribution = field(default_factory=EpvsDistribution)
    mimics: Mimics = field(default_factory=Mimics)
    seed: int = 0


def draw_counts(rng: np.random.Generator, age: np.ndarray, settings: CohortSettings) -> np.ndarray:
    """Zero-inflated negative binomial counts whose mean grows by `rate_ratio` per decade of age.

    Parameters
    ----------
    rng
        Source of randomness.
    age
        (N,) years.
    settings
        Of the cohort.

    Raises
    ------
    UsageError
        Somebody would have more than `MOST_EPVS`: cut short, the counts would have another mean.
    """
    mean = settings.mean_count * settings.rate_ratio ** ((age - 65) / 10)
    shape = settings.dispersion
    counts = rng.negative_binomial(shape, shape / (shape + mean))
    counts = np.where(rng.random(age.size) < settings.zeros, 0, counts)
    if (counts > MOST_EPVS).any():
        raise UsageError(
            f"A participant would have {counts.max()} EPVS, and {MOST_EPVS} are the most that can be told "
            f"apart. Choose a lower --mean-count (now {settings.mean_count:g}) or --rate-ratio "
            f"(now {settings.rate_ratio:g})."
        )
    return counts


def draw_participants(settings: CohortSettings) -> pd.DataFrame:
    """Draw label, age, sex and number of EPVS of everybody."""
    rng = np.random.default_rng((settings.seed, 1))
    mean, spread, least, greatest = settings.age
    age = np.clip(np.round(rng.normal(mean, spread, settings.participants), 1), least, greatest)
    width = max(2, len(str(settings.participants)))
    return pd.DataFrame(
        {
            "participant_id": [f"sub-{index + 1:0{width}d}" for index in range(settings.participants)],
            "age": age,
            "sex": rng.choice(["F", "M"], settings.participants),
            "epvs": draw_counts(rng, age, settings),
        }
    )


def simulate_cohort(out: Path, settings: CohortSettings, *, processes: int = 1) -> pd.DataFrame:
    """Write a cohort.

    Parameters
    ----------
    out
        Folder of the data set; created.
    settings
        What it is like.
    processes
        People simulated at a time.

    Returns
    -------
    scans
        One row a session: participant, session, age, sex, true counts in all and in the slice, four ratings
        (missing for rescans).

    Raises
    ------
    CannotCreateError
        No permission, no space.
    TryAgainError
        A process was killed.
    UsageError
        Somebody would have too many EPVS (`draw_counts`).
    """
    people = draw_participants(settings)
    rows = [{str(key): value for key, value in row.items()} for row in people.to_dict("records")]
    jobs = [(out, settings, index, row) for index, row in enumerate(rows)]
    results: list[dict[str, Any]] = []
    for sessions in _simulated(jobs, processes):
        first = sessions[0]
        logger.info(
            "%s: %d EPVS, %d session(s)", first["participant_id"], first["total_count"], len(sessions)
        )
        results += sessions
    scans = pd.DataFrame(results)
    rng = np.random.default_rng((settings.seed, 3))
    # BIDS has one row a participant in phenotype files; as in the paper, rescans are not rated.
    rated = scans.drop_duplicates("participant_id")
    ratings = rate(rng, rated["slice_count"], intra=settings.intra, inter=settings.inter)
    scans = scans.join(ratings.set_index(rated.index))
    write_dataset(out, people, scans, asdict(settings))
    return scans


def _simulated(
    jobs: list[tuple[Path, CohortSettings, int, dict[str, Any]]], processes: int
) -> Iterator[list[dict[str, Any]]]:
    """Simulate people, and yield the rows of each in their order."""
    if processes == 1:
        yield from map(_simulate_participant, jobs)
        return
    try:
        # Ctrl-C goes to all processes of a terminal; this one ends the others.
        with ProcessPoolExecutor(
            processes, get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN)
        ) as pool:
            yield from pool.map(_simulate_participant, jobs)
    except BrokenProcessPool as error:
        remedy = "Most likely there was not enough memory; try again with fewer (--nprocs)"
        raise TryAgainError(f"One of {processes} processes that simulate was killed. {remedy}.") from error


def _simulate_participant(job: tuple[Path, CohortSettings, int, dict[str, Any]]) -> list[dict[str, Any]]:
    """Write the sessions of one person."""
    out, settings, index, row = job
    torch.set_num_threads(1)
    threadpool_limits(1, "blas")  # else several processes wait for each other's threads
    reuse_large_blocks()
    rng = np.random.default_rng((settings.seed, 2, index))
    subject = draw_subject(rng, settings, age=row["age"], count=row["epvs"])
    rescanned = settings.participants if settings.rescanned is None else settings.rescanned
    sessions = settings.sessions if index < rescanned else 1
    rows = []
    for session in range(1, sessions + 1):
        label = f"ses-{session}" if settings.sessions > 1 else None
        shown = _simulate_session(rng, settings, index, subject, Place(out, row["participant_id"], label))
        keys = {"participant_id": row["participant_id"]} | ({"session_id": label} if label else {})
        counts = {"total_count": len(subject.epvs), "slice_count": shown}
        rows.append(keys | {"age": row["age"], "sex": row["sex"]} | counts)
    return rows


def draw_subject(
    rng: np.random.Generator, settings: CohortSettings, *, age: float, count: int
) -> heads.Subject:
    """Draw one person's anatomy, EPVS and everything that resembles them."""
    person = draw_person(rng, age=age, pose=0.02)
    iron, putamen = rng.uniform(0, 0.2), float(np.clip(0.3 + 0.7 * (age - 20) / 60, 0.3, 1.0))
    head, region = heads.anatomies(person)
    mimics = draw_mimics(rng, region, settings.mimics)
    epvs = draw_epvs(rng, region, count, settings.epvs)
    return heads.Subject(
        head=head,
        region=region,
        lesions=(*mimics, *epvs),
        relaxation=draw_relaxation(rng, iron=iron, putamen=putamen),
        iron=putamen * iron,
    )


def _simulate_session(
    rng: np.random.Generator, settings: CohortSettings, index: int, subject: heads.Subject, place: Place
) -> int:
    """Write one session's scans, truth and labels; return the count in the slice of the commissure."""
    where = heads.geometry(rng, settings.voxel_size)
    shown = _in_slice(rng, subject, settings.voxel_size[2])
    truth = _truth(subject, where, shown)
    for contrast in settings.contrasts:
        # A rescan repeats the protocol, in the same tissue: its look comes from the same numbers.
        look = np.random.default_rng((settings.seed, 4, index, get_args(Contrast).index(contrast)))
        noise = float(look.uniform(*settings.noise))
        if contrast == "T1w":
            placed = heads.geometry(rng, (1.0, 1.0, 1.0))
            grid = heads.ScanGeometry(shape=placed.shape, affine=placed.affine, pose=where.pose)
        else:
            grid = where
        scan, sequence = heads.acquire(rng, subject, contrast, grid, look=look, noise=noise)
        labels = None if contrast == "T1w" else heads.epvs_labels(subject, grid)
        write_scan(place, scan, grid.affine, sequence, truth=truth, labels=labels)
    full = heads.geometry(rng, (1.0, 1.0, 1.0))
    grid = heads.ScanGeometry(shape=full.shape, affine=full.affine, pose=where.pose)
    # Without a T1w the labels are those of the scan itself, as of a segmenter that works on any contrast.
    grid = grid if "T1w" in settings.contrasts else where
    write_segmentation(place, heads.segmentation(subject, grid), grid.affine)
    return int(sum(shown))


def _in_slice(rng: np.random.Generator, subject: heads.Subject, thickness: float) -> list[bool]:
    """Whether the slice that a reader takes for that of the commissure shows each EPVS."""
    height = subject.region.commissure[2] + rng.uniform(-0.5, 0.5) * thickness
    return [lesion.tube.crosses(height, thickness / 2) for lesion in subject.epvs]


def _truth(subject: heads.Subject, where: heads.ScanGeometry, shown: Sequence[bool]) -> pd.DataFrame:
    """One row an EPVS, in mm of the scanner."""
    rows = []
    for lesion, visible in zip(subject.epvs, shown, strict=True):
        centre = heads.in_scanner(where, lesion.tube.centre[None])[0]
        rows.append(
            (*np.round(centre, 2), lesion.tube.calibre, lesion.tube.length, lesion.level, int(visible))
        )
    return pd.DataFrame(rows, columns=["x", "y", "z", "calibre", "length", "visibility", "in_slice"]).round(3)
