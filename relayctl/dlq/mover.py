"""Mover of dead-lettered jobs, for a replay: it puts their messages back on the retry queue, and follows them.

A message is on the retry queue before it is deleted, so after a crash both queues may have it: the ledger lets only one
copy page, and the worker decides if it is still needed.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import replace
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from relay.delivery.task import entry_key_of, recorded_state
from relay.failures import BadRequest, LedgerError, Reason
from relay.incidents.share import State, parse_share
from relay.jobs.job import Job, JobKind, seconds_of
from relay.jobs.queue import Message, Queue, attributes_of, read_envelope
from relay.ledger.entry import Entry
from relay.ledger.table import Ledger
from relayctl.dlq.queue import DeadLetters, HeldMessage

# Bounds the time until a Ctrl-C takes effect.
LONGEST_SLEEP_SECONDS = 0.5


class Became(StrEnum):
    """Outcome of a dead-lettered job that an operator chose for a replay."""

    DELIVERED = "delivered"  # xMatters accepted its signal
    NOT_OWED = "not_owed"  # The worker found that its state need not be announced any more
    MOVED = "moved"  # On the retry queue, and no signal or share: only the worker's log has its outcome
    WAITING = "waiting"  # It waits for its next attempt
    DEAD_LETTERED = "dead_lettered"  # It came back to the dead-letter queue
    FAILED = "failed"  # It could not be moved
    LEFT = "left"  # The replay ended before it was tried


class Fate(NamedTuple):
    """Outcome of a replayed job, and the reason."""

    became: Became
    reason: str | None = None  # Why the job waits, or was dead-lettered again; None if unknown
    request_id: str | None = None  # xMatters' id of the delivered signal; None if unknown


@dataclass
class Moved:
    """A dead-lettered job that a replay moved to the retry queue, or could not move."""

    job: Job  # The job, without its body
    state: State | None  # The state that it announces; None if it is not a signal, or its body is not a share
    fate: Fate  # Its outcome so far
    note: str | None = None  # Error of the move, or of the deletion from the dead-letter queue; None if there was none


def move(
    dead_letters: DeadLetters,
    retry_queue: Queue,
    held_messages: Sequence[HeldMessage],
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[Moved]:
    """Move held messages with jobs to the retry queue, in this order (`Filter.choose`). Yield each one's result.

    A message that is no longer held is skipped, since another reader may have it. Batches that are in progress when
    `stopping` returns True are completed.
    """

    def batch(messages: Sequence[HeldMessage]) -> list[Moved]:
        found = [(held, held.job, held.envelope) for held in messages if held.job]
        problems = retry_queue.send_batch([Message(text, attributes_of(job)) for _, job, text in found])
        taken = [held for (held, _, _), problem in zip(found, problems, strict=True) if problem is None]
        left = "moved, but not deleted from the dead-letter queue: {}; the ledger keeps it from paging twice"
        deleted = dead_letters.delete_batch(taken) if taken else []
        notes = {held.message_id: left.format(why) for held, why in zip(taken, deleted, strict=True) if why}
        moved = []
        for (held, job, text), problem in zip(found, problems, strict=True):
            state = state_of(job, text)
            fate = Fate(Became.MOVED if state is None else Became.WAITING)
            if problem:
                fate = Fate(Became.FAILED, job.stamps.reason)
            moved.append(Moved(job, state, fate, problem or notes.get(held.message_id)))
        return moved

    for _, moved in dead_letters.work_off(held_messages, batch, stopping):
        if moved:
            yield moved


def state_of(job: Job, envelope: str) -> State | None:
    """Return the state that a job announces, without alerts; None if it is no signal, or its body is no share."""
    if job.kind != JobKind.SIGNAL:
        return None
    try:
        state = State.of(parse_share(read_envelope(envelope).body), seconds_of(job.received_at))
    except BadRequest:
        return None
    return replace(recorded_state(job, state), alerts=frozenset())


def fate(job: Job, state: State, entry: Entry) -> Fate:
    """Return the outcome of a replayed job that announces a state, as far as its incident's ledger entry shows it."""
    dead_lettered_at = job.dead_lettered_seconds
    is_received = dead_lettered_at is None or entry.debt.revived_at > dead_lettered_at
    # A state that was announced may be owed to further recipients.
    is_owed = entry.debt.since is not None and state.is_of_same_share(entry.newest)
    if state.is_of_same_share(entry.announced) and not is_owed:
        return Fate(Became.DELIVERED, request_id=_request_id(entry)) if is_received else Fate(Became.NOT_OWED)
    is_known = state.precedes(entry.announced) or state.is_same(entry.announced)
    if state.precedes(entry.newest) or (is_known and not is_owed):
        return Fate(Became.NOT_OWED)
    if entry.is_given_up and state.is_of_same_share(entry.newest):
        # An equal time is that of the moved message: no worker has received it yet.
        is_again = dead_lettered_at is None or entry.debt.dead_lettered_at > dead_lettered_at
        return Fate(Became.DEAD_LETTERED, entry.debt.reason or None) if is_again else Fate(Became.WAITING)
    if state.is_of_same_share(entry.newest):
        if entry.debt.since is None:
            return Fate(Became.NOT_OWED)
        if is_received:
            return Fate(Became.WAITING, Reason.IN_FLIGHT if entry.lease else entry.debt.reason or None)
    return Fate(Became.WAITING)


def _request_id(entry: Entry) -> str | None:
    last = entry.accepted_signals[-1] if entry.accepted_signals else None
    return last.request_id if last and last.at >= entry.debt.revived_at else None


# Time between two reads of the entries.
POLL_SECONDS = 2.0
# Following stops when no entry changed for this time.
STILL_SECONDS = 60.0
# It stops after this many failed reads in a row.
MAX_FAILED_POLLS = 5


def follow(
    ledger: Ledger,
    jobs: Iterable[Moved],
    clock: Callable[[], float],
    sleep: Callable[[float], object],
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[str | None]:
    """Read the outcomes of the waiting jobs repeatedly from the ledger, set their `fate`, and yield its error, or None.

    The iteration ends when no job waits, nothing changed for STILL_SECONDS, MAX_FAILED_POLLS reads in a row failed, or
    `stopping` returns True.
    """
    changed_at, failed = clock(), 0
    while (waiting := [each for each in jobs if each.fate.became == Became.WAITING]) and not stopping():
        before, problem = [each.fate for each in waiting], None
        try:
            entries = ledger.read_many({entry_key_of(each.job) for each in waiting})
        except LedgerError as error:
            entries, problem = {}, str(error)
        for each in waiting:
            entry = entries.get(entry_key_of(each.job))
            if entry is not None and each.state is not None:
                each.fate = fate(each.job, each.state, entry)
        if before != [each.fate for each in waiting]:
            changed_at = clock()
        failed = failed + 1 if problem else 0
        yield problem
        if failed == MAX_FAILED_POLLS or clock() - changed_at >= STILL_SECONDS:
            return
        until = clock() + POLL_SECONDS
        is_left = any(each.fate.became == Became.WAITING for each in waiting)
        while is_left and (left := until - clock()) > 0 and not stopping():
            sleep(min(left, LONGEST_SLEEP_SECONDS))
