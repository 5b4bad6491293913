"""Benchmark of a reconcile run that compares 3,000 open incidents, 1,000 of them missed, in simulated time."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from bench.figures import Figure, Section
from bench.usage import DelayedQueue
from relay.http.session import HttpAnswer
from relay.jobs.queue import read_envelope
from relay.reconcile.comparison import SETTLES_SECONDS
from relay.reconcile.ownership import Learnt
from tests import samples
from tests.fake_dynamodb import FakeDynamoDb
from tests.fakes import Call, Clock, FakeSession, Relay, secrets_of

KNOWN, MISSED, LIMIT = 2_000, 1_000, 1_000
WEBHOOK = "webhook.noc"
# Seconds of one call.
BIGPANDA_SECONDS, SQS_SECONDS, ITEM_SECONDS, BATCH_SECONDS = 0.3, 0.02, 0.006, 0.02
# docs/guarantees.md has these numbers. Each missed incident costs a call: with whom was it shared?
QUEUED_SECONDS, CRITICALS_SECONDS = 360.0, 120.0


class _BigPanda:
    """BigPanda with incidents of which all are open and shared."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.incidents: list[dict[str, Any]] = []
        self.calls = 0

    def __call__(self, call: Call) -> HttpAnswer:
        self._clock.now += BIGPANDA_SECONDS
        self.calls += 1
        url = urlsplit(call.url)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path.endswith("/activities"):
            document: Any = [{"type": "incident_shared", "params": {"share_target": WEBHOOK}}]
        elif "folder" in query:
            found = self.incidents if query["folder"] == "shared" else []
            size, page = int(query["page_size"]), int(query["page"])
            document = {"items": found[(page - 1) * size : page * size], "total": len(found)}
        else:
            document = next(each for each in self.incidents if url.path.endswith(f"/{each['id']}"))
        return HttpAnswer(200, {}, json.dumps(document).encode())


class _SlowTable(FakeDynamoDb):
    """A table whose calls move the clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def _called(self, name: str) -> None:
        super()._called(name)
        self._clock.now += BATCH_SECONDS if name == "batch_get_item" else ITEM_SECONDS


def section() -> Section:
    """Simulate the run in which the missed incidents are queued, and return the table."""
    clock = Clock()
    bigpanda, queue = _BigPanda(clock), DelayedQueue(clock, SQS_SECONDS)

    access = {"api_key": "BPU-1", "environment_id": "e", "reconcile": "ring"}
    relay = Relay(
        FakeSession(samples.accepted("r1")),
        secrets=secrets_of(bigpanda=access, policy={"min_seconds_between_signals": 0, "max_per_minute": LIMIT}),
        bigpanda=FakeSession(bigpanda),
        clock=clock,
        dynamodb=_SlowTable(clock),
        retries=queue,
    )
    Learnt((WEBHOOK,), clock.now).store(relay.table, "noc")
    # Changes before a channel's first run are ignored.
    relay.reconcile()
    clock.now += SETTLES_SECONDS
    changed_at = int(clock.now)
    bigpanda.incidents = [_incident(number, changed_at) for number in range(KNOWN + MISSED)]
    for each in bigpanda.incidents[MISSED:]:
        clock.now += 60 / LIMIT
        relay.share(id=each["id"], status=each["status"].lower(), changedOn=changed_at)
    clock.now += SETTLES_SECONDS
    relay.reconcile()
    # A difference must be seen in two runs.
    clock.now += SETTLES_SECONDS
    began, bigpanda.calls, queue.sent, queue.waiting = clock.now, 0, [], []
    [found] = relay.reconcile().values()
    assert (found["compared"], found["missed"], "failure" in found) == (KNOWN + MISSED, MISSED, False), found
    jobs = sorted((number, read_envelope(body)) for _, number, body in queue.waiting)
    status = [json.loads(job.body)["incident"]["status"] for _, job in jobs]
    criticals = status.count("critical")
    assert set(status[:criticals]) == {"critical"}, "a warning was queued before a critical"
    rows = [
        Figure("the run", "s", [clock.now - began]),
        Figure("  calls to BigPanda", "", [bigpanda.calls]),
        Figure(f"{MISSED} missed incidents: all queued", "s", [queue.sent[-1] - began], aim=QUEUED_SECONDS),
        Figure("  their criticals, which go first", "s", [queue.sent[criticals - 1] - began], aim=CRITICALS_SECONDS),
    ]
    note = (
        f"{KNOWN + MISSED} open incidents, {MISSED} of them without a share. BigPanda takes "
        f"{BIGPANDA_SECONDS * 1e3:.0f} ms a call, SQS {SQS_SECONDS * 1e3:.0f} ms, DynamoDB {ITEM_SECONDS * 1e3:.0f} "
        f"ms, a batch {BATCH_SECONDS * 1e3:.0f} ms."
    )
    return Section("Reconcile run", rows, (note,))


def _incident(number: int, changed_at: int) -> dict[str, Any]:
    status = "Warning" if number % 4 else "Critical"
    plain = {"id": f"i{number}", "status": status, "active": True, "shared": True, "snooze": {"snoozed": False}}
    return plain | {"changed_at": changed_at, "updated_at": changed_at, "alerts": [{"alert_id": f"a{number}"}]}
