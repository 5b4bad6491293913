"""Delivery of a state to xMatters, for a new share and for a job from the queue.

A loop reads the entry, decides on the next action and performs it, until there is a result. A write that conflicts with
another sender's starts the next pass of the loop (optimistic locking). If the ledger fails, the degraded paths take
over.
"""

from collections.abc import Callable
from contextlib import suppress
from copy import replace
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from relay.channels.policy import Mode
from relay.delivery import debts, degraded
from relay.delivery.attempt import attempt, give_back
from relay.delivery.services import Services, Unguarded
from relay.delivery.step import Action, DeadLetter, Revive, Send, Settle, step
from relay.delivery.task import Task, entry_key_of, new_job
from relay.failures.errors import LedgerError
from relay.failures.reasons import Reason
from relay.jobs.job import Flag, Job, seconds_of
from relay.jobs.outbox import last_copy
from relay.jobs.outcome import Outcome, Result
from relay.ledger.entry import Entry
from relay.ledger.wait import Ticket, Wait

if TYPE_CHECKING:
    from relay.channels.channel import Channel
    from relay.deadline import Deadline
    from relay.delivery.trigger_retries import RetryingSender
    from relay.incidents.share import Share
    from relay.jobs.outbox import Outbox
    from relay.ledger.channel_rate_limiter import RateLimiter
    from relay.ledger.ledger import Ledger

# Reads of the entry for one state. More conflicts than this mean that other senders are busy with the incident.
MAX_READS = 6


@dataclass(frozen=True)
class Delivery:
    """Announces states to xMatters, from new shares and from jobs.

    Attributes:
        sender: Sends signals.
        ledger: The entries of incidents.
        rate_limiter: Rate limits and circuit breakers of channels.
        outbox: The queues of jobs.
        clock: The time in epoch seconds.
        owner: Returns a unique name for a sender, as the owner of a lease.
        unguarded: Memory of signals that this function sent without the ledger ("unguarded").
    """

    sender: "RetryingSender"
    ledger: "Ledger"
    rate_limiter: "RateLimiter"
    outbox: "Outbox"
    clock: Callable[[], float]
    owner: Callable[[], str]
    unguarded: Unguarded = field(default_factory=Unguarded, init=False, repr=False)

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
        """Announce a share's state if it is owed, or queue it until it can be sent.

        `body` holds BigPanda's bytes, which xMatters gets unchanged unless the channel has a body of its own.
        `recipients` are those of the webhook's URL; they are added to the channel's own. `correlation_id` is for log
        searches. The result is `unsafe` if neither xMatters nor the ledger nor a queue has the state. It is also
        `unsafe` if the state needs a further job, and no queue accepts that job. In shadow mode nothing is sent or
        queued.
        """
        job = new_job(channel, share, body, recipients, correlation_id, self.clock())
        task = Task.of_share(channel, share, job, self.owner())
        if channel.policy.mode is Mode.SHADOW:
            # Imported here, since most channels are never in this mode: this keeps the import out of cold starts.
            from relay.delivery import shadow  # noqa: PLC0415

            return shadow.observe(self._within(deadline), task)
        return self._attend(task, deadline)

    def resume(
        self, job: Job, share: "Share", channel: "Channel", deadline: "Deadline", *, given_up: Reason | None = None
    ) -> Result:
        """Announce the state of a job from the queue, if it is still owed.

        `share` is parsed from the job's body. `given_up` is a reason for which an owed state is dead-lettered: its
        channel was removed, or it expired while its channel can't be read; None otherwise. If the state has to wait,
        its next message is queued. If the result is `unsafe`, nothing has the state but the job's own message, which
        has to stay on the queue.
        """
        task = Task.of_job(channel, share, job, self.owner())._replace(given_up=given_up)
        if Flag.ACCEPTED in job.flags:
            return degraded.catch_up(self._within(deadline), task)
        return self._attend(task, deadline)

    def record_begun_bell(self, job: Job, deadline: "Deadline") -> None:
        """Record in the entry that a worker began to work a message of the sweeper. Errors of the ledger are ignored.

        Nothing is recorded if the entry's debt belongs to another job by now, or if a later message wakes it.
        """

        def change(entry: Entry) -> Entry:
            is_current = entry.debt.job == job.stored_name and job.plan >= entry.debt.plan
            return replace(entry, debt=entry.debt.bell_begun()) if is_current else entry

        with suppress(LedgerError):
            self.ledger.within(deadline).change(entry_key_of(job), change)

    def postpone(self, job: Job, until: float, deadline: "Deadline") -> None:
        """Make the job's row in the ledger's `due` index due only some time after the end of the job's wait.

        Then the sweeper does not wake the state before that. `until` is the end of the wait (epoch seconds). Nothing is
        done if the entry's debt belongs to another job by now, or if a later message wakes it. Errors of the ledger
        are ignored.
        """

        def change(entry: Entry) -> Entry:
            is_current = entry.debt.job == job.stored_name and job.plan >= entry.debt.plan
            return replace(entry, debt=entry.debt.postponed(until + debts.OVERDUE_SECONDS)) if is_current else entry

        with suppress(LedgerError):
            self.ledger.within(deadline).change(entry_key_of(job), change)

    def _within(self, deadline: "Deadline") -> Services:
        ledger, rate_limiter = self.ledger.within(deadline), self.rate_limiter.within(deadline)
        return Services(self.sender, ledger, rate_limiter, self.outbox, self.clock, deadline, self.unguarded)

    def _attend(self, task: Task, deadline: "Deadline") -> Result:
        """Read the task's entry, decide on the next action and perform it, until there is a result.

        These steps are repeated, at most MAX_READS times, if another sender changed the entry meanwhile. If the ledger
        fails, the state is sent or queued without it.
        """
        services = self._within(deadline)
        try:
            for _ in range(MAX_READS):
                entry = services.ledger.read(task.entry_key)
                task, entry, action = step(task, entry, self.clock())
                task = task if isinstance(action, Send) else give_back(services, task)
                task, result = _act(services, task, entry, action)
                if result and entry.is_unreadable:
                    return result.with_unguarded("the entry was unreadable, and was replaced by a new one")
                if result:
                    return result
        except LedgerError as error:
            return degraded.without_ledger(services, give_back(services, task), str(error))
        task = give_back(services, task)
        # Other senders keep changing the entry, so they are announcing this incident.
        later = Wait(Reason.IN_FLIGHT, self.clock() + debts.FIRST_WAKE_SECONDS)
        return degraded.put_off(services, task, later, "the entry was changed each time it was read")


def _act(services: Services, task: Task, entry: Entry, action: Action) -> tuple[Task, Result | None]:
    """Perform an action for the task's state. Raises LedgerError.

    Returns the task and its result. The result is None if the caller has to read the incident's ledger entry again:
    another writer changed the entry, or a dead-lettered state was made owed again.
    """
    match action:
        case Settle():
            return task, _settle(services, task, entry, action)
        case Revive():
            services.ledger.write(task.entry_key, entry, action.note)
            return task, None
        case DeadLetter():
            return task, debts.dead_letter_and_record(services, task, entry, action.reason)
        case Send():
            task, gate = _entered(services, task, entry)
            if isinstance(gate, Ticket):
                return attempt(services, task, entry, action, gate)
            wait = gate
        case Wait():
            wait = action
    wait = replace(wait, until=task.wake_at(wait.until, services.clock()))
    return debts.hold(services, task, entry, wait)


def _entered(services: Services, task: Task, entry: Entry) -> tuple[Task, Ticket | Wait]:
    """Ask the rate limiter for a ticket (the permission to send now) or a wait.

    The rate limiter fails open: if its table can't be read, a critical of a share that just came gets a ticket at once.
    Other states wait for some time first. The ledger's lease still applies.
    """
    if task.ticket:
        return replace(task, ticket=None), task.ticket
    is_critical = task.state.is_critical
    try:
        gate = services.rate_limiter.enter(task.rules, is_critical=is_critical, slot=entry.debt.slot)
    except LedgerError:
        now = services.clock()
        task = task.without_ledger(now)
        if (task.is_from_webhook and is_critical) or not degraded.can_wait(task, now):
            return task, Ticket({}, is_failed_open=True)
        return task, degraded.wait_for_ledger(now)
    return task, gate


def _settle(services: Services, task: Task, entry: Entry, action: Settle) -> Result | None:
    """Record a state that is not signalled. Return None if another writer changed the entry since it was read."""
    result = replace(task.result(action.outcome), queue=action.queue)
    # The job is queued before the entry is written: after a crash in between, the worker writes it and ends the pages.
    not_before = action.job.not_before if action.job else None
    until = seconds_of(not_before) if not_before else services.clock()
    is_enqueued = action.job is None or services.outbox.enqueue(action.job, services.deadline, until=until)
    if not is_enqueued:
        why = "no queue accepted the job that asks BigPanda about the end, or terminates pages"
        failed = replace(result, outcome=Outcome.UNSAFE, reason=Reason.INTERNAL, detail=why)
        return failed.with_last_copy(last_copy(task.job))
    if action.queue == "ledger":
        result = replace(result, reason=Reason.CLAIMED)
    if action.note is None:
        return result
    try:
        # A claimed resolve may be forged, so nothing that it says of the incident is kept.
        note = action.note if action.queue == "ledger" else task.described(action.note)
        return result if services.ledger.write(task.entry_key, entry, note) else None
    except LedgerError as error:
        return degraded.note_later(services, task, str(error))
