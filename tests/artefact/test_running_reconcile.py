"""The built functions of a reconcile run under AWS's own runtime client: what never came is found, and rings once."""

import time
from typing import Any

import pytest

from relay.ledger.table import Table
from sandbox.bigpanda.incidents import ENVIRONMENT
from tests import reconciling
from tests.artefact.test_running_worker import NOTHING_STAYS
from tests.artefact.world import (
    API_KEY,
    BIGPANDA_KEY,
    LEDGER,
    LOOKS,
    SHARES,
    TOKEN,
    World,
    logged,
    read,
    records,
    since,
)


def run(world: World) -> dict[str, Any]:
    """Let both functions do a run; return the line that it ends with."""
    before = world.chore_worker.log()
    assert world.reconcile.invoke(read(LOOKS[0])) == {"runs": 1, "channels": 1}
    for message in world.chores():
        assert world.chore_worker.invoke(records(message["Body"])) == NOTHING_STAYS
    [line] = [line for line in logged(since(world.chore_worker, before)) if line.get("message") == "reconciled"]
    return line


def put_back(world: World) -> None:
    """Let the runs, and what differed in them, be ten minutes older than they are."""
    table = Table(world.aws.client("dynamodb"), LEDGER, time.time)
    access = reconciling.access(world.box.bigpanda.url, BIGPANDA_KEY)
    reconciling.put_back(table, access, ENVIRONMENT, "demo", 600)


def never_came(world: World, name: str = "never-came") -> None:
    stamp = int(time.time()) - 150
    world.box.bigpanda.declare_incidents(
        ENVIRONMENT,
        [
            {
                "id": name,
                "status": "Critical",
                "active": True,
                "folders": ["active", "shared"],
                "changed_at": stamp,
                "updated_at": stamp,
                "shared": True,
            }
        ],
    )


def test_what_never_came_rings_once(world: World) -> None:
    assert world.share(read(SHARES[0]))["outcome"] == "delivered"
    world.waiting()
    never_came(world)
    for _ in range(2):
        # The first run notes when it was, the second what differs.
        assert run(world)["missed"] == 0
        put_back(world)
    assert run(world)["missed"] == 1
    [message] = world.waiting()
    assert world.worker.invoke(records(message["Body"])) == NOTHING_STAYS
    assert world.box.signals()[-1].incident_id == "never-came"
    put_back(world)
    assert run(world)["missed"] == 0


def test_what_bigpanda_does_not_tell_is_said_in_the_log_and_nothing_secret_is(world: World) -> None:
    world.share(read(SHARES[0]))
    world.waiting()
    never_came(world)
    world.box.script([{"kind": "status", "status": 401, "on": "incidents"}])
    line = run(world)
    assert (line["level"], line["failure"], line["reason"]) == ("ERROR", "HTTP 401", "credentials")
    assert line["compared"] == 0
    assert world.waiting() == []
    for secret in (BIGPANDA_KEY, API_KEY, TOKEN):
        assert secret not in world.reconcile.log() + world.chore_worker.log()


@pytest.mark.parametrize("event", [{}, {"anything": ["at", "all"]}], ids=str)
def test_who_invokes_it_by_hand_need_say_nothing(world: World, event: dict[str, Any]) -> None:
    assert world.reconcile.invoke(event).keys() == {"runs", "channels"}
    world.chores()
