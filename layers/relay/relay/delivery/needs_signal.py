"""Standing of a state: owed, duplicate, superseded, unchanged or dead-lettered. Pure code.

Only an owed state needs a signal. This module decides that a comment pages nobody, and that a replayed or late job is
no longer needed. A comment is the transition `touched`, which no policy may contain (`channels.schema`).
"""

from collections.abc import Set as AbstractSet
from copy import replace
from enum import StrEnum
from typing import NamedTuple

from relay.incidents.transition import Change, State, Transition, compare
from relay.ledger.entry import Entry

# Upper bound of the difference of two functions' clocks. AWS keeps them far closer.
CLOCKS_DIFFER_SECONDS = 0.7
_WORSE = frozenset({Transition.WORSENED, Transition.REOPENED})


class Standing(StrEnum):
    """Standing of a state: its relation to its incident's ledger entry.

    Attributes:
        OWED: The policy announces the state, and it is not announced yet.
        DUPLICATE: The same state came before, and is announced or queued.
        SUPERSEDED: A newer state of the incident is announced or queued.
        UNCHANGED: Nothing to announce: the state may have changed, but the policy does not announce that transition.
        DEAD_LETTERED: The state is on the dead-letter queue, and no operator moved it back.
        REPLACED: The state is owed, and a later message than this one wakes it.
    """

    OWED = "owed"
    DUPLICATE = "duplicate"
    SUPERSEDED = "superseded"
    UNCHANGED = "unchanged"
    DEAD_LETTERED = "dead_lettered"
    REPLACED = "replaced"


class Judgement(NamedTuple):
    """Standing of a state (its relation to its incident's ledger entry), and its transition.

    Attributes:
        standing: The standing.
        change: The state's transition and its explanation; None if the standing was found without a comparison.
    """

    standing: Standing
    change: Change | None = None


def judge_share(
    entry: Entry, state: State, notify_on: AbstractSet[Transition], *, is_stamped: bool = True
) -> Judgement:
    """Return the standing of a new share's state. `is_stamped` is True if the share has BigPanda's timestamps.

    `notify_on` has the transitions that the policy announces. A duplicate or superseded share needs no further work:
    its state, or a newer one, is in the entry already, as announced, queued, or not to be announced. A share without
    timestamps is never a duplicate, even if its state equals the newest one. Another state, which the ledger does not
    hold yet, may have come in between. The share's arrival is recorded, so that the share supersedes that other state.
    """
    if is_stamped and (_is_late_copy(entry, state) or state.is_same(entry.newest)):
        return Judgement(Standing.DUPLICATE)
    if state.precedes(entry.announced) or state.precedes(entry.newest):
        return Judgement(Standing.SUPERSEDED)
    return judge_change(entry, state, notify_on)


def judge_job(
    entry: Entry, state: State, notify_on: AbstractSet[Transition], *, plan: int, dead_lettered_at: float | None
) -> Judgement:
    """Return the standing of the state of a job from the queue.

    `notify_on` has the transitions that the policy announces. `plan` is the number of the job's message: if the entry
    has a higher one for the same state, a later message took its place. `dead_lettered_at` is the time at which the
    message was dead-lettered (epoch seconds); None if it never was. A dead-lettered state becomes owed again only by
    the message that was dead-lettered last. A message with an earlier time than the entry's is an older copy of the
    job: it is ignored.
    """
    is_announced = _is_announced(entry, state)
    # An announced state is owed again if the incident eased meanwhile, or if another state may have been announced.
    is_owed_anew = entry.debt.since is not None and state.is_of_same_share(entry.newest)
    if is_announced and not entry.was_better and not is_owed_anew:
        return Judgement(Standing.DUPLICATE)
    if not state.is_of_same_share(entry.newest) and (
        state.precedes(entry.announced) or state.precedes(entry.newest) or _is_simultaneous_copy(entry, state)
    ):
        return Judgement(Standing.DUPLICATE if is_announced else Standing.SUPERSEDED)
    if is_owed_anew and entry.is_given_up:
        if dead_lettered_at is None or dead_lettered_at < entry.debt.dead_lettered_at:
            return Judgement(Standing.DEAD_LETTERED)
    elif is_owed_anew and plan < entry.debt.plan:
        return Judgement(Standing.REPLACED)
    judgement = judge_change(entry, state, notify_on)
    is_news = judgement.standing == Standing.OWED or not is_announced
    return judgement if is_news else Judgement(Standing.DUPLICATE)


def judge_change(entry: Entry, state: State, notify_on: AbstractSet[Transition]) -> Judgement:
    """Return OWED if the policy announces the state's transition from any state that may have been announced.

    Else return UNCHANGED. `notify_on` has the transitions that the policy announces. An incident can ease without a
    signal, and then worsen again. So the transition from that eased state is judged, too, even if the incident only
    returns to the announced state.
    """
    changes = [compare(announced, state) for announced in entry.maybe_announced()]
    from_eased = compare(entry.eased, state) if entry.eased else changes[0]
    if entry.is_snooze_over and state.is_open:  # an announced critical whose snooze in BigPanda is over
        from_eased = Change(Transition.REOPENED, "its snooze is over")
    if from_eased.transition in _WORSE:
        changes.append(from_eased)
    for change in changes:
        if change.transition in notify_on:
            return Judgement(Standing.OWED, change)
    return Judgement(Standing.UNCHANGED, changes[0])


def with_superseded_ease(entry: Entry, state: State, notify_on: AbstractSet[Transition]) -> Entry:
    """Record the entry's newest state as `eased`, if it has eased and needs no signal any more, and `state` is newer.

    An eased state is better than the announced one, and not announced. The newest state became owed while another state
    was being sent. The signal of that other state failed, so the newest state is only better than the announced one.
    The job of the newest state would record this, but `state` came before that job ran. Without the record, an incident
    that worsens again would not be announced. Returns the ledger entry, changed or unchanged.
    """
    newest = entry.newest
    if newest is None or not newest.precedes(state) or not entry.is_eased_by(newest):
        return entry
    is_owed = judge_change(entry, newest, notify_on).standing == Standing.OWED
    return entry if is_owed else replace(entry, eased=newest.without_alerts())


def was_shared(entry: Entry, state: State, now: float) -> bool:
    """True if a share brought the relay a state that BigPanda's API shows, or a newer one.

    That includes states that are being sent at `now` (epoch seconds), wait on the retry queue or are dead-lettered.
    """
    newest = entry.newest
    if entry.is_busy(now) or (newest and newest.version and state.version and state.version <= newest.version):
        return True
    is_owed = newest is not None and entry.debt.since is not None
    return is_owed and newest is not None and (newest.is_open, newest.rank) == (state.is_open, state.rank)


def _is_announced(entry: Entry, state: State) -> bool:
    """True if the state is the announced one.

    Without BigPanda's timestamps, an equal state that arrived after the announced one is a new state: the incident may
    have changed in between, and returned to it.
    """
    announced = entry.announced
    if announced is None or not state.is_same(announced):
        return False
    is_stamped = state.version is not None and not state.has_borrowed_version
    return is_stamped or not announced.precedes(state)


def _is_simultaneous_copy(entry: Entry, state: State) -> bool:
    """True if the state is a second copy of a share that arrived at about the same time as the newest state.

    If two copies of a share arrive at once, both may be queued, while the entry holds the arrival time of one. That
    time can be later than this copy's, since the functions' clocks differ.
    """
    newest = entry.newest
    is_seen = newest is not None and newest.version == state.version and state.marked_digest in entry.seen_digests
    return is_seen and newest is not None and state.came < newest.came + CLOCKS_DIFFER_SECONDS


def _is_late_copy(entry: Entry, state: State) -> bool:
    """True if the same state arrived before, with the timestamps (version) of the newest state.

    Timestamps have a resolution of a second, so the state is either a late copy, or the incident returned to it within
    that second. A state that is worse than the newest one counts as new, so that no page is lost. The caller skips this
    check for shares without timestamps.
    """
    newest = entry.newest
    if newest is None or newest.version != state.version:
        return False
    return state.marked_digest in entry.seen_digests and not state.is_worse_than(newest)
