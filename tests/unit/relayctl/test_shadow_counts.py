"""Counts of a shadow report: totals, and the rate by minutes."""

from typing import Any

from relayctl.log_lines import Line
from relayctl.report.figures import shadow_figures

NOON = 1_790_000_040.0


def line(at: float = NOON, **fields: Any) -> Line:
    """Return the log line of a share that would have been signalled, with these fields changed or added."""
    plain = {"outcome": "shadowed", "incident_id": "i1", "transition": "opened", "recipients": ["ops"]}
    return Line(at, {"message": "share", "channel": "noc", **plain, **fields})


def test_peak_is_the_latest_minute_with_the_most_signals() -> None:
    lines = [line(NOON + seconds) for seconds in (-1, 0, 1, 60, 61)]
    found = shadow_figures(lines, 10)
    assert (found["peak_signals"], found["peak_at"]) == (2, "2026-09-21T14:15:00Z")
    assert shadow_figures([], 1)["peak_at"] is None
