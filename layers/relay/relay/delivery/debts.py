"""Debts: states that are owed and wait. Each has a message on the retry queue, a row in the ledger's index, or both.

The message is put on the queue before the first attempt, to wake when its sender must be done. The row is written when
the state has to wait longer: the sweeper then sends a new message if the first one vanishes.
"""

from contextlib import suppress
from copy import replace

from relay.delivery.services import Services
from relay.delivery.task import Task
from relay.errors import HANDLING, LedgerError, Reason
from relay.jobs.backoff import wait_seconds
from relay.jobs.outbox import last_copy, storable
from relay.jobs.outcome import Outcome, Result, after_failure
from relay.jobs.queue import MAX_DELAY_SECONDS
from relay.ledger.entry import Entry, Wait
from relay.ledger.row import WORDS, Row

# A kept job sleeps until its sender's lease is surely over, and a time-out of the sender's is 30 s ago.
KEEP_SECONDS = 36.0
# A debt whose message did not come so long after its time gets a new one from the sweeper (docs/decisions.md,
# D-row-due).
OVERDUE_SECONDS = 180.0
# The sweeper looks after a debt so soon after its age's end: by then its own message gave it up, if it came.
OVERAGE_SECONDS = 15.0
# A row that would be overdue sooner than this after its job wakes again is written anew; else it may stay as it is.
RENEWED_SECONDS = 60.0
# Stored jobs outlive the debt, so that an operator finds them.
STORED_SECONDS = 2 * 24 * 3600.0
# What the dead-letter queue did not take is offered to it again.
DEAD_LETTER_AGAIN_SECONDS = 60.0


def keep(services: Services, task: Task, wait: Wait | None = None) -> Task:
    """Put the job of a live share on the retry queue, once; return the task, which knows whether that was done.

    The job wakes at the end of the wait, or when its sender must be done.
    """
    if not task.is_live or task.is_queued or task.is_turned_away:
        return task
    job, until = task.job, services.clock() + KEEP_SECONDS
    if wait:
        job, until = task.job.waiting(wait.reason, wait.until), wait.until
    is_kept = services.keeper.keep(job, services.deadline, until=until)
    return replace(task, is_queued=is_kept, is_turned_away=not is_kept)


def let_wait(services: Services, task: Task, entry: Entry, wait: Wait) -> Result | None:
    """Note that the state is owed, and by when it may be sent; None when the ledger was changed meanwhile.

    A job that waits for longer than a message can needs no message: the sweeper sends one when the wait ends. Raises
    LedgerError if the state is neither noted nor on the retry queue.
    """
    has_message = task.is_queued and (task.is_live or wait.until - services.clock() <= MAX_DELAY_SECONDS)
    row = row_of(task, wait.until, services.clock(), has_message=has_message)
    try:
        store(services, task, entry)
        owed = entry.waiting(task.state, row)
        # An operator who replays follows the entry, and reads there what the state waits for.
        reason = wait.reason if entry.revived_at else owed.reason
        owed = replace(owed, slot=wait.slot or entry.slot, reason=reason)
        is_noted = has_message and _is_noted(task, entry, owed, wait.until)
        if not is_noted and services.ledger.write(task.name, entry, owed) is None:
            return None
    except LedgerError as error:
        if not task.is_queued:
            raise
        # What holds it is known, and the job is safe: it must not be sent for want of a note.
        return replace(task.without_ledger(services.clock()).waiting(wait, "retry"), unguarded=str(error))
    # What waits for the pace to be asked again remembers since when.
    task = task if wait.reason == Reason.INTERNAL else task.with_ledger()
    return task.waiting(wait, "retry" if has_message else "ledger")


def row_of(task: Task, until: float, now: float, *, has_message: bool = True) -> Row:
    """Return the row of a state that waits until then. Times are in epoch seconds.

    The sweeper acts on it some minutes after the message is due, but soon after the state is too old to be sent.
    """
    due = until
    if has_message:
        # A live share's message wakes no later than SQS can delay it.
        due = min(until, now + MAX_DELAY_SECONDS) + OVERDUE_SECONDS
    return Row(
        min(due, task.wake_at(due, now) + OVERAGE_SECONDS), task.job.stored_name, is_critical=task.state.is_critical
    )


def store(services: Services, task: Task, entry: Entry) -> None:
    """Store the job of a state that is owed, if its row does not name it yet. Raises LedgerError."""
    if entry.row_job != task.job.stored_name:
        _store_as(services, task.job.stored_name, task)


def is_stored(services: Services, task: Task, entry: Entry) -> bool:
    """Store the job as `store` does; return False if the ledger fails."""
    try:
        store(services, task, entry)
    except LedgerError:
        return False
    return True


def rest(services: Services, task: Task, result: Result) -> Result:
    """Keep a state that was not accepted on the retry queue; dead-letter one that can't be sent at all.

    The result has no queue, and is still `unsafe`, if the retry queue does not take it. A job that woke up waits as
    its backoff says.
    """
    now, reason = services.clock(), result.reason or Reason.INTERNAL
    if HANDLING[reason].is_final:
        return dead_letter(services, task, result)
    queued = replace(result, outcome=Outcome.QUEUED, queue="retry")
    if task.is_live:
        job = after_failure(task.job, result, now)
        is_kept = task.is_queued or services.keeper.keep(job, services.deadline, until=now + KEEP_SECONDS)
        return replace(queued if is_kept else result, until=now + KEEP_SECONDS)
    wait = wait_seconds(
        reason,
        task.job.rounds,
        result.retry_after,
        services.sender.random(),
        may_have_rung=result.may_have_rung,
        is_critical=task.state.is_critical,
    )
    job = replace(after_failure(task.job, result, now), rounds=task.job.rounds + 1)
    return replace(queued, job=job, until=task.wake_at(now + wait, now))


def give_up(services: Services, task: Task, entry: Entry, reason: Reason) -> Result:
    """Dead-letter a state that is owed for too long, or whose channel was removed, and note that in the ledger."""
    result = dead_letter(services, task, replace(task.result(Outcome.UNSAFE), reason=reason))
    mark, until = mark_of(result), services.clock() + DEAD_LETTER_AGAIN_SECONDS + OVERDUE_SECONDS

    def change(now: Entry) -> Entry:
        return now.postponed(until) if mark is None else now.dead_lettering(task.state, mark, reason)

    # If the ledger fails, a leftover message notes it.
    with suppress(LedgerError):
        services.ledger.change(task.name, change, entry)
    return result


def dead_letter(services: Services, task: Task, result: Result) -> Result:
    """Dead-letter a state; it waits on the retry queue if the dead-letter queue does not take it."""
    job = after_failure(task.job, result, services.clock())
    dead_lettered = services.keeper.dead_letter(job, services.deadline)
    if dead_lettered:
        if task.state.is_critical:
            with suppress(LedgerError):
                _store_as(services, WORDS, task)
        return replace(result, outcome=Outcome.QUEUED, queue="dead_letter", job=dead_lettered)
    if task.is_queued:
        until = services.clock() + DEAD_LETTER_AGAIN_SECONDS
        return replace(result, outcome=Outcome.QUEUED, queue="retry", until=until, job=job)
    return replace(result, detail=f"{result.detail}; no queue took it", last_copy=last_copy(job))


def mark_of(result: Result) -> float | None:
    """Return the mark of the message that the result put on the dead-letter queue, in epoch seconds."""
    return result.job.mark if result.queue == "dead_letter" and result.job else None


def _store_as(services: Services, name: str, task: Task) -> None:
    job = storable(task.job.fresh())
    lasts = task.channel.policy.max_age_seconds + STORED_SECONDS
    services.ledger.store(task.name, name, job.to_json(), lasts=lasts)


def _is_noted(task: Task, entry: Entry, owed: Entry, until: float) -> bool:
    """True if the entry says already that the state is owed, and its row is not overdue before the job wakes."""
    is_in_time = entry.row_job == task.job.stored_name and entry.row_due >= until + RENEWED_SECONDS
    # A wait is a result. It has to be written if it ends a count of the sweeper's jobs that came to nothing.
    is_in_time = is_in_time and entry.row_begun == 0
    is_same = task.state.is_same(entry.kept) and (owed.slot, owed.reason) == (entry.slot, entry.reason)
    return is_in_time and is_same
