"""Progress of a callback's write-back, stored as a table item, so that a callback is written once.

BigPanda's API has no idempotency key. So a comment ends in a tag, by which it is found again, and the item records if
the comment was written, or may have been.
"""

import json
from copy import replace
from dataclasses import dataclass
from typing import Self

from relay.failures.errors import LedgerError
from relay.ledger.table import Table


@dataclass(frozen=True)
class WritebackProgress:
    """Progress of a callback's write-back.

    Attributes:
        is_written: True if the callback's comment was written.
        in_doubt: True if the callback's comment may have been written.
        until: End of the lease of the worker that writes the comment (epoch seconds); 0 if no worker has the lease.
        sequence: Version of the table item, for optimistic locking; 0 if the table has no item.
    """

    is_written: bool = False
    in_doubt: bool = False
    until: float = 0.0
    sequence: int = 0

    @classmethod
    def read(cls, table: Table, name: str) -> Self:
        """Return the progress of a callback's write-back from its table item. Raises LedgerError.

        `name` is the key of the item. If the table has no such item, the progress has its default values.
        """
        found = table.read(name)
        if found is None:
            return cls()
        try:
            is_written, in_doubt, until = json.loads(found.text)
            return cls(bool(is_written), bool(in_doubt), float(until), found.sequence)
        except (ValueError, TypeError) as error:
            raise LedgerError(f"the progress can't be read: {type(error).__name__}") from error

    def write(self, table: Table, name: str) -> "WritebackProgress | None":
        """Write the progress of a callback's write-back to its table item. Raises LedgerError.

        `name` is the key of the item. The write succeeds only if the item still has the version `sequence`. Returns the
        progress with the item's new version; None if another worker changed the item.
        """
        sequence = table.write(name, self.sequence, json.dumps([self.is_written, self.in_doubt, self.until]))
        return replace(self, sequence=sequence) if sequence else None
