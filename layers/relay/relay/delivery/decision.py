"""Decision: what to do next about a state, given what the ledger knows of its incident. Pure code, one table.

The questions are asked in the order of the rules: is the state safe already, was it overtaken, does it change anything;
then whether it may be sent now.
"""

from collections.abc import Set as AbstractSet
from copy import replace
from enum import StrEnum
from typing import NamedTuple

from relay.delivery.actions import Action, DeadLetter, Revive, Send, Settle
from relay.delivery.task import Task
from relay.errors import Reason
from relay.incidents.transition import Change, State, Transition, compare
from relay.jobs.envelope import seconds_of, timestamp
from relay.jobs.outcome import Outcome
from relay.ledger.entry import Entry, Wait

# Inline attempts of one signal, at most; a job has one each time it wakes up.
MAX_TRIES = 3
# xMatters' flood control drops, silently, what is above 4 signals in a minute (docs/vendors.md, "Flood control").
FLOOD_SIGNALS = 4
FLOOD_SECONDS = 61.0
# A job that wakes when it was told to must not find that it is a moment too early.
RESTS_LESS_SECONDS = 2.0
# Clocks of functions are kept by AWS, and differ by far less.
CLOCKS_DIFFER_SECONDS = 0.7
# What must not wait for its turn: it got worse, or people may lie down again.
_HURRY = frozenset({Transition.WORSENED, Transition.RESOLVED})
_WORSE = frozenset({Transition.WORSENED, Transition.REOPENED})


class Standing(StrEnum):
    """Relation of a state to its incident's entry."""

    OWED = "owed"
    DUPLICATE = "duplicate"
    SUPERSEDED = "superseded"
    UNCHANGED = "unchanged"
    DEAD_LETTERED = "dead_lettered"


class Judgement(NamedTuple):
    """The standing of a state, and its transition if that was compared."""

    standing: Standing
    change: Change | None = None


_RINGS_ALL = frozenset({Transition.OPENED, Transition.WORSENED, Transition.REOPENED})
_SETTLED = {
    Standing.DUPLICATE: Outcome.DUPLICATE,
    Standing.SUPERSEDED: Outcome.SUPERSEDED,
    Standing.UNCHANGED: Outcome.UNCHANGED,
}


def next_action(task: Task, entry: Entry, now: float) -> tuple[Task, Action]:
    """Return the task as the entry shows it, and what to do next. `now` is in epoch seconds.

    | the state | action |
    | --- | --- |
    | is announced, on a queue, overtaken, or changes nothing that the policy announces | Settle |
    | is on the dead-letter queue, and this job is not its revival | Settle |
    | is owed, and its job came back from the dead-letter queue | Revive |
    | is owed, but is too old, or its channel is gone | DeadLetter |
    | is owed, but another sender is at it, it may have rung a moment ago, or its incident needs a distance | Wait |
    | is owed | Send |
    """
    task, standing = _judged(task, entry)
    if standing != Standing.OWED:
        return task, _settled(task, entry, standing)
    if _is_to_revive(task, entry):
        revived_at = seconds_of(task.job.revived_at or task.job.received_at)
        return task, Revive(entry.reviving(task.state, revived_at))
    if task.hold and task.is_given_up:
        return task, DeadLetter(task.hold.reason)
    tries = max(1, min(MAX_TRIES, room_for_rings(entry, now))) if task.is_live else 1
    return task, _wait(task, entry, now) or Send(tries, _who_hears_alone(task, entry))


def _judged(task: Task, entry: Entry) -> tuple[Task, Standing]:
    """Return the task with what the ledger says of its state, and how the state stands."""
    notify_on = task.channel.policy.notify_on
    state = _after(task, entry)
    if _is_kept_by_copy(task, entry):
        judgement = judge_change(entry, state, notify_on)
    elif task.is_live:
        judgement = judge_share(entry, state, notify_on, is_stamped=task.is_stamped)
    else:
        judgement = judge_job(entry, state, notify_on, mark=task.job.mark)
    job = replace(
        task.job,
        transition=judgement.change.transition if judgement.change else task.job.transition,
        version=state.version,
        digest=state.digest,
        is_dated_by_another=state.is_dated_by_another,
        attempts=max(task.job.attempts, entry.asked if state.is_same(entry.kept) else 0),
        received_at=task.job.received_at if state is task.state else timestamp(state.came),
    )
    is_first = task.is_first or entry.sequence == 0
    task = replace(task, state=state, change=judgement.change, job=job, is_first=is_first)
    return _revived_by(task, entry), judgement.standing


def _after(task: Task, entry: Entry) -> State:
    """Return its state, which comes after all that is kept already, whatever the clocks of those who noted it said.

    Without time stamps it takes those of what is kept: what is older than that must not pass for newer than this.
    But no share with these time stamps is a copy of it. Once its job is kept, the job tells all of that.
    """
    kept = entry.kept
    if kept and _is_kept_by_copy(task, entry):
        return kept
    if not task.is_live or task.is_queued or kept is None:
        return task.state
    state = replace(task.state, came=max(task.state.came, seconds_of(timestamp(kept.came + 0.001))))
    if task.is_stamped or kept.version is None:
        return state
    return state.dated_by(kept)


def _is_kept_by_copy(task: Task, entry: Entry) -> bool:
    """True if a copy that came at the same moment kept the state as owed while this sender had leave to send it.

    The sender that has leave sends it then: the copy found no room, and waits for a later moment.
    """
    return task.ticket is not None and entry.owed_since is not None and task.state.is_same(entry.kept)


def _is_to_revive(task: Task, entry: Entry) -> bool:
    """True if the job came back from the dead-letter queue, and the entry does not know it yet."""
    job = task.job
    return job.revived_at is not None and job.is_revived and job.mark is not None and job.mark > entry.revived_at


def _revived_by(task: Task, entry: Entry) -> Task:
    """Return the task of a state that another message revived already: its age counts from that revival."""
    at = entry.revived_at
    if not at or not task.state.is_of_same_share(entry.kept) or _is_to_revive(task, entry):
        return task
    revived = replace(task, job=replace(task.job, revived_at=timestamp(at)))
    hold = task.hold
    if hold and hold.reason == Reason.EXPIRED and hold.until - at <= task.channel.policy.max_age_seconds:
        # A leftover message, maybe of an earlier revival: its own age is not that of the revived state.
        return replace(revived, hold=None)
    return revived


def _settled(task: Task, entry: Entry, standing: Standing) -> Settle:
    if standing == Standing.DEAD_LETTERED:
        return Settle(Outcome.QUEUED, queue="dead_letter")
    note = None
    if standing == Standing.UNCHANGED and not (task.state.is_same(entry.kept) and not entry.owed_since):
        note = entry.unchanged(task.state)
    elif standing == Standing.DUPLICATE and _is_void(task, entry):
        note = entry.without_debt()
    is_end = task.is_live and not task.state.is_open and note is not None
    ends_pages = is_end and task.channel.rest is not None and entry.has_live_pages()
    return Settle(_SETTLED[standing], note, ends_pages or _is_to_confirm(task, entry, is_end=is_end))


def _is_to_confirm(task: Task, entry: Entry, *, is_end: bool) -> bool:
    """True if BigPanda is to be asked whether the incident is over: a forged resolve must not silence what is open.

    Either a resolve settles what was open, or a resolve that nobody confirmed overtook this open state.
    """
    if not (task.is_live and task.channel.confirms_ends):
        return False
    silences = is_end and entry.kept is not None and entry.kept.is_open
    return silences or (task.state.is_open and entry.is_end_in_doubt)


def _is_void(task: Task, entry: Entry) -> bool:
    """True if the entry says that the state is owed, although it was announced; no other job will say so."""
    return not task.is_live and entry.owed_since is not None and task.state.is_of_same_share(entry.kept)


def _wait(task: Task, entry: Entry, now: float) -> Wait | None:
    """Return why the state must not be sent now, as far as its job and its entry tell; None if it may be."""
    if task.hold:
        return task.hold
    # A claim of one's own may have been written although its answer was lost.
    if entry.lease and entry.is_busy(now) and entry.lease.owner != task.owner:
        return Wait(Reason.IN_FLIGHT, entry.lease.until + 1)
    if entry.rests_until > now and entry.may_have_rung(task.state):
        return Wait(Reason.IN_FLIGHT, entry.rests_until + RESTS_LESS_SECONDS)
    least = task.channel.policy.min_seconds_between_signals
    moment = earliest(entry, task.change.transition, least) if task.change else 0.0
    if moment > now:
        return Wait(Reason.PACED, moment)
    slot = entry.slot
    if slot and slot.at > now + 1 and not task.ticket and (slot.urgent or not task.state.is_critical):
        return Wait(Reason.PACED, slot.at, slot)
    return None


def _who_hears_alone(task: Task, entry: Entry) -> str | None:
    """Return who acknowledged, if the others need not hear of the state: it is neither worse nor open again.

    Not even against a state that people may have been told of, for all that is known.
    """
    change = task.change
    if change is None or not entry.acknowledged_by or not task.channel.is_quiet:
        return None
    changes = [change, *(compare(told, task.state) for told in entry.last_told())]
    is_calm = all(each.transition not in _RINGS_ALL for each in changes)
    return entry.acknowledged_by if is_calm else None


def judge_share(
    entry: Entry, state: State, notify_on: AbstractSet[Transition], *, is_stamped: bool = True
) -> Judgement:
    """Judge the state of a share that just came; `is_stamped`: BigPanda's time stamps order it.

    A duplicate or a superseded share is safe: the ledger keeps only what is announced, on a queue, or changes nothing.
    """
    if (is_stamped and _came_before(entry, state)) or state.is_same(entry.kept):
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
    if is_announced and not entry.was_better and not is_owed_anew:
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
    if entry.is_woken and state.is_open:
        again = Change(Transition.REOPENED, "its snooze is over")
    if again.transition in _WORSE:
        changes.append(again)
    for change in changes:
        if change.transition in notify_on:
            return Judgement(Standing.OWED, change)
    return Judgement(Standing.UNCHANGED, changes[0])


def is_known(entry: Entry, state: State, now: float) -> bool:
    """Return True if a state from BigPanda's API is nothing new: a share told of it, or of a newer one.

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
    """Return the number of signals for this incident that xMatters takes now without dropping one."""
    return FLOOD_SIGNALS - sum(now - time < FLOOD_SECONDS for time in entry.signals)


def _is_copy(entry: Entry, state: State) -> bool:
    """Return True if it is one more job of a share that came before the newest one, by a clock that is fast.

    Of a share that comes twice at once, both may be kept, and the ledger knows the time of one.
    """
    kept = entry.kept
    is_known = kept is not None and kept.version == state.version and state.name in entry.seen
    return is_known and kept is not None and state.came < kept.came + CLOCKS_DIFFER_SECONDS


def _came_before(entry: Entry, state: State) -> bool:
    """Return True if the very same state came before, at the version of the newest.

    It may be a copy that comes late, or the incident may be as it was before, within the second that a time stamp
    counts. Nobody can tell, so what is worse than the newest is taken for new: a page must not be lost. Without a time
    stamp all is taken for new.
    """
    kept = entry.kept
    if kept is None or kept.version != state.version:
        return False
    return state.name in entry.seen and not state.is_worse_than(kept)
