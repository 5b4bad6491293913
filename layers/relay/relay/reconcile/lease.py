"""Lease of reconcile runs: of two runs that overlap, only one works."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from relay.failures.errors import LedgerError
from relay.ledger.table import Table

KEY = "reconcile/run"
# The longest step of a run is two calls to BigPanda that wait for the rate limit (about 30 s). The lease of a run that
# died is over before the next schedule, which comes after two minutes at the earliest.
LEASE_SECONDS, RENEW_SECONDS = 90.0, 20.0


class LeaseLost(LedgerError):
    """Another run has taken the lease."""


@dataclass
class Lease:
    """Exclusive right to make a reconcile run, renewed during the run.

    Attributes:
        table: The ledger's table.
        clock: The time in epoch seconds.
        taken_at: Time at which this run took the lease (epoch seconds). It identifies the run.
        renewed_at: Time of the last renewal (epoch seconds).
        start: `Listing.number` from which on the next run begins.
    """

    table: Table
    clock: Callable[[], float]
    taken_at: float
    renewed_at: float
    start: float

    @classmethod
    def take(cls, table: Table, clock: Callable[[], float]) -> Self | None:
        """Take the lease; return None if another run has it. Raises LedgerError."""
        now = clock()
        put = {"until": now + LEASE_SECONDS, "taken_at": now}
        taken = table.update(KEY, put=put, below=("until", now))
        return None if taken is None else cls(table, clock, now, now, taken.get("start", 0.0))

    def renew(self) -> None:
        """Renew the lease if that is due. Raises LeaseLost, and LedgerError if the table fails."""
        now = self.clock()
        if now - self.renewed_at < RENEW_SECONDS:
            return
        self._put(now + LEASE_SECONDS)
        self.renewed_at = now

    def release(self) -> None:
        """Let the next run begin at once. If the table fails, the lease ends by itself."""
        with suppress(LedgerError):
            self._put(0.0)

    def _put(self, until: float) -> None:
        put = {"until": until, "start": self.start}
        if self.table.update(KEY, put=put, only_if=("taken_at", self.taken_at)) is None:
            raise LeaseLost("another reconcile run took over")
