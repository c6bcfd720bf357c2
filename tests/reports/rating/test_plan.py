from __future__ import annotations

from collections import Counter

import pytest

from epvs_bids.reports.rating.plan import MIN_BETWEEN, shuffled_plan

NAMES = [f"sub-{number:02d}" for number in range(40)]


def test_every_scan_is_read_once_and_the_share_twice() -> None:
    plan = shuffled_plan(NAMES, rater="A", seed=3, repeats=0.2)
    counts = Counter(name for name, _ in plan)
    assert set(counts) == set(NAMES)
    assert Counter(counts.values()) == {1: 32, 2: 8}


def test_second_reading_comes_after_enough_others() -> None:
    for seed in range(20):
        plan = shuffled_plan(NAMES, rater="A", seed=seed, repeats=0.75)
        for name in {name for name, number in plan if number == 2}:
            assert plan.index((name, 2)) - plan.index((name, 1)) > MIN_BETWEEN


def test_order_depends_on_seed_and_rater_only() -> None:
    plan = shuffled_plan(NAMES, rater="A", seed=3, repeats=0.2)
    assert plan == shuffled_plan(NAMES[::-1], rater="A", seed=3, repeats=0.2)
    assert plan != shuffled_plan(NAMES, rater="B", seed=3, repeats=0.2)
    assert plan != shuffled_plan(NAMES, rater="A", seed=4, repeats=0.2)
    assert [name for name, number in plan if number == 1] != NAMES


def test_repeats_are_a_fair_sample() -> None:
    chosen = Counter(
        name
        for seed in range(400)
        for name, number in shuffled_plan(NAMES, rater="A", seed=seed, repeats=0.2)
        if number == 2
    )
    # Binomial(400, 0.2): mean 80, standard deviation 8.
    assert len(chosen) == 40
    assert min(chosen.values()) > 80 - 4 * 8
    assert max(chosen.values()) < 80 + 4 * 8


def test_scans_that_come_later_wait_behind_the_others_and_any_that_waits_may_come_back() -> None:
    names, later = NAMES[:30], NAMES[30:]
    first = shuffled_plan(names, rater="A", seed=1, repeats=0.2)
    over, waiting = first[:12], first[12:]
    for seed in range(20):
        plan = shuffled_plan(later, rater="A", seed=seed, repeats=0.2, over=over, waiting=waiting)
        assert [step for step in plan if step in waiting] == waiting
        whole = [*over, *plan]
        assert sum(number == 2 for _, number in whole) == 8  # a fifth of 40
        assert all(
            whole.index((name, 2)) - whole.index((name, 1)) > MIN_BETWEEN
            for name, number in plan
            if number == 2
        )


def test_a_scan_that_comes_alone_does_not_come_back_at_once() -> None:
    over = shuffled_plan(NAMES[:34], rater="A", seed=0, repeats=0.2)
    for name in NAMES[34:]:
        plan = shuffled_plan([name], rater="A", seed=0, repeats=0.2, over=over)
        assert plan == [(name, 1)]
        over = [*over, *plan]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5])
def test_small_sets(count: int) -> None:
    plan = shuffled_plan(NAMES[:count], rater="A", seed=0, repeats=1.0)
    assert sum(number == 1 for _, number in plan) == count
    assert len(set(plan)) == len(plan)
    assert all(
        plan.index((name, 1)) < position for position, (name, number) in enumerate(plan) if number == 2
    )
