"""Debt of an incident: its newest state while that is owed, what it waits for, and its index row. Pure code."""

import zlib
from collections.abc import Mapping
from copy import replace
from typing import Any, NamedTuple, Self

from relay.failures import Reason
from relay.incidents.share import State


class Slot(NamedTuple):
    """Time that the rate limiter reserved for a signal that has to wait.

    Attributes:
        at: The reserved time (epoch seconds).
        is_critical: True if the time is in the line of critical signals, which go first.
    """

    at: float
    is_critical: bool


class Wait(NamedTuple):
    """A wait of a state before its next attempt.

    Attributes:
        until: End of the wait (epoch seconds).
        slot: None if the rate limiter reserved no time for the signal.
        is_probe: True if this state's signal is to test an open circuit breaker: a message wakes it at the wait's end.
    """

    reason: Reason
    until: float
    slot: Slot | None = None
    is_probe: bool = False


class Ticket(NamedTuple):
    """Permission of the rate limiter to send a signal now.

    Attributes:
        taken: The second (epoch seconds) in which each rate limit counted the signal, by the name of the limit's table
            item. Empty if the table failed, so that the signal was let through uncounted.
        troubled: True if a success has to reset the circuit breaker, which counted failures or was open.
        is_probe: True if the signal tests a circuit breaker that was open.
    """

    taken: Mapping[str, int]
    troubled: bool = False
    is_probe: bool = False


# The table's sparse index of debts: name, hash key and range key.
INDEX, SHARD, AT = "due", "due", "due_at"

# DynamoDB accepts 1,000 writes a second for one key of an index. The debts of a storm are spread over these shards.
SHARDS = 8
CRITICAL, OTHER = "critical", "other"
# Attributes of the row besides its place in the index.
JOB, RUNG, BEGUN = "job", "rung", "begun"
ATTRIBUTES = (SHARD, AT, JOB, RUNG, BEGUN)


# A state is dead-lettered after so many begun attempts without a recorded result (docs/decisions.md, D-poison-debt).
MAX_BEGUN = 5


class Row(NamedTuple):
    """Row of a debt in the table's `due` index, by which the sweeper finds the debt.

    Attributes:
        due: Time from which the sweeper acts on the debt (epoch seconds): some minutes after its message is due, or the
            end of a wait without a message.
        job: Name of the stored job, from which the sweeper makes a message. Empty for a given-up state and for an open
            receipt, of which the sweeper only notifies the fallback topic.
        begun: Number of attempts that workers began since the last recorded result.
        is_unbegun: True if no worker got the sweeper's last bell. The sweeper then invokes the job worker itself.
        is_critical: True if the owed state is critical, or a receipt is open. `table.stored_row` sets it.
    """

    due: float
    job: str = ""
    begun: int = 0
    is_unbegun: bool = False
    is_critical: bool = False

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> Self | None:
        """Read a debt's row from the attributes of a table item; None if the item is not in the `due` index."""
        if SHARD not in attributes:
            return None
        is_critical = str(attributes[SHARD]).startswith(f"{CRITICAL}#")
        rung, begun = (int(attributes.get(name, 0)) for name in (RUNG, BEGUN))
        return cls(float(attributes[AT]), str(attributes.get(JOB, "")), begun, rung > begun, is_critical)

    def attributes(self, key: str) -> dict[str, str | float]:
        """Return the attributes that put the table item with the key `key` into the `due` index."""
        place = shard(key, is_critical=self.is_critical)
        return {SHARD: place, AT: self.due, JOB: self.job, RUNG: self.begun + self.is_unbegun, BEGUN: self.begun}


def shard(key: str, *, is_critical: bool) -> str:
    """Return the shard of the `due` index for an item's key. Critical debts have their own shards, read first."""
    return f"{CRITICAL if is_critical else OTHER}#{zlib.crc32(key.encode()) % SHARDS}"


def shards(kind: str) -> list[str]:
    """Return all shards of the `due` index for a kind of debts: `critical` or `other`."""
    return [f"{kind}#{number}" for number in range(SHARDS)]


# Name of a stored job that is not sent: it only describes the incident for the fallback topic's message.
FALLBACK_DESCRIPTION = "fallback_description"
# Name of the stored job of an announced critical, with which the policy's `unanswered_recipients` are signalled.
FOR_OTHERS = "for_others"


def stored_key(entry: str, stored_name: str) -> str:
    """Return the table's key for a job that is stored beside the ledger entry with the key `entry`.

    `stored_name` is `Job.stored_name` for the job of an owed state, or else FALLBACK_DESCRIPTION or FOR_OTHERS.
    """
    return f"job/{entry.removeprefix('incident/')}/{stored_name}"


# Rows of given-up states are due so long after them. A reader of the index reads at most a number of rows, the earliest
# first, and states that still wait must be among them. It is the lifetime of an entry.
BEHIND_SECONDS = 90 * 24 * 3600.0


class Debt(NamedTuple):
    """Debt of an incident: what is known of its newest state while that is owed. Times are epoch seconds, 0 for never.

    Attributes:
        since: Arrival of the state with which the debt began; for a debt to further recipients alone, its begin. None
            if nothing is owed.
        is_notified: True if the fallback topic was notified of the debt.
        plan: Number of the newest state's message, 0 before its first one; workers drop a lower one. The number stays
            when nothing is owed any more, so that a late message is dropped.
        attempts: Number of attempts of the newest state.
        reason: Reason of the last failed attempt, or of the wait of a replayed or paused state; empty if there is none.
        slot: Time that the rate limiter reserved for the next signal; None if there is none.
        row: None if nothing is owed, during the first attempts, or if the state's job could not be stored.
        paused_until: End of the last pause for which the state waited. The fallback topic's delay counts from then.
        paused_by: Id of that pause (`Pause.id`); empty if the state waited for none.
        claim_hold_until: End of the debt's only wait for BigPanda's answer about a resolve; 0 if it did not wait yet.
        dead_lettered_at: When the newest state was dead-lettered; 0 if it was not, or if it was replayed since.
        revived_at: When the newest state was made owed again by a replay.
    """

    since: float | None = None
    is_notified: bool = False
    plan: int = 0
    attempts: int = 0
    reason: str = ""
    slot: Slot | None = None
    row: Row | None = None
    paused_until: float = 0.0
    paused_by: str = ""
    claim_hold_until: float = 0.0
    dead_lettered_at: float = 0.0
    revived_at: float = 0.0

    @property
    def is_owed(self) -> bool:
        """True if the newest state is owed. A dead-lettered state stays owed until an operator drops it."""
        return self.since is not None

    @property
    def is_given_up(self) -> bool:
        """True if the newest state was dead-lettered, and not replayed since."""
        return self.dead_lettered_at > 0

    def earliest_since(self, came: float) -> float:
        """Return the earlier of `came`, a state's arrival (epoch seconds), and `since`; `came` if nothing is owed."""
        return came if self.since is None else min(came, self.since)

    @property
    def has_critical_row(self) -> bool:
        """True if the debt has a row in the critical shards: its state is critical, or a critical's receipt is open."""
        return self.row is not None and self.row.is_critical

    @property
    def due(self) -> float:
        """Time from which the sweeper acts on the debt (epoch seconds); 0 without a row."""
        return self.row.due if self.row else 0.0

    @property
    def job(self) -> str:
        return self.row.job if self.row else ""

    def resumed(self, ended: float) -> "Debt":
        """Return the debt after a pause ended at `ended` (epoch seconds). `paused_until` is not later than that."""
        return replace(self, paused_until=ended) if self.paused_until > ended else self

    def settled(self) -> "Debt":
        """Return the debt with nothing owed or reserved: only `plan`, `attempts`, `reason` and `revived_at` stay."""
        return Debt(plan=self.plan, attempts=self.attempts, reason=self.reason, revived_at=self.revived_at)

    def dead_lettered(self, state: State, at: float) -> "Debt":
        """Return the debt after the newest state, `state`, was dead-lettered at `at` (epoch seconds).

        Its row stays, without a stored job: by it, the sweeper notifies the fallback topic of a critical.
        """
        due = at if state.is_critical and not self.is_notified else at + BEHIND_SECONDS
        return replace(self, row=Row(due), dead_lettered_at=max(at, self.dead_lettered_at))

    def postponed(self, until: float) -> "Debt":
        """Return the debt with its row, if any, not due before `until` (epoch seconds), and with `begun` 0."""
        if self.row is None:
            return self
        return replace(self, row=replace(self.row, due=max(self.row.due, until), begun=0, is_unbegun=False))

    def woken(self, until: float) -> "Debt":
        """Return the debt after the sweeper sent a bell: its row is due again at `until` (epoch seconds)."""
        return replace(self, row=replace(self.row, due=until, is_unbegun=True)) if self.row else self

    def bell_begun(self) -> "Debt":
        """Return the debt after a worker got the sweeper's bell: its row has one more begun attempt."""
        # A message that SQS delivers twice counts twice.
        if self.row is None:
            return self
        return replace(self, row=replace(self.row, begun=self.row.begun + 1, is_unbegun=False))
