"""Delivery of a state to xMatters, for a new share and for a job from the queue.

A loop reads the entry, decides on the next action and performs it, until there is a result. A write that conflicts with
another sender's starts the next pass of the loop (optimistic locking). If the ledger fails, the degraded paths take
over.

One attempt at a signal: queue its message, claim the incident, send, and record the result. The message is on the retry
queue before the signal is sent, so a crash at any point loses nothing: the message wakes in any case, and the worker
sends the state if the entry says that it is still owed. The claim is a conditional write that takes a lease, so one
sender at a time announces an incident.
"""

from contextlib import suppress
from copy import replace
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.channels.policy import Mode
from relay.delivery import debts, degraded
from relay.delivery.step import Action, DeadLetter, Send, Settle, step
from relay.delivery.task import Services, Task, announce, entry_key_of, new_job, next_plan, planned
from relay.failures import LedgerError, Reason
from relay.jobs.job import Flag, Job, seconds_of
from relay.jobs.outcome import Outcome, Result, SendResult
from relay.jobs.queue import RECOVERY_SECONDS, UnreadableMessage, last_copy, read_envelope, recovery_job
from relay.ledger.accepted_signal import Audience
from relay.ledger.channel_rate_limiter import Ticket, rules_of
from relay.ledger.debt import Wait
from relay.ledger.entry import LEASE_SECONDS, Entry, Lease

if TYPE_CHECKING:
    from relay.channels.channel import Channel
    from relay.deadline import Deadline
    from relay.incidents.share import Share


def attempt(services: Services, task: Task, entry: Entry, send: Send, ticket: Ticket) -> tuple[Task, Result | None]:
    """Announce a task's state: take the incident's lease, send the signal, and record the result.

    There are at most `send.max_attempts` attempts. `ticket` is the rate limiter's permission to send now.

    Returns the task and the result. The result is None if another writer changed the incident's ledger entry since it
    was read: then no signal was sent. A ticket with which no signal is sent is given back to the rate limiter.
    """
    if task.is_from_webhook:
        until = services.clock() + debts.FIRST_WAKE_SECONDS
        task = debts.keep(services, task, until, plan=next_plan(task, entry))
    claim, lease = _claim(services, task, entry, send)
    try:
        claimed = services.ledger.write(task.entry_key, entry, claim) or _own_claim(services, task)
    except LedgerError as error:
        result = degraded.without_ledger(services, task, str(error))
        if not result.exchange.attempts:
            _give_back(services, ticket)
        return task, result
    if claimed is None:
        _give_back(services, ticket)
        return task, None
    task = task if ticket.is_failed_open else task.with_ledger()
    sent = announce(services, task, claimed, max_attempts=send.max_attempts, only_recipient=send.only_recipient)
    until = services.clock()
    if sent.failure is None:
        result = _record_acceptance(
            services, task, claimed, lease, sent, until, is_for_one=send.only_recipient is not None
        )
    else:
        task, result = _record_failure(services, task, claimed, lease, sent, until)
    failure = (sent.failure.reason, sent.failure.retry_after) if sent.failure else (None, None)
    # A lost report does no harm: the circuit breaker gets the next failure.
    with suppress(LedgerError):
        if services.rate_limiter.report(rules_of(task.channel, task.recipients), ticket, *failure):
            now = services.clock()
            services.outbox.enqueue(recovery_job(task.job, now), until=now + RECOVERY_SECONDS)
    is_unpaced = ticket.is_failed_open and result.outcome == Outcome.DELIVERED
    return task, result.with_unguarded("the rate limiter could not be read") if is_unpaced else result


def _give_back(services: Services, ticket: Ticket) -> None:
    """Give an unused ticket (the permission to send a signal now) back to the rate limiter."""
    with suppress(LedgerError):
        services.rate_limiter.leave(ticket)


def _claim(services: Services, task: Task, entry: Entry, send: Send) -> tuple[Entry, Lease]:
    """Return the entry to write, with a new lease for this sender, and the lease.

    The lease is the sender's exclusive right to send for the incident.
    """
    now = services.clock()
    lease = Lease(task.owner, now + LEASE_SECONDS, entry.next_claim(now), task.state)
    is_queued = task.is_on_queue
    after = entry.claimed(lease, send.max_attempts, queued=is_queued)
    after = task.described(planned(task, entry, after) if is_queued else after)
    if after.debt.paused_until:
        after = replace(after, debt=after.debt.resumed(task.pause_end(now)))
    if entry.debt.row and is_queued and debts.try_store(services, task, entry):
        # An older state is owed already. The row must name this state, in case its sender dies.
        row = debts.row_of(task, lease.until, services.clock())
        # The claim does not reset the number of begun bells: the worker may die before it has a result.
        begun = entry.debt.row.begun if entry.debt.row.job == row.job else 0
        after = replace(after, debt=replace(after.debt, row=replace(row, rung=begun, begun=begun)))
    return after, lease


def _own_claim(services: Services, task: Task) -> Entry | None:
    """Return the entry if it has this sender's lease: its claim was written, and DynamoDB's answer was lost.

    Then the AWS client repeated the write, and the repetition met the first one. Returns None if it was another writer.
    """
    entry = services.ledger.read(task.entry_key)
    return entry if entry.lease and entry.lease.owner == task.owner else None


def _record_acceptance(
    services: Services, task: Task, claimed: Entry, lease: Lease, sent: SendResult, until: float, *, is_for_one: bool
) -> Result:
    audience = Audience(task.recipients, is_for_one=is_for_one)

    def change(now: Entry) -> Entry:
        return now.accepted(lease, sent.request_id, sent.maybe_accepted, until=until, audience=audience)

    result = task.delivered(sent)
    try:
        recorded = services.ledger.change(task.entry_key, change, claimed)
    except LedgerError:
        return degraded.record_or_queue(services, task, result, change, "the sent signal could not be recorded")
    _wake_next(services, task, recorded)
    return result


def _wake_next(services: Services, task: Task, entry: Entry) -> None:
    """Wake a newer state now, if its share came while this sender had the incident's lease.

    The newer state has a message on the retry queue, delayed past the planned end of the lease. The lease has ended
    earlier, so a copy of that message is queued. The copy has the same plan: the first of the two that wakes acts.
    """
    if entry.debt.since is None or entry.lease or entry.debt.job in {"", task.job.stored_name}:
        return
    with suppress(LedgerError, UnreadableMessage):
        envelope = services.ledger.stored(task.entry_key, entry.debt.job)
        if envelope:
            job = read_envelope(envelope).planned(entry.debt.plan)
            services.outbox.enqueue(job, until=services.clock())


def _record_failure(
    services: Services, task: Task, claimed: Entry, lease: Lease, sent: SendResult, until: float
) -> tuple[Task, Result]:
    """Queue a state that was not accepted, and record the failure in its entry.

    `claimed` is the entry with this sender's `lease`, and `until` the time at which the attempts ended (epoch seconds).
    Afterwards the state is on a queue, in the ledger's `due` index, or both. If both fail, it is dead-lettered.
    """
    before = task
    task, result = debts.retry_later(services, task, task.failed(sent), claimed)
    row, at = None, debts.dead_lettered_at(result)
    if at is None and debts.try_store(services, task, claimed):
        wakes, now = result.until or until, services.clock()
        row = debts.row_of(task, wakes, now, has_message=result.queue == "retry")

    def change(now: Entry) -> Entry:
        # The row first: `failed` records attempts and reason only for the newest state.
        owed = now.waiting(task.state, row) if row else now
        if row is None and result.queue and not task.state.precedes(now.newest):
            owed = now.owing(task.state)
        failed = owed.failed(
            lease,
            sent.attempts,
            sent.maybe_accepted,
            until=until,
            reason=result.reason or "",
        )
        if at is not None:
            return failed.dead_lettering(task.state, at, result.reason or "", plan=next_plan(task, claimed))
        return planned(task, now, failed) if task.state.is_of_same_share(failed.newest) else failed

    try:
        services.ledger.change(task.entry_key, change, claimed)
        is_recorded = True
    except LedgerError:
        is_recorded = False
    if result.queue:
        return task, result
    if row and is_recorded:
        return task, result.queued("ledger").with_last_copy(None)
    if not task.is_from_webhook:
        # The message that woke the state stays on its queue.
        return task, result
    # `before`, since `retry_later` added the failure to the job: it counts once.
    return task, debts.dead_letter(services, before, result, None)


# Reads of the entry for one state. More conflicts than this mean that other senders are busy with the incident.
MAX_READS = 6


@dataclass(frozen=True)
class Delivery:
    """Announces states to xMatters, from new shares and from jobs.

    Attributes:
        services: The adapters that the steps call.
    """

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
        """Announce a share's state if it is owed, or queue it until it can be sent.

        `body` holds BigPanda's bytes, which xMatters gets unchanged unless the channel has a body of its own.
        `recipients` are those of the webhook's URL; they are added to the channel's own. `correlation_id` is for log
        searches. The result is `unsafe` if neither xMatters nor the ledger nor a queue has the state. It is also
        `unsafe` if the state needs a further job, and no queue accepts that job. In shadow mode nothing is sent or
        queued.
        """
        job = new_job(channel, share, body, recipients, correlation_id, self.services.clock())
        task = Task.of(channel, share, job, self.services.owner(), deadline, is_from_webhook=True)
        if channel.policy.mode is Mode.SHADOW:
            # Imported here, since most channels are never in this mode: this keeps the import out of cold starts.
            from relay.delivery import shadow  # noqa: PLC0415

            return shadow.observe(self.services, task)
        return self._attend(task)

    def resume(
        self, job: Job, share: "Share", channel: "Channel", deadline: "Deadline", *, given_up: Reason | None = None
    ) -> Result:
        """Announce the state of a job from the queue, if it is still owed.

        `share` is parsed from the job's body. `given_up` is a reason for which an owed state is dead-lettered: its
        channel was removed, or it expired while its channel can't be read; None otherwise. If the state has to wait,
        its next message is queued. If the result is `unsafe`, nothing has the state but the job's own message, which
        has to stay on the queue.
        """
        task = Task.of(channel, share, job, self.services.owner(), deadline)._replace(given_up=given_up)
        if Flag.ACCEPTED in job.flags:
            return degraded.catch_up(self.services, task)
        return self._attend(task)

    def record_begun_bell(self, job: Job) -> None:
        """Record in the entry that a worker began to work a message of the sweeper. Errors of the ledger are ignored.

        Nothing is recorded if the entry's debt belongs to another job by now, or if a later message wakes it.
        """

        def change(entry: Entry) -> Entry:
            is_current = entry.debt.job == job.stored_name and job.plan >= entry.debt.plan
            return replace(entry, debt=entry.debt.bell_begun()) if is_current else entry

        with suppress(LedgerError):
            self.services.ledger.change(entry_key_of(job), change)

    def postpone(self, job: Job, until: float) -> None:
        """Make the job's row in the ledger's `due` index due only some time after the end of the job's wait.

        Then the sweeper does not wake the state before that. `until` is the end of the wait (epoch seconds). Nothing is
        done if the entry's debt belongs to another job by now, or if a later message wakes it. Errors of the ledger
        are ignored.
        """

        def change(entry: Entry) -> Entry:
            is_current = entry.debt.job == job.stored_name and job.plan >= entry.debt.plan
            return replace(entry, debt=entry.debt.postponed(until + debts.OVERDUE_SECONDS)) if is_current else entry

        with suppress(LedgerError):
            self.services.ledger.change(entry_key_of(job), change)

    def _attend(self, task: Task) -> Result:
        """Read the task's entry, decide on the next action and perform it, until there is a result.

        These steps are repeated, at most MAX_READS times, if another sender changed the entry meanwhile. If the ledger
        fails, the state is sent or queued without it.
        """
        services = self.services
        try:
            for _ in range(MAX_READS):
                entry = services.ledger.read(task.entry_key)
                task, entry, action = step(task, entry, services.clock())
                task, result = _act(services, task, entry, action)
                if result and entry.is_unreadable:
                    return result.with_unguarded("the entry was unreadable, and was replaced by a new one")
                if result:
                    return result
        except LedgerError as error:
            return degraded.without_ledger(services, task, str(error))
        # Other senders keep changing the entry, so they are announcing this incident.
        later = Wait(Reason.IN_FLIGHT, services.clock() + debts.FIRST_WAKE_SECONDS)
        return degraded.put_off(services, task, later, "the entry was changed each time it was read")


def _act(services: Services, task: Task, entry: Entry, action: Action) -> tuple[Task, Result | None]:
    """Perform an action for the task's state. Raises LedgerError.

    Returns the task and its result. The result is None if the caller has to read the incident's ledger entry again:
    another writer changed the entry.
    """
    match action:
        case Settle():
            return task, _settle(services, task, entry, action)
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
    rules, is_critical = rules_of(task.channel, task.recipients), task.state.is_critical
    try:
        gate = services.rate_limiter.enter(rules, is_critical=is_critical, slot=entry.debt.slot)
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
    is_enqueued = action.job is None or services.outbox.enqueue(action.job, until=until)
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
