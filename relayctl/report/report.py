"""relayctl report and shadow: how the relay did, and what a channel in shadow mode would have done, from the logs."""

from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from typing import Any

import click

from relay.health.judgement import age
from relay.incidents.share import CANARY_PREFIX, time_of
from relay.jobs.result import Outcome
from relayctl import moments, terminal
from relayctl.channel.store import CHANNEL, NAME
from relayctl.failed_calls import Readings
from relayctl.log_lines import CALLBACK, JOB_WORKER, SWEEPER, WEBHOOK, Line
from relayctl.stack.deployed import Stack, on_stack

# Answers of FilterLogEvents that a report reads of each function.
MAX_ANSWERS = 1000
# The functions whose lines are read, each with the messages that count.
_READ: Mapping[str, tuple[str, ...]] = {
    WEBHOOK: ("share",),
    JOB_WORKER: ("job", "fallback notified", "dead_lettered"),
    CALLBACK: ("callback",),
    SWEEPER: ("fallback notified", "dead_lettered"),
}
# Transitions that begin something that people have to answer.
_BEGINS = frozenset({"opened", "worsened", "reopened"})


@click.command(short_help="Report how the relay did: signals, answers, what nobody heard.")
@moments.since_option("24h", "The time since: 12h, 7d or a time.")
@CHANNEL
@on_stack
def report(stack: Stack, since: float, channel: str | None, as_json: bool) -> None:
    """Report how the relay did, from its logs.

    "Kept" is the part of the shares that were delivered or are safe. Answers are those that xMatters called back.
    Canaries do not count.

    \b
    Example:
      relayctl report --since 7d --channel payments
    """
    readings = Readings()
    with terminal.status("reading the logs …"):
        lines = (
            readings.every(f"log {name}", stack.logs.lines(name, messages, since, MAX_ANSWERS, channel))
            for name, messages in _READ.items()
        )
        every = (line for some in lines for line in some)
        found = period_figures(line for line in every if not line.text("incident_id").startswith(CANARY_PREFIX))
    _print(stack, readings, since, channel, found, as_json=as_json)


def _print(
    stack: Stack, readings: Readings, since: float, channel: str | None, found: Mapping[str, Any], *, as_json: bool
) -> None:
    """Print the figures `found` of the time since. Exit with 3 if no share came, and with 1 if a log was not read."""
    until = moments.iso(stack.effects.clock())
    found = {"channel": channel, "since": moments.iso(since), "until": until, **found, "problems": readings.problems}
    if as_json or found["shares"]:
        terminal.result(found, as_json=as_json)
    what = f"no share of channel {channel}" if channel else "no share"
    readings.conclude(found["shares"], f"{what} came since {moments.moment(since)}", as_json=as_json)


# Names of the members that `spread` returns: median, 90th percentile and worst.
_SPREAD = ("median_seconds", "p90_seconds", "worst_seconds")


def spread(times: Iterable[float]) -> dict[str, float] | None:
    """Return median, 90th percentile and worst of durations (seconds) as a JSON object; None if there are none."""
    ordered = sorted(times)
    if not ordered:
        return None
    found = ordered[ceil(len(ordered) / 2) - 1], ordered[ceil(len(ordered) * 0.9) - 1], ordered[-1]
    return {name: round(value, 1) for name, value in zip(_SPREAD, found, strict=True)}


def spread_words(times: Mapping[str, float]) -> str:
    """Return median, 90th percentile and worst duration, as `spread` returns them, in words."""
    found = (times[name] for name in _SPREAD)
    median, ninety, worst = (f"{each:.1f}s" if each < 60 else age(each) for each in found)
    return f"{median} (median), {ninety} (90 %), {worst} (worst)"


def most_in_a_minute(times: Iterable[float]) -> int:
    """Return the largest number of these times (epoch seconds) that lie within 60 seconds."""
    ordered = sorted(times)
    return max((n - bisect(ordered, at - moments.MINUTE) for n, at in enumerate(ordered, start=1)), default=0)


def period_figures(found: Iterable[Line]) -> dict[str, Any]:
    """Return a report's figures from the log lines of a period, as a JSON object: shares, signals, answers, losses."""
    lines = sorted(found, key=lambda each: each.at)
    shares = [line for line in lines if line.message == "share"]
    signals = [
        line for line in lines if line.message == "share" or (line.message, line.text("kind")) == ("job", "signal")
    ]
    rung = [line for line in signals if line.text("outcome") == Outcome.DELIVERED]
    outcomes = Counter(line.text("outcome") for line in shares)
    fallbacks = [line.fields.get("missed") for line in lines if line.message == "fallback notified"]
    missed = Counter(step for each in fallbacks if isinstance(each, Mapping) for step in each.values())
    dead = [line for line in signals if line.text("queue") == "dead_letter"]
    begun, answered = _answers(lines, rung)
    # BigPanda is told to send a share again that the relay could neither deliver nor keep.
    unsafe, count = outcomes[Outcome.UNSAFE], len(shares)
    return {
        "shares": count,
        "incidents": len(set(map(_incident, shares))),
        "signals": len(rung),
        "repeats_not_rung": outcomes[Outcome.DUPLICATE] + outcomes[Outcome.UNCHANGED],
        "stale_not_rung": outcomes[Outcome.SUPERSEDED],
        "to_ring": spread(map(_seconds_to_ring, rung)),
        "rung_incidents": begun,
        "answered_incidents": len(answered),
        "to_answer": spread(answered),
        "unheard_criticals": missed,
        "fallback_messages": len(fallbacks),
        "dead_letters": len(dead) + sum(line.message == "dead_lettered" for line in lines),
        "kept": round(1.0 - unsafe / count, 6) if count else 1.0,
    }


def _incident(line: Line) -> tuple[str, str]:
    return line.text("channel"), line.text("incident_id")


def _seconds_to_ring(line: Line) -> float:
    if line.message == "share":
        spent = line.fields.get("milliseconds")
        return sum(spent.values()) / 1000 if isinstance(spent, Mapping) else 0.0
    return max(0.0, line.at - (time_of(line.text("received_at")) or line.at))


def _answers(lines: Sequence[Line], rung: Sequence[Line]) -> tuple[int, list[float]]:
    """Return how often an incident began to ring, and the times from then to the first answer (seconds)."""
    begun, answered, signals = 0, list[float](), set(map(id, rung))
    # Time of an incident's first signal; None once it is answered: the next answer is to the same pages.
    rang_at = dict[tuple[str, str], float | None]()
    for line in lines:
        incident, transition = _incident(line), line.text("transition")
        is_answer = (line.message, transition) == ("callback", "response") and line.text("outcome") != Outcome.UNSAFE
        if id(line) in signals and transition in _BEGINS and incident not in rang_at:
            rang_at[incident] = line.at
            begun += 1
        elif id(line) in signals and transition == "resolved":
            rang_at.pop(incident, None)
        elif is_answer and (at := rang_at.get(incident)) is not None:
            answered.append(line.at - at)
            rang_at[incident] = None
    return begun, answered


# Answers of FilterLogEvents that a report of a channel in shadow mode reads.
MAX_SHADOW_ANSWERS = 2000
# Outcomes of shares that a channel in shadow mode would not signal.
SUPPRESSED: Mapping[str, str] = {
    Outcome.UNCHANGED: "nothing that the channel announces",
    Outcome.DUPLICATE: "a copy of a known share",
    Outcome.SUPERSEDED: "a newer state of the incident was known",
}


@click.group()
def shadow() -> None:
    """Shadow mode: a channel decides and records, and sends nothing."""


@shadow.command("report")
@NAME
@moments.since_option("7d", "Shares since: 90m, 12h, 7d or a time.")
@on_stack
def shadow_report(stack: Stack, name: str, since: float, as_json: bool) -> None:
    """Report what a channel in shadow mode would have sent, and what not.

    It reads the webhook's log. Waits for rate limits are not reproduced.

    \b
    Example:
      relayctl shadow report payments --since 24h
    """
    readings = Readings()
    with terminal.status("reading the webhook's log …"):
        lines = stack.logs.lines(WEBHOOK, ("share",), since, MAX_SHADOW_ANSWERS, name)
        figures = shadow_figures(list(readings.every(f"log {WEBHOOK}", lines)))
    _print(stack, readings, since, name, figures, as_json=as_json)


def shadow_figures(lines: Sequence[Line]) -> dict[str, Any]:
    """Return the report of a channel in shadow mode as a JSON object: counts of shares, and each signal not sent."""
    signals = sorted((line for line in lines if line.text("outcome") == Outcome.SHADOWED), key=lambda line: line.at)
    suppressed = Counter(
        (line.text("outcome"), line.text("transition"), line.text("why"))
        for line in lines
        if line.text("outcome") in SUPPRESSED
    )
    return {
        "shares": len(lines),
        "signals": len(signals),
        "by_transition": Counter(line.text("transition") for line in signals),
        "by_recipient": Counter(name for line in signals for name in _recipients(line)),
        "most_in_a_minute": most_in_a_minute(line.at for line in signals),
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
    return list(map(str, named)) if isinstance(named, list) and named else ["recipients of the workflow"]
