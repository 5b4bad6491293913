"""Rate limit of a channel: a number of signals a minute, criticals first, in an item of constant size."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.failures import Reason
from relay.ledger.channel_rate_limiter import Gate, Rule, count_name
from relay.ledger.debt import Ticket
from relay.ledger.entry_key import named
from tests.unit.rate_limiter_line import GATE, Asker, Line, moments, storm
from tests.unit.states import NOW

ONE_A_SECOND = Rule(GATE, 61)


def gate(counts: dict[int, int] | None = None, *, critical_line_end: float = 0, other_line_end: float = 0) -> Gate:
    """Return a gate with these counts of signals by second, and the ends of its two waiting lines.

    Times are seconds after NOW. An end of 0 means that the line is empty.
    """
    return Gate(
        counts={int(NOW) + second: count for second, count in (counts or {}).items()},
        critical_line_end=NOW + critical_line_end if critical_line_end else 0.0,
        other_line_end=NOW + other_line_end if other_line_end else 0.0,
    )


class TestGate:
    def test_gate_counts_the_signals_of_the_last_minute(self) -> None:
        assert gate({0: 2, -30: 3, -60: 4, -61: 5}).counted(NOW) == 9
        assert gate({-60: 4}).counted(NOW + 0.999) == 4
        assert gate({-60: 4}).counted(NOW + 1) == 0

    @pytest.mark.parametrize(
        ("counts", "limit", "free"),
        [
            ({}, 1, 0),
            ({-5: 1}, 2, 0),
            ({-5: 1}, 1, 61 - 5),
            ({-50: 1, -5: 1}, 2, 61 - 50),
            ({-50: 3, -5: 1}, 2, 61 - 50),
            ({-50: 1, -5: 4}, 2, 61 - 5),
            ({-70: 9}, 1, 0),
        ],
    )
    def test_gate_has_room_when_enough_counts_leave_the_window(
        self, counts: dict[int, int], limit: int, free: float
    ) -> None:
        assert gate(counts).free(NOW, limit) == NOW + free

    @pytest.mark.parametrize(
        ("critical_line_end", "other_line_end", "is_critical", "is_due", "steps_back"),
        [
            (0, 0, False, False, False),
            (9, 0, False, False, True),
            (9, 0, False, True, True),
            (0, 9, False, False, True),
            (0, 9, False, True, False),
            (0, 9, True, False, False),
            (9, 0, True, False, True),
            (9, 9, True, True, False),
        ],
    )
    def test_critical_signals_go_first_and_each_line_keeps_its_order(
        self, critical_line_end: float, other_line_end: float, is_critical: bool, is_due: bool, steps_back: bool
    ) -> None:
        there = gate(critical_line_end=critical_line_end, other_line_end=other_line_end)
        assert there.must_step_back(ONE_A_SECOND, NOW, is_critical=is_critical, is_due=is_due) == steps_back


class TestMeetingAtASlot:
    """Two senders that ask at the same moment, when the minute has one place left."""

    def test_critical_keeps_its_slot_if_a_sender_that_steps_back_was_counted_at_the_same_moment(self) -> None:
        line = Line(limit=2)
        line.fill()
        mine = line.closed(is_critical=True)
        line.clock.now = mine.until
        # The other sender is counted, and did not step back yet.
        other_line_end = count_name(int(line.clock.now))
        line.rate_limiter.table.update(GATE, add={other_line_end: 2})
        again = line.closed(is_critical=True, slot=mine.slot)
        assert (again.slot, round(again.until - line.clock.now)) == (mine.slot, 1)
        line.rate_limiter.table.update(GATE, add={other_line_end: -2})
        line.clock.now = again.until
        line.ticket(is_critical=True, slot=again.slot)


class TestEnter:
    def test_ticket_costs_one_call_and_its_success_none(self) -> None:
        line = Line()
        line.report(line.ticket())
        assert line.dynamodb.calls == ["update_item"]


class TestSeveralGates:
    def test_ticket_needs_room_at_every_gate(self) -> None:
        assert Line(limit=5, people=5).ticket().taken.keys() == {GATE, f"{GATE}/{named(('Ops',))}"}
        for line in (Line(limit=5, people=1), Line(limit=1, people=5)):
            line.ticket()
            assert line.closed().reason == Reason.PACED


class TestHorizon:
    def test_no_slot_is_reserved_beyond_the_horizon_and_the_wait_ends_before_it(self) -> None:
        line = Line(limit=1)
        line.fill()
        near = [line.closed() for _ in range(4)]
        assert all(closed.slot for closed in near)
        for _ in range(20):
            far = line.closed()
            assert (far.reason, far.slot) == (Reason.PACED, None)
            assert 0.8 * 300 <= far.until - line.clock.now <= 300


def test_burst_of_a_hundred_shares_a_second_stays_below_200_writes_a_second_on_one_key() -> None:
    """DynamoDB's limit is 1,000 writes a second on one key; ours is 200. Twenty functions share the burst."""
    first = Line(limit=60)
    functions = [first, *(Line(limit=60, clock=first.clock, dynamodb=first.dynamodb) for _ in range(19))]
    writes: list[int] = []
    for second in range(120):
        before = len(first.dynamodb.calls)
        for number in range(100):
            first.clock.now = NOW + second + number / 100
            functions[(second * 100 + number) % 20].ask()
        writes.append(len(first.dynamodb.calls) - before)
    assert max(writes) <= 200
    assert sum(writes[10:]) / len(writes[10:]) <= 60
    given = [moment for function in functions for moment in function.given]
    assert max(sum(start <= moment < start + 60 for moment in given) for start in given) <= 60


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


BREAKING = [Reason.UPSTREAM, Reason.UNREACHABLE, Reason.TIMEOUT]
HARMLESS = [None, Reason.REFUSED, Reason.CREDENTIALS, Reason.INTERNAL]


def broken() -> Line:
    """Return a channel's gate and its senders, with a circuit that opened just now."""
    line = Line()
    for _ in range(5):
        line.report(line.ticket(), Reason.UPSTREAM)
    return line


class TestCircuit:
    @pytest.mark.parametrize("failure", BREAKING)
    def test_circuit_opens_after_five_failures_in_a_row(self, failure: Reason) -> None:
        line = Line()
        for _ in range(4):
            line.report(line.ticket(), failure)
        line.report(line.ticket(), failure)
        closed = line.closed()
        assert (closed.reason, closed.slot) == (Reason.CIRCUIT_OPEN, None)
        assert closed.until >= line.clock.now + 30

    @pytest.mark.parametrize("between", HARMLESS, ids=str)
    def test_other_result_between_failures_resets_the_count_of_the_circuit(self, between: Reason | None) -> None:
        line = Line()
        for _ in range(4):
            line.report(line.ticket(), Reason.UPSTREAM)
        line.report(line.ticket(), between)
        for _ in range(4):
            line.report(line.ticket(), Reason.UPSTREAM)
        line.ticket()

    def test_signals_that_wait_for_the_circuit_come_back_spread_out_criticals_first(self) -> None:
        line = broken()
        opens = line.clock.now + 30
        is_critical = [line.closed(is_critical=True).until - opens for _ in range(50)]
        others = [line.closed().until - opens for _ in range(50)]
        assert 0 <= min(is_critical) < max(is_critical) <= 5 <= min(others) < max(others) <= 2 * 5
        assert len(set(is_critical)) == 50

    def test_successful_probe_closes_the_circuit(self) -> None:
        line = broken()
        line.clock.now += 30
        probe = line.ticket()
        assert probe.troubled
        line.report(probe)
        assert line.item().keys().isdisjoint({"open_until", "failures"})
        assert not line.ticket().troubled
        for _ in range(4):
            line.report(line.ticket(), Reason.UPSTREAM)
        line.ticket()


class TestRateLimited:
    @pytest.mark.parametrize(
        ("retry_after", "pause"), [(None, 30), (77, 77), (0, 5), (-3, 5), (5, 5), (900, 900), (86_400, 900)]
    )
    def test_answer_429_opens_the_circuit_for_its_clamped_retry_after(
        self, retry_after: float | None, pause: float
    ) -> None:
        line = Line()
        line.report(line.ticket(), Reason.RATE_LIMITED, retry_after)
        closed = line.closed(is_critical=True)
        assert closed.reason == Reason.CIRCUIT_OPEN
        assert pause <= closed.until - line.clock.now <= pause + 5
        line.clock.now += pause
        assert line.ticket().troubled


def test_signal_that_the_limit_of_its_recipients_holds_takes_no_room_of_the_channel() -> None:
    line = Line(limit=2, people=1)
    answers = [line.ask(recipients=(name,), is_critical=True) for name in ("Ops", "Ops", "Dba")]
    assert [isinstance(each, Ticket) for each in answers] == [True, False, True]
