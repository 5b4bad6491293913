"""relayctl report and relayctl shadow report, from log lines in memory."""

from typing import Any

import pytest

from relay.jobs.job import timestamp
from relayctl.report.report import most_in_a_minute
from tests.integration.relayctl_cloud import Logs, Operator

pytestmark = pytest.mark.usefixtures("narrow", "local")


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
    assert found["to_ring"] == {"median_seconds": 0.4, "p90_seconds": 60.0, "worst_seconds": 60.0}
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
    assert "unheard criticals     nobody_answered 1" in shown.stdout


CHANGES = {
    "opened": "nothing of this open incident was announced",
    "worsened": "its status is worse than announced",
    "resolved": "it was announced as open, and is over",
    "touched": "it is as announced",
}


def keep(operator: Operator, name: str = "payments", **members: Any) -> None:
    """Store the secret of a channel in shadow mode directly."""
    operator.keep(name, **{"policy": {"mode": "shadow"}} | members)


def judged(
    logs: Logs, ago: float, incident_id: str = "i1", transition: str = "opened", outcome: str = "shadowed", **more: Any
) -> None:
    """Write the log line of a share to a channel in shadow mode."""
    fields: dict[str, Any] = {}
    if outcome in {"shadowed", "unchanged"}:
        fields |= {"transition": transition, "why": CHANGES[transition]}
    if outcome == "shadowed":
        fields |= {"status": "critical", "recipients": ["Payments On-Call"]}
    shared(logs, ago, outcome, incident_id, **fields | more)


def story(logs: Logs) -> None:
    """Write the log lines of two incidents."""
    judged(logs, 7000, "65a1b2c3d4e5f60718293a4b", recipients=["Payments On-Call", "NOC"])
    judged(logs, 6990, "65a1b2c3d4e5f60718293a4b", "touched", "unchanged")
    judged(logs, 6980, "65a1b2c3d4e5f60718293a4b", outcome="duplicate")
    judged(logs, 5000, "65a1b2c3d4e5f60718293a4b", "resolved", status="ok")
    judged(logs, 4000, "i2", recipients=[])
    judged(logs, 10, "other", channel="other")


def test_report_lists_signals_and_counts_what_would_not_have_rung(operator: Operator, logs: Logs) -> None:
    keep(operator)
    story(logs)
    found = operator.run_json("shadow", "report", "payments")
    assert (found["shares"], found["signals"]) == (5, 3)
    assert found["by_transition"] == {"opened": 2, "resolved": 1}
    assert found["by_recipient"] == {"Payments On-Call": 2, "NOC": 1, "recipients of the workflow": 1}
    assert [(each["incident_id"][:2], each["transition"], each["status"]) for each in found["listed"]] == [
        *(("65", "opened", "critical"), ("65", "resolved", "ok"), ("i2", "opened", "critical")),
    ]
    assert [(each["outcome"], each["why"], each["count"]) for each in found["suppressed"]] == [
        *(("unchanged", "it is as announced", 1), ("duplicate", "a copy of a known share", 1)),
    ]
    assert found["most_in_a_minute"] == 1
    # Not those of a minute by the clock.
    assert (most_in_a_minute([170.0, 58.0, 62.0, 117.0, 118.0]), most_in_a_minute([])) == (3, 0)
    said = " ".join(operator.run("shadow", "report", "payments", code=0).stdout.split())
    assert "shares 5 signals 3 by transition opened 2, resolved 1" in said
    assert "incident id i2, transition opened, why nothing of this open incident was announced, status critical" in said
    assert "suppressed outcome unchanged, transition touched, why it is as announced, count 1" in said
