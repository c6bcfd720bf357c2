from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from epvs_bids.errors import BadDataError, UsageError
from epvs_bids.reports.rating import session as sessions
from epvs_bids.reports.rating.session import Reading, Session
from epvs_bids.reports.rating.slab import Slab, load_slab

from .phantom import phantom_file


@pytest.fixture
def slab(tmp_path: Path) -> Slab:
    (tmp_path / "scan.nii.gz").write_bytes(phantom_file())
    return load_slab(tmp_path / "scan.nii.gz", level=-4.9)


@pytest.mark.parametrize("name", ["A", "Anna", "h-a", "x1y"])
def test_names_that_can_be_used(name: str) -> None:
    assert sessions.check_rater(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "A1",
        "B-",
        "JPotter",
        "1A",
        "-a",
        "a b",
        "../x",
        "<script>",
        "a\n",
        "a" * 33,
        "é",
        "R",
        "Rater",
        "participant_id",
    ],
)
def test_names_that_cannot(name: str) -> None:
    with pytest.raises(UsageError, match="rater"):
        sessions.check_rater(name)


def test_extending_keeps_what_is_there() -> None:
    names = [f"sub-{number}" for number in range(6)]
    session = sessions.extended(Session("A", 0, 0.5, ()), names[:4])
    session = sessions.with_reading(
        session, 1, Reading(session.readings[1].scan, 1, "done", ((1.0, 2.0, 3.0),), 3.0)
    )
    longer = sessions.extended(session, names)
    assert longer.readings[0] == session.readings[1]  # what is over goes first
    waiting = [one for one in session.readings if one.state == "open"]
    assert [one for one in longer.readings if one in waiting] == waiting
    assert {one.scan for one in longer.readings} == set(names)
    assert sessions.extended(longer, names) == longer


def test_scans_that_come_one_by_one_are_not_repeated_at_once() -> None:
    names = [f"sub-{number:02d}" for number in range(40)]
    session = sessions.extended(Session("A", 0, 0.2, ()), names[:30])
    for number in range(30, 40):
        rated = tuple(replace(one, state="done") for one in session.readings)
        session = sessions.extended(replace(session, readings=rated), names[: number + 1])
        assert session.readings == (*rated, Reading(names[number], 1))


def test_state_survives_json() -> None:
    session = sessions.extended(Session("A", 7, 0.25, ()), ["sub-1", "sub-2"])
    session = sessions.with_reading(session, 0, Reading("sub-1", 1, "done", ((0.1, -2.0, -5.0),), -5.0))
    assert sessions.from_dict(json.loads(json.dumps(sessions.to_dict(session)))) == session


def test_a_state_that_names_no_image_is_read() -> None:
    content = sessions.to_dict(Session("A", 7, 0.25, (Reading("sub-1", 1, image="sub-1_T2w.nii.gz"),)))
    assert sessions.from_dict(content).readings[0].image == "sub-1_T2w.nii.gz"
    del content["readings"][0]["image"]
    assert sessions.from_dict(content).readings == (Reading("sub-1", 1),)


@pytest.mark.parametrize(
    "damage",
    [
        {"format": 2},
        {"rater": "../A"},
        {"readings": [{"scan": "a", "number": 3, "state": "open", "marks": [], "level": None}]},
        {"readings": [{"scan": "a", "number": 1, "state": "lost", "marks": [], "level": None}]},
        {"readings": [{"scan": "a", "number": 1}]},
        {"readings": [{"scan": "a", "number": 1, "image": 3, "state": "open", "marks": [], "level": None}]},
        {"readings": ["a"]},
        {"readings": 5},
        {"seed": "x"},
    ],
)
def test_damaged_state_is_refused(damage: dict[str, object]) -> None:
    with pytest.raises(BadDataError, match="not a state"):
        sessions.from_dict({**sessions.to_dict(Session("A", 0, 0.2, ())), **damage})


def test_reading_from_the_page(slab: Slab) -> None:
    old = Reading("sub-1", 2)
    content = {"marks": [[1, 2.5, -5.0]], "level": -5.01, "state": "done"}
    assert sessions.parse_reading(old, content, slab) == Reading(
        "sub-1", 2, "done", ((1.0, 2.5, -5.0),), -5.0
    )
    untouched = sessions.parse_reading(old, {"marks": [], "level": None, "state": "open"}, slab)
    assert untouched.level == slab.level


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        {"marks": [[1, 2]], "level": -5, "state": "done"},
        {"marks": [[1, 2, "-5"]], "level": -5, "state": "done"},
        {"marks": [[1, True, -5]], "level": -5, "state": "done"},
        {"marks": [[float("nan"), 2, -5]], "level": -5, "state": "done"},
        {"marks": [[1, 2, -5]] * 501, "level": -5, "state": "done"},
        {"marks": [[1, 2, -4]], "level": -5, "state": "done"},
        {"marks": [[99, 2, -5]], "level": -5, "state": "done"},
        {"marks": [[1, 2, -5]], "level": -5, "state": "unratable"},
        {"marks": [], "level": -5, "state": "finished"},
        {"marks": {}, "level": -5, "state": "done"},
    ],
)
def test_nonsense_from_the_page_is_refused(slab: Slab, content: object) -> None:
    with pytest.raises(BadDataError):
        sessions.parse_reading(Reading("sub-1", 1), content, slab)
