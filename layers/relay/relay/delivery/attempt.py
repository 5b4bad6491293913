"""One attempt at a signal: queue its job, claim the incident, send, and record the result.

The job is on the retry queue before the signal is sent, so a crash at any point loses nothing. The job wakes in
any case, and the worker sends the state if the ledger says that it is still owed. The claim is a conditional write that
takes a lease, so one sender at a time announces an incident.
"""

from contextlib import suppress
from copy import replace

from relay.delivery import debts, degraded
from relay.delivery.actions import Send
from relay.delivery.next_action import WAKE_MARGIN_SECONDS
from relay.delivery.services import Services
from relay.delivery.task import Task
from relay.failures.errors import LedgerError
from relay.failures.reasons import AMBIGUOUS_WAIT_SECONDS
from relay.jobs.envelope import UnreadableMessage, read_envelope
from relay.jobs.outcome import Outcome, Result, SendResult
from relay.ledger.accepted_signal import Audience
from relay.ledger.channel_rate_limiter import Ticket
from relay.ledger.entry import Entry
from relay.ledger.lease import LEASE_SECONDS, Lease


def attempt(services: Services, task: Task, entry: Entry, send: Send, ticket: Ticket) -> tuple[Task, Result | None]:
    """Announce a task's state: take the incident's lease, send the signal, and record the result.

    There are at most `send.max_attempts` attempts.

    Returns the task and the result. The result is None if another writer changed the incident's ledger entry since it
    was read. Then no signal was sent, and the task keeps `ticket` (the rate limiter's permission to send now), so that
    the caller can begin again. If the ledger fails before the attempt and no signal is sent without it, the
    ticket is given back to the rate limiter. Once the lease is taken, it is never given back.
    """
    task = debts.enqueue(services, task)
    claim, lease = _claim(services, task, entry, send)
    try:
        claimed = services.ledger.write(task.entry_key, entry, claim)
    except LedgerError as error:
        result = degraded.without_ledger(services, task, str(error))
        return task if result.exchange.attempts else give_back(services, replace(task, ticket=ticket)), result
    if claimed is None:
        return replace(task, ticket=ticket), None
    message = task.job.message
    if (message.ledger_down_since or message.waits_for_ledger) and not ticket.is_failed_open:
        task = task.with_ledger()
    sent = services.sender.announce(
        task, claimed, services.deadline, max_attempts=send.max_attempts, only_recipient=send.only_recipient
    )
    until = services.clock()
    if sent.failure is None:
        result = _record_acceptance(
            services, task, claimed, lease, sent, until, is_for_one=send.only_recipient is not None
        )
    else:
        result = _record_failure(services, task, claimed, lease, sent, until)
    failure = (sent.failure.reason, sent.failure.retry_after) if sent.failure else (None, None)
    # A lost report does no harm: the circuit breaker gets the next failure.
    with suppress(LedgerError):
        services.rate_limiter.report(task.rules, ticket, *failure)
    is_unpaced = ticket.is_failed_open and result.outcome == Outcome.DELIVERED
    return task, result.with_unguarded("the rate limiter could not be read") if is_unpaced else result


def give_back(services: Services, task: Task) -> Task:
    """Give a task's unused ticket (the permission to send a signal now) back to the rate limiter.

    Returns the task without the ticket.
    """
    if task.ticket:
        with suppress(LedgerError):
            services.rate_limiter.leave(task.ticket)
    return replace(task, ticket=None)


def _claim(services: Services, task: Task, entry: Entry, send: Send) -> tuple[Entry, Lease]:
    """Return the entry to write, with a new lease for this sender, and the lease.

    The lease is the sender's exclusive right to send for the incident.
    """
    now = services.clock()
    lease = Lease(task.owner, now + LEASE_SECONDS, entry.next_claim(now), task.state)
    after = entry.claimed(lease, send.max_attempts, queued=task.is_queued)
    debt = after.debt.resumed(task.pause_end(now))
    after = replace(task.described(after), environment_id=task.environment_id or after.environment_id, debt=debt)
    if entry.debt.row and task.is_queued and debts.try_store(services, task, entry):
        # An older state is owed already. The row must name this state, in case its sender dies.
        row = debts.row_of(task, lease.until, services.clock())
        # The claim does not reset the number of the begun replacement: the worker may die before it has a result.
        replacement_begun = entry.debt.row.replacement_begun if entry.debt.row.job == row.job else 0
        after = replace(after, debt=replace(after.debt, row=replace(row, replacement_begun=replacement_begun)))
    return after, lease


def _record_acceptance(
    services: Services, task: Task, claimed: Entry, lease: Lease, sent: SendResult, until: float, *, is_for_one: bool
) -> Result:
    audience = Audience(task.job.routing.recipients, is_for_one=is_for_one)

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
    """Wake the job of a newer share now, if that share came while this sender had the incident's lease.

    The job already has a message on the retry queue. That message was delayed past the planned end of the lease, but
    the lease has ended earlier. So a spare copy of the job is put on the queue. The spare copy only tries to send, and
    leaves waits and follow-ups to the first message.
    """
    if entry.debt.since is None or entry.lease or entry.debt.job in {"", task.job.stored_name}:
        return
    with suppress(LedgerError, UnreadableMessage):
        envelope = services.ledger.stored(task.entry_key, entry.debt.job)
        if envelope:
            job = read_envelope(envelope).as_spare()
            services.outbox.enqueue(job, services.deadline, until=services.clock())


def _record_failure(
    services: Services, task: Task, claimed: Entry, lease: Lease, sent: SendResult, until: float
) -> Result:
    """Queue a state that was not accepted, and record the failure in its entry.

    `claimed` is the entry with this sender's `lease`, and `until` the time at which the attempts ended (epoch seconds).
    Afterwards the state is on a queue, in the ledger's `due` index, or both. If both fail, it is dead-lettered.
    """
    result = debts.retry_later(services, task, task.failed(sent))
    row = None
    if result.queue != "dead_letter" and debts.try_store(services, task, claimed):
        wakes, now = result.until or until, services.clock()
        row = debts.row_of(task, wakes, now, has_message=result.queue == "retry")

    def change(now: Entry) -> Entry:
        # The row first: `failed` records attempts and reason only for the newest state.
        owed = now.waiting(task.state, row) if row else now
        if row is None and result.queue and not task.state.precedes(now.newest):
            owed = now.owing(task.state)
        return owed.failed(
            lease,
            sent.attempts,
            sent.maybe_accepted,
            until=until,
            reason=result.reason or "",
            dead_lettered_at=debts.dead_lettered_at(result),
            rests_until=until + AMBIGUOUS_WAIT_SECONDS - WAKE_MARGIN_SECONDS,
        )

    try:
        services.ledger.change(task.entry_key, change, claimed)
        is_recorded = True
    except LedgerError:
        is_recorded = False
    if result.queue:
        return result
    if row and is_recorded:
        return result.queued("ledger").with_last_copy(None)
    return debts.dead_letter(services, task, result)
