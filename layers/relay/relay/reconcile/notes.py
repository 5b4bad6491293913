"""Persistent state of reconcile runs: a note for each group of channels, and one for each channel at a place.

A group is the channels that share a key of BigPanda's, a base URL, a query and an environment. A place is the last
three: a rotated key makes another group, and the channel's note at the place stays.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from copy import replace
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from relay.channels.channel import Access
from relay.ledger.table import Table

# A note must fit into an item of DynamoDB, however many incidents there are, and whatever they are called.
MAX_REMEMBERED = 2000
MAX_NAME_LENGTH = 48
# Days of which a note remembers how many incidents no channel knew.
MAX_DAYS = 7
DAY_SECONDS = 24 * 3600.0
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Difference(NamedTuple):
    """A difference between BigPanda's state of an incident and the ledger.

    Attributes:
        mark: The state that BigPanda has.
        since: The time at which a run saw it first, in epoch seconds.
        queued: The time at which it was put on the retry queue, or reported, in epoch seconds; 0 if it was not.
    """

    mark: str
    since: float
    queued: float = 0.0


class Unannounced(NamedTuple):
    """A day's incidents that no channel of a group knew.

    Attributes:
        found: How many were reported.
        came: How many of those came later, as shares of a channel of the group.
    """

    found: int = 0
    came: int = 0


class GroupNote(NamedTuple):
    """State of a group's runs; times are in epoch seconds.

    Attributes:
        run: The id of the run that has the group; empty between runs.
        piece: The number of the piece that this run works, or waits for, from 0.
        is_working: A worker has that piece in hand.
        until: Until then no other run may begin, and no other worker take a piece that is in hand.
        began: The time at which the newest run began; 0 if there was none.
        last: The time at which the newest complete run began; 0 if there was none.
        asleep: By incident, the time at which a snoozed one was seen last.
        unannounced: By incident, open ones that no channel of the group knows.
        days: By day (of the epoch), the number of unannounced incidents.
        sequence: The version of the item, for optimistic locking.
    """

    run: str = ""
    piece: int = 0
    is_working: bool = False
    until: float = 0.0
    began: float = 0.0
    last: float = 0.0
    asleep: Mapping[str, float] = _NOTHING
    unannounced: Mapping[str, Difference] = _NOTHING
    days: Mapping[str, Unannounced] = _NOTHING
    sequence: int = 0

    @classmethod
    def read(cls, table: Table, group: str) -> Self:
        """Return a group's note, an empty one where there is none or it can't be read. Raises LedgerError."""
        return cls.of(*_members(table.read(group_key(group))))

    @classmethod
    def of(cls, members: Mapping[str, Any], sequence: int) -> Self:
        """Return the note with these members, an empty one if they are no note's."""
        try:
            return cls(
                run=str(members.get("run", "")),
                piece=int(members.get("piece", 0)),
                is_working=bool(members.get("is_working", False)),
                until=float(members.get("until", 0)),
                began=float(members.get("began", 0)),
                last=float(members.get("last", 0)),
                asleep={name: float(at) for name, at in members.get("asleep", {}).items()},
                unannounced=_differences(members.get("unannounced", {})),
                days={
                    day: Unannounced(int(found), int(came)) for day, (found, came) in members.get("days", {}).items()
                },
                sequence=sequence,
            )
        except (ValueError, TypeError, AttributeError):
            return cls(sequence=sequence)

    def write(self, table: Table, group: str) -> "GroupNote | None":
        """Write the note in the place of the one that it was made of; None if the item changed. Raises LedgerError."""
        members = self._asdict() | {
            "asleep": dict(sorted(self.asleep.items(), key=lambda each: -each[1])[:MAX_REMEMBERED]),
            "unannounced": _newest(self.unannounced),
            "days": dict(sorted(self.days.items())[-MAX_DAYS:]),
        }
        sequence = _written(table, group_key(group), members)
        return replace(self, sequence=sequence) if sequence else None

    def counting(self, now: float, *, found: int = 0, came: int = 0) -> "GroupNote":
        """Return the note with so many more unannounced incidents that were reported, or came after all."""
        if not found and not came:
            return self
        day = str(int(now // DAY_SECONDS))
        known = self.days.get(day, Unannounced())
        return replace(self, days={**self.days, day: Unannounced(known.found + found, known.came + came)})


class ChannelNote(NamedTuple):
    """State of a channel at a place; times are in epoch seconds.

    Attributes:
        since: What changed before is none of the relay's business.
        seen: A complete run began then, or later, that compared the channel.
        differing: By incident, what a channel's ledger does not have.
        sequence: The version of the item, for optimistic locking.
    """

    since: float = 0.0
    seen: float = 0.0
    differing: Mapping[str, Difference] = _NOTHING
    sequence: int = 0

    @classmethod
    def of(cls, members: Mapping[str, Any], sequence: int) -> Self:
        """Return the note with these members, an empty one if they are no note's."""
        try:
            since, seen = float(members.get("since", 0)), float(members.get("seen", 0))
            return cls(since, seen, _differences(members.get("differing", {})), sequence)
        except (ValueError, TypeError, AttributeError):
            return cls(sequence=sequence)

    def write(self, table: Table, key: str) -> "ChannelNote | None":
        """Write the note in the place of the one that it was made of; None if the item changed. Raises LedgerError."""
        sequence = _written(table, key, self._asdict() | {"differing": _newest(self.differing)})
        return replace(self, sequence=sequence) if sequence else None


def read_channel_notes(table: Table, keys: Mapping[str, str]) -> dict[str, ChannelNote]:
    """Return notes by channel, of `keys` by channel; without those that DynamoDB did not answer for.

    Raises LedgerError.
    """
    found = table.read_many(keys.values())
    return {channel: ChannelNote.of(*_members(found[key])) for channel, key in keys.items() if key in found}


def read_unannounced(table: Table, access: Access, environment_ids: Iterable[str]) -> Unannounced:
    """Return how many incidents no channel knew in the last days, of the groups of these environments.

    Raises LedgerError.
    """
    notes = [GroupNote.read(table, group_name(access, each)) for each in environment_ids]
    days = [day for note in notes for day in note.days.values()]
    return Unannounced(sum(day.found for day in days), sum(day.came for day in days))


def place_name(access: Access, environment_id: str) -> str:
    """Return a short name of what is compared: another query or environment is another place."""
    return _hashed([access.base_url, access.reconcile_query, environment_id])


def group_name(access: Access, environment_id: str) -> str:
    """Return a short name of a group of channels; nobody learns the key from it."""
    account = hashlib.sha256(access.api_key.encode()).hexdigest()
    return _hashed([account, access.base_url, access.reconcile_query, environment_id])


def group_key(group: str) -> str:
    """Return the key of a group's note in the table."""
    return f"reconcile/{group}"


def channel_key(place: str, channel: str) -> str:
    """Return the key of the note of a channel at a place."""
    return f"reconcile/{place}/{channel}"


def short(name: str) -> str:
    """Return a name for an incident that is never long: its id, or the hash of one that no BigPanda gives."""
    is_plain = re.fullmatch(r"[\w.:-]*", name, re.ASCII) and len(name) <= MAX_NAME_LENGTH
    return name if is_plain else hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:MAX_NAME_LENGTH]


def _members(found: Any) -> tuple[Mapping[str, Any], int]:
    """Return the members and the sequence of an item; no members if it can't be read."""
    if found is None:
        return {}, 0
    try:
        members = json.loads(found.text)
    except ValueError:
        members = None
    return (members if isinstance(members, dict) else {}), found.sequence


def _written(table: Table, key: str, members: Mapping[str, Any]) -> int | None:
    kept = {name: value for name, value in members.items() if value and name != "sequence"}
    return table.write(key, int(members["sequence"]), json.dumps(kept, separators=(",", ":")))


def _differences(members: Mapping[str, Any]) -> dict[str, Difference]:
    return {name: Difference(str(mark), float(since), float(queued)) for name, (mark, since, queued) in members.items()}


def _newest(differences: Mapping[str, Difference]) -> dict[str, Difference]:
    age: Callable[[tuple[str, Difference]], float] = lambda each: -max(each[1].since, each[1].queued)  # noqa: E731
    return dict(sorted(differences.items(), key=age)[:MAX_REMEMBERED])


def _hashed(named: list[str | None]) -> str:
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:16]
