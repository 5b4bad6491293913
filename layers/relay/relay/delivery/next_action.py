"""Next action for a state: send, wait, settle, dead-letter. It follows from the incident's ledger entry. Pure code.

The checks run in this order: is the state announced or queued already, is it superseded, is its transition in the
policy, is it a resolve that BigPanda has to confirm first, may it be sent now.
"""

from copy import replace

from relay.delivery.actions import Action, DeadLetter, Revive, Send, Settle
from relay.delivery.incident_rate_limit import earliest_send_time, room_for_signals
from relay.delivery.needs_signal import Standing, judge_change, judge_job, judge_share, with_superseded_ease
from relay.delivery.task import Task
from relay.failures.reasons import Reason
from relay.incidents.transition import State, Transition, compare
from relay.jobs.job import seconds_of, timestamp
from relay.jobs.outbox import question_job
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
    """Return the task, the entry, and the next action. `now` is in epoch seconds.

    The task takes over the attempts that the ledger entry counted for the task's state. If that state has no timestamps
    of its own, it also takes over those of the entry's newest state. The entry's memory of flapping is updated. If the
    entry's newest state is better than the announced one and needs no signal any more, that is recorded in the entry
    (see `with_superseded_ease`).

    | the state | action |
    | --- | --- |
    | is a new resolve from the webhook, and BigPanda can be asked if it is true | Settle, and ask BigPanda |
    | is announced, queued or superseded, or its transition is not in the policy | Settle |
    | is dead-lettered, and this job is not its replay | Settle |
    | is owed, and its job was replayed from the dead-letter queue, which the entry does not record yet | Revive |
    | is owed, but expired, or its channel was removed or is in shadow mode | DeadLetter |
    | is owed, but the channel is paused | Wait until the end of the pause, or Settle if the pause drops it |
    | is owed, but its incident flaps, and it is no worse than any state that may have been announced | Wait |
    | is owed, but BigPanda is asked if its incident is over | Wait, for a minute at most |
    | is owed, but its job asks for a wait, or the rate limiter reserved a later slot for it | Wait |
    | is owed, but is leased by another sender, was just sent ambiguously, or follows a signal too closely | Wait |
    | is owed | Send |
    """
    state, notify_on = _state_after_newest(task, entry), task.channel.policy.notify_on
    if entry.debt.since is not None:
        entry = with_superseded_ease(entry, state, notify_on)
    task, standing = _judged(task, entry, state)
    if _is_claim(task, entry, standing):
        return _explained(task, "BigPanda is asked first"), entry, _claimed(task, entry, now)
    task, entry = _flapping(task, entry, standing, now)
    action = _action(task, entry, standing, now)
    is_left_out = standing == Standing.OWED and isinstance(action, Settle)
    return (_explained(task, "left out: the channel is paused") if is_left_out else task), entry, action


def _action(task: Task, entry: Entry, standing: Standing, now: float) -> Action:
    if standing != Standing.OWED:
        return _settled(task, entry, standing)
    if _is_to_revive(task, entry):
        return Revive(entry.reviving(task.state, task.job.age_counts_from))
    if task.own_wait and task.must_be_dead_lettered:
        return DeadLetter(task.own_wait.reason)
    if task.pauses and (pause := task.pause(now)):
        owed_since = task.state.came if entry.debt.since is None else min(task.state.came, entry.debt.since)
        # A pause that keeps states may end before one that drops them. States that were kept stay kept.
        is_postponed = pause.postpones(owed_since) or entry.debt.paused_until > 0
        if is_postponed:
            return Wait(Reason.PAUSED, pause.until, paused_by=pause.id)
        return _settled(task, entry, Standing.UNCHANGED)
    if wait := _wait(task, entry, now):
        return wait
    max_attempts = max(1, min(MAX_ATTEMPTS, room_for_signals(entry, now))) if task.is_from_webhook else 1
    return Send(max_attempts, _only_acknowledger(task, entry) if entry.acknowledged_by else None)


def _judged(task: Task, entry: Entry, state: State) -> tuple[Task, Standing]:
    """Return the task, updated from the entry, and the standing of its state: owed, duplicate, superseded and so on.

    `state` is the task's state, ordered after the entry's newest one.
    """
    notify_on = task.channel.policy.notify_on
    if _is_recorded_by_copy(task, entry):
        judgement = judge_change(entry, state, notify_on)
    elif task.is_from_webhook:
        judgement = judge_share(entry, state, notify_on, is_stamped=task.is_stamped)
    else:
        judgement = judge_job(entry, state, notify_on, dead_lettered_at=task.job.revival.dead_lettered_seconds)
    job = task.job
    attempts = max(job.failures.attempts, entry.debt.attempts if state.is_of_same_share(entry.newest) else 0)
    payload = replace(
        job.payload,
        transition=judgement.change.transition if judgement.change else job.payload.transition,
        version=state.version,
        digest=state.digest,
        has_borrowed_version=state.has_borrowed_version,
    )
    received_at = job.received_at if state is task.state else timestamp(state.came)
    failures = replace(job.failures, attempts=attempts)
    job = replace(job, received_at=received_at, payload=payload, failures=failures)
    is_first = task.is_first or entry.sequence == 0
    task = replace(task, state=state, change=judgement.change, job=job, is_first=is_first)
    return _revived_by(task, entry), judgement.standing


def _flapping(task: Task, entry: Entry, standing: Standing, now: float) -> tuple[Task, Entry]:
    """Update the entry's memory of flapping by the task's state, and return the task and the entry.

    An incident flaps if it changes as often as the policy's rule says, or if BigPanda says so. Without a rule, the
    memory is cleared. The returned task says if the incident flaps, and until when its state is not announced.
    """
    rule = task.channel.policy.flap
    if rule is None:
        return task, entry if entry.flap == Flap() else replace(entry, flap=Flap())
    if standing in {Standing.OWED, Standing.UNCHANGED} and not task.state.is_same(entry.newest):
        flap = entry.flap.after_state(entry.newest, task.state, rule, is_flagged=task.is_flagged)
        entry = replace(entry, flap=flap)
    task = replace(task, is_flapping=entry.flap.calm_at > now, quiet_until=entry.quiet_until(task.state))
    if task.is_flapping and task.change:
        task = replace(task, change=replace(task.change, why=f"{task.change.why}; it flaps"))
    # The state's age counts from the end of its quiet time, which the job does not know.
    return task.without_early_expiry(), entry


def _state_after_newest(task: Task, entry: Entry) -> State:
    """Return the task's state, ordered after the newest state of its ledger entry in spite of clock skew.

    A new share's state may have no timestamps. Then it takes over those of the entry's newest state, so that an older
    share that comes late does not count as newer. For a queued job, that was done before it was queued, unless the
    ledger failed then. It is done now if the ledger has timestamps that the job lacks, or later ones.
    """
    newest = entry.newest
    if newest and _is_recorded_by_copy(task, entry):
        # The entry stores its newest state without alerts.
        return replace(newest, alerts=task.state.alerts)
    if newest is None:
        return task.state
    if not task.is_from_webhook or task.is_queued:
        return task.state.with_version_of(newest) if _inherits_later_version(task.state, newest) else task.state
    state = replace(task.state, came=max(task.state.came, seconds_of(timestamp(newest.came + 0.001))))
    if task.is_stamped or newest.version is None:
        return state
    return state.with_version_of(newest)


def _inherits_later_version(state: State, newest: State) -> bool:
    """True if a queued state without timestamps of its own has to take over those of the ledger's newest state.

    `newest` is that stored state. It came before the queued state, but was recorded after the queued state was put on
    the queue, or could not be read then. So it has timestamps that the queued state does not know yet.
    """
    if newest.version is None or state.precedes(newest):
        return False
    return state.version is None or (state.has_borrowed_version and state.version < newest.version)


def _is_recorded_by_copy(task: Task, entry: Entry) -> bool:
    """True if another function got a copy of this share, had to wait, and recorded the share's state as owed.

    This sender has the rate limiter's permission to send now (`task.ticket`), so it sends the state. The other
    function's copy waits for a later slot.
    """
    return task.ticket is not None and entry.debt.since is not None and task.state.is_same(entry.newest)


def _is_to_revive(task: Task, entry: Entry) -> bool:
    """True if the job was replayed from the dead-letter queue, and the entry does not record that yet."""
    job = task.job.revival
    return (
        job.revived_at is not None
        and job.is_revived
        and job.dead_lettered_seconds is not None
        and job.dead_lettered_seconds > entry.dead_letter.revived_at
    )


def _revived_by(task: Task, entry: Entry) -> Task:
    """Return the task, updated if another message brought its state back from the dead-letter queue.

    The age of the state counts from then.
    """
    at = entry.dead_letter.revived_at
    if not at or not task.state.is_of_same_share(entry.newest) or _is_to_revive(task, entry):
        return task
    revived = replace(task, job=replace(task.job, revival=replace(task.job.revival, revived_at=timestamp(at))))
    own_wait = task.own_wait
    if own_wait and own_wait.reason == Reason.EXPIRED and own_wait.until - at <= task.channel.policy.max_age_seconds:
        # Another message of the same state has expired by its own age. The revived state has not.
        return replace(revived, own_wait=None)
    return revived


def _explained(task: Task, why: str) -> Task:
    """Return the task with the text `why` added to the explanation of its state's transition."""
    if task.change is None:
        return task
    return replace(task, change=replace(task.change, why=f"{task.change.why}; {why}"))


def _is_claim(task: Task, entry: Entry, standing: Standing) -> bool:
    """True if the state is a resolve that BigPanda has to be asked about before anything is done with it.

    Whoever has the webhook's token can forge a resolve. A job from the queue can have such a resolve, too: the webhook
    queued it, since the ledger failed or another sender changed the entry.
    """
    is_news = standing in {Standing.OWED, Standing.UNCHANGED} and not task.state.is_same(entry.newest)
    return is_news and task.needs_question


def _claimed(task: Task, entry: Entry, now: float) -> Settle:
    """Return the action for a claimed resolve: record it, leave the incident as it is, and have BigPanda asked.

    One job asks BigPanda about the resolves of an incident that come within a short time.
    """
    state, end = task.state, entry.end
    version = None if state.has_borrowed_version else state.version
    if end.has_refuted(version):
        return Settle(Outcome.SUPERSEDED)
    note = entry.claiming(state)
    question = question_job(task.job, now) if end.begins_claim(state.came) else None
    return Settle(Outcome.QUEUED, None if note == entry else note, question, queue="ledger")


def _settled(task: Task, entry: Entry, standing: Standing) -> Settle:
    if standing == Standing.DEAD_LETTERED:
        return Settle(Outcome.QUEUED, queue="dead_letter")
    note = None
    if standing == Standing.UNCHANGED and not (task.state.is_of_same_share(entry.newest) and not entry.debt.since):
        note = entry.unchanged(task.state)
    elif standing == Standing.DUPLICATE and _clears_debt(task, entry):
        note = replace(entry, debt=entry.debt.settled())
    is_end = task.is_from_webhook and not task.state.is_open and note is not None
    ends_pages = is_end and task.channel.rest is not None and entry.has_live_pages()
    return Settle(_SETTLED[standing], note, task.job if ends_pages else None)


def _clears_debt(task: Task, entry: Entry) -> bool:
    """True if the entry still records this announced state as owed, and only this job can clear that record."""
    return not task.is_from_webhook and entry.debt.since is not None and task.state.is_of_same_share(entry.newest)


def _wait(task: Task, entry: Entry, now: float) -> Wait | None:
    """Return the wait that the state's job or its incident's entry asks for; None if it may be sent at `now`."""
    if task.quiet_until > now:
        return Wait(Reason.FLAPPING, task.quiet_until)
    if (hold := entry.claim_hold(task.state)) > now:
        return Wait(Reason.CLAIMED, hold)
    if task.own_wait:
        return task.own_wait
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
    if slot and slot.at > now + 1 and not task.ticket and (slot.is_critical or not task.state.is_critical):
        return Wait(Reason.PACED, slot.at, slot)
    return None


def _only_acknowledger(task: Task, entry: Entry) -> str | None:
    """Return the acknowledger's name if the signal is for them only; None if it is for all recipients.

    It is for all if the incident opened, worsened or reopened against any state that may have been announced.
    """
    change = task.change
    if change is None or not task.channel.signals_acknowledger_only:
        return None
    changes = [change, *(compare(state, task.state) for state in entry.maybe_announced())]
    for_everybody = _FOR_EVERYBODY - {Transition.WORSENED} if _is_known_as_bad(task, entry) else _FOR_EVERYBODY
    is_calm = all(each.transition not in for_everybody for each in changes)
    return entry.acknowledged_by if is_calm else None


def _is_known_as_bad(task: Task, entry: Entry) -> bool:
    """True if the person who acknowledged the incident knows a state that is at least as bad as this one.

    Then a signal of the worsened incident can be for the acknowledger only. Always False if the policy has no rule for
    flaps.
    """
    rank = task.state.rank
    return task.channel.policy.flap is not None and rank is not None and rank <= entry.acknowledged_rank
