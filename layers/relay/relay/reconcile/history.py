"""History of a listing: what earlier reconcile runs saw, as one item in the ledger's table.

Without it an incident would be reported by each run, and a state could not be required to differ in two runs.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple, Self

from relay.channels.channel import BigPandaAccess
from relay.failures import LedgerError
from relay.incidents.share import RANKS
from relay.ledger.table import Table, Text
from relay.reconcile.plan import listing_name

# Incidents that a history remembers of each kind, and the length of their names.
MAX_REMEMBERED, MAX_NAME_LENGTH = 2000, 48
# A DynamoDB item may have 400 KB. A longer history remembers fewer incidents.
MAX_CHARACTERS = 380_000
# If no run compared a channel's listing for this time, the comparison starts anew.
FORGOTTEN_SECONDS = 24 * 3600.0
# Days for which unknown incidents are counted.
MAX_DAYS, DAY_SECONDS = 7, 24 * 3600.0
_CRITICAL = f"1{RANKS['critical']}"


class Difference(NamedTuple):
    """A difference between BigPanda's state of an incident and the ledger, or an incident that no channel knows.

    Attributes:
        summary: BigPanda's state in short: open or not, and status.
        since: Time at which a run saw the difference first (epoch seconds).
        queued: Time at which a job for it was queued, or at which it was reported (epoch seconds); 0 for neither.
    """

    summary: str
    since: float
    queued: float = 0.0


class UnknownCounts(NamedTuple):
    """Counts of the incidents that runs reported within a period, since no channel knew them.

    Attributes:
        found: Number that was reported.
        came: Number of those of which a share arrived after all.
    """

    found: int = 0
    came: int = 0


@dataclass
class ChannelHistory:
    """History of a channel's comparisons with a listing. Times are in epoch seconds.

    Attributes:
        since: Start of the comparisons. Earlier changes of unknown incidents are ignored.
        seen: Start of the last complete run, or of the first run.
        differing: Incidents whose state differs from the channel's ledger, by their short names.
    """

    since: float
    seen: float
    differing: dict[str, Difference] = field(default_factory=dict)


@dataclass
class History:
    """History of a listing of BigPanda's incidents. Times are in epoch seconds.

    Attributes:
        channels: History of each channel's comparisons, by channel.
        snoozed_at: Time at which an incident was last seen snoozed, by its short name.
        unknown: Open incidents that no channel knows, by their short names.
        days: Counts of unknown incidents by day (number of days since 1970).
        sequence: Version of the item, for optimistic locking; 0 if there is none.
    """

    channels: dict[str, ChannelHistory] = field(default_factory=dict)
    snoozed_at: dict[str, float] = field(default_factory=dict)
    unknown: dict[str, Difference] = field(default_factory=dict)
    days: dict[str, UnknownCounts] = field(default_factory=dict)
    sequence: int = 0

    @classmethod
    def read(cls, table: Table, listing: str) -> Self:
        """Read the history of a listing; an empty one if there is none, or it is unreadable. Raises LedgerError."""
        found = table.read(_key(listing))
        return cls() if found is None else cls.of(found)

    @classmethod
    def of(cls, found: Text) -> Self:
        """Return the history in a table item; an empty one if the item is unreadable."""
        try:
            said = json.loads(found.text)
            channels = {
                name: ChannelHistory(float(since), float(seen), _differences(differing))
                for name, (since, seen, differing) in said["channels"].items()
            }
            snoozed_at = {name: float(at) for name, at in said["snoozed_at"].items()}
            days = {day: UnknownCounts(int(found), int(came)) for day, (found, came) in said["days"].items()}
            return cls(channels, snoozed_at, _differences(said["unknown"]), days, found.sequence)
        except (ValueError, TypeError, LookupError, AttributeError):
            return cls(sequence=found.sequence)

    def write(self, table: Table, listing: str) -> None:
        """Write the history of a listing. Raises LedgerError, also if another run changed it meanwhile."""
        most = MAX_REMEMBERED
        while len(text := self._text(most)) > MAX_CHARACTERS and most:
            most //= 2
        written = table.write(_key(listing), self.sequence, text)
        if written is None:
            raise LedgerError("another run changed the history of the listing")
        self.sequence = written

    def begin(self, names: Iterable[str], now: float) -> None:
        """Forget what is outdated, and begin the history of those of the channels that have none. `now` is the time."""
        self.channels = {name: each for name, each in self.channels.items() if now - each.seen < FORGOTTEN_SECONDS}
        for each in self.channels.values():
            each.differing = _recent(each.differing, now)
        self.unknown = _recent(self.unknown, now)
        for name in names:
            self.channels.setdefault(name, ChannelHistory(now, now))

    def count(self, now: float, *, found: int, came: int) -> None:
        """Add to the counts of unknown incidents for the day of `now` (epoch seconds). See UnknownCounts."""
        if found or came:
            day = str(int(now // DAY_SECONDS))
            known = self.days.get(day, UnknownCounts())
            self.days[day] = UnknownCounts(known.found + found, known.came + came)

    def _text(self, most: int) -> str:
        channels = {name: (each.since, each.seen, _kept(each.differing, most)) for name, each in self.channels.items()}
        latest = sorted(self.snoozed_at.items(), key=lambda each: -each[1])[:most]
        days = dict(sorted(self.days.items())[-MAX_DAYS:])
        said = {"channels": channels, "snoozed_at": dict(latest), "unknown": _kept(self.unknown, most), "days": days}
        return json.dumps(said, separators=(",", ":"))


def read_unknown_counts(table: Table, access: BigPandaAccess, environment_ids: Iterable[str]) -> UnknownCounts:
    """Return the counts of the incidents that no channel knew in the last MAX_DAYS days. Raises LedgerError.

    The incidents are those of the listings with this access to BigPanda and these environments.
    """
    histories = [History.read(table, listing_name(access, each)) for each in environment_ids]
    days = [day for history in histories for day in history.days.values()]
    return UnknownCounts(sum(day.found for day in days), sum(day.came for day in days))


def short_name(name: str) -> str:
    """Return an incident's short name: its id, or a hash if the id is long or has unusual characters."""
    is_plain = re.fullmatch(r"[\w.:-]*", name, re.ASCII) and len(name) <= MAX_NAME_LENGTH
    return name if is_plain else sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:MAX_NAME_LENGTH]


def _key(listing: str) -> str:
    return f"reconcile/{listing}"


def _differences(members: Any) -> dict[str, Difference]:
    return {
        name: Difference(str(summary), float(since), float(queued))
        for name, (summary, since, queued) in members.items()
    }


def _recent(differences: dict[str, Difference], now: float) -> dict[str, Difference]:
    return {name: each for name, each in differences.items() if now - each.since < FORGOTTEN_SECONDS}


def _kept(differences: dict[str, Difference], most: int) -> dict[str, Difference]:
    """Return at most so many differences: open criticals first, then the newest."""

    def place(named: tuple[str, Difference]) -> tuple[bool, float]:
        return named[1].summary != _CRITICAL, -max(named[1].since, named[1].queued)

    return dict(sorted(differences.items(), key=place)[:most])
