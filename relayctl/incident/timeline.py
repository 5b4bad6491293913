"""Timeline of one incident: events of several sources in one order. Pure code."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from relay.failures.errors import SendError
from relayctl import moments

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


class Reading(NamedTuple):
    """Result of reading one source.

    Attributes:
        source: Name of the source, with its channel if it is one channel's.
        found: Number of events from the source.
        problem: The reason why the source was not read, or only in part; None if it was read.
        is_failure: True if the source failed; False if it was read, or the channel does not use it.
    """

    source: str
    found: int = 0
    problem: str | None = None
    is_failure: bool = False

    @classmethod
    def failed(cls, source: str, error: Exception | str) -> Self:
        """Return the result of a source that failed."""
        if isinstance(error, SendError) and error.http_status:
            return cls(source, problem=f"{error} (HTTP {error.http_status})", is_failure=True)
        return cls(source, problem=str(error), is_failure=True)

    def document(self) -> dict[str, Any]:
        """Return the result as a JSON object for programs."""
        return self._asdict()


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
        summaries: A summary for each channel, and within a channel for each set of recipients that the webhook's URL
            named.
        events: The events, oldest first.
        readings: The results of all sources.
        dropped: Number of older events that were left out, since a timeline holds MAX_EVENTS.
        title: Title of the incident; empty if unknown.
    """

    incident_id: str
    summaries: tuple[ChannelSummary, ...]
    events: tuple[Event, ...]
    readings: tuple[Reading, ...]
    dropped: int = 0
    title: str = ""

    @property
    def is_empty(self) -> bool:
        """True if no source knows the incident."""
        return not self.summaries and not self.events

    @property
    def has_failures(self) -> bool:
        """True if a source failed, so that the timeline may lack events."""
        return any(each.is_failure for each in self.readings)

    @property
    def channels(self) -> list[str]:
        """Names of the channels in the timeline, sorted."""
        names = {each.channel for each in self.summaries} | {each.channel for each in self.events}
        return sorted(names - {""})

    def document(self) -> dict[str, Any]:
        """Return the timeline as a JSON object for programs."""
        return {
            "incident_id": self.incident_id,
            "title": self.title or None,
            "channels": [each.document() for each in self.summaries],
            "events": [each.document() for each in self.events],
            "dropped": self.dropped,
            "sources": [each.document() for each in self.readings],
        }


def of(
    incident_id: str,
    summaries: Iterable[ChannelSummary],
    events: Iterable[Event],
    readings: Sequence[Reading],
    since: float | None = None,
) -> Timeline:
    """Return the timeline of these events in their order, without those before `since` (epoch seconds).

    Events of one moment keep the order in which they are given.
    """
    ordered = sorted((each for each in events if since is None or each.at >= since), key=lambda each: each.at)
    kept = ordered[-MAX_EVENTS:]
    return Timeline(incident_id, tuple(summaries), tuple(kept), tuple(readings), len(ordered) - len(kept))
