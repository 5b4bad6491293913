"""Events of a timeline, and the ledger's entries of incidents."""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from relay.ledger.entry import Entry
from relay.ledger.entry_key import key, shadow_of
from relay.ledger.sources import Sources
from relay.ledger.table import Ledger
from relayctl import moments
from relayctl.stack.deployed import Stack

# Sources of events.
LEDGER, LOG, DEAD_LETTERS = "ledger", "log", "dlq"
XMATTERS, BIGPANDA = "xMatters", "BigPanda"
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


# Recipients that a webhook's URL named.
type Recipients = tuple[str, ...]


class Known(NamedTuple):
    """A stored entry of the ledger, and the incident that it is for.

    Attributes:
        channel: Name of the channel.
        incident_id: BigPanda's id of the incident.
        recipients: Recipients that the webhook's URL named.
        entry: The entry.
    """

    channel: str
    incident_id: str
    recipients: Recipients
    entry: Entry


def stored(
    stack: Stack,
    incidents: Mapping[str, Collection[str]],
    also: Mapping[str, Collection[Recipients]],
    *,
    with_shadow: bool = False,
) -> list[Known]:
    """Return the stored entries of incidents, sorted by channel, incident and recipients. Raises LedgerError.

    Args:
        stack: The stack.
        incidents: Ids of incidents by channel.
        also: Sets of recipients by channel, beside those that the ledger has for shares of the incidents.
        with_shadow: True to read the entries of shadow mode, too.
    """
    table = stack.bounded_table()
    sources, places = Sources(table, stack.effects.clock), dict[str, tuple[str, str, Recipients]]()
    for channel, ids in incidents.items():
        named = sources.of_incidents(channel, ids)
        for incident in ids:
            for recipients in {(), *named.get(incident, ()), *also.get(channel, ())}:
                name = key(channel, recipients, incident)
                for each in (name, shadow_of(name)) if with_shadow else (name,):
                    places[each] = channel, incident, recipients
    # The ledger returns an empty entry for an unknown incident.
    entries = Ledger(table).read_many(places).items()
    known = [Known(*places[name], entry) for name, entry in entries if entry.sequence > 0]
    return sorted(known, key=lambda each: each[:3])
