"""Reconcile: a share that BigPanda made and the relay never got is relayed once, and nothing else is."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from botocore.exceptions import ClientError, EndpointConnectionError

from relay.bigpanda.listing import MAX_LISTING_PAGES
from relay.failures.errors import ChannelUnreadable
from relay.http.session import HttpAnswer
from relay.jobs.envelope import envelope_of
from relay.jobs.outcome import Outcome
from relay.ledger.entry_key import key
from relay.reconcile.comparison import QUEUED_SECONDS, SETTLES_SECONDS
from relay.reconcile.history import FORGOTTEN_SECONDS
from relay.reconcile.plan import listing_name
from relay.reconcile.reconciler import OVERLAP_SECONDS
from tests import samples
from tests.fakes import Call, FakeSession, Relay
from tests.unit.reconcile_scene import Scene, accepted, access_of, answer, history_of, incident, make_scene

HOURS = {"since": "2027-01-15T08:00:01Z", "until": "2027-01-15T20:00:00Z"}


class TestMissed:
    """Missed incidents: their shares never came."""

    def test_missed_incident_is_relayed_once_as_opened(self) -> None:
        scene = make_scene()
        scene.has(incident(scene.relay.clock))
        assert scene.run_twice() == {"compared": 1, "missed": 1, "snooze_over": 0}
        scene.relay.wake(0)
        assert scene.signalled() == ["critical"]
        assert scene.relay.entry().announced is not None
        for _ in range(3):
            scene.relay.clock.now += 300
            assert scene.run_twice()["missed"] == 0
            scene.relay.wake(0)
        assert scene.signalled() == ["critical"]

    def test_missed_incident_is_relayed_with_the_member_names_of_a_webhook(self) -> None:
        scene = make_scene()
        scene.has(incident(scene.relay.clock, severity="critical", incident_tags=[{"name": "x"}]))
        scene.run_twice()
        [job] = scene.relay.retries.jobs()
        stamp = scene.tenant.incidents[0]["changed_at"]
        assert json.loads(job.body)["metadata"] == {"environment_id": "e1"}
        said = json.loads(job.body)["incident"]
        assert (said["id"], said["status"], said["resolved"]) == ("i1", "critical", False)
        assert (said["startedOn"], said["changedOn"], said["updatedOn"]) == (stamp, stamp, stamp)
        assert said["alerts"] == [{"id": "a1", "alert_id": "a1", "status": "Critical"}]
        assert said["incident_tags"] == [{"name": "x"}]
        assert (job.kind, job.incident_id, job.version) == ("signal", "i1", (stamp, stamp))

    def test_missed_incident_is_relayed_although_bigpanda_does_not_answer_for_its_details(self) -> None:
        scene = make_scene()
        scene.has(incident(scene.relay.clock))
        scene.tenant.faults["/i1?"] = lambda _: HttpAnswer(404, {}, b"{}")
        assert scene.run_twice()["missed"] == 1
        scene.relay.wake(0)
        assert scene.signalled() == ["critical"]

    def test_missed_incident_that_the_queue_refuses_is_relayed_by_the_next_run(self) -> None:
        scene = make_scene()
        scene.has(incident(scene.relay.clock))
        scene.relay.retries.failure = EndpointConnectionError(endpoint_url="x")
        seen = scene.run_twice()
        assert (seen["missed"], seen["failure"]) == (0, "the retry queue did not take what was missed")
        scene.relay.retries.failure = None
        scene.relay.clock.now += 300
        assert scene.run()["missed"] == 1

    def test_details_are_not_asked_for_after_one_failure(self) -> None:
        scene = make_scene()
        scene.has(*(incident(scene.relay.clock, f"i{number}") for number in range(5)))
        scene.tenant.faults["/incidents/"] = lambda _: HttpAnswer(500, {}, b"")
        assert scene.run_twice()["missed"] == 5
        assert sum("/incidents/" in call.url for call in scene.relay.bigpanda.calls) == 1

    def test_details_that_are_poorer_or_older_than_the_listing_are_not_used(self) -> None:
        scene = make_scene()
        scene.has(incident(scene.relay.clock))
        for poor in ({"status": None}, {"changed_at": 1, "updated_at": 1}):
            document = scene.tenant.incidents[0] | poor
            scene.tenant.faults["/incidents/"] = lambda _, document=document: answer(document)  # type: ignore[misc]
            scene.run_twice()
            job = scene.relay.retries.jobs()[-1]
            assert (job.stamps.status, job.version) == (
                "critical",
                (scene.tenant.incidents[0]["changed_at"],) * 2,
            )
            scene.relay.clock.now += QUEUED_SECONDS

    def test_relayed_incident_is_not_signalled_again_if_a_webhook_names_its_alerts_otherwise(self) -> None:
        scene = make_scene(policy={"notify_on": ["opened", "grew"]})
        scene.has(incident(scene.relay.clock))
        scene.run_twice()
        scene.relay.wake(0)
        self.shared_again(scene)
        assert scene.signalled() == ["critical"]

    def shared_again(self, scene: Scene) -> None:
        alerts = [{"id": "another-name", "status": "critical"}]
        scene.relay.share(status="critical", changedOn=int(scene.relay.clock.now), alerts=alerts)

    def test_incidents_queued_before_a_run_failed_are_counted(self) -> None:
        scene = make_scene()
        scene.has(incident(scene.relay.clock), incident(scene.relay.clock, "i2"))

        def down(call: Call) -> HttpAnswer:
            scene.relay.retries.failure = EndpointConnectionError(endpoint_url="x")
            return HttpAnswer(404, {}, b"{}")

        scene.tenant.faults["/i2?"] = down
        seen = scene.run_twice()
        assert (seen["missed"], bool(seen["failure"])) == (1, True)
        assert scene.relay.recorder.metrics()["share_missed"] == 1

    @pytest.mark.parametrize(
        ("policy", "recipients"),
        [
            ({"routes": [{"when": {"environment": "prod*"}, "recipients": ["Prod"]}]}, ["Prod", "Prod"]),
            ({"pauses": [{**HOURS, "then": "drop", "when": {"environment": "prod*"}}]}, []),
        ],
    )
    def test_missed_change_is_routed_and_paused_by_the_environment_that_the_last_share_named(
        self, policy: dict[str, Any], recipients: list[str]
    ) -> None:
        scene = make_scene(policy=policy)
        relay, document = scene.relay, json.loads(str(scene.relay.secrets.texts["noc"]))
        document["xmatters"]["recipients"] = ["Ops"]
        relay.secrets.texts["noc"] = json.dumps(document)
        relay.clock.now += 301
        body = json.loads(samples.enveloped("e1", status="warning", changedOn=int(relay.clock.now)))
        body["metadata"]["environment"] = "production-eu"
        relay.share(json.dumps(body).encode())
        relay.clock.now += 60
        scene.has(incident(relay.clock, ago=0))
        scene.run_twice()
        relay.wake(0)
        assert [call.url.partition("recipients=")[2] for call in relay.session.calls] == recipients

    @pytest.mark.parametrize("when", [{"tag.team": "web"}, {"source_system": "nagios*"}, {"environment": "prod"}])
    def test_missed_change_is_routed_by_a_fact_of_the_last_share_that_bigpandas_api_lacks(
        self, when: dict[str, str]
    ) -> None:
        scene = make_scene(policy={"routes": [{"when": when, "recipients": ["Web"]}]})
        alert = {"id": "a1", "source_system": "nagios.east", "tags": [{"name": "team", "value": "Web"}]}
        incidents = {"id": "i1", "status": "warning", "alerts": [alert], "environments": ["Prod"]}
        scene.relay.share(json.dumps({"incident": incidents | {"changedOn": int(scene.relay.clock.now)}}).encode())
        scene.relay.clock.now += 60
        scene.has(incident(scene.relay.clock, ago=0))
        scene.run_twice()
        scene.relay.wake()
        assert scene.relay.session.calls[-1].url.endswith("recipients=Web")

    @pytest.mark.parametrize("when", [{"tag.team": "web"}, {"source_system": "nagios*"}, {"environment": "prod"}])
    def test_missed_change_is_not_routed_by_a_fact_that_the_last_share_has_no_more(self, when: dict[str, str]) -> None:
        scene = make_scene(policy={"routes": [{"when": when, "recipients": ["Web"]}]})
        alert = {"id": "a1", "source_system": "nagios.east", "tags": [{"name": "team", "value": "Web"}]}
        for facts in ({"alerts": [alert], "environments": ["Prod"]}, {"alerts": [{"id": "a1"}]}):
            scene.relay.share(samples.body(status="warning", changedOn=int(scene.relay.clock.now), **facts))
            scene.relay.clock.now += 60
        scene.has(incident(scene.relay.clock, ago=0))
        scene.run_twice()
        scene.relay.wake()
        assert scene.signalled() == ["warning", "critical"]
        assert ["recipients=Web" in call.url for call in scene.relay.session.calls] == [True, False]

    @pytest.mark.parametrize(
        "faults",
        [
            pytest.param({}, id="during the request for details"),
            pytest.param({"/i1?": lambda _: HttpAnswer(500, {}, b"")}, id="during the listing, without details"),
        ],
    )
    def test_share_that_comes_while_bigpanda_is_asked_is_newer_than_the_answer(self, faults: dict[str, Any]) -> None:
        scene = make_scene()
        relay = scene.relay
        listed = incident(relay.clock)
        # Without timestamps, only arrivals order the states.
        scene.has({name: value for name, value in listed.items() if name not in {"changed_at", "updated_at"}})
        scene.run()
        relay.clock.now += SETTLES_SECONDS
        scene.tenant.faults = faults
        shared_during = "folder=shared" if faults else "/i1?"

        def share() -> None:
            if shared_during in relay.bigpanda.calls[-1].url:
                relay.clock.now += 1
                relay.share(samples.body(status="warning"))
                relay.clock.now += 1

        scene.tenant.before_answer = share
        assert scene.run()["missed"] == 1
        relay.wake(0)
        newest = relay.entry().newest
        assert newest is not None
        assert (scene.signalled(), newest.rank) == (["warning"], 2)

    def test_missed_change_is_relayed_after_its_share_had_time_to_come(self) -> None:
        scene = make_scene()
        scene.has(incident(scene.relay.clock, ago=10))
        assert scene.run()["missed"] == 0
        scene.relay.clock.now += SETTLES_SECONDS - 1
        assert scene.run()["missed"] == 0
        scene.relay.clock.now += 1
        assert scene.run()["missed"] == 1

    def test_incident_that_changes_all_the_time_is_relayed(self) -> None:
        scene = make_scene()
        for _ in range(2):
            scene.has(incident(scene.relay.clock, ago=5))
            seen = scene.run()
            scene.relay.clock.now += SETTLES_SECONDS
        assert seen["missed"] == 1

    def test_incident_that_eased_between_two_runs_has_to_settle_anew(self) -> None:
        scene = make_scene()
        scene.has(incident(scene.relay.clock))
        scene.run()
        scene.has(incident(scene.relay.clock, status="Warning"))
        assert [scene.run_twice()["missed"] for _ in range(2)] == [1, 0]

    def test_queued_incident_is_not_queued_again_by_each_run(self) -> None:
        scene = make_scene()
        scene.has(incident(scene.relay.clock))
        assert [scene.run_twice()["missed"] for _ in range(4)] == [1, 0, 0, 0]
        assert len(scene.relay.retries.messages) == 1
        scene.relay.clock.now += QUEUED_SECONDS
        assert scene.run()["missed"] == 1, "it was not seen to for an hour"

    def test_late_share_of_a_relayed_incident_sends_no_second_signal(self) -> None:
        scene = make_scene()
        scene.has(incident(scene.relay.clock))
        scene.run_twice()
        stamp = scene.tenant.incidents[0]["changed_at"]
        assert scene.relay.share(status="critical", changedOn=stamp, updatedOn=stamp).outcome == Outcome.DELIVERED
        scene.relay.wake(60)
        assert scene.signalled() == ["critical"]

    def test_unshared_resolved_or_snoozed_incident_is_not_relayed(self) -> None:
        scene = make_scene()
        clock = scene.relay.clock
        scene.has(
            incident(clock, "i1", shared=False),
            incident(clock, "i2", status="Ok"),
            incident(clock, "i3", snooze={"snoozed": True}),
        )
        assert scene.run_twice()["missed"] == 0
        assert scene.relay.retries.messages == []

    def test_incident_without_the_member_shared_is_judged_by_its_folder(self) -> None:
        scene = make_scene()
        scene.has({name: value for name, value in incident(scene.relay.clock).items() if name != "shared"})
        assert scene.run_twice()["missed"] == 1

    def test_change_from_before_the_first_run_of_the_channel_is_not_relayed(self) -> None:
        scene = make_scene(since=0)
        scene.has(incident(scene.relay.clock, ago=3600))
        assert scene.run_twice() == {"compared": 1, "missed": 0, "snooze_over": 0}
        scene.relay.clock.now += 300
        scene.has(*scene.tenant.incidents, incident(scene.relay.clock, "i2", ago=200))
        assert scene.run_twice()["missed"] == 1
        assert [job.incident_id for job in scene.relay.retries.jobs()] == ["i2"]

    def test_incident_without_timestamps_is_relayed(self) -> None:
        scene = make_scene(since=0)
        scene.has(incident(scene.relay.clock, changed_at=None, updated_at=None))
        assert scene.run_twice()["missed"] == 1

    def test_missed_incident_of_a_channel_with_callbacks_is_released_to_bigpanda(self) -> None:
        scene = make_scene(callbacks=True, app_key="app-1")
        scene.has(incident(scene.relay.clock))
        scene.run_twice()
        assert [job.kind for job in scene.relay.retries.jobs()] == ["signal"]
        assert [job.kind for job in scene.relay.chores.jobs()] == ["release"]

    def test_run_lists_only_incidents_that_match_the_query_of_the_channel(self) -> None:
        scene = make_scene(reconcile_query='team = "payments"')
        scene.run()
        queries = [parse_qs(urlsplit(call.url).query) for call in scene.relay.bigpanda.calls]
        assert [query["folder"] for query in queries] == [["snoozed"], ["shared"], ["resolved"]]
        assert {query["query"][0] for query in queries} == {'team = "payments"'}

    def test_run_keeps_the_bigpanda_key_out_of_logs_jobs_and_items(self) -> None:
        scene = make_scene()
        scene.has(incident(scene.relay.clock))
        scene.tenant.faults["shared"] = lambda _: HttpAnswer(401, {}, b'{"key": "BPU-canary"}')
        scene.run_twice()
        scene.tenant.faults.clear()
        scene.run_twice()
        assert "BPU-canary" not in scene.relay.recorder.written() + json.dumps(scene.relay.dynamodb.items)
        assert all("BPU-canary" not in envelope_of(job) for job in scene.relay.retries.jobs())


class TestKnown:
    """Known incidents: a state that the ledger has is not signalled twice."""

    def shared(self, scene: Scene, **said: Any) -> None:
        clock = scene.relay.clock
        stamp = int(clock.now - 600)
        plain = {"status": "critical", "changedOn": stamp, "updatedOn": stamp} | said
        scene.relay.webhook.serve(samples.request(samples.enveloped("e1", **plain)))

    def test_announced_incident_is_not_relayed_again_whatever_else_changed(self) -> None:
        scene = make_scene()
        self.shared(scene)
        scene.has(incident(scene.relay.clock, incident_tags=[{"name": "new"}]))
        assert scene.run_twice()["missed"] == 0
        scene.relay.wake(60)
        assert scene.signalled() == ["critical"]

    @pytest.mark.parametrize(
        ("status", "signalled"), [("Critical", ["warning", "critical"]), ("Ok", ["warning", "ok"])]
    )
    def test_missed_change_of_a_known_incident_is_relayed(self, status: str, signalled: list[str]) -> None:
        scene = make_scene()
        self.shared(scene, status="warning")
        scene.has(incident(scene.relay.clock, status=status))
        assert scene.run_twice()["missed"] == 1
        scene.relay.wake(60)
        assert scene.signalled() == signalled
        assert scene.run_twice()["missed"] == 0

    def test_answer_of_bigpanda_older_than_the_last_share_is_not_relayed(self) -> None:
        scene = make_scene()
        self.shared(scene, status="warning")
        scene.has(incident(scene.relay.clock, ago=900))
        assert scene.run_twice()["missed"] == 0

    def test_second_lost_resolve_is_relayed_within_the_hour_of_the_first(self) -> None:
        """The incident resolves, reopens and resolves again; the webhooks of both resolves are lost."""
        scene = make_scene()
        self.shared(scene)
        scene.has(incident(scene.relay.clock, status="Ok"))
        assert scene.run_twice()["missed"] == 1
        scene.relay.wake(0)
        stamp = int(scene.relay.clock.now)
        self.shared(scene, changedOn=stamp, updatedOn=stamp)
        scene.relay.clock.now += 60
        scene.has(incident(scene.relay.clock, status="Ok", ago=5))
        assert scene.run_twice()["missed"] == 1
        scene.relay.wake(0)
        assert scene.signalled() == ["critical", "ok", "critical", "ok"]

    def test_lost_resolve_that_the_policy_does_not_name_ends_pages_once(self) -> None:
        scene = make_scene(policy={"notify_on": ["opened"]}, rest=True)
        self.shared(scene)
        scene.has(incident(scene.relay.clock, status="Ok"))
        assert scene.run_twice()["missed"] == 1
        scene.relay.wake(0)
        assert scene.signalled() == ["critical"]
        assert scene.relay.entry().end.at > 0
        scene.has(incident(scene.relay.clock, status="Ok", ago=5))
        assert scene.run_twice()["missed"] == 0

    def test_change_that_the_policy_does_not_name_is_not_relayed(self) -> None:
        scene = make_scene(policy={"preset": "oncall"})
        self.shared(scene)
        scene.has(incident(scene.relay.clock, status="Warning"))
        assert scene.run_twice()["missed"] == 0

    def test_incident_that_waits_on_the_retry_queue_is_not_queued_by_each_run(self) -> None:
        scene = make_scene()
        scene.relay = Relay(
            FakeSession(samples.refused(503)),
            secrets=scene.relay.secrets,
            bigpanda=scene.relay.bigpanda,
            clock=scene.relay.clock,
            dynamodb=scene.relay.dynamodb,
        )
        self.shared(scene)
        waiting = len(scene.relay.retries.messages)
        for number in range(3):
            scene.relay.clock.now += 300
            scene.has(incident(scene.relay.clock, ago=200 + number))
            assert scene.run_twice()["missed"] == 0
        assert len(scene.relay.retries.messages) == waiting

    def test_dead_lettered_incident_is_not_queued_by_each_run(self) -> None:
        scene = make_scene()
        scene.relay = Relay(
            FakeSession(samples.refused(400)),
            secrets=scene.relay.secrets,
            bigpanda=scene.relay.bigpanda,
            clock=scene.relay.clock,
            dynamodb=scene.relay.dynamodb,
        )
        self.shared(scene)
        assert len(scene.relay.dead_letters.messages) == 1
        scene.relay.clock.now += 600
        scene.has(incident(scene.relay.clock))
        assert scene.run_twice()["missed"] == 0

    def test_overtaken_dead_letter_does_not_keep_a_later_change_from_being_relayed(self) -> None:
        scene = make_scene()
        scene.relay = Relay(
            FakeSession(samples.refused(400), accepted),
            secrets=scene.relay.secrets,
            bigpanda=scene.relay.bigpanda,
            clock=scene.relay.clock,
            dynamodb=scene.relay.dynamodb,
        )
        self.shared(scene)
        self.shared(scene, status="warning", changedOn=int(scene.relay.clock.now - 300))
        scene.relay.clock.now += 600
        scene.has(incident(scene.relay.clock))
        assert scene.run_twice()["missed"] == 1

    def test_incident_known_by_recipients_of_a_webhook_url_is_relayed_to_them(self) -> None:
        scene = make_scene()
        content = samples.enveloped("e1", status="warning", changedOn=int(scene.relay.clock.now - 600))
        scene.relay.webhook.serve(samples.request(content, recipients=("dba",)))
        scene.has(incident(scene.relay.clock, status="Warning", ago=500))
        assert scene.run_twice()["missed"] == 0
        scene.has(incident(scene.relay.clock, status="Critical", ago=200), incident(scene.relay.clock, "i2", ago=200))
        assert scene.run_twice()["missed"] == 2
        worse, new = scene.relay.retries.jobs()[1:]
        assert (worse.url_recipients, new.url_recipients) == (("dba",), ())
        assert scene.relay.ledger.read(key("noc", (), "i1")).sequence == 0

    def test_recipients_that_only_an_unannounced_share_named_get_no_signal(self) -> None:
        scene = make_scene()
        ahead = int(scene.relay.clock.now - 600)
        content = samples.enveloped("e1", status="ok", active=False, resolved=True, changedOn=ahead)
        scene.relay.webhook.serve(samples.request(content, recipients=("mallory",)))
        scene.has(incident(scene.relay.clock, ago=200))
        assert scene.run_twice()["missed"] == 1
        assert [job.url_recipients for job in scene.relay.retries.jobs() if job.stamps.status == "critical"] == [()]

    def test_recipients_that_the_channel_no_longer_permits_get_no_signal(self) -> None:
        scene = make_scene()
        content = samples.enveloped("e1", status="warning", changedOn=int(scene.relay.clock.now - 600))
        scene.relay.webhook.serve(samples.request(content, recipients=("dba",)))
        secret = json.loads(str(scene.relay.secrets.texts["noc"]))
        secret["policy"] = secret.get("policy", {}) | {"allowed_recipients": []}
        scene.relay.secrets.texts["noc"] = json.dumps(secret)
        scene.relay.clock.now += 301
        scene.has(incident(scene.relay.clock, status="Critical", ago=200))
        scene.run_twice()
        assert [job.stamps.status for job in scene.relay.retries.jobs()] == ["warning"]


class TestForgedResolves:
    """Forged resolves: the webhook got a resolve of an incident that is open in BigPanda."""

    def resolve(self, scene: Scene) -> None:
        now = int(scene.relay.clock.now)
        said = {"status": "ok", "active": False, "resolved": True, "changedOn": now, "updatedOn": now}
        scene.relay.webhook.serve(samples.request(samples.enveloped("e1", **said)))

    def wait(self, scene: Scene, seconds: int) -> None:
        for _ in range(seconds // 12):
            scene.relay.wake(12)

    def believed(self, scene: Scene) -> None:
        """Forge a resolve that is believed, since BigPanda does not answer the questions about it."""
        scene.tenant.faults["/incidents/i1"] = lambda _: HttpAnswer(503, {}, b"")
        self.resolve(scene)
        self.wait(scene, 1200)
        assert scene.relay.entry().is_over
        scene.tenant.faults.clear()

    @pytest.mark.parametrize("reconcile", ["ring", "report"])
    def test_critical_is_signalled_although_a_forged_resolve_with_later_timestamps_was_believed(
        self, reconcile: str
    ) -> None:
        scene = make_scene(reconcile=reconcile)
        scene.has(incident(scene.relay.clock))
        self.believed(scene)
        scene.run_twice()
        self.wait(scene, 24)
        assert scene.signalled() == ["critical"]

    def test_critical_rings_although_resolves_are_forged_all_the_time_after_one_was_believed(self) -> None:
        scene = make_scene()
        scene.has(incident(scene.relay.clock))
        self.believed(scene)
        scene.run_twice()
        for _ in range(30):
            self.resolve(scene)
            scene.relay.wake(5)
        assert scene.signalled() == ["critical"]

    def test_missed_critical_is_signalled_although_resolves_are_forged_all_the_time(self) -> None:
        scene = make_scene()
        scene.has(incident(scene.relay.clock))
        self.resolve(scene)
        scene.run_twice()
        for _ in range(60):
            self.resolve(scene)
            scene.relay.wake(5)
        assert scene.signalled() == ["critical"]

    def test_resolve_that_bigpanda_shows_by_the_second_run_is_believed(self) -> None:
        scene = make_scene()
        scene.has(incident(scene.relay.clock))
        self.believed(scene)
        scene.run()
        scene.relay.clock.now += SETTLES_SECONDS
        scene.has(incident(scene.relay.clock, status="Ok"))
        scene.run()
        self.wait(scene, 24)
        assert scene.signalled() == []

    def test_resolve_is_believed_where_the_policy_confirms_none(self) -> None:
        scene = make_scene(policy={"confirm_resolve": False})
        scene.has(incident(scene.relay.clock))
        self.resolve(scene)
        scene.run_twice()
        self.wait(scene, 90)
        assert scene.signalled() == []


class TestEnvironments:
    """Environments that a channel's secret names."""

    def test_environment_that_is_gone_does_not_keep_others_from_being_compared(self) -> None:
        scene = make_scene(environments=["e0"])
        scene.tenant.faults["/environments/e0/"] = lambda _: HttpAnswer(404, {}, b"{}")
        scene.has(incident(scene.relay.clock))
        seen = scene.run_twice()
        assert (seen["missed"], seen["failure"]) == (1, "HTTP 404")

    def test_incident_in_two_environments_is_signalled_once(self) -> None:
        scene = make_scene(environments=["e0"])
        scene.has(incident(scene.relay.clock))
        scene.run_twice()
        scene.relay.wake(0)
        assert len(scene.relay.session.calls) == 1

    def test_incident_is_relayed_although_another_environment_is_compared_for_the_first_time(self) -> None:
        scene = make_scene(environments=["e0"])
        del scene.relay.dynamodb.items[f"reconcile/{listing_name(access_of(scene.relay), 'e0')}"]
        scene.has(incident(scene.relay.clock))
        assert scene.run_twice()["missed"] == 1

    def test_first_run_for_an_added_environment_relays_nothing_older(self) -> None:
        scene = make_scene(environments=["e2"])
        relay = scene.relay
        old = incident(relay.clock, "old", ago=3600)
        scene.tenant.faults["/e2/incidents?folder=shared"] = lambda _: answer({"items": [old], "total": 1})
        scene.tenant.faults["/e2/"] = lambda _: answer({"items": [], "total": 0})
        assert scene.run_twice()["missed"] == 0
        old |= {"updated_at": int(relay.clock.now)}
        assert scene.run_twice()["missed"] == 1

    def test_environment_that_was_not_compared_for_a_day_is_begun_anew(self) -> None:
        scene = make_scene()
        scene.run()
        scene.relay.clock.now += FORGOTTEN_SECONDS + 1
        scene.has(incident(scene.relay.clock, ago=3600))
        assert scene.run_twice()["missed"] == 0
        scene.has(incident(scene.relay.clock, "i2", ago=10))
        assert scene.run_twice()["missed"] == 1


class TestSnoozed:
    """Snoozes that end while the incident is still critical."""

    def slept(self, scene: Scene, **said: Any) -> None:
        """Let an incident be announced, then snoozed, and let a run see that."""
        clock = scene.relay.clock
        stamp = int(clock.now - 600)
        scene.relay.webhook.serve(
            samples.request(
                samples.enveloped("e1", **{"status": "critical", "changedOn": stamp, "updatedOn": stamp} | said)
            )
        )
        scene.has(incident(clock, snooze={"snoozed": True}, ago=500))
        scene.run()
        clock.now += 300

    def test_critical_whose_snooze_ended_is_signalled_once(self) -> None:
        scene = make_scene()
        self.slept(scene)
        scene.has(incident(scene.relay.clock, ago=800))
        assert scene.run() == {"compared": 1, "missed": 0, "snooze_over": 1}
        scene.relay.wake(60)
        assert scene.signalled() == ["critical", "critical"]
        for _ in range(3):
            scene.relay.clock.now += 300
            scene.run_twice()
            scene.relay.wake(0)
        assert len(scene.signalled()) == 2

    def test_critical_whose_snooze_ended_without_a_new_timestamp_is_signalled(self) -> None:
        scene = make_scene()
        open_ = incident(scene.relay.clock, ago=400)
        scene.has(open_)
        assert scene.run_twice()["missed"] == 1
        scene.relay.wake(0)
        scene.has(open_ | {"snooze": {"snoozed": True}})
        scene.relay.clock.now += 300
        scene.run_twice()
        scene.has(open_)
        for _ in range(3):
            scene.relay.clock.now += 300
            scene.run_twice()
            scene.relay.wake(0)
        assert scene.signalled() == ["critical", "critical"]

    def test_acknowledgement_from_before_the_end_of_a_snooze_counts_no_more(self) -> None:
        scene = make_scene()
        relay, document = scene.relay, json.loads(str(scene.relay.secrets.texts["noc"]))
        document["xmatters"] |= {"callback": {"token": "t"}, "recipients": ["Ops"]}
        relay.secrets.texts["noc"] = json.dumps(document)
        relay.clock.now += 301
        self.slept(scene)
        answer = {"relay": 1, "kind": "response", "incident_id": "i1", "event": {"number": "1"}}
        answer |= {"person": {"target": "jdoe"}, "response": "Acknowledge"}
        headers = {"authorization": "Bearer t", "content-type": "application/json"}
        assert relay.callbacks.serve(samples.request(json.dumps(answer).encode(), headers=headers)).status == 200
        relay.wake(0)
        scene.has(incident(relay.clock, ago=800))
        scene.run()
        relay.wake(60)
        relay.share(status="warning", changedOn=int(relay.clock.now))
        assert [call.url.partition("recipients=")[2] for call in relay.session.calls] == ["Ops"] * 3

    def test_snoozed_critical_is_not_signalled(self) -> None:
        scene = make_scene()
        self.slept(scene)
        for _ in range(3):
            scene.relay.clock.now += 300
            assert scene.run_twice()["snooze_over"] == 0

    @pytest.mark.parametrize("status", ["Warning", "Ok"])
    def test_incident_that_is_not_critical_when_its_snooze_ends_is_not_signalled(self, status: str) -> None:
        scene = make_scene(policy={"preset": "oncall"})
        self.slept(scene)
        scene.has(incident(scene.relay.clock, status=status))
        assert scene.run_twice()["snooze_over"] == 0

    def test_critical_announced_after_its_snooze_ended_is_not_signalled_again(self) -> None:
        scene = make_scene()
        self.slept(scene, status="warning")
        scene.relay.share(status="critical", changedOn=int(scene.relay.clock.now - 250))
        scene.has(incident(scene.relay.clock, ago=250))
        assert scene.run_twice()["snooze_over"] == 0

    def test_ended_snooze_is_signalled_after_the_queue_was_down(self) -> None:
        scene = make_scene()
        self.slept(scene)
        scene.has(incident(scene.relay.clock, ago=10))
        scene.relay.retries.failure = EndpointConnectionError(endpoint_url="x")
        assert scene.run()["failure"]
        scene.relay.retries.failure = None
        scene.relay.clock.now += 300
        assert scene.run()["snooze_over"] == 1


class TestMissedResolves:
    """Resolves that never came: the page is open although its incident is over."""

    def test_resolve_during_an_outage_of_bigpanda_is_relayed_after_it(self) -> None:
        scene = make_scene()
        scene.relay.share(status="critical", changedOn=int(scene.relay.clock.now - 600))
        scene.run()
        scene.has(incident(scene.relay.clock, status="Ok", ago=0))
        scene.tenant.faults["folder="] = lambda _: HttpAnswer(500, {}, b"")
        for _ in range(6):
            scene.relay.clock.now += 300
            assert scene.run()["failure"]
        scene.tenant.faults.clear()
        assert scene.run_twice()["missed"] == 1

    def test_debt_of_an_incident_whose_resolve_was_lost_is_dropped_and_never_announced(self) -> None:
        scene = make_scene()
        scene.relay.session.steps[:] = [samples.refused(503)]
        scene.relay.share(status="critical", changedOn=int(scene.relay.clock.now - 600))
        scene.has(incident(scene.relay.clock, status="Ok"))
        assert scene.run_twice()["missed"] == 1
        scene.relay.wake(0)
        assert scene.relay.entry().debt.since is None
        scene.relay.session.steps[:] = [accepted]
        signals = len(scene.relay.session.calls)
        scene.relay.drain()
        assert len(scene.relay.session.calls) == signals

    def test_incidents_that_ended_before_the_last_run_are_not_listed(self) -> None:
        scene = make_scene()
        scene.run()
        last = scene.relay.clock.now
        scene.relay.clock.now += 300
        scene.relay.bigpanda.calls.clear()
        scene.run()
        queries = [parse_qs(urlsplit(call.url).query) for call in scene.relay.bigpanda.calls]
        assert [query.get("from") for query in queries] == [None, None, [str(int(last - OVERLAP_SECONDS))]]

    def test_resolved_incident_in_the_snoozed_folder_is_relayed(self) -> None:
        scene = make_scene()
        scene.relay.share(status="critical", changedOn=int(scene.relay.clock.now - 600))
        over = incident(scene.relay.clock, status="Ok")
        scene.tenant.faults["folder=snoozed"] = lambda _: answer({"items": [over | {"snooze": {"snoozed": True}}]})
        scene.has(over)
        assert scene.run_twice()["missed"] == 1

    def test_incidents_that_ended_long_ago_are_not_listed_by_each_run(self) -> None:
        scene = make_scene()
        scene.tenant.page_size = 2
        clock = scene.relay.clock
        scene.has(*(incident(clock, f"i{number}", status="Ok", ago=100_000) for number in range(50)))
        scene.run()
        assert sum("resolved" in call.url for call in scene.relay.bigpanda.calls) == 1
        scene.relay.bigpanda.calls.clear()
        scene.has(*(incident(clock, f"i{number}", status="Ok", ago=OVERLAP_SECONDS - 60) for number in range(6)))
        scene.run()
        assert sum("resolved" in call.url for call in scene.relay.bigpanda.calls) == 3


class TestRuns:
    """Reconcile runs: paging, failures, and the order of runs."""

    @pytest.mark.parametrize("has_total", [True, False])
    def test_run_reads_all_pages_of_a_folder(self, has_total: bool) -> None:
        scene = make_scene()
        scene.tenant.page_size, scene.tenant.has_total = 40, has_total
        scene.has(*(incident(scene.relay.clock, f"i{number}") for number in range(90)))
        assert scene.run_twice()["missed"] == 90

    def test_run_ends_if_bigpanda_repeats_the_same_page(self) -> None:
        scene = make_scene()
        scene.has(*(incident(scene.relay.clock, f"i{number}") for number in range(3)))
        everything = answer({"items": scene.tenant.incidents, "total": 500})
        scene.tenant.faults["folder=shared"] = lambda _: everything
        assert scene.run()["compared"] == 3
        assert sum("folder=shared" in call.url for call in scene.relay.bigpanda.calls) == 2

    def test_run_that_cannot_read_all_pages_is_counted_as_failed(self) -> None:
        scene = make_scene()
        scene.tenant.page_size = 1
        scene.has(*(incident(scene.relay.clock, f"i{number}") for number in range(MAX_LISTING_PAGES + 1)))
        assert scene.run()["compared"] == MAX_LISTING_PAGES
        assert scene.relay.recorder.metrics()["reconcile_failed"] == 1

    def test_run_waits_once_for_a_429(self) -> None:
        scene = make_scene()
        scene.has(incident(scene.relay.clock))

        def limited(call: Call) -> HttpAnswer:
            scene.tenant.faults.clear()
            return HttpAnswer(429, {}, b"")

        scene.tenant.faults["folder=shared"] = limited
        assert scene.run() == {"compared": 1, "missed": 0, "snooze_over": 0}

    def test_run_makes_five_calls_a_second_at_most(self) -> None:
        scene = make_scene()
        scene.has(*(incident(scene.relay.clock, f"i{number}") for number in range(12)))
        began = scene.relay.clock.now
        scene.run_twice()
        assert scene.relay.clock.now - began >= 2

    @pytest.mark.parametrize(
        "fault",
        [
            HttpAnswer(429, {}, b""),
            HttpAnswer(500, {}, b"<html>"),
            HttpAnswer(404, {}, b"{}"),
            HttpAnswer(200, {}, b'{"items": [{"id": "i1", "stat'),
            HttpAnswer(200, {}, b'{"total": 3, "items": []}'),
            HttpAnswer(200, {}, b'{"total": 3}'),
            HttpAnswer(200, {}, b"17"),
            requests.ConnectionError("reset"),
            requests.ReadTimeout("late"),
        ],
        ids=str,
    )
    def test_failed_listing_is_not_taken_for_an_empty_one_and_is_repeated(self, fault: HttpAnswer | Exception) -> None:
        def fails(_: Call) -> HttpAnswer:
            if isinstance(fault, Exception):
                raise fault
            return fault

        scene = make_scene()
        scene.relay.share(status="critical", changedOn=int(scene.relay.clock.now - 600))
        scene.has(incident(scene.relay.clock, status="Ok"), incident(scene.relay.clock, "i2"))
        scene.tenant.faults["folder="] = fails
        before = history_of(scene).channels["noc"].seen
        seen = scene.run_twice()
        assert (seen["missed"], bool(seen["failure"])) == (0, True)
        assert history_of(scene).channels["noc"].seen == before
        assert scene.relay.recorder.metrics()["reconcile_failed"] == 2
        scene.tenant.faults.clear()
        scene.relay.clock.now += 300
        assert scene.run_twice()["missed"] == 2

    def test_items_that_are_no_incidents_keep_no_other_from_being_relayed(self) -> None:
        scene = make_scene()
        clock = scene.relay.clock
        scene.has(incident(clock), incident(clock, "i2"))
        odd: list[Any] = [
            7,
            None,
            {},
            {"id": None},
            {"id": ""},
            {"id": "i9", "snooze": "x", "alerts": "x", "status": 4},
        ]
        items = [*odd, *scene.tenant.incidents]
        scene.tenant.faults["folder=shared"] = lambda _: answer({"items": items, "total": len(items)})
        assert scene.run_twice()["missed"] == 3

    def test_unreadable_items_are_counted_as_failed(self) -> None:
        scene = make_scene()
        broken = {"items": [{"id": "i1", "changed_at": float("nan")}, {"id": None}], "total": 2}
        scene.tenant.faults["folder=shared"] = lambda _: answer(broken)
        assert scene.run()["compared"] == 0
        assert scene.relay.recorder.metrics()["reconcile_failed"] == 1

    def test_second_run_at_the_same_time_does_nothing(self) -> None:
        scene = make_scene()
        scene.has(incident(scene.relay.clock))
        others: list[dict[str, Any]] = []

        def meanwhile(call: Call) -> HttpAnswer:
            scene.tenant.faults.clear()
            others.append(scene.run())
            return scene.tenant(call)

        scene.run()
        scene.relay.clock.now += SETTLES_SECONDS
        scene.tenant.faults["folder=shared"] = meanwhile
        assert scene.run()["missed"] == 1
        assert others == [{}]
        assert len(scene.relay.retries.messages) == 1

    def test_unreadable_history_is_begun_anew(self) -> None:
        scene = make_scene(since=0)
        scene.relay.table.write(f"reconcile/{listing_name(access_of(scene.relay), 'e1')}", 0, '["x"]')
        scene.has(incident(scene.relay.clock))
        assert scene.run()["compared"] == 1
        assert history_of(scene).channels["noc"].seen == scene.relay.clock.now

    def test_run_without_the_ledger_is_counted_as_failed_and_relays_nothing(self) -> None:
        scene = make_scene()
        scene.has(incident(scene.relay.clock))
        scene.relay.dynamodb.failure = ClientError({"Error": {"Code": "InternalServerError"}}, "GetItem")
        assert scene.run_twice() == {}
        assert scene.relay.recorder.metrics()["reconcile_failed"] == 2
        assert scene.relay.retries.messages == []

    @pytest.mark.parametrize("access", [{"reconcile": False}, {"environment_id": None}])
    def test_channel_without_reconcile_or_environment_is_not_compared(self, access: Any) -> None:
        scene = make_scene(**access)
        scene.has(incident(scene.relay.clock))
        assert scene.run_twice() == {}
        assert scene.relay.bigpanda.calls == []

    def test_unreadable_channel_does_not_keep_others_from_being_compared(self) -> None:
        scene = make_scene()
        scene.has(incident(scene.relay.clock))
        scene.relay.secrets.texts = {"broken": ChannelUnreadable("no"), "odd": "{}", **scene.relay.secrets.texts}
        assert scene.run()["compared"] == 1
        assert scene.relay.recorder.metrics()["reconcile_failed"] == 2

    def test_failed_listing_of_channels_is_counted(self) -> None:
        def fails() -> list[str]:
            raise ChannelUnreadable("Secrets Manager refused to list the channels: AccessDenied")

        scene = make_scene()
        object.__setattr__(scene.relay.reconciler.planner, "names", fails)
        assert scene.run() == {}
        assert scene.relay.recorder.metrics()["reconcile_failed"] == 1

    def test_missed_share_is_counted(self) -> None:
        scene = make_scene()
        scene.has(incident(scene.relay.clock))
        scene.run_twice()
        assert scene.relay.recorder.metrics()["share_missed"] == 1
