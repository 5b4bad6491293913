"""A share that never came is found by asking BigPanda: through the deployed functions, queue and worker; once."""

import json
import time
import uuid
from copy import replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from relay.look import Look, Span
from relay.reconcile import SETTLES_SECONDS
from sandbox import local
from sandbox.cloud import REGION
from sandbox.standin import StandIn
from tests.e2e import channels
from tests.e2e.channels import Channel
from tests.e2e.relayctl_operator import until

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

KEY = "BPU-e2e-reconcile"


@pytest.fixture
def environment_id() -> str:
    """An environment of BigPanda's that no other test has."""
    return uuid.uuid4().hex[:24]


@pytest.fixture
def channel(cloud: local.Local, xmatters: StandIn, environment_id: str) -> Channel:
    """A channel that may ask BigPanda for the incidents of the environment, of which there are none."""
    xmatters.let_into_bigpanda(KEY)
    xmatters.have_incidents(environment_id, [])
    known = {"base_url": xmatters.bigpanda_url, "api_key": KEY, "environment_id": environment_id}
    return channels.made(
        cloud, xmatters, [*channels.UNPACED, *(f"bigpanda.{name}={value}" for name, value in known.items())]
    )


def look(channel: Channel) -> dict[str, Any]:
    """What the deployed function finds when it is invoked, of this channel, and without what it does not find."""
    functions: LambdaClient = boto3.client("lambda", region_name=REGION, endpoint_url=channel.cloud.aws_endpoint_url)
    answer = functions.invoke(FunctionName=channel.cloud.outputs["ReconcileFunction"], Payload=b"{}")
    found = json.loads(answer["Payload"].read())
    assert "errorMessage" not in found, found
    return {name: value for name, value in found[channel.name].items() if value}


def put_back(channel: Channel, seconds: float) -> None:
    """Let the looks at the channel, and what differed at them, be so many seconds older than they are."""
    note = Look.read(channel.ledger(), channel.name)
    spans = {name: Span(span.since - seconds, span.last - seconds) for name, span in note.spans.items()}
    differing = {name: replace(each, since=each.since - seconds) for name, each in note.differing.items()}
    assert replace(note, spans=spans, differing=differing).write(channel.ledger(), channel.name)


def looks(channel: Channel) -> dict[str, Any]:
    """What the second of two looks finds; what differs at the first is left to its own share."""
    assert look(channel) == {"compared": 1}
    put_back(channel, SETTLES_SECONDS)
    return look(channel)


def test_what_never_came_rings_once_and_so_does_its_end(
    channel: Channel, xmatters: StandIn, environment_id: str
) -> None:
    before = time.time()
    assert look(channel) == {}
    [first] = Look.read(channel.ledger(), channel.name).spans.values()
    assert before <= first.since <= time.time()
    # What changed before a place was looked at first is left alone.
    put_back(channel, 600)
    changed_at = int(time.time()) - 150
    incident = {
        "id": f"never-came-{uuid.uuid4().hex[:8]}",
        "status": "Critical",
        "active": True,
        "changed_at": changed_at,
        "folders": ["active", "shared"],
        "alerts": [{"alert_id": "a1", "status": "Critical", "description": "disk full"}],
    }
    xmatters.have_incidents(environment_id, [incident])

    assert looks(channel) == {"compared": 1, "missed": 1}
    until(lambda: len(channel.signals()) == 1)
    [signal] = channel.signals()
    told = signal["body"]["incident"]
    assert (told["id"], told["status"], told["changedOn"]) == (incident["id"], "critical", changed_at)
    assert [(alert["id"], alert["description"]) for alert in told["alerts"]] == [("a1", "disk full")]
    assert signal["body"]["metadata"] == {"environment_id": environment_id}
    assert looks(channel) == {"compared": 1}

    over = {"status": "Ok", "active": False, "changed_at": changed_at + 30, "folders": ["resolved"]}
    xmatters.have_incidents(environment_id, [incident | over])
    assert looks(channel) == {"compared": 1, "missed": 1}
    until(lambda: len(channel.signals()) == 2)
    assert channel.signals()[1]["body"]["incident"]["status"] == "ok"
    assert looks(channel) == {"compared": 1}
    assert len(channel.signals()) == 2
