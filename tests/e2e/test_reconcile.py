"""A share that never came is found by asking BigPanda: through the deployed functions, queue and worker; once."""

import json
import time
import uuid
from typing import TYPE_CHECKING

import boto3
import pytest

from relay.reconcile.comparison import SETTLES_SECONDS
from sandbox import local
from sandbox.environment import REGION
from sandbox.server.client import StandIn
from tests import reconciling
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
    known |= {"reconcile": "ring"}
    return channels.made(
        cloud, xmatters, [*channels.UNPACED, *(f"bigpanda.{name}={value}" for name, value in known.items())]
    )


def put_back(channel: Channel, environment_id: str, seconds: float) -> None:
    """Let the runs of the channel, and what differed in them, be so many seconds older than they are."""
    access = reconciling.access(channel.xmatters.bigpanda_url, KEY)
    reconciling.put_back(channel.ledger(), access, environment_id, channel.name, seconds)


def run(channel: Channel, environment_id: str) -> None:
    """Invoke the deployed function, and wait until the channel's run is over."""
    access = reconciling.access(channel.xmatters.bigpanda_url, KEY)
    before = reconciling.group_note(channel.ledger(), access, environment_id).began
    functions: LambdaClient = boto3.client("lambda", region_name=REGION, endpoint_url=channel.cloud.aws_endpoint_url)
    answer = functions.invoke(FunctionName=channel.cloud.outputs["ReconcileFunction"], Payload=b"{}")
    found = json.loads(answer["Payload"].read())
    assert "errorMessage" not in found, found
    assert found["runs"] >= 1

    def is_over() -> bool:
        note = reconciling.group_note(channel.ledger(), access, environment_id)
        return note.began > before and not note.run

    until(is_over)


def runs(channel: Channel, environment_id: str) -> None:
    """Two runs; what differs in the first is left to its own share."""
    run(channel, environment_id)
    put_back(channel, environment_id, SETTLES_SECONDS)
    run(channel, environment_id)


def test_what_never_came_rings_once_and_so_does_its_end(
    channel: Channel, xmatters: StandIn, environment_id: str
) -> None:
    run(channel, environment_id)
    # What changed before an environment was compared first is left alone.
    put_back(channel, environment_id, 600)
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

    runs(channel, environment_id)
    until(lambda: len(channel.signals()) == 1)
    [signal] = channel.signals()
    told = signal["body"]["incident"]
    assert (told["id"], told["status"], told["changedOn"]) == (incident["id"], "critical", changed_at)
    assert [(alert["id"], alert["description"]) for alert in told["alerts"]] == [("a1", "disk full")]
    assert signal["body"]["metadata"] == {"environment_id": environment_id}
    runs(channel, environment_id)

    over = {"status": "Ok", "active": False, "changed_at": changed_at + 30, "folders": ["resolved"]}
    xmatters.have_incidents(environment_id, [incident | over])
    runs(channel, environment_id)
    until(lambda: len(channel.signals()) == 2)
    assert channel.signals()[1]["body"]["incident"]["status"] == "ok"
    runs(channel, environment_id)
    assert len(channel.signals()) == 2
