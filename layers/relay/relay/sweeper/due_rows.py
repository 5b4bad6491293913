"""Rows of the ledger's `due` index, which the sweeper works from.

There is one for each incident with a state that is owed, or with an open receipt of a critical.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from copy import replace
from dataclasses import dataclass, field
from itertools import batched
from typing import NamedTuple

from relay.jobs.job import Job
from relay.jobs.queue import UnreadableMessage, read_envelope
from relay.ledger.debt import shards
from relay.ledger.entry import Entry
from relay.ledger.table import MAX_BATCH, Ledger, channel_of, incident_of
from relay.telemetry.telemetry import Telemetry

# Rows that a run reads of a shard. Even a large storm should not fill 16 shards of this size.
MAX_ROWS = 5000


class DueRow(NamedTuple):
    """A row of the ledger's `due` index: the entry of an incident whose state is owed, or whose receipt is open.

    Attributes:
        key: Key of the entry.
        entry: The entry as the index has it; it may be out of date.
        channel: Name of the channel.
    """

    key: str
    entry: Entry
    channel: str

    @property
    def incident_id(self) -> str:
        """The incident's id, or its hash if the id is too long for a key."""
        return incident_of(self.key)

    @property
    def is_waiting(self) -> bool:
        """True if the entry's state is owed, and an attempt waits; False for a given-up state, or a receipt alone."""
        return self.entry.debt.since is not None and not self.entry.is_given_up

    @property
    def since(self) -> float:
        """Time since which the state is owed (epoch seconds); for a receipt alone, its beginning."""
        return self.entry.debt.since or self.entry.receipt.since

    @property
    def delay_start(self) -> float:
        """Time from which the debt's delay counts (epoch seconds): `since`, or the later end of a flap."""
        newest = self.entry.newest
        return max(self.since, self.entry.quiet_until(newest) if newest else 0.0)


@dataclass(frozen=True)
class DueRows:
    """The rows of the `due` index, and the entries and stored jobs that belong to them.

    Attributes:
        ledger: The entries, rows and stored jobs.
        telemetry: Log and metrics.
    """

    ledger: Ledger
    telemetry: Telemetry
    # Shards of the index that have more rows than this run read.
    _cut: list[str] = field(default_factory=list, init=False, repr=False)

    @property
    def is_whole(self) -> bool:
        """True if this run of the sweeper read the index's shards to their end: none had MAX_ROWS rows."""
        return not self._cut

    def begin_run(self) -> None:
        """Begin a new run of the sweeper: forget which shards the run before did not read to their end."""
        self._cut.clear()

    def read(self, kind: str) -> Iterator[DueRow]:
        """Yield the rows of that kind (CRITICAL or OTHER), at most MAX_ROWS of each shard of the index.

        Raises LedgerError.
        """
        for shard in shards(kind):
            found = [DueRow(key, entry, channel_of(key)) for key, entry in self.ledger.due(shard, MAX_ROWS)]
            yield from found
            if len(found) == MAX_ROWS:
                detail = f"shard {shard} of the index has more rows than a run reads: newer debts are not seen"
                self.telemetry.notice("sweeper_failed", detail)
                self._cut.append(shard)

    def current(self, rows: Iterable[DueRow]) -> Iterator[DueRow]:
        """Yield the rows with their entries as read from the table, since the index lags behind.

        Rows that DynamoDB did not process are left out.
        """
        for batch in batched(rows, MAX_BATCH, strict=False):
            entries = self.ledger.read_many([each.key for each in batch])
            for each in batch:
                if each.key in entries:
                    yield replace(each, entry=entries[each.key])

    def change(self, row: DueRow, change: Callable[[Entry], Entry]) -> None:
        """Write the entry of a row as the function `change` returns it. Raises LedgerError."""
        self.ledger.change(row.key, change, row.entry)

    def stored_job(self, row: DueRow, name: str) -> Job | None:
        """Return the job that is stored under `name` beside a row's entry; None if there is none, or it can't be read.

        Raises LedgerError.
        """
        text = self.ledger.stored(row.key, name) if name else None
        try:
            return read_envelope(text) if text else None
        except UnreadableMessage:
            return None

    def keep_stored(self, row: DueRow, name: str, *, lasts: float) -> None:
        """Let the job that is stored under `name` beside a row's entry live for `lasts` seconds more.

        Raises LedgerError.
        """
        text = self.ledger.stored(row.key, name)
        if text is not None:
            self.ledger.store(row.key, name, text, lasts=lasts)


def by_channel(rows: Iterable[DueRow]) -> dict[str, list[DueRow]]:
    """Return the rows of each channel."""
    found: dict[str, list[DueRow]] = defaultdict(list)
    for each in rows:
        found[each.channel].append(each)
    return found


def each_once(rows: Iterable[DueRow]) -> list[DueRow]:
    """Return each row once. A row that is written during a query of the index can appear again on a later page."""
    return list({each.key: each for each in rows}.values())
