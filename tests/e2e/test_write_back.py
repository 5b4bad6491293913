"""Write-back of people's answers to BigPanda, through the deployed API, queues and workers."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox import local
from sandbox.bigpanda.users import USERS
from sandbox.server.client import StandIn
from tests.e2e import channels
from tests.e2e.channels import Channel
from tests.e2e.relayctl_operator import Operator
from tests.waiting import until

SHARED_IN = "63bd0a1f2c"
CHANGED_ON = int(time.time()) - 60


@pytest.fixture(scope="module")
def channel(cloud: local.Local, xmatters: StandIn) -> Channel:
    """A channel whose answers are written to BigPanda's stand-in."""
    places = f'bigpanda.environments=["{SHARED_IN}"]'
    return channels.made(cloud, xmatters, [*channels.UNPACED, *local.bigpanda_settings(xmatters), places])


@pytest.fixture
def operator(channel: Channel, relayctl: Path) -> Iterator[Operator]:
    its_operator = Operator(channel, relayctl)
    yield its_operator
    its_operator.close()


def share(incident_id: str, seconds: int = 0) -> bytes:
    """Return a share of a critical incident that was touched so many seconds after its last change."""
    incident = {"id": incident_id, "status": "critical", "changedOn": CHANGED_ON, "updatedOn": CHANGED_ON + seconds}
    return json.dumps({"incident": incident, "metadata": {"environment_id": SHARED_IN}}).encode()


def answer(incident_id: str, **members: Any) -> bytes:
    said = {
        "relay": 1,
        "kind": "response",
        "incident_id": incident_id,
        "event": {"number": "408005"},
        "person": {"target": "jdoe", "first_name": "Jane", "last_name": "Doe"},
        "device": "Work Phone",
        "response": "Acknowledge",
    }
    return json.dumps(said | members).encode()


def comments(xmatters: StandIn, incident_id: str) -> list[str]:
    return [each["document"]["comment"] for each in xmatters.comments(incident_id)]


def test_acknowledgement_becomes_a_comment_and_an_assignment_and_signals_nothing(
    operator: Operator, xmatters: StandIn
) -> None:
    incident_id = f"{operator.tag}-ä/1"
    assert operator.channel.post(share(incident_id)).json()["outcome"] == "delivered"
    reply = operator.channel.call_back(answer(incident_id, note="on it ✓"))
    assert (reply.status_code, reply.json()["outcome"], reply.json()["queue"]) == (200, "queued", "retry")
    until(lambda: len(comments(xmatters, incident_id)) == 1)
    [comment], calls = xmatters.comments(incident_id), xmatters.calls()
    [assignment] = [each for each in calls if (each["route"], each["incident_id"]) == ("assignment", incident_id)]
    words, _, _ = comment["document"]["comment"].partition(" [relay ")
    assert words == (
        '"Jane Doe" (jdoe) acknowledged xMatters page 408005 from "Work Phone". '
        'The incident is assigned to them. Note: "on it ✓"'
    )
    assert assignment["document"] == {"assignee": USERS[0]["id"]}
    # The share's own environment, not the channel's.
    assert {comment["environment_id"], assignment["environment_id"]} == {SHARED_IN}

    # BigPanda shares the comment back.
    again = operator.channel.post(share(incident_id, seconds=30))
    assert (again.status_code, again.json()["outcome"]) == (200, "unchanged")
    assert operator.rang() == {incident_id: 1}
    # Both functions recorded that their credential was used.
    shown = operator.run_json("channel", "show", operator.channel.name)["credentials"]
    assert {(each["endpoint"], each["kind"]) for each in shown if each["used_at"]} == {
        ("inbound", "token"),
        ("callback", "token"),
    }
