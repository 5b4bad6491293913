"""Shadow mode: a share is compared with ledger entries that only shadow mode uses. Nothing is sent or queued.

A signal that would be sent is recorded in these entries as if xMatters had accepted it. The channel's own entry records
the state, too, and owes nothing any more: no state from before is announced, notified or replayed after the mode.
"""

from copy import replace
from functools import partial

from relay.delivery.rules import Settle, step
from relay.delivery.task import Services, Task
from relay.failures import LedgerError, Reason
from relay.jobs.result import Outcome, Result
from relay.ledger.accepted_signal import Audience
from relay.ledger.debt import Wait
from relay.ledger.entry import Entry, shadow_key
from relay.ledger.table import until_written


def observe(services: Services, task: Task) -> Result:
    """Record, in shadow mode, what the channel would do with a share, and return that as its result.

    The outcome is `shadowed` if a live channel would send a signal, now or after a wait. It is `unchanged` if the
    signal would wait for a flapping incident to be calm. If the ledger fails, the outcome is `shadowed`, with the
    notice `unguarded`.
    """
    entry_key = shadow_key(task.entry_key)
    try:
        services.ledger.change(task.entry_key, partial(_settled, task, services.clock()))
        return until_written(lambda: services.ledger.read(entry_key), partial(_observed, services, task, entry_key))
    except LedgerError as error:
        return task.result(Outcome.SHADOWED).with_unguarded(str(error))


def _observed(services: Services, task: Task, entry_key: str, stored: Entry) -> Result | None:
    """Record what the channel would do with a share; None if another function changed the entry since it was read."""
    now = services.clock()
    task, entry, action = step(task, stored, now)
    if isinstance(action, Settle):
        result, note = task.result(action.outcome), action.note
    elif isinstance(action, Wait) and action.reason == Reason.FLAPPING:
        # As in a live channel, people know the incident as bad as this until it is calm.
        result, note = task.result(Outcome.UNCHANGED), entry.owing(task.state)
    else:
        audience = Audience(task.recipients)
        result, note = task.result(Outcome.SHADOWED), entry.announcing(task.state, None, now, audience)
    return result if note is None or services.ledger.write(entry_key, stored, note) is not None else None


def _settled(task: Task, now: float, entry: Entry) -> Entry:
    """Return the channel's own entry with the task's state as its newest, unless it is known, and with nothing owed."""
    task, described, action = step(task, entry, now)
    if isinstance(action, Settle):
        if action.note is None:
            return entry
        entry = action.note
    else:
        # Without its digest, so that a copy of the share counts as news once the channel is live.
        known = replace(entry, about=described.about)
        entry = known.unchanged(replace(task.state, digest=""), is_left_out=True)
    return replace(entry, receipt=replace(entry.receipt, is_open=False))
