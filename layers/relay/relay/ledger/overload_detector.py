"""Detection of overloaded channels, in which more states become owed than the rate limit lets through.

The arrivals of the last minute are counted from the debts, which the sweeper reads in any case: shares need no extra
write. A channel's gate is read only if the channel owes more than its limit for a minute.
"""

from collections.abc import Iterable
from typing import NamedTuple

from relay.failures import LedgerError
from relay.ledger.channel_rate_limiter import CLOSED, HORIZON_SECONDS, Gate, gate_of
from relay.ledger.entry import Entry
from relay.ledger.table import Table

MINUTE = 60.0
# Length of a full line, in minutes of the rate limit. Further signals get no slot.
FULL_MINUTES = HORIZON_SECONDS / MINUTE
# A channel counts as overloaded after this time above its limit. It covers three runs of the sweeper, whose schedule is
# not exact to the second.
OVERLOADED_SECONDS = 100.0


class Load(NamedTuple):
    """Load of a channel in the last minute.

    Attributes:
        limit: Rate limit of the channel (signals a minute).
        owed: Number of owed states that wait.
        arrived: Number of those that became owed in the last minute; too low if a run of the sweeper can't read the
            whole `due` index.
        critical_wait: Time that the next critical signal has to wait for the rate limit (seconds); None if that was not
            read.
        is_failing: True if the channel's signals fail, so that its debts do not show the arrivals, or if that can't be
            read.
    """

    channel: str
    limit: int
    owed: int
    arrived: int
    critical_wait: float | None = None
    is_failing: bool = False

    @property
    def is_above(self) -> bool:
        """True if more states became owed in the last minute than the rate limit allows, or too many wait.

        Too many are more than it lets through in five minutes, unless the channel's signals fail.
        """
        is_full = self.owed > self.limit * FULL_MINUTES and not self.is_failing
        return self.arrived > self.limit or is_full


def load_of(table: Table, channel: str, entries: Iterable[Entry], limit: int, now: float) -> Load:
    """Return a channel's load at `now` (epoch seconds), from its entries with an owed state."""
    since = [entry.debt.since for entry in entries if entry.debt.job and not entry.is_unreadable]
    arrived = sum(moment is not None and now - MINUTE < moment <= now for moment in since)
    load = Load(channel, limit, len(since), arrived)
    if load.owed <= load.limit:
        return load
    try:
        gate = Gate.of(table.numbers(gate_of(channel)))
    except LedgerError:
        return load._replace(is_failing=True)
    return load._replace(critical_wait=max(gate.critical_line_end - now, 0.0), is_failing=gate.circuit != CLOSED)
