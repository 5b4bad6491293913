"""relayctl incident: the last incidents, and the whole story of one."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote

import click

from relay.delivery.channel_health import age
from relay.foreign_text import identifier, printable, quoted
from relay.incidents.share import MAX_ID_LENGTH
from relay.ledger.entry import Entry
from relay.ledger.entry_key import channel_of, incident_of
from relay.ledger.table import Ledger
from relayctl import moments, terminal
from relayctl.channel.store import CHANNEL
from relayctl.failed_calls import Readings
from relayctl.incident import timeline
from relayctl.incident.timeline_sources import Collector
from relayctl.log_lines import WEBHOOK
from relayctl.stack.deployed import Stack, on_stack
from relayctl.stack.status_reading import due

# Answers of FilterLogEvents that are read.
MAX_ANSWERS = 200
# Incidents that are shown, the newest.
MAX_INCIDENTS = 500
MAX_TITLE = 80


class Listed(NamedTuple):
    """An incident of a channel."""

    at: float  # Time of its last share (epoch seconds)
    channel: str
    incident_id: str  # BigPanda's id, as the log or the ledger's key has it
    entry: Entry | None  # Its entry in the ledger; None if there is none, or it could not be read
    outcome: str = ""  # Outcome of its last share in the log; empty if the log was not read

    def document(self, now: float) -> dict[str, Any]:
        """Return the incident as a JSON object for programs, with its state in words."""
        entry = self.entry
        says = [f"the last share was {self.outcome}; the ledger has no entry of it"]
        return {
            "incident_id": self.incident_id,
            "channel": self.channel,
            "title": entry.about.title or None if entry else None,
            "last_share_at": moments.iso(self.at),
            **(timeline.document(entry, now) if entry else {"says": says}),
        }


def _owed(stack: Stack, readings: Readings) -> Iterator[Listed]:
    ledger = Ledger(stack.bounded_table())
    for name, entry in (readings.read("ledger", lambda: due(ledger)) or {}).items():
        if entry.debt.since is not None:
            came = entry.newest.came if entry.newest else entry.debt.since
            yield Listed(came, channel_of(name), incident_of(name), entry)


def _shared(stack: Stack, readings: Readings, since: float) -> Iterator[Listed]:
    lines = sorted(readings.lines(stack.logs, WEBHOOK, ("share",), since, MAX_ANSWERS), key=lambda each: each.at)
    last = {(line.text("channel"), incident): line for line in lines if (incident := line.text("incident_id"))}
    newest = sorted(last, key=lambda each: -last[each].at)[:MAX_INCIDENTS]
    ids = {channel: [incident for name, incident in newest if name == channel] for channel, _ in newest}
    entries = dict[tuple[str, str], list[Entry | None]]()
    for one in readings.read("ledger", lambda: timeline.stored(stack, ids, with_shadow=True)) or ():
        entries.setdefault((one.channel, one.incident_id), []).append(one.entry)
    for each in newest:
        for entry in entries.get(each, [None]):
            yield Listed(last[each].at, *each, entry, last[each].text("outcome"))


_AGE_COLUMNS, _SOURCE_COLUMNS = 5, 8


def show_timeline(shown: Collector, now: float) -> None:
    """Print a timeline: the members of its document, then a line for each event, below its local date."""
    terminal.members({**shown.document(now), "events": None, "problems": None})
    are_many = len(shown.channels) > 1
    lines = list[tuple[float, str, str]]()
    for event in shown.events:
        when = f"in {age(event.at - now)}" if event.at > now else age(now - event.at)
        channel = f"{event.channel}: " if are_many and event.channel else ""
        lead = f"{when:>{_AGE_COLUMNS}}  {event.source:{_SOURCE_COLUMNS}} "
        lines.append((event.at, lead, channel + event.text))
    terminal.show_days(lines)


# `list` shows the shares of this time, unless --since says otherwise.
LISTED_SECONDS = 3600.0


@click.group()
def incident() -> None:
    """Incidents: what BigPanda shared, what was signalled, who was rung, and what they answered."""


@incident.command("list")
@click.option("--owed", is_flag=True, help="Only incidents that are owed or given up, whenever they were shared.")
@moments.since_option(None, "Incidents shared since: 30m, 12h or a time. Without it and --owed, an hour.")
@CHANNEL
@on_stack
def list_(stack: Stack, owed: bool, since: float | None, channel: str | None, as_json: bool) -> None:
    """List the incidents that were shared last, the newest first, each with its state and title.

    Without --owed the webhook's log says which incidents were shared. At most 500 are listed.

    \b
    Example:
      relayctl incident list
      relayctl incident list --owed
      relayctl incident list --since 30m --channel payments
    """
    now = stack.effects.clock()
    readings, earliest = Readings(), since
    if earliest is None:
        earliest = 0.0 if owed else now - LISTED_SECONDS
    with terminal.status("reading the log and the ledger …"):
        every = _owed(stack, readings) if owed else _shared(stack, readings, earliest)
        found = [each for each in every if channel in {None, each.channel} and each.at >= earliest]
        found = sorted(found, key=lambda each: (-each.at, each.channel, each.incident_id))[:MAX_INCIDENTS]
    documents = [each.document(now) for each in found]
    if as_json:
        terminal.document({"incidents": documents, "problems": readings.problems})
    else:
        for each, document in zip(found, documents, strict=True):
            title = [quoted(document["title"], MAX_TITLE)] if document["title"] else []
            name = f"{printable(each.channel)} {identifier(each.incident_id, MAX_ID_LENGTH)}"
            lead = f"{age(now - each.at):>{_AGE_COLUMNS}}  "
            terminal.show_line(f"{name}: {'; '.join([*document['says'], *title])}", lead=lead)
    readings.conclude(found, "no incident is owed" if owed else "no incident was shared in that time", as_json=as_json)


def _identity(_: click.Context, __: click.Parameter, value: str) -> str:
    value = value.strip()
    if "://" in value:
        found = re.search(r"/incidents?/([^/?#&\s]+)", value)
        if found is None:
            raise click.BadParameter("this address names no incident; give BigPanda's id of the incident")
        value = unquote(found[1])
    return value


@incident.command()
@click.argument("incident_id", metavar="ID", callback=_identity)
@CHANNEL
@moments.since_option("7d", "Events since: 90m, 12h, 30d or a time.")
@on_stack
def show(stack: Stack, incident_id: str, channel: str | None, since: float, as_json: bool) -> None:
    """Show an incident's timeline: shares, signals, pages, answers, retries and dead letters.

    Sources: the ledger, the functions' logs, the dead-letter queue, and the APIs of xMatters and BigPanda for channels
    with xmatters.rest and bigpanda.api_key. For some seconds other readers cannot receive dead-lettered messages.
    ID may be the incident's address in BigPanda's console.

    \b
    Example:
      relayctl incident show 65a1b2c3d4e5f60718293a4b
      relayctl incident show 65a1b2c3d4e5f60718293a4b --since 12h
    """
    now = stack.effects.clock()
    with terminal.status("reading the ledger, the logs and the queue …"):
        found = Collector(stack, incident_id, channel, since)
        found.collect()
    is_known = found.known or found.events
    if as_json:
        terminal.document(found.document(now))
    elif is_known:
        show_timeline(found, now)
    nothing = f"nothing is known of incident {identifier(incident_id, MAX_ID_LENGTH)}"
    found.readings.conclude(is_known, f"{nothing} in channel {channel}" if channel else nothing, as_json=as_json)
