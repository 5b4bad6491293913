"""Row of a debt: the attributes that put a ledger entry into the table's `due` index, and its stored job.

A state that is owed after its first attempts has a message on the retry queue and this row. The sweeper reads the rows
every minute. If a message vanished, it sends a new one from the stored job.
"""

import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

# The table's sparse index of debts: name, hash key and range key.
INDEX, SHARD, AT = "due", "due", "due_at"

# DynamoDB accepts 1,000 writes a second for one key of an index. The debts of a storm are spread over these shards.
SHARDS = 8
CRITICAL, OTHER = "critical", "other"
# Attributes of the row besides its place in the index.
JOB, RUNG, BEGUN = "job", "rung", "begun"
ATTRIBUTES = (SHARD, AT, JOB, RUNG, BEGUN)


class Row(NamedTuple):
    """Row of a debt (an owed state) in the table's `due` index, which the sweeper reads every minute.

    Attributes:
        due: Time from which the sweeper acts on the debt (epoch seconds): some minutes after its message is due. For a
            debt without a message, it is the end of the wait.
        job: Name of the stored job, from which the sweeper makes a message; empty if only the fallback topic has
            still to be notified.
        rung: Number of the last message ("bell") that the sweeper sent since the last recorded result. It rings the
            same bell again as long as no worker began to work it.
        begun: Number of the last of them that a worker began to work.
        is_critical: True if the owed state is critical, or if no page was found for a critical signal.
    """

    due: float
    job: str = ""
    rung: int = 0
    begun: int = 0
    is_critical: bool = False

    @property
    def is_unheard(self) -> bool:
        """True if no worker began to work the last bell."""
        return self.rung > self.begun

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> Self | None:
        """Read a row from the attributes of a table item; None if the item is not in the `due` index."""
        if SHARD not in attributes or AT not in attributes:
            return None
        is_critical = str(attributes[SHARD]).startswith(f"{CRITICAL}#")
        rung, begun = (int(attributes.get(name, 0)) for name in (RUNG, BEGUN))
        return cls(float(attributes[AT]), str(attributes.get(JOB, "")), rung, begun, is_critical)

    def attributes(self, key: str) -> dict[str, str | float]:
        """Return the attributes that put the item with that key into the `due` index."""
        place = shard(key, is_critical=self.is_critical)
        return {SHARD: place, AT: self.due, JOB: self.job, RUNG: self.rung, BEGUN: self.begun}


def shard(key: str, *, is_critical: bool) -> str:
    """Return the shard of the `due` index for the item with that key.

    Critical debts have shards of their own, which the sweeper reads first. Several shards spread the writes
    when many debts begin at once.
    """
    return f"{CRITICAL if is_critical else OTHER}#{zlib.crc32(key.encode()) % SHARDS}"


def shards(kind: str) -> list[str]:
    """Return the names of all shards of the `due` index for a kind of debts: `critical` or `other`."""
    return [f"{kind}#{number}" for number in range(SHARDS)]


# Name of a stored job that is not sent: it only describes the incident for the fallback topic's message.
FALLBACK_DESCRIPTION = "fallback_description"


def stored_key(entry: str, stored_name: str) -> str:
    """Return the table's key for a job that is stored beside an entry.

    `entry` is the entry's key. `stored_name` is `Job.stored_name`, or FALLBACK_DESCRIPTION for a job that only
    describes the incident for the fallback topic's message.
    """
    return f"job/{entry.removeprefix('incident/')}/{stored_name}"
