"""Rate limit of a channel: a number of signals a minute, criticals first, in an item of constant size."""

import random
from collections.abc import Callable
from copy import replace
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

import pytest

from relay.failures import Reason
from relay.ledger.channel_rate_limiter import Gate, RateLimiter
from relay.ledger.debt import Slot, Ticket, Wait
from tests import samples
from tests.fake_dynamodb import FakeDynamoDb
from tests.fakes import Clock, HookedDynamoDb
from tests.unit.states import NOW


def on_time() -> float:
    return 0.0


@dataclass(kw_only=True)
class Asker:
    """A job that asks for a ticket. Times are seconds after NOW."""

    is_critical: bool = False
    # Seconds by which the job comes late to its slot; None if it never comes.
    late: Callable[[], float | None] = on_time
    # Number of times that the job asked.
    asked: int = 0
    # Time of the ticket; None without one.
    went: float | None = None


@dataclass(kw_only=True)
class Line:
    """A channel's gate (table item of the rate limiter), and the jobs that ask for tickets. Times are s after NOW."""

    limit: int = 60
    chance: random.Random = field(default_factory=lambda: random.Random(7))
    clock: Clock = field(default_factory=lambda: Clock(NOW))
    dynamodb: FakeDynamoDb = field(default_factory=FakeDynamoDb)

    def __post_init__(self) -> None:
        self.rate_limiter = RateLimiter(self.dynamodb.table(self.clock), self.clock, self.chance.random)
        channel = samples.parsed()
        self.channel = replace(channel, policy=replace(channel.policy, max_per_minute=self.limit))
        self.given: list[float] = []
        self._coming: list[tuple[float, int, Asker, Slot | None]] = []
        self._count = 0

    def ask(self, *, is_critical: bool = False, slot: Slot | None = None) -> Ticket | Wait:
        """Ask the rate limiter to send now; return its ticket, or a wait with a slot. The call takes 2 ms."""
        self.clock.now += 0.002
        answer = self.rate_limiter.enter(self.channel, ("Ops",), is_critical=is_critical, slot=slot)
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

    def expect(self, comes: float, asker: Asker, slot: Slot | None = None) -> Asker:
        """Plan that a job asks for a ticket at the time `comes`. Return the job."""
        self._count += 1
        heappush(self._coming, (comes, self._count, asker, slot))
        return asker

    def run(self, until: float = 1e6) -> None:
        """Let the planned jobs ask, and ask again at their slots, until the time `until`."""
        while self._coming and self._coming[0][0] < until:
            comes, _, asker, slot = heappop(self._coming)
            self.clock.now = max(self.clock.now, NOW + comes)
            asker.asked += 1
            answer = self.ask(is_critical=asker.is_critical, slot=slot)
            if isinstance(answer, Ticket):
                asker.went = self.given[-1]
            elif (late := asker.late()) is not None:
                self.expect(answer.until - NOW + late, asker, answer.slot)

    def report(self, ticket: Ticket, failure: Reason | None = None, retry_after: float | None = None) -> None:
        """Report the result of a signal."""
        self.rate_limiter.report(self.channel.name, ticket, failure, retry_after)

    def busiest_minute(self) -> int:
        """Return the most signals in any 60 seconds."""
        given = sorted(self.given)
        return max(sum(start <= moment < start + 60 for moment in given) for start in given)


def storm(line: Line, jobs: int, *, critical: int, within: float = 0, late: Any = None) -> list[Asker]:
    """Plan that `jobs` jobs, `critical` of them critical, ask at random times within `within` seconds; return them."""
    kinds = [True] * critical + [False] * (jobs - critical)
    line.chance.shuffle(kinds)
    askers = [Asker(is_critical=is_critical, **({"late": late} if late else {})) for is_critical in kinds]
    return [line.expect(line.chance.uniform(0, within), asker) for asker in askers]


def moments(askers: list[Asker], *, is_critical: bool) -> list[float]:
    went = [asker.went for asker in askers if asker.is_critical == is_critical]
    return [moment for moment in went if moment is not None]


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


def broken() -> Line:
    """Return a channel's gate and its senders, with a circuit that opened just now."""
    line = Line()
    for _ in range(5):
        line.report(line.ticket(), Reason.UPSTREAM)
    return line


class TestCircuit:
    def test_signals_that_wait_for_the_circuit_come_back_spread_out_criticals_first(self) -> None:
        line = broken()
        opens = line.clock.now + 30
        is_critical = [line.closed(is_critical=True).until - opens for _ in range(50)]
        others = [line.closed().until - opens for _ in range(50)]
        assert 0 <= min(is_critical) < max(is_critical) <= 5 <= min(others) < max(others) <= 2 * 5
        assert len(set(is_critical)) == 50


@pytest.mark.parametrize(
    ("retry_after", "pause"), [(None, 30), (77, 77), (0, 5), (-3, 5), (5, 5), (900, 900), (86_400, 900)]
)
def test_answer_429_opens_the_circuit_for_its_clamped_retry_after(retry_after: float | None, pause: float) -> None:
    line = Line()
    line.report(line.ticket(), Reason.RATE_LIMITED, retry_after)
    closed = line.closed(is_critical=True)
    assert closed.reason == Reason.CIRCUIT_OPEN
    assert pause <= closed.until - line.clock.now <= pause + 5
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
    assert line.closed().until - line.clock.now >= 900
