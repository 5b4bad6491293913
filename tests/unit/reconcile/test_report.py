"""Open incidents unknown to every channel: reported by default, since BigPanda does not name their channels."""

from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from relay.delivery.fallback import MAX_NAMED
from relay.entrypoints.webhook import INLINE_SECONDS
from relay.http.session import Answer
from relay.incidents.share import parse_share
from relay.reconcile.comparison import QUEUED_SECONDS, SETTLES_SECONDS
from relay.reconcile.notes import Unannounced
from relay.reconcile.reconciler import OVERLAP_SECONDS
from tests import samples
from tests.unit.reconcile_scene import Scene, incident, note_of, scene, with_channels


def reporting(**access: Any) -> Scene:
    """Return a scene whose channel has a BigPanda key and no setting for reconcile."""
    return scene(reconcile=None, **access)


def notices(this: Scene) -> list[str]:
    """Return the messages to the fallback topic."""
    return [message["Message"] for message in this.relay.sns.published]


def shared(this: Scene, channel: str = "noc", **said: Any) -> None:
    """Relay a share of a channel, ten minutes after its incident changed."""
    stamp = int(this.relay.clock.now - 600)
    body = samples.body(**{"status": "critical", "changedOn": stamp, "updatedOn": stamp} | said)
    this.relay.delivery.relay(
        this.relay.channels.get(channel),
        parse_share(body),
        body,
        recipients=(),
        correlation_id="c1",
        deadline=this.relay.deadline(INLINE_SECONDS),
    )
    this.relay.retries.messages.clear()
    this.relay.session.calls.clear()


@pytest.mark.parametrize("setting", [None, True, "report"])
def test_unknown_critical_is_reported_once_and_not_signalled(setting: Any) -> None:
    this = scene(reconcile=setting)
    this.has(incident(this.relay.clock, description="disk full"))
    assert this.run() == {"compared": 1, "missed": 0, "woken": 0}, "its share has time to come"
    this.relay.clock.now += SETTLES_SECONDS
    assert this.run() == {"compared": 1, "missed": 0, "woken": 0, "unannounced": 1}
    [message] = this.relay.sns.published
    assert message["Subject"] == "CRITICAL, not rung: incident i1"
    assert 'i1: \\"disk full\\"' in message["Message"]
    assert "channel noc" in message["Message"]
    for _ in range(3):
        this.relay.clock.now += QUEUED_SECONDS
        assert "unannounced" not in this.run()
    assert len(notices(this)) == 1
    assert this.relay.retries.messages == []
    assert this.relay.recorder.metrics()["missed_unannounced"] == 1
    assert "share_missed" not in this.relay.recorder.metrics()


def test_unknown_incident_that_is_not_critical_is_logged_alone() -> None:
    this = reporting()
    this.has(incident(this.relay.clock, status="Warning"))
    assert this.run_twice()["unannounced"] == 1
    assert notices(this) == []
    [line] = [line for line in this.relay.recorder.lines() if line["message"].startswith("missed unannounced")]
    assert (line["incident_id"], line["status"], line["channel"]) == ("i1", "warning", "noc")


def test_unknown_incident_that_becomes_critical_is_reported() -> None:
    this = reporting()
    this.has(incident(this.relay.clock, status="Warning"))
    this.run_twice()
    this.relay.clock.now += 300
    this.has(incident(this.relay.clock, ago=10))
    assert this.run_twice()["unannounced"] == 1
    assert len(notices(this)) == 1


@pytest.mark.parametrize(("status", "signalled"), [("Ok", ["ok"]), ("Critical", ["critical"])])
def test_missed_change_of_an_announced_incident_is_relayed(status: str, signalled: list[str]) -> None:
    this = reporting()
    shared(this, status="warning")
    this.has(incident(this.relay.clock, status=status))
    assert this.run_twice() == {"compared": 1, "missed": 1, "woken": 0}
    this.relay.wake(60)
    assert this.signalled() == signalled
    assert notices(this) == []


def test_missed_critical_is_relayed_if_any_share_of_the_incident_came_before() -> None:
    this = reporting()
    shared(this, status="ok")
    this.has(incident(this.relay.clock))
    assert this.run_twice()["missed"] == 1
    assert notices(this) == []


def test_incident_that_another_channel_of_the_group_knows_is_not_reported() -> None:
    this = reporting()
    with_channels(this, dba={})
    shared(this, "dba")
    this.has(incident(this.relay.clock))
    assert "unannounced" not in this.run_twice()
    assert notices(this) == []


def test_incident_that_another_channel_of_the_group_relays_is_not_reported() -> None:
    this = reporting()
    with_channels(this, dba={"reconcile": "ring"})
    this.has(incident(this.relay.clock))
    assert this.run_twice() == {"compared": 1, "missed": 1, "woken": 0}
    assert [job.channel for job in this.relay.retries.jobs()] == ["dba"]
    assert notices(this) == []


def test_one_message_names_the_criticals_of_a_run() -> None:
    this = reporting()
    this.has(*(incident(this.relay.clock, f"i{number:02}") for number in range(MAX_NAMED + 3)))
    assert this.run_twice()["unannounced"] == MAX_NAMED + 3
    [message] = this.relay.sns.published
    assert message["Subject"] == f"CRITICAL, not rung: incident i00 and {MAX_NAMED + 2} more"
    assert "Incident i09" in message["Message"]
    assert "Incident i10" not in message["Message"]
    assert "And 3 more." in message["Message"]


def test_report_that_the_topic_refuses_is_made_by_the_next_run() -> None:
    this = reporting()
    this.has(incident(this.relay.clock), incident(this.relay.clock, "i2", status="Warning"))
    this.relay.sns.failure = EndpointConnectionError(endpoint_url="x")
    assert this.run_twice()["unannounced"] == 1
    assert this.relay.recorder.metrics()["fallback_failed"] == 1
    this.relay.sns.failure = None
    this.relay.clock.now += 300
    assert this.run()["unannounced"] == 1
    assert len(notices(this)) == 1


def test_unknown_incident_that_did_not_change_lately_is_not_reported() -> None:
    this = reporting()
    this.has(incident(this.relay.clock, ago=600 + OVERLAP_SECONDS + 60))
    assert this.run_twice() == {"compared": 1, "missed": 0, "woken": 0}


def test_incident_that_changed_during_an_outage_of_bigpanda_is_reported_after_it() -> None:
    this = reporting()
    this.run()
    this.tenant.faults["folder="] = lambda _: Answer(500, {}, b"")
    for _ in range(6):
        this.relay.clock.now += 1800
        assert this.run()["failure"]
    this.tenant.faults.clear()
    this.has(incident(this.relay.clock, ago=2 * 3600))
    assert this.run_twice()["unannounced"] == 1


def test_unknown_incident_that_reopens_has_time_to_be_shared() -> None:
    this = reporting()
    this.has(incident(this.relay.clock))
    this.run()
    this.relay.clock.now += 60
    this.has(incident(this.relay.clock, status="Ok", ago=5))
    this.run()
    this.relay.clock.now += 60
    this.has(incident(this.relay.clock, ago=5))
    assert "unannounced" not in this.run()
    this.relay.clock.now += SETTLES_SECONDS
    assert this.run()["unannounced"] == 1


def test_unknown_incident_whose_snooze_ended_is_reported() -> None:
    this = reporting()
    old = incident(this.relay.clock, ago=86_000)
    this.has(old | {"snooze": {"snoozed": True}})
    this.run()
    this.relay.clock.now += 300
    this.has(old)
    assert this.run_twice()["unannounced"] == 1


def test_share_that_comes_after_the_report_is_counted_for_doctor() -> None:
    this = reporting()
    this.has(incident(this.relay.clock), incident(this.relay.clock, "i2", status="Warning"))
    this.run_twice()
    shared(this, changedOn=int(this.relay.clock.now))
    this.relay.clock.now += 300
    this.run()
    assert list(note_of(this).days.values()) == [Unannounced(2, 1)]


def test_report_holds_no_credential() -> None:
    this = reporting()
    this.has(incident(this.relay.clock))
    this.run_twice()
    for secret in this.relay.channels.get("noc").secrets():
        assert secret not in str(this.relay.sns.published) + this.relay.recorder.written()
