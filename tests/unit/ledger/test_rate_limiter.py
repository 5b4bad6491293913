"""Rate limit of a channel: a number of signals a minute, criticals first, in an item of constant size."""

import random
from copy import replace
from dataclasses import dataclass, field
from typing import Any

import pytest

from relay.failures import LedgerError, Reason
from relay.ledger.debt import Ticket, Wait
from relay.ledger.rate_limit_and_circuit import Gate, MinuteLimit, RateLimiter
from tests import samples
from tests.fake_dynamodb import FakeDynamoDb
from tests.fakes import Clock, HookedDynamoDb, table_down
from tests.unit.states import NOW


@dataclass(kw_only=True)
class Line:
    """A channel's gate (table item of the rate limiter), of which tests ask tickets. Times are s after NOW."""

    limit: int = 60
    chance: random.Random = field(default_factory=lambda: random.Random(7))
    clock: Clock = field(default_factory=lambda: Clock(NOW))
    dynamodb: FakeDynamoDb = field(default_factory=FakeDynamoDb)

    def __post_init__(self) -> None:
        self.rate_limiter = RateLimiter(self.dynamodb.table(self.clock), self.clock, self.chance.random)
        channel = samples.parsed()
        self.channel = replace(channel, policy=replace(channel.policy, max_per_minute=self.limit))
        self.given: list[float] = []

    def ask(self, *, is_critical: bool = False) -> Ticket | Wait:
        """Ask the rate limiter to send now; return its ticket, or a wait with a slot. The call takes 2 ms."""
        self.clock.now += 0.002
        answer = self.rate_limiter.enter(self.channel, ("Ops",), is_critical=is_critical, slot=None)
        if isinstance(answer, Ticket):
            self.given.append(self.clock.now - NOW)
        return answer

    def ticket(self, **how: Any) -> Ticket:
        """Ask now, and return the ticket; fail if the answer is a wait."""
        answer = self.ask(**how)
        assert isinstance(answer, Ticket)
        return answer

    def closed(self, **how: Any) -> Wait:
        """Ask now, and return the wait; fail if the answer is a ticket."""
        answer = self.ask(**how)
        assert isinstance(answer, Wait)
        return answer

    def fill(self) -> None:
        """Take as many tickets as the limit allows in a minute."""
        for _ in range(self.limit):
            self.ticket()

    def report(self, ticket: Ticket, failure: Reason | None = None, retry_after: float | None = None) -> None:
        """Report the result of a signal."""
        self.rate_limiter.report(self.channel.name, ticket, failure, retry_after)


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
def test_gate_has_room_when_enough_counts_leave_the_window(counts: dict[int, int], limit: int, free: float) -> None:
    seconds = {int(NOW) + second: count for second, count in counts.items()}
    gate = Gate(counts=seconds, critical_line_end=0.0, other_line_end=0.0)
    assert gate.free(NOW, limit) == NOW + free


def test_no_slot_is_reserved_beyond_the_horizon_and_the_wait_ends_before_it() -> None:
    line = Line(limit=1)
    line.fill()
    near = [line.closed() for _ in range(4)]
    assert all(closed.slot for closed in near)
    for _ in range(20):
        far = line.closed()
        assert (far.reason, far.slot) == (Reason.PACED, None)
        assert 0.8 * 300 <= far.until - line.clock.now <= 300
    # A function that knows nothing of the line counts its signal, and takes it out again.
    Line(limit=1, clock=line.clock, dynamodb=line.dynamodb).closed()
    [item] = line.dynamodb.items.values()
    assert [value["N"] for name, value in item.items() if name.startswith("s")] == ["1"]


def test_item_stays_small_although_each_signal_is_that_of_a_new_function() -> None:
    first = Line()
    for _ in range(200):
        first.clock.now += 61
        Line(clock=first.clock, dynamodb=first.dynamodb).ticket()
    assert max(map(len, first.dynamodb.items.values())) < 60


def test_critical_does_not_wait_for_the_full_line_of_others() -> None:
    line = Line(limit=1)
    line.fill()
    waits = [line.closed().until - line.clock.now for _ in range(5)]
    assert line.closed(is_critical=True).until - line.clock.now <= min(waits)


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


def broken() -> Line:
    """Return a channel's gate and its senders, with a circuit that opened just now."""
    line = Line()
    for _ in range(5):
        line.report(line.ticket(), Reason.UPSTREAM)
    return line


def test_signals_whose_own_limit_cannot_be_read_use_up_no_limit_of_the_channel() -> None:
    table = HookedDynamoDb()
    line = Line(limit=5, dynamodb=table)
    policy = replace(line.channel.policy, max_per_minute_per_recipients=5)
    own = replace(line.channel, policy=policy)
    for _ in range(10):
        table.before_next(table_down, after=1)
        with pytest.raises(LedgerError):
            line.rate_limiter.enter(own, ("Ops",), is_critical=False, slot=None)
    assert line.ticket()


def test_signals_that_wait_for_their_own_limit_use_up_no_limit_of_the_channel() -> None:
    line = Line(limit=5)
    own = replace(line.channel, policy=replace(line.channel.policy, max_per_minute_per_recipients=1))
    given = [line.rate_limiter.enter(own, ("Storage",), is_critical=False, slot=None) for _ in range(10)]
    assert [isinstance(each, Ticket) for each in given] == [True, *[False] * 9]
    assert [isinstance(line.ask(), Ticket) for _ in range(5)] == [*[True] * 4, False]


def test_429_that_asks_for_less_does_not_shorten_the_pause_that_another_asked_for() -> None:
    line = Line()
    first, second = line.ticket(), line.ticket()
    line.report(first, Reason.RATE_LIMITED, 60)
    line.report(second, Reason.RATE_LIMITED, 5)
    assert line.closed().until >= line.clock.now + 60


def test_signals_that_wait_for_the_circuit_come_back_spread_out_criticals_first() -> None:
    line = broken()
    opens = line.clock.now + 30
    is_critical = [line.closed(is_critical=True).until - opens for _ in range(50)]
    others = [line.closed().until - opens for _ in range(50)]
    assert 0 <= min(is_critical) < max(is_critical) <= 5 <= min(others) < max(others) <= 2 * 5
    assert len(set(is_critical)) == 50


@pytest.mark.parametrize(
    ("retry_after", "pause"), [(None, 30), (77, 77), (0, 5), (-3, 5), (5, 5), (890, 890), (86_400, 890)]
)
def test_answer_429_opens_the_circuit_for_its_clamped_retry_after(retry_after: float | None, pause: float) -> None:
    line = Line()
    line.report(line.ticket(), Reason.RATE_LIMITED, retry_after)
    closed, other = line.closed(is_critical=True), line.closed()
    assert closed.reason == other.reason == Reason.CIRCUIT_OPEN
    assert pause <= closed.until - line.clock.now <= pause + 5
    # SQS's longest delay is 900 s.
    assert pause + 5 <= other.until - line.clock.now <= pause + 10 <= 900
    line.clock.now += pause
    assert line.ticket().troubled


def test_pause_that_xmatters_asks_for_is_not_shortened_by_a_failure_that_is_reported_at_the_same_moment() -> None:
    """Found by seed 129001069 of the simulation."""
    table = HookedDynamoDb()
    line = Line(dynamodb=table)
    tickets = [line.ticket() for _ in range(6)]
    for ticket in tickets[:4]:
        line.report(ticket, Reason.UPSTREAM)
    table.before_next(lambda: line.report(tickets[5], Reason.RATE_LIMITED, 900), after=1)
    line.report(tickets[4], Reason.UPSTREAM)
    assert line.closed().until - line.clock.now >= 890


@pytest.mark.parametrize(
    ("is_critical", "is_due", "steps_back"), [(False, False, True), (False, True, False), (True, False, False)]
)
def test_only_what_is_critical_or_has_a_slot_goes_before_a_line_of_others(
    is_critical: bool, is_due: bool, steps_back: bool
) -> None:
    gate, limit = Gate({}, 0.0, NOW + 60), MinuteLimit("gate/noc", 60)
    assert gate.must_step_back(limit, NOW, is_critical=is_critical, is_due=is_due) is steps_back
