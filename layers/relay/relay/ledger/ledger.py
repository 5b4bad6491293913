"""The ledger: entries of incidents in DynamoDB, and the stored jobs of their debts.

Writes use optimistic locking: an entry is written only if its item did not change since it was read. Of two concurrent
writers one succeeds, and the other reads the entry again.
"""

from collections.abc import Callable, Collection, Iterator
from copy import replace
from dataclasses import dataclass

from relay.ledger.entry import Entry
from relay.ledger.entry_json import decoded, encoded
from relay.ledger.row import ATTRIBUTES, stored_key
from relay.ledger.table import Table, until_written

# Time limit of a call for a share or job. DynamoDB answers in milliseconds: the ledger counts as down after this time.
LEDGER_SECONDS = 1.0


@dataclass(frozen=True)
class Ledger:
    """Reader and writer of entries by key (`entry_key.key`). Every method raises LedgerError when DynamoDB fails.

    Attributes:
        table: The ledger's table.
    """

    table: Table

    def read(self, name: str) -> Entry:
        """Return the entry with the key `name`; an entry without any state if there is no item.

        For an item that can't be parsed, the entry stands for an unknown announced state, and its `is_unreadable` is
        True.
        """
        found = self.table.read(name)
        if found is None:
            return Entry()
        return decoded(found)

    def store(self, name: str, stored_name: str, envelope: str, *, lasts: float) -> None:
        """Store the envelope (the queue message's text) of a job for `lasts` seconds, as a table item of its own.

        `name` is the entry's key. `stored_name` tells the stored jobs of one entry apart (see `row.stored_key`).
        """
        self.table.store(stored_key(name, stored_name), envelope, lasts=lasts)

    def stored(self, name: str, stored_name: str) -> str | None:
        """Return the envelope (the queue message's text) that `store` wrote; None if there is none."""
        found = self.table.read(stored_key(name, stored_name))
        return found.text if found else None

    def due(self, shard: str, most: int) -> Iterator[tuple[str, Entry]]:
        """Yield keys and entries of one shard of the `due` index, at most `most`, the earliest due time first.

        The index lags by seconds, so an entry may be out of date.
        """
        for found in self.table.due(shard, most):
            yield found.key, decoded(found)

    def read_many(self, names: Collection[str]) -> dict[str, Entry]:
        """Return the entries by key. A key without an item gives an entry without any state.

        Keys that DynamoDB did not process are missing from the result.
        """
        found = self.table.read_many(names)
        return {name: Entry() if text is None else decoded(text) for name, text in found.items()}

    def write(self, name: str, before: Entry, after: Entry) -> Entry | None:
        """Write `after` if the table item is still the one that `before` was read from.

        Returns the written entry; None if another writer changed the item. `name` is the entry's key.
        """
        row = after.debt.row
        others = row.attributes(name) if row else {}
        remove = ATTRIBUTES if before.debt.row and not row else ()
        sequence = self.table.write(name, before.sequence, encoded(after), others=others, remove=remove)
        return replace(after, sequence=sequence, is_unreadable=False) if sequence else None

    def change(self, name: str, change: Callable[[Entry], Entry], entry: Entry | None = None) -> Entry:
        """Replace an entry by `change(entry)` with optimistic locking; return the written entry.

        `name` is the entry's key. `entry` is the entry as it was read last; None to read it first. If another writer
        changed it, it is read and changed again. Raises LedgerError, also if that happens each time.
        """

        def write(before: Entry) -> Entry | None:
            after = change(before)
            return before if after == before else self.write(name, before, after)

        return until_written(lambda: self.read(name), write, entry)
