"""Reconcile: a share that BigPanda made and the relay never got is relayed once, and nothing else is."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from botocore.exceptions import ClientError, EndpointConnectionError

from relay.bigpanda.listing import MAX_PAGES
from relay.errors import ChannelUnreadable
from relay.http.session import Answer
from relay.jobs.outcome import Outcome
from relay.ledger.entry import key
from relay.reconcile.comparison import FORGOTTEN_SECONDS, QUEUED_SECONDS, SETTLES_SECONDS
from relay.reconcile.notes import channel_key, group_key, group_name, place_name
from relay.reconcile.reconciler import OVERLAP_SECONDS, PIECE_SECONDS
from tests import samples
from tests.fakes import Call, FakeSession, Relay
from tests.unit.reconcile_scene import Scene, accepted, access_of, answer, incident, note_of, scene


class TestMissed:
    """Missed incidents: their shares never came."""

    def test_missed_incident_is_relayed_once_as_opened(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock))
        assert this.run_twice() == {"compared": 1, "missed": 1, "woken": 0}
        this.relay.wake(0)
        assert this.signalled() == ["critical"]
        assert this.relay.entry().announced is not None
        for _ in range(3):
            this.relay.clock.now += 300
            assert this.run_twice()["missed"] == 0
            this.relay.wake(0)
        assert this.signalled() == ["critical"]

    def test_missed_incident_is_relayed_with_the_member_names_of_a_webhook(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock, severity="critical", incident_tags=[{"name": "x"}]))
        this.run_twice()
        [job] = this.relay.retries.jobs()
        stamp = this.tenant.incidents[0]["changed_at"]
        assert json.loads(job.body)["metadata"] == {"environment_id": "e1"}
        said = json.loads(job.body)["incident"]
        assert (said["id"], said["status"], said["resolved"]) == ("i1", "critical", False)
        assert (said["startedOn"], said["changedOn"], said["updatedOn"]) == (stamp, stamp, stamp)
        assert said["alerts"] == [{"id": "a1", "alert_id": "a1", "status": "Critical"}]
        assert said["incident_tags"] == [{"name": "x"}]
        assert (job.kind, job.incident_id, job.version) == ("signal", "i1", (stamp, stamp))

    def test_missed_incident_is_relayed_although_bigpanda_does_not_answer_for_its_details(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock))
        this.tenant.faults["/i1?"] = lambda _: Answer(404, {}, b"{}")
        assert this.run_twice()["missed"] == 1
        this.relay.wake(0)
        assert this.signalled() == ["critical"]

    def test_missed_incident_that_the_queue_refuses_is_relayed_by_the_next_run(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock))
        this.relay.retries.failure = EndpointConnectionError(endpoint_url="x")
        seen = this.run_twice()
        assert (seen["missed"], seen["failure"]) == (0, "the retry queue did not take what was missed")
        this.relay.retries.failure = None
        this.relay.clock.now += 300
        assert this.run()["missed"] == 1

    def test_details_are_not_asked_for_after_one_failure(self) -> None:
        this = scene()
        this.has(*(incident(this.relay.clock, f"i{number}") for number in range(5)))
        this.tenant.faults["/incidents/"] = lambda _: Answer(500, {}, b"")
        assert this.run_twice()["missed"] == 5
        assert sum("/incidents/" in call.url for call in this.relay.bigpanda.calls) == 1

    def test_details_that_are_poorer_or_older_than_the_listing_are_not_used(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock))
        for poor in ({"status": None}, {"changed_at": 1, "updated_at": 1}):
            document = this.tenant.incidents[0] | poor
            this.tenant.faults["/incidents/"] = lambda _, document=document: answer(document)  # type: ignore[misc]
            this.run_twice()
            job = this.relay.retries.jobs()[-1]
            assert (job.status, job.version) == ("critical", (this.tenant.incidents[0]["changed_at"],) * 2)
            this.relay.clock.now += QUEUED_SECONDS

    def test_relayed_incident_is_not_signalled_again_if_a_webhook_names_its_alerts_otherwise(self) -> None:
        this = scene(policy={"notify_on": ["opened", "grew"]})
        this.has(incident(this.relay.clock))
        this.run_twice()
        this.relay.wake(0)
        self.shared_again(this)
        assert this.signalled() == ["critical"]

    def shared_again(self, this: Scene) -> None:
        alerts = [{"id": "another-name", "status": "critical"}]
        this.relay.share(status="critical", changedOn=int(this.relay.clock.now), alerts=alerts)

    def test_incidents_queued_before_a_run_failed_are_counted(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock), incident(this.relay.clock, "i2"))

        def down(call: Call) -> Answer:
            this.relay.retries.failure = EndpointConnectionError(endpoint_url="x")
            return Answer(404, {}, b"{}")

        this.tenant.faults["/i2?"] = down
        seen = this.run_twice()
        assert (seen["missed"], bool(seen["failure"])) == (1, True)
        assert this.relay.recorder.metrics()["share_missed"] == 1

    def test_missed_change_is_relayed_after_its_share_had_time_to_come(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock, ago=10))
        assert this.run()["missed"] == 0
        this.relay.clock.now += SETTLES_SECONDS - 1
        assert this.run()["missed"] == 0
        this.relay.clock.now += 1
        assert this.run()["missed"] == 1

    def test_incident_that_changes_all_the_time_is_relayed(self) -> None:
        this = scene()
        for _ in range(2):
            this.has(incident(this.relay.clock, ago=5))
            seen = this.run()
            this.relay.clock.now += SETTLES_SECONDS
        assert seen["missed"] == 1

    def test_incident_that_eased_between_two_runs_has_to_settle_anew(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock))
        this.run()
        this.has(incident(this.relay.clock, status="Warning"))
        assert [this.run_twice()["missed"] for _ in range(2)] == [1, 0]

    def test_queued_incident_is_not_queued_again_by_each_run(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock))
        assert [this.run_twice()["missed"] for _ in range(4)] == [1, 0, 0, 0]
        assert len(this.relay.retries.messages) == 1
        this.relay.clock.now += QUEUED_SECONDS
        assert this.run()["missed"] == 1, "it was not seen to for an hour"

    def test_late_share_of_a_relayed_incident_sends_no_second_signal(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock))
        this.run_twice()
        stamp = this.tenant.incidents[0]["changed_at"]
        assert this.relay.share(status="critical", changedOn=stamp, updatedOn=stamp).outcome == Outcome.DELIVERED
        this.relay.wake(60)
        assert this.signalled() == ["critical"]

    def test_unshared_resolved_or_snoozed_incident_is_not_relayed(self) -> None:
        this = scene()
        clock = this.relay.clock
        this.has(
            incident(clock, "i1", shared=False),
            incident(clock, "i2", status="Ok"),
            incident(clock, "i3", snooze={"snoozed": True}),
        )
        assert this.run_twice()["missed"] == 0
        assert this.relay.retries.messages == []

    def test_incident_without_the_member_shared_is_judged_by_its_folder(self) -> None:
        this = scene()
        this.has({name: value for name, value in incident(this.relay.clock).items() if name != "shared"})
        assert this.run_twice()["missed"] == 1

    def test_change_from_before_the_first_run_of_the_channel_is_not_relayed(self) -> None:
        this = scene(since=0)
        this.has(incident(this.relay.clock, ago=3600))
        assert this.run_twice() == {"compared": 1, "missed": 0, "woken": 0}
        this.relay.clock.now += 300
        this.has(*this.tenant.incidents, incident(this.relay.clock, "i2", ago=200))
        assert this.run_twice()["missed"] == 1
        assert [job.incident_id for job in this.relay.retries.jobs()] == ["i2"]

    def test_incident_without_timestamps_is_relayed(self) -> None:
        this = scene(since=0)
        this.has(incident(this.relay.clock, changed_at=None, updated_at=None))
        assert this.run_twice()["missed"] == 1

    def test_missed_incident_of_a_channel_with_callbacks_is_released_to_bigpanda(self) -> None:
        this = scene(callbacks=True, app_key="app-1")
        this.has(incident(this.relay.clock))
        this.run_twice()
        assert [job.kind for job in this.relay.retries.jobs()] == ["signal"]
        assert [job.kind for job in this.relay.chores.jobs()] == ["release"]

    def test_run_lists_only_incidents_that_match_the_query_of_the_channel(self) -> None:
        this = scene(reconcile_query='team = "payments"')
        this.run()
        queries = [parse_qs(urlsplit(call.url).query) for call in this.relay.bigpanda.calls]
        assert [query["folder"] for query in queries] == [["snoozed"], ["shared"], ["resolved"]]
        assert {query["query"][0] for query in queries} == {'team = "payments"'}

    def test_run_keeps_the_bigpanda_key_out_of_logs_jobs_and_items(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock))
        this.tenant.faults["shared"] = lambda _: Answer(401, {}, b'{"key": "BPU-canary"}')
        this.run_twice()
        this.tenant.faults.clear()
        this.run_twice()
        assert "BPU-canary" not in this.relay.recorder.written() + json.dumps(this.relay.dynamodb.items)
        assert all("BPU-canary" not in job.to_json() for job in this.relay.retries.jobs())


class TestKnown:
    """Known incidents: a state that the ledger has is not signalled twice."""

    def shared(self, this: Scene, **said: Any) -> None:
        clock = this.relay.clock
        stamp = int(clock.now - 600)
        plain = {"status": "critical", "changedOn": stamp, "updatedOn": stamp} | said
        this.relay.webhook.serve(samples.request(samples.enveloped("e1", **plain)))

    def test_announced_incident_is_not_relayed_again_whatever_else_changed(self) -> None:
        this = scene()
        self.shared(this)
        this.has(incident(this.relay.clock, incident_tags=[{"name": "new"}]))
        assert this.run_twice()["missed"] == 0
        this.relay.wake(60)
        assert this.signalled() == ["critical"]

    @pytest.mark.parametrize(
        ("status", "signalled"), [("Critical", ["warning", "critical"]), ("Ok", ["warning", "ok"])]
    )
    def test_missed_change_of_a_known_incident_is_relayed(self, status: str, signalled: list[str]) -> None:
        this = scene()
        self.shared(this, status="warning")
        this.has(incident(this.relay.clock, status=status))
        assert this.run_twice()["missed"] == 1
        this.relay.wake(60)
        assert this.signalled() == signalled
        assert this.run_twice()["missed"] == 0

    def test_answer_of_bigpanda_older_than_the_last_share_is_not_relayed(self) -> None:
        this = scene()
        self.shared(this, status="warning")
        this.has(incident(this.relay.clock, ago=900))
        assert this.run_twice()["missed"] == 0

    def test_second_lost_resolve_is_relayed_within_the_hour_of_the_first(self) -> None:
        """The incident resolves, reopens and resolves again; the webhooks of both resolves are lost."""
        this = scene()
        self.shared(this)
        this.has(incident(this.relay.clock, status="Ok"))
        assert this.run_twice()["missed"] == 1
        this.relay.wake(0)
        stamp = int(this.relay.clock.now)
        self.shared(this, changedOn=stamp, updatedOn=stamp)
        this.relay.clock.now += 60
        this.has(incident(this.relay.clock, status="Ok", ago=5))
        assert this.run_twice()["missed"] == 1
        this.relay.wake(0)
        assert this.signalled() == ["critical", "ok", "critical", "ok"]

    def test_lost_resolve_that_the_policy_does_not_name_ends_pages_once(self) -> None:
        this = scene(policy={"notify_on": ["opened"]}, rest=True)
        self.shared(this)
        this.has(incident(this.relay.clock, status="Ok"))
        assert this.run_twice()["missed"] == 1
        this.relay.wake(0)
        assert this.signalled() == ["critical"]
        assert this.relay.entry().over_at > 0
        this.has(incident(this.relay.clock, status="Ok", ago=5))
        assert this.run_twice()["missed"] == 0

    def test_change_that_the_policy_does_not_name_is_not_relayed(self) -> None:
        this = scene(policy={"preset": "oncall"})
        self.shared(this)
        this.has(incident(this.relay.clock, status="Warning"))
        assert this.run_twice()["missed"] == 0

    def test_incident_that_waits_on_the_retry_queue_is_not_queued_by_each_run(self) -> None:
        this = scene()
        this.relay = Relay(
            FakeSession(samples.refused(503)),
            secrets=this.relay.secrets,
            bigpanda=this.relay.bigpanda,
            clock=this.relay.clock,
            dynamodb=this.relay.dynamodb,
        )
        self.shared(this)
        waiting = len(this.relay.retries.messages)
        for number in range(3):
            this.relay.clock.now += 300
            this.has(incident(this.relay.clock, ago=200 + number))
            assert this.run_twice()["missed"] == 0
        assert len(this.relay.retries.messages) == waiting

    def test_dead_lettered_incident_is_not_queued_by_each_run(self) -> None:
        this = scene()
        this.relay = Relay(
            FakeSession(samples.refused(400)),
            secrets=this.relay.secrets,
            bigpanda=this.relay.bigpanda,
            clock=this.relay.clock,
            dynamodb=this.relay.dynamodb,
        )
        self.shared(this)
        assert len(this.relay.dead_letters.messages) == 1
        this.relay.clock.now += 600
        this.has(incident(this.relay.clock))
        assert this.run_twice()["missed"] == 0

    def test_overtaken_dead_letter_does_not_keep_a_later_change_from_being_relayed(self) -> None:
        this = scene()
        this.relay = Relay(
            FakeSession(samples.refused(400), accepted),
            secrets=this.relay.secrets,
            bigpanda=this.relay.bigpanda,
            clock=this.relay.clock,
            dynamodb=this.relay.dynamodb,
        )
        self.shared(this)
        self.shared(this, status="ok", changedOn=int(this.relay.clock.now - 300))
        this.relay.clock.now += 600
        this.has(incident(this.relay.clock))
        assert this.run_twice()["missed"] == 1

    def test_incident_known_by_recipients_of_a_webhook_url_is_relayed_to_them(self) -> None:
        this = scene()
        content = samples.enveloped("e1", status="warning", changedOn=int(this.relay.clock.now - 600))
        this.relay.webhook.serve(samples.request(content, recipients=("dba",)))
        this.has(incident(this.relay.clock, status="Warning", ago=500))
        assert this.run_twice()["missed"] == 0
        this.has(incident(this.relay.clock, status="Critical", ago=200), incident(this.relay.clock, "i2", ago=200))
        assert this.run_twice()["missed"] == 2
        worse, new = this.relay.retries.jobs()[1:]
        assert (worse.url_recipients, new.url_recipients) == (("dba",), ())
        assert this.relay.ledger.read(key("noc", (), "i1")).sequence == 0

    def test_recipients_that_only_an_unannounced_share_named_get_no_signal(self) -> None:
        this = scene()
        ahead = int(this.relay.clock.now - 600)
        content = samples.enveloped("e1", status="ok", active=False, resolved=True, changedOn=ahead)
        reply = this.relay.webhook.serve(samples.request(content, recipients=("mallory",)))
        assert reply.document["outcome"] == "unchanged"
        this.has(incident(this.relay.clock, ago=200))
        assert this.run_twice()["missed"] == 1
        assert [job.url_recipients for job in this.relay.retries.jobs() if job.status == "critical"] == [()]

    def test_recipients_that_the_channel_no_longer_permits_get_no_signal(self) -> None:
        this = scene()
        content = samples.enveloped("e1", status="warning", changedOn=int(this.relay.clock.now - 600))
        this.relay.webhook.serve(samples.request(content, recipients=("dba",)))
        secret = json.loads(str(this.relay.secrets.texts["noc"]))
        secret["policy"] = secret.get("policy", {}) | {"allowed_recipients": []}
        this.relay.secrets.texts["noc"] = json.dumps(secret)
        this.relay.clock.now += 301
        this.has(incident(this.relay.clock, status="Critical", ago=200))
        this.run_twice()
        assert [job.status for job in this.relay.retries.jobs()] == ["warning"]


class TestEnvironments:
    """Environments that a channel's secret names."""

    def test_environment_that_is_gone_does_not_keep_others_from_being_compared(self) -> None:
        this = scene(environments=["e0"])
        this.tenant.faults["/environments/e0/"] = lambda _: Answer(404, {}, b"{}")
        this.has(incident(this.relay.clock))
        seen = this.run_twice()
        assert (seen["missed"], seen["failure"]) == (1, "HTTP 404")

    def test_incident_in_two_environments_is_signalled_once(self) -> None:
        this = scene(environments=["e0"])
        this.has(incident(this.relay.clock))
        this.run_twice()
        this.relay.wake(0)
        assert len(this.relay.session.calls) == 1

    def test_incident_is_relayed_although_another_environment_is_compared_for_the_first_time(self) -> None:
        this = scene(environments=["e0"])
        access = access_of(this.relay)
        for name in (channel_key(place_name(access, "e0"), "noc"), group_key(group_name(access, "e0"))):
            del this.relay.dynamodb.items[name]
        this.has(incident(this.relay.clock))
        assert this.run_twice()["missed"] == 1

    def test_first_run_for_an_added_environment_relays_nothing_older(self) -> None:
        this = scene(environments=["e2"])
        relay = this.relay
        old = incident(relay.clock, "old", ago=3600)
        this.tenant.faults["/e2/incidents?folder=shared"] = lambda _: answer({"items": [old], "total": 1})
        this.tenant.faults["/e2/"] = lambda _: answer({"items": [], "total": 0})
        assert this.run_twice()["missed"] == 0
        old |= {"updated_at": int(relay.clock.now)}
        assert this.run_twice()["missed"] == 1

    def test_environment_that_was_not_compared_for_a_day_is_begun_anew(self) -> None:
        this = scene()
        this.run()
        this.relay.clock.now += FORGOTTEN_SECONDS + 1
        this.has(incident(this.relay.clock, ago=3600))
        assert this.run_twice()["missed"] == 0


class TestSnoozed:
    """Snoozes that end while the incident is still critical."""

    def slept(self, this: Scene, **said: Any) -> None:
        """Let an incident be announced, then snoozed, and let a run see that."""
        clock = this.relay.clock
        stamp = int(clock.now - 600)
        this.relay.webhook.serve(
            samples.request(
                samples.enveloped("e1", **{"status": "critical", "changedOn": stamp, "updatedOn": stamp} | said)
            )
        )
        this.has(incident(clock, snooze={"snoozed": True}, ago=500))
        this.run()
        clock.now += 300

    def test_critical_whose_snooze_ended_is_signalled_once(self) -> None:
        this = scene()
        self.slept(this)
        this.has(incident(this.relay.clock, ago=800))
        assert this.run() == {"compared": 1, "missed": 0, "woken": 1}
        this.relay.wake(60)
        assert this.signalled() == ["critical", "critical"]
        for _ in range(3):
            this.relay.clock.now += 300
            this.run_twice()
            this.relay.wake(0)
        assert len(this.signalled()) == 2

    def test_critical_whose_snooze_ended_without_a_new_timestamp_is_signalled(self) -> None:
        this = scene()
        open_ = incident(this.relay.clock, ago=400)
        this.has(open_)
        assert this.run_twice()["missed"] == 1
        this.relay.wake(0)
        this.has(open_ | {"snooze": {"snoozed": True}})
        this.relay.clock.now += 300
        this.run_twice()
        this.has(open_)
        for _ in range(3):
            this.relay.clock.now += 300
            this.run_twice()
            this.relay.wake(0)
        assert this.signalled() == ["critical", "critical"]

    def test_snoozed_critical_is_not_signalled(self) -> None:
        this = scene()
        self.slept(this)
        for _ in range(3):
            this.relay.clock.now += 300
            assert this.run_twice()["woken"] == 0

    @pytest.mark.parametrize("status", ["Warning", "Ok"])
    def test_incident_that_is_not_critical_when_its_snooze_ends_is_not_signalled(self, status: str) -> None:
        this = scene(policy={"preset": "oncall"})
        self.slept(this)
        this.has(incident(this.relay.clock, status=status))
        assert this.run_twice()["woken"] == 0

    def test_critical_announced_after_its_snooze_ended_is_not_signalled_again(self) -> None:
        this = scene()
        self.slept(this, status="warning")
        this.relay.share(status="critical", changedOn=int(this.relay.clock.now - 250))
        this.has(incident(this.relay.clock, ago=250))
        assert this.run_twice()["woken"] == 0

    def test_ended_snooze_is_signalled_after_the_queue_was_down(self) -> None:
        this = scene()
        self.slept(this)
        this.has(incident(this.relay.clock, ago=10))
        this.relay.retries.failure = EndpointConnectionError(endpoint_url="x")
        assert this.run()["failure"]
        this.relay.retries.failure = None
        this.relay.clock.now += 300
        assert this.run()["woken"] == 1


class TestOver:
    """Resolves that never came: the page is open although its incident is over."""

    def test_resolve_during_an_outage_of_bigpanda_is_relayed_after_it(self) -> None:
        this = scene()
        this.relay.share(status="critical", changedOn=int(this.relay.clock.now - 600))
        this.run()
        this.has(incident(this.relay.clock, status="Ok", ago=0))
        this.tenant.faults["folder="] = lambda _: Answer(500, {}, b"")
        for _ in range(6):
            this.relay.clock.now += 300
            assert this.run()["failure"]
        this.tenant.faults.clear()
        assert this.run_twice()["missed"] == 1

    def test_debt_of_an_incident_whose_resolve_was_lost_is_dropped_and_never_announced(self) -> None:
        this = scene()
        this.relay.session.steps[:] = [samples.refused(503)]
        this.relay.share(status="critical", changedOn=int(this.relay.clock.now - 600))
        this.has(incident(this.relay.clock, status="Ok"))
        assert this.run_twice()["missed"] == 1
        this.relay.wake(0)
        assert this.relay.entry().owed_since is None
        this.relay.session.steps[:] = [accepted]
        signals = len(this.relay.session.calls)
        this.relay.drain()
        assert len(this.relay.session.calls) == signals

    def test_incidents_that_ended_before_the_last_run_are_not_listed(self) -> None:
        this = scene()
        this.run()
        last = this.relay.clock.now
        this.relay.clock.now += 300
        this.relay.bigpanda.calls.clear()
        this.run()
        queries = [parse_qs(urlsplit(call.url).query) for call in this.relay.bigpanda.calls]
        assert [query.get("from") for query in queries] == [None, None, [str(int(last - OVERLAP_SECONDS))]]

    def test_resolved_incident_in_the_snoozed_folder_is_relayed(self) -> None:
        this = scene()
        this.relay.share(status="critical", changedOn=int(this.relay.clock.now - 600))
        over = incident(this.relay.clock, status="Ok")
        this.tenant.faults["folder=snoozed"] = lambda _: answer({"items": [over | {"snooze": {"snoozed": True}}]})
        this.has(over)
        assert this.run_twice()["missed"] == 1

    def test_incidents_that_ended_long_ago_are_not_listed_by_each_run(self) -> None:
        this = scene()
        this.tenant.page_size = 2
        clock = this.relay.clock
        this.has(*(incident(clock, f"i{number}", status="Ok", ago=100_000) for number in range(50)))
        this.run()
        assert sum("resolved" in call.url for call in this.relay.bigpanda.calls) == 1
        this.relay.bigpanda.calls.clear()
        this.has(*(incident(clock, f"i{number}", status="Ok", ago=OVERLAP_SECONDS - 60) for number in range(6)))
        this.run()
        assert sum("resolved" in call.url for call in this.relay.bigpanda.calls) == 3


class TestRuns:
    """Reconcile runs: paging, failures, and the order of runs."""

    @pytest.mark.parametrize("has_total", [True, False])
    def test_run_reads_all_pages_of_a_folder(self, has_total: bool) -> None:
        this = scene()
        this.tenant.page_size, this.tenant.has_total = 40, has_total
        this.has(*(incident(this.relay.clock, f"i{number}") for number in range(90)))
        assert this.run_twice()["missed"] == 90

    def test_run_ends_if_bigpanda_repeats_the_same_page(self) -> None:
        this = scene()
        this.has(*(incident(this.relay.clock, f"i{number}") for number in range(3)))
        everything = answer({"items": this.tenant.incidents, "total": 500})
        this.tenant.faults["folder=shared"] = lambda _: everything
        assert this.run()["compared"] == 3
        assert sum("folder=shared" in call.url for call in this.relay.bigpanda.calls) == 2

    def test_run_that_cannot_read_all_pages_is_counted_as_failed(self) -> None:
        this = scene()
        this.tenant.page_size = 1
        this.has(*(incident(this.relay.clock, f"i{number}") for number in range(MAX_PAGES + 1)))
        assert this.run()["compared"] == MAX_PAGES
        assert this.relay.recorder.metrics()["reconcile_failed"] == 1

    def test_run_waits_once_for_a_429(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock))

        def limited(call: Call) -> Answer:
            this.tenant.faults.clear()
            return Answer(429, {}, b"")

        this.tenant.faults["folder=shared"] = limited
        assert this.run() == {"compared": 1, "missed": 0, "woken": 0}

    def test_run_makes_five_calls_a_second_at_most(self) -> None:
        this = scene()
        this.has(*(incident(this.relay.clock, f"i{number}") for number in range(12)))
        began = this.relay.clock.now
        this.run_twice()
        assert this.relay.clock.now - began >= 2

    @pytest.mark.parametrize(
        "fault",
        [
            Answer(429, {}, b""),
            Answer(500, {}, b"<html>"),
            Answer(404, {}, b"{}"),
            Answer(200, {}, b'{"items": [{"id": "i1", "stat'),
            Answer(200, {}, b'{"total": 3, "items": []}'),
            Answer(200, {}, b'{"total": 3}'),
            Answer(200, {}, b"17"),
            requests.ConnectionError("reset"),
            requests.ReadTimeout("late"),
        ],
        ids=str,
    )
    def test_failed_listing_is_not_taken_for_an_empty_one_and_is_repeated(self, fault: Answer | Exception) -> None:
        def fails(_: Call) -> Answer:
            if isinstance(fault, Exception):
                raise fault
            return fault

        this = scene()
        this.relay.share(status="critical", changedOn=int(this.relay.clock.now - 600))
        this.has(incident(this.relay.clock, status="Ok"), incident(this.relay.clock, "i2"))
        this.tenant.faults["folder="] = fails
        before = note_of(this).last
        seen = this.run_twice()
        assert (seen["missed"], bool(seen["failure"])) == (0, True)
        assert note_of(this).last == before
        assert this.relay.recorder.metrics()["reconcile_failed"] == 2
        this.tenant.faults.clear()
        this.relay.clock.now += 300
        assert this.run_twice()["missed"] == 2

    def test_items_that_are_no_incidents_keep_no_other_from_being_relayed(self) -> None:
        this = scene()
        clock = this.relay.clock
        this.has(incident(clock), incident(clock, "i2"))
        odd: list[Any] = [
            7,
            None,
            {},
            {"id": None},
            {"id": ""},
            {"id": "i9", "snooze": "x", "alerts": "x", "status": 4},
        ]
        items = [*odd, *this.tenant.incidents]
        this.tenant.faults["folder=shared"] = lambda _: answer({"items": items, "total": len(items)})
        assert this.run_twice()["missed"] == 3

    def test_unreadable_items_are_counted_as_failed(self) -> None:
        this = scene()
        broken = {"items": [{"id": "i1", "changed_at": float("nan")}, {"id": None}], "total": 2}
        this.tenant.faults["folder=shared"] = lambda _: answer(broken)
        assert this.run()["compared"] == 0
        assert this.relay.recorder.metrics()["reconcile_failed"] == 1

    def test_second_run_at_the_same_time_does_nothing(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock))
        others: list[dict[str, Any]] = []

        def meanwhile(call: Call) -> Answer:
            this.tenant.faults.clear()
            others.append(this.run())
            return this.tenant(call)

        this.run()
        this.relay.clock.now += SETTLES_SECONDS
        this.tenant.faults["folder=shared"] = meanwhile
        assert this.run()["missed"] == 1
        assert others == [{}]
        assert len(this.relay.retries.messages) == 1

    def test_run_that_crashed_is_followed_by_another_after_its_lease(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock))
        died = note_of(this)._replace(run="r1", is_working=True, until=this.relay.clock.now + PIECE_SECONDS)
        died.write(this.relay.table, group_name(access_of(this.relay), "e1"))
        assert this.run() == {}
        this.relay.clock.now += PIECE_SECONDS + 1
        assert this.run_twice()["missed"] == 1

    def test_unreadable_notes_are_begun_anew(self) -> None:
        this = scene(since=0)
        access = access_of(this.relay)
        for name in (channel_key(place_name(access, "e1"), "noc"), group_key(group_name(access, "e1"))):
            this.relay.table.write(name, 0, '["x"]')
        this.has(incident(this.relay.clock))
        assert this.run()["compared"] == 1
        assert note_of(this).last == this.relay.clock.now

    def test_run_without_the_ledger_is_counted_as_failed_and_relays_nothing(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock))
        this.relay.dynamodb.failure = ClientError({"Error": {"Code": "InternalServerError"}}, "GetItem")
        assert this.run_twice() == {}
        assert this.relay.recorder.metrics()["reconcile_failed"] == 2
        assert this.relay.retries.messages == []

    @pytest.mark.parametrize("access", [{"reconcile": False}, {"environment_id": None}])
    def test_channel_without_reconcile_or_environment_is_not_compared(self, access: Any) -> None:
        this = scene(**access)
        this.has(incident(this.relay.clock))
        assert this.run_twice() == {}
        assert this.relay.bigpanda.calls == []

    def test_unreadable_channel_does_not_keep_others_from_being_compared(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock))
        this.relay.secrets.texts = {"broken": ChannelUnreadable("no"), "odd": "{}", **this.relay.secrets.texts}
        assert this.run()["compared"] == 1
        assert this.relay.recorder.metrics()["reconcile_failed"] == 2

    def test_failed_listing_of_channels_is_counted(self) -> None:
        def fails() -> list[str]:
            raise ChannelUnreadable("Secrets Manager refused to list the channels: AccessDenied")

        this = scene()
        object.__setattr__(this.relay.schedule, "names", fails)
        assert this.run() == {}
        assert this.relay.recorder.metrics()["reconcile_failed"] == 1

    def test_missed_share_is_counted(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock))
        this.run_twice()
        assert this.relay.recorder.metrics()["share_missed"] == 1
