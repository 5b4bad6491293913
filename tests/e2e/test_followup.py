"""Confirmation and termination of pages, through the deployed queues and workers."""

import json
import time
import uuid

import pytest

from sandbox import local, team
from sandbox.server.client import StandIn
from tests.e2e import channels
from tests.e2e.channels import Channel
from tests.waiting import until

CHANGED_ON = int(time.time()) - 60


@pytest.fixture(scope="module")
def channel(cloud: local.Local, xmatters: StandIn) -> Channel:
    """A channel with access to xMatters' REST API."""
    # The stand-in has one login, that of the channel `demo`.
    rest = [f"xmatters.rest.base_url={xmatters.xmatters_url}"]
    rest += [f"xmatters.rest.auth.{name}={value}" for name, value in team.REST_AUTH.items()]
    return channels.made(cloud, xmatters, [*channels.UNPACED, *rest])


def share(channel: Channel, incident_id: str, status: str, seconds: int) -> None:
    """Share an incident whose status changed `seconds` after CHANGED_ON; assert that the signal is delivered."""
    incident = {"id": incident_id, "status": status, "changedOn": CHANGED_ON + seconds}
    assert channel.post(json.dumps({"incident": incident}).encode()).json()["outcome"] == "delivered"


def states(xmatters: StandIn, incident_id: str) -> list[str]:
    return [event["status"] for event in xmatters.events(incident_id)]


def test_pages_end_on_resolve_and_when_a_newer_page_of_their_incident_exists(
    channel: Channel, xmatters: StandIn
) -> None:
    resolved, worse, others = (f"{kind}-{uuid.uuid4().hex[:8]}" for kind in ("resolved", "worse", "others"))
    share(channel, others, "critical", 0)
    for incident_id, statuses in ((resolved, ("critical", "ok")), (worse, ("warning", "critical"))):
        for seconds, status in enumerate(statuses):
            share(channel, incident_id, status, seconds)
    # The jobs kept before the signals wake 36 seconds after them.
    until(lambda: [states(xmatters, each) for each in (resolved, worse)] == [["TERMINATED", "ACTIVE"]] * 2)
    assert states(xmatters, others) == ["ACTIVE"]
    # An incident's two jobs may wake at once, and both end its page: the second call changes nothing. Other tests of
    # this cloud end pages of their own.
    pages = {each: [event["id"] for event in xmatters.events(each)] for each in (resolved, worse, others)}
    asked = {call["document"]["id"] for call in xmatters.event_calls() if call["route"] == "event"}
    ended = {each: [page for page in pages[each] if page in asked] for each in pages}
    assert ended == {resolved: pages[resolved][:1], worse: pages[worse][:1], others: []}
