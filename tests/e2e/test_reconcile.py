"""A missed share is found by runs of the deployed reconcile function, and signalled once."""

import json
import time
import uuid

import pytest

from relay.reconcile.comparison import SETTLES_SECONDS
from relay.reconcile.history import Difference, History, listing_name
from relay.reconcile.ownership import Learnt
from sandbox import local
from sandbox.server.client import StandIn
from tests import samples
from tests.e2e import channels
from tests.e2e.channels import Channel
from tests.waiting import until

KEY = "BPU-e2e-reconcile"


@pytest.fixture
def environment_id() -> str:
    return uuid.uuid4().hex[:24]


@pytest.fixture
def channel(cloud: local.Local, xmatters: StandIn, environment_id: str) -> Channel:
    """A channel that may read the environment's incidents in BigPanda; there are none yet."""
    xmatters.let_into_bigpanda(KEY)
    xmatters.have_incidents(environment_id, [])
    known = {"base_url": xmatters.bigpanda_url, "api_key": KEY, "environment_id": environment_id}
    known |= {"reconcile": "ring"}
    return channels.made(
        cloud, xmatters, [*channels.UNPACED, *(f"bigpanda.{name}={value}" for name, value in known.items())]
    )


def backdate(channel: Channel, environment_id: str, seconds: float) -> None:
    """Move all times in the history of the environment's listing back by `seconds`.

    This includes the times at which differences were found first.
    """
    table = channel.ledger()
    name = listing_name(samples.access(channel.xmatters.bigpanda_url, KEY), environment_id)
    history = History.read(table, name)
    assert history.channels
    history.unknown = older(history.unknown, seconds)
    for each in history.channels.values():
        each.since, each.seen = each.since - seconds, each.seen - seconds
        each.differing = older(each.differing, seconds)
    history.write(table, name)


def older(differences: dict[str, Difference], seconds: float) -> dict[str, Difference]:
    return {name: each._replace(since=each.since - seconds) for name, each in differences.items()}


def run(channel: Channel) -> None:
    """Invoke the deployed reconcile function, once no scheduled run is at work."""

    def has_run() -> bool:
        answer = channel.cloud.client("lambda").invoke(
            FunctionName=channel.cloud.outputs["ReconcileFunction"], Payload=b"{}"
        )
        found = json.loads(answer["Payload"].read())
        # A scheduled run may hold a listing, and channels of other tests may fail.
        assert "not complete" in found.get("errorMessage", "not complete"), found
        return "errorMessage" in found or found["runs"] >= 1

    until(has_run)


def runs(channel: Channel, environment_id: str) -> None:
    """Do two reconcile runs.

    The first run only records the missed share as a difference, since the share may still arrive.
    """
    run(channel)
    backdate(channel, environment_id, SETTLES_SECONDS)
    run(channel)


def test_missed_share_and_its_missed_resolve_are_each_signalled_once(
    channel: Channel, xmatters: StandIn, environment_id: str
) -> None:
    # As if a share had come by the channel's webhook.
    Learnt(("webhook.sandbox",), time.time()).store(channel.ledger(), channel.name)
    run(channel)
    # The first run of an environment only notes its time; earlier changes are never missed shares.
    backdate(channel, environment_id, 600)
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
