"""Pauses of a channel (`policy.pauses`): times in which its signals wait, or are left out. Pure code."""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Self

from relay.channels.routes import Conditions, conditions_of, meets
from relay.incidents.share import Share


class Pause(NamedTuple):
    """A time in which a channel sends no signals for some incidents, or for all.

    Attributes:
        since: Start of the pause (epoch seconds).
        until: End of the pause (epoch seconds). A pause ends by itself.
        keeps_states: True if the newest state of each incident is signalled when the pause ends. False if states that
            become owed in the pause are never signalled.
        when: Conditions of the same form as a route's; only incidents that meet all of them are paused. Empty for all.
        reason: The operator's reason, for people; empty if none was given.
        by: The operator who made the pause, as AWS names them; empty if unknown.
    """

    since: float
    until: float
    keeps_states: bool
    when: Conditions = ()
    reason: str = ""
    by: str = ""

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> Self:
        """Read a pause from the policy of a valid secret."""
        since, until = (datetime.fromisoformat(members[name]).timestamp() for name in ("since", "until"))
        said = (members.get(name, "") for name in ("reason", "by"))
        return cls(since, until, members["then"] == "keep", conditions_of(members.get("when", {})), *said)

    @property
    def id(self) -> str:
        """Identity of the pause, which stays the same if its end is moved."""
        return f"{zlib.crc32(repr((self.since, self.keeps_states, self.when)).encode()):08x}"

    def is_active(self, now: float) -> bool:
        """True if the pause has begun and has not ended at `now` (epoch seconds)."""
        return self.since <= now < self.until

    def postpones(self, owed_since: float) -> bool:
        """True if a state waits for the end of the pause, False if it is left out.

        A state that was owed before the pause waits in any case. `owed_since` is the time since which the state, or an
        earlier one of its incident, is owed (epoch seconds).
        """
        return self.keeps_states or owed_since < self.since


def pauses_for(share: Share, pauses: Iterable[Pause], *, is_open: bool) -> tuple[Pause, ...]:
    """Return the pauses whose conditions an incident's share meets: past, active and future ones.

    `is_open` is False after the incident's end. A pause whose conditions take too many comparisons (`routes.Work`) does
    not apply, so that no page is held back by mistake.
    """
    return tuple(each for each in pauses if not each.when or meets(each.when, share, is_open=is_open))


def active_pause(pauses: Iterable[Pause], now: float) -> Pause | None:
    """Return the pause that applies at `now` (epoch seconds); None if there is none.

    If several pauses are active, one that keeps the states is chosen, so that nothing is left out by mistake. If
    several are still possible, the one that ends last is chosen.
    """
    active = [each for each in pauses if each.is_active(now)]
    return max(active, key=lambda each: (each.keeps_states, each.until), default=None)


def age_start(pauses: Sequence[Pause], came: float, longest: float) -> float:
    """Return the time from which the age of a state counts (epoch seconds): its arrival, or the end of a later pause.

    `came` is the state's arrival (epoch seconds), and `longest` the age at which it expires (seconds). A pause that
    begins after the state would have expired does not count.
    """
    start = came
    for each in sorted(pauses):
        if each.since < start + longest and each.until > start:
            start = each.until
    return start
