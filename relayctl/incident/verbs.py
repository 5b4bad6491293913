"""relayctl incident: the last incidents, and the whole story of one."""

import json
import re
from itertools import groupby
from urllib.parse import unquote

import click
from rich.text import Text

from relay.delivery.channel_health import age as duration
from relay.foreign_text import identifier, printable, quoted
from relay.incidents.share import MAX_ID_LENGTH
from relayctl import moments, terminal
from relayctl.channel.store import ChannelStore
from relayctl.channel_names import CHANNEL
from relayctl.incident import listing
from relayctl.incident.listing import IncidentReader
from relayctl.incident.timeline import ChannelSummary, Event, Timeline
from relayctl.incident.timeline_sources import Collector
from relayctl.moments import SINCE
from relayctl.stack.deployed import Stack, on_stack

_AGE_COLUMNS, _SOURCE_COLUMNS = 5, 8
_MAX_TITLE = 100


def show_timeline(timeline: Timeline, now: float) -> None:
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


def age(event: Event, now: float) -> str:
    """Return the time since an event, such as "3m"; "in 3m" for an event in the future."""
    return f"in {duration(event.at - now)}" if event.at > now else duration(now - event.at)


def _summary(summary: ChannelSummary) -> str:
    names = ", ".join(identifier(name) for name in summary.recipients)
    whom = f" for {names}" if names else ""
    return f"channel {summary.channel}{whom}: {'; '.join(summary.words)}"


def _words(event: Event, *, with_channel: bool) -> str:
    return f"{event.channel}: {event.text}" if with_channel and event.channel else event.text


# Log lines are read from this long ago, unless --since says otherwise.
DEFAULT_SECONDS = 7 * 24 * 3600.0
# `list` shows the shares of this time, unless --since says otherwise.
LISTED_SECONDS = 3600.0


@click.group(short_help="List the last incidents; show what happened to one.")
def incident() -> None:
    """Incidents: what BigPanda shared, what was signalled, who was rung, and what they answered."""


@incident.command("list")
@click.option("--owed", is_flag=True, help="Only incidents that are owed or given up, whenever they were shared.")
@click.option(
    "--since",
    type=SINCE,
    metavar="AGE|TIME",
    help="Only incidents that were shared since: 30m, 12h or a time. Without it and --owed, an hour.",
)
@CHANNEL
@on_stack
def list_(stack: Stack, owed: bool, since: float | None, channel: str | None, as_json: bool) -> None:
    """List the incidents that were shared last, the newest first, each with its state and title.

    One line for each: the age of its last share, channel, id, state, title. Without --owed the webhook's log says which
    incidents were shared. At most 500 are listed. A source that fails is named on stderr.

    Exit codes: 0 listed, 1 nothing found and a source failed, 2 usage, 3 nothing matched.

    \b
    Example:
      relayctl incident list
      relayctl incident list --owed
      relayctl incident list --since 30m --channel payments
    """
    now = stack.effects.clock()
    reader = IncidentReader(stack, channel, now - LISTED_SECONDS if since is None and not owed else since)
    with terminal.status("reading the log and the ledger …"):
        found = reader.owed() if owed else reader.shared()
    if as_json:
        click.echo(
            json.dumps({"incidents": [each.document(now) for each in found], "problems": reader.readings.problems})
        )
    else:
        listing.show(found, now)
        for problem in reader.readings.problems:
            terminal.say(f"not known: {problem}")
    if not found:
        if reader.readings.problems:
            raise click.ClickException("no incident was found, but not all sources could be read")
        terminal.nothing("no incident is owed" if owed else "no incident was shared in that time")


def _identity(_: click.Context, __: click.Parameter, value: str) -> str:
    """Return the incident's id in the argument: the argument itself, or the id in an address of BigPanda's console.

    Raises BadParameter.
    """
    value = value.strip()
    if "://" in value:
        found = re.search(r"/incidents?/([^/?#&\s]+)", value)
        if found is None:
            raise click.BadParameter("this address names no incident; give BigPanda's id of the incident")
        value = unquote(found[1])
    if not value:
        raise click.BadParameter("the id is empty; give BigPanda's id of the incident")
    if len(value) > MAX_ID_LENGTH:
        raise click.BadParameter(f"an id has {MAX_ID_LENGTH} characters at most")
    return value


@incident.command()
@click.argument("incident_id", metavar="ID", callback=_identity)
@CHANNEL
@click.option(
    "--since",
    type=SINCE,
    metavar="AGE|TIME",
    help="Only events since: 90m, 12h, 7d or a time. Without it, log lines of 7 days and all else.",
)
@on_stack
def show(stack: Stack, incident_id: str, channel: str | None, since: float | None, as_json: bool) -> None:
    """Show an incident's timeline: shares, signals, pages, answers, retries and dead letters.

    Sources: the ledger, the functions' logs, the dead-letter queue, and the APIs of xMatters and BigPanda for channels
    with xmatters.rest and bigpanda.api_key. Each line names its source. A source that is missing or fails is named on
    stderr. Nothing is changed. For some seconds other readers cannot receive dead-lettered messages. Times are local.
    ID may be the incident's address in BigPanda's console.

    Exit codes: 0 shown, 1 nothing found and a source failed, 2 usage, 3 no source knows the incident.

    \b
    Example:
      relayctl incident show 65a1b2c3d4e5f60718293a4b
      relayctl incident show 65a1b2c3d4e5f60718293a4b --since 12h
    """
    now = stack.effects.clock()
    with terminal.status("reading the ledger, the logs and the queue …"):
        start = now - DEFAULT_SECONDS if since is None else since
        found = Collector(stack, incident_id, channel, start).collect(since)
    if as_json:
        click.echo(json.dumps(found.document()))
    elif not found.is_empty:
        show_timeline(found, now)
    if not as_json:
        for note in found.readings.notes():
            terminal.say(note)
    if found.is_empty:
        _nothing(stack, found, channel)


def _nothing(stack: Stack, found: Timeline, channel: str | None) -> None:
    shown = identifier(found.incident_id, MAX_ID_LENGTH)
    if found.readings.has_failures:
        raise click.ClickException(f"nothing is known of incident {shown}, but not all sources could be read")
    if channel is not None and not ChannelStore(stack).exists(channel):
        terminal.nothing(f"there is no channel {channel}")
    terminal.nothing(f"nothing is known of incident {shown}")
