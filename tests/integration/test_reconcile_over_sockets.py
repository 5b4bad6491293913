"""Reconcile runs over real sockets: missed shares are found, queued and signalled once."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from relay.jobs.job import Job
from relay.jobs.queue import read_envelope
from relay.ledger.table import Table
from relay.reconcile.comparison import SETTLES_SECONDS
from relay.reconcile.ownership import Learnt
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
    Learnt(("webhook.sandbox",), NOW + 3600).store(Table(account.dynamodb, account.table, relay.clock), "noc")
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


def test_name_of_the_webhook_is_learnt_from_a_share_that_came(box: Box, live: Live) -> None:
    Learnt().store(Table(live.aws.dynamodb, live.aws.table, live.clock), "noc")
    share(live, 900)
    kept(live)
    shared = incident(live, "i1", ago=900), incident(live, "i2")
    has(box, *shared)
    box.bigpanda.live.sharing.turn_away(is_elsewhere=True)
    has(box, *shared, incident(live, "of others"))
    assert reconcile_twice(live) == {"compared": 3, "missed": 1}
    assert [job.incident_id for job in kept(live)][-1:] == ["i2"]
    assert asked(box, "activities")[0] == {"types": "incident_shared", "page": "1", "per_page": "20"}


def test_share_that_arrives_after_its_reconcile_run_is_not_signalled_again(box: Box, live: Live) -> None:
    changed = int(live.clock()) - 300
    has(box, incident(live))
    reconcile_twice(live)
    kept(live)
    late = samples.body(changedOn=changed, alerts=[{"id": "a1", "status": "critical"}])
    assert live.share(late).outcome in {"duplicate", "unchanged"}
    assert len(box.attempts()) == 1


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
    # First the activities, then the details.
    assert 4 <= live.clock() - began < 6
