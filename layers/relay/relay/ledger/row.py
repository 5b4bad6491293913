"""Row of a debt: the attributes that put a ledger entry into the table's `due` index, and its stored job.

A state that is owed after its first attempts has two legs: its message on the retry queue, and this row. The sweeper
reads the rows every minute: if a message vanished, it sends a new one from the stored job.
"""

import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

# The table's sparse index of all items that somebody has to come back to: its name, its hash key and its range key.
INDEX, SHARD, AT = "due", "due", "due_at"

# A key of DynamoDB's index takes 1,000 writes a second; a storm of one channel is spread over so many.
SHARDS = 8
CRITICAL, OTHER = "critical", "other"
# Attributes of the row besides its place in the index.
JOB, BEGUN, SENT = "job", "begun", "sent"
ATTRIBUTES = (SHARD, AT, JOB, BEGUN, SENT)


class Row(NamedTuple):
    """Row of a debt.

    Attributes:
        due: the time from which the sweeper has to act on the debt, in epoch seconds: some minutes after its message is
            due, or, if it has no message, when its wait ends.
        job: name of the stored job; empty if nothing is left to be sent, but the fallback topic has to be
            notified yet.
        begun: number of the last job of the sweeper's that a worker began; 0 once one came to a recorded result.
        sent: number of the last job that the sweeper sent; 0 once one came to a recorded result.
        is_critical: the state that is owed is critical, or no page came of one that was.
    """

    due: float
    job: str = ""
    begun: int = 0
    sent: int = 0
    is_critical: bool = False

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> Self | None:
        """Read a row from an item's attributes; None if the item is not in the index."""
        if SHARD not in attributes or AT not in attributes:
            return None
        is_critical = str(attributes[SHARD]).startswith(f"{CRITICAL}#")
        begun, sent = (int(attributes.get(name, 0)) for name in (BEGUN, SENT))
        return cls(float(attributes[AT]), str(attributes.get(JOB, "")), begun, sent, is_critical)

    def attributes(self, key: str) -> dict[str, str | float]:
        """Return the attributes of the item at that key."""
        place = shard(key, is_critical=self.is_critical)
        return {SHARD: place, AT: self.due, JOB: self.job, BEGUN: self.begun, SENT: self.sent}


def shard(key: str, *, is_critical: bool) -> str:
    """Return the shard of the index for an item: critical debts have shards of their own."""
    return f"{CRITICAL if is_critical else OTHER}#{zlib.crc32(key.encode()) % SHARDS}"


def shards(kind: str) -> list[str]:
    """Return all shards of a kind, `critical` or `other`."""
    return [f"{kind}#{number}" for number in range(SHARDS)]


# In the place of a delivery id: a job that is not to be sent, but has the words for the fallback topic's message.
WORDS = "words"


def stored_key(entry: str, stored_name: str) -> str:
    """Return the key under which the job of an entry's debt is stored; `stored_name` is the job's, or WORDS."""
    return f"job/{entry.removeprefix('incident/')}/{stored_name}"
