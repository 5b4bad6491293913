"""Benchmark of a replay of 10,000 dead-lettered messages: calls of SQS are counted, memory is measured.

The real library works with two fake queues in simulated time. A call takes as long as one of SQS, and the batches of
several threads overlap.
"""

import tracemalloc
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any

from bench import bodies
from bench.figures import Aim, Section, measured
from relay.jobs.envelope import envelope_of
from relay.jobs.job import timestamp
from relay.jobs.queue import Queue
from relayctl.dlq.mover import PARALLEL_BATCHES, DeadLetterMover
from relayctl.dlq.queue import SPOOL_BYTES, DeadLetters
from tests import samples
from tests.fakes import Clock

MESSAGES, INCIDENTS = 10_000, 4_000
ALERTS = 12
CALL_SECONDS = 0.03
RATE = 200.0
MIB = 1024 * 1024


class SlowQueue:
    """A fake SQS queue; each call takes CALL_SECONDS."""

    def __init__(self, clock: Clock, messages: Iterable[str] = ()) -> None:
        self._clock = clock
        self.visible = deque((f"m{number}", body) for number, body in enumerate(messages))
        self.taken: dict[str, str] = {}
        self.sent = 0
        self.calls: Counter[str] = Counter()

    def receive_message(self, **request: Any) -> dict[str, Any]:
        self._call("receive")
        found = [self.visible.popleft() for _ in range(min(request["MaxNumberOfMessages"], len(self.visible)))]
        self.taken.update(found)
        return {"Messages": [{"MessageId": name, "ReceiptHandle": name, "Body": body} for name, body in found]}

    def change_message_visibility_batch(self, **request: Any) -> dict[str, Any]:
        self._call("renew")
        return {"Successful": [{"Id": entry["Id"]} for entry in request["Entries"]]}

    def delete_message_batch(self, **request: Any) -> dict[str, Any]:
        self._call("delete")
        for entry in request["Entries"]:
            del self.taken[entry["ReceiptHandle"]]
        return {"Successful": [{"Id": entry["Id"]} for entry in request["Entries"]]}

    def send_message_batch(self, **request: Any) -> dict[str, Any]:
        self._call("send")
        self.sent += len(request["Entries"])
        return {"Successful": [{"Id": entry["Id"]} for entry in request["Entries"]]}

    def _call(self, name: str) -> None:
        self.calls[name] += 1
        self._clock.now += CALL_SECONDS


def overlapping(clock: Clock) -> Callable[..., list[Any]]:
    """Return a function like `map` for simulated time.

    Its calls overlap on the simulated clock, as if PARALLEL_BATCHES threads made them.
    """

    def run(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        began, free, results = clock.now, [clock.now] * PARALLEL_BATCHES, []
        for item in items:
            clock.now = min(free)
            thread = free.index(clock.now)
            results.append(function(item))
            free[thread] = clock.now
        clock.now = max([began, *free])
        return results

    return run


def section() -> Section:
    """Simulate one replay and return its table."""
    clock = Clock()
    envelopes = [_envelope(number) for number in range(MESSAGES)]
    dead, retries = SlowQueue(clock, envelopes), SlowQueue(clock)
    size = sum(map(len, envelopes))
    del envelopes
    client: Any = dead
    other: Any = retries
    queue = DeadLetters(client, "dead-letters", clock, overlapping(clock))
    tracemalloc.start()
    started = clock.now
    with queue.holding():
        found = list(queue.scan())
        scanned, began = tracemalloc.get_traced_memory()[1], clock.now
        mover = DeadLetterMover(queue, Queue(other, "retries"), clock, clock.sleep, run=overlapping(clock))
        moved = list(mover.move(found))
    seconds = clock.now - began
    tracemalloc.stop()
    assert (len(moved), retries.sent, len(dead.taken)) == (MESSAGES, MESSAGES, 0)
    calls = dead.calls["delete"] + retries.calls["send"]
    rows = [
        measured(f"{MESSAGES} messages: moved a second", "/s", MESSAGES / seconds, aim=Aim(RATE, at_least=True)),
        measured(
            "  the scan of the queue included",
            "/s",
            MESSAGES / (clock.now - started),
            aim=Aim(RATE, at_least=True),
        ),
        measured("  calls for ten messages", "", 10 * calls / MESSAGES),
        measured("  renewals of holds", "calls", dead.calls["renew"]),
        measured("  peak memory of the scan", "MiB", scanned / MIB),
    ]
    note = (
        f"{MESSAGES} messages of {INCIDENTS} incidents, {size / MIB:.0f} MiB, {PARALLEL_BATCHES} batches at once; "
        f"each call of SQS takes {1000 * CALL_SECONDS:.0f} ms. Envelopes beyond {SPOOL_BYTES // MIB} MiB go to a file."
    )
    return Section("replay", "Replay of dead-lettered messages", rows, (note,))


def _envelope(number: int) -> str:
    incident = f"i{number % INCIDENTS}"
    job = samples.job(
        incident_id=incident,
        version=(float(number), float(number)),
        received_at=timestamp(1_790_000_000 + number),
        dead_lettered_at=timestamp(1_790_000_000 + number + 60),
        body=bodies.body(incident, ALERTS, age=number),
    )
    return envelope_of(job)
