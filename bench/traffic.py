"""Counts of calls to AWS for a steady flow of owed shares, in simulated time.

The real library runs with the tests' fakes as adapters; DynamoDB's fake counts capacity units as AWS does. An incident
opens, worsens and resolves, and each of the three transitions is owed. Each share leaves a job on the retry queue,
which wakes the worker.
"""

import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from math import ceil
from typing import Any

from bench import bodies
from bench.capacity import item_bytes, read_units, write_units
from bench.functions import Log
from bench.warm import USUAL_ALERTS
from relay.jobs.outcome import Outcome
from tests.fake_dynamodb import FakeDynamoDb
from tests.fakes import Clock, FakeSqs, Relay, new_relay

# About a million a month.
SHARES_A_MINUTE = 23
# Enough for the flow to be steady nearly all of the time: at both ends a read of a secret serves few shares.
INCIDENTS = 1000
STATES = ("warning", "critical", "ok")
STATE_SECONDS = 600
# SQS charges for each 64 KiB of a message.
SQS_REQUEST_BYTES = 64 * 1024


@dataclass(frozen=True)
class Counted:
    """Average use of AWS by one owed share.

    Attributes:
        reads: items read from DynamoDB.
        read_units: read units of them.
        writes: items written to DynamoDB.
        write_units: write units of them.
        sends: messages sent to SQS.
        send_requests: requests that SQS charges for them, one for each 64 KiB.
        jobs: jobs that wake the worker.
        secret_reads: reads of secrets.
    """

    reads: float
    read_units: float
    writes: float
    write_units: float
    sends: float
    send_requests: float
    jobs: float
    secret_reads: float


class MeteredDynamoDb(FakeDynamoDb):
    """A table that counts capacity units."""

    def __init__(self) -> None:
        super().__init__()
        self.units: Counter[str] = Counter()

    def get_item(self, **request: Any) -> Any:
        self._count("read", read_units(self._size(request["Key"])))
        return super().get_item(**request)

    def put_item(self, **request: Any) -> Any:
        return self._written({"pk": request["Item"]["pk"]}, lambda: super(MeteredDynamoDb, self).put_item(**request))

    def update_item(self, **request: Any) -> Any:
        return self._written(request["Key"], lambda: super(MeteredDynamoDb, self).update_item(**request))

    def _written(self, key: Any, write: Callable[[], Any]) -> Any:
        before = self._size(key)
        try:
            return write()
        finally:
            # DynamoDB also charges a write whose condition fails.
            self._count("write", write_units(before, self._size(key)))

    def _count(self, kind: str, units: int) -> None:
        self.units.update({f"{kind}s": 1, f"{kind}_units": units})

    def _size(self, key: Any) -> int:
        return item_bytes(self.items.get(key["pk"]["S"], {}))


class MeteredSqs(FakeSqs):
    """A queue that counts requests as SQS charges them, and keeps the time at which each message becomes visible."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.requests = self.sends = 0
        self.waiting: list[tuple[float, int, str]] = []

    def send_message(self, **message: Any) -> dict[str, str]:
        self.sends += 1
        self.requests += ceil(len(message["MessageBody"]) / SQS_REQUEST_BYTES)
        heappush(self.waiting, (self._clock.now + message["DelaySeconds"], self.sends, message["MessageBody"]))
        return {"MessageId": f"m{self.sends}"}


def counted(incidents: int = INCIDENTS) -> Counted:
    """Simulate so many incidents that open, worsen and resolve; return the averages of a share."""
    with contextlib.redirect_stdout(Log()):
        return _counted(incidents)


def _counted(incidents: int) -> Counted:
    clock, dynamodb = Clock(), MeteredDynamoDb()
    sqs = MeteredSqs(clock)
    relay = new_relay(policy={"min_seconds_between_signals": 15}, clock=clock, retries=sqs, dynamodb=dynamodb)
    seconds, jobs = 60 / SHARES_A_MINUTE, 0
    coming = sorted(
        (clock.now + number * len(STATES) * seconds + place * (STATE_SECONDS + seconds), place, number)
        for number in range(incidents)
        for place in range(len(STATES))
    )
    for moment, place, number in coming:
        jobs += _work_until(relay, sqs, moment)
        content = bodies.body(f"incident-{number}", USUAL_ALERTS, age=place * STATE_SECONDS, status=STATES[place])
        result = relay.share(content)
        assert result.outcome == Outcome.DELIVERED, result
    jobs += _work_until(relay, sqs, clock.now + 3600)
    shares, units = len(coming), dynamodb.units
    return Counted(
        reads=units["reads"] / shares,
        read_units=units["read_units"] / shares,
        writes=units["writes"] / shares,
        write_units=units["write_units"] / shares,
        sends=sqs.sends / shares,
        send_requests=sqs.requests / shares,
        jobs=jobs / shares,
        # Twice, since the webhook and the worker have a cache each, and the simulation has one for both.
        secret_reads=2 * len(relay.secrets.reads) / shares,
    )


def _work_until(relay: Relay, sqs: MeteredSqs, moment: float) -> int:
    """Work each job that becomes visible until a time; return their number."""
    jobs = 0
    while sqs.waiting and sqs.waiting[0][0] <= moment:
        due, number, body = heappop(sqs.waiting)
        relay.clock.now = max(relay.clock.now, due)
        relay.worker.work([{"messageId": str(number), "body": body}])
        jobs += 1
    relay.clock.now = max(relay.clock.now, moment)
    return jobs
