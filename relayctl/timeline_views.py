"""Output of timelines: lines for a terminal, and Markdown for a post-mortem."""

import re
from collections.abc import Iterator
from itertools import groupby

from rich.text import Text

from relay.delivery.channel_health import age as duration
from relay.foreign_text import identifier, printable, quoted
from relay.incidents.json_fields import MAX_ID_LENGTH
from relayctl import moments, terminal
from relayctl.timeline import ChannelSummary, Event, Timeline

# Characters with a meaning in Markdown. A text of others must not become a link, a table cell, an image or HTML.
_MARKS = re.compile(r"([\\`*_{}\[\]<>#!|~&])")
_AGE_COLUMNS, _SOURCE_COLUMNS = 5, 8
_MAX_TITLE = 100


def show(timeline: Timeline, now: float) -> None:
    """Print a timeline: the summaries, then a line for each event, oldest first, below its local date."""
    title = f": {quoted(timeline.title, _MAX_TITLE)}" if timeline.title else ""
    terminal.show_line(f"incident {identifier(timeline.incident_id, MAX_ID_LENGTH)}{title}", indent=2)
    for each in timeline.summaries:
        terminal.show_line(printable(_summary(each)), indent=2)
    if timeline.dropped:
        terminal.show_line(f"{timeline.dropped} older events are left out")
    are_many = len(timeline.channels) > 1
    for day, events in groupby(timeline.events, key=lambda each: moments.day(each.at)):
        terminal.show_line(day)
        for event in events:
            lead = f"{moments.clock(event.at)} {age(event, now):>{_AGE_COLUMNS}}  {event.source:{_SOURCE_COLUMNS}}  "
            terminal.show_line(printable(_words(event, with_channel=are_many)), lead=Text(lead))


def notes(timeline: Timeline) -> Iterator[str]:
    """Yield a line for each source that is missing, failed, or was not read wholly."""
    for each in timeline.readings:
        if each.problem:
            yield printable(f"{'FAILED: ' if each.is_failure else ''}{each.source}: {each.problem}")


def markdown(timeline: Timeline, now: float) -> str:
    """Return the timeline as Markdown: a heading, the summaries, a table of events, and the sources."""
    lines = [f"# Incident {_escaped(timeline.incident_id)}", ""]
    lines += [_escaped(quoted(timeline.title, _MAX_TITLE)), ""] if timeline.title else []
    lines += [f"- {_escaped(_summary(each))}" for each in timeline.summaries]
    lines += [f"- {timeline.dropped} older events are left out"] if timeline.dropped else []
    lines += ["", "## Timeline", ""] if lines[-1] else ["## Timeline", ""]
    if timeline.events:
        lines += [f"Local times, {moments.day(timeline.events[0].at)[12:-1]}.", ""]
        lines += ["| day | time | source | channel | event |", "| --- | --- | --- | --- | --- |"]
    for each in timeline.events:
        cells = (moments.day(each.at)[:10], moments.clock(each.at), each.source, each.channel, each.text)
        lines.append(f"| {' | '.join(_escaped(cell) for cell in cells)} |")
    lines += ["", "## Sources", "", f"Read at {moments.iso(now)}.", ""]
    for reading in timeline.readings:
        said = reading.problem or f"{reading.found} events"
        lines.append(f"- {_escaped(reading.source)}: {_escaped(said)}")
    return "\n".join(lines)


def age(event: Event, now: float) -> str:
    """Return the time since an event, such as "3m"; "in 3m" for an event in the future."""
    return f"in {duration(event.at - now)}" if event.at > now else duration(now - event.at)


def _summary(summary: ChannelSummary) -> str:
    names = ", ".join(identifier(name) for name in summary.recipients)
    whom = f" for {names}" if names else ""
    return f"channel {summary.channel}{whom}: {'; '.join(summary.words)}"


def _words(event: Event, *, with_channel: bool) -> str:
    return f"{event.channel}: {event.text}" if with_channel and event.channel else event.text


def _escaped(text: str) -> str:
    return _MARKS.sub(r"\\\1", printable(text))
