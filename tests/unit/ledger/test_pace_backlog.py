import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.ledger.pace import GRACE_SECONDS, WINDOW_SECONDS
from tests.unit.pace_line import Asker, Line, moments, storm


class TestAbsent:
    def test_a_moment_nobody_uses_blocks_nobody_for_long(self) -> None:
        line = Line(limit=1)
        line.fill()
        absent = line.closed()
        line.clock.now = absent.until + GRACE_SECONDS
        line.ticket()

    @pytest.mark.parametrize("urgent", [True, False])
    def test_half_a_line_that_never_comes_costs_its_moments_and_no_more(self, urgent: bool) -> None:
        line = Line(limit=10)
        line.fill()
        for _ in range(20):
            line.expect(1, Asker(urgent, late=lambda: None))
        here = [line.expect(2, Asker()) for _ in range(20)]
        line.run()
        assert max(each.went or 1e9 for each in here) < (10 + 40) / 10 * WINDOW_SECONDS


class TestBacklog:
    """200 jobs, 60 of them critical, wait at a gate that lets 60 a minute through."""

    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("within", [0, 10, 60])
    def test_it_drains_at_no_less_than_95_percent_of_the_rate(self, seed: int, within: float) -> None:
        line = Line(60, random.Random(seed))
        askers = storm(line, 200, 60, within)
        line.run()
        assert all(asker.went is not None for asker in askers)
        assert line.given[-1] <= 200 / 60 * 60 / 0.95
        assert line.busiest_minute() <= 60

    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("within", [0, 10])
    def test_critical_ones_all_go_before_others(self, seed: int, within: float) -> None:
        line = Line(60, random.Random(seed))
        line.fill()
        askers = storm(line, 200, 60, within)
        line.run()
        critical, others = moments(askers, urgent=True), moments(askers, urgent=False)
        assert (len(critical), len(others)) == (60, 140)
        assert max(critical) <= min(others)
        assert max(critical) < 2 * WINDOW_SECONDS

    @pytest.mark.parametrize("seed", range(3))
    def test_workers_that_come_some_seconds_late_cost_no_more_than_those_seconds(self, seed: int) -> None:
        chance = random.Random(seed)
        line = Line(60, random.Random(seed))
        askers = storm(line, 200, 60, 5, lambda: chance.uniform(0, 2))
        line.run()
        assert line.given[-1] <= 200 / 60 * 60 / 0.95
        assert line.busiest_minute() <= 60
        assert all(asker.went is not None for asker in askers)

    @pytest.mark.parametrize("within", [0, 10, 60])
    def test_nobody_asks_again_and_again(self, within: float) -> None:
        line = Line()
        askers = storm(line, 200, 60, within)
        line.run()
        assert sum(asker.asked for asker in askers) <= 3 * len(askers)
        assert max(asker.asked for asker in askers) <= 8

    def test_a_critical_one_that_comes_in_the_middle_goes_before_all_that_wait(self) -> None:
        line = Line()
        storm(line, 200, 0)
        line.run(until=100)
        late_comers = [line.expect(100 + n, Asker(urgent=True)) for n in range(5)]
        waiting = 200 - len(line.given)
        line.run()
        assert waiting > 60
        first_after = min(moment for moment in line.given if moment > 100)
        assert max(moments(late_comers, urgent=True)) <= first_after + 10
        assert line.given[-1] <= 205 / 60 * 60 / 0.95
        assert line.busiest_minute() <= 60

    def test_a_backlog_beyond_the_horizon_drains_all_the_same(self) -> None:
        line = Line()
        askers = storm(line, 600, 200, 30)
        line.run()
        assert line.given[-1] <= 600 / 60 * 60 / 0.95
        assert max(moments(askers, urgent=True)) <= (200 + 60) / 60 * 60 / 0.95
        assert line.busiest_minute() <= 60
        assert sum(asker.asked for asker in askers) <= 5 * len(askers)

    def test_four_a_minute_are_kept_to_as_well(self) -> None:
        line = Line(limit=4)
        askers = storm(line, 20, 5)
        line.run()
        assert line.given[-1] <= 20 / 4 * 60 / 0.95
        assert line.busiest_minute() <= 4
        assert max(moments(askers, urgent=True)) < 2.1 * WINDOW_SECONDS


LATE = st.sampled_from([0.0, 0.5, 3.0, 19.0, 40.0, 90.0, None])
ASKERS = st.lists(
    st.tuples(st.floats(0, 30), st.booleans(), st.lists(LATE, min_size=1, max_size=3)), min_size=1, max_size=25
)


@given(ASKERS, st.integers(1, 5), st.integers(0, 999))
def test_no_minute_ever_holds_more_than_the_limit(askers: Any, limit: int, seed: int) -> None:
    line = Line(limit, random.Random(seed))
    comes = 0.0
    for gap, urgent, lates in askers:
        comes += gap
        line.expect(comes, Asker(urgent, late=iter([*lates, *[0.0] * 50]).__next__))
    line.run()
    assert line.busiest_minute() <= limit


@given(st.lists(st.tuples(st.floats(0, 20), st.booleans()), min_size=1, max_size=25), st.integers(1, 4))
def test_nobody_goes_while_a_critical_one_waits_whose_workers_are_on_time(
    askers: list[tuple[float, bool]], limit: int
) -> None:
    line = Line(limit)
    everyone, comes = list[Asker](), 0.0
    for gap, urgent in askers:
        comes += gap
        everyone.append(line.expect(comes, Asker(urgent)))
    line.run()
    others = moments(everyone, urgent=False)
    for critical in everyone:
        if critical.urgent and critical.came is not None and critical.went is not None:
            assert not any(critical.came < other < critical.went for other in others)
