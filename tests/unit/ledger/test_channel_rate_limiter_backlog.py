import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.ledger.channel_rate_limiter import GRACE_SECONDS
from relay.ledger.wait import WINDOW_SECONDS
from tests.unit.rate_limiter_line import Asker, Line, moments, storm


class TestUnusedSlots:
    def test_unused_slot_blocks_others_for_the_grace_period_alone(self) -> None:
        line = Line(limit=1)
        line.fill()
        absent = line.closed()
        line.clock.now = absent.until + GRACE_SECONDS
        line.ticket()

    @pytest.mark.parametrize("is_critical", [True, False])
    def test_jobs_that_never_come_cost_their_slots_alone(self, is_critical: bool) -> None:
        line = Line(limit=10)
        line.fill()
        for _ in range(20):
            line.expect(1, Asker(is_critical=is_critical, late=lambda: None))
        here = [line.expect(2, Asker()) for _ in range(20)]
        line.run()
        assert max(each.went or 1e9 for each in here) < (10 + 40) / 10 * WINDOW_SECONDS


class TestBacklog:
    """Backlog: 200 jobs, 60 of them critical, at a gate with a rate of 60 a minute."""

    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("within", [0, 10, 60])
    def test_backlog_drains_at_95_percent_of_the_rate_or_more(self, seed: int, within: float) -> None:
        line = Line(limit=60, chance=random.Random(seed))
        askers = storm(line, 200, critical=60, within=within)
        line.run()
        assert all(asker.went is not None for asker in askers)
        assert line.given[-1] <= 200 / 60 * 60 / 0.95
        assert line.busiest_minute() <= 60

    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("within", [0, 10])
    def test_criticals_of_a_backlog_go_before_all_others(self, seed: int, within: float) -> None:
        line = Line(limit=60, chance=random.Random(seed))
        line.fill()
        askers = storm(line, 200, critical=60, within=within)
        line.run()
        critical, others = moments(askers, is_critical=True), moments(askers, is_critical=False)
        assert (len(critical), len(others)) == (60, 140)
        assert max(critical) <= min(others)
        assert max(critical) < 2 * WINDOW_SECONDS

    @pytest.mark.parametrize("seed", range(3))
    def test_workers_that_come_seconds_late_do_not_slow_the_backlog_down(self, seed: int) -> None:
        chance = random.Random(seed)
        line = Line(limit=60, chance=random.Random(seed))
        askers = storm(line, 200, critical=60, within=5, late=lambda: chance.uniform(0, 2))
        line.run()
        assert line.given[-1] <= 200 / 60 * 60 / 0.95
        assert line.busiest_minute() <= 60
        assert all(asker.went is not None for asker in askers)

    @pytest.mark.parametrize("within", [0, 10, 60])
    def test_jobs_of_a_backlog_ask_the_gate_a_few_times_each(self, within: float) -> None:
        line = Line()
        askers = storm(line, 200, critical=60, within=within)
        line.run()
        assert sum(asker.asked for asker in askers) <= 3 * len(askers)
        assert max(asker.asked for asker in askers) <= 8

    def test_critical_that_comes_during_a_backlog_goes_first(self) -> None:
        line = Line()
        storm(line, 200, critical=0)
        line.run(until=100)
        late_comers = [line.expect(100 + n, Asker(is_critical=True)) for n in range(5)]
        waiting = 200 - len(line.given)
        line.run()
        assert waiting > 60
        first_after = min(moment for moment in line.given if moment > 100)
        assert max(moments(late_comers, is_critical=True)) <= first_after + 10
        assert line.given[-1] <= 205 / 60 * 60 / 0.95
        assert line.busiest_minute() <= 60

    def test_backlog_beyond_the_horizon_drains_at_95_percent_of_the_rate(self) -> None:
        line = Line()
        askers = storm(line, 600, critical=200, within=30)
        line.run()
        assert line.given[-1] <= 600 / 60 * 60 / 0.95
        assert max(moments(askers, is_critical=True)) <= (200 + 60) / 60 * 60 / 0.95
        assert line.busiest_minute() <= 60
        assert sum(asker.asked for asker in askers) <= 5 * len(askers)

    def test_rate_of_four_a_minute_is_kept_and_used(self) -> None:
        line = Line(limit=4)
        askers = storm(line, 20, critical=5)
        line.run()
        assert line.given[-1] <= 20 / 4 * 60 / 0.95
        assert line.busiest_minute() <= 4
        assert max(moments(askers, is_critical=True)) < 2.1 * WINDOW_SECONDS


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
