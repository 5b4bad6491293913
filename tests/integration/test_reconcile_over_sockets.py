"""Reconcile runs over real sockets: missed shares are found, queued and signalled once."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from relay.jobs.job import Job
from relay.jobs.queue import read_envelope
from relay.ledger.entry import Entry
from relay.ledger.entry_key import key
from relay.reconcile.comparison import SETTLES_SECONDS
from relay.reconcile.reconciler import OVERLAP_SECONDS
from sandbox.server.in_process import Box, running
from tests import samples
from tests.integration.account import Aws
from tests.integration.live import Live

NOW = 1_800_000_000.0
ENVIRONMENT = "63bd"
KEY = "BPU-canary-key"
URL = {"type": "url", "api_key": "url-key-0042"}
REST = {"type": "basic", "username": "asker", "password": "canary-password"}
ALERT = {"alert_id": "a1", "status": "Critical", "description": "disk full", "tags": [{"name": "host", "value": "db1"}]}
SLEEPS: dict[str, Any] = {"folders": ["snoozed"], "snooze": {"snoozed": True, "end_time": int(NOW) + 9_000}}


@pytest.fixture
def live(box: Box, account: Aws) -> Live:
    """The relay with a channel that may read BigPanda, whose first reconcile run was an hour ago."""
    return live_with(box, account)


def live_with(box: Box, account: Aws, **access: Any) -> Live:
    box.bigpanda.let_in(KEY)
    box.bigpanda.declare_incidents(ENVIRONMENT, [])
    box.events.declare(REST)
    policy = {"min_seconds_between_signals": 0, "max_per_minute": 1000}
    known = {"api_key": KEY, "base_url": box.bigpanda.url, "environment_id": ENVIRONMENT, "reconcile": "ring"}
    document = samples.secret(url=box.declare(URL).url, policy=policy, bigpanda=known | access)
    document["xmatters"]["rest"] = {"base_url": box.xmatters_url, "auth": REST}
    account.put_secret("noc", document)

    def sleep(seconds: float) -> None:
        # BigPanda's rate limit counts by seconds of this clock, which only the test moves.
        relay.ahead += seconds

    relay = Live(account, ticks=lambda: NOW, sleep=sleep)
    reconcile_once(relay)
    relay.ahead += 3600
    return relay


def incident(live: Live, name: str = "i1", *, ago: float = 300, **members: Any) -> dict[str, Any]:
    """Return a shared incident in BigPanda's form, changed so many seconds ago; critical by default."""
    status = members.get("status", "Critical")
    plain = {"id": name, "status": status, "active": status != "Ok", "changed_at": int(live.clock() - ago)}
    return plain | {"folders": ["active", "shared"] if status != "Ok" else ["resolved"], "alerts": [ALERT]} | members


def has(box: Box, *incidents: dict[str, Any]) -> None:
    """Give BigPanda these incidents, and no others."""
    box.bigpanda.declare_incidents(ENVIRONMENT, list(incidents))


def share(live: Live, ago: float = 300, **members: Any) -> None:
    """Share an incident that changed so many seconds ago, and assert that the signal is delivered."""
    assert live.share(samples.body(changedOn=int(live.clock() - ago), **members)).outcome == "delivered"


def reconcile_once(live: Live) -> dict[str, Any]:
    """Do a reconcile run; return the members of its result that are not empty."""
    found = live.reconcile().get("noc")
    return {name: value for name, value in found._asdict().items() if value} if found else {}


def reconcile_twice(live: Live) -> dict[str, Any]:
    """Do two reconcile runs, SETTLES_SECONDS apart; return the second's result."""
    reconcile_once(live)
    live.ahead += SETTLES_SECONDS
    return reconcile_once(live)


def kept(live: Live) -> list[Job]:
    """Let the worker process all jobs on the retry queue now, and return them."""
    messages = live.aws.retries.messages()
    records = [{"messageId": each["MessageId"], "body": each["Body"]} for each in messages]
    assert live.worker.work(records) == []
    return [read_envelope(each["Body"]) for each in messages]


def entry(live: Live, name: str = "i1") -> Entry:
    return live.delivery.services.ledger.read(key("noc", (), name))


def transitions(live: Live) -> list[str]:
    """Return the transitions that the worker delivered, in order."""
    lines = [line for line in live.recorder.lines() if line["message"] == "job" and line["kind"] == "signal"]
    return [line["transition"] for line in lines if line["outcome"] == "delivered"]


def asked(box: Box, route: str = "incidents") -> list[dict[str, str]]:
    """Return the queries of all calls of a route, in order."""
    return [dict(call.query) for call in box.bigpanda.calls.all() if call.route == route]


def test_missed_share_is_signalled_once_with_the_webhooks_member_names(box: Box, live: Live) -> None:
    changed = int(live.clock()) - 300
    has(box, incident(live, updated_at=changed + 100))
    assert reconcile_twice(live) == {"compared": 1, "missed": 1}
    [job] = kept(live)
    assert (job.kind, job.version, job.stamps.reason) == ("signal", (changed + 100, changed), "in_flight")
    assert transitions(live) == ["opened"]
    [signal] = box.signals()
    assert signal.body_bytes == job.body
    body = json.loads(job.body)
    assert body["metadata"] == {"environment_id": ENVIRONMENT}
    told = body["incident"]
    assert (told["startedOn"], told["changedOn"], told["updatedOn"]) == (changed, changed, changed + 100)
    assert (told["status"], told["resolved"], told["endedOn"]) == ("critical", False, None)
    assert told["alerts"] == [{"id": "a1", **ALERT}]
    assert asked(box, "incident") == [{"expand": "alerts"}]
    for _ in range(2):
        live.ahead += 300
        assert reconcile_twice(live) == {"compared": 1}
        kept(live)
    assert len(box.attempts()) == 1


def test_share_that_arrives_after_its_reconcile_run_is_not_signalled_again(box: Box, live: Live) -> None:
    changed = int(live.clock()) - 300
    has(box, incident(live))
    reconcile_twice(live)
    kept(live)
    late = samples.body(changedOn=changed, alerts=[{"id": "a1", "status": "critical"}])
    assert live.share(late).outcome in {"duplicate", "unchanged"}
    assert len(box.attempts()) == 1


def test_reconcile_run_passes_the_channels_query_to_bigpanda(box: Box, account: Aws) -> None:
    reconcile_once(live_with(box, account, reconcile_query='team = "ä & b"'))
    assert {query["query"] for query in asked(box)} == {'team = "ä & b"'}
    assert [query["folder"] for query in asked(box)][-3:] == ["snoozed", "shared", "resolved"]


def test_critical_is_signalled_once_when_its_snooze_ends(box: Box, live: Live) -> None:
    share(live, 900)
    has(box, incident(live, ago=800, **SLEEPS))
    for _ in range(3):
        assert reconcile_once(live) == {}
        live.ahead += 300
    has(box, incident(live, ago=1700, updated_at=int(live.clock() - 200)))
    assert reconcile_once(live) == {"compared": 1, "snooze_over": 1}
    kept(live)
    assert transitions(live) == ["reopened"]
    live.ahead += 300
    assert reconcile_twice(live) == {"compared": 1}
    kept(live)
    assert len(box.attempts()) == 2


def test_page_is_terminated_by_a_reconcile_run_after_a_missed_resolve(box: Box, live: Live) -> None:
    share(live, 900)
    live.wake(40)
    assert [event.status for event in box.events.all()] == ["ACTIVE"]
    has(box, incident(live, status="Ok"))
    assert reconcile_twice(live) == {"compared": 1, "missed": 1}
    kept(live)
    live.wake(40)
    assert transitions(live) == ["resolved"]
    assert [event.status for event in box.events.all()] == ["TERMINATED", "ACTIVE"]


def crowd(live: Live, number: int) -> list[dict[str, Any]]:
    """Return so many resolved incidents that are still in the folder of shared ones."""
    return [
        incident(live, f"over-{each}", ago=200 + each / 10, status="Ok", folders=["shared"]) for each in range(number)
    ]


def test_reconcile_run_reads_all_pages_and_lists_only_recently_resolved_incidents(box: Box, live: Live) -> None:
    old = [incident(live, f"old-{each}", ago=86_400 + each, status="Ok") for each in range(230)]
    has(box, *crowd(live, 230), incident(live, ago=600), *old)
    reconcile_twice(live)
    assert [job.incident_id for job in kept(live)] == ["i1"]
    since = str(int(live.clock() - OVERLAP_SECONDS))
    live.ahead += 300
    box.bigpanda.calls.clear()
    reconcile_once(live)
    shared = [query for query in asked(box) if query["folder"] == "shared"]
    assert [(query["page"], query["page_size"]) for query in shared] == [(page, "100") for page in "123"]
    assert {query["sort_by"] for query in asked(box)} == {"last_change"}
    over = [query for query in asked(box) if query["folder"] == "resolved"]
    assert [(query["page"], query["from"]) for query in over] == [("1", since)]


def test_missed_incident_with_300_large_alerts_is_read_whole(box: Box, live: Live) -> None:
    alerts = [ALERT | {"alert_id": f"a{each}", "description": "x" * 2048} for each in range(300)]
    has(box, incident(live, alerts=alerts))
    reconcile_twice(live)
    [job] = kept(live)
    assert len(json.loads(job.body)["incident"]["alerts"]) == 300
    assert transitions(live) == ["opened"]


def test_reconcile_run_keeps_to_five_bigpanda_calls_a_second(account: Aws) -> None:
    lives: list[Live] = []

    def now() -> datetime:
        return datetime.fromtimestamp(lives[0].clock() if lives else NOW, UTC)

    with running(now=now, is_paced=True) as box:
        live = live_with(box, account)
        lives.append(live)
        has(box, *(incident(live, f"i{number}") for number in range(12)))
        reconcile_once(live)
        live.ahead += SETTLES_SECONDS
        began = live.clock()
        assert reconcile_once(live) == {"compared": 12, "missed": 12}
        calls = box.bigpanda.calls.all()
    assert [call.route for call in calls].count("incident") == 12
    assert {call.status for call in calls} == {200}
    assert 2 <= live.clock() - began < 4


@pytest.mark.parametrize(
    ("fault", "reason", "said"),
    [
        ({"kind": "status", "status": 429, "times": 2}, "rate_limited", "HTTP 429"),
        ({"kind": "status", "status": 401}, "credentials", "HTTP 401"),
        ({"kind": "html", "status": 200}, "upstream", "HTTP 200"),
        ({"kind": "reset_body"}, "upstream", "HTTP 200"),
        ({"kind": "reset"}, "unreachable", "ProtocolError"),
    ],
    ids=str,
)
def test_failed_reconcile_run_resolves_nothing_and_the_next_run_catches_up(
    box: Box, live: Live, fault: dict[str, Any], reason: str, said: str
) -> None:
    share(live, 900, id="known")
    live.wake(40)
    has(box, *crowd(live, 100), incident(live, "known", ago=940), incident(live, ago=600))
    before, rang = entry(live, "known"), len(box.attempts())
    reconcile_once(live)
    live.ahead += SETTLES_SECONDS
    # The listing of snoozed incidents and the first page of shared ones are read; the second page fails.
    honest = {"kind": "slow", "seconds": 0, "on": "incidents", "times": 2}
    box.script([honest, fault | {"on": "incidents"}])
    found = reconcile_once(live)
    assert (found.pop("reason"), found.pop("failure").startswith(said)) == (reason, True), found
    # The results of the pages before the fault still count.
    assert found == {"compared": 100}
    assert kept(live) == []
    live.ahead += 300
    assert reconcile_once(live) == {"compared": 102, "missed": 1}
    assert [job.incident_id for job in kept(live) if job.kind == "signal"] == ["i1"]
    assert [signal.incident_id for signal in box.attempts()[rang:]] == ["i1"]
    assert entry(live, "known") == before


def test_reconcile_run_of_an_unknown_environment_fails_and_resolves_nothing(box: Box, account: Aws) -> None:
    live = live_with(box, account, environment_id="gone")
    share(live, 900)
    assert reconcile_once(live) == {"failure": "HTTP 404", "reason": "refused"}
    assert entry(live).announced is not None
    assert len(box.attempts()) == 1
