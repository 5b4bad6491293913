"""The fallback for an owed critical, and its later delivery, through the deployed queues."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox import local
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
    return channels.made(cloud, xmatters, [*channels.UNPACED, "policy.fallback_after_seconds=1"])


@pytest.fixture(scope="module")
def operator(channel: Channel, relayctl: Path) -> Iterator[Operator]:
    its_operator = Operator(channel, relayctl)
    yield its_operator
    its_operator.close()


def posted(channel: Channel, incident_id: str, status: str) -> dict[str, Any]:
    incident = {"id": incident_id, "status": status, "changedOn": CHANGED_ON}
    answer: dict[str, Any] = channel.post(json.dumps({"incident": incident}).encode()).json()
    return answer


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
