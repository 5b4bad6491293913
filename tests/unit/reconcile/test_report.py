"""Open incidents unknown to every channel: reported by default, since BigPanda does not name their channels."""

import json
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from relay.delivery.fallback import MAX_NAMED
from relay.entrypoints.authenticated_endpoint import INLINE_SECONDS
from relay.http.session import HttpAnswer
from relay.incidents.share import parse_share
from relay.reconcile.comparison import QUEUED_SECONDS, SETTLES_SECONDS
from relay.reconcile.history import UnknownCounts
from relay.reconcile.reconciler import OVERLAP_SECONDS
from tests import samples
from tests.samples import moment
from tests.unit.reconcile_scene import Scene, history_of, incident, make_scene, with_channels


def reporting(**access: Any) -> Scene:
    """Return a scene whose channel has a BigPanda key and no setting for reconcile."""
    return make_scene(reconcile=None, **access)


def notices(scene: Scene) -> list[str]:
    """Return the messages to the fallback topic."""
    return [message["Message"] for message in scene.relay.sns.published]


def shared(scene: Scene, channel: str = "noc", **said: Any) -> None:
    """Let the relay handle a share whose incident changed ten minutes ago, then discard its signal and job."""
    stamp = int(scene.relay.clock.now - 600)
    body = samples.body(**{"status": "critical", "changedOn": stamp, "updatedOn": stamp} | said)
    scene.relay.delivery.relay(
        scene.relay.channels.get(channel),
        parse_share(body),
        body,
        recipients=(),
        correlation_id="c1",
        deadline=scene.relay.deadline(INLINE_SECONDS),
    )
    scene.relay.retries.messages.clear()
    scene.relay.session.calls.clear()


@pytest.mark.parametrize("setting", [None, True, "report"])
def test_unknown_critical_is_reported_once_and_not_signalled(setting: Any) -> None:
    scene = make_scene(reconcile=setting)
    scene.has(incident(scene.relay.clock, description="disk full"))
    assert scene.run() == {"compared": 1, "missed": 0, "snooze_over": 0}, "its share has time to come"
    scene.relay.clock.now += SETTLES_SECONDS
    assert scene.run() == {"compared": 1, "missed": 0, "snooze_over": 0, "unknown": 1}
    [message] = scene.relay.sns.published
    assert message["Subject"] == "CRITICAL, not paged: incident i1"
    assert 'i1: \\"disk full\\"' in message["Message"]
    assert "channel noc" in message["Message"]
    for _ in range(3):
        scene.relay.clock.now += QUEUED_SECONDS
        assert "unknown" not in scene.run()
    assert len(notices(scene)) == 1
    assert scene.relay.retries.messages == []
    assert scene.relay.recorder.metrics()["unknown_incident"] == 1
    assert "share_missed" not in scene.relay.recorder.metrics()


def test_unknown_critical_is_reported_after_the_pause_of_its_only_channel() -> None:
    pause = {"since": moment(1_799_999_000), "until": moment(1_800_000_000 + 40 * 3600), "then": "keep"}
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


def test_unknown_critical_of_a_group_is_reported_in_the_pause_of_one_channel() -> None:
    pause = {"since": moment(1_799_999_000), "until": moment(1_800_009_000), "then": "keep"}
    scene = reporting()
    with_channels(scene, dba={})
    secret = json.loads(str(scene.relay.secrets.texts["noc"]))
    scene.relay.secrets.texts["noc"] = json.dumps(secret | {"policy": {"pauses": [pause]}})
    scene.relay.clock.now += 301
    scene.has(incident(scene.relay.clock))
    assert scene.run_twice()["unknown"] == 1
    [message] = scene.relay.sns.published
    assert "channel dba" in message["Message"]


def test_unknown_incident_that_is_not_critical_is_logged_alone() -> None:
    scene = reporting()
    scene.has(incident(scene.relay.clock, status="Warning"))
    assert scene.run_twice()["unknown"] == 1
    assert notices(scene) == []
    [line] = [line for line in scene.relay.recorder.lines() if line["message"].startswith("unknown incident")]
    assert (line["incident_id"], line["status"], line["channel"]) == ("i1", "warning", "noc")


def test_unknown_critical_among_more_incidents_than_a_history_can_hold_is_reported() -> None:
    scene = reporting()
    others = [incident(scene.relay.clock, f"a{number}", status="Warning") for number in range(2100)]
    scene.has(*others, incident(scene.relay.clock, "z1"))
    scene.run_twice()
    [message] = notices(scene)
    assert "z1" in message


def test_unknown_incidents_are_not_reported_again_after_a_change_of_the_api_key() -> None:
    scene = reporting()
    scene.has(incident(scene.relay.clock))
    assert scene.run_twice()["unknown"] == 1
    secret = json.loads(str(scene.relay.secrets.texts["noc"]))
    secret["bigpanda"]["api_key"] = "BPU-rotated"
    scene.relay.secrets.texts["noc"] = json.dumps(secret)
    for _ in range(3):
        scene.relay.clock.now += 301
        assert "unknown" not in scene.run_twice()
    assert len(notices(scene)) == 1


def test_unknown_incident_that_becomes_critical_is_reported() -> None:
    scene = reporting()
    scene.has(incident(scene.relay.clock, status="Warning"))
    scene.run_twice()
    scene.relay.clock.now += 300
    scene.has(incident(scene.relay.clock, ago=10))
    assert scene.run_twice()["unknown"] == 1
    assert len(notices(scene)) == 1


@pytest.mark.parametrize(("status", "signalled"), [("Ok", ["ok"]), ("Critical", ["critical"])])
def test_missed_change_of_an_announced_incident_is_relayed(status: str, signalled: list[str]) -> None:
    scene = reporting()
    shared(scene, status="warning")
    scene.has(incident(scene.relay.clock, status=status))
    assert scene.run_twice() == {"compared": 1, "missed": 1, "snooze_over": 0}
    scene.relay.wake(60)
    assert scene.signalled() == signalled
    assert notices(scene) == []


def test_missed_critical_is_relayed_if_any_share_of_the_incident_came_before() -> None:
    scene = reporting()
    shared(scene, status="ok")
    scene.has(incident(scene.relay.clock))
    assert scene.run_twice()["missed"] == 1
    assert notices(scene) == []


def test_incident_that_another_channel_of_the_group_knows_is_not_reported() -> None:
    scene = reporting()
    with_channels(scene, dba={})
    shared(scene, "dba")
    scene.has(incident(scene.relay.clock))
    assert "unknown" not in scene.run_twice()
    assert notices(scene) == []


def test_incident_that_another_channel_of_the_group_relays_is_not_reported() -> None:
    scene = reporting()
    with_channels(scene, dba={"reconcile": "ring"})
    scene.has(incident(scene.relay.clock))
    assert scene.run_twice() == {"compared": 1, "missed": 1, "snooze_over": 0}
    assert [job.channel for job in scene.relay.retries.jobs()] == ["dba"]
    assert notices(scene) == []


def test_one_message_names_the_criticals_of_a_run() -> None:
    scene = reporting()
    scene.has(*(incident(scene.relay.clock, f"i{number:02}") for number in range(MAX_NAMED + 3)))
    assert scene.run_twice()["unknown"] == MAX_NAMED + 3
    [message] = scene.relay.sns.published
    assert message["Subject"] == f"CRITICAL, not paged: incident i00 and {MAX_NAMED + 2} more"
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
    scene.has(incident(scene.relay.clock, ago=600 + OVERLAP_SECONDS + 60))
    assert scene.run_twice() == {"compared": 1, "missed": 0, "snooze_over": 0}


def test_incident_that_changed_during_an_outage_of_bigpanda_is_reported_after_it() -> None:
    scene = reporting()
    scene.run()
    scene.tenant.faults["folder="] = lambda _: HttpAnswer(500, {}, b"")
    for _ in range(6):
        scene.relay.clock.now += 1800
        assert scene.run()["failure"]
    scene.tenant.faults.clear()
    scene.has(incident(scene.relay.clock, ago=2 * 3600))
    assert scene.run_twice()["unknown"] == 1


def test_unknown_incident_that_reopens_has_time_to_be_shared() -> None:
    scene = reporting()
    scene.has(incident(scene.relay.clock))
    scene.run()
    scene.relay.clock.now += 60
    scene.has(incident(scene.relay.clock, status="Ok", ago=5))
    scene.run()
    scene.relay.clock.now += 60
    scene.has(incident(scene.relay.clock, ago=5))
    assert "unknown" not in scene.run()
    scene.relay.clock.now += SETTLES_SECONDS
    assert scene.run()["unknown"] == 1


def test_unknown_incident_whose_snooze_ended_is_reported() -> None:
    scene = reporting()
    old = incident(scene.relay.clock, ago=86_000)
    scene.has(old | {"snooze": {"snoozed": True}})
    scene.run()
    scene.relay.clock.now += 300
    scene.has(old)
    assert scene.run_twice()["unknown"] == 1


def test_share_that_comes_after_the_report_is_counted_for_doctor() -> None:
    scene = reporting()
    scene.has(incident(scene.relay.clock), incident(scene.relay.clock, "i2", status="Warning"))
    scene.run_twice()
    shared(scene, changedOn=int(scene.relay.clock.now))
    scene.relay.clock.now += 300
    scene.run()
    assert list(history_of(scene).days.values()) == [UnknownCounts(2, 1)]


def test_report_holds_no_credential() -> None:
    scene = reporting()
    scene.has(incident(scene.relay.clock))
    scene.run_twice()
    for secret in scene.relay.channels.get("noc").secrets():
        assert secret not in str(scene.relay.sns.published) + scene.relay.recorder.written()
