"""Rates of channels: which of them get more states than their rate limit lets through, minute after minute.

The sweeper has read the rows of all debts anyway, and each entry says since when its state is owed. So the arrivals of
the last minute are counted without any write for a share. The gate of a channel is read only if the channel owes more
than its limit lets through in a minute.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from relay.channels.policy import Policy
from relay.errors import LedgerError
from relay.ledger.entry import Entry
from relay.ledger.pace import HORIZON_SECONDS, Gate, gate_of
from relay.ledger.table import Table

MINUTE = 60.0
# A critical that comes behind so many minutes' worth of debts gets no moment of the channel's line at all.
FULL_MINUTES = HORIZON_SECONDS / MINUTE
# Above its limit in three runs in a row: the schedule's minutes are not exact.
FLOODED_SECONDS = 100.0


class Rate(NamedTuple):
    """A channel's states of the last minute, as a run of the sweeper finds them.

    Attributes:
        channel: the channel's name.
        limit: the policy's `max_per_minute`.
        owed: states that are owed and wait.
        arrived: how many of those became owed in the last minute; more came if the index has more than a run reads.
        critical_wait: for how many seconds the line of critical signals is set aside; None if the gate was not read.
        is_failing: the channel's signals fail, so debts say nothing of what arrives.
    """

    channel: str
    limit: int
    owed: int
    arrived: int
    critical_wait: float | None = None
    is_failing: bool = False

    @property
    def is_above(self) -> bool:
        """True if more arrives than the limit lets through, or more waits than the line holds though signals pass."""
        is_full = self.owed > self.limit * FULL_MINUTES and not self.is_failing
        return self.arrived > self.limit or is_full


@dataclass(frozen=True)
class Rates:
    """Rates of channels. `table` holds the gates."""

    table: Table

    def above(self, owed: Mapping[str, Sequence[Entry]], policies: Mapping[str, Policy], now: float) -> list[Rate]:
        """Return the rates of the channels that are above their limits now (epoch seconds).

        `owed` are the entries of each channel's rows. A channel whose gate can't be read is judged by arrivals alone.
        """
        found = (self._rate(name, entries, policies.get(name, Policy()), now) for name, entries in owed.items())
        return [rate for rate in found if rate.is_above]

    def _rate(self, channel: str, entries: Iterable[Entry], policy: Policy, now: float) -> Rate:
        since = [entry.owed_since for entry in entries if entry.row_job and not entry.is_unreadable]
        arrived = sum(moment is not None and now - MINUTE < moment <= now for moment in since)
        rate = Rate(channel, policy.max_per_minute, len(since), arrived)
        if rate.owed <= rate.limit:
            return rate
        try:
            gate = Gate.of(self.table.numbers(gate_of(channel)))
        except LedgerError:
            return rate._replace(is_failing=True)
        is_failing = gate.failures > 0 or gate.open_until is not None
        return rate._replace(critical_wait=max(gate.critical - now, 0.0), is_failing=is_failing)
