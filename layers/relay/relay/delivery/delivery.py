"""Delivery of an incident's state to xMatters, for a new share and for a job (queue message) that a worker got.

A loop reads the incident's ledger entry, decides on the next action and performs it, until there is a result. A write
that conflicts with another sender's starts the next pass of the loop (optimistic locking).

One attempt at a signal: queue a message, take the incident's lease, send, record the result. The message is queued
first, so a crash at any point loses nothing.

A debt is an owed state that waits: by a message on the retry queue, a row in the ledger's `due` index, or both.

While the ledger fails, a state waits for it on the retry queue for some time. Three kinds of states are sent without
the ledger ("unguarded"), and recorded afterwards: a critical that just came, a state that waited in vain, and a state
that no queue takes. A page out of order is better than a lost page.
"""

from collections.abc import Callable
from contextlib import suppress
from copy import replace
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.channels.policy import Mode
from relay.delivery.rules import (
    MAX_CATCH_UP_SECONDS,
    Action,
    DeadLetter,
    Send,
    Settle,
    described,
    final_reason,
    step,
    with_end,
)
from relay.delivery.task import UNGUARDED_AFTER_SECONDS, Services, Task, entry_key_of, send_signal, state_of
from relay.failures import HANDLING, LONGEST_WAIT_SECONDS, MAX_ATTEMPTS, LedgerError, Reason, wait_seconds
from relay.incidents.share import State
from relay.jobs.job import Acceptance, Flag, Job, new_job, seconds_of, timestamp
from relay.jobs.queue import (
    FIRST_QUESTION_SECONDS,
    RECOVERY_SECONDS,
    UnreadableMessage,
    followup_job,
    read_envelope,
    recovery_job,
    stored_envelope,
)
from relay.jobs.result import Outcome, Result, SendResult, after_failure
from relay.ledger.debt import FALLBACK_DESCRIPTION, FOR_OTHERS, Debt, Row, Ticket, Wait
from relay.ledger.entry import LEASE_SECONDS, Entry, Lease

if TYPE_CHECKING:
    from relay.channels.channel import Channel
    from relay.channels.routes import Pause
    from relay.deadline import Deadline
    from relay.incidents.share import Share
    from relay.ledger.table import Ledger


# Reads of the entry for one state. More conflicts than this mean that other senders are busy with the incident.
MAX_READS = 6
# Delay of the message that is queued before the first attempt. It is longer than the sender's lease. After an inline
# time-out it leaves 30 s at least, since that attempt may have paged.
FIRST_WAKE_SECONDS = 36.0
# The sweeper wakes a debt whose message is late by this much (docs/decisions.md, D-row-due).
OVERDUE_SECONDS = 180.0
# The sweeper acts on a debt this long after its age limit. By then the worker has dead-lettered it, if
# the debt's own message arrived.
OVERAGE_SECONDS = 15.0
# Delay of the follow-up that terminates an ended incident's pages: by then its sender has written the entry.
FOLLOW_END_SECONDS = 5.0
# Stored jobs outlive the debt by this time, so that an operator can find them.
STORED_SECONDS = 2 * 24 * 3600.0
# Waits whose end can change: the ledger alone has the state, and the sweeper wakes it.
WAITS_WITHOUT_MESSAGE = frozenset({Reason.PAUSED, Reason.FLAPPING, Reason.CIRCUIT_OPEN})
# Wait before a job is offered again to a queue that did not accept it.
REFUSED_AGAIN_SECONDS = 60.0
# Time between two reads of a failing ledger.
UNGUARDED_WAIT_SECONDS = 30.0
# Wait before an unguarded signal is recorded again. It is short: a resolve is owed only if the signal is recorded.
CATCH_UP_SECONDS = 5.0


@dataclass(frozen=True)
class Delivery:
    """Announces incidents' states to xMatters: those of new shares (`relay`), and of jobs on a queue (`resume`)."""

    services: Services

    def relay(
        self,
        channel: "Channel",
        share: "Share",
        body: bytes,
        *,
        recipients: tuple[str, ...],
        correlation_id: str,
        deadline: "Deadline",
    ) -> Result:
        """Announce a share's state to xMatters if it is owed, or queue it. In shadow mode, only record the share.

        `body` holds BigPanda's bytes. `recipients` are those of the webhook's URL, in addition to the channel's own.
        `correlation_id` is for log searches. If the result is `unsafe`, no queue took the state's job or a chore of it:
        BigPanda has to send the share again.
        """
        # To the millisecond, as a message has it.
        state = State.of(share, round(self.services.clock(), 3))
        job = new_job(channel, share, state, body, recipients, correlation_id)
        task = Task.of(channel, share, job, state, deadline, is_from_webhook=True)
        if channel.policy.mode is Mode.SHADOW:
            # Imported here, since most channels are never in this mode: this keeps the import out of cold starts.
            from relay.delivery import shadow  # noqa: PLC0415

            return shadow.observe(self.services, task)
        return self._attend(task)

    def resume(
        self,
        job: Job,
        share: "Share",
        channel: "Channel",
        deadline: "Deadline",
        *,
        final_failure: Result | None = None,
    ) -> Result:
        """Announce the state of a job to xMatters if it is still owed. If the state must wait, queue its next message.

        `share` is parsed from the job's body. With a `final_failure`, an owed state is dead-lettered, not sent. If the
        result is `unsafe`, the caller must leave the job's own message on its queue: no other message has the state.
        """
        task = Task.of(channel, share, job, state_of(job, share), deadline)
        task = task._replace(final_failure=final_failure)
        if job.accepted:
            return catch_up(self.services, task, job.accepted)
        result = self._attend(task)
        was_probe = job.stamps.reason == Reason.CIRCUIT_OPEN and Flag.BELL not in job.flags
        if was_probe and result.reason != Reason.CIRCUIT_OPEN and not result.exchange.attempts:
            # This message was to test the open circuit breaker, and sent nothing: another state has to.
            _recover(self.services, job)
        return result

    def record_begun_bell(self, job: Job) -> None:
        """Record that a worker began a job whose message is a bell. Errors of the ledger are ignored."""
        self._change_debt(job, Debt.bell_begun)

    def postpone(self, job: Job, until: float) -> None:
        """Record that a job waits until `until` (epoch seconds), so that the sweeper does not wake its debt before.

        The sweeper acts OVERDUE_SECONDS after `until`, if the job's message is late. Errors of the ledger are ignored.
        """
        self._change_debt(job, lambda debt: debt.postponed(until + OVERDUE_SECONDS))

    def _change_debt(self, job: Job, change: Callable[[Debt], Debt]) -> None:
        """Change a job's debt, unless another job or a later message has it now. Errors of the ledger are ignored."""

        def changed(entry: Entry) -> Entry:
            is_current = entry.debt.job == job.stored_name and job.plan >= entry.debt.plan
            return replace(entry, debt=change(entry.debt)) if is_current else entry

        with suppress(LedgerError):
            self.services.ledger.change(entry_key_of(job), changed)

    def _attend(self, task: Task) -> Result:
        """Read the task's entry, decide on the next action and perform it, until there is a result."""
        services = self.services
        try:
            for _ in range(MAX_READS):
                found = services.ledger.read(task.entry_key)
                task, entry, action = step(task, found, services.clock())
                done = _perform(services, task, entry, action)
                if isinstance(done, Task):
                    task = done
                elif found.is_unreadable:
                    _wake_replaced(services, task, found)
                    return done.with_unguarded("the entry was unreadable, and was replaced by a new one")
                else:
                    return done
        except LedgerError as error:
            return without_ledger(services, task, str(error))
        # Other senders keep changing the entry, so they are announcing this incident.
        later = Wait(Reason.IN_FLIGHT, services.clock() + FIRST_WAKE_SECONDS)
        why = "the entry was changed each time it was read"
        if result := _queued(services, task, later, why):
            return result
        return without_ledger(services, task, why) if task.is_from_webhook else _not_taken(task, Reason.INTERNAL, why)


def _perform(services: Services, task: Task, entry: Entry, action: Action) -> Result | Task:
    """Perform an action (see `_act`). If it ends the incident's pages, queue the follow-up that terminates them.

    If no queue takes the follow-up, the end of the pages is not recorded, and the state's next message, or its row,
    tries again. If xMatters accepts the resolve now, the worker queues a follow-up after that.
    """
    ended = with_end(task, entry, action)
    if task.job.ledger_down_since is not None:
        # Each attempt to write to a ledger that fails would queue a follow-up. So this one comes after the write.
        done = _act(services, task, entry if isinstance(action, Settle) else ended, action)
        if isinstance(done, Result) and not done.notices.unguarded:
            _follow_end(services, task, entry, ended)
        return done
    # Before the end is written: this sender may die between the two, or the answer may be lost.
    if not _follow_end(services, task, entry, ended):
        ended = replace(ended, end=entry.end)
        again = Wait(Reason.INTERNAL, services.clock() + REFUSED_AGAIN_SECONDS)
        task = queue_message(services, task, again, plan=next_plan(task, entry))
        if isinstance(action, Settle) and not task.is_kept:
            return _not_taken(task, Reason.INTERNAL, "no queue accepted the job that terminates pages")
        action = _without_end(task, entry, action, again)
    return _act(services, task, entry if isinstance(action, Settle) else ended, action)


def _without_end(task: Task, entry: Entry, action: Action, again: Wait) -> Action:
    """Return the action for a resolve whose pages can't be ended yet. It is tried again at the end of `again`."""
    match action:
        case Settle():
            note = replace(action.note, end=entry.end) if action.note else None
            return Settle(Outcome.QUEUED, note, action.question, "retry")
        case DeadLetter():
            return again
        case Wait() if not task.is_kept:
            return replace(action, until=min(action.until, again.until))
    return action


def _act(services: Services, task: Task, entry: Entry, action: Action) -> Result | Task:
    """Perform an action. Return the result, or the task if another writer changed the entry. Raises LedgerError."""
    match action:
        case Settle():
            return _settle(services, task, entry, action) or task
        case DeadLetter():
            return dead_letter_and_record(services, task, entry, action.reason)
        case Send():
            task, admitted = _entered(services, task, entry)
            if isinstance(admitted, Ticket):
                return attempt(services, task, entry, action, admitted)
            wait = admitted
        case Wait():
            wait = action
    wait = replace(wait, until=task.wake_at(wait.until, services.clock()))
    return let_wait(services, task, entry, wait)


def _entered(services: Services, task: Task, entry: Entry) -> tuple[Task, Ticket | Wait]:
    """Ask the rate limiter for a ticket (the permission to send now) or a wait. Return it with the updated task.

    If its table can't be read, a new share's critical gets a ticket at once, others after UNGUARDED_AFTER_SECONDS.
    """
    is_critical, slot = task.state.is_critical, entry.debt.slot
    try:
        admitted = services.rate_limiter.enter(task.channel, task.recipients, is_critical=is_critical, slot=slot)
    except LedgerError:
        now = services.clock()
        task = task.ledger_failed(now)
        if (task.is_from_webhook and is_critical) or not can_wait(task, now):
            return task, Ticket({})
        return task, Wait(Reason.INTERNAL, now + UNGUARDED_WAIT_SECONDS)
    return task, admitted


def _settle(services: Services, task: Task, entry: Entry, action: Settle) -> Result | None:
    """Record a state that is not signalled, and return the result; None if another writer changed the entry."""
    result = replace(task.result(action.outcome), queue=action.queue)
    question, note = action.question, action.note
    is_asked = question is None or services.outbox.enqueue(question, until=services.clock() + FIRST_QUESTION_SECONDS)
    if not is_asked:
        return _not_taken(task, Reason.INTERNAL, "BigPanda can't be asked about the end")
    if action.queue == "ledger":
        result = replace(result, reason=Reason.CLAIMED)
    if note is None:
        return result
    try:
        if services.ledger.write(task.entry_key, entry, note) is None:
            return None
    except LedgerError as error:
        return note_later(services, task, str(error))
    store_for_others(services, task, note)
    return result


# ---- One attempt -----------------------------------------------------------------------------------------------------


def attempt(services: Services, task: Task, entry: Entry, send: Send, ticket: Ticket) -> Result | Task:
    """Announce a task's state: take the incident's lease, send the signal, and record the result.

    If another writer changed the entry, nothing is sent, and the task is returned for a new decision. If nothing is
    sent, the rate limiter gets its `ticket` back.
    """
    if task.is_from_webhook:
        wait = Wait(Reason.IN_FLIGHT, services.clock() + FIRST_WAKE_SECONDS)
        task = queue_message(services, task, wait, plan=next_plan(task, entry))
    after, lease = _leased(services, task, entry, send)
    try:
        leased = services.ledger.write(task.entry_key, entry, after) or _own_lease(services, task, lease)
    except LedgerError as error:
        result = without_ledger(services, task, str(error))
        if not result.exchange.attempts:
            _give_back(services, ticket)
        return result
    if leased is None:
        _give_back(services, ticket)
        return task
    task = task.ledger_works() if ticket.taken else task
    sent = send_signal(services, task, leased, max_attempts=send.max_attempts, only=send.only)
    until = services.clock()
    done: Result | Task
    if sent.failure is None:
        done = _record_acceptance(services, task, leased, lease, sent, until, only=send.only)
    else:
        done = _record_failure(services, task, leased, lease, sent, until)
    failure = (sent.failure.reason, sent.failure.retry_after) if sent.failure else (None, None)
    # A lost report does no harm: the circuit breaker gets the next failure.
    with suppress(LedgerError):
        if services.rate_limiter.report(task.channel.name, ticket, *failure):
            _recover(services, task.job)
    if isinstance(done, Result) and done.outcome == Outcome.DELIVERED and not ticket.taken:
        return done.with_unguarded("the rate limiter could not be read")
    return done


def _recover(services: Services, job: Job) -> None:
    """Queue the job that wakes what waits for an open circuit breaker."""
    now = services.clock()
    services.outbox.enqueue(recovery_job(job, now), until=now + RECOVERY_SECONDS)


def _give_back(services: Services, ticket: Ticket) -> None:
    with suppress(LedgerError):
        services.rate_limiter.leave(ticket)


def _leased(services: Services, task: Task, entry: Entry, send: Send) -> tuple[Entry, Lease]:
    """Return the entry to write, with a new lease for this sender, and the lease."""
    now, is_queued = services.clock(), task.is_on_queue
    lease = Lease(services.owner(), now + LEASE_SECONDS, entry.next_start(now), task.state)
    after = entry.leased(lease, send.max_attempts, task.job.plan if is_queued else None)
    after = replace(after, debt=after.debt.resumed(task.pause_end(now)))
    if (entry.debt.row or not task.is_from_webhook) and is_queued and try_store(services, task, entry):
        # A row must name this state, in case its sender dies: the last one did, or an older state is owed already.
        row, known = planned_row(task, lease.until, services.clock()), entry.debt.row
        # The worker may die before it has a result, which begins the count anew. A bell is counted already.
        begun = known.begun if known and known.job == row.job else 0
        begun += Flag.BELL not in task.job.flags
        after = replace(after, debt=replace(after.debt, row=replace(row, begun=begun)))
    return after, lease


def _own_lease(services: Services, task: Task, lease: Lease) -> Entry | None:
    """Return the entry if it has this sender's lease: the write succeeded, though its answer was lost. Else None."""
    entry = services.ledger.read(task.entry_key)
    return entry if entry.lease and entry.lease.owner == lease.owner else None


def _record_acceptance(
    services: Services,
    task: Task,
    leased: Entry,
    lease: Lease,
    sent: SendResult,
    until: float,
    *,
    only: tuple[str, ...],
) -> Result:
    audience = task.audience(only)

    def change(now: Entry) -> Entry:
        return now.accepted(lease, sent.request_id, sent.maybe_accepted, until=until, audience=audience)

    result = task.sent(sent)
    try:
        recorded = services.ledger.change(task.entry_key, change, leased)
    except LedgerError:
        accepted = Acceptance(lease.began, sent.request_id, only, bool(task.further))
        return record_or_queue(services, task, result, accepted, "the sent signal could not be recorded", change)
    _wake_other(services, task, recorded)
    owe_to_others(services, task, recorded)
    return result


def _wake_replaced(services: Services, task: Task, unreadable: Entry) -> None:
    """Wake the state that an unreadable entry owed, once another entry has taken its place."""
    with suppress(LedgerError):
        if not services.ledger.read(task.entry_key).is_unreadable:
            _wake_other(services, task, unreadable)


def _wake_other(services: Services, task: Task, entry: Entry) -> None:
    """Wake the state whose stored job the entry's row names, if that is not the task's state.

    Its own message may be delayed past the lease's planned end. The first of the two messages that wakes acts.
    """
    if not entry.debt.is_owed or entry.lease or entry.debt.job in {"", task.job.stored_name}:
        return
    with suppress(LedgerError, UnreadableMessage):
        envelope = services.ledger.stored(task.entry_key, entry.debt.job)
        if envelope:
            job = read_envelope(envelope).planned(entry.debt.plan)
            services.outbox.enqueue(job, until=services.clock())


def _record_failure(
    services: Services, task: Task, leased: Entry, lease: Lease, sent: SendResult, until: float
) -> Result | Task:
    """Queue a state that was not accepted, and record the failure. If neither succeeds, dead-letter the state.

    After a final failure only the record is written. The task is then returned, and the next decision dead-letters it.
    """
    result = task.sent(sent)
    if HANDLING[result.reason or Reason.INTERNAL].is_final:
        job = after_failure(task.job, result, services.clock())
        if _recorded_failure(services, task, leased, lease, sent, result, until) is not None:
            return replace(task, job=job, final_failure=result)
        # Without the record, the sweeper would not find a dead-lettered critical.
        task = replace(task, job=task.job.with_flags(Flag.WAITS_FOR_LEDGER))
        task, result = retry_later(services, task, result, None)
    else:
        task, result = retry_later(services, task, result, leased)
        has_row = _recorded_failure(services, task, leased, lease, sent, result, until)
        result = result.queued("ledger") if has_row and not result.queue else result
    # The message that woke the state stays on its queue.
    return result if result.queue or not task.is_from_webhook else dead_letter(services, task, result, None)


def _recorded_failure(
    services: Services, task: Task, leased: Entry, lease: Lease, sent: SendResult, result: Result, until: float
) -> bool | None:
    """Record a failure (`result`) in the entry. Return True if the entry has a row for the state; None if it fails."""
    row = None
    if try_store(services, task, leased):
        row = planned_row(task, result.until or until, services.clock(), has_message=result.queue == "retry")

    def change(now: Entry) -> Entry:
        # The row first: `failed` records attempts and reason only for the newest state.
        owed = now.owing_by_row(task.state, row, task.job.plan) if row else now
        if row is None and (result.queue or task.is_on_queue) and not task.state.precedes(now.newest):
            owed = now.owing(task.state, task.job.plan)
        return owed.failed(
            lease,
            sent.attempts,
            sent.maybe_accepted,
            until=until,
            reason=result.reason or "",
        )

    try:
        services.ledger.change(task.entry_key, change, leased)
    except LedgerError:
        return None
    return row is not None


# ---- Debts -----------------------------------------------------------------------------------------------------------


def next_plan(task: Task, entry: Entry) -> int:
    """Return the number (plan) for a state's next message. It is higher than that of each earlier message."""
    return max(task.job.plan, entry.debt.plan) + 1


def queue_message(services: Services, task: Task, wait: Wait, *, plan: int | None = None) -> Task:
    """Queue a message that wakes the state at the end of `wait`. Return the task with its new `wakes_at`.

    Nothing is queued if this sender's earlier message wakes the state by then. If the queue refuses the message, the
    task is returned unchanged. `plan` is the number of the message; None for the one in the task's job.
    """
    if task.wakes_at <= wait.until + 1:
        return task
    job = task.job.planned(task.job.plan if plan is None else plan)
    if not services.outbox.enqueue(job.with_reason(wait.reason), until=wait.until):
        return task
    return replace(task, job=job, wakes_at=wait.until)


def let_wait(services: Services, task: Task, entry: Entry, wait: Wait) -> Result | Task:
    """Let the state wait: record in its entry that it is owed, and queue a message if one is needed. Return the result.

    The first row that applies decides what wakes the state:

    | wait | the state is woken by |
    | --- | --- |
    | longer than LONGEST_WAIT_SECONDS, the largest delay of a message | the sweeper |
    | for the test of an open circuit breaker (`Wait.is_probe`) | a message |
    | its end can change (WAITS_WITHOUT_MESSAGE), such as a pause's | the sweeper |
    | any other | a message; the sweeper if the queue refuses the message |

    If another writer changed the entry, nothing is recorded, and the task is returned for a new decision. If the ledger
    fails, a message is queued for any wait. Raises LedgerError if the queue refuses that message.
    """
    now, plan = services.clock(), next_plan(task, entry)
    # A task that waits for the rate limiter's table keeps `ledger_down_since`, which ends that wait.
    task = task if wait.reason == Reason.INTERNAL else task.ledger_works()
    is_short = wait.until - now <= LONGEST_WAIT_SECONDS
    needs_message = is_short and (wait.is_probe or wait.reason not in WAITS_WITHOUT_MESSAGE)
    if needs_message:
        task = queue_message(services, task, wait, plan=plan)
    elif not task.is_kept:
        task = replace(task, job=task.job.planned(plan))
    has_message = needs_message and task.is_kept
    try:
        owed = _held(services, task, entry, wait, has_message=has_message)
        if services.ledger.write(task.entry_key, entry, owed) is None:
            return task
    except LedgerError as error:
        # The state has a reason to wait, so the failed record is no reason to send it now.
        # Without a row, the sweeper does not wake it when its wait ends early.
        until = wait.until if needs_message else min(wait.until, now + UNGUARDED_AFTER_SECONDS)
        result = _queued(services, task.ledger_failed(now), replace(wait, until=until), str(error), plan=plan)
        if result is None:
            raise
        return result
    return task.waiting(wait, "retry" if has_message else "ledger")


def _held(services: Services, task: Task, entry: Entry, wait: Wait, *, has_message: bool) -> Entry:
    """Return the entry with the task's state owed, and waiting until the end of `wait`. Raises LedgerError."""
    now, is_paused = services.clock(), wait.reason == Reason.PAUSED
    # The stored job has to outlive the pause, which may have been prolonged since the job was stored.
    if is_paused or entry.debt.job != task.job.stored_name:
        store_job(services.ledger, task.job.stored_name, task, now)
    row = planned_row(task, wait.until, now, has_message=has_message)
    owed = entry.owing_by_row(task.state, row, task.job.plan)
    # relayctl shows the reason for the wait of a replayed job. The reason `paused` is replaced after a pause.
    is_shown = entry.debt.revived_at or owed.debt.reason == Reason.PAUSED
    reason = wait.reason if is_shown else owed.debt.reason
    debt = replace(owed.debt, slot=wait.slot or entry.debt.slot, reason=reason)
    if wait.reason == Reason.CLAIMED:
        debt = replace(debt, claim_hold_until=wait.until)
    if is_paused:
        pause = task.pause(now)
        by = pause.id if pause else debt.paused_by
        debt = replace(debt, paused_until=wait.until, paused_by=by, reason=Reason.PAUSED)
    return replace(owed, debt=debt if is_paused else debt.resumed(task.pause_end(now)))


def _follow_end(services: Services, task: Task, before: Entry, after: Entry) -> bool:
    """Queue the follow-up that terminates an incident's pages, if `after` records their end and `before` did not.

    Returns False if the queue fails.
    """
    is_new = after.end.at > before.end.at and not after.has_live_pages()
    # An update of an incident that is over. After a reopening, the pages of an earlier end may still be there.
    is_followed = before.is_over and not before.has_live_pages()
    if task.channel.rest is None or not before.has_pages or not is_new or is_followed:
        return True
    now = services.clock()
    return services.outbox.enqueue(followup_job(task.job, now), until=now + FOLLOW_END_SECONDS)


def planned_row(task: Task, until: float, now: float, *, has_message: bool = True) -> Row:
    """Return the row in the `due` index for a state that waits until `until`. Times are epoch seconds.

    The row is due at `until`; with `has_message` OVERDUE_SECONDS later, so that the sweeper acts only if the message is
    late. If the state expires earlier, the row is due about OVERAGE_SECONDS after that.
    """
    due = until + OVERDUE_SECONDS if has_message else until
    return Row(min(due, task.wake_at(due, now) + OVERAGE_SECONDS), task.job.stored_name)


def store_job(ledger: "Ledger", name: str, task: Task, now: float) -> None:
    """Store a task's job as `name` in the ledger for the sweeper, until after its state expires. Raises LedgerError."""
    # A pause delays the end of the state's age.
    lasts = max(task.expires_at - now, task.channel.policy.max_age_seconds) + STORED_SECONDS
    # A job with an acceptance would only record that.
    job = task.job.fresh()._replace(accepted=None)
    ledger.store(task.entry_key, name, stored_envelope(job), lasts=lasts)


def store_for_others(services: Services, task: Task, entry: Entry) -> None:
    """Store the job of an announced critical, so that the sweeper can signal `unanswered_recipients` later.

    Nothing is stored if the policy names none, if the critical's receipt is closed, or if a newer state is known.
    Errors of the ledger are ignored: the sweeper then can only notify the fallback topic.
    """
    is_newest = task.state.is_of_same_share(entry.newest)
    if task.channel.policy.unanswered_recipients and entry.receipt.is_open and is_newest:
        with suppress(LedgerError):
            store_job(services.ledger, FOR_OTHERS, task, services.clock())


def owe_to_others(services: Services, task: Task, entry: Entry) -> None:
    """Owe an announced critical to `unanswered_recipients`, if the fallback topic was notified of it.

    Its job is stored in any case. `entry` has the task's state as announced. Errors of the ledger are ignored.
    """
    store_for_others(services, task, entry)
    if not task.channel.policy.unanswered_recipients or not entry.awaits_others(task.state):
        return
    now = services.clock()
    job = task.job._replace(revived_at=timestamp(now))

    def owed(each: Entry) -> Entry:
        is_newest = task.state.is_of_same_share(each.newest)
        return each.owing_others(Row(now, job.stored_name), now) if is_newest else each

    with suppress(LedgerError):
        store_job(services.ledger, job.stored_name, replace(task, job=job), now)
        services.ledger.change(task.entry_key, owed, entry)


def try_store(services: Services, task: Task, entry: Entry) -> bool:
    """Store the job of an owed state for the sweeper, unless it is stored already; return False if the ledger fails."""
    try:
        if entry.debt.job != task.job.stored_name:
            store_job(services.ledger, task.job.stored_name, task, services.clock())
    except LedgerError:
        return False
    return True


def retry_later(services: Services, task: Task, result: Result, entry: Entry | None) -> tuple[Task, Result]:
    """Queue the next message of a state whose signal failed.

    It wakes the state of a new share after FIRST_WAKE_SECONDS, and that of a queued job after its backoff. Return the
    updated task, and `result` with the queue that has the job; `unsafe` if no queue took it. `entry` is None if the
    ledger fails.
    """
    now, reason = services.clock(), result.reason or Reason.INTERNAL
    if task.is_from_webhook:
        until = now + FIRST_WAKE_SECONDS
    else:
        wait = wait_seconds(
            reason,
            now - task.age_counts_from,
            result.exchange.retry_after,
            services.random(),
            may_have_acted=result.exchange.may_have_acted,
            is_critical=task.state.is_critical,
        )
        until = task.wake_at(now + wait, now)
    task = replace(task, job=after_failure(task.job, result, now))
    # A copy of the message that met the lease may have drawn the next plan: the one after it is higher. Without the
    # ledger no plan can be drawn, so the message keeps its own.
    plan = next_plan(task, entry) + 1 if entry else task.job.plan
    if not (task.is_from_webhook and task.is_kept):
        # The queue may have refused the message before the attempts, and take it now.
        task = queue_message(services, task, Wait(reason, until), plan=plan)
    return task, replace(result.queued("retry") if task.is_kept else result, until=until, job=task.job)


def dead_letter_and_record(services: Services, task: Task, entry: Entry, reason: Reason) -> Result | Task:
    """Dead-letter an owed state for `reason`, such as `expired`, and record that in its entry. Return the result.

    If the entry lacks the debt, the debt is recorded first. If the ledger fails then, the state is not dead-lettered,
    and its message waits. If another writer changed the entry, nothing is done, and the task is returned.
    """
    # By the entry, the sweeper notifies people of a dead-lettered critical.
    if not task.is_from_webhook and not entry.debt.row:
        try:
            written = services.ledger.write(task.entry_key, entry, entry.owing(task.state, task.job.plan))
        except LedgerError as error:
            return _left_to_queue(services, task, Wait(reason, services.clock() + REFUSED_AGAIN_SECONDS), str(error))
        if written is None:
            return task
        entry = written
    detail = task.final_failure.detail if task.final_failure else None
    result = dead_letter(services, task, replace(task.result(Outcome.UNSAFE), reason=reason, detail=detail), entry)
    at, until = dead_lettered_at(result), services.clock() + REFUSED_AGAIN_SECONDS + OVERDUE_SECONDS

    def change(now: Entry) -> Entry:
        if at is None:
            return replace(now, debt=now.debt.postponed(until))
        # Another writer may have changed the entry that has the end.
        dead = now.dead_lettering(task.state, at, reason, plan=next_plan(task, entry))
        return with_end(task, dead, DeadLetter(reason))

    try:
        services.ledger.change(task.entry_key, change, entry)
    except LedgerError:
        if at is not None:
            _give_up_again(services, task, entry, result)
        return result
    return result if result.queue or not (task.is_from_webhook and entry.debt.row) else result.queued("ledger")


def _give_up_again(services: Services, task: Task, entry: Entry, result: Result) -> None:
    """Queue a message of a dead-lettered state, whose worker records that the state is given up: the ledger failed."""
    # By a row, the sweeper wakes the state.
    if not entry.debt.row:
        again = Wait(result.reason or Reason.INTERNAL, services.clock() + REFUSED_AGAIN_SECONDS)
        queue_message(services, task, again, plan=task.job.plan)


def dead_letter(services: Services, task: Task, result: Result, entry: Entry | None) -> Result:
    """Put the job of a state on the dead-letter queue. Return `result` with the queue that has the job.

    If the dead-letter queue refuses the job, the retry queue keeps it, and a worker dead-letters it later. If both
    refuse it, the result stays `unsafe`. `entry` is None if the ledger fails.
    """
    job = task.job.with_reason(result.reason or Reason.INTERNAL)
    job = job.planned(next_plan(task, entry)) if entry else job
    if dead_lettered := services.outbox.dead_letter(job):
        if task.state.is_critical:
            with suppress(LedgerError):
                store_job(services.ledger, FALLBACK_DESCRIPTION, task, services.clock())
        return replace(result.queued("dead_letter"), job=dead_lettered)
    if not task.is_from_webhook:
        again = Wait(result.reason or Reason.INTERNAL, services.clock() + REFUSED_AGAIN_SECONDS)
        task = queue_message(services, replace(task, job=job), again, plan=task.job.plan)
    if task.is_kept:
        return replace(result.queued("retry"), until=task.wakes_at)
    return replace(result, detail=f"{result.detail}; no queue took it", job=job)


def dead_lettered_at(result: Result) -> float | None:
    """Return the time at which this result's job was dead-lettered (epoch seconds); None if it was not."""
    return result.job.dead_lettered_seconds if result.queue == "dead_letter" and result.job else None


# ---- While the ledger fails ------------------------------------------------------------------------------------------


def without_ledger(services: Services, task: Task, why: str) -> Result:
    """Send the state although the ledger fails, or let its message wait for the ledger. `why` is the ledger's error.

    The first row that applies decides:

    | state | action |
    | --- | --- |
    | its channel is paused | wait |
    | a resolve that BigPanda has to confirm | wait |
    | of a job that was replayed, refused by xMatters, or is to be dead-lettered (`final_reason`) | wait |
    | a new share's critical, soon after this process signalled its incident without the ledger | wait |
    | a new share's critical | send at once; it may repeat a page |
    | any other | wait for UNGUARDED_AFTER_SECONDS, then send |

    Soon: within UNGUARDED_AFTER_SECONDS. If the queue refuses the message of a new share that waits, the state is sent
    at once. In the first two rows, and for a queued job, the result is `unsafe` instead.
    """
    now = services.clock()
    if task.is_from_webhook and not task.state.is_critical:
        # The incident is no longer critical, so its next critical state is sent at once again.
        services.unguarded.forget(task.entry_key)
    elif task.is_from_webhook and services.unguarded.was_sent(task.entry_key, now):
        task = replace(task, job=task.job.with_flags(Flag.WAITS_FOR_LEDGER))
    if pause := task.pause(now):
        return _paused(services, task, pause, why)
    task = task.ledger_failed(now)
    if _waits_for_ledger(task, now):
        result = _queued(services, task, Wait(Reason.INTERNAL, now + UNGUARDED_WAIT_SECONDS), why)
        # A claim needs the ledger: without BigPanda's answer a resolve may be forged.
        if result or task.needs_question or not task.is_from_webhook:
            return result or _not_taken(task, Reason.INTERNAL, why)
    return _sent(services, task, why)


def _sent(services: Services, task: Task, why: str) -> Result:
    max_attempts = MAX_ATTEMPTS if task.is_from_webhook else 1
    sent = send_signal(services, task, None, max_attempts=max_attempts, only=task.further)
    if sent.maybe_accepted:
        services.unguarded.record(task.entry_key, services.clock())
    if sent.failure is None:
        accepted = Acceptance(services.clock(), sent.request_id, task.further, bool(task.further))
        return record_or_queue(services, task, task.sent(sent), accepted, why)
    if HANDLING[sent.failure.reason].is_final:
        # Without an entry, the sweeper would not find a dead-lettered critical.
        task = replace(task, job=task.job.with_flags(Flag.WAITS_FOR_LEDGER))
    # After the attempt, so that the job holds its result.
    task, result = retry_later(services, task, task.sent(sent), None)
    if not result.queue and task.is_from_webhook:
        result = dead_letter(services, task, result, None)
    return result.with_unguarded(why)


def _waits_for_ledger(task: Task, now: float) -> bool:
    """True if the state has to wait for the ledger, as long as a queue has it."""
    has_to = task.job.is_revived or Flag.WAITS_FOR_LEDGER in task.job.flags or task.needs_question
    is_urgent = task.is_from_webhook and task.state.is_critical
    return has_to or final_reason(task, now) is not None or (not is_urgent and can_wait(task, now))


def can_wait(task: Task, now: float) -> bool:
    """True if a state may still wait for a failing ledger or rate limiter: for UNGUARDED_AFTER_SECONDS.

    The time counts from the first failure that the state's job met (`ledger_down_since`).
    """
    since = seconds_of(task.job.ledger_down_since or timestamp(now))
    return now - since < UNGUARDED_AFTER_SECONDS


def _queued(services: Services, task: Task, wait: Wait, why: str, *, plan: int | None = None) -> Result | None:
    """Queue a state's message (see `queue_message`) while the ledger fails. Return None if the queue refuses it."""
    task = queue_message(services, task, wait, plan=plan)
    return task.waiting(wait, "retry").with_unguarded(why) if task.is_kept else None


def _paused(services: Services, task: Task, pause: "Pause", why: str) -> Result:
    """Queue a state's job while the channel is paused and the ledger fails, also if the pause leaves the state out.

    Without a record of the state, an older one would be sent after the pause, and a resolve would not end the pages.
    """
    until = min(pause.until, services.clock() + UNGUARDED_WAIT_SECONDS)
    return _left_to_queue(services, task, Wait(Reason.PAUSED, until), why)


def _left_to_queue(services: Services, task: Task, wait: Wait, why: str) -> Result:
    """Queue the message of a state that must not be sent now. The result is `unsafe` if the queue refuses it."""
    return _queued(services, task, wait, why) or _not_taken(task, wait.reason, why)


def _not_taken(task: Task, reason: Reason, why: str) -> Result:
    """Return the result `unsafe` of a state that must not be sent now, and whose message the queue refused."""
    return replace(task.result(Outcome.UNSAFE), reason=reason, detail=f"{why}; no queue took it")


def record_or_queue(
    services: Services,
    task: Task,
    result: Result,
    accepted: Acceptance,
    why: str,
    change: Callable[[Entry], Entry] | None = None,
) -> Result:
    """Record an accepted signal in its incident's entry. If the ledger fails, queue a job that records it later.

    Return `result` with the notice `unguarded` (`why`), and with the job if one was needed; its `queue` is None if the
    queue refused the job. `change` makes the entry to write; None, for a signal without a lease, records the task's
    state as announced.
    """
    try:
        owe_to_others(services, task, services.ledger.change(task.entry_key, change or _announced(task, accepted)))
    except LedgerError:
        sent = task.job.after_attempts(result.exchange.attempts)
        note = sent.with_reason(Reason.INTERNAL)._replace(accepted=accepted)
        is_queued = services.outbox.enqueue(note, until=services.clock() + CATCH_UP_SECONDS)
        result = replace(result, job=note, queue="retry" if is_queued else None)
    return result.with_unguarded(why)


def _announced(task: Task, accepted: Acceptance) -> Callable[[Entry], Entry]:
    audience = replace(task, further=accepted.only if accepted.is_further else ()).audience(accepted.only)

    def announced(entry: Entry) -> Entry:
        state = task.state.with_status_of(entry.newest)
        # What a newer share said of the incident stays.
        known = entry if state.precedes(entry.newest) else described(entry, task)
        return known.announcing(state, accepted.request_id, accepted.at, audience)

    return announced


def catch_up(services: Services, task: Task, accepted: Acceptance) -> Result:
    """Record a signal that xMatters accepted (`accepted`) while the ledger failed. Nothing is sent.

    The result is `duplicate` if the record is written. If the ledger still fails, the job waits on the retry queue, or
    is dead-lettered if its state has expired.
    """
    try:
        owe_to_others(services, task, services.ledger.change(task.entry_key, _announced(task, accepted)))
    except LedgerError:
        why = "the sent signal could not be recorded"
    else:
        return task.result(Outcome.DUPLICATE)
    now = services.clock()
    if now > task.expires_at:
        result = replace(task.result(Outcome.UNSAFE), reason=Reason.EXPIRED)
        return dead_letter(services, task, result, None).with_unguarded(why)
    return _left_to_queue(services, task, _soon(task, now), why)


def note_later(services: Services, task: Task, why: str) -> Result:
    """Queue a job that records a state which needs no signal, since the ledger fails now. Return the result.

    The result is `unsafe` if the queue refuses the job. A state with a `final_reason`, such as an expired one, needs no
    record: nothing is queued, and the result is `unchanged`.
    """
    now = services.clock()
    if final_reason(task, now):
        return task.result(Outcome.UNCHANGED)
    # A resolve that failed queues its next follow-up only once it is recorded.
    task = task if task.state.is_open else task.ledger_failed(now)
    # Without the record, an older state that this one supersedes could still be sent.
    return _left_to_queue(services, task, _soon(task, now), why)


def _soon(task: Task, now: float) -> Wait:
    """Return the wait until a state is recorded: a tenth of its age, from CATCH_UP_SECONDS to MAX_CATCH_UP_SECONDS."""
    seconds = min(max(CATCH_UP_SECONDS, (now - task.state.came) / 10), MAX_CATCH_UP_SECONDS)
    return Wait(Reason.INTERNAL, now + seconds)
