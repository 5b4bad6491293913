"""Benchmark of a replay of 10,000 dead-lettered messages, in simulated time.

The real library works with two fake queues. A call takes as long as one of SQS, and the batches of several threads
overlap.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any

from bench import bodies
from bench.figures import Aim, Section, measured
from bench.simulated import overlapping
from relay.jobs.job import timestamp
from relay.jobs.queue import Queue, envelope_of
from relayctl.dlq.mover import move
from relayctl.dlq.queue import PARALLEL_BATCHES, DeadLetters
from tests import samples
from tests.fakes import Clock

MESSAGES, INCIDENTS = 10_000, 4_000
ALERTS = 12
CALL_SECONDS = 0.03
RATE = 200.0


class SlowQueue:
    """A fake SQS queue; each call takes CALL_SECONDS."""

    def __init__(self, clock: Clock, messages: Iterable[str] = ()) -> None:
        self._clock = clock
        self.visible = deque((f"m{number}", body) for number, body in enumerate(messages))
        self.taken: dict[str, str] = {}
        self.sent = 0

    def receive_message(self, **request: Any) -> dict[str, Any]:
        self._clock.now += CALL_SECONDS
        found = [self.visible.popleft() for _ in range(min(request["MaxNumberOfMessages"], len(self.visible)))]
        self.taken.update(found)
        return {"Messages": [{"MessageId": name, "ReceiptHandle": name, "Body": body} for name, body in found]}

    def change_message_visibility_batch(self, **request: Any) -> dict[str, Any]:
        return self._done(request)

    def delete_message_batch(self, **request: Any) -> dict[str, Any]:
        for entry in request["Entries"]:
            del self.taken[entry["ReceiptHandle"]]
        return self._done(request)

    def send_message_batch(self, **request: Any) -> dict[str, Any]:
        self.sent += len(request["Entries"])
        return self._done(request)

    def _done(self, request: Any) -> dict[str, Any]:
        self._clock.now += CALL_SECONDS
        return {"Successful": [{"Id": entry["Id"]} for entry in request["Entries"]]}


def section() -> Section:
    """Simulate one replay and return its table."""
    clock = Clock()
    dead, retries = SlowQueue(clock, map(_envelope, range(MESSAGES))), SlowQueue(clock)
    client: Any = dead
    other: Any = retries
    queue = DeadLetters(client, "dead-letters", clock, overlapping(clock, PARALLEL_BATCHES))
    started = clock.now
    with queue.holding():
        found = list(queue.scan())
        began = clock.now
        moved = list(move(queue, Queue(other, "retries"), found, clock, clock.sleep))
    assert (len(moved), retries.sent, len(dead.taken)) == (MESSAGES, MESSAGES, 0)
    ended, aim = clock.now, Aim(RATE, at_least=True)
    rows = [
        measured(f"{MESSAGES} messages: moved a second", "/s", MESSAGES / (ended - began), aim=aim),
        measured("  the scan of the queue included", "/s", MESSAGES / (ended - started), aim=aim),
    ]
    note = (
        f"{MESSAGES} messages of {INCIDENTS} incidents, {PARALLEL_BATCHES} batches at once; each call of SQS takes "
        f"{1000 * CALL_SECONDS:.0f} ms."
    )
    return Section("Replay of dead-lettered messages", rows, (note,))


def _envelope(number: int) -> str:
    incident = f"i{number % INCIDENTS}"
    received_at = timestamp(1_790_000_000 + number)
    body = bodies.body(incident, ALERTS, age=number)
    return envelope_of(samples.job(incident_id=incident, received_at=received_at, body=body))
