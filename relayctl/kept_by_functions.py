"""Readers of what the stack's functions keep in the ledger's table, and only operators ask for.

Each raises LedgerError.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from relay.channels.channel import BigPandaAccess
from relay.ledger.table import Table, parsed
from relay.reconcile.history import History, UnknownCounts, listing_name
from relay.sweeper.canary import Canary
from relay.sweeper.fallback_notifier import TEST_KEY
from relay.sweeper.run import KEY, canaries_of


class Confirmation(NamedTuple):
    """The last test that a person confirmed: its time (epoch seconds), and the ways whose number was typed."""

    at: float
    ways: tuple[str, ...]


def last_confirmation(table: Table) -> Confirmation | None:
    """Return the last confirmed test of the last resort; None if there is none."""

    def read(record: Any) -> Confirmation | None:
        return Confirmation(float(record["at"]), tuple(map(str, record["ways"])))

    return parsed(table.read(TEST_KEY), read, None)


def read_canaries(table: Table) -> dict[str, Canary]:
    """Return the canary of each channel as the sweeper's last run left it."""
    none: dict[str, Canary] = {}
    return parsed(table.read(KEY), canaries_of, none)


def read_unknown_counts(table: Table, access: BigPandaAccess, environment_ids: Iterable[str]) -> UnknownCounts:
    """Return the counts of the incidents of these listings that no channel knew in the last seven days."""
    histories = [History.read(table, listing_name(access, each)) for each in environment_ids]
    days = [day for history in histories for day in history.days.values()]
    return UnknownCounts(sum(day.found for day in days), sum(day.came for day in days))
