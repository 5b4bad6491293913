from copy import replace
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import LedgerError, Reason
from relay.pace import (
    HORIZON_SECONDS,
    JITTER_SECONDS,
    LATE_SECONDS,
    MAX_FORGOTTEN,
    MAX_STALE,
    WINDOW_SECONDS,
    Closed,
    Gate,
    Rule,
    Slot,
    Ticket,
)
from tests.fake_dynamodb import FakeDynamoDb, size
from tests.fakes import Clock
from tests.unit.pace_line import GATE, Line
from tests.unit.states import NOW

MINE = NOW - 1e6


def gate(taken: Any = (), urgent: Any = (), others: Any = ()) -> Gate:
    """A gate with these moments, in seconds after NOW."""
    taken, urgent, others = (tuple(sorted(NOW + each for each in moments)) for moments in (taken, urgent, others))
    return Gate(taken, urgent, others, None, 0)


def free(of: Gate, limit: int, *, now: float = 0, urgent: bool = False, slot: Slot | None = None) -> float:
    """The first free moment, in seconds after NOW."""
    return of.first_free(MINE, NOW + now, limit, urgent=urgent, slot=slot) - NOW


def slot(at: float, *, urgent: bool = False) -> Slot:
    return Slot(NOW + at, urgent)


class TestFirstFree:
    def test_an_empty_gate_is_open(self) -> None:
        assert free(gate(), 1) == 0

    def test_as_many_as_the_limit_go_at_once_and_the_next_waits_for_the_first_of_them(self) -> None:
        assert free(gate(taken=[-30, -20]), 3) == 0
        assert free(gate(taken=[-30, -20, -10]), 3) == WINDOW_SECONDS - 30

    def test_who_asks_does_not_count_himself(self) -> None:
        full = gate(taken=[-30])
        assert full.first_free(NOW - 30, NOW, 1, urgent=False, slot=None) == NOW

    def test_two_that_meet_at_the_last_place_both_step_back(self) -> None:
        both = gate(taken=[0, 0.01])
        assert both.first_free(NOW, NOW, 1, urgent=False, slot=None) > NOW
        assert both.first_free(NOW + 0.01, NOW, 1, urgent=False, slot=None) > NOW

    def test_what_is_a_minute_old_counts_no_more(self) -> None:
        assert free(gate(taken=[-WINDOW_SECONDS]), 1) == 0
        assert free(gate(taken=[0.5 - WINDOW_SECONDS]), 1) == 0.5

    def test_a_minute_is_looked_at_from_both_its_ends(self) -> None:
        assert free(gate(taken=[-30], urgent=[WINDOW_SECONDS - 30]), 2) == 0
        assert free(gate(taken=[-30], urgent=[WINDOW_SECONDS - 30.5]), 2) == WINDOW_SECONDS - 30

    def test_a_critical_one_counts_critical_ones_alone(self) -> None:
        waiting = gate(urgent=[10], others=[1, 2, 3])
        assert free(waiting, 2, urgent=True) == 0
        assert free(waiting, 1, urgent=True) == 10 + WINDOW_SECONDS

    def test_others_count_critical_ones_and_those_before_them(self) -> None:
        assert free(gate(urgent=[10]), 1) == 10 + WINDOW_SECONDS
        assert free(gate(others=[10]), 1) == 10 + WINDOW_SECONDS

    def test_within_a_line_the_earlier_moment_goes_first(self) -> None:
        line = gate(others=[10, 30])
        assert free(line, 1, slot=slot(5)) == 0
        assert free(line, 2, slot=slot(20)) == 0
        assert free(line, 1, now=20, slot=slot(20)) == 30 + WINDOW_SECONDS

    def test_the_moment_that_was_set_aside_is_free_when_it_comes(self) -> None:
        assert free(gate(taken=[-50], others=[11.2, 72.5]), 1, now=11, slot=slot(11)) == 11

    def test_who_comes_too_early_keeps_his_moment(self) -> None:
        assert free(gate(taken=[-50], others=[72]), 1, now=5, slot=slot(11)) == 11

    def test_a_moment_in_the_other_line_gives_no_place_in_this_one(self) -> None:
        assert free(gate(urgent=[10]), 1, urgent=True, slot=slot(5)) == 10 + WINDOW_SECONDS
        assert free(gate(others=[10]), 1, slot=slot(5, urgent=True)) == 10 + WINDOW_SECONDS

    def test_who_lost_his_moment_takes_none_that_others_of_his_line_have(self) -> None:
        critical_came = gate(taken=[-61], urgent=[0], others=[61, 122, 183])
        assert free(critical_came, 1, slot=slot(0)) == 183 + WINDOW_SECONDS

    def test_but_a_gap_between_them(self) -> None:
        assert free(gate(urgent=[0], others=[61, 183]), 1, slot=slot(0)) == 122

    @pytest.mark.parametrize("line", ["urgent", "others"])
    def test_who_does_not_come_is_not_waited_for(self, line: str) -> None:
        absent = gate(**{line: [0]})
        assert free(absent, 1, now=LATE_SECONDS - 1) == WINDOW_SECONDS
        assert free(absent, 1, now=LATE_SECONDS) == LATE_SECONDS

    def test_a_thousand_a_minute_are_reckoned_with(self) -> None:
        each = 60 / 1000
        busy = gate(
            taken=[-60 + n * each for n in range(1000)],
            urgent=[1 + n * each for n in range(1000)],
            others=[61 + n * each for n in range(3000)],
        )
        assert free(busy, 1000) == pytest.approx(61 + 2999 * each + WINDOW_SECONDS - 60 + each, abs=2)


MOMENTS = st.lists(st.integers(-80, 200), max_size=12, unique=True)
GATES = st.builds(gate, taken=st.lists(st.integers(-80, 0), max_size=8, unique=True), urgent=MOMENTS, others=MOMENTS)


def fits(moment: float, counted: list[float], limit: int) -> bool:
    """Whether no minute that holds the moment has more than the limit: every one is looked at that begins anywhere."""
    everyone = [*counted, moment]
    starts = [start for start in everyone if start <= moment < start + WINDOW_SECONDS]
    return all(sum(start <= each < start + WINDOW_SECONDS for each in everyone) <= limit for start in starts)


@given(GATES, st.integers(1, 4), st.booleans(), st.none() | st.integers(-20, 100), st.booleans())
def test_the_first_free_moment_is_free_and_none_before_it_is(
    of: Gate, limit: int, urgent: bool, at: int | None, of_other_line: bool
) -> None:
    mine = None if at is None else slot(at, urgent=urgent != of_other_line)
    found = free(of, limit, urgent=urgent, slot=mine)
    place = at if mine and mine.urgent == urgent else None
    recent = [each - NOW for each in of.taken if each > NOW - WINDOW_SECONDS]
    waiting = {
        name: [each - NOW for each in line if each > NOW - LATE_SECONDS]
        for name, line in (("urgent", of.urgent), ("others", of.others))
    }

    def is_free(moment: float) -> bool:
        ahead = recent + ([] if urgent else waiting["urgent"])
        line = waiting["urgent" if urgent else "others"]
        return fits(
            moment,
            ahead + [each for each in line if place is None or each < max(place, moment + JITTER_SECONDS)],
            limit,
        )

    assert is_free(found)
    assert not any(is_free(moment) for moment in range(int(found)))


class TestGate:
    def test_a_gate_nobody_passed_is_open(self) -> None:
        assert Gate.of({}) == Gate((), (), (), None, 0)

    def test_it_is_read_as_the_table_gives_it(self) -> None:
        item = {"pk": GATE, "taken": (1.0,), "urgent": (2.0,), "others": (3.0, 4.0), "open_until": 5.0, "failures": 6.0}
        assert Gate.of(item) == Gate((1.0,), (2.0,), (3.0, 4.0), 5.0, 6)

    def test_what_means_nothing_any_more_is_forgotten_when_there_is_enough_of_it(self) -> None:
        old = gate(
            taken=[-WINDOW_SECONDS - n for n in range(MAX_STALE - 3)] + [1 - WINDOW_SECONDS, 0],
            urgent=[-LATE_SECONDS, 1 - LATE_SECONDS, 5],
            others=[-LATE_SECONDS - 1, -LATE_SECONDS, 1 - LATE_SECONDS],
        )
        assert old.stale(NOW) == {}
        one_more = replace(old, taken=(NOW - 1000, *old.taken))
        assert one_more.stale(NOW) == {
            "taken": [each for each in one_more.taken if each <= NOW - WINDOW_SECONDS],
            "urgent": [NOW - LATE_SECONDS],
            "others": [NOW - LATE_SECONDS - 1, NOW - LATE_SECONDS],
        }

    def test_not_more_at_once_than_an_expression_takes_the_oldest_first(self) -> None:
        old = gate(taken=[-1000 + n for n in range(MAX_FORGOTTEN + 50)])
        assert old.stale(NOW) == {"taken": list(old.taken[:MAX_FORGOTTEN])}


class TestEnter:
    def test_leave_costs_one_call_and_so_does_nothing_else_while_all_is_well(self) -> None:
        line = Line()
        line.report(line.ticket())
        assert line.dynamodb.calls == ["update_item"]

    def test_no_leave_costs_two(self) -> None:
        line = Line(limit=1)
        line.fill()
        line.dynamodb.calls.clear()
        line.closed()
        assert line.dynamodb.calls == ["update_item"] * 2

    def test_without_room_it_says_from_when_there_is_some(self) -> None:
        line = Line(limit=2)
        line.fill()
        line.clock.now += 10
        closed = line.closed()
        assert closed.reason == Reason.PACED
        assert closed.until - NOW == pytest.approx(WINDOW_SECONDS, abs=0.6)

    def test_the_moment_it_names_is_set_aside(self) -> None:
        line = Line(limit=1)
        line.fill()
        first, second, urgent = line.closed(), line.closed(), line.closed(urgent=True)
        assert first.slot == Slot(first.until, urgent=False)
        assert second.until >= first.until + WINDOW_SECONDS
        assert urgent.slot == Slot(urgent.until, urgent=True)
        assert urgent.until == pytest.approx(first.until, abs=0.6)
        assert {name: len(line.item()[name]["NS"]) for name in ("taken", "others", "urgent")} == {
            "taken": 1,
            "others": 2,
            "urgent": 1,
        }

    def test_at_the_moment_that_was_set_aside_there_is_leave_and_the_moment_is_used_up(self) -> None:
        line = Line(limit=1)
        line.fill()
        mine, _ = line.closed(), line.closed()
        line.clock.now = mine.until
        line.ticket(slot=mine.slot)
        assert len(line.item()["others"]["NS"]) == 1

    def test_who_comes_before_his_moment_keeps_it(self) -> None:
        line = Line(limit=1)
        line.fill()
        mine, behind = line.closed(), line.closed()
        line.clock.now += 5
        again = line.closed(slot=mine.slot)
        assert again.until == pytest.approx(mine.until, abs=0.6)
        assert again.until < behind.until
        assert len(line.item()["others"]["NS"]) == 2

    def test_a_newer_critical_one_goes_before_all_others_that_wait(self) -> None:
        line = Line(limit=1)
        line.fill()
        waiting = line.closed()
        line.clock.now = waiting.until - 1
        critical = line.closed(urgent=True)
        assert critical.until == pytest.approx(waiting.until, abs=0.6)
        line.clock.now = max(waiting.until, critical.until)
        assert line.closed(slot=waiting.slot).until > line.clock.now + WINDOW_SECONDS - 1
        line.ticket(urgent=True, slot=critical.slot)

    def test_one_that_became_critical_leaves_the_line_of_the_others(self) -> None:
        line = Line(limit=1)
        line.fill()
        mine = line.closed()
        assert line.closed(urgent=True, slot=mine.slot).slot
        assert "others" not in line.item()

    def test_two_at_the_same_instant_are_counted_as_two(self) -> None:
        line = Line(limit=20)
        for _ in range(20):
            assert isinstance(line.pace.enter(line.rules, urgent=False), Ticket)
        assert line.clock.now == NOW
        assert isinstance(line.pace.enter(line.rules, urgent=False), Closed)

    def test_what_was_taken_is_in_the_ticket_by_its_gate(self) -> None:
        line = Line()
        ticket = line.ticket()
        assert ticket.taken.keys() == {GATE}
        assert 0 <= ticket.taken[GATE] - line.clock.now <= 0.5
        assert not ticket.troubled

    @pytest.mark.parametrize("do", [lambda line: line.ask(), lambda line: line.pace.leave(Ticket({GATE: NOW}))])
    def test_a_table_that_fails_is_said(self, do: Any) -> None:
        line = Line()
        line.dynamodb.failure = EndpointConnectionError(endpoint_url="https://dynamodb")
        with pytest.raises(LedgerError):
            do(line)


class TestSeveralGates:
    def both(self, channel: int, people: int) -> Line:
        line = Line(limit=channel)
        line.rules.append(Rule("gate/noc/people", people))
        return line

    def test_all_of_them_must_have_room(self) -> None:
        assert self.both(5, 5).ticket().taken.keys() == {GATE, "gate/noc/people"}
        for line in (self.both(5, 1), self.both(1, 5)):
            line.ticket()
            assert line.closed().reason == Reason.PACED

    def test_without_room_at_the_second_the_first_gets_its_place_back(self) -> None:
        line = self.both(2, 1)
        line.ticket()
        line.closed()
        del line.rules[1]
        line.ticket()

    def test_a_moment_is_set_aside_where_there_was_no_room(self) -> None:
        line = self.both(5, 1)
        line.ticket()
        mine = line.closed()
        assert "others" not in line.item()
        assert len(line.dynamodb.items["gate/noc/people"]["others"]["NS"]) == 1
        line.clock.now = mine.until
        line.ticket(slot=mine.slot)
        assert "others" not in line.dynamodb.items["gate/noc/people"]


class TestLeave:
    def test_what_was_not_used_is_given_back_at_every_gate(self) -> None:
        line = TestSeveralGates().both(1, 1)
        line.pace.leave(line.ticket())
        line.ticket()

    def test_nothing_taken_is_nothing_to_give_back(self) -> None:
        line = Line()
        line.pace.leave(Ticket({}))
        assert line.dynamodb.calls == []


class TestHorizon:
    def test_nothing_is_set_aside_too_far_ahead_and_who_asked_comes_back_before(self) -> None:
        line = Line(limit=1)
        line.fill()
        near = [line.closed() for _ in range(4)]
        assert all(closed.slot for closed in near)
        for _ in range(20):
            far = line.closed()
            assert (far.reason, far.slot) == (Reason.PACED, None)
            assert 0.8 * HORIZON_SECONDS <= far.until - line.clock.now <= HORIZON_SECONDS
        assert len(line.item()["others"]["NS"]) == 4

    def test_a_critical_one_sees_a_line_of_its_own(self) -> None:
        line = Line(limit=1)
        line.fill()
        for _ in range(10):
            line.closed()
        assert line.closed(urgent=True).slot


class TestGrowth:
    def test_an_item_stays_small_over_ten_thousand_signals(self) -> None:
        line, most = Line(limit=60), 0
        for number in range(10_000):
            line.clock.now += 1.1
            line.ticket(urgent=number % 3 == 0)
            most = max(most, len(line.item()["taken"]["NS"]))
        assert most <= 60 + MAX_STALE + 1
        assert size(line.item()) < 4096
        assert line.dynamodb.calls.count("update_item") < 10_000 * 1.05

    def test_moments_of_those_who_never_came_are_forgotten_too(self) -> None:
        line = Line(limit=2)
        for number in range(300):
            line.clock.now += 30
            line.ask(urgent=number % 2 == 0)
            line.ask()
            line.ask()
        kept = {name: len(value["NS"]) for name, value in line.item().items() if "NS" in value}
        assert sum(kept.values()) <= MAX_STALE + 2 * HORIZON_SECONDS / 60 * 2


def test_channels_have_gates_of_their_own() -> None:
    dynamodb, clock = FakeDynamoDb(), Clock(NOW)
    line, other = Line(limit=1, clock=clock), Line(limit=1, clock=clock)
    other.pace = replace(other.pace, table=dynamodb.table(clock))
    line.pace = replace(line.pace, table=dynamodb.table(clock))
    other.rules = [Rule("gate/ops", 1)]
    line.ticket()
    other.ticket()
    for _ in range(5):
        line.report(Ticket({}), Reason.UPSTREAM)
    assert line.closed().reason == Reason.CIRCUIT_OPEN
    assert other.closed().reason == Reason.PACED
