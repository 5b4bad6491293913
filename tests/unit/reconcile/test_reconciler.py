"""Reconcile: a share that BigPanda made and the relay never got is relayed once, and nothing else is."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.exceptions import EndpointConnectionError

from relay.http.session import HttpAnswer
from relay.jobs.job import timestamp
from relay.jobs.queue import envelope_of
from tests import samples
from tests.fakes import Call, Step
from tests.unit import xmatters_tenant
from tests.unit.reconcile_scene import Scene, accepted, answer, incident, make_scene, with_channels

QUEUE_DOWN = EndpointConnectionError(endpoint_url="x")


def without(*names: str, **members: Any) -> dict[str, Any]:
    """Return members that remove these names from what `listed` returns."""
    return dict.fromkeys(names, ...) | members


def listed(scene: Scene, name: str = "i1", **members: Any) -> dict[str, Any]:
    found = incident(scene.relay.clock, name, **{key: value for key, value in members.items() if value is not ...})
    return {key: value for key, value in found.items() if members.get(key) is not ...}


@pytest.mark.parametrize(
    ("how", "shared", "shown", "missed", "signalled"),
    [
        pytest.param({}, None, {}, 1, ["critical"], id="never shared"),
        pytest.param({}, None, {"shared": False}, 0, [], id="not shared with the channel"),
        pytest.param({}, None, {"status": "Ok"}, 0, [], id="over and never shared"),
        pytest.param({}, None, {"snooze": {"snoozed": True}}, 0, [], id="snoozed"),
        pytest.param({}, None, without("shared"), 1, ["critical"], id="judged by its folder"),
        pytest.param({"since": 0}, None, {"ago": 3600}, 0, [], id="changed before the first run of the channel"),
        pytest.param(
            {"since": 0}, None, {"changed_at": None, "updated_at": None}, 1, ["critical"], id="without timestamps"
        ),
        pytest.param({}, {}, {"incident_tags": [{"name": "new"}]}, 0, ["critical"], id="announced, other change"),
        pytest.param({}, {"status": "warning"}, {}, 1, ["warning", "critical"], id="missed change"),
        pytest.param({}, {"status": "warning"}, {"status": "Ok"}, 1, ["warning", "ok"], id="missed resolve"),
        pytest.param(
            {},
            {"status": "warning", "ago": 1400},
            {"status": "Ok", "ago": 1200},
            1,
            ["warning", "ok"],
            id="missed resolve that the second run would not list",
        ),
        pytest.param({"reconcile": "report"}, {"status": "warning"}, {}, 1, ["warning", "critical"], id="report"),
        pytest.param({}, {"status": "warning"}, {"ago": 900}, 0, ["warning"], id="older than the last share"),
        pytest.param(
            {"policy": {"confirm_resolve": False}},
            {"status": "ok", "active": False, "resolved": True, "ago": 100},
            {},
            0,
            [],
            id="older than a resolve that the policy believes",
        ),
        pytest.param(
            {"policy": {"preset": "oncall"}}, {}, {"status": "Warning"}, 0, ["critical"], id="not in the policy"
        ),
        pytest.param(
            {"policy": {"notify_on": ["opened"]}}, {}, {"status": "Ok"}, 0, ["critical"], id="resolve not in the policy"
        ),
    ],
)
def test_difference_between_bigpanda_and_ledger_is_relayed_once(
    how: dict[str, Any], shared: dict[str, Any] | None, shown: dict[str, Any], missed: int, signalled: list[str]
) -> None:
    scene = make_scene(**how)
    if shared is not None:
        scene.shared(**shared)
    scene.has(listed(scene, **shown))
    assert scene.run_twice()["missed"] == missed
    assert scene.relay.recorder.lines("reconciled")[-1]["level"] == ("ERROR" if missed else "INFO")
    scene.relay.wake(60)
    assert scene.signalled() == signalled
    assert scene.relay.recorder.metrics().get("share_missed", 0) == missed
    for _ in range(2):
        scene.relay.clock.now += 300
        assert scene.run_twice()["missed"] == 0
        scene.relay.wake(0)
    assert scene.signalled() == signalled


class TestMissed:
    def test_missed_incident_is_relayed_with_the_member_names_of_a_webhook(self) -> None:
        scene = make_scene(callbacks=True, app_key="app-1")
        scene.has(listed(scene, severity="critical", incident_tags=[{"name": "x"}]))
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
        assert [job.kind for job in scene.relay.chores.jobs()] == ["release"]

    def test_second_resolve_that_was_missed_within_the_hour_is_relayed_too(self, scene: Scene) -> None:
        clock = scene.relay.clock
        scene.shared(ago=900)
        for ago in (600, 30):
            scene.has(incident(clock, ago=ago, status="Ok", end=int(clock.now - ago)))
            scene.run_twice()
            scene.relay.wake(60)
            if ago == 600:
                scene.shared(ago=0)
                scene.relay.wake(60)
                clock.now += 120
        assert scene.signalled() == ["critical", "ok", "critical", "ok"]

    def test_missed_incident_that_the_queue_refuses_is_relayed_by_the_next_run(self, scene: Scene) -> None:
        scene.has(listed(scene), listed(scene, "i2"))

        def down(_: Call) -> HttpAnswer:
            scene.relay.retries.failure = QUEUE_DOWN
            return HttpAnswer(404, {}, b"{}")

        scene.tenant.faults["/i2?"] = down
        found = scene.run_twice()
        assert (found["missed"], found["failure"]) == (1, "the retry queue did not take what was missed")
        assert scene.relay.recorder.metrics()["share_missed"] == 1
        scene.tenant.faults.clear()
        scene.relay.retries.failure = None
        scene.relay.clock.now += 300
        assert scene.run()["missed"] == 1

    @pytest.mark.parametrize("poor", [{"status": None}, {"changed_at": 1, "updated_at": 1}], ids=str)
    def test_details_that_are_poorer_or_older_than_the_listing_are_not_used(self, poor: dict[str, Any]) -> None:
        scene = make_scene()
        scene.has(listed(scene))
        scene.tenant.faults["/e1/incidents/"] = lambda _: answer(scene.tenant.incidents[0] | poor)
        scene.delay(1)
        scene.run()
        scene.relay.clock.now += 90
        began = scene.relay.clock.now
        scene.run()
        [job] = scene.relay.retries.jobs()
        assert (job.stamps.status, job.version) == ("critical", (scene.tenant.incidents[0]["changed_at"],) * 2)
        assert job.received_at == timestamp(began + 1), "a share that came while details were asked for is newer"

    def test_run_lists_only_incidents_that_match_the_query_of_the_channel(self) -> None:
        scene = make_scene(reconcile_query='team = "payments"')
        scene.run()
        queries = [parse_qs(urlsplit(call.url).query) for call in scene.relay.bigpanda.calls]
        assert [query["folder"] for query in queries] == [["snoozed"], ["shared"], ["resolved"]]
        assert {(query["query"][0], query["sort_by"][0]) for query in queries} == {('team = "payments"', "last_change")}

    def test_run_keeps_the_bigpanda_key_out_of_logs_jobs_and_items(self, scene: Scene) -> None:
        scene.has(listed(scene))
        scene.tenant.faults["shared"] = lambda _: HttpAnswer(401, {}, b'{"key": "BPU-canary"}')
        scene.run_twice()
        scene.tenant.faults.clear()
        scene.run_twice()
        assert "BPU-canary" not in scene.relay.recorder.written() + json.dumps(scene.relay.dynamodb.items)
        assert all("BPU-canary" not in envelope_of(job) for job in scene.relay.retries.jobs())


class TestKnown:
    """Known incidents: a state that the ledger has is not signalled twice."""

    def test_incident_that_only_an_unannounced_share_to_other_recipients_named_is_reported(self) -> None:
        scene = make_scene(reconcile="report")
        scene.shared(("mallory",), status="ok", active=False, resolved=True)
        scene.has(listed(scene, ago=200))
        assert scene.run_twice()["unknown"] == 1

    def test_recipients_that_only_an_unannounced_share_named_get_no_signal(self, scene: Scene) -> None:
        scene.shared(("mallory",), status="ok", active=False, resolved=True)
        scene.has(listed(scene, ago=200))
        assert scene.run_twice()["missed"] == 1
        assert [job.url_recipients for job in scene.relay.retries.jobs() if job.stamps.status == "critical"] == [()]

    def test_recipients_that_the_channel_no_longer_permits_get_no_signal(self, scene: Scene) -> None:
        scene.shared(("dba",), status="warning")
        scene.relay.edit_secret(lambda document: document["policy"].update(allowed_recipients=[]))
        scene.relay.clock.now += 301
        scene.has(listed(scene, ago=200))
        scene.run_twice()
        assert [job.stamps.status for job in scene.relay.retries.jobs()] == ["warning"]


@pytest.mark.parametrize("is_believed", [True, False])
def test_critical_is_signalled_although_resolves_are_forged_all_the_time(is_believed: bool) -> None:
    """A forged resolve is believed while BigPanda does not answer the questions about it."""
    scene = make_scene()
    scene.has(listed(scene))

    def forge(times: int, seconds: float) -> None:
        for _ in range(times):
            scene.shared(ago=0, status="ok", active=False, resolved=True)
            scene.relay.wake(seconds)

    if is_believed:
        scene.tenant.faults["/incidents/i1"] = lambda _: HttpAnswer(503, {}, b"")
        forge(100, 12)
        scene.tenant.faults.clear()
    forge(1, 0)
    scene.run_twice()
    forge(60, 5)
    assert scene.signalled() == ["critical"]


@pytest.mark.parametrize("status", [400, 503], ids=["dead-lettered", "owed"])
def test_critical_is_owed_anew_if_a_believed_resolve_ended_its_page_before_it_was_announced(status: int) -> None:
    tenant = xmatters_tenant.Tenant()
    scene = make_scene(tenant.accept, tenant.accept, samples.refused(status), rest=True)
    scene.relay.rest.steps = [tenant.rest]
    scene.has(listed(scene, ago=600))
    scene.shared()
    # Others missed the critical: the run finds both differences of the incident at once.
    scene.shared(("dba",), ago=700, status="warning")
    scene.tenant.faults["/incidents/i1"] = lambda _: HttpAnswer(503, {}, b"")
    scene.shared(ago=100, status="ok", active=False, resolved=True)
    scene.relay.wake(960)
    assert tenant.ended == ["page-1"]
    scene.tenant.faults.clear()
    assert "failure" not in scene.run_twice()
    scene.relay.wake(120)
    assert scene.signalled()[-1] == "critical"


@pytest.mark.parametrize(("ended", "missed"), [([], 1), (["page-1"], 0)])
def test_end_that_the_policy_does_not_announce_counts_as_missed_only_if_it_left_pages(
    ended: list[str], missed: int
) -> None:
    tenant = xmatters_tenant.Tenant()
    tenant.ended = ended
    scene = make_scene(tenant.accept, rest=True, policy={"notify_on": ["opened"]})
    scene.relay.rest.steps = [tenant.rest]
    scene.shared()
    scene.relay.wake(40)
    scene.has(listed(scene, status="Ok"))
    assert scene.run_twice()["missed"] == missed


def test_owed_warning_does_not_ring_once_bigpanda_shows_that_its_incident_is_over() -> None:
    scene = make_scene(samples.refused(503))
    scene.shared(status="warning")
    scene.has(listed(scene, status="Ok"))
    assert scene.run_twice()["missed"] == 1
    scene.relay.wake(0)
    before = len(scene.signalled())
    scene.relay.session.steps = [samples.accepted("r1")]
    scene.relay.wake(300)
    assert "warning" not in scene.signalled()[before:]


@pytest.mark.parametrize(
    ("reply", "status", "jobs"),
    [(samples.refused(503), "Ok", 0), (accepted, "Critical", 1)],
    ids=["owed resolve", "reopened after it"],
)
def test_state_after_a_resolve_is_queued_once_and_an_owed_resolve_not_again(
    reply: Step, status: str, jobs: int
) -> None:
    scene = make_scene(accepted, reply)
    scene.shared()
    scene.has(listed(scene, status="Ok"))
    scene.shared(ago=100, status="ok", active=False, resolved=True)
    scene.relay.wake(30)
    assert scene.signalled()[:2] == ["critical", "ok"]
    scene.relay.retries.messages.clear()
    scene.has(listed(scene, status=status, ago=0))
    scene.run_twice()
    assert len(scene.relay.retries.messages) == jobs


@pytest.mark.parametrize(
    ("status", "notify_on", "signals"),
    [("Critical", ["opened", "reopened"], 2), ("Warning", ["opened", "reopened"], 1), ("Critical", ["opened"], 1)],
)
def test_critical_rings_once_more_after_a_snooze_of_it_ended(status: str, notify_on: list[str], signals: int) -> None:
    scene = make_scene(policy={"notify_on": notify_on})
    scene.shared(status=status)
    scene.has(listed(scene, status=status, ago=600, snooze={"snoozed": True}))
    scene.run_twice()
    scene.has(listed(scene, status=status, ago=800))
    found = 0
    for _ in range(3):
        scene.relay.clock.now += 300
        found += scene.run()["snooze_over"]
        scene.relay.wake(0)
    assert (len(scene.signalled()), found) == (signals, signals - 1)


def test_critical_that_rang_after_its_snooze_was_seen_does_not_ring_again_once_it_ended() -> None:
    scene = make_scene()
    scene.shared(status="warning")
    scene.has(listed(scene, ago=600, snooze={"snoozed": True}))
    scene.run()
    scene.relay.clock.now += 10
    scene.shared(ago=0)
    scene.has(listed(scene, ago=0))
    for _ in range(3):
        scene.run()
        scene.relay.wake(60)
    assert scene.signalled() == ["warning", "critical"]


def test_incident_that_says_itself_that_it_is_snoozed_is_not_relayed_whatever_folder_lists_it(scene: Scene) -> None:
    snoozed = listed(scene, snooze={"snoozed": True})
    scene.tenant.faults["folder=shared"] = lambda _: answer({"items": [snoozed], "total": 1})
    assert scene.run_twice()["missed"] == 0


def test_incident_of_the_snoozed_folder_is_not_relayed_although_another_folder_lists_it_too(scene: Scene) -> None:
    scene.has(listed(scene, snooze={"snoozed": True}))
    silent = listed(scene, **without("snooze"))
    scene.tenant.faults["folder=shared"] = lambda _: answer({"items": [silent], "total": 1})
    assert scene.run_twice()["missed"] == 0


class TestEnvironments:
    """Environments that a channel's secret names."""

    def test_environment_that_is_gone_does_not_keep_others_from_being_compared(self) -> None:
        scene = make_scene(environments=["e0"])
        scene.tenant.faults["/environments/e0/"] = lambda _: HttpAnswer(404, {}, b"{}")
        scene.has(listed(scene))
        found = scene.run_twice()
        assert (found["missed"], found["failure"]) == (1, "HTTP 404")

    def test_environment_that_was_not_compared_for_a_day_is_begun_anew(self, scene: Scene) -> None:
        scene.run()
        scene.relay.clock.now += 86_401
        scene.has(listed(scene, ago=3600))
        assert scene.run_twice()["missed"] == 0
        scene.has(listed(scene, "i2", ago=10))
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


def test_incidents_that_ended_before_the_last_run_are_not_listed(scene: Scene) -> None:
    scene.run()
    last = scene.relay.clock.now
    scene.relay.clock.now += 300
    scene.relay.bigpanda.calls.clear()
    scene.run()
    queries = [parse_qs(urlsplit(call.url).query) for call in scene.relay.bigpanda.calls]
    assert [query.get("from") for query in queries] == [None, None, [str(int(last - 900))]]


def reporting(**access: Any) -> Scene:
    """Return a scene whose channel has a BigPanda key and no setting for reconcile."""
    return make_scene(reconcile=None, **access)


def notices(scene: Scene) -> list[str]:
    return [message["Message"] for message in scene.relay.sns.published]


@pytest.mark.parametrize("setting", [None, True, "report"])
def test_unknown_critical_is_reported_once_and_not_signalled(setting: Any) -> None:
    scene = make_scene(reconcile=setting)
    scene.has(incident(scene.relay.clock, description="disk full"))
    for seconds in (89, 1):
        assert scene.run() == {"compared": 1, "missed": 0, "snooze_over": 0}, "its share has time to come"
        scene.relay.clock.now += seconds
    assert scene.run() == {"compared": 1, "missed": 0, "snooze_over": 0, "unknown": 1}
    [message] = scene.relay.sns.published
    assert message["Subject"] == "CRITICAL, not paged: incident i1"
    assert 'i1: \\"disk full\\"' in message["Message"]
    assert "channel noc" in message["Message"]
    for _ in range(3):
        scene.relay.clock.now += 3600
        assert "unknown" not in scene.run()
    assert len(notices(scene)) == 1
    assert scene.relay.retries.messages == []
    assert scene.relay.recorder.metrics()["unknown_incident"] == 1
    assert "share_missed" not in scene.relay.recorder.metrics()


@pytest.mark.parametrize(
    ("setting", "known", "status"),
    [("report", None, "Critical"), ("ring", None, "Critical"), ("ring", "unknown", "Warning")],
)
def test_incident_that_ends_while_the_run_lists_incidents_is_neither_reported_nor_signalled(
    setting: str, known: str | None, status: str
) -> None:
    scene = make_scene(reconcile=setting, policy={"notify_on": ["opened", "worsened"]})
    if known:
        scene.shared(status=known)
        scene.relay.wake(0)
    scene.has(incident(scene.relay.clock, status=status))
    scene.run()
    scene.relay.clock.now += 90
    ended = answer({"items": [incident(scene.relay.clock, status="Ok")], "total": 1})
    scene.tenant.faults["folder=resolved"] = lambda _: ended
    assert scene.run() == {"compared": 2, "missed": 0, "snooze_over": 0}


def test_unknown_critical_of_two_environments_is_reported_once() -> None:
    scene = make_scene(reconcile="report", environments=["e0", "e1"], environment_id=None)
    scene.has(incident(scene.relay.clock))
    for _ in range(3):
        scene.relay.reconcile()
        scene.relay.clock.now += 90
    assert (len(notices(scene)), scene.relay.recorder.metrics()["unknown_incident"]) == (1, 1)


def test_report_names_each_channel_that_an_unknown_critical_of_two_environments_may_be_of() -> None:
    scene = make_scene(reconcile="report", environments=["e0"], environment_id=None)
    with_channels(scene, db={"environments": ["e1"]})
    scene.has(incident(scene.relay.clock))
    for _ in range(5):
        scene.relay.reconcile()
        scene.relay.clock.now += 300
    assert ["channel noc" in each for each in notices(scene)] == [True, False]
    assert ["channel db" in each for each in notices(scene)] == [False, True]


def test_unknown_critical_is_reported_after_the_pause_of_its_only_channel() -> None:
    pause = {"since": "2027-01-15T07:43:20Z", "until": "2027-01-17T00:00:00Z", "then": "keep"}
    scene = make_scene(reconcile="report", policy={"pauses": [pause]})
    scene.has(incident(scene.relay.clock))
    scene.run_twice()
    for _ in range(6):
        scene.relay.clock.now += 6 * 3600
        assert "unknown" not in scene.run()
    assert notices(scene) == []
    scene.relay.clock.now += 6 * 3600
    assert scene.run()["unknown"] == 1
    assert len(notices(scene)) == 1


@pytest.mark.parametrize(
    "members",
    [{"snooze": {"snoozed": True}}, {"changed_at": None, "updated_at": None}, {"updated_at": 0}],
    ids=["a snooze ended", "without timestamps", "updated each hour"],
)
def test_unknown_incident_is_reported_once_and_not_every_day(members: dict[str, Any]) -> None:
    scene = make_scene(reconcile="report")
    scene.has(listed(scene, **members))
    scene.run()
    [incident] = scene.tenant.incidents
    incident["snooze"] = {"snoozed": False}
    for _ in range(50):
        scene.relay.clock.now += 3600
        if members == {"updated_at": 0}:
            incident["updated_at"] = int(scene.relay.clock.now) - 60
        scene.run()
    assert len(scene.relay.sns.published) == 1


def test_unknown_incident_that_is_not_critical_is_logged_alone() -> None:
    scene = reporting()
    scene.has(incident(scene.relay.clock, status="Warning"))
    assert scene.run_twice()["unknown"] == 1
    assert notices(scene) == []
    [line] = [line for line in scene.relay.recorder.lines() if line["message"].startswith("unknown incident")]
    assert (line["incident_id"], line["status"], line["channel"]) == ("i1", "warning", "noc")


def test_unknown_warning_that_was_logged_and_becomes_critical_is_told_to_the_topic() -> None:
    scene = reporting()
    scene.has(incident(scene.relay.clock, status="Warning"))
    assert scene.run_twice()["unknown"] == 1
    scene.has(incident(scene.relay.clock, status="Critical"))
    assert scene.run_twice()["unknown"] == 1
    assert len(notices(scene)) == 1


def test_one_message_names_the_criticals_of_a_run() -> None:
    scene = reporting()
    scene.has(*(incident(scene.relay.clock, f"i{number:02}") for number in range(13)))
    assert scene.run_twice()["unknown"] == 13
    [message] = scene.relay.sns.published
    assert message["Subject"] == f"CRITICAL, not paged: incident i00 and {12} more"
    assert "Incident i09" in message["Message"]
    assert "Incident i10" not in message["Message"]
    assert "And 3 more." in message["Message"]


def test_report_that_the_topic_refuses_is_made_by_the_next_run() -> None:
    scene = reporting()
    scene.has(incident(scene.relay.clock), incident(scene.relay.clock, "i2", status="Warning"))
    scene.relay.sns.failure = EndpointConnectionError(endpoint_url="x")
    assert scene.run_twice()["unknown"] == 1
    assert scene.relay.recorder.metrics()["critical_waits"] == 1
    scene.relay.sns.failure = None
    scene.relay.clock.now += 300
    assert scene.run()["unknown"] == 1
    assert len(notices(scene)) == 1


def test_unknown_incident_that_did_not_change_lately_is_not_reported() -> None:
    scene = reporting()
    scene.has(incident(scene.relay.clock, ago=600 + 900 + 60))
    assert scene.run_twice() == {"compared": 1, "missed": 0, "snooze_over": 0}
