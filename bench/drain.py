"""Benchmark of the drain after an outage, in simulated time: the real library with the tests' fakes as adapters.

Shares arrive while xMatters answers 503. After the outage the waiting states drain within the channel's rate limit.
Workers take due messages one after the other, as SQS hands them over, and the sweeper runs each minute.
"""

import random
from dataclasses import dataclass, field

from bench import bodies
from bench.figures import Aim, Section, measured
from bench.simulated import DelayedQueue, Schedule, SlowTable
from relay.http.session import HttpAnswer
from tests import samples
from tests.fakes import Call, Clock, Relay, new_relay

JOBS, CRITICAL, LIMIT = 200, 60, 60
OUTAGE_SECONDS = 600.0
TABLE_SECONDS, XMATTERS_SECONDS = 0.004, 0.2
SEEDS = range(3)


@dataclass
class Outage:
    """xMatters, which answers 503 until the outage ends.

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


def section() -> Section:
    """Simulate an outage and its drain for each random seed, and return the table of results."""
    runs = [drained(seed) for seed in SEEDS]
    seconds = [run[-1][0] - run[0][0] for run in runs]
    used = [100 * JOBS * 60 / LIMIT / each for each in seconds]
    criticals = [100 * sum(is_critical for _, is_critical in run[:CRITICAL]) / CRITICAL for run in runs]
    rows = [
        measured("rate limit used", "%", *used, aim=Aim(97, at_least=True)),
        measured(f"critical among the first {CRITICAL}", "%", *criticals),
        measured("last of all, after the first signal", "s", *seconds),
    ]
    note = (
        f"{JOBS} incidents in an outage of {OUTAGE_SECONDS:.0f} s, {CRITICAL} of them critical, {LIMIT} signals a "
        f"minute allowed; simulated time, {len(SEEDS)} seeds."
    )
    return Section("Drain after an outage", rows, (note,))


def drained(seed: int) -> list[tuple[float, bool]]:
    """Simulate one outage; return the time of each signal that is accepted after it, and True if it is critical."""
    chance, clock = random.Random(seed), Clock()
    outage, queue = Outage(clock, clock.now + OUTAGE_SECONDS), DelayedQueue(clock)

    def passes(_: str) -> None:
        clock.now += TABLE_SECONDS
        relay.chance = chance.random()

    policy = {"max_per_minute": LIMIT}
    relay: Relay = new_relay(outage, policy=policy, clock=clock, retries=queue, dynamodb=SlowTable(passes))
    shares = ["critical"] * CRITICAL + ["warning"] * (JOBS - CRITICAL)
    chance.shuffle(shares)
    coming = sorted((clock.now + chance.uniform(0, OUTAGE_SECONDS), number) for number in range(JOBS))
    # The sweeper's minute begins at any time.
    schedule = Schedule(relay, queue, clock.now + chance.uniform(0, 60))
    while len(outage.accepted) < JOBS:
        if coming and coming[0][0] <= schedule.next_at:
            moment, number = coming.pop(0)
            clock.now = max(clock.now, moment)
            relay.share(bodies.body(f"incident-{number}", 3, status=shares[number]))
        else:
            schedule.step()
    return outage.accepted
