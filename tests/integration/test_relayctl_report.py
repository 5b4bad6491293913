"""relayctl report and relayctl shadow report, from log lines in memory."""

from typing import Any

import pytest

from relay.jobs.job import timestamp
from relayctl.report.report import most_in_a_minute
from tests.integration.relayctl_cloud import Logs, Operator

pytestmark = pytest.mark.usefixtures("narrow", "local")


def answered(logs: Logs, ago: float, incident_id: str = "i1", **more: Any) -> None:
    fields = {"channel": "payments", "incident_id": incident_id, "outcome": "queued", "transition": "response"}
    logs.write("xmatters-callback", ago, "callback", **fields | {"person": "jdoe", "answer": "Acknowledge"} | more)


def day(logs: Logs) -> None:
    """Write the lines of a day: incidents that rang, one of them late; repeats; an unheard critical; a canary."""
    logs.share("payments", 7000, "delivered", transition="opened", milliseconds={"xmatters": 300, "ledger": 100})
    logs.share("payments", 6990, "duplicate")
    logs.share("payments", 6980, "unchanged", transition="touched")
    answered(logs, 6880)
    answered(logs, 6870)
    logs.share("payments", 6000, "delivered", transition="resolved", milliseconds={"xmatters": 200})
    logs.share("payments", 5000, "queued", "i2", reason="upstream")
    came = timestamp(logs.now - 5000)
    fields = {"channel": "payments", "incident_id": "i2", "kind": "signal", "received_at": came}
    logs.write("job-worker", 4940, "job", outcome="delivered", transition="opened", **fields)
    logs.write("job-worker", 4930, "job", outcome="duplicate", **fields | {"kind": "followup"})
    missed = {"i2": "nobody_answered"}
    logs.share("payments", 2700, "delivered", "relay-canary-1800000000", transition="opened")
    answered(logs, 2600, "relay-canary-1800000000")
    logs.write("sweeper", 4000, "fallback notified", channel="payments", incident_ids=["i2"], missed=missed)
    logs.share("payments", 3000, "superseded", "i2")
    logs.share("payments", 2900, "queued", "i3", queue="dead_letter", reason="refused")
    logs.share("payments", 2800, "unsafe", "i4")


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
    shown = operator.run("report", "--since", "3h").stdout.splitlines()
    assert max(map(len, shown)) <= 80
    assert [" ".join(line.split()) for line in shown[2:7]] == [
        *("shares 8", "incidents 4", "signals 3", "repeats not rung 2", "stale not rung 1"),
    ]
    assert "unheard criticals     nobody_answered 1" in shown


def test_report_lists_signals_and_counts_what_would_not_have_rung(operator: Operator, logs: Logs) -> None:
    operator.keep("payments", policy={"mode": "shadow"})
    opened: dict[str, Any] = {"transition": "opened", "why": "nothing of this open incident was announced"}
    opened |= {"status": "critical", "recipients": ["Payments On-Call"]}
    resolved = opened | {"transition": "resolved", "why": "it was announced as open, and is over", "status": "ok"}
    logs.share("payments", 7000, "shadowed", "i1", **opened | {"recipients": ["Payments On-Call", "NOC"]})
    logs.share("payments", 6990, "unchanged", "i1", transition="touched", why="it is as announced")
    logs.share("payments", 6980, "duplicate", "i1")
    logs.share("payments", 5000, "shadowed", "i1", **resolved)
    logs.share("payments", 4000, "shadowed", "i2", **opened | {"recipients": []})
    logs.share("other", 10, "shadowed", "other", **opened)
    found = operator.run_json("shadow", "report", "payments")
    assert (found["shares"], found["signals"]) == (5, 3)
    assert found["by_transition"] == {"opened": 2, "resolved": 1}
    assert found["by_recipient"] == {"Payments On-Call": 2, "NOC": 1, "recipients of the workflow": 1}
    assert [(each["incident_id"], each["transition"], each["status"]) for each in found["listed"]] == [
        *(("i1", "opened", "critical"), ("i1", "resolved", "ok"), ("i2", "opened", "critical")),
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
