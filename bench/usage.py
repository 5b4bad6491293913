"""Use of AWS by the library's functions: calls, capacity units and log lines, counted with the tests' fakes.

Capacity units follow "DynamoDB item sizes and formats" and "capacity unit consumption" in AWS's developer guide.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from heapq import heappop, heappush
from math import ceil
from types import SimpleNamespace
from typing import Any, Self

from relay.channels.authentication import Request
from tests.fake_dynamodb import FakeDynamoDb, size
from tests.fakes import Clock, FakeSqs, Step, new_relay

READ_UNIT_BYTES, WRITE_UNIT_BYTES = 4096, 1024
# SQS charges for each 64 KiB of a message.
SQS_REQUEST_BYTES = 64 * 1024
CONTEXT = SimpleNamespace(aws_request_id="00000000-0000-4000-8000-000000000000")


@dataclass(frozen=True)
class Usage:
    """Average use of AWS by one run of a function.

    Queries need not be consistent: their read units cost half (`half_read_units`). The index is in `write_units`. The
    log is that of lines and metrics, without Lambda's own lines.
    """

    aws_calls: float = 0
    read_units: float = 0
    half_read_units: float = 0
    write_units: float = 0
    sqs_requests: float = 0
    secret_reads: float = 0
    log_bytes: float = 0
    log_lines: float = 0

    @classmethod
    def mean(cls, runs: Iterable[Counter[str]]) -> Self:
        each = list(runs)
        return cls(**{field.name: sum(run[field.name] for run in each) / len(each) for field in fields(cls)})


class DelayedQueue(FakeSqs):
    """A queue that keeps each message with the time at which it becomes visible. A call takes `seconds`."""

    def __init__(self, clock: Clock, seconds: float = 0.0) -> None:
        super().__init__()
        self._clock = clock
        self._seconds = seconds
        # Time at which each message was sent.
        self.sent: list[float] = []
        # Time at which each message becomes visible, its number, and its body.
        self.waiting: list[tuple[float, int, str]] = []

    def send_message(self, **message: Any) -> dict[str, str]:
        self._clock.now += self._seconds
        self.sent.append(self._clock.now)
        heappush(self.waiting, (self._clock.now + message["DelaySeconds"], len(self.sent), message["MessageBody"]))
        return {"MessageId": f"m{len(self.sent)}"}

    @property
    def next_at(self) -> float:
        """Time at which the next message becomes visible; infinite if there is none."""
        return self.waiting[0][0] if self.waiting else float("inf")

    def due(self) -> list[dict[str, Any]]:
        """Return the next message, after moving the clock to the time at which it becomes visible."""
        due, number, body = heappop(self.waiting)
        self._clock.now = max(self._clock.now, due)
        return [{"messageId": str(number), "body": body}]


class MeteredTable(FakeDynamoDb):
    """A table that counts capacity units, those of its index included."""

    def __init__(self) -> None:
        super().__init__()
        self.units: Counter[str] = Counter()

    def get_item(self, **request: Any) -> Any:
        item = self.items.get(request["Key"]["pk"]["S"], {})
        self.units.update(read_units=max(1, ceil(size(item) / READ_UNIT_BYTES)))
        return super().get_item(**request)

    def query(self, **request: Any) -> Any:
        found = super().query(**request)
        self.units.update(half_read_units=max(1, ceil(sum(map(size, found["Items"])) / READ_UNIT_BYTES)))
        return found

    def put_item(self, **request: Any) -> Any:
        return self._written(request["Item"]["pk"]["S"], lambda: super(MeteredTable, self).put_item(**request))

    def update_item(self, **request: Any) -> Any:
        return self._written(request["Key"]["pk"]["S"], lambda: super(MeteredTable, self).update_item(**request))

    def _written(self, key: str, write: Callable[[], Any]) -> Any:
        before = dict(self.items.get(key, {}))
        try:
            return write()
        finally:
            # DynamoDB also charges a write whose condition fails.
            after = self.items.get(key, {})
            self.units.update(write_units=_write_units(before, after) + _index_units(before, after))


def _write_units(*items: dict[str, Any]) -> int:
    """Return the units of a write: the larger of the item before and the item after it counts."""
    return max(1, ceil(max(map(size, items)) / WRITE_UNIT_BYTES))


def _index_units(before: dict[str, Any], after: dict[str, Any]) -> int:
    """Return the units of the index: a row that moves costs a delete and a put."""
    rows = [item for item in (before, after) if "due" in item]
    places = {(item["due"]["S"], item["due_at"]["N"]) for item in rows}
    return len(places) * _write_units(*rows) if rows and before != after else 0


class MeteredRelay:
    """A relay with metered adapters. `steps` and `changes` are those of `new_relay`."""

    def __init__(self, *steps: Step, **changes: Any) -> None:
        self.clock, self.table = Clock(), MeteredTable()
        self.queue = DelayedQueue(self.clock)
        self.relay = new_relay(*steps, clock=self.clock, dynamodb=self.table, retries=self.queue, **changes)
        instrument = self.relay.recorder.telemetry.instrument
        self._handler = instrument(lambda event, _: {"answer": event["work"]()})

    def run(self, work: Callable[[], object]) -> Counter[str]:
        """Run a function's work once as Lambda does; return what it used, by the names of Usage."""
        relay, out = self.relay, self.relay.recorder.out
        self.table.units.clear()
        secrets, asked, sent = len(relay.secrets.reads), self._asked(), len(self.queue.sent)
        calls = len(self.table.calls)
        out.seek(0)
        out.truncate()
        with contextlib.redirect_stdout(out):
            self._handler({"work": work}, CONTEXT)
        text, asked = out.getvalue(), self._asked() - asked
        bodies = [body for _, number, body in self.queue.waiting if number > sent]
        used = Counter(self.table.units)
        used.update(
            aws_calls=len(self.table.calls) - calls + len(self.queue.sent) - sent + asked,
            sqs_requests=asked + sum(map(_sqs_requests, bodies)),
            secret_reads=len(relay.secrets.reads) - secrets,
            log_bytes=len(text),
            log_lines=text.count("\n"),
        )
        return used

    def serve(self, request: Request) -> Counter[str]:
        return self.run(lambda: self.relay.webhook.serve(request))

    def wake(self) -> Counter[str]:
        """Run the job worker with the next message of the retry queue, after the wait for it; return what it used."""
        [record] = records = self.queue.due()
        used = self.run(lambda: self.relay.worker.work(records))
        # The message is received and deleted.
        used["sqs_requests"] += _sqs_requests(record["body"]) + 1
        return used

    def _asked(self) -> int:
        return self.relay.retries.asked + self.relay.dead_letters.asked


def _sqs_requests(body: str) -> int:
    return ceil(len(body) / SQS_REQUEST_BYTES)
