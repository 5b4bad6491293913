"""One attempt at a signal: queue its job, claim the incident, send, and record the result.

The job is on the retry queue before the signal is sent, so a crash at any point loses nothing. The job wakes in
any case, and the worker sends the state if the ledger says that it is still owed. The claim is a conditional write that
takes a lease, so one sender at a time announces an incident.
"""

from contextlib import suppress
from copy import replace

from relay.delivery import debts, degraded
from relay.delivery.services import Services
from relay.delivery.step import Send
from relay.delivery.task import Task, next_plan, planned
from relay.failures.errors import LedgerError
from relay.jobs.envelope import UnreadableMessage, read_envelope
from relay.jobs.outbox import RECOVERY_SECONDS, recovery_job
from relay.jobs.outcome import Outcome, Result, SendResult
from relay.ledger.accepted_signal import Audience
from relay.ledger.entry import Entry
from relay.ledger.lease import LEASE_SECONDS, Lease
from relay.ledger.wait import Ticket


def attempt(services: Services, task: Task, entry: Entry, send: Send, ticket: Ticket) -> tuple[Task, Result | None]:
    """Announce a task's state: take the incident's lease, send the signal, and record the result.

    There are at most `send.max_attempts` attempts.

    Returns the task and the result. The result is None if another writer changed the incident's ledger entry since it
    was read. Then no signal was sent, and the task keeps `ticket` (the rate limiter's permission to send now), so that
    the caller can begin again. If the ledger fails before the attempt and no signal is sent without it, the
    ticket is given back to the rate limiter. Once the lease is taken, it is never given back.
    """
    if task.is_from_webhook:
        until = services.clock() + debts.FIRST_WAKE_SECONDS
        task = debts.keep(services, task, until, plan=next_plan(task, entry))
    claim, lease = _claim(services, task, entry, send)
    try:
        claimed = services.ledger.write(task.entry_key, entry, claim)
    except LedgerError as error:
        result = degraded.without_ledger(services, task, str(error))
        return task if result.exchange.attempts else give_back(services, replace(task, ticket=ticket)), result
    if claimed is None:
        return replace(task, ticket=ticket), None
    task = task if ticket.is_failed_open else task.with_ledger()
    sent = services.sender.announce(
        task, claimed, services.deadline, max_attempts=send.max_attempts, only_recipient=send.only_recipient
    )
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
        if services.rate_limiter.report(task.rules, ticket, *failure):
            now = services.clock()
            services.outbox.enqueue(recovery_job(task.job, now), services.deadline, until=now + RECOVERY_SECONDS)
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
    after = entry.claimed(lease, send.max_attempts, queued=task.is_on_queue)
    after = planned(task, entry, after) if task.is_on_queue else after
    debt = after.debt.resumed(task.pause_end(now))
    after = replace(task.described(after), environment_id=task.environment_id or after.environment_id, debt=debt)
    if entry.debt.row and task.is_on_queue and debts.try_store(services, task, entry):
        # An older state is owed already. The row must name this state, in case its sender dies.
        row = debts.row_of(task, lease.until, services.clock())
        # The claim does not reset the number of begun bells: the worker may die before it has a result.
        begun = entry.debt.row.begun if entry.debt.row.job == row.job else 0
        after = replace(after, debt=replace(after.debt, row=replace(row, rung=begun, begun=begun)))
    return after, lease


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
            services.outbox.enqueue(job, services.deadline, until=services.clock())


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
            is_wake=not task.is_from_webhook,
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
