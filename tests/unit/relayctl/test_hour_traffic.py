"""Traffic counts of the last hour: each log line counts once, and readings are bounded."""

import json
from typing import Any

from relayctl.log_lines import JOB_WORKER, WEBHOOK, LogReader
from relayctl.stack import channel_status
from relayctl.stack.channel_status import MAX_ANSWERS, Traffic

NOW = 1_790_000_000.0


class FakeLogs:
    """A fake of CloudWatch Logs with lines at given times, in pages of `size` lines."""

    def __init__(self, lines: list[tuple[float, dict[str, Any]]], size: int = 1000) -> None:
        self.lines = sorted(lines, key=lambda each: each[0])
        self.size = size
        self.calls = 0

    def filter_log_events(self, *, startTime: int, endTime: int, nextToken: str = "0", **_: Any) -> dict[str, Any]:
        self.calls += 1
        within = [(at, fields) for at, fields in self.lines if startTime <= at * 1000 <= endTime]
        start = int(nextToken)
        more = {"nextToken": str(start + self.size)} if start + self.size < len(within) else {}
        found = within[start : start + self.size]
        return {"events": [{"timestamp": int(at * 1000), "message": json.dumps(each)} for at, each in found], **more}


def share(ago: float, incident_id: str = "i", **fields: Any) -> tuple[float, dict[str, Any]]:
    line = {"message": "share", "channel": "noc", "outcome": "delivered", "incident_id": incident_id}
    return NOW - ago, line | fields


def count(logs: FakeLogs, function: str = WEBHOOK) -> tuple[Traffic, bool]:
    found = dict[str, Traffic]()
    reader: Any = LogReader(logs, "relay")  # type: ignore[arg-type]
    is_whole = channel_status.count(reader, function, NOW, found)
    return found.get("noc", Traffic()), is_whole


def test_test_incidents_and_other_jobs_are_no_shares_and_no_signals() -> None:
    found, _ = count(FakeLogs([share(9), share(5, "relayctl-test-1")]))
    assert (found.shares, found.last_share) == (2, NOW - 9)
    job = {"message": "job", "channel": "noc", "outcome": "delivered"}
    jobs = [
        (NOW - 3, job | {"kind": "signal"}),
        (NOW - 2, job | {"kind": "writeback"}),
        (NOW - 1, job | {"channel": ""}),
    ]
    found, _ = count(FakeLogs(jobs), JOB_WORKER)
    assert (found.shares, found.signals, found.last_signal) == (0, 1, NOW - 3)


def test_storm_is_read_from_the_newest_line_on_within_the_budget_and_said() -> None:
    logs = FakeLogs([share(number / 5) for number in range(1, 18_000)], size=50)
    found, is_whole = count(logs)
    assert (is_whole, found.shares, found.last_share) == (False, MAX_ANSWERS * 50, NOW - 0.2)
