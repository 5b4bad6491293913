"""relayctl shadow: what a channel in shadow mode would have done, from the webhook's log."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import click

from relay.channels.channel import Channel
from relay.foreign_text import identifier, printable
from relay.incidents.share import MAX_ID_LENGTH
from relay.jobs.job import seconds_of
from relay.jobs.outcome import Outcome
from relayctl import moments, terminal
from relayctl.channel import pauses
from relayctl.channel.store import NAME, ChannelStore
from relayctl.failed_calls import Readings
from relayctl.log_lines import WEBHOOK, Line
from relayctl.moments import MINUTE
from relayctl.stack.deployed import Stack, on_stack
from relayctl.terminal import counted, progress

# The report begins this long ago, unless --since says otherwise.
DEFAULT_SECONDS = 7 * 24 * 3600.0
# Signals that the text lists, the newest; --json has all.
MAX_LISTED = 50
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
@click.option(
    "--since", type=moments.since, metavar="AGE|TIME", help="Shares since: 90m, 12h, 7d or a time. 7 days if left out."
)
@on_stack
def report(stack: Stack, name: str, since: float | None, as_json: bool) -> None:
    """Report what a channel in shadow mode would have sent, and what not.

    It reads the webhook's log. Waits for rate limits are not reproduced.

    \b
    Example:
      relayctl shadow report payments
      relayctl shadow report payments --since 24h
    """
    now, readings = stack.effects.clock(), Readings()
    start = now - DEFAULT_SECONDS if since is None else since
    # First: it raises an error if there is no such stack, or the stack is not a relay.
    store = ChannelStore(stack)
    channel: Channel | None = None
    with readings.reading(f"secret of channel {name}"):
        channel = store.channel(name)
        if channel is None:
            terminal.nothing(f"there is no channel {name}")
    lines = _read_log(stack, name, readings, start)
    found = {
        "channel": name,
        "mode": channel.policy.mode if channel else None,
        "max_per_minute": channel.policy.max_per_minute if channel else None,
        "since": moments.iso(start),
        "until": moments.iso(now),
        **shadow_figures(lines),
        "sources": readings.documents(),
    }
    if as_json:
        terminal.document(found)
    else:
        if found["shares"]:
            _show(found, channel)
        readings.say()
    if not found["shares"]:
        if readings.has_failures:
            raise click.ClickException("no share was found, but not all sources could be read")
        terminal.nothing(f"no share of channel {name} came since {moments.moment(start)}")
    terminal.fail_if(readings.has_failures)


def _read_log(stack: Stack, name: str, readings: Readings, since: float) -> list[Line]:
    found = list[Line]()
    # `name` has no character with a meaning in a pattern.
    pattern = f'{{ ($.message = "share") && ($.channel = "{name}") }}'
    with (
        readings.reading(f"log {WEBHOOK}"),
        progress("reading the webhook's log", "shares", stack.effects.ticks) as show,
    ):
        for line in stack.logs.scan(WEBHOOK, pattern, since, MAX_ANSWERS):
            if line.message == "share" and line.text("channel") == name:
                found.append(line.brief())
                show(len(found), "")
    return found


def shadow_figures(lines: Sequence[Line]) -> dict[str, Any]:
    """Return the counts of a channel's shares, and the signals, as a JSON object."""
    signals = sorted((line for line in lines if line.text("outcome") == Outcome.SHADOWED), key=lambda line: line.at)
    suppressed = Counter(
        (line.text("outcome"), line.text("transition"), line.text("why"))
        for line in lines
        if line.text("outcome") in SUPPRESSED
    )
    minutes = Counter(int(line.at // MINUTE) for line in signals)
    # The latest minute, if several have as many signals.
    peak = max(minutes, key=lambda each: (minutes[each], each), default=None)
    return {
        "shares": len(lines),
        # The channel was not in shadow mode then.
        "live_shares": len(lines) - len(signals) - suppressed.total(),
        "signals": len(signals),
        "by_transition": dict(Counter(line.text("transition") for line in signals).most_common()),
        "by_recipient": dict(Counter(name for line in signals for name in _recipients(line)).most_common()),
        "peak_signals": 0 if peak is None else minutes[peak],
        "peak_at": None if peak is None else moments.iso(peak * MINUTE),
        "listed": [
            {
                "at": moments.iso(line.at),
                "incident_id": line.text("incident_id"),
                **{name: line.text(name) or None for name in ("transition", "why", "status")},
                "recipients": _recipients(line),
                "unguarded": bool(line.text("unguarded")),
            }
            for line in signals
        ],
        "suppressed": [
            {"outcome": outcome, "transition": transition, "why": why, "count": number}
            for (outcome, transition, why), number in suppressed.most_common()
        ],
    }


def _recipients(line: Line) -> list[str]:
    named = line.fields.get("recipients")
    return list(map(str, named)) if isinstance(named, list) and named else [_UNNAMED]


def _show(report: dict[str, Any], channel: Channel | None) -> None:
    for line in _head(report, channel):
        terminal.show_line(printable(line), indent=2)
    for day, signals in groupby(report["listed"][-MAX_LISTED:], key=lambda each: moments.day(seconds_of(each["at"]))):
        terminal.show_line(day)
        for each in signals:
            lead = f"  {moments.clock(seconds_of(each['at']))}  "
            terminal.show_line(printable(_signal(each)), lead=lead)
    for line in (*_suppressed(report["suppressed"]), *_rate(report)):
        terminal.show_line(printable(line), indent=len(line) - len(line.lstrip()) + 2)


def _head(report: dict[str, Any], channel: Channel | None) -> Iterator[str]:
    since, until = seconds_of(report["since"]), seconds_of(report["until"])
    yield f"channel {report['channel']}, {moments.moment(since)} to {moments.moment(until)}"
    if channel:
        yield from pauses.words(channel.policy, until)
        if channel.policy.mode != pauses.SHADOW:
            yield "the channel is not in shadow mode now; the report has what was logged while it was"
    yield f"{counted(report['shares'], 'share')} came; {counted(report['signals'], 'signal')} would have been sent"
    if live := report["live_shares"]:
        yield f"{counted(live, 'share')} came while the channel was live; the rest is counted for both modes"
    if report["signals"]:
        yield f"by transition: {_counts(report['by_transition'])}"
        yield f"by recipient: {_counts(report['by_recipient'])}"
        yield f"the newest {MAX_LISTED} signals (--json has all):" if report["signals"] > MAX_LISTED else "the signals:"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{_name(name) or 'not known'} {number}" for name, number in counts.items())


def _name(recipient: str) -> str:
    return printable(recipient, MAX_ID_LENGTH)


def _signal(signal: dict[str, Any]) -> str:
    status = f" ({signal['status']})" if signal["status"] else ""
    why = f": {signal['why']}" if signal["why"] else ""
    rings = ", ".join(map(_name, signal["recipients"]))
    guard = "; the ledger failed, so it may be one too many" if signal["unguarded"] else ""
    incident_id = identifier(signal["incident_id"], MAX_ID_LENGTH)
    return f"{incident_id} {signal['transition'] or 'change not known'}{status}{why}; to {rings}{guard}"


def _suppressed(causes: list[dict[str, Any]]) -> Iterator[str]:
    if not causes:
        return
    yield f"{counted(sum(each['count'] for each in causes), 'share')} would not have rung:"
    for outcome, what in SUPPRESSED.items():
        found = [each for each in causes if each["outcome"] == outcome]
        if found:
            yield f"  {outcome} {sum(each['count'] for each in found)}: {what}"
        for each in (each for each in found if each["why"]):
            transition = f"{each['transition']}: " if each["transition"] else ""
            yield f"    {each['count']} {transition}{each['why']}"


def _rate(report: dict[str, Any]) -> Iterator[str]:
    if report["peak_at"]:
        at = moments.moment(seconds_of(report["peak_at"]))
        limit = report["max_per_minute"]
        said = "the limit is not known" if limit is None else f"policy.max_per_minute is {limit}"
        yield f"rate: at most {counted(report['peak_signals'], 'signal')} in the minute of {at}; {said}"
