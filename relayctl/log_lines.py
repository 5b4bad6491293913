"""Reader of the functions' log lines in CloudWatch Logs, in a bounded number of answers.

Filter patterns only save transfer. A pattern may match too many lines, so every caller checks the lines itself.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from relay.foreign_text import printable
from relay.http.client import json_object
from relay.incidents.share import time_of
from relayctl import moments

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient

# Functions by the last part of their log groups' names, as template.yaml has them.
WEBHOOK, CALLBACK = "bigpanda-webhook", "xmatters-callback"
JOB_WORKER, CHORE_WORKER, SWEEPER, RECONCILE = "job-worker", "chore-worker", "sweeper", "reconcile"
# A stack may lack the last one.
FUNCTIONS = (WEBHOOK, CALLBACK, JOB_WORKER, CHORE_WORKER, SWEEPER, RECONCILE)
# Length of the newest piece of time that is read; each older piece is twice as long as the one after it.
FIRST_PIECE_SECONDS = 600.0
# CloudWatch's times may be some seconds ahead of the operator's clock.
AHEAD_SECONDS = 60.0
_COUNTED = (
    *("message", "channel", "incident_id", "outcome", "transition", "queue", "milliseconds", "kind", "received_at"),
    *("missed", "why", "status", "recipients", "may_be_share"),
)
# Characters that a filter pattern takes within double quotes as they are.
_PLAIN = re.compile(r"[A-Za-z0-9._:@/-]*")


class Line(NamedTuple):
    """A log line of the relay."""

    at: float  # Time of the line (epoch seconds): its `timestamp` field if it has one, else the event's in CloudWatch
    fields: Mapping[str, Any]

    @property
    def message(self) -> str:
        """The line's message, such as `share`; empty if it has none."""
        return self.text("message")

    def text(self, name: str) -> str:
        """Return a field as text; empty if it is missing."""
        value = self.fields.get(name)
        return "" if value is None else str(value)


class LinesCutError(Exception):
    """A function has more lines than may be read; the newest were read."""

    def __init__(self, complete_from: float) -> None:
        """All lines since `complete_from` (epoch seconds) were read."""
        super().__init__(f"too many lines: those before {moments.moment(complete_from)} were not all read")


@dataclass(frozen=True)
class LogReader:
    """Reader of the log groups of a stack. Errors of AWS come as botocore raises them."""

    client: "CloudWatchLogsClient"
    stack_name: str
    clock: Callable[[], float]  # The time in epoch seconds

    def lines(
        self, function: str, messages: Sequence[str], start: float, most: int, channel: str | None = None
    ) -> Iterator[Line]:
        """Yield the lines with one of these messages as `scan` does; only those of `channel` if it is given.

        Each line has only the fields that reports count, since reports keep many lines.
        """
        wanted = " || ".join(f'($.message = "{each}")' for each in messages)
        # The name of a channel has no character with a meaning in a pattern.
        pattern = f'{{ ({wanted}) && ($.channel = "{channel}") }}' if channel else f"{{ {wanted} }}"
        for line in self.scan(function, pattern, start, most):
            if line.message in messages and channel in {None, line.text("channel")}:
                yield Line(line.at, {name: value for name, value in line.fields.items() if name in _COUNTED})

    def scan(self, function: str, pattern: str, start: float, most: int) -> Iterator[Line]:
        """Yield the lines that match `pattern` and that the relay logged in a function since `start` (epoch seconds).

        The newest period is read first. After `most` answers of FilterLogEvents, of which some may be empty,
        LinesCutError is raised: older lines are left out. Lines that CloudWatch deleted are missing without an error.
        """
        end, length = self.clock() + AHEAD_SECONDS, FIRST_PIECE_SECONDS
        wanted: dict[str, Any] = {"filterPattern": pattern} if pattern else {}
        wanted["logGroupName"] = f"/aws/lambda/{self.stack_name}-{function}"
        while end > start:
            if most <= 0:
                raise LinesCutError(end)
            begin = max(start, end - length)
            # CloudWatch's own end is inclusive.
            times: dict[str, Any] = {"startTime": max(0, int(begin * 1000)), "endTime": max(0, int(end * 1000) - 1)}
            for page in self.client.get_paginator("filter_log_events").paginate(**wanted, **times):
                most -= 1
                yield from filter(None, map(parsed, page["events"]))
                if most <= 0 and page.get("nextToken"):
                    raise LinesCutError(end)
            end, length = begin, 2 * length


def parsed(event: Mapping[str, Any]) -> Line | None:
    """Return the relay's line in an event of CloudWatch; None if another writer, such as Lambda, logged the event."""
    fields = json_object(str(event.get("message", "")).encode("utf-8", "surrogatepass"))
    if "message" not in fields:
        return None
    return Line(time_of(fields.get("timestamp")) or float(event.get("timestamp", 0)) / 1000, fields)


def pattern_of(incident_id: str) -> str:
    """Return a CloudWatch pattern for all lines about an incident. It may match others, which `is_about` rejects."""
    plain = _PLAIN.match(incident_id)
    start = plain[0] if plain else ""
    text = start if start == incident_id else f"{start}*"
    return f'{{ ($.incident_id = "{text}") || ($.incident_ids[0] = "*") }}'


def is_about(line: Line, incident_id: str) -> bool:
    """True if a line's `incident_id` or `incident_ids` has the incident."""
    logged = printable(incident_id)
    if line.fields.get("incident_id") == logged:
        return True
    ids = line.fields.get("incident_ids")
    return isinstance(ids, list) and logged in ids
