"""Persistent state of reconcile runs: a note for each group of channels, and one for each channel and listing.

A group consists of the channels with the same API key, base URL, query and environment. A listing is named by the base
URL, query and environment, without the key. So a rotated key makes a new group, but the channel's note stays, and names
the group of before.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from copy import replace
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from relay.channels.channel import BigPandaAccess
from relay.incidents.transition import RANKS
from relay.ledger.table import Table

# Limits on the incidents in a note and the length of their names, so that the note fits into a DynamoDB item.
MAX_REMEMBERED = 2000
MAX_NAME_LENGTH = 48
# Days for which a note counts unknown incidents.
MAX_DAYS = 7
DAY_SECONDS = 24 * 3600.0
_CRITICAL = f"1{RANKS['critical']}"
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Difference(NamedTuple):
    """A difference between BigPanda's state of an incident and the ledger, or an incident that no channel knows.

    Attributes:
        summary: BigPanda's state in short: open or not, and status (see `summary_of`).
        since: Time at which a run saw the difference first (epoch seconds).
        queued: Time at which a job for it was queued, or at which it was reported (epoch seconds); 0 for neither.
    """

    summary: str
    since: float
    queued: float = 0.0


class UnknownCounts(NamedTuple):
    """Counts of the unknown incidents that a group's runs reported within a period: no channel of the group knew them.

    Attributes:
        found: Number that was reported.
        came: Number of those of which a share arrived after all.
    """

    found: int = 0
    came: int = 0


class GroupNote(NamedTuple):
    """Stored state of the reconcile runs of a group of channels. Times are in epoch seconds.

    Attributes:
        run: Id of the current run; empty between runs.
        piece: Number of the run's current or next piece, from 0.
        is_working: True if a worker is working on that piece.
        until: End of the lease. Before it no other run begins, and no other worker takes a piece that is worked on.
        began: Start of the newest run; 0 if there was none.
        last: Start of the newest complete run; 0 if there was none.
        snoozed_at: Time at which an incident was last seen snoozed, by its short name.
        unknown: Open incidents that no channel of the group knows, by their short names.
        days: Counts of unknown incidents by day (number of days since 1970).
        sequence: Version of the item, for optimistic locking; 0 if there is none.
    """

    run: str = ""
    piece: int = 0
    is_working: bool = False
    until: float = 0.0
    began: float = 0.0
    last: float = 0.0
    snoozed_at: Mapping[str, float] = _NOTHING
    unknown: Mapping[str, Difference] = _NOTHING
    days: Mapping[str, UnknownCounts] = _NOTHING
    sequence: int = 0

    @classmethod
    def read(cls, table: Table, group: str) -> Self:
        """Read the note of a group of channels from the table: the stored state of the group's reconcile runs.

        `group` is the group's short name. Returns an empty note if the table has none, or an unreadable one. Raises
        LedgerError.
        """
        return cls.of(*_members(table.read(group_key(group))))

    @classmethod
    def of(cls, members: Mapping[str, Any], sequence: int) -> Self:
        """Return the note of a group (the stored state of its reconcile runs) from the JSON members of its table item.

        The note is empty if the members are invalid. `sequence` is the version of the table item.
        """
        try:
            return cls(
                run=str(members.get("run", "")),
                piece=int(members.get("piece", 0)),
                is_working=bool(members.get("is_working", False)),
                until=float(members.get("until", 0)),
                began=float(members.get("began", 0)),
                last=float(members.get("last", 0)),
                snoozed_at={name: float(at) for name, at in members.get("snoozed_at", {}).items()},
                unknown=_differences(members.get("unknown", {})),
                days={
                    day: UnknownCounts(int(found), int(came)) for day, (found, came) in members.get("days", {}).items()
                },
                sequence=sequence,
            )
        except (ValueError, TypeError, AttributeError):
            return cls(sequence=sequence)

    def write(self, table: Table, group: str) -> "GroupNote | None":
        """Write the note of a group (the stored state of its reconcile runs) into the table, with optimistic locking.

        `group` is the group's short name. Returns the written note. Returns None if another worker changed the table
        item since the note was read. Raises LedgerError.
        """
        members = self._asdict() | {
            "snoozed_at": dict(sorted(self.snoozed_at.items(), key=lambda each: -each[1])[:MAX_REMEMBERED]),
            "unknown": _kept(self.unknown),
            "days": dict(sorted(self.days.items())[-MAX_DAYS:]),
        }
        sequence = _written(table, group_key(group), members)
        return replace(self, sequence=sequence) if sequence else None

    def counting(self, now: float, *, found: int = 0, came: int = 0) -> "GroupNote":
        """Return the note of a group with higher counts of unknown incidents for the day of `now` (epoch seconds).

        `found` is the number of unknown incidents that a run reported. `came` is the number of reported incidents of
        which a share arrived after all.
        """
        if not found and not came:
            return self
        day = str(int(now // DAY_SECONDS))
        known = self.days.get(day, UnknownCounts())
        return replace(self, days={**self.days, day: UnknownCounts(known.found + found, known.came + came)})


class ChannelNote(NamedTuple):
    """Stored state of a channel's comparisons with one listing of BigPanda. Times are in epoch seconds.

    Attributes:
        since: Start of the channel's comparisons. Earlier changes of unknown incidents are ignored.
        seen: Start of a complete run that compared the channel, at most an hour older than the newest such run; 0 if
            there was none.
        differing: Incidents whose state differs from the channel's ledger, by their short names.
        group: Short name of the group whose runs compared the channel last; empty if unknown.
        sequence: Version of the item, for optimistic locking; 0 if there is none.
    """

    since: float = 0.0
    seen: float = 0.0
    differing: Mapping[str, Difference] = _NOTHING
    group: str = ""
    sequence: int = 0

    @classmethod
    def of(cls, members: Mapping[str, Any], sequence: int) -> Self:
        """Return the note of a channel (the stored state of its comparisons) from the JSON members of its table item.

        The note is empty if the members are invalid. `sequence` is the version of the table item.
        """
        try:
            since, seen = float(members.get("since", 0)), float(members.get("seen", 0))
            return cls(since, seen, _differences(members.get("differing", {})), str(members.get("group", "")), sequence)
        except (ValueError, TypeError, AttributeError):
            return cls(sequence=sequence)

    def write(self, table: Table, key: str) -> "ChannelNote | None":
        """Write the note of a channel (the stored state of its comparisons) into the table, with optimistic locking.

        `key` is the key of the table item. Returns the written note. Returns None if another worker changed the item
        since the note was read. Raises LedgerError.
        """
        sequence = _written(table, key, self._asdict() | {"differing": _kept(self.differing)})
        return replace(self, sequence=sequence) if sequence else None


def read_channel_notes(table: Table, keys: Mapping[str, str]) -> dict[str, ChannelNote]:
    """Return the channels' notes (the stored states of their comparisons with BigPanda), by channel.

    `keys` has the key of the note in the table, by channel. A channel without a note gets an empty one. Channels that
    DynamoDB did not process are missing. Raises LedgerError.
    """
    found = table.read_many(keys.values())
    return {channel: ChannelNote.of(*_members(found[key])) for channel, key in keys.items() if key in found}


def read_unknown_counts(table: Table, access: BigPandaAccess, environment_ids: Iterable[str]) -> UnknownCounts:
    """Return the counts of the incidents that no channel knew in the last MAX_DAYS days.

    The incidents are those of the groups with this access to BigPanda and these environments. Raises LedgerError.
    """
    notes = [GroupNote.read(table, group_name(access, each)) for each in environment_ids]
    days = [day for note in notes for day in note.days.values()]
    return UnknownCounts(sum(day.found for day in days), sum(day.came for day in days))


def listing_name(access: BigPandaAccess, environment_id: str) -> str:
    """Return the short name of a listing of BigPanda's incidents: a hash of base URL, query and environment."""
    return _hashed([access.base_url, access.reconcile_query, environment_id])


def group_name(access: BigPandaAccess, environment_id: str) -> str:
    """Return the short name of a group: base URL, API key, query and environment.

    The key can't be recovered from it.
    """
    account = hashlib.sha256(access.api_key.encode()).hexdigest()
    return _hashed([account, access.base_url, access.reconcile_query, environment_id])


def group_key(group: str) -> str:
    """Return the table's key for the note of a group: the stored state of its reconcile runs.

    `group` is the group's short name.
    """
    return f"reconcile/{group}"


def channel_key(listing: str, channel: str) -> str:
    """Return the table's key for the note of a channel: the stored state of its comparisons.

    `listing` is the short name of the listing in BigPanda (`listing_name`).
    """
    return f"reconcile/{listing}/{channel}"


def short_name(name: str) -> str:
    """Return an incident's short name: its id, or a hash if the id is long or has unusual characters."""
    is_plain = re.fullmatch(r"[\w.:-]*", name, re.ASCII) and len(name) <= MAX_NAME_LENGTH
    return name if is_plain else hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:MAX_NAME_LENGTH]


def _members(found: Any) -> tuple[Mapping[str, Any], int]:
    """Return the JSON members and the version of a table item; no members if it is None or unreadable."""
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
    return {
        name: Difference(str(summary), float(since), float(queued))
        for name, (summary, since, queued) in members.items()
    }


def _kept(differences: Mapping[str, Difference]) -> dict[str, Difference]:
    """Return as many differences as a note can hold: open criticals first, then the newest."""

    def place(named: tuple[str, Difference]) -> tuple[bool, float]:
        return named[1].summary != _CRITICAL, -max(named[1].since, named[1].queued)

    return dict(sorted(differences.items(), key=place)[:MAX_REMEMBERED])


def _hashed(named: list[str | None]) -> str:
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:16]
