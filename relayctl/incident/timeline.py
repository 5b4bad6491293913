"""Timeline of one incident: events of several sources in one order. Pure code."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from relayctl import moments
from relayctl.readings import Readings

# Sources of events.
LEDGER, LOG, DEAD_LETTERS = "ledger", "log", "dlq"
XMATTERS, BIGPANDA = "xMatters", "BigPanda"
# Events that a timeline holds; the newest are kept.
MAX_EVENTS = 2000
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Event(NamedTuple):
    """One line of a timeline.

    Attributes:
        at: Time of the event (epoch seconds). It may lie ahead, such as the next attempt.
        source: The source of the event, one of the constants above.
        kind: Kind of the event, such as `share`, `page` or `dead_letter`.
        text: The event in words; texts from BigPanda and xMatters are in quotes.
        channel: Name of the channel; empty if the event belongs to all of the incident's channels.
        details: Further members of the JSON object.
    """

    at: float
    source: str
    kind: str
    text: str
    channel: str = ""
    details: Mapping[str, Any] = _NOTHING

    def document(self) -> dict[str, Any]:
        """Return the event as a JSON object for programs."""
        members = {"at": moments.iso(self.at), "source": self.source, "kind": self.kind, "text": self.text}
        known = {name: value for name, value in self.details.items() if value not in (None, "", [], ())}
        return members | {"channel": self.channel or None} | known


class ChannelSummary(NamedTuple):
    """Summary of the present state of an incident in one channel.

    The URL of a channel's webhook can name recipients. Shares of an incident that came to URLs with other recipients
    have a summary of their own.

    Attributes:
        channel: Name of the channel.
        recipients: Recipients that the webhook's URL named; empty if it named none.
        words: Short statements about what is announced, owed or dead-lettered, the most important first.
        details: The same facts as members of a JSON object.
    """

    channel: str
    recipients: tuple[str, ...]
    words: tuple[str, ...]
    details: Mapping[str, Any] = _NOTHING

    def document(self) -> dict[str, Any]:
        """Return the summary as a JSON object for programs."""
        return {"channel": self.channel, "url_recipients": list(self.recipients), **self.details}


class Timeline(NamedTuple):
    """Timeline of an incident, from all sources.

    Attributes:
        incident_id: BigPanda's id of the incident.
        title: Title of the incident; empty if unknown.
        summaries: A summary for each channel, and within a channel for each set of recipients that the webhook's URL
            named.
        events: The events, oldest first.
        readings: The results of all sources.
        dropped: Number of older events that were left out, since a timeline holds MAX_EVENTS.
    """

    incident_id: str
    title: str
    summaries: tuple[ChannelSummary, ...]
    events: tuple[Event, ...]
    readings: Readings
    dropped: int = 0

    @property
    def is_empty(self) -> bool:
        """True if no source knows the incident."""
        return not self.summaries and not self.events

    @property
    def channels(self) -> list[str]:
        """Names of the channels in the timeline, sorted."""
        names = {each.channel for each in self.summaries} | {each.channel for each in self.events}
        return sorted(names - {""})

    def with_events(self, events: Iterable[Event], since: float | None = None) -> "Timeline":
        """Return the timeline with these events in their order, without those before `since` (epoch seconds).

        Events of one moment keep the order in which they are given.
        """
        ordered = sorted((each for each in events if since is None or each.at >= since), key=lambda each: each.at)
        kept = ordered[-MAX_EVENTS:]
        return self._replace(events=tuple(kept), dropped=len(ordered) - len(kept))

    def document(self) -> dict[str, Any]:
        """Return the timeline as a JSON object for programs."""
        return {
            "incident_id": self.incident_id,
            "title": self.title or None,
            "channels": [each.document() for each in self.summaries],
            "events": [each.document() for each in self.events],
            "dropped": self.dropped,
            "sources": self.readings.documents(),
        }
