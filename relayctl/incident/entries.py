"""Stored entries of incidents in the ledger, one for each channel and each set of recipients of a webhook's URL."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from relay.ledger.entry import Entry
from relay.ledger.entry_key import key, shadow_of
from relay.ledger.ledger import Ledger
from relay.ledger.sources import Sources
from relayctl.stack.deployed import Stack

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


def read(
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
