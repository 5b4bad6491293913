"""Benchmark of the time until the fallback topic is notified while 500 channels' triggers hang, in simulated time.

The real library with the tests' fakes as adapters. No worker runs: only the sweeper notifies the topic.
"""

import contextlib
import json
import random
from collections.abc import Callable, Sequence
from copy import replace
from typing import Any

from bench import bodies
from bench.drain import SlowTable
from bench.figures import Aim, Section, measured
from bench.functions import Log
from relay.http.session import HttpAnswer
from relay.incidents.share import parse_share
from relay.sweeper.run import AT_ONCE
from tests import samples
from tests.fakes import Call, Clock, FakeSecrets, FakeSns, Relay, new_relay

CHANNELS, FALLBACK_SECONDS, MINUTE = 500, 300.0, 60.0
XMATTERS_SECONDS, SECRET_SECONDS, TOPIC_SECONDS, TABLE_SECONDS = 5.0, 0.03, 0.03, 0.004
SEEDS = range(5)
NOTIFIED_SECONDS, NOTIFIED_LATE_SECONDS = 6.5 * 60, 7.5 * 60


def section() -> Section:
    """Simulate the outages and return the table of notifications."""
    with contextlib.redirect_stdout(Log()):
        in_time = [notified(seed, late=0.0) for seed in SEEDS]
        late = [notified(seed, late=MINUTE) for seed in SEEDS]
    rows = [
        measured("first channel notified", "min", *(min(run) / 60 for run in in_time)),
        measured("last channel notified", "min", max(map(max, in_time)) / 60, aim=Aim(NOTIFIED_SECONDS / 60)),
        measured("  schedule a minute late", "min", max(map(max, late)) / 60, aim=Aim(NOTIFIED_LATE_SECONDS / 60)),
    ]
    note = (
        f"{CHANNELS} channels whose xMatters hangs, with one critical each that is owed from the same moment; the "
        f"topic is due after {FALLBACK_SECONDS / 60:.0f} min. A secret takes {SECRET_SECONDS * 1000:.0f} ms, the topic "
        f"{TOPIC_SECONDS * 1000:.0f} ms, {AT_ONCE} calls at once; {len(SEEDS)} seeds choose the second of the minute "
        "at which the schedule fires."
    )
    return Section("fallback", "Fallback topic while 500 channels hang", rows, (note,))


class _Parallel:
    """Concurrent calls in batches of AT_ONCE: the clock moves to the end of the longest call of each batch."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__[T](self, calls: Sequence[Callable[[], T]]) -> list[T]:
        results: list[T] = []
        for start in range(0, len(calls), AT_ONCE):
            began = end = self._clock.now
            for call in calls[start : start + AT_ONCE]:
                self._clock.now = began
                results.append(call())
                end = max(end, self._clock.now)
            self._clock.now = end
        return results


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


def notified(seed: int, *, late: float) -> list[float]:
    """Simulate an outage, and return the delay of each channel's notification (seconds).

    The delay is the time from the arrival of the channel's share to the notification of the fallback topic. The
    schedule starts the sweeper up to `late` seconds late.
    """
    clock, chance = Clock(), random.Random(seed)
    names = [f"c{number}" for number in range(CHANNELS)]
    text = json.dumps(samples.secret(policy={"fallback_after_seconds": FALLBACK_SECONDS}))
    secrets, topic = _Secrets(clock, **dict.fromkeys(names, text)), _Topic(clock)

    def hangs(call: Call) -> HttpAnswer:
        clock.now += min(XMATTERS_SECONDS, call.seconds)
        raise TimeoutError

    def passes() -> None:
        clock.now += TABLE_SECONDS

    relay = new_relay(hangs, clock=clock, secrets=secrets, sns=topic, dynamodb=SlowTable(passes))
    began = clock.now
    for name in names:
        # All shares arrive at once, each in a function of its own.
        clock.now = began
        _share(relay, name)
    at_once, sweeper = _Parallel(clock), relay.sweeper
    policies = replace(sweeper.policies, at_once=at_once)
    notifier = replace(sweeper.notifier, policies=policies, at_once=at_once)
    bells = replace(sweeper.bells, policies=policies)
    relay.sweeper = replace(sweeper, policies=policies, notifier=notifier, bells=bells)
    clock.now = began
    tick = began + chance.uniform(0, MINUTE)
    while len(topic.moments) < CHANNELS:
        clock.now = max(clock.now, tick + chance.uniform(0, late))
        relay.sweeper.sweep()
        tick += MINUTE
    return [moment - began for moment in topic.moments.values()]


def _share(relay: Relay, name: str) -> None:
    body = bodies.body(f"incident-{name}", 1, status="critical")
    channel = relay.channels.get(name)
    share = parse_share(body)
    relay.delivery.relay(channel, share, body, recipients=(), correlation_id="c", deadline=relay.deadline(8.0))
