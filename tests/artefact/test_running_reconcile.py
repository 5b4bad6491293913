"""The built reconcile function under AWS's own runtime client: a missed share is signalled once."""

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
    RECONCILES,
    SHARES,
    TOKEN,
    World,
    logged,
    read,
    records,
    since,
)


def run(world: World) -> dict[str, Any]:
    """Do a reconcile run; return the line `reconciled` of the log."""
    before = world.reconcile.log()
    assert world.reconcile.invoke(read(RECONCILES[0])) == {"runs": 1, "channels": 1}
    [line] = [line for line in logged(since(world.reconcile, before)) if line.get("message") == "reconciled"]
    return line


def backdate(world: World) -> None:
    """Move all times in the history of the listing back by ten minutes: those of runs, and of found differences."""
    table = Table(world.aws.client("dynamodb"), LEDGER, time.time)
    access = reconciling.access(world.box.bigpanda.url, BIGPANDA_KEY)
    reconciling.backdate(table, access, ENVIRONMENT, 600)


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


def test_built_reconcile_function_signals_a_missed_share_once(world: World) -> None:
    assert world.share(read(SHARES[0]))["outcome"] == "delivered"
    world.waiting()
    never_came(world)
    for _ in range(2):
        # The first run notes its time, the second the differences.
        assert run(world)["missed"] == 0
        backdate(world)
    assert run(world)["missed"] == 1
    [message] = world.waiting()
    assert world.worker.invoke(records(message["Body"])) == NOTHING_STAYS
    assert world.box.signals()[-1].incident_id == "never-came"
    backdate(world)
    assert run(world)["missed"] == 0


def test_failed_reconcile_run_is_logged_without_secrets(world: World) -> None:
    world.share(read(SHARES[0]))
    world.waiting()
    never_came(world)
    world.box.script([{"kind": "status", "status": 401, "on": "incidents"}])
    line = run(world)
    assert (line["level"], line["failure"], line["reason"]) == ("ERROR", "HTTP 401", "credentials")
    assert line["compared"] == 0
    assert world.waiting() == []
    for secret in (BIGPANDA_KEY, API_KEY, TOKEN):
        assert secret not in world.reconcile.log()


@pytest.mark.parametrize("event", [{}, {"anything": ["at", "all"]}], ids=str)
def test_reconcile_function_accepts_any_event(world: World, event: dict[str, Any]) -> None:
    assert world.reconcile.invoke(event).keys() == {"runs", "channels"}
