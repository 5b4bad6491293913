"""Traffic counts of the last hour: each log line counts once, readings are bounded, old minutes are dropped."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from relayctl.log_lines import WEBHOOK, Line, LogReader
from relayctl.stack.hour_traffic import MAX_ANSWERS, MAX_INCIDENTS, HourTraffic, Traffic

NOW = 1_790_000_000.0


class FakeLogs:
    """A fake of CloudWatch Logs with a log line at each given time, in pages of `size` lines.

    The call with the number `fails_at` fails.
    """

    def __init__(self, *times: float, size: int = 1000) -> None:
        self.times = list(times)
        self.size = size
        self.calls = 0
        self.fails_at: int | None = None

    def filter_log_events(self, *, startTime: int, endTime: int, nextToken: str = "0", **_: Any) -> dict[str, Any]:
        self.calls += 1
        if self.calls == self.fails_at:
            raise ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, "FilterLogEvents")
        within = [at for at in sorted(self.times) if startTime <= at * 1000 <= endTime]
        start = int(nextToken)
        more = {"nextToken": str(start + self.size)} if start + self.size < len(within) else {}
        found = within[start : start + self.size]
        return {"events": [{"timestamp": int(at * 1000), "message": text(at)} for at in found], **more}


def text(at: float) -> str:
    fields = {"message": "share", "channel": "noc", "outcome": "delivered", "delivery_id": str(at), "incident_id": "i"}
    return json.dumps(fields)


def read(traffic: HourTraffic, logs: Any, now: float = NOW) -> Traffic:
    traffic.read(LogReader(logs, "relay"), WEBHOOK, now)
    return traffic.of("noc", now)


def test_lines_of_the_whole_hour_are_counted_once_also_at_the_edges_of_pieces() -> None:
    logs = FakeLogs(*(NOW - 600 * number for number in range(1, 6)), NOW - 1, NOW - 3599, NOW - 3601)
    found = read(HourTraffic(), logs)
    assert (found.shares, found.signals, found.last_share) == (7, 7, NOW - 1)


def test_later_readings_ask_for_new_lines_and_count_late_ones() -> None:
    traffic, logs = HourTraffic(), FakeLogs(NOW - 30)
    assert read(traffic, logs).shares == 1
    logs.times += [NOW - 20, NOW + 10]
    assert read(traffic, logs, NOW + 15).shares == 3
    assert read(traffic, logs, NOW + 30).shares == 3
    assert logs.calls == 6 + 2


def test_traffic_older_than_an_hour_is_forgotten_but_for_the_last_share() -> None:
    traffic, logs = HourTraffic(), FakeLogs(NOW - 10)
    read(traffic, logs)
    found = read(traffic, logs, NOW + 3700)
    assert (found.shares, found.last_share) == (0, NOW - 10)


def test_storm_is_read_from_the_newest_piece_on_within_the_budget_and_said() -> None:
    # A piece of ten minutes fills half of the budget.
    logs = FakeLogs(*(NOW - number / 5 for number in range(1, 18_000)), size=6000 // MAX_ANSWERS)
    traffic = HourTraffic()
    found = read(traffic, logs)
    assert (logs.calls, traffic.is_partial) == (MAX_ANSWERS, True)
    assert (found.shares, found.last_share) == (6000, NOW - 0.2)


def test_failed_first_reading_counts_no_line_twice() -> None:
    traffic, logs = HourTraffic(), FakeLogs(NOW - 300)
    logs.fails_at = 2
    with pytest.raises(ClientError):
        read(traffic, logs)
    assert read(traffic, logs, NOW + 5).shares == 1
    assert traffic.is_partial


def test_last_incidents_are_few_and_each_is_named_once() -> None:
    traffic = HourTraffic()
    for number in range(2 * (MAX_INCIDENTS + 5)):
        fields = {"message": "share", "channel": "noc", "outcome": "delivered", "incident_id": f"i{number // 2}"}
        traffic.add(Line(NOW - 100 + number, fields | {"delivery_id": str(number)}), NOW)
    found = traffic.of("noc", NOW).incidents
    assert (len(set(found)), len(found) <= MAX_INCIDENTS, found[-1]) == (len(found), True, f"i{MAX_INCIDENTS + 4}")
    assert traffic.of("unknown", NOW) == Traffic()
