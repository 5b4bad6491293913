"""The ledger: entries of incidents in DynamoDB, and the stored jobs of their debts.

A changed entry is written only if the item is still the one that was read. So of two senders that meet one wins, and
nothing is ever locked.
"""

from collections.abc import Callable, Collection, Iterator
from copy import replace
from dataclasses import dataclass

from relay.deadline import Deadline
from relay.ledger.entry import Entry
from relay.ledger.entry_json import decoded, encoded
from relay.ledger.row import ATTRIBUTES, stored_key
from relay.ledger.table import Table, until_written

# The ledger is asked in milliseconds; when it takes this long, it is down.
LEDGER_SECONDS = 1.0


@dataclass(frozen=True)
class Ledger:
    """Entries by key. Every method raises LedgerError when DynamoDB fails."""

    table: Table

    def within(self, deadline: Deadline) -> "Ledger":
        """Return the ledger with calls that get LEDGER_SECONDS each, even after the deadline."""
        return Ledger(self.table.within(deadline, "ledger", at_least=LEDGER_SECONDS, at_most=LEDGER_SECONDS))

    def read(self, name: str) -> Entry:
        """Return the entry of a key: an empty one if there is none, a new one if the item is unreadable."""
        found = self.table.read(name)
        if found is None:
            return Entry()
        return decoded(found)

    def store(self, name: str, stored_name: str, envelope: str, *, lasts: float) -> None:
        """Store the job of an entry's debt for `lasts` seconds."""
        self.table.store(stored_key(name, stored_name), envelope, lasts=lasts)

    def stored(self, name: str, stored_name: str) -> str | None:
        """Return the envelope of a stored job, None if there is none."""
        found = self.table.read(stored_key(name, stored_name))
        return found.text if found else None

    def due(self, shard: str, most: int) -> Iterator[tuple[str, Entry]]:
        """Yield keys and entries of a shard of the index, the earliest first, `most` at most: maybe out of date."""
        for found in self.table.due(shard, most):
            yield found.key, decoded(found)

    def read_many(self, names: Collection[str]) -> dict[str, Entry]:
        """Return the entries by key: empty ones for missing keys, none for keys that DynamoDB did not process."""
        found = self.table.read_many(names)
        return {name: Entry() if text is None else decoded(text) for name, text in found.items()}

    def write(self, name: str, before: Entry, after: Entry) -> Entry | None:
        """Write `after` if the item is still `before`. Return the written entry; None if the item had changed."""
        row = after.debt.row
        others = row.attributes(name) if row else {}
        remove = ATTRIBUTES if before.debt.row and not row else ()
        sequence = self.table.write(name, before.sequence, encoded(after), others=others, remove=remove)
        return replace(after, sequence=sequence, is_unreadable=False) if sequence else None

    def change(self, name: str, change: Callable[[Entry], Entry], entry: Entry | None = None) -> Entry:
        """Change an entry with optimistic locking; return the written entry.

        `entry` is the entry as it was read last; None if it was not read. Raises LedgerError, also if other writers
        change the entry each time.
        """

        def write(before: Entry) -> Entry | None:
            after = change(before)
            return before if after == before else self.write(name, before, after)

        return until_written(lambda: self.read(name), write, entry)
