"""Reconcile runs over real sockets: missed shares are found, queued and signalled once."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from relay.jobs.envelope import envelope_of, read_envelope
from relay.jobs.job import Job
from relay.ledger.entry import Entry
from relay.ledger.entry_key import key
from relay.reconcile.comparison import QUEUED_SECONDS, SETTLES_SECONDS
from relay.reconcile.reconciler import OVERLAP_SECONDS
from sandbox.server.in_process import Box, running
from tests import samples
from tests.integration.account import Aws
from tests.integration.live import Live, Received, site

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


def live_with(box: Box, account: Aws, url: str | None = None, **access: Any) -> Live:
    box.bigpanda.let_in(KEY)
    box.bigpanda.declare_incidents(ENVIRONMENT, [])
    box.events.declare(REST)
    policy = {"min_seconds_between_signals": 0, "max_per_minute": 1000}
    known = {"api_key": KEY, "base_url": url or box.bigpanda.url, "environment_id": ENVIRONMENT, "reconcile": "ring"}
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


class TestMissed:
    def test_missed_share_is_signalled_once(self, box: Box, live: Live) -> None:
        has(box, incident(live))
        assert reconcile_twice(live) == {"compared": 1, "missed": 1}
        kept(live)
        assert transitions(live) == ["opened"]
        assert [signal.incident_id for signal in box.signals()] == ["i1"]
        for _ in range(2):
            live.ahead += 300
            assert reconcile_twice(live) == {"compared": 1}
            kept(live)
        assert len(box.attempts()) == 1
        assert live.recorder.metrics()["share_missed"] == 1

    def test_missed_share_is_signalled_with_the_webhooks_member_names(self, box: Box, live: Live) -> None:
        changed = int(live.clock()) - 300
        has(box, incident(live, updated_at=changed + 100))
        reconcile_twice(live)
        [job] = kept(live)
        assert (job.kind, job.version, job.stamps.reason) == ("signal", (changed + 100, changed), "in_flight")
        assert box.signals()[0].body_bytes == job.body
        body = json.loads(job.body)
        assert body["metadata"] == {"environment_id": ENVIRONMENT}
        told = body["incident"]
        assert (told["startedOn"], told["changedOn"], told["updatedOn"]) == (changed, changed, changed + 100)
        assert (told["status"], told["resolved"], told["endedOn"]) == ("critical", False, None)
        assert told["alerts"] == [{"id": "a1", **ALERT}]
        assert asked(box, "incident") == [{"expand": "alerts"}]

    def test_missed_share_is_signalled_without_details_if_bigpanda_cannot_be_read(self, box: Box, live: Live) -> None:
        has(box, incident(live))
        box.script([{"kind": "status", "status": 500, "on": "incident"}])
        assert reconcile_twice(live) == {"compared": 1, "missed": 1}
        kept(live)
        assert json.loads(box.signals()[0].body_bytes)["incident"]["alerts"] == [{"id": "a1", "alert_id": "a1"}]

    def test_missed_share_found_by_several_runs_before_the_worker_is_signalled_once(self, box: Box, live: Live) -> None:
        has(box, incident(live))
        assert [reconcile_twice(live).get("missed", 0) for _ in range(3)] == [1, 0, 0]
        live.ahead += QUEUED_SECONDS
        assert reconcile_once(live)["missed"] == 1
        assert [job.kind for job in kept(live)] == ["signal", "signal"]
        assert len(box.attempts()) == 1

    def test_share_that_arrives_after_its_reconcile_run_is_not_signalled_again(self, box: Box, live: Live) -> None:
        changed = int(live.clock()) - 300
        has(box, incident(live))
        reconcile_twice(live)
        kept(live)
        late = samples.body(changedOn=changed, alerts=[{"id": "a1", "status": "critical"}])
        assert live.share(late).outcome in {"duplicate", "unchanged"}
        assert len(box.attempts()) == 1

    def test_share_received_by_the_webhook_is_not_missed(self, box: Box, live: Live) -> None:
        share(live)
        has(box, incident(live))
        assert reconcile_twice(live) == {"compared": 1}
        assert len(box.attempts()) == 1

    def test_recent_change_is_missed_only_after_the_settle_time(self, box: Box, live: Live) -> None:
        has(box, incident(live, ago=10))
        assert reconcile_once(live) == {"compared": 1}
        live.ahead += SETTLES_SECONDS - 20
        assert reconcile_once(live) == {"compared": 1}
        live.ahead += 20
        assert reconcile_once(live) == {"compared": 1, "missed": 1}

    def test_incident_changed_before_the_channels_first_run_is_not_missed(self, box: Box, live: Live) -> None:
        has(box, incident(live, ago=3700))
        assert reconcile_twice(live) == {"compared": 1}

    def test_incident_that_is_not_shared_is_not_missed(self, box: Box, live: Live) -> None:
        has(box, incident(live, shared=False), incident(live, "i2", folders=["active", "unhandled"]))
        assert reconcile_twice(live) == {}

    def test_incident_that_resolved_unannounced_is_not_missed(self, box: Box, live: Live) -> None:
        has(box, incident(live, status="Ok"))
        assert reconcile_twice(live) == {"compared": 1}

    @pytest.mark.parametrize(
        ("told", "now", "transition"),
        [("warning", "Critical", "worsened"), ("critical", "Ok", "resolved")],
    )
    def test_missed_update_is_signalled_once(self, box: Box, live: Live, told: str, now: str, transition: str) -> None:
        share(live, 900, status="critical")
        if told != "critical":
            share(live, 800, status=told)
        rang = len(box.signals())
        has(box, incident(live, status=now))
        assert reconcile_twice(live) == {"compared": 1, "missed": 1}
        kept(live)
        assert transitions(live) == [transition]
        live.ahead += 300
        assert reconcile_twice(live) == {"compared": 1}
        kept(live)
        assert len(box.attempts()) == rang + 1

    def test_reconcile_run_passes_the_channels_query_to_bigpanda(self, box: Box, account: Aws) -> None:
        reconcile_once(live_with(box, account, reconcile_query='team = "ä & b"'))
        assert {query["query"] for query in asked(box)} == {'team = "ä & b"'}
        assert [query["folder"] for query in asked(box)][-3:] == ["snoozed", "shared", "resolved"]

    def test_channel_with_reconcile_off_is_not_compared(self, box: Box, account: Aws) -> None:
        live = live_with(box, account, reconcile=False)
        has(box, incident(live))
        assert reconcile_twice(live) == {}
        assert box.bigpanda.calls.all() == []

    def test_environment_named_only_by_a_share_is_not_compared(self, box: Box, account: Aws) -> None:
        live = live_with(box, account)
        known = json.loads(account.secrets.get_secret_value(SecretId="relay/noc")["SecretString"])
        del known["bigpanda"]["environment_id"]
        account.put_secret("noc", known)
        live.ahead += 600
        body = json.dumps(json.loads(samples.body(id="i0")) | {"metadata": {"environment_id": ENVIRONMENT}}).encode()
        assert live.webhook.serve(samples.request(body, recipients=("Storage Team",))).status == 200
        has(box, incident(live))
        before = len(box.bigpanda.calls.all())
        assert reconcile_twice(live) == {}
        assert len(box.bigpanda.calls.all()) == before


class TestSnooze:
    @pytest.mark.parametrize("folders", [["snoozed"], ["snoozed", "shared"], ["shared"]])
    def test_critical_is_signalled_once_when_its_snooze_ends(self, box: Box, live: Live, folders: list[str]) -> None:
        share(live, 900)
        has(box, incident(live, ago=800, **SLEEPS | {"folders": folders}))
        for _ in range(3):
            assert reconcile_once(live) == {}
            live.ahead += 300
        has(box, incident(live, ago=1700, updated_at=int(live.clock() - 200)))
        assert reconcile_once(live) == {"compared": 1, "snooze_over": 1}
        kept(live)
        assert transitions(live) == ["reopened"]
        for _ in range(2):
            live.ahead += 300
            assert reconcile_twice(live) == {"compared": 1}
            kept(live)
        assert len(box.attempts()) == 2

    @pytest.mark.parametrize(("status", "transition"), [("Warning", "eased"), ("Ok", "resolved")])
    def test_incident_that_eased_while_snoozed_is_signalled_with_that_transition(
        self, box: Box, live: Live, status: str, transition: str
    ) -> None:
        share(live, 900)
        has(box, incident(live, ago=800, **SLEEPS))
        reconcile_once(live)
        live.ahead += 600
        has(box, incident(live, status=status))
        assert reconcile_twice(live) == {"compared": 1, "missed": 1}
        kept(live)
        assert transitions(live) == [transition]

    def test_unannounced_incident_is_signalled_when_its_snooze_ends(self, box: Box, live: Live) -> None:
        has(box, incident(live, **SLEEPS))
        assert reconcile_once(live) == {}
        live.ahead += 600
        has(box, incident(live))
        assert reconcile_twice(live) == {"compared": 1, "missed": 1}
        kept(live)
        assert transitions(live) == ["opened"]


class TestEnded:
    def test_page_is_terminated_by_a_reconcile_run_after_a_missed_resolve(self, box: Box, live: Live) -> None:
        share(live, 900)
        live.wake(40)
        assert [event.status for event in box.events.all()] == ["ACTIVE"]
        has(box, incident(live, status="Ok"))
        assert reconcile_twice(live) == {"compared": 1, "missed": 1}
        kept(live)
        live.wake(40)
        assert transitions(live) == ["resolved"]
        assert [event.status for event in box.events.all()] == ["TERMINATED", "ACTIVE"]

    def test_page_of_an_open_incident_stays_active_after_reconcile_runs(self, box: Box, live: Live) -> None:
        share(live, 900)
        live.wake(40)
        has(box, incident(live, ago=940))
        live.ahead += 3600
        assert reconcile_twice(live) == {"compared": 1}
        assert kept(live) == []
        assert [event.status for event in box.events.all()] == ["ACTIVE"]


def crowd(live: Live, number: int) -> list[dict[str, Any]]:
    """Return so many resolved incidents that are still in the folder of shared ones."""
    return [
        incident(live, f"over-{each}", ago=200 + each / 10, status="Ok", folders=["shared"]) for each in range(number)
    ]


class TestPages:
    def test_missed_incident_on_the_last_of_several_pages_is_found(self, box: Box, live: Live) -> None:
        has(box, *crowd(live, 230), incident(live, ago=600))
        box.bigpanda.calls.clear()
        assert reconcile_twice(live) == {"compared": 231, "missed": 1}
        shared = [query for query in asked(box) if query["folder"] == "shared"]
        assert [(query["page"], query["page_size"]) for query in shared] == [(page, "100") for page in "123"] * 2
        assert {query["sort_by"] for query in asked(box)} == {"last_change"}
        assert [job.incident_id for job in kept(live)] == ["i1"]

    def test_reconcile_run_lists_only_recently_resolved_incidents(self, box: Box, live: Live) -> None:
        old = [incident(live, f"old-{each}", ago=86_400 + each, status="Ok") for each in range(230)]
        share(live, 900)
        has(box, *old, incident(live, status="Ok"))
        assert reconcile_twice(live)["missed"] == 1
        since = str(int(live.clock() - OVERLAP_SECONDS))
        live.ahead += 300
        box.bigpanda.calls.clear()
        reconcile_once(live)
        over = [query for query in asked(box) if query["folder"] == "resolved"]
        assert [(query["page"], query["from"]) for query in over] == [("1", since), ("2", since)]

    def test_missed_incident_with_300_large_alerts_is_read_whole(self, box: Box, live: Live) -> None:
        alerts = [ALERT | {"alert_id": f"a{each}", "description": "x" * 2048} for each in range(300)]
        has(box, incident(live, alerts=alerts))
        reconcile_twice(live)
        [job] = kept(live)
        assert len(json.loads(job.body)["incident"]["alerts"]) == 300
        assert transitions(live) == ["opened"]

    def test_reconcile_run_keeps_to_five_bigpanda_calls_a_second(self, account: Aws) -> None:
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


FAULTS: list[tuple[dict[str, Any], str, str]] = [
    ({"kind": "status", "status": 429, "times": 2}, "rate_limited", "HTTP 429"),
    ({"kind": "status", "status": 401}, "credentials", "HTTP 401"),
    ({"kind": "status", "status": 500}, "upstream", "HTTP 500"),
    ({"kind": "html", "status": 503}, "upstream", "HTTP 503"),
    ({"kind": "html", "status": 200}, "upstream", "HTTP 200"),
    ({"kind": "truncated_json"}, "upstream", "HTTP 200"),
    ({"kind": "reset_body"}, "upstream", "HTTP 200"),
    ({"kind": "reset"}, "unreachable", "ProtocolError"),
]
# The listing of a run that fails, and the number of incidents compared before it: snoozed incidents, first page of
# shared ones, second page, resolved ones.
PLACES = [(0, 0), (1, 0), (2, 100), (3, 102)]


class TestFailures:
    @pytest.mark.parametrize(("place", "compared"), PLACES)
    @pytest.mark.parametrize(("fault", "reason", "said"), FAULTS, ids=[json.dumps(each[0]) for each in FAULTS])
    def test_failed_reconcile_run_resolves_nothing_and_the_next_run_catches_up(
        self, box: Box, live: Live, fault: dict[str, Any], reason: str, said: str, place: int, compared: int
    ) -> None:
        share(live, 900, id="known")
        live.wake(40)
        has(box, *crowd(live, 100), incident(live, "known", ago=940), incident(live, ago=600))
        before, rang = entry(live, "known"), len(box.attempts())
        reconcile_once(live)
        live.ahead += SETTLES_SECONDS
        honest = [{"kind": "slow", "seconds": 0, "on": "incidents", "times": place}] if place else []
        box.script([*honest, fault | {"on": "incidents"}])
        found = reconcile_once(live)
        assert (found.pop("reason"), found.pop("failure").startswith(said)) == (reason, True), found
        # The results of the listings before the fault still count.
        missed = {"missed": 1} if compared == 102 else {}
        assert found == ({"compared": compared} if compared else {}) | missed
        jobs = kept(live)
        assert len(jobs) == len(missed)
        assert entry(live, "known") == before
        assert live.recorder.metrics()["reconcile_failed"] == 1
        live.ahead += 300
        assert reconcile_once(live) == {"compared": 102} | ({} if missed else {"missed": 1})
        jobs += kept(live)
        assert [job.incident_id for job in jobs if job.kind == "signal"] == ["i1"]
        assert [signal.incident_id for signal in box.attempts()[rang:]] == ["i1"]
        assert entry(live, "known") == before

    def test_resolve_missed_during_an_outage_of_hours_is_signalled_after_it(self, box: Box, live: Live) -> None:
        share(live, 900)
        reconcile_once(live)
        over = [incident(live, f"over-{number}", status="Ok", ago=-600) for number in range(100)]
        has(box, *over, incident(live, status="Ok", ago=-300))
        box.script([{"kind": "status", "status": 500, "on": "incidents", "times": None}])
        for _ in range(6):
            live.ahead += 3600
            assert reconcile_once(live)["reason"] == "upstream"
        box.script([])
        assert reconcile_twice(live)["missed"] == 1
        kept(live)
        assert transitions(live) == ["resolved"]

    def test_reconcile_run_of_an_unknown_environment_fails_and_resolves_nothing(self, box: Box, account: Aws) -> None:
        live = live_with(box, account, environment_id="gone")
        share(live, 900)
        assert reconcile_once(live) == {"failure": "HTTP 404", "reason": "refused"}
        assert entry(live).announced is not None
        assert len(box.attempts()) == 1

    def test_reconcile_run_with_a_wrong_bigpanda_key_reports_credentials(self, box: Box, account: Aws) -> None:
        assert reconcile_once(live_with(box, account, api_key="BPU-canary-wrong")) == {
            "failure": "HTTP 401",
            "reason": "credentials",
        }

    def test_reconcile_run_without_a_retry_queue_reports_internal(self, box: Box, live: Live) -> None:
        has(box, incident(live))
        live.aws.retries.delete()
        assert reconcile_twice(live)["reason"] == "internal"
        assert box.attempts() == []
        assert entry(live).sequence == 0

    def test_bigpanda_key_is_in_no_log_line_and_no_job_of_a_reconcile_run(self, box: Box, account: Aws) -> None:
        def echo(received: Received) -> tuple[int, dict[str, str], bytes]:
            return 400, {}, json.dumps({"errors": ["no", dict(received.headers)]}).encode()

        with site(echo) as server:
            live = live_with(box, account, url=server.url)
            assert reconcile_once(live)["failure"] == "HTTP 400"
            assert f"Bearer {KEY}" in [each.headers["authorization"] for each in server.received]
        whole = live_with(box, account)
        has(box, incident(whole))
        for fault in ({"kind": "truncated_json"}, {"kind": "status", "status": 401}):
            box.script([fault | {"on": "incidents"}])
            assert "failure" in reconcile_once(whole)
        assert reconcile_twice(whole)["missed"] == 1
        jobs = "".join(envelope_of(job) for job in kept(whole))
        written = live.recorder.written() + whole.recorder.written() + jobs + json.dumps(account.known())
        assert "reconciled" in written
        assert jobs
        assert "canary" not in written
