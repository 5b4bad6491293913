"""Waits of half a minute in the deployed queues: all are begun together, so that they pass at once."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox import local, team
from sandbox.cloud.fallback import Subscriber, sweep
from sandbox.server.client import StandIn
from tests.e2e import channels
from tests.e2e.channels import Channel
from tests.e2e.relayctl_operator import Operator
from tests.waiting import until

CHANGED_ON = int(time.time()) - 60


@pytest.fixture(scope="module")
def subscriber(cloud: local.Local) -> Iterator[Subscriber]:
    its_subscriber = Subscriber(cloud)
    yield its_subscriber
    its_subscriber.close()


@pytest.fixture(scope="module")
def channel(cloud: local.Local, xmatters: StandIn) -> Channel:
    """A channel with a short time until the fallback, and access to xMatters' REST API."""
    settings = [*channels.UNPACED, "policy.fallback_after_seconds=1"]
    settings += [f"xmatters.rest.base_url={xmatters.xmatters_url}"]
    settings += [f"xmatters.rest.auth.{name}={value}" for name, value in team.REST_AUTH.items()]
    return channels.made(cloud, xmatters, settings)


@pytest.fixture(scope="module")
def operator(channel: Channel, relayctl: Path) -> Iterator[Operator]:
    """One operator for all tests, since each new one empties the queues."""
    its_operator = Operator(channel, relayctl)
    yield its_operator
    its_operator.close()


@pytest.fixture(scope="module")
def followed(channel: Channel, operator: Operator) -> dict[str, str]:
    """Share incidents whose pages have to be found: one resolves, one worsens, one stays as it is; return their ids."""
    ids = {kind: f"{operator.tag}-{kind}" for kind in ("others", "resolved", "worse")}
    lives = {"others": ("critical",), "resolved": ("critical", "ok"), "worse": ("warning", "critical")}
    for kind, statuses in lives.items():
        for seconds, status in enumerate(statuses):
            assert posted(channel, ids[kind], status, seconds)["outcome"] == "delivered"
    return ids


@pytest.fixture(scope="module")
def cut_off(cloud: local.Local, xmatters: StandIn, operator: Operator) -> tuple[str, str]:
    """Cut the connection after BigPanda wrote the comment of a callback; return the ids of its incident and its job."""
    channel = channels.made(cloud, xmatters, [*channels.UNPACED, *local.bigpanda_settings(xmatters)])
    incident_id = f"{operator.tag}-cut"
    assert posted(channel, incident_id, "critical")["outcome"] == "delivered"
    operator.script({"kind": "accept_then_reset", "on": "comment"})
    said = {"relay": 1, "kind": "response", "incident_id": incident_id, "response": "Acknowledge"}
    said |= {"event": {"number": "408005"}, "person": {"target": "jdoe"}, "device": "Work Phone"}
    delivery_id = str(channel.call_back(json.dumps(said).encode()).json()["delivery_id"])
    until(lambda: len(xmatters.comments(incident_id)) == 1)
    return incident_id, delivery_id


def posted(channel: Channel, incident_id: str, status: str, seconds: int = 0) -> dict[str, Any]:
    """Share an incident whose status changed `seconds` after CHANGED_ON; return the answer."""
    incident = {"id": incident_id, "status": status, "changedOn": CHANGED_ON + seconds}
    answer: dict[str, Any] = channel.post(json.dumps({"incident": incident}).encode()).json()
    return answer


@pytest.mark.usefixtures("followed", "cut_off")
def test_owed_critical_notifies_the_fallback_topic_once_and_is_delivered_later(
    channel: Channel, operator: Operator, subscriber: Subscriber
) -> None:
    critical, warning = (f"{operator.tag}-fallback-{status}" for status in ("critical", "warning"))
    # Messages that are moved to the retry queue are visible at once; those kept there are delayed.
    operator.script({"kind": "status", "status": 404, "times": 2})
    for incident_id, status in ((critical, "critical"), (warning, "warning")):
        assert posted(channel, incident_id, status)["queue"] == "dead_letter"
    assert subscriber.hears(channel.name) == []

    operator.listen(is_open=False)
    assert operator.redrive() == 2
    until(lambda: sweep(channel.cloud) and len(subscriber.hears(channel.name)) == 1)
    [message] = subscriber.hears(channel.name)
    assert message["Subject"] == f"CRITICAL, xMatters did not notify: incident {critical} of channel {channel.name}"
    assert f"/incidents/{critical}" in message["Message"]
    assert message["MessageAttributes"]["channel"]["Value"] == channel.name
    assert operator.rang().keys().isdisjoint({critical, warning})
    assert channel.cloud.dead_letters() == 0

    operator.listen(is_open=True)
    until(lambda: {critical, warning} <= operator.rang().keys())
    # The jobs kept at the time of the shares wake as well, and find nothing owed.
    until(lambda: channel.cloud.retrying() == 0)
    assert [operator.rang()[each] for each in (critical, warning)] == [1, 1]
    assert len(subscriber.hears(channel.name)) == 1
    assert channel.cloud.dead_letters() == 0


def test_pages_end_on_resolve_and_when_a_newer_page_of_their_incident_exists(
    xmatters: StandIn, followed: dict[str, str]
) -> None:
    def states(kind: str) -> list[str]:
        return [event["status"] for event in xmatters.events(followed[kind])]

    # The jobs kept before the signals wake 36 seconds after them.
    until(lambda: [states(kind) for kind in ("resolved", "worse")] == [["TERMINATED", "ACTIVE"]] * 2)
    assert states("others") == ["ACTIVE"]
    # An incident's two jobs may wake at once, and both end its page: the second call changes nothing. Other tests of
    # this cloud end pages of their own.
    pages = {kind: [event["id"] for event in xmatters.events(name)] for kind, name in followed.items()}
    asked = {call["document"]["id"] for call in xmatters.calls() if call["route"] == "event"}
    ended = {kind: [page for page in pages[kind] if page in asked] for kind in pages}
    assert ended == {"resolved": pages["resolved"][:1], "worse": pages["worse"][:1], "others": []}


def test_connection_cut_after_a_comment_was_written_makes_no_second_comment(
    xmatters: StandIn, cut_off: tuple[str, str]
) -> None:
    incident_id, delivery_id = cut_off

    def tries() -> list[tuple[str, str | None]]:
        calls = [call for call in xmatters.calls() if call["incident_id"] == incident_id]
        return [(call["route"], call["fault"]) for call in calls if call["route"] in {"comment", "activities"}]

    until(lambda: len(tries()) > 1)
    assert tries() == [("comment", "accept_then_reset"), ("activities", None)]
    [comment] = xmatters.comments(incident_id)
    assert f"[relay {delivery_id[:8]}]" in comment["document"]["comment"]
