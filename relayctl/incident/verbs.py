"""relayctl incident: the last incidents, and the whole story of one, from every source that can be read."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple
from urllib.parse import unquote, urlencode

import click

from relay.bigpanda.client import BigPanda
from relay.channels.channel import Rest
from relay.deadline import Deadline
from relay.foreign_text import identifier, printable, quoted, url_part
from relay.health.judgement import age
from relay.http.client import json_object
from relay.incidents.share import MAX_ID_LENGTH, Fields, fields_of, nested, scalar, time_of
from relay.jobs.job import seconds_of
from relay.ledger.entry import Entry, channel_of, incident_id_of
from relay.ledger.table import Ledger
from relay.xmatters.directory import AUDITS_PATH, EVENTS_PATH, Pages, RestApi
from relayctl import moments, terminal
from relayctl.channel.checks import VENDOR_SECONDS
from relayctl.channel.store import CHANNEL, ChannelStore
from relayctl.dlq.queue import Filter, choosing
from relayctl.failed_calls import Readings
from relayctl.incident import timeline
from relayctl.incident.timeline import BIGPANDA, DEAD_LETTERS, LEDGER, LOG, XMATTERS, Event, Known
from relayctl.log_lines import WEBHOOK, is_about, pattern_of
from relayctl.stack.deployed import Stack, on_stack
from relayctl.stack.status import due

# Answers of FilterLogEvents that are read of one log group. An answer has 1 MB at most, and may be empty.
MAX_ANSWERS = 200
# Signals and pages of a channel that xMatters is asked about, the newest.
MAX_SIGNALS, MAX_PAGES = 8, 8


@dataclass
class Collector:
    """Timeline of an incident: its events from the ledger, logs, queue and vendors, which `collect` reads."""

    stack: Stack
    incident_id: str
    channel: str | None  # Name of the only channel to read; None for all channels
    since: float  # Start of the timeline (epoch seconds)
    events: list[Event] = field(default_factory=list)  # The events; oldest first, once all are collected
    known: list[Known] = field(default_factory=list)  # One for each channel and set of recipients in the URL
    readings: Readings = field(default_factory=Readings)  # The results of the sources that were read so far

    @property
    def channels(self) -> list[str]:
        """Names of the channels in the timeline, sorted."""
        names = {each.channel for each in self.known} | {each.channel for each in self.events}
        return sorted(names - {""})

    def document(self, now: float) -> dict[str, Any]:
        """Return the timeline at `now` (epoch seconds) as a JSON object for programs."""
        titles = (each.entry.about.title for each in self.known)
        channels = [
            {"channel": each.channel, "url_recipients": list(each.recipients), **timeline.document(each.entry, now)}
            for each in self.known
        ]
        return {
            "incident_id": self.incident_id,
            "title": next(filter(None, titles), None),
            "channels": channels,
            "events": [each.document() for each in self.events],
            "problems": self.readings.problems,
        }

    def collect(self) -> None:
        """Read all sources into `events` and `known`. A source that fails is noted. Raises StackMissingError."""
        # First: it raises an error if there is no such stack, or the stack is not a relay.
        store = ChannelStore(self.stack)
        names = [self.channel] if self.channel else list(self.readings.read("channels", store.names) or ())
        self._logs()
        self._dead_letters()
        self._ledger(sorted({*names, *self.channels}))
        for name in self.channels:
            self._vendors(name)
        # Events of one moment keep the order in which they were found.
        self.events = sorted((each for each in self.events if each.at >= self.since), key=lambda each: each.at)

    def _logs(self) -> None:
        pattern = pattern_of(self.incident_id)
        for function in self.stack.functions:
            lines = self.stack.logs.scan(function, pattern, self.since, MAX_ANSWERS)
            for line in self.readings.every(f"{LOG} {function}", lines):
                event = timeline.event_of(line) if is_about(line, self.incident_id) else None
                if event and (not event.channel or self.channel in {None, event.channel}):
                    self.events.append(event)

    def _dead_letters(self) -> None:
        with self.readings.reading(DEAD_LETTERS):
            with choosing(self.stack, Filter(channel=self.channel, incident=self.incident_id)) as choice:
                jobs = [message.job for message in choice.jobs if message.job]
            for job in jobs:
                status = f" (HTTP {job.stamps.http_status})" if job.stamps.http_status else ""
                said = f"{job.kind}, {job.stamps.reason}{status}, {job.stamps.attempts} attempts"
                at = seconds_of(job.dead_lettered_at or job.stamps.last_failed_at or job.received_at)
                event = Event(at, DEAD_LETTERS, "dead_letter", f"on the dead-letter queue: {said}", job.channel)
                self.events.append(event)
            if choice.unseen:
                self.readings.note(DEAD_LETTERS, choice.unseen)

    def _ledger(self, channels: Iterable[str]) -> None:
        with self.readings.reading(LEDGER):
            ids = {name: [self.incident_id] for name in channels}
            self.known, now = timeline.stored(self.stack, ids), self.stack.effects.clock()
            made = ((each.channel, event) for each in self.known for event in timeline.events(each.entry, now))
            self.events += [event._replace(channel=name) for name, event in made]

    def _vendors(self, name: str) -> None:
        channel = self.readings.read(f"channel {name}", partial(ChannelStore(self.stack).channel, name))
        if channel and channel.rest:
            with self.readings.reading(f"{XMATTERS} {name}"):
                self.events += list(self._pages(name, channel.rest))
        # The activities of one incident are the same for each channel with a key.
        if channel and channel.bigpanda and not any(each.source == BIGPANDA for each in self.events):
            with self.readings.reading(f"{BIGPANDA} {name}"):
                client = BigPanda(self.stack.effects.outward(self.stack.hosts.bigpanda))
                deadline = self.stack.deadline(VENDOR_SECONDS)
                self.events += of_activities(client.activities(channel.bigpanda, self.incident_id, deadline))

    def _pages(self, name: str, rest: Rest) -> Iterator[Event]:
        deadline = self.stack.deadline(VENDOR_SECONDS)
        api = Pages(self.stack.effects.outward(self.stack.hosts.xmatters))
        signals = [signal for each in self.known if each.channel == name for signal in each.entry.accepted_signals]
        newest = sorted(signals, key=lambda each: each.at, reverse=True)[:MAX_SIGNALS]
        known = (each.pages or [page.id for page in api.of_request(rest, each.request_id, deadline)] for each in newest)
        for page in list(dict.fromkeys(page for pages in known for page in pages))[:MAX_PAGES]:
            yield from of_page(api, rest, name, page, deadline)


# Audits of a page that are read, the newest. An answer is read up to 64 KiB.
MAX_AUDITS = 40
_MAX_TEXT = 200


def of_page(api: RestApi, rest: Rest, channel: str, page_id: str, deadline: Deadline) -> Iterator[Event]:
    """Read a page and people's answers to it from xMatters, and yield the events that have a time. Raises SendError."""
    path = f"{EVENTS_PATH}/{url_part(page_id)}?embed=recipients"
    answer = api.ask(rest, "GET", path, None, deadline, says=lambda answer: json_object(answer.body) or None)
    page = Fields(json_object(answer.body))
    query = urlencode({"eventId": page_id, "auditType": "RESPONSE_RECEIVED", "limit": MAX_AUDITS}, errors="replace")
    audits = api.listed(rest, f"{AUDITS_PATH}?{query}", deadline)
    name, created = f"page {identifier(_text(page.first('eventid')) or page_id)}", time_of(page.first("created"))
    if created is not None:
        recipients = nested(page.first("recipients"), "data")
        names = (_text(nested(each, "targetname")) for each in (recipients if isinstance(recipients, list) else ()))
        said = ", ".join(map(identifier, filter(None, names))) or "not named"
        yield Event(created, XMATTERS, "page", f"{name} made; recipients: {said}", channel)
    for audit in map(fields_of, audits):
        response = fields_of(audit.first("response"))
        device = nested(response.first("notification"), "recipient")
        who = _text(nested(nested(device, "owner"), "targetname")) or _text(nested(device, "targetname")) or "somebody"
        said = f"{identifier(who)} answered{_quoted(' ', response.first('response'))} to {name}"
        if (at := time_of(response.first("received"))) is not None:
            yield Event(at, XMATTERS, "answer", said + _quoted(": ", response.first("comment")), channel)
    if (ended := time_of(page.first("terminated"))) is not None:
        yield Event(ended, XMATTERS, "page", f"{name} ended", channel)


def _quoted(before: str, value: Any) -> str:
    return f"{before}{quoted(text, _MAX_TEXT)}" if (text := _text(value)) else ""


def _text(value: Any) -> str:
    return (scalar(value) or "").strip()[:_MAX_TEXT]


def of_activities(activities: Iterable[Mapping[str, Any]]) -> Iterator[Event]:
    """Yield an event for each of BigPanda's activities of an incident; those without a time or a type are left out.

    BigPanda does not document which member has the comment (docs/vendors.md), so the likely members are tried.
    """
    for each in activities:
        at = time_of(nested(each, "timestamp", "createdat", "time"))
        kind = scalar(nested(each, "type", "activitytype"))
        if at is None or not kind:
            continue
        comment = scalar(nested(nested(each, "params"), "comment")) or scalar(nested(each, "comment"))
        words = identifier(kind.removeprefix("incident_").replace("_", "-")).replace("-", " ")
        user = _text(nested(each, "createdby"))
        by = f" by user {identifier(user)}" if user else ""
        yield Event(at, BIGPANDA, "activity", f"{words}{by}{_quoted(': ', comment)}")


# Incidents that are shown at most.
MAX_INCIDENTS = 500
MAX_TITLE = 80
_AGE_COLUMNS, _SOURCE_COLUMNS = 5, 8


class Listed(NamedTuple):
    """A line in a list of incidents: one incident of one channel."""

    at: float  # Time of its last share (epoch seconds)
    channel: str
    incident_id: str  # BigPanda's id, as the log or the ledger's key has it
    entry: Entry | None  # Its entry in the ledger; None if there is none, or it could not be read
    unknown: str = ""  # Text in place of the entry's state, if there is no entry

    def document(self, now: float) -> dict[str, Any]:
        """Return the incident as a JSON object for programs, with its state in words."""
        entry = self.entry
        return {
            "incident_id": self.incident_id,
            "channel": self.channel,
            "title": entry.about.title or None if entry else None,
            "last_share_at": moments.iso(self.at),
            **(timeline.document(entry, now) if entry else {"says": [self.unknown]}),
        }


def _owed(stack: Stack, readings: Readings) -> Iterator[Listed]:
    """Yield what is owed or given up: criticals first, then the longest owed."""
    rows = readings.read("ledger", lambda: due(Ledger(stack.bounded_table()))) or {}
    urgency = {name: (not entry.debt.has_critical_row, entry.debt.since or 0.0) for name, entry in rows.items()}
    for name in sorted(rows, key=lambda each: (urgency[each], each)):
        entry = rows[name]
        if entry.debt.since is not None:
            came = entry.newest.came if entry.newest else entry.debt.since
            yield Listed(came, channel_of(name), incident_id_of(name), entry)


def _shared(stack: Stack, readings: Readings, since: float, channel: str | None) -> Iterator[Listed]:
    """Yield the incidents that were shared with a channel, the newest first; with any channel, if it is None."""
    lines = readings.every(f"log {WEBHOOK}", stack.logs.lines(WEBHOOK, ("share",), since, MAX_ANSWERS))
    ordered = sorted(lines, key=lambda each: each.at)
    last = {(line.text("channel"), incident): line for line in ordered if (incident := line.text("incident_id"))}
    last = {name: line for name, line in last.items() if channel in {None, name[0]}}
    newest = sorted(last, key=lambda each: (-last[each].at, each))[:MAX_INCIDENTS]
    ids = {name: [incident for other, incident in newest if other == name] for name, _ in newest}
    entries = dict[tuple[str, str], list[Entry | None]]()
    known = readings.read("ledger", lambda: timeline.stored(stack, ids, with_shadow=True))
    lacking = "the ledger could not be read" if known is None else "the ledger has no entry of it"
    for one in known or ():
        entries.setdefault((one.channel, one.incident_id), []).append(one.entry)
    for each in newest:
        for entry in entries.get(each, [None]):
            yield Listed(last[each].at, *each, entry, f"the last share was {last[each].text('outcome')}; {lacking}")


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

    Without --owed the webhook's log says which incidents were shared. With --owed criticals come first, then what is
    owed for longest. At most 500 are listed.

    \b
    Example:
      relayctl incident list
      relayctl incident list --owed
      relayctl incident list --since 30m --channel payments
    """
    now = stack.effects.clock()
    readings, default = Readings(), 0.0 if owed else now - moments.HOUR
    earliest = default if since is None else since
    with terminal.status("reading the log and the ledger …"):
        read = _owed(stack, readings) if owed else _shared(stack, readings, earliest, channel)
        every = [each for each in read if channel in {None, each.channel} and each.at >= earliest]
    found = every[:MAX_INCIDENTS]
    documents = [each.document(now) for each in found]
    if as_json:
        terminal.document({"incidents": documents, "owed": len(every) if owed else None, "problems": readings.problems})
    else:
        for each, document in zip(found, documents, strict=True):
            title = [quoted(document["title"], MAX_TITLE)] if document["title"] else []
            name = f"{printable(each.channel)} {identifier(each.incident_id, MAX_ID_LENGTH)}"
            lead = f"{age(now - each.at):>{_AGE_COLUMNS}}  "
            terminal.show_line(f"{name}: {'; '.join([*document['says'], *title])}", lead=lead)
        if len(every) > len(found):
            terminal.say(f"{len(found)} of {len(every)}")
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
      relayctl incident show 65a1b2c3d4e5f60718293a4b --since 12h
    """
    now = stack.effects.clock()
    with terminal.status("reading the ledger, the logs and the queue …"):
        found = Collector(stack, incident_id, channel, since)
        found.collect()
    is_known, document = found.known or found.events, found.document(now)
    if as_json:
        terminal.document(document)
    elif is_known:
        terminal.members({**document, "events": None, "problems": None})
    shown = () if as_json else found.events
    for day, events in groupby(shown, key=lambda event: f"{moments.local(event.at):%Y-%m-%d (%Z)}"):
        terminal.show_line(day)
        for event in events:
            when = f"in {age(event.at - now)}" if event.at > now else age(now - event.at)
            lead = f"{moments.local(event.at):%H:%M:%S} {when:>{_AGE_COLUMNS}}  {event.source:{_SOURCE_COLUMNS}}  "
            named = f"{event.channel}: " if len(found.channels) > 1 and event.channel else ""
            terminal.show_line(printable(named + event.text), lead=lead)
    nothing = f"nothing is known of incident {identifier(incident_id, MAX_ID_LENGTH)}"
    found.readings.conclude(is_known, f"{nothing} in channel {channel}" if channel else nothing, as_json=as_json)
