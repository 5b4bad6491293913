"""Reading of all sources of an incident's timeline. If a source fails, the others are still read."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlencode

from relay.bigpanda.client import BigPanda
from relay.channels.channel import Channel, Rest
from relay.deadline import Deadline
from relay.foreign_text import identifier, quoted, url_part
from relay.http.client import json_object
from relay.incidents.share import Fields, fields_of, nested, scalar, time_of
from relay.jobs.job import Job, seconds_of
from relay.xmatters.directory import AUDITS_PATH, EVENTS_PATH, Pages, RestApi
from relayctl import log_lines
from relayctl.channel.store import ChannelStore
from relayctl.dlq.reading import Filter, choosing
from relayctl.failed_calls import Readings
from relayctl.incident import timeline
from relayctl.incident.timeline import BIGPANDA, DEAD_LETTERS, LEDGER, LOG, XMATTERS, Event, Known, Recipients
from relayctl.log_lines import FUNCTIONS
from relayctl.stack.deployed import Stack

# Answers of FilterLogEvents that are read of one log group. An answer has 1 MB at most, and may be empty.
MAX_ANSWERS = 200
# Log lines are read from this long ago, unless the operator says otherwise.
LOG_SECONDS = 7 * 24 * 3600.0
# Events that a timeline holds; the newest are kept.
MAX_EVENTS = 2000
# Time for all requests to the vendors of one channel.
VENDOR_SECONDS = 30.0
# Signals and pages of a channel that xMatters is asked about, the newest.
MAX_SIGNALS, MAX_PAGES = 8, 8


@dataclass
class Collector:
    """Timeline of an incident, which `collect` reads from all sources."""

    stack: Stack
    incident_id: str
    channel: str | None  # Name of the only channel to read; None for all channels
    since: float | None  # Start of the timeline (epoch seconds); None for log lines of LOG_SECONDS and all else
    events: list[Event] = field(default_factory=list)  # The events; oldest first, once all are collected
    known: list[Known] = field(default_factory=list)  # One for each channel and set of recipients in the URL
    readings: Readings = field(default_factory=Readings)  # The results of the sources that were read so far
    dropped: int = 0  # Number of older events that were left out, since a timeline holds MAX_EVENTS
    url_recipients: dict[str, set[Recipients]] = field(default_factory=dict)  # Found so far, by channel

    @property
    def title(self) -> str:
        """Title of the incident; empty if unknown."""
        return next((each.entry.about.title for each in self.known if each.entry.about.title), "")

    @property
    def channels(self) -> list[str]:
        """Names of the channels in the timeline, sorted."""
        names = {each.channel for each in self.known} | {each.channel for each in self.events}
        return sorted(names - {""})

    def document(self, now: float) -> dict[str, Any]:
        """Return the timeline at `now` (epoch seconds) as a JSON object for programs."""
        return {
            "incident_id": self.incident_id,
            "title": self.title or None,
            "channels": [
                {
                    "channel": each.channel,
                    "url_recipients": list(each.recipients),
                    **timeline.document(each.entry, now),
                }
                for each in self.known
            ],
            "events": [each.document() for each in self.events],
            "dropped": self.dropped,
            "problems": self.readings.problems,
        }

    def collect(self) -> None:
        """Read all sources."""
        # First: it raises an error if there is no such stack, or the stack is not a relay.
        store = ChannelStore(self.stack)
        names = [self.channel] if self.channel else None
        if names is None:
            names = list(self.readings.read("channels", store.names) or ())
        self._logs()
        self._dead_letters()
        self._ledger(sorted({*names, *self.channels}))
        for name in self.channels:
            self._vendors(name)
        # Events of one moment keep the order in which they were found.
        ordered = sorted((each for each in self.events if each.at >= (self.since or 0.0)), key=lambda each: each.at)
        self.events = ordered[-MAX_EVENTS:]
        self.dropped = len(ordered) - len(self.events)

    def _logs(self) -> None:
        pattern = log_lines.pattern_of(self.incident_id)
        since = self.stack.effects.clock() - LOG_SECONDS if self.since is None else self.since
        for function in FUNCTIONS:
            with self.readings.reading(f"{LOG} {function}"):
                for line in self.stack.logs.scan(function, pattern, since, MAX_ANSWERS):
                    event = timeline.event_of(line) if log_lines.is_about(line, self.incident_id) else None
                    if event and (not event.channel or self.channel in {None, event.channel}):
                        self.events.append(event)

    def _dead_letters(self) -> None:
        with self.readings.reading(DEAD_LETTERS):
            with choosing(self.stack, Filter(channel=self.channel, incident=self.incident_id)) as choice:
                jobs, held = [message.job for message in choice.jobs if message.job], choice.depth.held
            for job in jobs:
                if job.url_recipients:
                    self.url_recipients.setdefault(job.channel, set()).add(job.url_recipients)
            self.events += map(_dead_letter, jobs)
            if held:
                unseen = f"about {held} messages are held by another reader and were not read"
                self.readings.note(DEAD_LETTERS, unseen)

    def _ledger(self, channels: Iterable[str]) -> None:
        with self.readings.reading(LEDGER):
            ids = {name: [self.incident_id] for name in channels}
            self.known = timeline.stored(self.stack, ids, self.url_recipients)
            made = ((each.channel, event) for each in self.known for event in timeline.events(each.entry))
            self.events += [event._replace(channel=name) for name, event in made if self._is_news(event)]

    def _vendors(self, name: str) -> None:
        if channel := self.readings.read(f"channel {name}", partial(ChannelStore(self.stack).channel, name)):
            self._xmatters(channel)
            self._bigpanda(channel)

    def _xmatters(self, channel: Channel) -> None:
        with self.readings.reading(f"{XMATTERS} {channel.name}"):
            self.events += list(self._pages(channel.name, channel.rest)) if channel.rest else []

    def _pages(self, name: str, rest: Rest) -> Iterator[Event]:
        deadline = self.stack.deadline(VENDOR_SECONDS)
        outward = self.stack.effects.outward(self.stack.hosts.xmatters)
        stored = [each.entry for each in self.known if each.channel == name]
        signals = sorted((each for entry in stored for each in entry.accepted_signals), key=lambda each: each.at)
        pages, api, asked = Pages(outward), RestApi(outward), set[str]()
        for signal in reversed(signals[-MAX_SIGNALS:]):
            found = signal.pages or tuple(each.id for each in pages.of_request(rest, signal.request_id, deadline))
            for page in found:
                if page in asked or len(asked) >= MAX_PAGES:
                    continue
                asked.add(page)
                yield from of_page(api, rest, name, page, deadline)

    def _bigpanda(self, channel: Channel) -> None:
        access = channel.bigpanda
        if access is None:
            return
        with self.readings.reading(f"{BIGPANDA} {channel.name}"):
            client = BigPanda(self.stack.effects.outward(self.stack.hosts.bigpanda))
            activities = client.activities(access, self.incident_id, self.stack.deadline(VENDOR_SECONDS))
            # The activities of one incident are the same for each channel with a key.
            known = {(each.at, each.text) for each in self.events if each.source == BIGPANDA}
            made = of_activities(activities)
            self.events += [each for each in made if (each.at, each.text) not in known]

    def _is_news(self, event: Event) -> bool:
        """False for a signal that a log line has, too, unless the ledger knows of its page."""
        logged = {each.request_id for each in self.events if each.source == LOG}
        return event.kind != "signal" or event.is_page_known or event.request_id not in logged


def _dead_letter(job: Job) -> Event:
    status = f" (HTTP {job.stamps.http_status})" if job.stamps.http_status else ""
    text = f"on the dead-letter queue: {job.kind}, {job.stamps.reason}{status}, {job.stamps.attempts} attempts"
    at = job.dead_lettered_at or job.stamps.last_failed_at or job.received_at
    return Event(seconds_of(at), DEAD_LETTERS, "dead_letter", text, job.channel)


# The types that recordings of a tenant have.
AUDIT_TYPES = "EVENT_ANNOTATED,RESPONSE_RECEIVED"
# Audits of a page that are read, the newest. An answer is read up to 64 KiB.
MAX_AUDITS = 40
_MAX_TEXT = 200


def of_page(api: RestApi, rest: Rest, channel: str, page_id: str, deadline: Deadline) -> Iterator[Event]:
    """Ask xMatters for a page and its answers, and yield the events that have a time. Raises SendError."""
    path = f"{EVENTS_PATH}/{url_part(page_id)}?embed=recipients"
    answer = api.ask(rest, "GET", path, None, deadline, says=lambda answer: json_object(answer.body) or None)
    page = Fields(json_object(answer.body))
    query = urlencode({"eventId": page_id, "auditType": AUDIT_TYPES, "limit": MAX_AUDITS}, errors="replace")
    audits = api.listed(rest, f"{AUDITS_PATH}?{query}", deadline)
    name, created = f"page {identifier(_text(page.first('eventid')) or page_id)}", time_of(page.first("created"))
    if created is not None:
        names = ", ".join(map(identifier, _recipients(page.first("recipients"))))
        yield Event(created, XMATTERS, "page", f"{name} made; recipients: {names or 'not named'}", channel)
    for audit in audits:
        yield from _answer(channel, name, fields_of(audit))
    if (ended := time_of(page.first("terminated"))) is not None:
        yield Event(ended, XMATTERS, "page", f"{name} ended", channel)


def _recipients(value: Any) -> Iterator[str]:
    found = value if isinstance(value, list) else nested(value, "data")
    for each in found if isinstance(found, list) else []:
        if name := _text(nested(each, "targetname") or nested(each, "name") or nested(each, "id")):
            yield name


def _answer(channel: str, page: str, audit: Fields) -> Iterator[Event]:
    response, annotation = audit.first("response"), audit.first("annotation")
    found = fields_of(response if isinstance(response, dict) else annotation)
    at = time_of(found.first("received")) or time_of(found.first("created")) or time_of(audit.first("at"))
    recipient = nested(found.first("notification"), "recipient")
    # The recipient of a notification is a device, which belongs to a person.
    owner = nested(recipient, "owner")
    person = found.first("author") or owner or recipient
    who = identifier(_text(nested(person, "targetname") or nested(person, "name")) or "somebody")
    device = _quoted(" on ", nested(recipient, "name") if owner else None)
    said = _quoted(" ", found.first("response")) or _quoted(" ", nested(found.first("option"), "text"))
    text = f"{who} answered{said} to {page}{device}" if said or device else f"{who} commented on {page}"
    if at is not None:
        kind = "answer" if said or device else "comment"
        yield Event(at, XMATTERS, kind, text + _quoted(": ", found.first("comment")), channel)


def _quoted(before: str, value: Any) -> str:
    return f"{before}{quoted(text, _MAX_TEXT)}" if (text := _text(value)) else ""


def _text(value: Any) -> str:
    return (scalar(value) or "").strip()[:_MAX_TEXT]


def of_activities(activities: Iterable[Mapping[str, Any]]) -> Iterator[Event]:
    """Yield the events of BigPanda's activities. Activities without a time or a type are left out.

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
