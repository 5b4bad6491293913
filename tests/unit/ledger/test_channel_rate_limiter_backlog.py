"""Backlog at a channel's gate: the rate is kept and used, criticals go first, and absent jobs delay nobody for long."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.rate_limiter_line import Asker, Line, moments, storm


@pytest.mark.parametrize("is_critical", [True, False])
def test_jobs_that_never_come_cost_their_slots_alone(is_critical: bool) -> None:
    line = Line(limit=10)
    line.fill()
    for _ in range(20):
        line.expect(1, Asker(is_critical=is_critical, late=lambda: None))
    here = [line.expect(2, Asker()) for _ in range(20)]
    line.run()
    assert max(each.went or 1e9 for each in here) < (10 + 40) / 10 * 61


@pytest.mark.parametrize(
    ("limit", "jobs", "critical", "within", "late", "asks"),
    [
        pytest.param(60, 200, 60, 0, 0, 3, id="all at once"),
        pytest.param(60, 200, 60, 60, 0, 3, id="within a minute"),
        pytest.param(60, 200, 60, 5, 2, 3, id="workers are seconds late"),
        pytest.param(60, 600, 200, 30, 0, 5, id="beyond the horizon"),
        pytest.param(4, 20, 5, 0, 0, 3, id="four a minute"),
    ],
)
def test_backlog_drains_at_95_percent_of_the_rate_with_criticals_early_and_few_questions(
    limit: int, jobs: int, critical: int, within: float, late: float, asks: int
) -> None:
    line, chance = Line(limit=limit), random.Random(7)
    askers = storm(line, jobs, critical=critical, within=within, late=lambda: chance.uniform(0, late))
    line.run()
    assert all(asker.went is not None for asker in askers)
    assert line.given[-1] <= jobs / limit * 60 / 0.95
    assert line.busiest_minute() <= limit
    assert max(moments(askers, is_critical=True)) <= (critical + limit) / limit * 60 / 0.95
    assert sum(asker.asked for asker in askers) <= asks * len(askers)


def test_critical_that_comes_during_a_backlog_goes_first() -> None:
    line = Line()
    storm(line, 200, critical=0)
    line.run(until=100)
    late_comers = [line.expect(100 + n, Asker(is_critical=True)) for n in range(5)]
    assert 200 - len(line.given) > 60
    line.run()
    first_after = min(moment for moment in line.given if moment > 100)
    assert max(moments(late_comers, is_critical=True)) <= first_after + 10


LATE = st.sampled_from([0.0, 0.5, 3.0, 19.0, 40.0, 90.0, None])
ASKERS = st.lists(
    st.tuples(st.floats(0, 30), st.booleans(), st.lists(LATE, min_size=1, max_size=3)), min_size=1, max_size=25
)


@given(ASKERS, st.integers(1, 5), st.integers(0, 999))
def test_no_minute_has_more_signals_than_the_limit(askers: Any, limit: int, seed: int) -> None:
    line = Line(limit=limit, chance=random.Random(seed))
    comes = 0.0
    for gap, is_critical, lates in askers:
        comes += gap
        line.expect(comes, Asker(is_critical=is_critical, late=iter([*lates, *[0.0] * 50]).__next__))
    line.run()
    assert line.busiest_minute() <= limit


@given(st.lists(st.tuples(st.floats(0, 20), st.booleans()), min_size=1, max_size=25), st.integers(1, 4))
def test_no_signal_passes_a_waiting_critical_whose_workers_are_on_time(
    askers: list[tuple[float, bool]], limit: int
) -> None:
    line = Line(limit=limit)
    everyone, comes = list[Asker](), 0.0
    for gap, is_critical in askers:
        comes += gap
        everyone.append(line.expect(comes, Asker(is_critical=is_critical)))
    line.run()
    others = moments(everyone, is_critical=False)
    for critical in everyone:
        if critical.is_critical and critical.came is not None and critical.went is not None:
            assert not any(critical.came < other < critical.went for other in others)
