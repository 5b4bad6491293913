"""Benchmark of one critical's recovery after an outage, and of the wakes in an outage, in simulated time."""

import random
from dataclasses import dataclass, field

from bench import bodies
from bench.figures import Section, measured
from bench.simulated import DelayedQueue, Schedule, SlowTable
from relay.http.session import HttpAnswer
from tests import samples
from tests.fakes import Call, Clock, new_relay

# Number of outages with one critical each; shortest and longest outage in seconds.
OUTAGES, SHORTEST_OUTAGE, LONGEST_OUTAGE = 60, 20 * 60.0, 42 * 60.0
RECOVERED_SECONDS = 120.0
# Minutes of an outage in which wakes are counted, and debts of the channel. Wakes must not grow with the debts.
MINUTES, FEW_DEBTS, DEBTS = 10, 10, 100
# docs/guarantees.md has this number.
WAKES_A_MINUTE = 4.0
XMATTERS_SECONDS = 0.2


@dataclass
class Outage:
    """xMatters, which answers 503 until the outage ends.

    Attributes:
        clock: the simulated clock.
        ends: end of the outage, in seconds of the clock.
        accepted: time of each accepted signal.
    """

    clock: Clock
    ends: float
    accepted: list[float] = field(default_factory=list)

    def __call__(self, _: Call) -> HttpAnswer:
        self.clock.now += XMATTERS_SECONDS
        if self.clock.now < self.ends:
            return samples.refused(503)
        self.accepted.append(self.clock.now)
        return samples.accepted()


def section() -> Section:
    """Simulate outages, and return their table."""
    waits = [recovered(seed) for seed in range(OUTAGES)]
    rows = [
        measured("critical accepted after recovery, median", "s", *waits, aim=RECOVERED_SECONDS),
        measured("  at the latest", "s", max(waits), aim=RECOVERED_SECONDS),
        *(
            measured(f"open circuit: wakes with {debts} debts", "/min", wakes(debts), aim=WAKES_A_MINUTE)
            for debts in (FEW_DEBTS, DEBTS)
        ),
    ]
    note = (
        f"{OUTAGES} outages of {SHORTEST_OUTAGE / 60:.0f} to {LONGEST_OUTAGE / 60:.0f} min of 503, each with one owed "
        "critical. Wakes are those of one channel's debts, in a minute of an outage."
    )
    return Section("Recovery of one critical, and wakes in an outage", rows, (note,))


def recovered(seed: int) -> float:
    """Return the seconds from xMatters' recovery to the acceptance of the one owed critical."""
    chance, clock = random.Random(seed), Clock()
    outage = Outage(clock, clock.now + chance.uniform(SHORTEST_OUTAGE, LONGEST_OUTAGE))

    def passes(_: str) -> None:
        relay.chance = chance.random()

    queue = DelayedQueue(clock)
    relay = new_relay(outage, clock=clock, retries=queue, dynamodb=SlowTable(passes))
    relay.share(bodies.body("incident", 3, status="critical"))
    schedule = Schedule(relay, queue, clock.now + chance.uniform(0, 60))
    while not outage.accepted:
        schedule.step()
    return outage.accepted[0] - outage.ends


def wakes(debts: int) -> float:
    """Return how often a channel's debts wake a worker in a minute of an outage."""
    chance, clock = random.Random(0), Clock()
    queue = DelayedQueue(clock)
    relay = new_relay(samples.refused(503), clock=clock, retries=queue)
    for number in range(debts):
        relay.share(bodies.body(f"incident-{number}", 1, status="critical"))
    began, worked = clock.now, 0
    schedule = Schedule(relay, queue, began + 60)
    while clock.now < began + MINUTES * 60:
        relay.chance = chance.random()
        worked += schedule.step()
    return worked / MINUTES
