"""Decision on the next action for a state, from its incident's entry in the ledger. Pure code.

The checks run in this order: is the state announced or queued already, is it superseded, is its transition in the
policy, may it be sent now.
"""

from copy import replace

from relay.delivery.actions import Action, DeadLetter, Revive, Send, Settle
from relay.delivery.incident_rate_limit import earliest_send_time, room_for_signals
from relay.delivery.standing import Standing, judge_change, judge_job, judge_share
from relay.delivery.task import Task
from relay.errors import Reason
from relay.incidents.transition import State, Transition, compare
from relay.jobs.job import seconds_of, timestamp
from relay.jobs.outcome import Outcome
from relay.ledger.entry import Entry
from relay.ledger.flap import Flap
from relay.ledger.wait import Wait

# Largest number of inline attempts for one signal. A job makes one attempt each time it wakes.
MAX_ATTEMPTS = 3
# The wait after an ambiguous send ends this much before its job wakes, so that the job does not wake too early.
WAKE_MARGIN_SECONDS = 2.0
_FOR_EVERYBODY = frozenset({Transition.OPENED, Transition.WORSENED, Transition.REOPENED})
_SETTLED = {
    Standing.DUPLICATE: Outcome.DUPLICATE,
    Standing.SUPERSEDED: Outcome.SUPERSEDED,
    Standing.UNCHANGED: Outcome.UNCHANGED,
}


def next_action(task: Task, entry: Entry, now: float) -> tuple[Task, Entry, Action]:
    """Return the task and the entry, each updated from the other, and the next action. `now` is in epoch seconds.

    The entry differs from the one that was read only in its memory of a flap, which the action's write records.

    | the state | action |
    | --- | --- |
    | is announced, queued or superseded, or its transition is not in the policy | Settle |
    | is dead-lettered, and this job is not its replay | Settle |
    | is owed, and its job was replayed from the dead-letter queue | Revive |
    | is owed, but expired, or its channel was removed | DeadLetter |
    | is owed, but its incident flaps, and people know it as bad as this | Wait |
    | is owed, but is leased by another sender, was just sent ambiguously, or follows a signal too closely | Wait |
    | is owed | Send |
    """
    task, standing = _judged(task, entry)
    task, entry = _flapping(task, entry, standing, now)
    return task, entry, _action(task, entry, standing, now)


def _action(task: Task, entry: Entry, standing: Standing, now: float) -> Action:
    if standing != Standing.OWED:
        return _settled(task, entry, standing)
    if _is_to_revive(task, entry):
        return Revive(entry.reviving(task.state, task.job.age_counts_from))
    if task.hold and task.is_given_up:
        return DeadLetter(task.hold.reason)
    if wait := _wait(task, entry, now):
        return wait
    attempts = max(1, min(MAX_ATTEMPTS, room_for_signals(entry, now))) if task.is_live else 1
    return Send(attempts, _only_acknowledger(task, entry) if entry.acknowledged_by else None)


def _judged(task: Task, entry: Entry) -> tuple[Task, Standing]:
    """Return the task, updated from the entry, and the standing of its state."""
    notify_on = task.channel.policy.notify_on
    state = _state_after_newest(task, entry)
    if _is_owed_by_copy(task, entry):
        judgement = judge_change(entry, state, notify_on)
    elif task.is_live:
        judgement = judge_share(entry, state, notify_on, is_stamped=task.is_stamped)
    else:
        judgement = judge_job(entry, state, notify_on, mark=task.job.revival.mark)
    job = task.job
    attempts = max(job.failures.attempts, entry.debt.attempts if state.is_same(entry.newest) else 0)
    payload = replace(
        job.payload,
        transition=judgement.change.transition if judgement.change else job.payload.transition,
        version=state.version,
        digest=state.digest,
        is_dated_by_another=state.is_dated_by_another,
    )
    received_at = job.received_at if state is task.state else timestamp(state.came)
    failures = replace(job.failures, attempts=attempts)
    job = replace(job, received_at=received_at, payload=payload, failures=failures)
    is_first = task.is_first or entry.sequence == 0
    task = replace(task, state=state, change=judgement.change, job=job, is_first=is_first)
    return _revived_by(task, entry), judgement.standing


def _flapping(task: Task, entry: Entry, standing: Standing, now: float) -> tuple[Task, Entry]:
    """Return the task and the entry with what the state means for a flap, where the policy has a rule for flaps."""
    rule = task.channel.policy.flap
    if rule is None:
        return task, entry if entry.flap == Flap() else replace(entry, flap=Flap())
    if standing in {Standing.OWED, Standing.UNCHANGED} and not task.state.is_same(entry.newest):
        flap = entry.flap.seeing(entry.newest, task.state, rule, is_flagged=task.is_flagged)
        entry = replace(entry, flap=flap)
    task = replace(task, is_flapping=entry.flap.until > now, quiet_until=entry.quiet_until(task.state))
    if task.is_flapping and task.change:
        task = replace(task, change=replace(task.change, why=f"{task.change.why}; it flaps"))
    hold = task.hold
    if hold and hold.reason == Reason.EXPIRED and hold.until <= task.expires_at:
        # The state's age counts from the end of its quiet time, which the job does not know.
        task = replace(task, hold=None)
    return task, entry


def _state_after_newest(task: Task, entry: Entry) -> State:
    """Return the task's state, ordered after the stored one in spite of clock skew between functions.

    A live state without timestamps inherits the stored version, so that a share older than that version is not taken
    for newer than this state. A queued job has these values already.
    """
    newest = entry.newest
    if newest and _is_owed_by_copy(task, entry):
        return newest
    if not task.is_live or task.is_queued or newest is None:
        return task.state
    state = replace(task.state, came=max(task.state.came, seconds_of(timestamp(newest.came + 0.001))))
    if task.is_stamped or newest.version is None:
        return state
    return state.dated_by(newest)


def _is_owed_by_copy(task: Task, entry: Entry) -> bool:
    """True if another function handled a copy of this share, got no ticket, and recorded the state as owed.

    This sender has a ticket, so it sends the state now. The copy waits for a later slot.
    """
    return task.ticket is not None and entry.debt.since is not None and task.state.is_same(entry.newest)


def _is_to_revive(task: Task, entry: Entry) -> bool:
    """True if the job was replayed from the dead-letter queue, and the entry does not record that yet."""
    job = task.job.revival
    return (
        job.revived_at is not None
        and job.is_revived
        and job.mark is not None
        and job.mark > entry.dead_letter.revived_at
    )


def _revived_by(task: Task, entry: Entry) -> Task:
    """Return the task with the time of the state's revival if another message revived it: its age counts from then."""
    at = entry.dead_letter.revived_at
    if not at or not task.state.is_of_same_share(entry.newest) or _is_to_revive(task, entry):
        return task
    revived = replace(task, job=replace(task.job, revival=replace(task.job.revival, revived_at=timestamp(at))))
    hold = task.hold
    if hold and hold.reason == Reason.EXPIRED and hold.until - at <= task.channel.policy.max_age_seconds:
        # Another message of the same state has expired by its own age. The revived state has not.
        return replace(revived, hold=None)
    return revived


def _settled(task: Task, entry: Entry, standing: Standing) -> Settle:
    if standing == Standing.DEAD_LETTERED:
        return Settle(Outcome.QUEUED, queue="dead_letter")
    note = None
    if standing == Standing.UNCHANGED and not (task.state.is_same(entry.newest) and not entry.debt.since):
        note = entry.unchanged(task.state)
    elif standing == Standing.DUPLICATE and _clears_debt(task, entry):
        note = replace(entry, debt=entry.debt.settled())
    is_end = task.is_live and not task.state.is_open and note is not None
    queues_job = is_end and task.channel.rest is not None and entry.has_live_pages()
    return Settle(_SETTLED[standing], note, queues_job or _is_to_confirm(task, entry, is_end=is_end))


def _is_to_confirm(task: Task, entry: Entry, *, is_end: bool) -> bool:
    """True if the incident's end has to be confirmed with BigPanda: a forged resolve must not end an open incident.

    This is so if a resolve that is not announced ends an open state, or if an unconfirmed resolve superseded this open
    state.
    """
    if not (task.is_live and task.channel.confirms_ends):
        return False
    silences = is_end and entry.newest is not None and entry.newest.is_open
    return silences or (task.state.is_open and entry.is_end_in_doubt)


def _clears_debt(task: Task, entry: Entry) -> bool:
    """True if the entry records a debt for this announced state, which only this job can clear."""
    return not task.is_live and entry.debt.since is not None and task.state.is_of_same_share(entry.newest)


def _wait(task: Task, entry: Entry, now: float) -> Wait | None:
    """Return the wait that the state's job and entry ask for; None if it may be sent now."""
    if task.quiet_until > now:
        return Wait(Reason.FLAPPING, task.quiet_until)
    if task.hold:
        return task.hold
    # The lease may be this sender's own: its claim was written, and DynamoDB's answer was lost.
    if entry.lease and entry.is_busy(now) and entry.lease.owner != task.owner:
        return Wait(Reason.IN_FLIGHT, entry.lease.until + 1)
    if entry.debt.rests_until > now and entry.may_have_paged(task.state):
        return Wait(Reason.IN_FLIGHT, entry.debt.rests_until + WAKE_MARGIN_SECONDS)
    least = task.channel.policy.min_seconds_between_signals
    moment = earliest_send_time(entry, task.change.transition, least) if task.change else 0.0
    if moment > now:
        return Wait(Reason.PACED, moment)
    slot = entry.debt.slot
    if slot and slot.at > now + 1 and not task.ticket and (slot.urgent or not task.state.is_critical):
        return Wait(Reason.PACED, slot.at, slot)
    return None


def _only_acknowledger(task: Task, entry: Entry) -> str | None:
    """Return the acknowledger if only they need this signal (nothing worsened or reopened), else None.

    The state is compared with every state that may have been announced.
    """
    change = task.change
    if change is None or not task.channel.is_quiet:
        return None
    changes = [change, *(compare(state, task.state) for state in entry.maybe_announced())]
    for_everybody = _FOR_EVERYBODY - {Transition.WORSENED} if _is_known_as_bad(task, entry) else _FOR_EVERYBODY
    is_calm = all(each.transition not in for_everybody for each in changes)
    return entry.acknowledged_by if is_calm else None


def _is_known_as_bad(task: Task, entry: Entry) -> bool:
    """True if the policy has a rule for flaps, and the state is no worse than the one that was acknowledged."""
    rank = task.state.rank
    return task.channel.policy.flap is not None and rank is not None and rank <= entry.acknowledged_rank
