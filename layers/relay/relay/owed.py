"""What is owed: whether a state has to be announced, given what the ledger knows. Pure code.

The questions are asked in the order of the rules: is it safe already, was it overtaken, does it change anything.
"""

from collections.abc import Set as AbstractSet
from enum import StrEnum
from typing import NamedTuple

from relay.ledger import Entry
from relay.transition import Change, State, Transition, compare

# xMatters' flood control drops, silently, what is above 4 signals in a minute (docs/vendors.md, "Flood control").
FLOOD_SIGNALS = 4
FLOOD_SECONDS = 61.0
# Clocks of functions are kept by AWS, and differ by far less.
CLOCKS_DIFFER_SECONDS = 0.7
# What must not wait for its turn: it got worse, or people may lie down again.
_HURRY = frozenset({Transition.WORSENED, Transition.RESOLVED})

_WORSE = frozenset({Transition.WORSENED, Transition.REOPENED})


class Standing(StrEnum):
    """How a state stands to what the ledger knows."""

    OWED = "owed"
    DUPLICATE = "duplicate"
    SUPERSEDED = "superseded"
    UNCHANGED = "unchanged"
    DEAD_LETTERED = "dead_lettered"


class Judgement(NamedTuple):
    """How a state stands, and what it changes where that was asked."""

    standing: Standing
    change: Change | None = None


def judge_share(
    entry: Entry, state: State, notify_on: AbstractSet[Transition], *, is_stamped: bool = True
) -> Judgement:
    """How the state of a share that just came stands; `is_stamped` says whether BigPanda's time stamps order it.

    A duplicate or a superseded share is safe: the ledger keeps only what is announced, on a queue, or changes nothing.
    """
    if state.is_same(entry.kept) or (is_stamped and _came_before(entry, state)):
        return Judgement(Standing.DUPLICATE)
    if state.precedes(entry.announced) or state.precedes(entry.kept):
        return Judgement(Standing.SUPERSEDED)
    return judge_change(entry, state, notify_on)


def judge_job(entry: Entry, state: State, notify_on: AbstractSet[Transition], *, mark: float | None) -> Judgement:
    """Return the standing of a job that woke up.

    `mark` is the time at which its message was dead-lettered (epoch seconds), None if it was not. Only a mark that is
    no older than the entry's revives a dead-lettered state: not a leftover, and not a copy of an earlier dead letter.
    """
    announced = entry.announced
    is_announced = announced is not None and state.is_same(announced)
    is_announced = is_announced and (state.version is not None or not (announced and announced.precedes(state)))
    # What is as it was announced is news all the same if it was better meanwhile, or if that may have been announced.
    is_owed_anew = entry.owed_since is not None and state.is_of_same_share(entry.kept)
    if is_announced and entry.eased is None and not is_owed_anew:
        return Judgement(Standing.DUPLICATE)
    if not state.is_of_same_share(entry.kept) and (
        state.precedes(entry.announced) or state.precedes(entry.kept) or _is_copy(entry, state)
    ):
        return Judgement(Standing.DUPLICATE if is_announced else Standing.SUPERSEDED)
    if state.is_of_same_share(entry.dead_lettered) and (mark is None or mark < entry.dead_lettered_at):
        return Judgement(Standing.DEAD_LETTERED)
    judgement = judge_change(entry, state, notify_on)
    is_news = judgement.standing == Standing.OWED or not is_announced
    return judgement if is_news else Judgement(Standing.DUPLICATE)


def judge_change(entry: Entry, state: State, notify_on: AbstractSet[Transition]) -> Judgement:
    """Owed if it changes anything against any of the states that people may have been told of last.

    Where nobody wanted to hear that it got better, it can get worse again although it is as announced.
    """
    changes = [compare(told, state) for told in entry.last_told()]
    again = compare(entry.eased, state) if entry.eased else changes[0]
    if again.transition in _WORSE:
        changes.append(again)
    for change in changes:
        if change.transition in notify_on:
            return Judgement(Standing.OWED, change)
    return Judgement(Standing.UNCHANGED, changes[0])


def is_known(entry: Entry, state: State, now: float) -> bool:
    """Whether a state that BigPanda was asked for is nothing new: a share told of it, or of a newer one.

    What is being sent is known, and so is what waits on the retry queue, or is dead-lettered.
    """
    kept = entry.kept
    if entry.is_busy(now) or (kept and kept.version and state.version and state.version <= kept.version):
        return True
    # A dead letter that was overtaken since says nothing any more.
    dead_lettered = None if entry.dead_lettered and entry.dead_lettered.precedes(kept) else entry.dead_lettered
    queued = (kept if entry.owed_since is not None else None, dead_lettered)
    return any(known and (known.is_open, known.rank) == (state.is_open, state.rank) for known in queued)


def earliest(entry: Entry, transition: Transition, min_seconds: float) -> float:
    """The moment from which another signal for this incident may be sent, in epoch seconds."""
    since_last = entry.signals[-1] + min_seconds if entry.signals and transition not in _HURRY else 0.0
    flood = entry.signals[-FLOOD_SIGNALS] + FLOOD_SECONDS if len(entry.signals) >= FLOOD_SIGNALS else 0.0
    return max(since_last, flood)


def room_for_rings(entry: Entry, now: float) -> int:
    """How many signals for this incident xMatters takes now without dropping one."""
    return FLOOD_SIGNALS - sum(now - time < FLOOD_SECONDS for time in entry.signals)


def _is_copy(entry: Entry, state: State) -> bool:
    """Whether it is one more job of a share that came before the newest one, by a clock that is fast.

    Of a share that comes twice at once, both may be kept, and the ledger knows the time of one.
    """
    kept = entry.kept
    is_known = kept is not None and kept.version == state.version and state.digest in entry.seen
    return is_known and kept is not None and state.came < kept.came + CLOCKS_DIFFER_SECONDS


def _came_before(entry: Entry, state: State) -> bool:
    """Whether the very same came before, at the version of the newest.

    It may be a copy that comes late, or the incident may be as it was before, within the second that a time stamp
    counts. Nobody can tell, so what is worse than the newest is taken for new: a page must not be lost. Without a time
    stamp all is taken for new.
    """
    kept = entry.kept
    if kept is None or kept.version != state.version:
        return False
    return state.digest in entry.seen and not state.is_worse_than(kept)
