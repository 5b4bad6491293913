"""relayctl shadow: what a channel in shadow mode would have done, from the webhook's log."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import click

from relay.jobs.outcome import Outcome
from relayctl import moments, terminal
from relayctl.channel.store import NAME
from relayctl.failed_calls import Readings
from relayctl.log_lines import WEBHOOK, Line
from relayctl.moments import MINUTE
from relayctl.stack.deployed import Stack, on_stack

# Answers of FilterLogEvents that one report reads.
MAX_ANSWERS = 2000
_UNNAMED = "recipients of the workflow"
# Outcomes of shares that a channel in shadow mode would not signal.
SUPPRESSED: Mapping[str, str] = {
    Outcome.UNCHANGED: "nothing that the channel announces",
    Outcome.DUPLICATE: "a copy of a known share",
    Outcome.SUPERSEDED: "a newer state of the incident was known",
}


@click.group()
def shadow() -> None:
    """Shadow mode: a channel decides and records, and sends nothing."""


@shadow.command()
@NAME
@moments.since_option("7d", "Shares since: 90m, 12h, 7d or a time.")
@on_stack
def report(stack: Stack, name: str, since: float, as_json: bool) -> None:
    """Report what a channel in shadow mode would have sent, and what not.

    It reads the webhook's log. Waits for rate limits are not reproduced.

    \b
    Example:
      relayctl shadow report payments
      relayctl shadow report payments --since 24h
    """
    now, readings = stack.effects.clock(), Readings()
    with terminal.status("reading the webhook's log …"):
        lines = readings.lines(stack.logs, WEBHOOK, ("share",), since, MAX_ANSWERS, name)
    found = {
        "channel": name,
        "since": moments.iso(since),
        "until": moments.iso(now),
        **shadow_figures(lines),
        "problems": readings.problems,
    }
    if as_json or found["shares"]:
        terminal.result(found, as_json=as_json)
    readings.conclude(
        found["shares"], f"no share of channel {name} came since {moments.moment(since)}", as_json=as_json
    )
    terminal.fail_if(readings.unread)


def shadow_figures(lines: Sequence[Line]) -> dict[str, Any]:
    """Return the counts of a channel's shares, and the signals, as a JSON object."""
    signals = sorted((line for line in lines if line.text("outcome") == Outcome.SHADOWED), key=lambda line: line.at)
    suppressed = Counter(
        (line.text("outcome"), line.text("transition"), line.text("why"))
        for line in lines
        if line.text("outcome") in SUPPRESSED
    )
    minutes = Counter(int(line.at // MINUTE) for line in signals)
    return {
        "shares": len(lines),
        "signals": len(signals),
        "by_transition": dict(Counter(line.text("transition") for line in signals).most_common()),
        "by_recipient": dict(Counter(name for line in signals for name in _recipients(line)).most_common()),
        "most_in_a_minute": max(minutes.values(), default=0),
        "listed": [
            {
                "at": moments.iso(line.at),
                "incident_id": line.text("incident_id"),
                **{name: line.text(name) or None for name in ("transition", "why", "status")},
                "recipients": _recipients(line),
            }
            for line in signals
        ],
        "suppressed": [
            {"outcome": outcome, "transition": transition, "why": why or SUPPRESSED[outcome], "count": number}
            for (outcome, transition, why), number in suppressed.most_common()
        ],
    }


def _recipients(line: Line) -> list[str]:
    named = line.fields.get("recipients")
    return list(map(str, named)) if isinstance(named, list) and named else [_UNNAMED]
