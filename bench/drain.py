"""Benchmark of the drain after an outage, in simulated time: the real library with the tests' fakes as adapters.

Shares arrive while xMatters answers 503. After the outage the waiting states drain within the channel's rate limit.
Workers take due messages one after the other, as SQS hands them over, and the sweeper runs each minute.
"""

import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Any

from bench import bodies
from bench.figures import Aim, Section, measured
from bench.functions import Log
from relay.http.session import HttpAnswer
from tests import samples
from tests.fake_dynamodb import FakeDynamoDb
from tests.fakes import Call, Clock, FakeSqs, Relay, new_relay

JOBS, CRITICAL, LIMIT = 200, 60, 60
OUTAGE_SECONDS = 600.0
TABLE_SECONDS, XMATTERS_SECONDS = 0.004, 0.2
SEEDS = range(3)


@dataclass(frozen=True)
class Drained:
    """Accepted signals of one drain, in order of acceptance.

    Attributes:
        moments: seconds after the first accepted signal, one for each signal.
        critical: True where the signal is critical, one for each signal.
    """

    moments: list[float]
    critical: list[bool]

    @property
    def rate(self) -> float:
        """Percent of the rate limit that was used, from the first signal to the last."""
        return 100 * len(self.moments) / self.moments[-1] * 60 / LIMIT

    @property
    def of_fastest(self) -> float:
        """Speed of the drain, in percent of the fastest possible drain.

        In the fastest possible drain, the signals of each minute are sent at the beginning of the minute.
        """
        return 100 * ((len(self.moments) - 1) // LIMIT * 60) / self.moments[-1]

    @property
    def critical_first(self) -> float:
        """Percent of criticals among the first N signals, where N is the number of criticals."""
        among_first = self.critical[: sum(self.critical)]
        return 100 * sum(among_first) / len(among_first)

    @property
    def last_critical(self) -> float:
        """Seconds after the first signal until the last critical was accepted."""
        return max(moment for moment, critical in zip(self.moments, self.critical, strict=True) if critical)


def section() -> Section:
    """Simulate an outage and its drain for each random seed, and return the table of results."""
    runs = [drained(seed) for seed in SEEDS]
    figures = [
        measured("rate limit used", "%", *(run.rate for run in runs), aim=Aim(97, at_least=True)),
        measured("  of the fastest possible", "%", *(run.of_fastest for run in runs)),
        measured(f"critical among the first {CRITICAL}", "%", *(run.critical_first for run in runs)),
        measured("last critical, after the first signal", "s", *(run.last_critical for run in runs)),
        measured("last of all, after the first signal", "s", *(run.moments[-1] for run in runs)),
    ]
    note = (
        f"{JOBS} incidents in an outage of {OUTAGE_SECONDS:.0f} s, {CRITICAL} of them critical, {LIMIT} signals a "
        f"minute allowed; simulated time, {len(SEEDS)} seeds. In the fastest possible drain each minute's signals "
        "leave at its beginning."
    )
    return Section("drain", "Drain after an outage", figures, (note,))


class SlowTable(FakeDynamoDb):
    """A table that runs a callback on each call, such as one that moves the clock."""

    def __init__(self, called: Callable[[], object]) -> None:
        super().__init__()
        self._passes = called

    def _called(self, name: str) -> None:
        super()._called(name)
        self._passes()


class Queue(FakeSqs):
    """A queue that keeps each message with the time at which it becomes visible."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._numbers = count()
        self.waiting: list[tuple[float, int, str]] = []

    def send_message(self, **message: Any) -> dict[str, str]:
        due = self._clock.now + message["DelaySeconds"]
        heappush(self.waiting, (due, next(self._numbers), message["MessageBody"]))
        return {"MessageId": "m"}

    def due(self) -> list[dict[str, Any]]:
        """Return the next message, after moving the clock to the time at which it becomes visible."""
        due, number, body = heappop(self.waiting)
        self._clock.now = max(self._clock.now, due)
        return [{"messageId": str(number), "body": body}]


@dataclass
class Schedule:
    """Does what is due next: a worker's message, or the sweeper's run of each minute.

    Attributes:
        relay: the relay, whose retry queue is `queue`.
        queue: the retry queue.
        clock: the simulated clock.
        sweeps_at: time of the sweeper's next run, in seconds of the clock.
    """

    relay: Relay
    queue: Queue
    clock: Clock
    sweeps_at: float

    @property
    def next_at(self) -> float:
        """Time of what is due next, in seconds of the clock."""
        return min([self.sweeps_at, *(message[0] for message in self.queue.waiting[:1])])

    def step(self) -> bool:
        """Do what is due next. Return True if it was a worker's message."""
        if self.next_at == self.sweeps_at:
            self.clock.now = max(self.clock.now, self.sweeps_at)
            self.sweeps_at += 60
            self.relay.sweeper.sweep()
            return False
        self.relay.worker.work(self.queue.due())
        return True


@dataclass
class _Outage:
    """xMatters during and after an outage.

    Attributes:
        clock: the simulated clock.
        ends: end of the outage, in seconds of the clock.
        accepted: time of each accepted signal, and True if it is critical.
    """

    clock: Clock
    ends: float
    accepted: list[tuple[float, bool]] = field(default_factory=list)

    def __call__(self, call: Call) -> HttpAnswer:
        self.clock.now += XMATTERS_SECONDS
        if self.clock.now < self.ends:
            return samples.refused(503)
        self.accepted.append((self.clock.now, b'"status": "critical"' in call.body))
        return samples.accepted()


def drained(seed: int) -> Drained:
    """Simulate one outage and return its drain."""
    with contextlib.redirect_stdout(Log()):
        return _drained(seed)


def _drained(seed: int) -> Drained:
    chance, clock = random.Random(seed), Clock()
    outage, sqs = _Outage(clock, clock.now + OUTAGE_SECONDS), Queue(clock)

    def passes() -> None:
        clock.now += TABLE_SECONDS
        relay.chance = chance.random()

    policy = {"max_per_minute": LIMIT}
    relay: Relay = new_relay(outage, policy=policy, clock=clock, retries=sqs, dynamodb=SlowTable(passes))
    shares = ["critical"] * CRITICAL + ["warning"] * (JOBS - CRITICAL)
    chance.shuffle(shares)
    coming = sorted((clock.now + chance.uniform(0, OUTAGE_SECONDS), number) for number in range(JOBS))
    # The sweeper's minute begins at any time.
    schedule = Schedule(relay, sqs, clock, clock.now + chance.uniform(0, 60))
    while len(outage.accepted) < JOBS:
        if coming and coming[0][0] <= schedule.next_at:
            moment, number = coming.pop(0)
            clock.now = max(clock.now, moment)
            relay.share(bodies.body(f"incident-{number}", 3, status=shares[number]))
        else:
            schedule.step()
    first = outage.accepted[0][0]
    return Drained([moment - first for moment, _ in outage.accepted], [critical for _, critical in outage.accepted])
