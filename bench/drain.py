"""What happens after an outage, in simulated time: the real library, with fakes of the tests at its edges.

Shares come while xMatters answers 503; when it is back, what waits drains at the pace that the channel allows. One
worker after the other takes what is due, a job at a time as SQS hands it over.
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
from relay.http.session import Answer
from tests import samples
from tests.fake_dynamodb import FakeDynamoDb
from tests.fakes import Call, Clock, FakeSqs, Relay, room

JOBS, CRITICAL, LIMIT = 200, 60, 60
OUTAGE_SECONDS = 600.0
TABLE_SECONDS, XMATTERS_SECONDS = 0.004, 0.2
SEEDS = range(3)


@dataclass(frozen=True)
class Drained:
    """When each signal was accepted, in seconds after the first, and which of them were critical, in that order."""

    moments: list[float]
    critical: list[bool]

    @property
    def rate(self) -> float:
        """Percent of the allowed rate, from the first signal to the last."""
        return 100 * len(self.moments) / self.moments[-1] * 60 / LIMIT

    @property
    def of_fastest(self) -> float:
        """Percent of what nobody could beat: each minute's signals at its very beginning."""
        return 100 * ((len(self.moments) - 1) // LIMIT * 60) / self.moments[-1]

    @property
    def critical_first(self) -> float:
        """Percent of the critical ones that were among as many first signals."""
        among_first = self.critical[: sum(self.critical)]
        return 100 * sum(among_first) / len(among_first)

    @property
    def last_critical(self) -> float:
        """When the last critical one was accepted."""
        return max(moment for moment, critical in zip(self.moments, self.critical, strict=True) if critical)


def section() -> Section:
    """The table of drains; each seed is another outage."""
    runs = [drained(seed) for seed in SEEDS]
    figures = [
        measured("allowed rate reached", "%", *(run.rate for run in runs), aim=Aim(97, at_least=True)),
        measured("  of the fastest possible", "%", *(run.of_fastest for run in runs)),
        measured(f"critical among the first {CRITICAL}", "%", *(run.critical_first for run in runs)),
        measured("last critical, after the first signal", "s", *(run.last_critical for run in runs)),
        measured("last of all, after the first signal", "s", *(run.moments[-1] for run in runs)),
    ]
    note = (
        f"{JOBS} incidents in an outage of {OUTAGE_SECONDS:.0f} s, {CRITICAL} of them critical, {LIMIT} signals a "
        f"minute allowed; simulated time, {len(SEEDS)} seeds. In the fastest drain possible each minute's signals go "
        "out at its very beginning."
    )
    return Section("drain", "Drain after an outage", figures, (note,))


class SlowTable(FakeDynamoDb):
    """A table that takes its time, and with each call gives chance a new value."""

    def __init__(self, called: Callable[[], object]) -> None:
        super().__init__()
        self._passes = called

    def _called(self, name: str) -> None:
        super()._called(name)
        self._passes()


class Queue(FakeSqs):
    """A queue that knows when each message wakes."""

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
        """Return the message that woke first; time passes until one does."""
        due, number, body = heappop(self.waiting)
        self._clock.now = max(self._clock.now, due)
        return [{"messageId": str(number), "body": body}]


@dataclass
class _Outage:
    """xMatters, down until a moment."""

    clock: Clock
    ends: float
    accepted: list[tuple[float, bool]] = field(default_factory=list)

    def __call__(self, call: Call) -> Answer:
        self.clock.now += XMATTERS_SECONDS
        if self.clock.now < self.ends:
            return samples.refused(503)
        self.accepted.append((self.clock.now, b'"status": "critical"' in call.body))
        return samples.accepted()


def drained(seed: int) -> Drained:
    """Let an outage come and go."""
    with contextlib.redirect_stdout(Log()):
        return _drained(seed)


def _drained(seed: int) -> Drained:
    chance, clock = random.Random(seed), Clock()
    outage, sqs = _Outage(clock, clock.now + OUTAGE_SECONDS), Queue(clock)

    def passes() -> None:
        clock.now += TABLE_SECONDS
        relay.chance = chance.random()

    policy = {"max_per_minute": LIMIT}
    relay: Relay = room(outage, policy=policy, clock=clock, retries=sqs, dynamodb=SlowTable(passes))
    shares = ["critical"] * CRITICAL + ["warning"] * (JOBS - CRITICAL)
    chance.shuffle(shares)
    coming = sorted((clock.now + chance.uniform(0, OUTAGE_SECONDS), number) for number in range(JOBS))
    while coming or sqs.waiting:
        if coming and (not sqs.waiting or coming[0][0] <= sqs.waiting[0][0]):
            moment, number = coming.pop(0)
            clock.now = max(clock.now, moment)
            relay.share(bodies.body(f"incident-{number}", 3, status=shares[number]))
        else:
            relay.worker.work(sqs.due())
    first = outage.accepted[0][0]
    return Drained([moment - first for moment, _ in outage.accepted], [critical for _, critical in outage.accepted])
