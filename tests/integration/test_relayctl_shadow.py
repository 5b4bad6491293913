"""relayctl shadow report, from log lines in memory."""

from typing import Any

import pytest

from tests.integration.relayctl_cloud import Operator
from tests.integration.relayctl_logs import Logs

CHANGES = {
    "opened": "nothing of this open incident was announced",
    "worsened": "its status is worse than announced",
    "resolved": "it was announced as open, and is over",
    "touched": "it is as announced",
}


pytestmark = pytest.mark.usefixtures("narrow", "local")


def keep(operator: Operator, name: str = "payments", **members: Any) -> None:
    """Store the secret of a channel in shadow mode directly."""
    operator.keep(name, **{"policy": {"mode": "shadow"}} | members)


def shared(
    logs: Logs, ago: float, incident_id: str = "i1", transition: str = "opened", outcome: str = "shadowed", **more: Any
) -> None:
    """Write the log line of a share."""
    fields: dict[str, Any] = {"channel": "payments", "incident_id": incident_id, "outcome": outcome}
    if outcome in {"shadowed", "unchanged"}:
        fields |= {"transition": transition, "why": CHANGES[transition]}
    if outcome == "shadowed":
        fields |= {"status": "critical", "recipients": ["Payments On-Call"]}
    logs.write("bigpanda-webhook", ago, "share", **fields | more)


def story(logs: Logs) -> None:
    """Write the log lines of two incidents."""
    shared(logs, 7000, "65a1b2c3d4e5f60718293a4b", recipients=["Payments On-Call", "NOC"])
    shared(logs, 6990, "65a1b2c3d4e5f60718293a4b", "touched", "unchanged")
    shared(logs, 6980, "65a1b2c3d4e5f60718293a4b", outcome="duplicate")
    shared(logs, 5000, "65a1b2c3d4e5f60718293a4b", "resolved", status="ok")
    shared(logs, 4000, "i2", recipients=[])
    shared(logs, 10, "other", channel="other")


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
    said = " ".join(operator.run("shadow", "report", "payments", code=0).stdout.split())
    assert "shares 5 signals 3 by transition opened 2, resolved 1" in said
    assert "incident id i2, transition opened, why nothing of this open incident was announced, status critical" in said
    assert "suppressed outcome unchanged, transition touched, why it is as announced, count 1" in said
