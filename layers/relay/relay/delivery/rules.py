"""The next step for a state: one table of rules, of which the first that applies decides. Pure code.

docs/architecture.md shows RULES, and HOLDS: the reasons for which an owed state may wait.
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from copy import replace
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from relay.channels.policy import Mode
from relay.delivery.task import Task
from relay.failures import AMBIGUOUS_WAIT_SECONDS, MAX_ATTEMPTS, Reason
from relay.incidents.share import Change, State, Transition, compare
from relay.jobs.job import Flag, Job, seconds_of, timestamp
from relay.jobs.queue import question_job
from relay.jobs.result import Outcome
from relay.ledger.debt import MAX_BEGUN, Wait
from relay.ledger.entry import About, Acknowledgement, Entry, Flap

if TYPE_CHECKING:
    from relay.channels.routes import Pause

# Upper bound of the difference of two functions' clocks. AWS keeps them far closer.
CLOCKS_DIFFER_SECONDS = 0.7
_WORSE = frozenset({Transition.WORSENED, Transition.REOPENED})
_AS_ANNOUNCED = frozenset({Transition.TOUCHED, Transition.GREW})


class Standing(StrEnum):
    """Standing of a state: its relation to its incident's ledger entry.

    Attributes:
        OWED: The policy says to announce the state: for the first time, again, or to further recipients.
        DUPLICATE: The same state came before, and is announced or queued.
        SUPERSEDED: A newer state of the incident is announced or queued.
        UNCHANGED: Nothing to announce: `notify_on` of the policy lacks the transition of the state.
        REPLACED: The state is owed, but another message wakes it: a later one, or its replay from the dead-letter
            queue.
    """

    OWED = "owed"
    DUPLICATE = "duplicate"
    SUPERSEDED = "superseded"
    UNCHANGED = "unchanged"
    REPLACED = "replaced"


class Judgement(NamedTuple):
    """Standing of a state, and its `change` against a state that may have been announced.

    `change` is None if the standing was clear without a comparison.
    """

    standing: Standing
    change: Change | None = None


def judge_share(entry: Entry, state: State, notify_on: AbstractSet[Transition]) -> Judgement:
    """Return the standing of a new share's state: DUPLICATE, SUPERSEDED, or else by its change (`judge_change`).

    `notify_on` has the transitions that the policy announces. A share without timestamps is never a duplicate: the
    incident may have changed and come back in between.
    """
    if state.has_own_version and _is_late_copy(entry, state):
        return Judgement(Standing.DUPLICATE)
    if state.precedes(entry.announced) or state.precedes(entry.newest):
        return Judgement(Standing.SUPERSEDED)
    return judge_change(entry, state, notify_on)


def judge_job(
    entry: Entry, state: State, notify_on: AbstractSet[Transition], *, plan: int, dead_lettered_at: float | None
) -> Judgement:
    """Return the standing of the state of a job from the queue. `notify_on` has the transitions to announce.

    `plan` is the number of the job's message. `dead_lettered_at` is when this job was dead-lettered last (epoch
    seconds); None for never. An owed state is REPLACED in two cases:

    - The state is not dead-lettered, and the entry has a number for it that is higher than `plan`.
    - The state is dead-lettered, and this job is not the one that was dead-lettered last.
    """
    is_announced = _is_announced(entry, state)
    # An announced state is owed again if the incident eased meanwhile, or if another state may have been announced.
    is_owed = entry.debt.is_owed or entry.debt.is_given_up
    is_owed_anew = is_owed and state.is_of_same_share(entry.newest)
    if is_announced and not entry.eased and not is_owed_anew:
        return Judgement(Standing.DUPLICATE)
    if not state.is_of_same_share(entry.newest) and (
        state.precedes(entry.announced) or state.precedes(entry.newest) or _is_simultaneous_copy(entry, state)
    ):
        return Judgement(Standing.DUPLICATE if is_announced else Standing.SUPERSEDED)
    is_replay = dead_lettered_at is not None and dead_lettered_at >= entry.debt.dead_lettered_at
    is_last = is_replay if entry.debt.is_given_up else plan >= entry.debt.plan
    if is_owed_anew and not is_last:
        return Judgement(Standing.REPLACED)
    judgement = judge_change(entry, state, notify_on)
    is_news = judgement.standing == Standing.OWED or not is_announced
    return judgement if is_news else Judgement(Standing.DUPLICATE)


def judge_change(entry: Entry, state: State, notify_on: AbstractSet[Transition]) -> Judgement:
    """Judge a state by its change: OWED if `notify_on` (the policy's) has the transition, else UNCHANGED.

    The state is compared with each state that may have been announced. A worsening from a better state that was not
    announced (`entry.eased`) counts, too. So a critical is owed after such a warning, although an earlier critical was
    announced.
    """
    changes = [compare(announced, state) for announced in entry.maybe_announced()]
    if entry.eased is not None:
        from_eased = compare(entry.eased, state)
        if entry.is_snooze_over and state.is_open:  # an announced critical whose snooze in BigPanda is over
            from_eased = Change(Transition.REOPENED, "its snooze is over")
        if from_eased.transition in _WORSE:
            changes.append(from_eased)
    wanted = [change for change in changes if change.transition in notify_on]
    if not wanted:
        return Judgement(Standing.UNCHANGED, changes[0])
    # What worsened for anybody is for everybody, and the most urgent.
    return Judgement(Standing.OWED, next((each for each in wanted if each.transition in _WORSE), wanted[0]))


def with_superseded_ease(entry: Entry, state: State, notify_on: AbstractSet[Transition]) -> Entry:
    """Return the entry, with its newest state kept as `eased` if that is needed before `state` replaces it.

    It is needed if the newest state is better than the announced one and recorded as owed, but `notify_on` no longer
    has its transition. Without `eased`, a `state` as bad as the announced one would not be announced.
    """
    newest = entry.newest
    if newest is None or not entry.debt.is_owed or not newest.precedes(state) or not entry.is_eased_by(newest):
        return entry
    is_owed = judge_change(entry, newest, notify_on).standing == Standing.OWED
    return entry if is_owed else replace(entry, eased=newest.without_alerts())


def was_shared(entry: Entry, state: State, now: float) -> bool:
    """True if no share is missing for the `state` that BigPanda's API shows. `now` is in epoch seconds.

    That is so in each of these cases:

    - A share has brought this state, or a newer one.
    - A signal of the incident is being sent at `now`.
    - The newest state has the same status, and is owed or dead-lettered.
    """
    newest = entry.newest
    if entry.is_busy(now):
        return True
    if newest is None:
        return False
    is_alike = (newest.is_open, newest.rank) == (state.is_open, state.rank)
    if newest.version and state.version:
        updated_at, changed_at = state.version
        # An update that changes nothing, such as an assignment, needs no share.
        if state.version <= newest.version or (is_alike and (changed_at or updated_at) <= newest.version[0]):
            return True
    return is_alike and (entry.debt.is_owed or entry.debt.is_given_up)


def _is_announced(entry: Entry, state: State) -> bool:
    """True if the state is the announced one."""
    announced = entry.announced
    if announced is None or not state.is_same(announced):
        return False
    # Without timestamps, an equal state that arrived later is new: the incident may have changed in between.
    return state.has_own_version or not announced.precedes(state)


def _is_simultaneous_copy(entry: Entry, state: State) -> bool:
    """True if the state was seen with the newest state's timestamps, and came slightly later at most."""
    newest = entry.newest
    # Both copies may be queued: the entry's arrival time may be the other copy's.
    return newest is not None and entry.has_seen(state) and state.came < newest.came + CLOCKS_DIFFER_SECONDS


def _is_late_copy(entry: Entry, state: State) -> bool:
    """True if the same state arrived before, with the timestamps of the newest state, and is no worse than that."""
    # Timestamps have whole seconds: the incident may have become worse again within one.
    return entry.has_seen(state) and entry.newest is not None and not state.is_worse_than(entry.newest)


# xMatters' flood control silently drops signals above 4 in a minute (docs/vendors.md, "Flood control"). One second more
# covers the difference of two functions' clocks.
FLOOD_CONTROL_SIGNALS = 4
FLOOD_CONTROL_SECONDS = 61.0
# Transitions that ignore `min_seconds_between_signals`: more urgent, for other people, or the on-call person can stop
# working.
_UNSPACED = frozenset({Transition.WORSENED, Transition.RESOLVED, Transition.UNANSWERED})


def earliest_send_time(entry: Entry, transition: Transition, min_seconds: float) -> float:
    """Return the earliest time of the incident's next signal (epoch seconds). A time in the past, or 0, means at once.

    xMatters' flood control permits 4 signals in a minute. The policy keeps signals `min_seconds` apart, except for a
    worsening, a resolve, and a signal to `unanswered_recipients`.
    """
    since_last = entry.signal_times[-1] + min_seconds if entry.signal_times and transition not in _UNSPACED else 0.0
    if len(entry.signal_times) < FLOOD_CONTROL_SIGNALS:
        return since_last
    return max(since_last, entry.signal_times[-FLOOD_CONTROL_SIGNALS] + FLOOD_CONTROL_SECONDS)


def room_for_signals(entry: Entry, now: float) -> int:
    """Return how many signals of this incident xMatters' flood control lets pass now; zero or less for none."""
    return FLOOD_CONTROL_SIGNALS - sum(now - time < FLOOD_CONTROL_SECONDS for time in entry.signal_times)


# Longest time between two attempts to record a signal that was sent without the ledger.
MAX_CATCH_UP_SECONDS = 30.0
# The wait after an ambiguous send ends this much before its job wakes, so that the job does not wake too early.
WAKE_MARGIN_SECONDS = 2.0
_FOR_EVERYBODY = frozenset({Transition.OPENED, Transition.WORSENED, Transition.REOPENED})


class Settle(NamedTuple):
    """Action: send nothing. The state is announced, queued, dead-lettered or superseded already, or changes nothing.

    Attributes:
        note: Ledger entry to write; None to write nothing.
        question: Job to queue, which asks BigPanda if the incident is over; None for none.
        queue: Place where the state waits: `retry`, `dead_letter`, or `ledger` if BigPanda must confirm a resolve; None
            if nowhere.
    """

    outcome: Outcome
    note: Entry | None = None
    question: Job | None = None
    queue: str | None = None


class DeadLetter(NamedTuple):
    reason: Reason


class Send(NamedTuple):
    """Action: send a signal, unless the channel's rate limit or circuit breaker makes it wait.

    Attributes:
        max_attempts: Largest number of attempts now, before the state waits again.
        only: The only recipients: the acknowledger, or further recipients. Empty for all recipients.
    """

    max_attempts: int
    only: tuple[str, ...] = ()


type Action = Settle | DeadLetter | Wait | Send


class Case(NamedTuple):
    """A state, and all that decides on its action. `now`: epoch seconds; `pause`: one that applies now, or None."""

    task: Task
    entry: Entry
    standing: Standing
    now: float
    pause: "Pause | None" = None


class Rule(NamedTuple):
    """Rule about the next action for a state. Of all RULES, the first that applies decides.

    Attributes:
        why: The condition of the rule and the reason for its action, in words.
        phase: Situation of the state after the action, for the diagram in docs/architecture.md, such as `owed` or
            `idle`, with a condition if there is one.
        action: Returns the action; None if the rule does not apply.
    """

    name: str
    why: str
    phase: str
    action: Callable[[Case], Action | None]


class Hold(NamedTuple):
    """Possible reason for an owed state to wait. `until` returns the end (epoch seconds); past if it need not wait."""

    reason: Reason
    why: str
    until: Callable[[Case], float]


def step(task: Task, entry: Entry, now: float) -> tuple[Task, Entry, Action]:
    """Decide on the next action for a state. Return the updated task and entry, and the action. `now`: epoch seconds.

    The task gets what the entry knows of its state, such as the number of attempts. The entry gets what the share says
    besides its state (`described`), and the replay of a dead-lettered state. The entry gets nothing of a resolve that
    BigPanda has to confirm, since the resolve may be forged.
    """
    state, notify_on = _state_after_newest(task, entry), task.channel.policy.notify_on
    entry = with_superseded_ease(entry, state, notify_on)
    task, standing = _judged(task, entry, state)
    if claimed := _claimed(Case(task, entry, standing, now)):
        return _explained(task, "BigPanda is asked first"), entry, claimed
    task, entry = _flapping(task, described(entry, task), standing, now)
    if standing == Standing.OWED and _is_to_revive(task, entry):
        entry = entry.reviving(task.state, task.job.age_counts_from, task.job.plan)
    case = Case(task, entry, standing, now, task.pause(now) if task.pauses else None)
    rule, action = next((rule, action) for rule in RULES[1:] if (action := rule.action(case)))
    task = _explained(task, "left out: the channel is paused") if rule.action is _left_out else task
    return task, entry, action


def with_end(task: Task, entry: Entry, action: Action) -> Entry:
    """Return the entry with which the action begins: if the state is a resolve, its incident's pages end now.

    They do not wait until xMatters accepts the resolve, but until a flapping incident is calm.
    """
    if isinstance(action, Settle):
        return action.note or entry
    # A signal that is in flight may tell people that the incident flaps.
    awaits_calm = isinstance(action, Wait) and task.is_flapping and action.reason in {Reason.FLAPPING, Reason.IN_FLIGHT}
    # Without access to xMatters' REST API no page can be ended.
    if task.state.is_open or task.channel.rest is None or awaits_calm or task.state.precedes(entry.newest):
        return entry
    return entry.ended_unannounced(task.state)


def hold(case: Case) -> Wait | None:
    """Return the wait until all holds (HOLDS) on the state are over; None if nothing holds the state."""
    latest, until = max(((each, each.until(case)) for each in HOLDS), key=lambda each: each[1])
    return Wait(latest.reason, until) if until > case.now else None


def _judged(task: Task, entry: Entry, state: State) -> tuple[Task, Standing]:
    """Return the updated task, and the standing of `state`: the task's state, ordered after the newest one."""
    notify_on = task.channel.policy.notify_on
    if task.is_from_webhook and task.final_failure is None:
        judgement = judge_share(entry, state, notify_on)
    else:
        dead_lettered_at = task.job.dead_lettered_seconds
        judgement = judge_job(entry, state, notify_on, plan=task.job.plan, dead_lettered_at=dead_lettered_at)
    others = task.channel.policy.unanswered_recipients
    recipients, further = task.own_recipients, tuple[str, ...]()
    if found := _further(task, entry, state, judgement.standing):
        judgement, further = Judgement(Standing.OWED, found[0]), found[1]
    elif _is_owed_to_gone(task, entry, state, judgement.standing):
        # Without a change: the job keeps the transition that tells of the late tag.
        judgement = Judgement(Standing.OWED)
    elif others and judgement.standing == Standing.OWED and entry.awaits_others(state):
        # What is owed to all takes the place of the signal to further recipients.
        recipients = task.channel.fitting((*recipients, *others))
    task = replace(task, recipients=recipients)
    job, change, debt = task.job, judgement.change, entry.debt
    if debt.attempts > job.stamps.attempts and state.is_of_same_share(entry.newest):
        job = job.stamped(attempts=debt.attempts)
    if state is not task.state:
        job = replace(job, received_at=timestamp(state.came), version=state.version, digest=state.digest)
        job = job.with_flags(Flag.BORROWED_VERSION) if state.has_borrowed_version else job
    if change:
        job = replace(job, stamps=replace(job.stamps, transition=change.transition))
    is_first = task.is_first or entry.sequence == 0
    task = replace(task, state=state, change=change, job=job, further=further, is_first=is_first)
    return _revived_by(task, entry), judgement.standing


def _is_owed_to_gone(task: Task, entry: Entry, state: State, standing: Standing) -> bool:
    """True if an announced state is owed to further recipients whom only its channel could name, and that is gone.

    `_further` can't tell, since such a channel names nobody. The state is dead-lettered then, so that a replay rings.
    """
    is_known = task.final_failure is not None and standing in {Standing.DUPLICATE, Standing.UNCHANGED}
    return is_known and state.is_open and entry.acknowledgement is None and _is_own_debt(task, entry, state)


def _further(task: Task, entry: Entry, state: State, standing: Standing) -> tuple[Change, tuple[str, ...]] | None:
    """Return the change to announce to further recipients alone, and these; None if the state is not owed to them."""
    is_own_debt = standing == Standing.DUPLICATE and _is_own_debt(task, entry, state)
    if not state.is_open or not (standing == Standing.UNCHANGED or is_own_debt):
        return None
    late, others = _rerouted(task, entry, state), task.channel.policy.unanswered_recipients
    if others and entry.awaits_others(state) and not task.share.snoozed:
        change = Change(Transition.UNANSWERED, "nobody is known to have heard of it")
        return change, task.channel.fitting((*late, *others))
    return (Change(Transition.REROUTED, "its route names further recipients"), late) if late else None


def _rerouted(task: Task, entry: Entry, state: State) -> tuple[str, ...]:
    """Return the recipients whom a late tag brings in: a route names them, and no signal of the incident had them.

    The incident must be as announced, since a route by status is no late tag. A state from BigPanda's API is not routed
    anew, since its tags may have other names there.
    """
    policy, signals, announced = task.channel.policy, entry.open_signals, entry.announced
    is_routed = task.route is not None and not task.route.is_undecided and Flag.FOUND not in task.job.flags
    is_quiet = entry.acknowledgement is not None and task.channel.signals_acknowledger_only
    # Without `signals`, their recipients are unknown, and nobody is to be signalled again.
    if not is_routed or not signals or is_quiet or task.share.snoozed:
        return ()
    came = entry.debt.earliest_since(state.came)
    if came - signals[-1].at > policy.reroute_within_seconds or not policy.reroute_within_seconds:
        return ()
    if announced is None or announced.came > signals[-1].at + CLOCKS_DIFFER_SECONDS:
        return ()
    if task.state.rank is None and announced.rank is not None:
        return ()
    if any(compare(known, state).transition not in _AS_ANNOUNCED for known in entry.maybe_announced()):
        return ()
    return tuple(name for name in task.recipients if not any(each.is_for(name) for each in signals))


def described(entry: Entry, task: Task) -> Entry:
    """Return the entry with what the share says besides its state: title, environment, facts, and if it is snoozed.

    A title or environment that the share lacks stays. Facts, the values that routes and pauses ask about, stay if the
    share is from BigPanda's API. A snooze ends the entry's receipt: no answer is awaited.
    """
    known, own = entry.about, task.about
    is_silent = Flag.FOUND in task.job.flags or task.final_failure is not None
    facts = known.facts if is_silent else own.facts
    about = About(own.title or known.title, own.environment_id or known.environment_id, facts)
    receipt = entry.receipt.snoozed(task.state.came) if task.share.snoozed else entry.receipt
    return replace(entry, about=about, receipt=receipt)


def _flapping(task: Task, entry: Entry, standing: Standing, now: float) -> tuple[Task, Entry]:
    """Update the entry's memory of flapping by the task's state, and return the task and the entry."""
    rule = task.channel.policy.flap
    if rule is None:
        return task, replace(entry, flap=Flap())
    if standing in {Standing.OWED, Standing.UNCHANGED} and not task.state.is_same(entry.newest):
        flap = entry.flap.after_state(entry.newest, task.state, rule, is_flagged=task.share.flapping is True)
        entry = replace(entry, flap=flap)
    quiet_until = 0.0 if _is_for_others(task, entry) else entry.quiet_until(task.state)
    task = replace(task, is_flapping=entry.flap.calm_at > now, quiet_until=quiet_until)
    if task.is_flapping and task.change:
        task = replace(task, change=replace(task.change, why=f"{task.change.why}; it flaps"))
    return task, entry


def _state_after_newest(task: Task, entry: Entry) -> State:
    """Return the task's state, ordered after the newest state of its ledger entry in spite of clock skew.

    A state without timestamps takes over those of the newest state, so that an older share that comes late does not
    count as newer.
    """
    newest, state = entry.newest, task.state
    if newest is None:
        return state
    state = state.with_status_of(newest)
    # Before it was queued, a queued state did as below, unless the ledger failed then.
    if task.is_on_queue or task.final_failure:
        return state.with_version_of(newest) if _inherits_later_version(state, newest) else state
    state = replace(state, came=max(state.came, seconds_of(timestamp(newest.came + 0.001))))
    if state.has_own_version or newest.version is None:
        return state
    return state.with_version_of(newest)


def _inherits_later_version(state: State, newest: State) -> bool:
    """True if a queued state has to take over the newest state's timestamps, which came before it but were unknown."""
    if newest.version is None or state.precedes(newest):
        return False
    # The newest state was recorded later than the queued one, or could not be read then.
    return state.version is None or (state.has_borrowed_version and state.version < newest.version)


def _is_to_revive(task: Task, entry: Entry) -> bool:
    """True if the job was replayed from the dead-letter queue, and the entry does not record that yet."""
    at = task.job.dead_lettered_at
    return at is not None and task.job.is_revived and seconds_of(at) > entry.debt.revived_at


def _revived_by(task: Task, entry: Entry) -> Task:
    """Return the task. If the replay of another message revived its state, the age counts from then."""
    at = entry.debt.revived_at
    if at <= task.job.age_counts_from or not task.state.is_of_same_share(entry.newest):
        return task
    return replace(task, job=replace(task.job, revived_at=timestamp(at)))


def _explained(task: Task, why: str) -> Task:
    if task.change is None:
        return task
    return replace(task, change=replace(task.change, why=f"{task.change.why}; {why}"))


def _claimed(case: Case) -> Settle | None:
    """Return the action for a claimed resolve: record it, and ask BigPanda once about all resolves that come soon."""
    task, entry, state = case.task, case.entry, case.task.state
    is_news = case.standing in {Standing.OWED, Standing.UNCHANGED}
    if not is_news or state.is_open or state.is_same(entry.newest) or not task.needs_question:
        return None
    if entry.end.has_refuted(state.version if state.has_own_version else None):
        return Settle(Outcome.SUPERSEDED)
    note = entry.claiming(state)
    question = question_job(task.job, case.now) if entry.end.begins_claim(state.came) else None
    return Settle(Outcome.QUEUED, None if note == entry else note, question, queue="ledger")


def _is_left_out(case: Case) -> bool:
    """True if a pause leaves the state out. Pauses may overlap: a state that one pause kept stays kept."""
    pause, debt = case.pause, case.entry.debt
    if pause is None:
        return False
    return not pause.postpones(debt.earliest_since(case.task.state.came)) and not debt.paused_until


def _replaced(case: Case) -> Settle | None:
    if case.standing != Standing.REPLACED:
        return None
    return Settle(Outcome.QUEUED, queue="dead_letter" if case.entry.debt.is_given_up else "retry")


def _known(case: Case) -> Settle | None:
    if case.standing not in {Standing.DUPLICATE, Standing.SUPERSEDED}:
        return None
    is_announced_debt = case.standing == Standing.DUPLICATE and _is_own_debt(case.task, case.entry, case.task.state)
    note = replace(case.entry, debt=case.entry.debt.settled()) if is_announced_debt else None
    return Settle(Outcome(case.standing), note)


def _left_out(case: Case) -> Settle | None:
    return _unwanted(case) if _is_left_out(case) else None


def _unwanted(case: Case) -> Settle:
    task, entry = case.task, case.entry
    is_ended = task.state.is_open or not entry.has_live_pages()
    is_recorded = task.state.is_of_same_share(entry.newest) and not entry.debt.since and is_ended
    note = None if is_recorded else entry.unchanged(task.state, is_left_out=case.standing == Standing.OWED)
    return Settle(Outcome.UNCHANGED, note)


def final_reason(task: Task, now: float) -> Reason | None:
    """Return the reason why a state must be dead-lettered at `now` (epoch seconds); None if it need not be.

    For a state in a request from BigPanda, only a `final_failure` counts.
    """
    if task.is_from_webhook or task.final_failure:
        return task.final_failure.reason if task.final_failure else None
    if task.channel.policy.mode is Mode.SHADOW:
        return Reason.SHADOWED
    return Reason.EXPIRED if now > task.expires_at else None


def _given_up(case: Case) -> DeadLetter | None:
    row, job = case.entry.debt.row, case.task.job
    # A bell is counted before it is worked. An older state's attempts do not count.
    begun = row.begun - (Flag.BELL in job.flags) if row and row.job == job.stored_name else 0
    reason = final_reason(case.task, case.now) or (Reason.INTERNAL if begun >= MAX_BEGUN else None)
    if case.entry.debt.reason == Reason.REFUSED and case.task.state.is_of_same_share(case.entry.newest):
        # Its last sender recorded that, and died before it dead-lettered the state, or no queue took it.
        reason = reason or Reason.REFUSED
    return DeadLetter(reason) if reason and not case.entry.is_busy(case.now) else None


def _send(case: Case) -> Send:
    task, entry = case.task, case.entry
    max_attempts = min(MAX_ATTEMPTS, room_for_signals(entry, case.now)) if task.is_from_webhook else 1
    return Send(max_attempts, task.further or _only_acknowledger(task, entry))


def _is_own_debt(task: Task, entry: Entry, state: State) -> bool:
    """True if the entry records the queued state as owed. If it is announced, only its job can end that debt."""
    return not task.is_from_webhook and entry.debt.is_owed and state.is_of_same_share(entry.newest)


def _pause(case: Case) -> float:
    return case.pause.until if case.pause else 0.0


def _flap(case: Case) -> float:
    return case.task.quiet_until


def _claim(case: Case) -> float:
    return case.entry.claim_hold(case.task.state) if case.entry.end.claimed_at else 0.0


def _lease(case: Case) -> float:
    return case.entry.lease.until + 1 if case.entry.lease and case.entry.is_busy(case.now) else 0.0


def _ambiguity(case: Case) -> float:
    # The last signal was this state's, or came after it.
    until = max(case.entry.signal_times, default=0.0) + AMBIGUOUS_WAIT_SECONDS
    is_resting = until - WAKE_MARGIN_SECONDS > case.now and case.entry.may_have_paged(case.task.state)
    return until if is_resting else 0.0


def _record(case: Case) -> float:
    # Once: what waits by the ledger forgets that it failed.
    is_first = Flag.WAITS_FOR_LEDGER in case.task.job.flags
    return case.now + 2 * MAX_CATCH_UP_SECONDS if is_first else 0.0


def _spacing(case: Case) -> float:
    change, policy = case.task.change, case.task.channel.policy
    if change is None:
        return 0.0
    transition = Transition.UNANSWERED if _is_for_others(case.task, case.entry) else change.transition
    return earliest_send_time(case.entry, transition, policy.min_seconds_between_signals)


def _is_for_others(task: Task, entry: Entry) -> bool:
    """True if the signal to all is also the one to `unanswered_recipients`: it waits for neither spacing nor calm."""
    return bool(task.channel.policy.unanswered_recipients) and entry.awaits_others(task.state)


def _slot(case: Case) -> float:
    slot, task = case.entry.debt.slot, case.task
    # A critical does not wait for the slot of a state that was not critical.
    is_own = slot is not None and (slot.is_critical or not task.state.is_critical)
    return slot.at if slot and is_own and slot.at > case.now + 1 else 0.0


def _only_acknowledger(task: Task, entry: Entry) -> tuple[str, ...]:
    """Return the acknowledger's name if the signal is for them only; empty if it is for all recipients."""
    change, known = task.change, entry.acknowledgement
    if change is None or known is None or not task.channel.signals_acknowledger_only:
        return ()
    changes = [change, *(compare(state, task.state) for state in entry.maybe_announced())]
    for_everybody = _FOR_EVERYBODY - {Transition.WORSENED} if _is_known_as_bad(task, known) else _FOR_EVERYBODY
    return (known.by,) if all(each.transition not in for_everybody for each in changes) else ()


def _is_known_as_bad(task: Task, known: Acknowledgement) -> bool:
    """True if the acknowledger knows a state at least as bad as this one. False if the policy has no rule for flaps."""
    rank = task.state.rank
    return task.channel.policy.flap is not None and rank is not None and rank <= known.rank


RULES = (
    Rule(
        "claimed resolve",
        "Whoever has the webhook's token can forge a resolve: BigPanda is asked before anything is done with it.",
        "unchanged",
        _claimed,
    ),
    Rule(
        "replaced message",
        "A later message wakes the state, or the replay of its dead letter: this one is dropped.",
        "unchanged",
        _replaced,
    ),
    Rule(
        "known",
        "The state, or a newer one, is announced or waits already.",
        "unchanged; idle if only this message can end the debt of an announced state",
        _known,
    ),
    Rule(
        "not wanted",
        "The policy does not announce the change. It is recorded, and what was owed before is out of date.",
        "idle",
        lambda case: _unwanted(case) if case.standing == Standing.UNCHANGED else None,
    ),
    Rule(
        "given up",
        "The state is too old, xMatters refused it, its channel was removed or is in shadow mode, or its senders die.",
        "dead; unchanged as long as another sender has the incident's lease",
        _given_up,
    ),
    Rule(
        "left out",
        "The channel is paused, and leaves out what comes in the pause.",
        "idle",
        _left_out,
    ),
    Rule(
        "held",
        "Something lets the state wait: the latest of the holds.",
        "owed",
        hold,
    ),
    Rule(
        "free",
        "Nothing holds the state. The rate limiter and the circuit breaker are asked last, and may hold it, too.",
        "sending",
        _send,
    ),
)

HOLDS = (
    Hold(Reason.PAUSED, "The channel is paused, and keeps what comes in the pause.", _pause),
    Hold(Reason.FLAPPING, "The incident flaps, and the state is no worse than what people know.", _flap),
    Hold(Reason.CLAIMED, "BigPanda is asked if the incident is over: for a minute at most, once for a debt.", _claim),
    Hold(Reason.IN_FLIGHT, "Another sender has the incident's lease.", _lease),
    Hold(Reason.IN_FLIGHT, "The last attempt may have paged: a page needs time to appear.", _ambiguity),
    Hold(Reason.IN_FLIGHT, "The incident rang without the ledger: that signal is recorded first, once.", _record),
    Hold(
        Reason.PACED,
        "Signals of one incident keep a distance, for its people and for xMatters' flood control.",
        _spacing,
    ),
    Hold(Reason.PACED, "The rate limiter reserved a later time for the incident's signal.", _slot),
)
