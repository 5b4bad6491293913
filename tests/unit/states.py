"""States and leases of an incident that opened at NOW, with members that tests choose."""

from copy import replace
from typing import Any

from relay.incidents.share import State
from relay.ledger.entry import Entry, Lease
from tests import samples

NOW = 1_800_000_000.0


def state(came: float = 0, version: float | None = None, **members: Any) -> State:
    """Return the state of a share that came `came` seconds after NOW.

    `version` is the time in its timestamps, in seconds after NOW, if that is another time.
    """
    stamp = NOW + (came if version is None else version)
    return State.of(samples.share(**{"changedOn": stamp} | members), NOW + came)


def unstamped(came: float = 0, **members: Any) -> State:
    """Return the state of a share that has no timestamps, and came so many seconds after NOW."""
    return state(came, **{"changedOn": None} | members)


def over(came: float = 0, **members: Any) -> State:
    return state(came, **{"status": "ok"} | members)


def bare(of: State) -> State:
    return replace(of, alerts=frozenset())


def lease(of: State, began: float = 0, owner: str = "a") -> Lease:
    """Return a lease that began so many seconds after NOW and lasts 15 seconds."""
    return Lease(owner=owner, until=NOW + began + 15, began=NOW + began, state=of)


def announced(of: State) -> Entry:
    """Return the entry of a state that was sent at once and accepted."""
    mine = lease(of, of.came - NOW)
    return Entry().leased(mine, 1, 0).accepted(mine, "r1", 1, until=mine.began)
