"""Debts: owed states that wait. Each has a message on the retry queue, a row in the ledger's `due` index, or both.

The ledger's entry decides what is done; a message only wakes a worker. Each message has a number, its *plan*. A wait or
a failure queues a message with the next plan, and then records the plan in the entry. A message of the same state with
a lower plan is dropped when it wakes. So of many messages of one state, the last one counts.

The first message is queued before the first attempt, with a delay past the sender's lease (`FIRST_WAKE_SECONDS`). Later
waits are those of `failures`. The row is written when the first attempts failed, or when the state has to wait
before them. The sweeper uses the row to wake a state whose message vanished.
"""

from contextlib import suppress
from copy import replace
from typing import TYPE_CHECKING

from relay.delivery.task import Services, Task, next_plan, planned
from relay.failures import HANDLING, LONGEST_WAIT_SECONDS, LedgerError, Reason, wait_seconds
from relay.jobs.outcome import Outcome, Result, after_failure
from relay.jobs.queue import envelope_of, last_copy, storable
from relay.ledger.debt import FALLBACK_DESCRIPTION, Row, Wait
from relay.ledger.entry import Entry

if TYPE_CHECKING:
    from relay.ledger.ledger import Ledger

# Delay of the message that is queued before the first attempt. It is longer than the sender's lease. After an inline
# time-out it leaves 30 s at least, since that attempt may have paged.
FIRST_WAKE_SECONDS = 36.0
# The sweeper wakes a debt whose message is late by this much (docs/decisions.md, D-row-due).
OVERDUE_SECONDS = 180.0
# The sweeper acts on a debt this long after its age limit. By then the worker has dead-lettered it, if
# the debt's own message arrived.
OVERAGE_SECONDS = 15.0
# Stored jobs outlive the debt by this time, so that an operator can find them.
STORED_SECONDS = 2 * 24 * 3600.0
# Waits whose end can change: the ledger alone has the state, and the sweeper wakes it.
WAITS_WITHOUT_MESSAGE = frozenset({Reason.PAUSED, Reason.FLAPPING, Reason.CIRCUIT_OPEN})
# Such a wait while the ledger fails: the state has no row, so the sweeper does not wake it when its wait ends early.
UNRECORDED_WAIT_SECONDS = 120.0
# Wait before a job is offered again to a dead-letter queue that did not accept it.
DEAD_LETTER_AGAIN_SECONDS = 60.0


def keep(services: Services, task: Task, until: float, *, plan: int, reason: Reason = Reason.IN_FLIGHT) -> Task:
    """Put a message on the retry queue that wakes the state at `until` (epoch seconds), with the number `plan`.

    Nothing is done if this function put a message there that wakes no later, or if the queue refused one. Returns the
    task, which records if the queue accepted the message. `reason` is shown to operators.
    """
    if task.queue_refused_it or task.wakes_at <= until + 1:
        return task
    job = task.job.with_reason(reason).planned(plan)
    if not services.outbox.enqueue(job, until=until):
        return replace(task, queue_refused_it=True)
    return replace(task, job=task.job.planned(plan), wakes_at=until)


def hold(services: Services, task: Task, entry: Entry, wait: Wait) -> tuple[Task, Result | None]:
    """Let the state wait: queue its next message, and record that it is owed.

    Returns the task and the result. The result is None if another writer changed the entry since it was read. A wait
    that is longer than SQS's largest delay needs no message: the sweeper wakes the state at its end. The same holds for
    a pause, which can end early, for a flap, whose end moves with each change, and for an open circuit, unless the
    state is to probe it. Raises LedgerError if the state is neither recorded nor on the retry queue.
    """
    now, plan = services.clock(), next_plan(task, entry)
    # A task that waits for the rate limiter's table keeps `ledger_down_since`, which ends that wait.
    task = task if wait.reason == Reason.INTERNAL else task.with_ledger()
    is_short = wait.until - now <= LONGEST_WAIT_SECONDS
    needs_message = is_short and (wait.is_probe or wait.reason not in WAITS_WITHOUT_MESSAGE)
    if needs_message:
        task = keep(services, task, wait.until, plan=plan, reason=wait.reason)
    elif not task.is_kept:
        task = replace(task, job=task.job.planned(plan))
    has_message = needs_message and task.is_kept
    try:
        owed = _held(services, task, entry, wait, has_message=has_message)
        if services.ledger.write(task.entry_key, entry, owed) is None:
            return task, None
    except LedgerError as error:
        # The state has a reason to wait, so the failed record is no reason to send it now.
        until = wait.until if needs_message else min(wait.until, now + UNRECORDED_WAIT_SECONDS)
        task = keep(services, task.without_ledger(now), until, plan=plan, reason=wait.reason)
        if not task.is_kept:
            raise
        return task, task.waiting(replace(wait, until=until), "retry").with_unguarded(str(error))
    return task, task.waiting(wait, "retry" if has_message else "ledger")


def _held(services: Services, task: Task, entry: Entry, wait: Wait, *, has_message: bool) -> Entry:
    """Return the entry with the task's state owed until the end of `wait`. Its job is stored. Raises LedgerError."""
    now, is_paused = services.clock(), wait.reason == Reason.PAUSED
    # The stored job has to outlive the pause, which may have been prolonged since the job was stored.
    if is_paused or entry.debt.job != task.job.stored_name:
        store_job(services.ledger, task.job.stored_name, task, now)
    row = row_of(task, wait.until, now, has_message=has_message)
    owed = task.described(planned(task, entry, entry.waiting(task.state, row)))
    # relayctl shows the reason for the wait of a replayed job. The reason `paused` is replaced after a pause.
    is_shown = entry.debt.revived_at or owed.debt.reason == Reason.PAUSED
    reason = wait.reason if is_shown else owed.debt.reason
    debt = replace(owed.debt, slot=wait.slot or entry.debt.slot, reason=reason)
    if wait.reason == Reason.CLAIMED:
        debt = replace(debt, claim_hold_until=wait.until)
    debt = debt.paused(wait.until, wait.paused_by) if is_paused else debt.resumed(task.pause_end(now))
    return replace(owed, debt=debt)


def row_of(task: Task, until: float, now: float, *, has_message: bool = True) -> Row:
    """Return the row of the `due` index for a state that waits until `until` (epoch seconds).

    The sweeper acts on a row that is due. `has_message` is True if a message on the retry queue wakes at the end of the
    wait. Then the row is due some minutes later, but at the latest shortly after the state expires.
    """
    due = until + OVERDUE_SECONDS if has_message else until
    return Row(
        min(due, task.wake_at(due, now) + OVERAGE_SECONDS), task.job.stored_name, is_critical=task.state.is_critical
    )


def store_job(ledger: "Ledger", name: str, task: Task, now: float) -> None:
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


def retry_later(services: Services, task: Task, result: Result, entry: Entry | None) -> tuple[Task, Result]:
    """Leave a failed signal to a message on the retry queue, or dead-letter it if its failure is final.

    `entry` is the incident's entry; None if the ledger fails. A state that a message woke gets its next backoff. The
    message of a share that BigPanda just sent is on the queue already, or is queued now. If the queue does not accept
    it, the result has no queue and stays `unsafe`. The message of a new share wakes after FIRST_WAKE_SECONDS, whatever
    Retry-After says: the delay of a queued message can't be changed. After a 429, the channel's open circuit makes the
    state wait.
    """
    now, reason = services.clock(), result.reason or Reason.INTERNAL
    if HANDLING[reason].is_final:
        return task, dead_letter(services, task, result, entry)
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
        task = keep(services, replace(task, queue_refused_it=False), until, plan=plan, reason=reason)
    return task, replace(result.queued("retry") if task.is_kept else result, until=until, job=task.job)


def dead_letter_and_record(services: Services, task: Task, entry: Entry, reason: Reason) -> Result:
    """Dead-letter a state that is owed, and record that in the ledger.

    `reason` is `expired`, `channel_removed` or `shadowed`.
    """
    result = dead_letter(services, task, replace(task.result(Outcome.UNSAFE), reason=reason), entry)
    at, until = dead_lettered_at(result), services.clock() + DEAD_LETTER_AGAIN_SECONDS + OVERDUE_SECONDS

    def change(now: Entry) -> Entry:
        if at is None:
            return replace(now, debt=now.debt.postponed(until))
        return now.dead_lettering(task.state, at, reason, plan=next_plan(task, entry))

    # If the ledger fails, a remaining message of the debt records it later.
    with suppress(LedgerError):
        services.ledger.change(task.entry_key, change, entry)
    return result


def dead_letter(services: Services, task: Task, result: Result, entry: Entry | None) -> Result:
    """Put the job of a state on the dead-letter queue, and return `result` with that recorded.

    `entry` is the incident's entry; None if the ledger fails. If that queue fails, a job from the retry queue stays
    there for another attempt. A new share is then answered `unsafe`.
    """
    job = after_failure(task.job, result, services.clock())
    job = job.planned(next_plan(task, entry)) if entry else job
    dead_lettered = services.outbox.dead_letter(job)
    if dead_lettered:
        if task.state.is_critical:
            with suppress(LedgerError):
                store_job(services.ledger, FALLBACK_DESCRIPTION, task, services.clock())
        return replace(result.queued("dead_letter"), job=dead_lettered)
    if not task.is_from_webhook:
        again, reason = replace(task, job=job), result.reason or Reason.INTERNAL
        until = services.clock() + DEAD_LETTER_AGAIN_SECONDS
        task = keep(services, again, until, plan=task.job.plan, reason=reason)
    if task.is_kept:
        return replace(result.queued("retry"), until=task.wakes_at, job=job)
    failed = replace(result, detail=f"{result.detail}; no queue took it")
    return failed.with_last_copy(last_copy(job)) if task.is_from_webhook else failed


def dead_lettered_at(result: Result) -> float | None:
    """Return the time at which this result's job was dead-lettered (epoch seconds); None if it was not."""
    return result.job.dead_lettered_seconds if result.queue == "dead_letter" and result.job else None
