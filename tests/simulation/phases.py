"""Phases of the work on an incident, as its ledger entry shows them, and the changes of phase that are legal.

docs/architecture.md shows this table and its drawing. The simulation checks it at each write of an entry.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from relay.ledger.entry import Entry

# Clocks of two functions differ by less than this (seconds).
CLOCKS_DIFFER_SECONDS = 5.0


class Phase(StrEnum):
    """Phase of the work on an incident.

    Attributes:
        IDLE: Nothing is owed.
        OWED: The newest state is owed: it waits for its message, or for the sweeper.
        SENDING: A sender has the incident's lease. If the lease ran out, the sender died.
        DEAD: The newest state is owed, and its message is on the dead-letter queue.
    """

    IDLE = "idle"
    OWED = "owed"
    SENDING = "sending"
    DEAD = "dead"


def phase_of(entry: Entry) -> Phase:
    """Return the phase of the work on an entry's incident."""
    if entry.lease is not None:
        return Phase.SENDING
    if not entry.debt.is_owed:
        return Phase.IDLE
    return Phase.DEAD if entry.debt.is_given_up else Phase.OWED


# What changes the phase. A change that is not here is a fault.
TRANSITIONS: Mapping[tuple[Phase, Phase], str] = MappingProxyType(
    {
        (Phase.IDLE, Phase.SENDING): "a state that is to be announced comes, and may be sent",
        (Phase.IDLE, Phase.OWED): "a state that is to be announced comes, and has to wait",
        (Phase.IDLE, Phase.DEAD): "a state that is to be announced wakes for the first time, and is too old",
        (Phase.OWED, Phase.SENDING): "the state wakes, and may be sent",
        (Phase.OWED, Phase.IDLE): "nothing is left to say: the newest state is announced, or is not to be announced",
        (Phase.OWED, Phase.DEAD): "the state is too old, its channel is gone or in shadow mode, or workers fail at it",
        (Phase.SENDING, Phase.IDLE): "xMatters accepted the signal, and no newer state is owed",
        (Phase.SENDING, Phase.OWED): "xMatters did not accept the signal, or a newer state is owed",
        (Phase.SENDING, Phase.DEAD): "xMatters refused the signal for good",
        (Phase.DEAD, Phase.OWED): "an operator replays the message, or a newer state is owed and has to wait",
        (Phase.DEAD, Phase.SENDING): "an operator replays the message, or a newer state is owed, and it may be sent",
        (Phase.DEAD, Phase.IDLE): "a newer state comes that is not to be announced",
    }
)


def fault_of(before: Entry, after: Entry) -> str:
    """Return why the change of an entry from `before` to `after` is illegal; an empty text if it is legal."""
    was, now = phase_of(before), phase_of(after)
    if was != now and (was, now) not in TRANSITIONS:
        return f"no transition leads from {was} to {now}"
    is_same = after.newest is not None and after.newest.is_of_same_share(before.newest)
    old, new = before.lease, after.lease
    if old and new and old.owner != new.owner and old.until > new.began + CLOCKS_DIFFER_SECONDS:
        return "a sender took the lease of another one that still has it"
    is_revived = after.debt.revived_at > before.debt.revived_at
    if is_same and after.debt.plan < before.debt.plan and not is_revived:
        return f"the plan of a state fell from {before.debt.plan} to {after.debt.plan}"
    # A newer state that no queue took is sent without being the newest one.
    is_claimed = new is not None and new != old and new.state.is_of_same_share(after.newest)
    is_sent_anew = now is Phase.OWED or is_claimed
    is_owed = now in {Phase.OWED, Phase.SENDING} and not after.debt.is_given_up
    if before.debt.is_given_up and is_same and is_owed and is_sent_anew and not is_revived:
        return "a dead-lettered state is owed again without a replay"
    if before.newest and (after.newest is None or after.newest.precedes(before.newest)):
        return "an older state became the newest one"
    if before.announced and (after.announced is None or after.announced.precedes(before.announced)):
        return "an older state became the announced one"
    return ""
