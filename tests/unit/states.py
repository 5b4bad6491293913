"""States and leases as tests want them: of an incident that opened at NOW, unless they say otherwise."""

from copy import replace
from typing import Any

from relay.incidents.transition import State
from relay.ledger.entry import Entry, Lease
from tests import samples

NOW = 1_800_000_000.0


def state(came: float = 0, version: float | None = None, **members: Any) -> State:
    """The state of a share that came so many seconds after NOW, with time stamps of that moment or of `version`."""
    stamp = NOW + (came if version is None else version)
    return State.of(samples.share(**{"changedOn": stamp} | members), NOW + came)


def unstamped(came: float = 0, **members: Any) -> State:
    """The same without any time stamp."""
    return state(came, **{"changedOn": None} | members)


def over(came: float = 0, **members: Any) -> State:
    """The state of an incident that is over."""
    return state(came, **{"status": "ok"} | members)


def bare(of: State) -> State:
    """The state as it is where nobody compares its alerts."""
    return replace(of, alerts=frozenset())


def lease(of: State, began: float = 0, owner: str = "a") -> Lease:
    """A lease that began so many seconds after NOW."""
    return Lease(owner, NOW + began + 15, NOW + began, of)


def announced(of: State) -> Entry:
    """The entry of a state that was sent at once, and accepted."""
    mine = lease(of, of.came - NOW)
    return Entry().claimed(mine, 1, queued=True).accepted(mine, "r1", 1, until=mine.began)
