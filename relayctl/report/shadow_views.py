"""Text of `relayctl shadow report` for a terminal of 80 columns, from the report's JSON object."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import groupby
from typing import Any

from rich.text import Text

from relay.channels.channel import Channel
from relay.foreign_text import identifier, printable
from relay.incidents.share import MAX_ID_LENGTH, Transition
from relay.jobs.outcome import Outcome
from relayctl import moments, terminal
from relayctl.channel import modes

# Causes of an outcome, recipients, and incidents of xMatters' pages that the text shows; --json has all.
MAX_CAUSES = 5
MAX_RECIPIENTS = 12
MAX_DIFFERENCES = 10
_UNNAMED = "recipients of the workflow"
_SUPPRESSED: Mapping[str, str] = {
    Outcome.UNCHANGED: "nothing that the channel announces",
    Outcome.DUPLICATE: "a copy of a known share",
    Outcome.SUPERSEDED: "a newer state of the incident was known",
}

type Document = dict[str, Any]


def show(report: Document, channel: Channel | None) -> None:
    """Print a report: the totals, each signal under its local day, and the comparison with xMatters' pages."""
    for line in _head(report, channel):
        terminal.show_line(printable(line), indent=2)
    for day, signals in groupby(report["listed"], key=lambda each: moments.day(_seconds(each["at"]))):
        terminal.show_line(day)
        for each in signals:
            lead = Text(f"  {moments.clock(_seconds(each['at']))}  ")
            terminal.show_line(printable(_signal(each)), lead=lead)
    for line in (*_suppressed(report["suppressed"]), *_rate(report), *_pages(report["xmatters"])):
        terminal.show_line(printable(line), indent=len(line) - len(line.lstrip()) + 2)


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def _head(report: Document, channel: Channel | None) -> Iterator[str]:
    since, until = _seconds(report["since"]), _seconds(report["until"])
    yield f"channel {report['channel']}, {moments.moment(since)} to {moments.moment(until)}"
    if channel:
        yield from modes.words(channel.policy, until)
        if channel.policy.mode != modes.SHADOW:
            yield "the channel is not in shadow mode now; the report has what was logged while it was"
    if report["first_shadowed"] and report["live_shares"]:
        first = moments.moment(_seconds(report["first_shadowed"]))
        yield f"the first share in shadow mode that would have rung came {first}"
    yield f"{_count(report['shares'], 'share')} came; {_count(report['signals'], 'signal')} would have been sent"
    if live := report["live_shares"]:
        yield f"{_count(live, 'share')} came while the channel was live; the rest is counted for both modes"
    if report["unguarded_signals"]:
        yield f"of the signals, {report['unguarded_signals']} may be too many: the ledger failed"
    if report["signals"]:
        yield f"by transition: {_transitions(report['by_transition'])}"
        yield f"by recipient: {_recipients(report)}"
    if listed := len(report["listed"]):
        is_cut = report["signals"] > listed
        yield f"the newest {_count(listed, 'signal')} (--limit shows more):" if is_cut else "the signals:"


def _transitions(found: Mapping[str, int]) -> str:
    order = [str(each) for each in Transition]
    ranked = sorted(found.items(), key=lambda each: order.index(each[0]) if each[0] in order else len(order))
    return ", ".join(f"{name or 'not known'} {number}" for name, number in ranked)


def _recipients(report: Document) -> str:
    counts, unnamed = report["by_recipient"], report["without_named_recipient"]
    named = [f"{_name(name)} {number}" for name, number in list(counts.items())[:MAX_RECIPIENTS]]
    more = len(counts) - len(named)
    named += [f"{more} more (--json)"] if more > 0 else []
    return ", ".join([*named, *([f"{_UNNAMED} {unnamed}"] if unnamed else [])])


def _name(recipient: str) -> str:
    """Return a recipient's name in printable characters.

    It is not put in quotes, even if it has spaces: names of groups often have some.
    """
    return printable(recipient, MAX_ID_LENGTH)


def _signal(signal: Document) -> str:
    status = f" ({signal['status']})" if signal["status"] else ""
    why = f": {signal['why']}" if signal["why"] else ""
    rings = ", ".join(map(_name, signal["recipients"])) or _UNNAMED
    guard = "; the ledger failed, so it may be one too many" if signal["unguarded"] else ""
    incident_id = identifier(signal["incident_id"], MAX_ID_LENGTH)
    return f"{incident_id} {signal['transition'] or 'change not known'}{status}{why}; to {rings}{guard}"


def _suppressed(causes: list[Document]) -> Iterator[str]:
    if not causes:
        return
    yield f"{_count(sum(each['count'] for each in causes), 'share')} would not have rung:"
    for outcome, what in _SUPPRESSED.items():
        found = [each for each in causes if each["outcome"] == outcome]
        if found:
            yield f"  {outcome} {sum(each['count'] for each in found)}: {what}"
        explained = sorted((each for each in found if each["why"]), key=lambda each: -each["count"])
        for each in explained[:MAX_CAUSES]:
            transition = f"{each['transition']}: " if each["transition"] else ""
            yield f"    {each['count']} {transition}{each['why']}"
        if len(explained) > MAX_CAUSES:
            yield f"    and {len(explained) - MAX_CAUSES} rarer causes (--json)"


def _rate(report: Document) -> Iterator[str]:
    if report["peak_at"]:
        at = moments.moment(_seconds(report["peak_at"]))
        limit = report["max_per_minute"]
        said = "the limit is not known" if limit is None else f"policy.max_per_minute is {limit}"
        yield f"rate: at most {_count(report['peak_signals'], 'signal')} in the minute of {at}; {said}"


def _pages(found: Document | None) -> Iterator[str]:
    if found is None:
        return
    yield (
        f"xMatters: {_count(found['pages_of_all_senders'], 'page')} in that time, of all senders, also of other "
        "channels; as far as the channel's user may see"
    )
    incidents = found["incidents"]
    if not incidents:
        return
    if not found["is_matched"]:
        yield (
            f"  no page has one of these incidents' ids in its text property {found['property']}: so they are not "
            "compared; --property names another one of the form that pages now"
        )
        return
    pages, signals, ends = (sum(each[name] for each in incidents) for name in ("pages", "signals", "ends"))
    yield (
        f"  of {_count(len(incidents), 'incident')} (property {found['property']}): {_count(pages, 'page')}; the relay "
        f"would have sent {_count(signals + ends, 'signal')}, {ends} of them for an end"
    )
    differing = [each for each in incidents if each["pages"] != each["signals"]]
    differing.sort(key=lambda each: abs(each["pages"] - each["signals"]), reverse=True)
    same = len(incidents) - len(differing)
    yield f"  {_count(same, 'incident')} with as many pages as signals, those for an end aside"
    for each in differing[:MAX_DIFFERENCES]:
        at_end = f" and {each['ends']} for an end" if each["ends"] else ""
        name = identifier(each["incident_id"], MAX_ID_LENGTH)
        yield f"    {name}: {_count(each['pages'], 'page')}, {_count(each['signals'], 'signal')}{at_end}"
    if len(differing) > MAX_DIFFERENCES:
        yield f"    and {len(differing) - MAX_DIFFERENCES} more that differ (--json)"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
