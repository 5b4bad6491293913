"""Debts: owed states that wait. Each has a message on the retry queue, a row in the ledger's `due` index, or both.

The message is queued before the first attempt, with a delay past the sender's lease (`FIRST_WAKE_SECONDS`). Later waits
are those of `jobs.backoff`. The row is written when the first attempts failed, or when the state has to wait before
them. The sweeper uses the row to replace a message that vanished.
"""

from contextlib import suppress
from copy import replace

from relay.delivery.services import Services
from relay.delivery.task import Task
from relay.failures.errors import LedgerError
from relay.failures.reasons import HANDLING, Reason
from relay.jobs.backoff import wait_seconds
from relay.jobs.envelope import envelope_of
from relay.jobs.outbox import last_copy, storable
from relay.jobs.outcome import Outcome, Result, after_failed_retry, after_failure
from relay.jobs.queue import MAX_DELAY_SECONDS
from relay.ledger.entry import Entry
from relay.ledger.ledger import Ledger
from relay.ledger.row import FALLBACK_DESCRIPTION, Row
from relay.ledger.wait import Wait

# Delay of the job that is queued before the first attempt. It is longer than the sender's lease. After an inline
# time-out it leaves 30 s at least, since that attempt may have paged.
FIRST_WAKE_SECONDS = 36.0
# The sweeper replaces a debt's message that is late by this much (docs/decisions.md, D-row-due).
OVERDUE_SECONDS = 180.0
# The sweeper acts on a debt this long after its age limit. By then the worker has dead-lettered it, if
# the debt's own message arrived.
OVERAGE_SECONDS = 15.0
# A row is written again if it would be overdue within this time after its job wakes; else it stays, to save a write.
RENEWED_SECONDS = 60.0
# Stored jobs outlive the debt by this time, so that an operator can find them.
STORED_SECONDS = 2 * 24 * 3600.0
# Waits whose end can change: the ledger alone has the state, and the sweeper sends its job.
WAITS_WITHOUT_MESSAGE = frozenset({Reason.PAUSED, Reason.FLAPPING})
# Such a wait while the ledger fails: the state has no row, so the sweeper does not wake it when its wait ends early.
UNRECORDED_WAIT_SECONDS = 120.0
# Wait before a job is offered again to a dead-letter queue that did not accept it.
DEAD_LETTER_AGAIN_SECONDS = 60.0


def enqueue(services: Services, task: Task, wait: Wait | None = None) -> Task:
    """Put the job of a share that BigPanda just sent on the retry queue, if it is not there yet.

    Returns the task, which records if the queue accepted the job. The job wakes at the end of `wait`. If `wait` is
    None, the job wakes after the sender's lease. It then retries the signal if the attempts failed, or if this function
    died. If the task's job came from the queue, nothing is done.

    If the job is queued already, and the rate limiter then reserves a slot before the job wakes, a spare copy is queued
    for the slot. This happens if the job first had to wait for another sender's lease, and that lease ended early.
    """
    if not task.is_from_webhook or task.queue_refused_it:
        return task
    if task.is_queued:
        return _wake_in_time(services, task, wait) if wait and wait.slot and wait.until + 1 < task.wakes_at else task
    job, until = task.job, services.clock() + FIRST_WAKE_SECONDS
    if wait:
        job, until = task.job.waiting(wait.reason, wait.until), wait.until
    is_enqueued = services.outbox.enqueue(job, services.deadline, until=until)
    return replace(task, is_queued=is_enqueued, wakes_at=until, queue_refused_it=not is_enqueued)


def _wake_in_time(services: Services, task: Task, wait: Wait) -> Task:
    """Enqueue an additional copy of a queued job, which wakes at the end of `wait`. Return the task with that time."""
    job = task.job.waiting(wait.reason, wait.until).as_spare()
    is_enqueued = services.outbox.enqueue(job, services.deadline, until=wait.until)
    return replace(task, wakes_at=wait.until) if is_enqueued else task


def let_wait(services: Services, task: Task, entry: Entry, wait: Wait) -> Result | None:
    """Record in the ledger that the state is owed, and the end of its wait.

    Returns None if another writer changed the entry since it was read. A wait that is longer than SQS's largest delay
    needs no message: the sweeper sends one at its end. The same holds for a pause, which can end early, and for a flap,
    whose end moves with each change. Raises LedgerError if the state is neither recorded nor on the retry queue.
    """
    is_paused = wait.reason == Reason.PAUSED
    is_short = task.is_from_webhook or wait.until - services.clock() <= MAX_DELAY_SECONDS
    has_message = task.is_queued and is_short and wait.reason not in WAITS_WITHOUT_MESSAGE
    row = row_of(task, wait.until, services.clock(), has_message=has_message)
    try:
        # The stored job has to outlive the pause, which may have been prolonged since the job was stored.
        if is_paused or entry.debt.job != task.job.stored_name:
            store_job(services.ledger, task.job.stored_name, task, services.clock())
        owed = task.described(entry.waiting(task.state, row))
        # relayctl shows the reason for the wait of a replayed job. The reason `paused` is replaced after a pause.
        is_shown = entry.dead_letter.revived_at or owed.debt.reason == Reason.PAUSED
        reason = wait.reason if is_shown else owed.debt.reason
        debt = replace(owed.debt, slot=wait.slot or entry.debt.slot, reason=reason)
        if wait.reason == Reason.CLAIMED:
            debt = replace(debt, claim_hold_until=wait.until)
        pause_end = task.pause_end(services.clock())
        owed = replace(owed, debt=debt.paused(wait.until, wait.paused_by) if is_paused else debt.resumed(pause_end))
        is_recorded = has_message and _is_recorded(task, entry, owed, wait.until)
        if not is_recorded and services.ledger.write(task.entry_key, entry, owed) is None:
            return None
    except LedgerError as error:
        if not task.is_queued:
            raise
        # The job is on the queue and has a reason to wait, so the failed record is no reason to send it now.
        if wait.reason in WAITS_WITHOUT_MESSAGE:
            wait = replace(wait, until=min(wait.until, services.clock() + UNRECORDED_WAIT_SECONDS))
        return task.without_ledger(services.clock()).waiting(wait, "retry").with_unguarded(str(error))
    # A task that waits for the rate limiter's table keeps `ledger_down_since`, which ends that wait.
    task = task if wait.reason == Reason.INTERNAL else task.with_ledger()
    return task.waiting(wait, "retry" if has_message else "ledger")


def row_of(task: Task, until: float, now: float, *, has_message: bool = True) -> Row:
    """Return the row of the `due` index for a state that waits until `until` (epoch seconds).

    The sweeper acts on a row that is due. `has_message` is True if a message on the retry queue wakes at the end of the
    wait. Then the row is due some minutes later, but at the latest shortly after the state expires.
    """
    due = until
    if has_message:
        # SQS delays a live share's message by 15 minutes at most.
        due = min(until, now + MAX_DELAY_SECONDS) + OVERDUE_SECONDS
    return Row(
        min(due, task.wake_at(due, now) + OVERAGE_SECONDS), task.job.stored_name, is_critical=task.state.is_critical
    )


def store_job(ledger: Ledger, name: str, task: Task, now: float) -> None:
    """Store the job of a task under `name` in the ledger, until some time after the state expires.

    `name` tells the stored jobs of one entry apart. `now` is in epoch seconds. Raises LedgerError.
    """
    # A pause delays the end of the state's age.
    lasts = max(task.expires_at - now, task.channel.policy.max_age_seconds) + STORED_SECONDS
    ledger.store(task.entry_key, name, envelope_of(storable(task.job.fresh())), lasts=lasts)


def try_store(services: Services, task: Task, entry: Entry) -> bool:
    """Store the job of an owed state for the sweeper, unless it is stored already; return False if the ledger fails."""
    try:
        if entry.debt.job != task.job.stored_name:
            store_job(services.ledger, task.job.stored_name, task, services.clock())
    except LedgerError:
        return False
    return True


def retry_later(services: Services, task: Task, result: Result) -> Result:
    """Leave a failed signal to the retry queue, or dead-letter it if its failure is final.

    A job from the queue gets its next backoff, and the worker puts it back on the queue. The job of a share that
    BigPanda just sent is on the queue already (see `enqueue`), or is queued now. If the queue does not accept it, the
    result has no queue and stays `unsafe`. The job of a new share wakes after FIRST_WAKE_SECONDS, whatever Retry-After
    says: the delay of a queued message can't be changed. After a 429, the channel's open circuit makes the job wait.
    """
    now, reason = services.clock(), result.reason or Reason.INTERNAL
    if HANDLING[reason].is_final:
        return dead_letter(services, task, result)
    queued = result.queued("retry")
    if task.is_from_webhook:
        job = after_failure(task.job, result, now)
        is_enqueued = task.is_queued or services.outbox.enqueue(job, services.deadline, until=now + FIRST_WAKE_SECONDS)
        return replace(queued if is_enqueued else result, until=now + FIRST_WAKE_SECONDS)
    wait = wait_seconds(
        reason,
        task.job.failures.failed_retries,
        result.exchange.retry_after,
        services.sender.random(),
        may_have_acted=result.exchange.may_have_acted,
        is_critical=task.state.is_critical,
    )
    return replace(queued, job=after_failed_retry(task.job, result, now), until=task.wake_at(now + wait, now))


def dead_letter_and_record(services: Services, task: Task, entry: Entry, reason: Reason) -> Result:
    """Dead-letter a state that is owed, and record that in the ledger.

    `reason` is `expired`, `channel_removed` or `shadowed`.
    """
    result = dead_letter(services, task, replace(task.result(Outcome.UNSAFE), reason=reason))
    at, until = dead_lettered_at(result), services.clock() + DEAD_LETTER_AGAIN_SECONDS + OVERDUE_SECONDS

    def change(now: Entry) -> Entry:
        if at is None:
            return replace(now, debt=now.debt.postponed(until))
        return now.dead_lettering(task.state, at, reason)

    # If the ledger fails, a remaining message of the debt records it later.
    with suppress(LedgerError):
        services.ledger.change(task.entry_key, change, entry)
    return result


def dead_letter(services: Services, task: Task, result: Result) -> Result:
    """Put the job of a state on the dead-letter queue, and return `result` with that recorded.

    If that queue fails, a job from the retry queue stays there for another attempt. A new share is then answered
    `unsafe`.
    """
    job = after_failure(task.job, result, services.clock())
    dead_lettered = services.outbox.dead_letter(job, services.deadline)
    if dead_lettered:
        if task.state.is_critical:
            with suppress(LedgerError):
                store_job(services.ledger, FALLBACK_DESCRIPTION, task, services.clock())
        return replace(result.queued("dead_letter"), job=dead_lettered)
    if task.is_queued:
        return replace(result.queued("retry"), until=services.clock() + DEAD_LETTER_AGAIN_SECONDS, job=job)
    return replace(result, detail=f"{result.detail}; no queue took it").with_last_copy(last_copy(job))


def dead_lettered_at(result: Result) -> float | None:
    """Return the time at which this result's job was dead-lettered (epoch seconds); None if it was not."""
    return result.job.revival.dead_lettered_seconds if result.queue == "dead_letter" and result.job else None


def _is_recorded(task: Task, entry: Entry, owed: Entry, until: float) -> bool:
    """True if the ledger already records that the state is owed, so that the entry need not be written again.

    `entry` is the incident's ledger entry as it was read, and `owed` is the entry to write. The recorded row of the
    `due` index must not be due before the job wakes, at `until` (epoch seconds).
    """
    is_in_time = entry.debt.job == task.job.stored_name and entry.debt.due >= until + RENEWED_SECONDS
    # A wait resets the count of the sweeper's jobs that began without a result, so it is written if there is a count.
    is_in_time = is_in_time and entry.debt.replacement_begun == 0
    written, debt = owed.debt, entry.debt
    is_same = (written.slot, written.reason, written.claim_hold_until) == (
        debt.slot,
        debt.reason,
        debt.claim_hold_until,
    )
    return is_in_time and is_same and task.state.is_same(entry.newest)
