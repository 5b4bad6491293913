"""relayctl report: figures of a day from log lines in memory; in the terminal, as JSON, and as a page."""

from typing import Any

import pytest

from relay.jobs.job import timestamp
from tests.integration.relayctl_cloud import Operator
from tests.integration.relayctl_logs import Logs

pytestmark = pytest.mark.usefixtures("narrow")


def shared(logs: Logs, ago: float, outcome: str, incident_id: str = "i1", **more: Any) -> None:
    fields = {"channel": "payments", "incident_id": incident_id, "outcome": outcome}
    logs.write("bigpanda-webhook", ago, "share", **fields | more)


def answered(logs: Logs, ago: float, incident_id: str = "i1", **more: Any) -> None:
    fields = {"channel": "payments", "incident_id": incident_id, "outcome": "queued", "transition": "response"}
    logs.write("xmatters-callback", ago, "callback", **fields | {"person": "jdoe", "answer": "Acknowledge"} | more)


def day(logs: Logs) -> None:
    """Write the lines of a day: incidents that rang, one of them late; repeats; an unheard critical; a canary."""
    shared(logs, 7000, "delivered", transition="opened", milliseconds={"xmatters": 300, "ledger": 100})
    shared(logs, 6990, "duplicate")
    shared(logs, 6980, "unchanged", transition="touched")
    answered(logs, 6880)
    answered(logs, 6870)
    shared(logs, 6000, "delivered", transition="resolved", milliseconds={"xmatters": 200})
    shared(logs, 5000, "queued", "i2", reason="upstream")
    came = timestamp(logs.now - 5000)
    fields = {"channel": "payments", "incident_id": "i2", "kind": "signal", "received_at": came}
    logs.write("job-worker", 4940, "job", outcome="delivered", transition="opened", **fields)
    logs.write("job-worker", 4930, "job", outcome="duplicate", **fields | {"kind": "followup"})
    missed = {"i2": "nobody_answered"}
    shared(logs, 2700, "delivered", "relay-canary-1800000000", transition="opened")
    answered(logs, 2600, "relay-canary-1800000000")
    logs.write("sweeper", 4000, "fallback notified", channel="payments", incident_ids=["i2"], missed=missed)
    shared(logs, 3000, "superseded", "i2")
    shared(logs, 2900, "queued", "i3", queue="dead_letter", reason="refused")
    shared(logs, 2800, "unsafe", "i4")


def test_report_counts_what_rang_what_was_answered_and_what_nobody_heard_but_no_canary(
    operator: Operator, logs: Logs
) -> None:
    day(logs)
    found = operator.run_json("report")
    assert (found["shares"], found["incidents"], found["signals"]) == (8, 4, 3)
    assert (found["repeats_not_rung"], found["stale_not_rung"]) == (2, 1)
    assert found["to_ring"] == {"median_seconds": 0.4, "ninety_seconds": 60.0, "worst_seconds": 60.0}
    assert (found["rung_incidents"], found["answered_incidents"]) == (2, 1)
    assert found["to_answer"]["median_seconds"] == 120.0
    assert (found["unheard_criticals"], found["fallback_messages"]) == ({"nobody_answered": 1}, 1)
    assert (found["dead_letters"], found["kept"]) == (1, 0.875)


def test_report_is_readable_in_a_terminal_of_eighty_columns(operator: Operator, logs: Logs) -> None:
    day(logs)
    shown = operator.run("report", "--since", "3h")
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert [" ".join(line.split()) for line in shown.stdout.splitlines()[2:7]] == [
        *("shares 8", "incidents 4", "signals 3", "repeats not rung 2", "stale not rung 1"),
    ]
    assert "unheard criticals     nobody answered 1" in shown.stdout
