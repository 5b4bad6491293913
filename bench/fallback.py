"""Benchmark of the time until the fallback topic is notified while 500 channels' triggers hang, in simulated time.

The real library with the tests' fakes as adapters. No worker runs: only the sweeper notifies the topic.
"""

import json
import random
from typing import Any

from bench import bodies
from bench.figures import Section, measured
from bench.simulated import SlowTable, overlapping
from relay.entrypoints.authenticated_endpoint import INLINE_SECONDS
from relay.http.session import HttpAnswer
from relay.incidents.share import parse_share
from relay.sweeper.run import AT_ONCE
from tests import samples
from tests.fakes import Call, Clock, FakeSecrets, FakeSns, new_relay

CHANNELS, FALLBACK_SECONDS, MINUTE = 500, 300.0, 60.0
XMATTERS_SECONDS, SECRET_SECONDS, TOPIC_SECONDS, TABLE_SECONDS = 5.0, 0.03, 0.03, 0.004
SEEDS = range(3)
# docs/guarantees.md: 90 seconds after the topic is due.
NOTIFIED_MINUTES = 6.5


class _Topic(FakeSns):
    """A topic that notes the first notification of each channel, in seconds of the clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.moments: dict[str, float] = {}

    def publish(self, **message: Any) -> dict[str, str]:
        self._clock.now += TOPIC_SECONDS
        channel = message["MessageAttributes"]["channel"]["StringValue"]
        self.moments.setdefault(channel, self._clock.now)
        return super().publish(**message)


class _Secrets(FakeSecrets):
    """Secrets whose reads take SECRET_SECONDS."""

    def __init__(self, clock: Clock, **texts: str | Exception) -> None:
        super().__init__(**texts)
        self._clock = clock

    def __call__(self, name: str) -> str:
        self._clock.now += SECRET_SECONDS
        return super().__call__(name)


def section() -> Section:
    """Simulate the outages and return the table of notifications."""
    runs = [notified(seed) for seed in SEEDS]
    rows = [
        measured("first channel notified", "min", *(min(run) / 60 for run in runs)),
        measured("last channel notified", "min", max(map(max, runs)) / 60, aim=NOTIFIED_MINUTES),
    ]
    note = (
        f"{CHANNELS} channels whose xMatters hangs, with one critical each that is owed from the same moment; the "
        f"topic is due after {FALLBACK_SECONDS / 60:.0f} min. A secret takes {SECRET_SECONDS * 1000:.0f} ms, the topic "
        f"{TOPIC_SECONDS * 1000:.0f} ms, {AT_ONCE} calls at once; {len(SEEDS)} seeds choose the second of the minute "
        "at which the schedule fires."
    )
    return Section(f"Fallback topic while {CHANNELS} channels hang", rows, (note,))


def notified(seed: int) -> list[float]:
    """Simulate an outage, and return the delay of each channel's notification (seconds).

    The delay is the time from the arrival of the channel's share to the notification of the fallback topic.
    """
    clock, chance = Clock(), random.Random(seed)
    text = json.dumps(samples.secret(policy={"fallback_after_seconds": FALLBACK_SECONDS}))
    names = [f"c{number}" for number in range(CHANNELS)]
    secrets, topic, parallel = _Secrets(clock, **dict.fromkeys(names, text)), _Topic(clock), overlapping(clock, AT_ONCE)

    def hangs(call: Call) -> HttpAnswer:
        clock.now += min(XMATTERS_SECONDS, call.seconds)
        raise TimeoutError

    def passes(_: str) -> None:
        clock.now += TABLE_SECONDS

    relay = new_relay(
        hangs,
        clock=clock,
        secrets=secrets,
        sns=topic,
        dynamodb=SlowTable(passes),
        at_once=lambda calls: parallel(lambda call: call(), calls),
    )
    began = clock.now
    for name in names:
        # All shares arrive at once, each in a function of its own.
        clock.now = began
        body = bodies.body(f"incident-{name}", 1, status="critical")
        channel, deadline = relay.channels.get(name), relay.deadline(INLINE_SECONDS)
        relay.delivery.relay(channel, parse_share(body), body, recipients=(), correlation_id="c", deadline=deadline)
    clock.now = began
    tick = began + chance.uniform(0, MINUTE)
    while len(topic.moments) < CHANNELS:
        clock.now = max(clock.now, tick)
        relay.sweeper.sweep()
        tick += MINUTE
    return [moment - began for moment in topic.moments.values()]
