"""Reconcile: what BigPanda shared and the relay never heard of is relayed, once; nothing else is."""

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
    """A share that never came."""

    def test_it_is_relayed_as_opened_once(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock))
        assert this.look() == {"compared": 1, "missed": 1, "woken": 0}
        this.relay.wake(0)
        assert this.told() == ["critical"]
        assert this.relay.entry().announced is not None
        for _ in range(3):
            this.relay.clock.now += 300
            assert this.look()["missed"] == 0
            this.relay.wake(0)
        assert this.told() == ["critical"]

    def test_its_body_has_the_names_that_a_webhook_has(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock, severity="critical", incident_tags=[{"name": "x"}]))
        this.look()
        [job] = this.relay.retries.jobs()
        stamp = this.tenant.incidents[0]["changed_at"]
        assert json.loads(job.body)["metadata"] == {"environment_id": "e1"}
        said = json.loads(job.body)["incident"]
        assert (said["id"], said["status"], said["resolved"]) == ("i1", "critical", False)
        assert (said["startedOn"], said["changedOn"], said["updatedOn"]) == (stamp, stamp, stamp)
        assert said["alerts"] == [{"id": "a1", "alert_id": "a1", "status": "Critical"}]
        assert said["incident_tags"] == [{"name": "x"}]
        assert (job.kind, job.incident_id, job.version) == ("signal", "i1", (stamp, stamp))

    def test_details_that_bigpanda_does_not_tell_keep_no_page(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock))
        this.tenant.faults["/i1?"] = lambda _: Answer(404, {}, b"{}")
        assert this.look()["missed"] == 1
        this.relay.wake(0)
        assert this.told() == ["critical"]

    def test_what_the_queue_does_not_take_is_found_by_the_next_look(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock))
        this.relay.retries.failure = EndpointConnectionError(endpoint_url="x")
        seen = this.look()
        assert (seen["missed"], seen["failure"]) == (0, "the retry queue did not take what was missed")
        this.relay.retries.failure = None
        this.relay.clock.now += 300
        assert this.once()["missed"] == 1

    def test_after_one_that_is_not_told_no_others_are_asked_for(self) -> None:
        this = scene()
        this.has(*(incident(this.relay.clock, f"i{number}") for number in range(5)))
        this.tenant.faults["/incidents/"] = lambda _: Answer(500, {}, b"")
        assert this.look()["missed"] == 5
        assert sum("/incidents/" in call.url for call in this.relay.bigpanda.calls) == 1

    def test_details_that_say_less_or_are_older_are_not_believed(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock))
        for poor in ({"status": None}, {"changed_at": 1, "updated_at": 1}):
            document = this.tenant.incidents[0] | poor
            this.tenant.faults["/incidents/"] = lambda _, document=document: answer(document)  # type: ignore[misc]
            this.look()
            job = this.relay.retries.jobs()[-1]
            assert (job.status, job.version) == ("critical", (this.tenant.incidents[0]["changed_at"],) * 2)
            this.relay.clock.now += QUEUED_SECONDS

    def test_that_its_alerts_have_other_ids_in_a_webhook_rings_nobody(self) -> None:
        this = scene(policy={"notify_on": ["opened", "grew"]})
        this.has(incident(this.relay.clock))
        this.look()
        this.relay.wake(0)
        self.shared_again(this)
        assert this.told() == ["critical"]

    def shared_again(self, this: Scene) -> None:
        alerts = [{"id": "another-name", "status": "critical"}]
        this.relay.share(status="critical", changedOn=int(this.relay.clock.now), alerts=alerts)

    def test_what_was_kept_before_a_look_failed_is_counted(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock), incident(this.relay.clock, "i2"))

        def down(call: Call) -> Answer:
            this.relay.retries.failure = EndpointConnectionError(endpoint_url="x")
            return Answer(404, {}, b"{}")

        this.tenant.faults["/i2?"] = down
        seen = this.look()
        assert (seen["missed"], bool(seen["failure"])) == (1, True)
        assert this.relay.recorder.metrics()["share_missed"] == 1

    def test_what_its_own_share_may_still_bring_is_left_to_it(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock, ago=10))
        assert this.once()["missed"] == 0
        this.relay.clock.now += SETTLES_SECONDS - 1
        assert this.once()["missed"] == 0
        this.relay.clock.now += 1
        assert this.once()["missed"] == 1

    def test_one_that_changes_all_the_time_is_found_all_the_same(self) -> None:
        this = scene()
        for _ in range(2):
            this.has(incident(this.relay.clock, ago=5))
            seen = this.once()
            this.relay.clock.now += SETTLES_SECONDS
        assert seen["missed"] == 1

    def test_one_that_is_better_by_the_next_look_has_to_settle_anew(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock))
        this.once()
        this.has(incident(this.relay.clock, status="Warning"))
        assert [this.look()["missed"] for _ in range(2)] == [1, 0]

    def test_what_is_on_its_way_is_not_put_there_at_each_look(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock))
        assert [this.look()["missed"] for _ in range(4)] == [1, 0, 0, 0]
        assert len(this.relay.retries.messages) == 1
        this.relay.clock.now += QUEUED_SECONDS
        assert this.once()["missed"] == 1, "it was not seen to for an hour"

    def test_a_share_that_comes_after_all_rings_nothing_more(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock))
        this.look()
        stamp = this.tenant.incidents[0]["changed_at"]
        assert this.relay.share(status="critical", changedOn=stamp, updatedOn=stamp).outcome == Outcome.DELIVERED
        this.relay.wake(60)
        assert this.told() == ["critical"]

    def test_what_was_not_shared_or_is_over_or_is_snoozed_is_not_relayed(self) -> None:
        this = scene()
        clock = this.relay.clock
        this.has(
            incident(clock, "i1", shared=False),
            incident(clock, "i2", status="Ok"),
            incident(clock, "i3", snooze={"snoozed": True}),
        )
        assert this.look()["missed"] == 0
        assert this.relay.retries.messages == []

    def test_what_does_not_say_whether_it_is_shared_lies_in_the_folder_that_does(self) -> None:
        this = scene()
        this.has({name: value for name, value in incident(this.relay.clock).items() if name != "shared"})
        assert this.look()["missed"] == 1

    def test_what_changed_before_the_channel_was_looked_at_first_is_none_of_its_business(self) -> None:
        this = scene(since=0)
        this.has(incident(this.relay.clock, ago=3600))
        assert this.look() == {"compared": 1, "missed": 0, "woken": 0}
        this.relay.clock.now += 300
        this.has(*this.tenant.incidents, incident(this.relay.clock, "i2", ago=200))
        assert this.look()["missed"] == 1
        assert [job.incident_id for job in this.relay.retries.jobs()] == ["i2"]

    def test_what_has_no_time_stamp_is_relayed(self) -> None:
        this = scene(since=0)
        this.has(incident(this.relay.clock, changed_at=None, updated_at=None))
        assert this.look()["missed"] == 1

    def test_bigpanda_goes_on_with_an_incident_that_it_holds(self) -> None:
        this = scene(callbacks=True, app_key="app-1")
        this.has(incident(this.relay.clock))
        this.look()
        assert [job.kind for job in this.relay.retries.jobs()] == ["signal"]
        assert [job.kind for job in this.relay.chores.jobs()] == ["release"]

    def test_only_incidents_that_fit_the_channels_query_are_asked_for(self) -> None:
        this = scene(reconcile_query='team = "payments"')
        this.once()
        queries = [parse_qs(urlsplit(call.url).query) for call in this.relay.bigpanda.calls]
        assert [query["folder"] for query in queries] == [["snoozed"], ["shared"], ["resolved"]]
        assert {query["query"][0] for query in queries} == {'team = "payments"'}

    def test_no_key_shows_in_what_is_kept_or_said(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock))
        this.tenant.faults["shared"] = lambda _: Answer(401, {}, b'{"key": "BPU-canary"}')
        this.look()
        this.tenant.faults.clear()
        this.look()
        assert "BPU-canary" not in this.relay.recorder.written() + json.dumps(this.relay.dynamodb.items)
        assert all("BPU-canary" not in job.to_json() for job in this.relay.retries.jobs())


class TestKnown:
    """What the ledger knows does not ring twice."""

    def shared(self, this: Scene, **said: Any) -> None:
        clock = this.relay.clock
        stamp = int(clock.now - 600)
        plain = {"status": "critical", "changedOn": stamp, "updatedOn": stamp} | said
        this.relay.webhook.serve(samples.request(samples.enveloped("e1", **plain)))

    def test_what_was_announced_is_nothing_new_whatever_else_changed(self) -> None:
        this = scene()
        self.shared(this)
        this.has(incident(this.relay.clock, incident_tags=[{"name": "new"}]))
        assert this.look()["missed"] == 0
        this.relay.wake(60)
        assert this.told() == ["critical"]

    @pytest.mark.parametrize(("status", "told"), [("Critical", ["warning", "critical"]), ("Ok", ["warning", "ok"])])
    def test_a_later_share_that_never_came_is_relayed(self, status: str, told: list[str]) -> None:
        this = scene()
        self.shared(this, status="warning")
        this.has(incident(this.relay.clock, status=status))
        assert this.look()["missed"] == 1
        this.relay.wake(60)
        assert this.told() == told
        assert this.look()["missed"] == 0

    def test_bigpandas_answer_that_is_older_than_what_came_since_is_no_news(self) -> None:
        this = scene()
        self.shared(this, status="warning")
        this.has(incident(this.relay.clock, ago=900))
        assert this.look()["missed"] == 0

    def test_second_lost_resolve_is_relayed_within_the_hour_of_the_first(self) -> None:
        """The incident resolved, reopened and resolved again; the webhooks of both resolves never came."""
        this = scene()
        self.shared(this)
        this.has(incident(this.relay.clock, status="Ok"))
        assert this.look()["missed"] == 1
        this.relay.wake(0)
        stamp = int(this.relay.clock.now)
        self.shared(this, changedOn=stamp, updatedOn=stamp)
        this.relay.clock.now += 60
        this.has(incident(this.relay.clock, status="Ok", ago=5))
        assert this.look()["missed"] == 1
        this.relay.wake(0)
        assert this.told() == ["critical", "ok", "critical", "ok"]

    def test_lost_resolve_that_nobody_announces_ends_pages_once(self) -> None:
        this = scene(policy={"notify_on": ["opened"]}, rest=True)
        self.shared(this)
        this.has(incident(this.relay.clock, status="Ok"))
        assert this.look()["missed"] == 1
        this.relay.wake(0)
        assert this.told() == ["critical"]
        assert this.relay.entry().over_at > 0
        this.has(incident(this.relay.clock, status="Ok", ago=5))
        assert this.look()["missed"] == 0

    def test_what_the_policy_does_not_want_is_not_relayed(self) -> None:
        this = scene(policy={"preset": "oncall"})
        self.shared(this)
        this.has(incident(this.relay.clock, status="Warning"))
        assert this.look()["missed"] == 0

    def test_what_waits_on_a_queue_is_not_put_there_at_each_look(self) -> None:
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
            assert this.look()["missed"] == 0
        assert len(this.relay.retries.messages) == waiting

    def test_what_rests_among_the_dead_letters_is_not_tried_at_each_look(self) -> None:
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
        assert this.look()["missed"] == 0

    def test_but_a_dead_letter_that_was_overtaken_says_nothing_of_what_comes_later(self) -> None:
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
        assert this.look()["missed"] == 1

    def test_what_is_known_by_the_recipients_of_a_webhooks_url_is_known(self) -> None:
        this = scene()
        content = samples.enveloped("e1", status="warning", changedOn=int(this.relay.clock.now - 600))
        this.relay.webhook.serve(samples.request(content, recipients=("dba",)))
        this.has(incident(this.relay.clock, status="Warning", ago=500))
        assert this.look()["missed"] == 0
        this.has(incident(this.relay.clock, status="Critical", ago=200), incident(this.relay.clock, "i2", ago=200))
        assert this.look()["missed"] == 2
        worse, new = this.relay.retries.jobs()[1:]
        assert (worse.url_recipients, new.url_recipients) == (("dba",), ())
        assert this.relay.ledger.read(key("noc", (), "i1")).sequence == 0

    def test_recipients_whom_a_share_only_named_are_not_rung(self) -> None:
        this = scene()
        ahead = int(this.relay.clock.now - 600)
        content = samples.enveloped("e1", status="ok", active=False, resolved=True, changedOn=ahead)
        reply = this.relay.webhook.serve(samples.request(content, recipients=("mallory",)))
        assert reply.document["outcome"] == "unchanged"
        this.has(incident(this.relay.clock, ago=200))
        assert this.look()["missed"] == 1
        assert [job.url_recipients for job in this.relay.retries.jobs() if job.status == "critical"] == [()]

    def test_recipients_whom_the_channel_permits_no_more_are_not_rung(self) -> None:
        this = scene()
        content = samples.enveloped("e1", status="warning", changedOn=int(this.relay.clock.now - 600))
        this.relay.webhook.serve(samples.request(content, recipients=("dba",)))
        secret = json.loads(str(this.relay.secrets.texts["noc"]))
        secret["policy"] = secret.get("policy", {}) | {"allowed_recipients": []}
        this.relay.secrets.texts["noc"] = json.dumps(secret)
        this.relay.clock.now += 301
        this.has(incident(this.relay.clock, status="Critical", ago=200))
        this.look()
        assert [job.status for job in this.relay.retries.jobs()] == ["warning"]


class TestPlaces:
    """The environments that a channel's secret names."""

    def test_one_that_is_gone_does_not_keep_the_others(self) -> None:
        this = scene(environments=["e0"])
        this.tenant.faults["/environments/e0/"] = lambda _: Answer(404, {}, b"{}")
        this.has(incident(this.relay.clock))
        seen = this.look()
        assert (seen["missed"], seen["failure"]) == (1, "HTTP 404")

    def test_an_incident_that_lies_in_two_rings_once(self) -> None:
        this = scene(environments=["e0"])
        this.has(incident(this.relay.clock))
        this.look()
        this.relay.wake(0)
        assert len(this.relay.session.calls) == 1

    def test_or_in_one_that_was_looked_at_for_long(self) -> None:
        this = scene(environments=["e0"])
        access = access_of(this.relay)
        for name in (channel_key(place_name(access, "e0"), "noc"), group_key(group_name(access, "e0"))):
            del this.relay.dynamodb.items[name]
        this.has(incident(this.relay.clock))
        assert this.look()["missed"] == 1

    def test_the_first_look_at_another_one_rings_nobody(self) -> None:
        this = scene(environments=["e2"])
        relay = this.relay
        old = incident(relay.clock, "old", ago=3600)
        this.tenant.faults["/e2/incidents?folder=shared"] = lambda _: answer({"items": [old], "total": 1})
        this.tenant.faults["/e2/"] = lambda _: answer({"items": [], "total": 0})
        assert this.look()["missed"] == 0
        old |= {"updated_at": int(relay.clock.now)}
        assert this.look()["missed"] == 1

    def test_one_that_nobody_looked_at_for_a_day_is_begun_anew(self) -> None:
        this = scene()
        this.once()
        this.relay.clock.now += FORGOTTEN_SECONDS + 1
        this.has(incident(this.relay.clock, ago=3600))
        assert this.look()["missed"] == 0


class TestSnoozed:
    """A snooze that ends on what is critical still."""

    def slept(self, this: Scene, **said: Any) -> None:
        """An incident that was announced, then snoozed, as a look saw."""
        clock = this.relay.clock
        stamp = int(clock.now - 600)
        this.relay.webhook.serve(
            samples.request(
                samples.enveloped("e1", **{"status": "critical", "changedOn": stamp, "updatedOn": stamp} | said)
            )
        )
        this.has(incident(clock, snooze={"snoozed": True}, ago=500))
        this.once()
        clock.now += 300

    def test_it_rings_once(self) -> None:
        this = scene()
        self.slept(this)
        this.has(incident(this.relay.clock, ago=800))
        assert this.once() == {"compared": 1, "missed": 0, "woken": 1}
        this.relay.wake(60)
        assert this.told() == ["critical", "critical"]
        for _ in range(3):
            this.relay.clock.now += 300
            this.look()
            this.relay.wake(0)
        assert len(this.told()) == 2

    def test_one_whose_time_stamps_never_move_rings_too(self) -> None:
        this = scene()
        open_ = incident(this.relay.clock, ago=400)
        this.has(open_)
        assert this.look()["missed"] == 1
        this.relay.wake(0)
        this.has(open_ | {"snooze": {"snoozed": True}})
        this.relay.clock.now += 300
        this.look()
        this.has(open_)
        for _ in range(3):
            this.relay.clock.now += 300
            this.look()
            this.relay.wake(0)
        assert this.told() == ["critical", "critical"]

    def test_as_long_as_it_is_snoozed_nothing_rings(self) -> None:
        this = scene()
        self.slept(this)
        for _ in range(3):
            this.relay.clock.now += 300
            assert this.look()["woken"] == 0

    @pytest.mark.parametrize("status", ["Warning", "Ok"])
    def test_what_is_no_longer_critical_does_not_ring_anew(self, status: str) -> None:
        this = scene(policy={"preset": "oncall"})
        self.slept(this)
        this.has(incident(this.relay.clock, status=status))
        assert this.look()["woken"] == 0

    def test_people_who_were_told_of_it_since_are_not_told_again(self) -> None:
        this = scene()
        self.slept(this, status="warning")
        this.relay.share(status="critical", changedOn=int(this.relay.clock.now - 250))
        this.has(incident(this.relay.clock, ago=250))
        assert this.look()["woken"] == 0

    def test_it_is_not_forgotten_while_the_queue_is_down(self) -> None:
        this = scene()
        self.slept(this)
        this.has(incident(this.relay.clock, ago=10))
        this.relay.retries.failure = EndpointConnectionError(endpoint_url="x")
        assert this.once()["failure"]
        this.relay.retries.failure = None
        this.relay.clock.now += 300
        assert this.once()["woken"] == 1


class TestOver:
    """A page that is left open although its incident is over."""

    def test_one_that_ended_in_an_outage_of_bigpandas_is_seen_twice_after_it(self) -> None:
        this = scene()
        this.relay.share(status="critical", changedOn=int(this.relay.clock.now - 600))
        this.once()
        this.has(incident(this.relay.clock, status="Ok", ago=0))
        this.tenant.faults["folder="] = lambda _: Answer(500, {}, b"")
        for _ in range(6):
            this.relay.clock.now += 300
            assert this.once()["failure"]
        this.tenant.faults.clear()
        assert this.look()["missed"] == 1

    def test_debt_of_an_incident_whose_resolve_was_lost_is_dropped_and_never_announced(self) -> None:
        this = scene()
        this.relay.session.steps[:] = [samples.refused(503)]
        this.relay.share(status="critical", changedOn=int(this.relay.clock.now - 600))
        this.has(incident(this.relay.clock, status="Ok"))
        assert this.look()["missed"] == 1
        this.relay.wake(0)
        assert this.relay.entry().owed_since is None
        this.relay.session.steps[:] = [accepted]
        signals = len(this.relay.session.calls)
        this.relay.drain()
        assert len(this.relay.session.calls) == signals

    def test_what_was_over_before_the_last_look_is_not_asked_for(self) -> None:
        this = scene()
        this.once()
        last = this.relay.clock.now
        this.relay.clock.now += 300
        this.relay.bigpanda.calls.clear()
        this.once()
        queries = [parse_qs(urlsplit(call.url).query) for call in this.relay.bigpanda.calls]
        assert [query.get("from") for query in queries] == [None, None, [str(int(last - OVERLAP_SECONDS))]]

    def test_one_that_is_over_is_found_though_it_lies_among_the_snoozed(self) -> None:
        this = scene()
        this.relay.share(status="critical", changedOn=int(this.relay.clock.now - 600))
        over = incident(this.relay.clock, status="Ok")
        this.tenant.faults["folder=snoozed"] = lambda _: answer({"items": [over | {"snooze": {"snoozed": True}}]})
        this.has(over)
        assert this.look()["missed"] == 1

    def test_what_ended_long_ago_is_not_looked_through_at_each_look(self) -> None:
        this = scene()
        this.tenant.a_page = 2
        clock = this.relay.clock
        this.has(*(incident(clock, f"i{number}", status="Ok", ago=100_000) for number in range(50)))
        this.once()
        assert sum("resolved" in call.url for call in this.relay.bigpanda.calls) == 1
        this.relay.bigpanda.calls.clear()
        this.has(*(incident(clock, f"i{number}", status="Ok", ago=OVERLAP_SECONDS - 60) for number in range(6)))
        this.once()
        assert sum("resolved" in call.url for call in this.relay.bigpanda.calls) == 3


class TestLooks:
    """How looks go on, fail, and follow each other."""

    @pytest.mark.parametrize("has_total", [True, False])
    def test_all_pages_are_read(self, has_total: bool) -> None:
        this = scene()
        this.tenant.a_page, this.tenant.has_total = 40, has_total
        this.has(*(incident(this.relay.clock, f"i{number}") for number in range(90)))
        assert this.look()["missed"] == 90

    def test_a_service_that_knows_no_pages_is_not_asked_for_ever(self) -> None:
        this = scene()
        this.has(*(incident(this.relay.clock, f"i{number}") for number in range(3)))
        everything = answer({"items": this.tenant.incidents, "total": 500})
        this.tenant.faults["folder=shared"] = lambda _: everything
        assert this.once()["compared"] == 3
        assert sum("folder=shared" in call.url for call in this.relay.bigpanda.calls) == 2

    def test_more_than_can_be_read_is_said(self) -> None:
        this = scene()
        this.tenant.a_page = 1
        this.has(*(incident(this.relay.clock, f"i{number}") for number in range(MAX_PAGES + 1)))
        assert this.once()["compared"] == MAX_PAGES
        assert this.relay.recorder.metrics()["reconcile_failed"] == 1

    def test_a_429_is_waited_for_once(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock))

        def limited(call: Call) -> Answer:
            this.tenant.faults.clear()
            return Answer(429, {}, b"")

        this.tenant.faults["folder=shared"] = limited
        assert this.once() == {"compared": 1, "missed": 0, "woken": 0}

    def test_five_calls_a_second_and_no_more(self) -> None:
        this = scene()
        this.has(*(incident(this.relay.clock, f"i{number}") for number in range(12)))
        began = this.relay.clock.now
        this.look()
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
    def test_what_bigpanda_does_not_tell_is_taken_for_nothing_and_asked_again(self, fault: Answer | Exception) -> None:
        def fails(_: Call) -> Answer:
            if isinstance(fault, Exception):
                raise fault
            return fault

        this = scene()
        this.relay.share(status="critical", changedOn=int(this.relay.clock.now - 600))
        this.has(incident(this.relay.clock, status="Ok"), incident(this.relay.clock, "i2"))
        this.tenant.faults["folder="] = fails
        before = note_of(this).last
        seen = this.look()
        assert (seen["missed"], bool(seen["failure"])) == (0, True)
        assert note_of(this).last == before
        assert this.relay.recorder.metrics()["reconcile_failed"] == 2
        this.tenant.faults.clear()
        this.relay.clock.now += 300
        assert this.look()["missed"] == 2

    def test_items_that_are_no_incidents_keep_no_other(self) -> None:
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
        assert this.look()["missed"] == 3

    def test_what_cannot_be_read_is_said(self) -> None:
        this = scene()
        broken = {"items": [{"id": "i1", "changed_at": float("nan")}, {"id": None}], "total": 2}
        this.tenant.faults["folder=shared"] = lambda _: answer(broken)
        assert this.once()["compared"] == 0
        assert this.relay.recorder.metrics()["reconcile_failed"] == 1

    def test_two_looks_at_once_are_one(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock))
        others: list[dict[str, Any]] = []

        def meanwhile(call: Call) -> Answer:
            this.tenant.faults.clear()
            others.append(this.once())
            return this.tenant(call)

        this.once()
        this.relay.clock.now += SETTLES_SECONDS
        this.tenant.faults["folder=shared"] = meanwhile
        assert this.once()["missed"] == 1
        assert others == [{}]
        assert len(this.relay.retries.messages) == 1

    def test_a_look_that_died_is_followed_by_another_once_its_lease_is_over(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock))
        died = note_of(this)._replace(run="r1", is_working=True, until=this.relay.clock.now + PIECE_SECONDS)
        died.write(this.relay.table, group_name(access_of(this.relay), "e1"))
        assert this.once() == {}
        this.relay.clock.now += PIECE_SECONDS + 1
        assert this.look()["missed"] == 1

    def test_a_note_that_cannot_be_read_is_begun_anew(self) -> None:
        this = scene(since=0)
        access = access_of(this.relay)
        for name in (channel_key(place_name(access, "e1"), "noc"), group_key(group_name(access, "e1"))):
            this.relay.table.write(name, 0, '["x"]')
        this.has(incident(this.relay.clock))
        assert this.once()["compared"] == 1
        assert note_of(this).last == this.relay.clock.now

    def test_a_table_that_fails_is_said_and_nothing_rings(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock))
        this.relay.dynamodb.failure = ClientError({"Error": {"Code": "InternalServerError"}}, "GetItem")
        assert this.look() == {}
        assert this.relay.recorder.metrics()["reconcile_failed"] == 2
        assert this.relay.retries.messages == []

    @pytest.mark.parametrize("access", [{"reconcile": False}, {"environment_id": None}])
    def test_a_channel_that_is_not_to_be_compared_or_shared_nothing_yet_is_left_alone(self, access: Any) -> None:
        this = scene(**access)
        this.has(incident(this.relay.clock))
        assert this.look() == {}
        assert this.relay.bigpanda.calls == []

    def test_one_channel_that_fails_does_not_keep_the_others(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock))
        this.relay.secrets.texts = {"broken": ChannelUnreadable("no"), "odd": "{}", **this.relay.secrets.texts}
        assert this.once()["compared"] == 1
        assert this.relay.recorder.metrics()["reconcile_failed"] == 2

    def test_names_that_cannot_be_listed_are_said(self) -> None:
        def fails() -> list[str]:
            raise ChannelUnreadable("Secrets Manager refused to list the channels: AccessDenied")

        this = scene()
        object.__setattr__(this.relay.schedule, "names", fails)
        assert this.once() == {}
        assert this.relay.recorder.metrics()["reconcile_failed"] == 1

    def test_what_was_missed_is_said_loudly(self) -> None:
        this = scene()
        this.has(incident(this.relay.clock))
        this.look()
        assert this.relay.recorder.metrics()["share_missed"] == 1
