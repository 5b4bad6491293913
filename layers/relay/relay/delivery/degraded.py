"""Degraded paths: what is done with a state when the ledger or the retry queue fails.

To lose the order is better than to lose the page. A state that is safe on the retry queue gives the ledger time; one
that is not, and a critical that just came, is sent without asking the ledger. The ledger is told afterwards.
"""

from collections.abc import Callable
from copy import replace

from relay.delivery import debts
from relay.delivery.decision import MAX_TRIES
from relay.delivery.retries import signal_of
from relay.delivery.services import Services
from relay.delivery.task import Task
from relay.errors import LedgerError, Reason
from relay.jobs.envelope import seconds_of, timestamp
from relay.jobs.outcome import Outcome, Result
from relay.ledger.entry import Audience, Entry, Wait

# A job is safe on its queue: it waits so long for a ledger that is down before it is sent without it
# (docs/decisions.md, D-ledger-down).
UNGUARDED_AFTER_SECONDS = 120.0
UNGUARDED_WAIT_SECONDS = 30.0
# The ledger is told as soon as it can be of what was sent without it: the resolve must not come before.
CATCH_UP_SECONDS = 5.0
MAX_CATCH_UP_SECONDS = 300.0


def without_ledger(services: Services, task: Task, why: str) -> Result:
    """Send the state without asking the ledger, or let it wait for the ledger if a queue has it.

    A live critical is sent at once, maybe for the second time, but once for its incident in a while. Everything else
    waits. `why` says how the ledger failed.
    """
    now = services.clock()
    task = task.without_ledger(now)
    if task.is_live and not task.state.is_critical:
        # If it is critical again after this, that is news.
        services.unguarded.forget(task.name)
    elif task.is_live and services.unguarded.was_sent(task.name, now):
        task = replace(task, job=replace(task.job, waits_for_ledger=True))
    if not (task.is_live and task.state.is_critical) or task.job.waits_for_ledger:
        waiting = wait_for_ledger(now)
        task = debts.keep(services, task, waiting)
        can_be_late = task.job.is_revived or task.job.waits_for_ledger or task.hold is not None or can_wait(task, now)
        if task.is_queued and can_be_late:
            until = max(waiting.until, task.hold.until if task.hold else 0.0)
            return replace(task.waiting(replace(waiting, until=until), "retry"), unguarded=why)
    tries = MAX_TRIES if task.is_live else 1
    signal = signal_of(task, Entry(), None)
    # Another function may have sent the job's signal before, and could not record that.
    signal = replace(signal, may_repeat=signal.may_repeat or not task.is_live)
    sent = services.sender.send_signal(task, signal, services.deadline, tries=tries)
    if sent.rings:
        services.unguarded.note(task.name, services.clock())
    if sent.failure is None:
        sent_at, audience = services.clock(), Audience(task.job.recipients)

        def change(entry: Entry) -> Entry:
            return entry.announcing(task.state, sent.request_id, sent_at, audience)

        return to_catch_up(services, task, task.delivered(sent), change, why)
    # Not kept before: its job has to say what came of this attempt.
    result = debts.rest(services, task, task.failed(sent))
    return replace(result if result.queue else debts.dead_letter(services, task, result), unguarded=why)


def wait_for_ledger(now: float) -> Wait:
    """Return the wait of a state that is safe on the retry queue."""
    return Wait(Reason.INTERNAL, now + UNGUARDED_WAIT_SECONDS)


def can_wait(task: Task, now: float) -> bool:
    """True if the state waits for the ledger, or the pace, not for long yet; `now` is in epoch seconds."""
    since = seconds_of(task.job.ledger_down_since or timestamp(now))
    return now - since < UNGUARDED_AFTER_SECONDS


def to_catch_up(services: Services, task: Task, result: Result, change: Callable[[Entry], Entry], why: str) -> Result:
    """Tell the ledger of what was announced without it, now or by a job later, so that its resolve will be owed.

    `change` notes it in the entry.
    """
    try:
        services.ledger.change(task.name, change)
    except LedgerError:
        attempts = task.job.attempts + result.attempts
        note = replace(task.job, accepted=True, spare=False, reason=Reason.INTERNAL, attempts=attempts)
        services.keeper.keep(note, services.deadline, until=services.clock() + CATCH_UP_SECONDS)
    return replace(result, unguarded=why)


def catch_up(services: Services, task: Task) -> Result:
    """Tell the ledger of a state that was announced without it; the task's job was kept to do that."""
    try:
        services.ledger.change(task.name, lambda entry: entry.announcing(task.state, None, 0.0))
    except LedgerError:
        why = "what was sent is not recorded"
    else:
        return task.result(Outcome.DUPLICATE)
    if task.hold and task.is_given_up:
        given_up = replace(task.result(Outcome.UNSAFE), reason=task.hold.reason)
        return replace(debts.dead_letter(services, task, given_up), unguarded=why)
    now = services.clock()
    return replace(task.waiting(_soon(task, now), "retry"), unguarded=why)


def note_later(services: Services, task: Task, why: str) -> Result:
    """Let the job of a state that must not ring note that as soon as it can; what the state ends must not ring either.

    `why` says how the ledger failed.
    """
    if task.is_given_up:
        return task.result(Outcome.UNCHANGED)
    return put_off(services, task, _soon(task, services.clock()), why)


def put_off(services: Services, task: Task, wait: Wait, why: str) -> Result:
    """Leave the state to the retry queue; if the queue does not take it, send it as it is."""
    task = debts.keep(services, task, wait)
    if task.is_queued:
        return replace(task.waiting(wait, "retry"), unguarded=why)
    return without_ledger(services, task, why)


def _soon(task: Task, now: float) -> Wait:
    """Soon at first, then the later the longer the ledger fails: a tenth of how long it does already."""
    seconds = min(max(CATCH_UP_SECONDS, (now - task.state.came) / 10), MAX_CATCH_UP_SECONDS)
    return Wait(Reason.INTERNAL, now + seconds)
