"""Output of `relayctl shadow report`: text of 80 columns, and a JSON document."""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from rich.text import Text

from relay.foreign_text import identifier, printable
from relay.incidents.json_fields import MAX_ID_LENGTH
from relay.incidents.transition import Transition
from relay.jobs.outcome import Outcome
from relayctl import moments, terminal
from relayctl.channel import modes
from relayctl.report.shadow_counts import SUPPRESSED, ShadowCounts, Signal, Suppressed
from relayctl.report.shadow_reading import Comparison, IncidentPages, Report

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


def show(report: Report) -> None:
    """Print a report: the totals, each signal under its local day, and the comparison with xMatters' pages."""
    for line in _head(report):
        terminal.show_line(printable(line), indent=2)
    for day, signals in groupby(report.counts.newest, key=lambda each: moments.day(each.at)):
        terminal.show_line(day)
        for each in signals:
            terminal.show_line(printable(_signal(each)), lead=Text(f"  {moments.clock(each.at)}  "))
    for line in (*_suppressed(report.counts), *_rate(report), *_pages(report)):
        terminal.show_line(printable(line), indent=len(line) - len(line.lstrip()) + 2)


def notes(report: Report) -> Iterator[str]:
    """Yield a line for each source that is missing, failed, or was not read wholly."""
    for each in report.readings:
        if each.problem:
            yield printable(f"{'FAILED: ' if each.is_failure else ''}{each.source}: {each.problem}")


def document(report: Report) -> dict[str, Any]:
    """Return the report as a JSON object; an unknown member is null."""
    counts, policy = report.counts, report.channel.policy if report.channel else None
    return {
        "channel": report.name,
        "mode": policy.mode if policy else None,
        "since": moments.iso(report.since),
        "until": moments.iso(report.until),
        "complete_from": moments.iso_or_none(report.complete_from),
        "shares": counts.shares,
        "live_shares": counts.live,
        "signals": counts.signals,
        "unguarded_signals": counts.unguarded,
        "by_transition": dict(counts.transitions.most_common()),
        "by_recipient": dict(counts.recipients.most_common()),
        "without_named_recipient": counts.unnamed,
        "listed": [_signal_document(each) for each in counts.newest],
        "suppressed": [each._asdict() | {"count": number} for each, number in counts.suppressed.most_common()],
        "rate": _rate_document(report),
        "xmatters": _pages_document(report.pages),
        "sources": [each.document() for each in report.readings],
    }


def _head(report: Report) -> Iterator[str]:
    counts, until = report.counts, moments.moment(report.until)
    yield f"channel {report.name}, {moments.moment(report.since)} to {until}"
    if report.channel:
        yield from modes.words(report.channel.policy, report.until)
    if report.channel and report.channel.policy.mode != modes.SHADOW:
        yield "the channel is not in shadow mode now; the report has what was logged while it was"
    if counts.first_shadowed is not None and counts.live:
        first = moments.moment(counts.first_shadowed)
        yield f"the first share in shadow mode that would have rung came {first}"
    yield f"{_count(counts.shares, 'share')} came; {_count(counts.signals, 'signal')} would have been sent"
    if counts.live:
        yield f"{_count(counts.live, 'share')} came while the channel was live; the rest is counted for both modes"
    if counts.unguarded:
        yield f"of the signals, {counts.unguarded} may be too many: the ledger failed"
    if counts.signals:
        yield f"by transition: {_transitions(counts.transitions)}"
        yield f"by recipient: {_recipients(counts)}"
    if counts.newest:
        is_cut = counts.signals > len(counts.newest)
        yield f"the newest {_count(len(counts.newest), 'signal')} (--limit shows more):" if is_cut else "the signals:"


def _transitions(found: Counter[str]) -> str:
    order = [str(each) for each in Transition]
    ranked = sorted(found.items(), key=lambda each: order.index(each[0]) if each[0] in order else len(order))
    return ", ".join(f"{name or 'not known'} {number}" for name, number in ranked)


def _recipients(counts: ShadowCounts) -> str:
    named = [f"{_name(name)} {number}" for name, number in counts.recipients.most_common(MAX_RECIPIENTS)]
    more = len(counts.recipients) - len(named)
    named += [f"{more} more (--json)"] if more > 0 else []
    return ", ".join([*named, *([f"{_UNNAMED} {counts.unnamed}"] if counts.unnamed else [])])


def _name(recipient: str) -> str:
    """Return a recipient's name in printable characters.

    It is not put in quotes, even if it has spaces: names of groups often have some.
    """
    return printable(recipient, MAX_ID_LENGTH)


def _signal(signal: Signal) -> str:
    status = f" ({signal.status})" if signal.status else ""
    why = f": {signal.why}" if signal.why else ""
    rings = ", ".join(map(_name, signal.recipients)) or _UNNAMED
    guard = "; the ledger failed, so it may be one too many" if signal.is_unguarded else ""
    return (
        f"{identifier(signal.incident_id, MAX_ID_LENGTH)} {signal.transition or 'change not known'}{status}{why}; "
        f"to {rings}{guard}"
    )


def _suppressed(counts: ShadowCounts) -> Iterator[str]:
    total = counts.suppressed.total()
    if not total:
        return
    yield f"{_count(total, 'share')} would not have rung:"
    for outcome in SUPPRESSED:
        causes = [(each, number) for each, number in counts.suppressed.most_common() if each.outcome == outcome]
        if causes:
            yield f"  {outcome} {sum(number for _, number in causes)}: {_SUPPRESSED[outcome]}"
        explained = [(each, number) for each, number in causes if each.why]
        yield from (f"    {number} {_cause(each)}" for each, number in explained[:MAX_CAUSES])
        if len(explained) > MAX_CAUSES:
            yield f"    and {len(explained) - MAX_CAUSES} rarer causes (--json)"


def _cause(cause: Suppressed) -> str:
    return f"{cause.transition}: {cause.why}" if cause.transition else cause.why


def _rate(report: Report) -> Iterator[str]:
    peak = report.counts.peak
    if peak is None:
        return
    at = f"{_count(peak.signals, 'signal')} in the minute of {moments.moment(peak.at)}"
    if report.channel is None:
        yield f"rate: at most {at}; the limit is not known"
        return
    limit = report.channel.policy.max_per_minute
    late = report.counts.would_wait(limit)
    waits = f"about {_count(late, 'signal')} would have waited" if late else "none would have waited for it"
    yield f"rate: at most {at}; policy.max_per_minute is {limit}, {waits}"


def _pages(report: Report) -> Iterator[str]:
    found = report.pages
    if found is None:
        return
    yield (
        f"xMatters: {_count(found.all_pages, 'page')} in that time, of all senders, also of other channels; as far as "
        "the channel's user may see"
    )
    if not found.incidents:
        return
    if found.all_pages and not any(each.pages for each in found.incidents):
        yield (
            f"  no page has one of these incidents' ids in its text property {found.key}: so they are not compared; "
            "--property names another one of the form that pages now"
        )
        return
    pages = sum(each.pages for each in found.incidents)
    ends = sum(each.ends for each in found.incidents)
    signals = sum(each.signals for each in found.incidents) + ends
    yield (
        f"  of {_count(len(found.incidents), 'incident')} (property {found.key}): {_count(pages, 'page')}; the relay "
        f"would have sent {_count(signals, 'signal')}, {ends} of them for an end"
    )
    yield from _differences(found)


def _differences(found: Comparison) -> Iterator[str]:
    differing = [each for each in found.incidents if each.pages != each.signals]
    differing.sort(key=lambda each: abs(each.pages - each.signals), reverse=True)
    same = len(found.incidents) - len(differing)
    yield f"  {_count(same, 'incident')} with as many pages as signals, those for an end aside"
    for each in differing[:MAX_DIFFERENCES]:
        yield f"    {_difference(each)}"
    if len(differing) > MAX_DIFFERENCES:
        yield f"    and {len(differing) - MAX_DIFFERENCES} more that differ (--json)"


def _difference(each: IncidentPages) -> str:
    ends = f" and {each.ends} for an end" if each.ends else ""
    return (
        f"{identifier(each.incident_id, MAX_ID_LENGTH)}: {_count(each.pages, 'page')}, {_count(each.signals, 'signal')}"
        f"{ends}"
    )


def _signal_document(signal: Signal) -> dict[str, Any]:
    return {
        "at": moments.iso(signal.at),
        "incident_id": signal.incident_id,
        "transition": signal.transition or None,
        "why": signal.why or None,
        "status": signal.status or None,
        "recipients": list(signal.recipients),
        "unguarded": signal.is_unguarded,
    }


def _rate_document(report: Report) -> dict[str, Any]:
    peak, limit = report.counts.peak, report.channel.policy.max_per_minute if report.channel else None
    return {
        "peak_signals": peak.signals if peak else 0,
        "peak_at": moments.iso_or_none(peak.at if peak else None),
        "max_per_minute": limit,
        "would_have_waited": None if limit is None else report.counts.would_wait(limit),
    }


def _pages_document(found: Comparison | None) -> dict[str, Any] | None:
    if found is None:
        return None
    incidents = [each._asdict() for each in found.incidents]
    return {
        "property": found.key,
        "pages_of_all_senders": found.all_pages,
        "is_matched": any(each.pages for each in found.incidents) or not found.all_pages,
        "incidents": incidents,
        "incidents_not_asked": found.not_asked,
    }


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
