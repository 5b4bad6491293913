"""Benchmark of reconcile runs of many channels, in simulated time: the real library with slow fakes as adapters."""

import contextlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from bench.figures import Aim, Section, measured
from bench.functions import Log
from relay.entrypoints.authenticated_endpoint import INLINE_SECONDS
from relay.http.session import HttpAnswer
from relay.incidents.share import parse_share
from relay.jobs.outcome import Found
from relay.reconcile.comparison import SETTLES_SECONDS
from relay.reconcile.history import ChannelHistory, History
from relay.reconcile.plan import listing_name
from tests import samples
from tests.fake_dynamodb import FakeDynamoDb
from tests.fakes import Call, Clock, FakeSecrets, FakeSession, FakeSqs, Relay

CHANNELS, EACH, MISSED = 500, 10, 1_000
# Seconds of one call.
BIGPANDA_SECONDS, SQS_SECONDS, SECRET_SECONDS = 0.3, 0.02, 0.02
TABLE_SECONDS: dict[str, float] = {"batch_get_item": 0.02}
ITEM_SECONDS = 0.006


class _Table(FakeDynamoDb):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.counts: Counter[str] = Counter()

    def _called(self, name: str) -> None:
        self.counts[name] += 1
        self._clock.now += TABLE_SECONDS.get(name, ITEM_SECONDS)


class _Queue(FakeSqs):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.moments: list[float] = []

    def send_message(self, **message: Any) -> dict[str, str]:
        self._clock.now += SQS_SECONDS
        self.moments.append(self._clock.now)
        return super().send_message(**message)


class _Secrets(FakeSecrets):
    def __init__(self, clock: Clock, texts: dict[str, str]) -> None:
        super().__init__(**texts)
        self._clock = clock

    def __call__(self, name: str) -> str:
        self._clock.now += SECRET_SECONDS
        return super().__call__(name)


class _Scene:
    """A relay whose channels share one BigPanda key, and a BigPanda with incidents for each query."""

    def __init__(self, queries: Iterable[str], incidents: Callable[[str], list[dict[str, Any]]]) -> None:
        clock = Clock()
        self.clock, self.incidents, self.calls = clock, incidents, Counter[str]()
        self.table, self.retries = _Table(clock), _Queue(clock)
        self.channels = {f"c{number:03}": query for number, query in enumerate(queries)}
        texts = {name: json.dumps(_secret(query)) for name, query in self.channels.items()}
        self.relay = Relay(
            FakeSession(samples.accepted("r1")),
            secrets=_Secrets(clock, texts),
            bigpanda=FakeSession(self._answer),
            clock=clock,
            dynamodb=self.table,
            retries=self.retries,
        )
        histories: dict[str, History] = defaultdict(History)
        for name in self.channels:
            known = self.relay.channels.get(name).bigpanda
            assert known
            earlier = ChannelHistory(clock.now - 86_400, clock.now - 300)
            histories[listing_name(known, "e")].channels[name] = earlier
        for listing, history in histories.items():
            history.write(self.relay.table, listing)

    def _answer(self, call: Call) -> HttpAnswer:
        self.clock.now += BIGPANDA_SECONDS
        parts = urlsplit(call.url)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if "folder" not in query:
            self.calls["incident"] += 1
            return HttpAnswer(200, {}, json.dumps(_incident(parts.path.rpartition("/")[2], self.clock.now)).encode())
        self.calls["incidents"] += 1
        found = self.incidents(query["query"]) if query["folder"] == "shared" else []
        size = int(query["page_size"])
        start = (int(query["page"]) - 1) * size
        return HttpAnswer(200, {}, json.dumps({"items": found[start : start + size], "total": len(found)}).encode())

    def run(self) -> tuple[float, list[Found]]:
        """Make a run; return the seconds that it took, and the result of each group of channels."""
        self.table.counts.clear()
        self.calls.clear()
        began = self.clock.now
        ran = self.relay.reconciler.run()
        return self.clock.now - began, [each.found for each in ran]


def section() -> Section:
    """Simulate runs and return their table."""
    with contextlib.redirect_stdout(Log()):
        own, shared, missed = (
            _of_many(f"team = {number}" for number in range(CHANNELS)),
            _of_many(["a"] * CHANNELS),
            _missed(),
        )
    name, every = f"{CHANNELS} channels", Aim(CHANNELS, at_least=True)
    rows = [
        measured(f"{name} with a query each: compared", "channels", own[1], aim=every),
        measured("  until the last is compared", "s", own[0]),
        measured("  calls to BigPanda for each", "", own[2]),
        measured(f"{name} with one query: compared", "channels", shared[1], aim=every),
        measured("  until the last is compared", "s", shared[0]),
        measured("  calls to BigPanda for all", "", shared[2] * CHANNELS),
        measured(f"{MISSED} missed incidents: all queued", "s", missed[0], aim=Aim(120)),
        measured("  all criticals queued", "s", missed[1]),
        measured("  criticals before all others", "%", missed[2], aim=Aim(100, at_least=True)),
        measured("  calls to BigPanda", "", missed[3]),
    ]
    note = (
        f"All channels have one key of BigPanda; simulated time. BigPanda takes "
        f"{BIGPANDA_SECONDS * 1e3:.0f} ms a call and 5 calls a second, SQS {SQS_SECONDS * 1e3:.0f} ms, DynamoDB "
        f"{ITEM_SECONDS * 1e3:.0f} ms, a batch {TABLE_SECONDS['batch_get_item'] * 1e3:.0f} ms, a secret "
        f"{SECRET_SECONDS * 1e3:.0f} ms. BigPanda's rate limit alone makes {3 * CHANNELS / 5:.0f} s of {CHANNELS} "
        "listings of three calls."
    )
    return Section("reconcile", "Reconcile runs", rows, (note,))


def _of_many(queries: Iterable[str]) -> tuple[float, int, float]:
    """Simulate reconcile runs of many channels, one channel for each query. No share of an incident was missed.

    Return three figures: seconds until all runs have ended; number of channels that were compared completely; calls to
    BigPanda per channel.
    """
    made: dict[str, list[dict[str, Any]]] = {}

    def incidents(query: str) -> list[dict[str, Any]]:
        return made[query]

    scene = _Scene(queries, incidents)
    for query in set(scene.channels.values()):
        made[query] = [_incident(f"{query[7:]}-{number}", scene.clock.now - 600) for number in range(EACH)]
    for name, query in scene.channels.items():
        for each in made[query]:
            body = samples.body(id=each["id"], status="critical", changedOn=each["changed_at"])
            scene.relay.delivery.relay(
                scene.relay.channels.get(name),
                parse_share(body),
                body,
                recipients=(),
                correlation_id="c1",
                deadline=scene.relay.deadline(INLINE_SECONDS),
            )
    seconds, found = scene.run()
    assert all(each.failure is None and not each.missed for each in found)
    groups = len(set(scene.channels.values()))
    compared = CHANNELS // groups * sum(each.compared == EACH for each in found)
    return seconds, compared, scene.calls["incidents"] / CHANNELS


def _missed() -> tuple[float, float, float, float]:
    """Simulate reconcile runs of one channel that got no share of any incident.

    Return four figures: seconds until the signals of all incidents are queued; seconds until those of all critical
    incidents are queued; percentage of critical incidents queued before all others; calls to BigPanda.
    """
    made: list[dict[str, Any]] = []
    scene = _Scene(["a"], lambda _: made)
    made += [_incident(f"i{number}", scene.clock.now - 300, number % 4 == 0) for number in range(MISSED)]
    scene.run()
    scene.clock.now += SETTLES_SECONDS
    began, scene.retries.moments = scene.clock.now, []
    _, found = scene.run()
    assert [each.missed for each in found] == [MISSED]
    status = [job.stamps.status for job in scene.retries.jobs()]
    criticals = status.count("critical")
    in_time = 100 * status[:criticals].count("critical") / criticals
    moments = scene.retries.moments
    return moments[-1] - began, moments[criticals - 1] - began, in_time, sum(scene.calls.values())


def _secret(query: str) -> dict[str, Any]:
    access = {"api_key": "BPU-1", "environment_id": "e", "reconcile": "ring", "reconcile_query": query}
    policy = {"min_seconds_between_signals": 0, "max_per_minute": 1000}
    return samples.secret(bigpanda=access, policy=policy)


def _incident(name: str, changed_at: float, is_critical: bool = True) -> dict[str, Any]:
    stamp, status = int(changed_at), "Critical" if is_critical else "Warning"
    plain = {"id": name, "status": status, "active": True, "shared": True, "snooze": {"snoozed": False}}
    return plain | {"changed_at": stamp, "updated_at": stamp, "alerts": [{"alert_id": f"a-{name}"}]}
