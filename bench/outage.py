"""Benchmark of one critical's recovery after an outage, and of a burst into one channel.

Time is simulated and write units are counted, by the real library with the tests' fakes as adapters.
"""

import contextlib
import random
from collections import Counter
from typing import Any

from bench import bodies
from bench.capacity import item_bytes, write_units
from bench.drain import Queue, Schedule, SlowTable
from bench.figures import Aim, Section, measured
from bench.functions import Log
from bench.stranger import WORKERS
from relay.http.session import HttpAnswer
from tests import samples
from tests.fake_dynamodb import FakeDynamoDb
from tests.fakes import Call, Clock, FakeSqs, Relay, new_relay

# Number of outages with one critical each; shortest and longest outage in seconds.
OUTAGES, SHORTEST_OUTAGE, LONGEST_OUTAGE = 60, 20 * 60.0, 42 * 60.0
XMATTERS_SECONDS = 0.2
# Shares a second into one channel, seconds of the burst, concurrent functions, and signals a minute allowed.
BURST, BURST_SECONDS, FUNCTIONS, LIMIT = 100, 30, 20, 60
RECOVERED_SECONDS = 120.0
# Debts of a channel whose circuit is open, minutes that are counted, and seconds that a wake is assumed to take.
DEBTS, MINUTES, JOB_SECONDS = 100, 10, 0.05
# Aim: a fifth of the 1,000 write units a second that DynamoDB takes on one key.
KEY_UNITS = 200.0


def section() -> Section:
    """Simulate outages and a burst, and return their table."""
    with contextlib.redirect_stdout(Log()):
        waits = [recovered(seed) for seed in range(OUTAGES)]
        units, signals = burst()
        often = wakes()
    rows = [
        measured("critical accepted after recovery, median", "s", *waits, aim=Aim(RECOVERED_SECONDS)),
        measured("  at the latest", "s", max(waits), aim=Aim(RECOVERED_SECONDS)),
        measured(f"{BURST} shares a second: writes of the hottest key", "WU/s", units, aim=Aim(KEY_UNITS)),
        measured("  signals in the busiest minute", "", signals, aim=Aim(LIMIT)),
        measured(f"open circuit: wakes of a channel with {DEBTS} debts", "/min", often),
        measured(f"  channels that {WORKERS} workers keep up with", "", WORKERS * 60 / JOB_SECONDS / often),
    ]
    note = (
        f"{OUTAGES} outages of {SHORTEST_OUTAGE / 60:.0f} to {LONGEST_OUTAGE / 60:.0f} min of 503, each with one owed "
        f"critical. The burst lasts {BURST_SECONDS} s, through {FUNCTIONS} functions, into one channel with {LIMIT} "
        "signals a minute. WU/s: write units in the busiest second of the busiest key. A wake is assumed to take "
        f"{JOB_SECONDS * 1000:.0f} ms."
    )
    return Section("outage", "Recovery of one critical, and a burst into one channel", rows, (note,))


def recovered(seed: int) -> float:
    """Return the seconds from xMatters' recovery to the acceptance of the one owed critical."""
    chance, clock = random.Random(seed), Clock()
    ends = clock.now + chance.uniform(SHORTEST_OUTAGE, LONGEST_OUTAGE)
    accepted: list[float] = []

    def xmatters(_: Call) -> HttpAnswer:
        clock.now += XMATTERS_SECONDS
        if clock.now < ends:
            return samples.refused(503)
        accepted.append(clock.now)
        return samples.accepted()

    def passes() -> None:
        relay.chance = chance.random()

    queue = Queue(clock)
    relay = new_relay(xmatters, clock=clock, retries=queue, dynamodb=SlowTable(passes))
    relay.share(bodies.body("incident", 3, status="critical"))
    schedule = Schedule(relay, queue, clock, clock.now + chance.uniform(0, 60))
    while not accepted:
        schedule.step()
    return accepted[0] - ends


def wakes() -> float:
    """Return how often the debts of a channel wake a worker in a minute of an outage."""
    chance, clock = random.Random(0), Clock()
    queue = Queue(clock)
    relay = new_relay(samples.refused(503), clock=clock, retries=queue)
    for number in range(DEBTS):
        relay.share(bodies.body(f"incident-{number}", 1, status="critical"))
    began, worked = clock.now, 0
    schedule = Schedule(relay, queue, clock, began + 60)
    while clock.now < began + MINUTES * 60:
        relay.chance = chance.random()
        worked += schedule.step()
    return worked / MINUTES


class _Metered(FakeDynamoDb):
    """A table that counts write units by key and second."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.units: Counter[tuple[str, int]] = Counter()

    def put_item(self, **request: Any) -> Any:
        return self._metered(request["Item"]["pk"]["S"], super().put_item, request)

    def update_item(self, **request: Any) -> Any:
        return self._metered(request["Key"]["pk"]["S"], super().update_item, request)

    def _metered(self, key: str, write: Any, request: Any) -> Any:
        before = self.items.get(key, {})
        try:
            return write(**request)
        finally:
            after, second = self.items.get(key, {}), int(self._clock.now)
            self.units[key, second] += write_units(item_bytes(before), item_bytes(after))
            # The index is metered like a table: a row that moves costs a delete and a put.
            places = [(item.get("due"), item.get("due_at")) for item in (before, after)]
            for item, (shard, at) in zip((before, after), places, strict=True):
                if shard and at and places[0] != places[1]:
                    self.units[f"index {shard['S']}", second] += write_units(0, item_bytes(item))


def burst() -> tuple[float, float]:
    """Simulate a burst; return write units of the busiest key's busiest second, and signals of the busiest minute."""
    clock = Clock()
    table, rings = _Metered(clock), list[float]()

    def xmatters(_: Call) -> HttpAnswer:
        rings.append(clock.now)
        return samples.accepted()

    first = new_relay(xmatters, policy={"max_per_minute": LIMIT}, clock=clock, dynamodb=table, retries=FakeSqs())
    functions: list[Relay] = [first, *(first.other(xmatters) for _ in range(FUNCTIONS - 1))]
    began = clock.now
    for number in range(BURST * BURST_SECONDS):
        clock.now = max(clock.now, began + number / BURST)
        functions[number % FUNCTIONS].share(bodies.body(f"incident-{number}", 1, status="warning"))
    busiest = max(sum(start <= ring < start + 60 for ring in rings) for start in rings)
    return float(max(table.units.values())), float(busiest)
