"""Degraded paths: delivery of a state while the ledger or the retry queue fails.

A state on the retry queue waits for the ledger for some time. A state that is not on the queue, and a critical that
just arrived, is sent without the ledger ("unguarded"). A page out of order is better than a lost page. The signal is
recorded in the ledger afterwards.
"""

from collections.abc import Callable
from copy import replace
from typing import TYPE_CHECKING

from relay.delivery import debts
from relay.delivery.step import final_reason
from relay.delivery.task import Services, Task, announce
from relay.failures import MAX_ATTEMPTS, LedgerError, Reason
from relay.jobs.job import Flag, seconds_of, timestamp
from relay.jobs.outcome import Outcome, Result, SendResult
from relay.jobs.queue import last_copy
from relay.ledger.debt import Wait
from relay.ledger.entry import Entry

if TYPE_CHECKING:
    from relay.channels.pause import Pause

# Time that a queued job waits for a failing ledger before it is sent without it, and the time between two reads
# (docs/decisions.md, D-ledger-down).
UNGUARDED_AFTER_SECONDS = 120.0
UNGUARDED_WAIT_SECONDS = 30.0
# Wait before an unguarded signal is recorded again. It is short: a resolve is owed only if the signal is recorded.
CATCH_UP_SECONDS = 5.0
MAX_CATCH_UP_SECONDS = 300.0


def without_ledger(services: Services, task: Task, why: str) -> Result:
    """Send the state without the ledger, or let it wait for the ledger if it is on the retry queue.

    A critical of a share that just came is sent at once, which may repeat a page, but at most once for an incident in
    UNGUARDED_AGAIN_SECONDS. All other states wait for UNGUARDED_AFTER_SECONDS, and are then sent; they are sent at once
    if the queue refuses them. Some wait as long as the ledger fails: a revived job, one that is too old or whose
    channel is gone, a critical that was held back, and a resolve that BigPanda has to be asked about. `why` is the
    ledger's error.
    """
    now = services.clock()
    if pause := task.pause(now):
        return _paused(services, task, pause, why)
    task = task.without_ledger(now)
    if task.is_from_webhook and not task.state.is_critical:
        # The incident is no longer critical, so its next critical state is sent at once again.
        services.unguarded.forget(task.entry_key)
    elif task.is_from_webhook and services.unguarded.was_sent(task.entry_key, now):
        task = task.waiting_for_ledger()
    if _may_wait(task, now):
        task = keep(services, task, wait_for_ledger(now))
        if task.is_kept:
            return task.waiting(wait_for_ledger(now), "retry").with_unguarded(why)
    if task.needs_question or (_may_wait(task, now) and not task.is_from_webhook):
        # A claim needs the ledger: without BigPanda's answer a resolve may be forged.
        return _not_taken(task, Reason.INTERNAL, why)
    return _sent(services, task, why)


def _sent(services: Services, task: Task, why: str) -> Result:
    """Send the state without the ledger, and return the result. `why` is the ledger's error."""
    max_attempts = MAX_ATTEMPTS if task.is_from_webhook else 1
    # Another function may have sent this signal before without recording it.
    sent = announce(services, task, Entry(), max_attempts=max_attempts, may_repeat=not task.is_from_webhook)
    if sent.maybe_accepted:
        services.unguarded.record(task.entry_key, services.clock())
    if sent.failure is None:
        sent_at, audience = services.clock(), task.audience(is_for_one=False)

        def change(entry: Entry) -> Entry:
            return entry.announcing(task.state, sent.request_id, sent_at, audience)

        return record_or_queue(services, task, task.delivered(sent), change, why)
    return _retried_later(services, task, sent).with_unguarded(why)


def _retried_later(services: Services, task: Task, sent: SendResult) -> Result:
    """Queue a state that was not accepted without the ledger, or dead-letter it, and return the result.

    It is queued after the attempt, so that the job holds the result of the attempt.
    """
    later, result = debts.retry_later(services, task, task.failed(sent), None)
    if result.queue or not later.is_from_webhook:
        return result
    # With the task as it was before: `dead_letter` adds the failure to its job, too.
    return debts.dead_letter(services, task, result, None)


def _may_wait(task: Task, now: float) -> bool:
    """True if the state has to wait for the ledger, as long as a queue has it. `now` is in epoch seconds."""
    has_to = task.job.is_revived or Flag.WAITS_FOR_LEDGER in task.job.flags or task.needs_question
    is_urgent = task.is_from_webhook and task.state.is_critical
    return has_to or final_reason(task, now) is not None or (not is_urgent and can_wait(task, now))


def keep(services: Services, task: Task, wait: Wait) -> Task:
    """Put the state's message on the retry queue, to wake at the end of `wait`; return the task (see `debts.keep`).

    Without the ledger no plan can be drawn, so the message keeps its own.
    """
    return debts.keep(services, task, wait.until, plan=task.job.plan, reason=wait.reason)


def _paused(services: Services, task: Task, pause: "Pause", why: str) -> Result:
    """Leave a state to its job on the retry queue, while the channel is paused and the ledger fails.

    `why` is the ledger's error. The job is needed even if the pause drops the state: it records the state once the
    ledger works. Without that record, an older state would still be sent after the pause. A resolve that the pause
    drops would not end the incident's pages.
    """
    seconds = debts.UNRECORDED_WAIT_SECONDS if pause.postpones(task.state.came) else UNGUARDED_WAIT_SECONDS
    wait = Wait(Reason.PAUSED, min(pause.until, services.clock() + seconds))
    task = keep(services, task, wait)
    if task.is_kept:
        return task.waiting(wait, "retry").with_unguarded(why)
    return _not_taken(task, Reason.PAUSED, why)


def _not_taken(task: Task, reason: Reason, why: str) -> Result:
    """Return the result of a state that must not be sent now, and that no queue took.

    A message that woke the state stays on its queue then.
    """
    failed = replace(task.result(Outcome.UNSAFE), reason=reason, detail=f"{why}; no queue took it")
    return failed.with_last_copy(last_copy(task.job)) if task.is_from_webhook else failed


def wait_for_ledger(now: float) -> Wait:
    """Return the next wait of a state on the retry queue while the ledger fails. `now` is in epoch seconds."""
    return Wait(Reason.INTERNAL, now + UNGUARDED_WAIT_SECONDS)


def can_wait(task: Task, now: float) -> bool:
    """True if the state may wait longer for the ledger or the rate limiter; `now` is in epoch seconds.

    The limit is UNGUARDED_AFTER_SECONDS, from the first failure of the ledger or the rate limiter for this job.
    """
    since = seconds_of(task.job.ledger_down_since or timestamp(now))
    return now - since < UNGUARDED_AFTER_SECONDS


def record_or_queue(
    services: Services, task: Task, result: Result, change: Callable[[Entry], Entry], why: str
) -> Result:
    """Record an accepted signal in an incident's ledger entry, which lacks it. Queue a job if the ledger fails.

    Without the record, the incident's resolve would not become owed. `change` returns the entry with the signal. A
    queued job records the signal later. `why` says why the entry lacks the signal. The result contains `why` in both
    cases.
    """
    try:
        services.ledger.change(task.entry_key, change)
    except LedgerError:
        sent = replace(task.job, attempts=task.job.attempts + result.exchange.attempts)
        note = sent.with_reason(Reason.INTERNAL).with_flags(Flag.ACCEPTED)
        services.outbox.enqueue(note, until=services.clock() + CATCH_UP_SECONDS)
    return result.with_unguarded(why)


def catch_up(services: Services, task: Task) -> Result:
    """Write the missing ledger record of a state that was announced while the ledger failed.

    The state's job is marked as `accepted`: it sends nothing, and only writes this record. Returns `duplicate` if the
    record is written. If the ledger still fails, the job waits, or is dead-lettered if it is too old.
    """
    try:
        services.ledger.change(task.entry_key, lambda entry: entry.announcing(task.state, None, 0.0))
    except LedgerError:
        why = "the sent signal could not be recorded"
    else:
        return task.result(Outcome.DUPLICATE)
    now = services.clock()
    if now > task.expires_at:
        result = replace(task.result(Outcome.UNSAFE), reason=Reason.EXPIRED)
        return debts.dead_letter(services, task, result, None).with_unguarded(why)
    return put_off(services, task, _soon(task, now), why)


def note_later(services: Services, task: Task, why: str) -> Result:
    """Let a queued job record a state that needs no signal, since the ledger fails now.

    `why` is the ledger's error. The job writes the record once the ledger works. Without the record, an older state,
    which this state superseded, could still be sent.
    """
    now = services.clock()
    if final_reason(task, now):
        return task.result(Outcome.UNCHANGED)
    return put_off(services, task, _soon(task, now), why)


def put_off(services: Services, task: Task, wait: Wait, why: str) -> Result:
    """Leave the state to its job on the retry queue, which wakes at the end of `wait`.

    If the queue does not accept the job, send the state without the ledger. `why` is the reason for which the ledger
    could not be used. The result names it.
    """
    task = keep(services, task, wait)
    if task.is_kept:
        return task.waiting(wait, "retry").with_unguarded(why)
    if not task.is_from_webhook:
        return _not_taken(task, Reason.INTERNAL, why)
    return without_ledger(services, task, why)


def _soon(task: Task, now: float) -> Wait:
    """Return the wait before a job wakes again to record its state in the ledger, which fails now.

    The wait is a tenth of the state's age, at least CATCH_UP_SECONDS and at most MAX_CATCH_UP_SECONDS.
    """
    seconds = min(max(CATCH_UP_SECONDS, (now - task.state.came) / 10), MAX_CATCH_UP_SECONDS)
    return Wait(Reason.INTERNAL, now + seconds)
