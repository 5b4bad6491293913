"""Sources of a channel's shares: environments of BigPanda's, and the recipients that its webhooks' URLs name.

Nobody tells the relay which environments share with a channel, so it remembers where shares came from: a function
writes that once, and again once a day. Of an incident that was shared for recipients of a webhook's own it remembers
those, since for each set of them an incident is announced on its own.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from copy import replace
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from relay.channels.channel import Channel
from relay.deadline import Deadline
from relay.errors import LedgerError
from relay.ledger.entry import legal
from relay.ledger.table import Table, Text

MAX_SOURCES = 20
AGAIN_SECONDS = 24 * 3600.0
# Who was written no later than so long before the others of an environment is no webhook's any more.
GONE_SECONDS = 3 * 24 * 3600.0
# An environment that shared nothing for so long after another did shares no more.
OLD_SECONDS = 30 * 24 * 3600.0
# The table forgets what nobody writes; where no share comes, somebody has to know for the longer where it came from.
REFRESH_SECONDS = 60 * 24 * 3600.0
# A table that failed is not asked at each share.
RETRY_SECONDS = 60.0
TABLE_SECONDS = 1.0
MAX_RACES = 4

type Recipients = tuple[str, ...]


class Source(NamedTuple):
    """An environment, and the recipients in the URL of a webhook that shared from there; `at` is when it last did."""

    environment_id: str
    recipients: Recipients
    at: float = 0.0


@dataclass(frozen=True)
class Sources:
    """Remembers sources. `clock` gives epoch seconds."""

    table: Table
    clock: Callable[[], float]
    # Until when a channel's source need not be noted again.
    _noted: dict[tuple[str, Source], float] = field(default_factory=dict, init=False, repr=False)

    def note(self, channel: Channel, environment_id: str | None, recipients: Recipients, deadline: Deadline) -> None:
        """Remember where a share of a channel came from, if anybody will want to know, and the table takes it."""
        is_wanted = channel.bigpanda is not None and channel.bigpanda.reconcile
        if not is_wanted or not environment_id:
            return
        source = Source(environment_id, _ordered(recipients))
        now = self.clock()
        if self._noted.get((channel.name, source), 0.0) > now:
            return
        self._noted[channel.name, source] = now + RETRY_SECONDS
        if self._done(partial(self._write, channel.name, source, now), deadline):
            self._noted[channel.name, source] = now + AGAIN_SECONDS

    def note_incident(self, channel: Channel, incident_id: str, recipients: Recipients, deadline: Deadline) -> None:
        """Remember that an incident was shared for these, if anybody will want to know, and the table takes it."""
        if recipients and (channel.bigpanda or channel.callback):
            self._done(partial(self._write_incident, channel.name, incident_id, _ordered(recipients)), deadline)

    def of_incident(self, channel: Channel, incident_id: str) -> tuple[Recipients, ...]:
        """The recipients for which an incident was shared, besides none. Raises LedgerError."""
        return tuple(_sets(self.table.read(_incident_key(channel.name, incident_id)))[0])

    def of_incidents(self, channel: str, incident_ids: Collection[str]) -> dict[str, tuple[Recipients, ...]]:
        """Return the same for many incidents, without those that DynamoDB did not answer for. Raises LedgerError."""
        keys = {incident_id: _incident_key(channel, incident_id) for incident_id in incident_ids}
        found = self.table.read_many(set(keys.values()))
        return {each: tuple(_sets(found[key])[0]) for each, key in keys.items() if key in found}

    def of(self, channel: Channel) -> Mapping[str, tuple[Recipients, ...]]:
        """Return the environments that share with a channel, and for which recipients. Raises LedgerError."""
        return self._places(channel, _sources(self.table.read(_key(channel.name)))[0])

    def of_all(self, channels: Sequence[Channel]) -> dict[str, Mapping[str, tuple[Recipients, ...]]]:
        """Return the same for many channels, by name, without those that DynamoDB did not answer for.

        What is about to expire is written anew. Raises LedgerError.
        """
        texts = self.table.read_many([_key(channel.name) for channel in channels])
        places: dict[str, Mapping[str, tuple[Recipients, ...]]] = {}
        for channel in channels:
            if _key(channel.name) not in texts:
                continue
            found, sequence = _sources(texts[_key(channel.name)])
            if found and max(source.at for source in found) < self.clock() - REFRESH_SECONDS:
                self.table.write(_key(channel.name), sequence, json.dumps(found))
            places[channel.name] = self._places(channel, found)
        return places

    def _places(self, channel: Channel, found: Sequence[Source]) -> Mapping[str, tuple[Recipients, ...]]:
        """Return the environments of these sources; if there are none, that of the channel's own settings.

        Of several webhooks of one environment, those count that shared there lately.
        """
        newest = max((source.at for source in found), default=0.0)
        places: dict[str, tuple[Recipients, ...]] = {}
        for environment_id in dict.fromkeys(source.environment_id for source in found):
            there = [source for source in found if source.environment_id == environment_id]
            latest = max(source.at for source in there)
            if latest > newest - OLD_SECONDS:
                lately = (source.recipients for source in there if source.at > latest - GONE_SECONDS)
                places[environment_id] = tuple(lately)
        own = channel.bigpanda.environment_id if channel.bigpanda else None
        return places or ({own: ((),)} if own else {})

    def _done(self, write: Callable[[], bool], deadline: Deadline) -> bool:
        with suppress(LedgerError, TimeoutError):
            for _ in range(MAX_RACES):
                if deadline.run(write, part="ledger", at_most=TABLE_SECONDS):
                    return True
        return False

    def _write(self, channel: str, source: Source, now: float) -> bool:
        found, sequence = _sources(self.table.read(_key(channel)))
        others = [each for each in found if each[:2] != source[:2]]
        newest = sorted((*others, replace(source, at=now)), key=lambda each: -each.at)[:MAX_SOURCES]
        return self.table.write(_key(channel), sequence, json.dumps(newest)) is not None

    def _write_incident(self, channel: str, incident_id: str, recipients: Recipients) -> bool:
        known, sequence = _sets(self.table.read(_incident_key(channel, incident_id)))
        if recipients in known:
            return True
        newest = [*known, recipients][-MAX_SOURCES:]
        return self.table.write(_incident_key(channel, incident_id), sequence, json.dumps(newest)) is not None


def _sources(found: Text | None) -> tuple[list[Source], int]:
    """Return the sources of an item, none if it can't be read, and its sequence."""
    if found is None:
        return [], 0
    with suppress(ValueError, TypeError):
        return [_source(each) for each in json.loads(found.text)], found.sequence
    return [], found.sequence


def _sets(found: Text | None) -> tuple[list[Recipients], int]:
    """Return the sets of recipients of an item, none if it can't be read, and its sequence."""
    if found is None:
        return [], 0
    with suppress(ValueError, TypeError):
        return [tuple(map(str, each)) for each in json.loads(found.text)], found.sequence
    return [], found.sequence


def _source(members: list[Any]) -> Source:
    environment_id, recipients, at = members
    return Source(str(environment_id), tuple(map(str, recipients)), float(at))


def _ordered(recipients: Recipients) -> Recipients:
    return tuple(sorted(set(recipients)))


def _key(channel: str) -> str:
    return f"sources/{channel}"


def _incident_key(channel: str, incident_id: str) -> str:
    return f"shared/{channel}/{legal(incident_id)}"
