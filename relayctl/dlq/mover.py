"""Mover of dead-lettered jobs, for a replay: it puts their messages back on the retry queue, in order.

A message is on the retry queue before it is deleted from the dead-letter queue. After a crash in between, both queues
have a copy of the message, and the ledger lets only one copy page. The worker decides if a message is still needed
(`delivery.step.judge_job`).
"""

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import replace
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from relay.delivery.task import recorded_state
from relay.failures import BadRequest
from relay.incidents.share import State, parse_share
from relay.jobs.job import Job, JobKind, seconds_of
from relay.jobs.queue import MAX_BATCH, MAX_MESSAGE_BYTES, Message, Queue, attributes_of, read_envelope
from relayctl.dlq.queue import DeadLetters, HeldMessage, Run

# Batches that are moved in parallel. botocore keeps ten connections.
PARALLEL_BATCHES = 8


def in_order(held_messages: Iterable[HeldMessage]) -> list[tuple[HeldMessage, Job]]:
    """Return received messages with their jobs in the order of a replay. Messages without a job are left out.

    Jobs are sorted by the arrival of their shares, oldest first. Shares can arrive out of order, so the jobs of one
    incident are sorted by BigPanda's timestamps: its newest state must be replayed last.
    """
    jobs = [(held, held.job) for held in held_messages if held.job is not None]
    jobs.sort(key=lambda pair: seconds_of(pair[1].received_at))
    states: dict[tuple[str, str], deque[tuple[HeldMessage, Job]]] = defaultdict(deque)
    for pair in sorted(jobs, key=lambda pair: _version(pair[1])):
        states[_incident(pair[1])].append(pair)
    return [states[_incident(job)].popleft() for _, job in jobs]


def _version(job: Job) -> tuple[float, float]:
    came = seconds_of(job.received_at)
    return job.version or (came, came)


def _incident(job: Job) -> tuple[str, str]:
    return job.channel, job.incident_id


def waves(pairs: Iterable[tuple[HeldMessage, Job]], most: int) -> Iterator[list[list[tuple[HeldMessage, Job]]]]:
    """Split jobs into waves of at most `most` messages. A wave is a list of batches that can be moved in parallel.

    A batch fits into one call to SQS. To keep their order, messages of one incident are in one batch of a wave, or in
    different waves.
    """
    wave: list[list[tuple[HeldMessage, Job]]] = [[]]
    batch_indexes: dict[tuple[str, str], int] = {}
    count = size = 0
    for held, job in pairs:
        bytes_of = held.spool_span[1] + sum(len(name + value) + 8 for name, value in attributes_of(job).items()) * 4
        is_full = bool(wave[-1]) and (len(wave[-1]) == MAX_BATCH or size + bytes_of > MAX_MESSAGE_BYTES)
        batch_index = len(wave) - 1 + is_full
        if (
            count == most
            or batch_index == PARALLEL_BATCHES
            or batch_indexes.get(_incident(job), batch_index) != batch_index
        ):
            yield wave
            wave, batch_indexes, count, size, batch_index = [[]], {}, 0, 0, 0
        elif is_full:
            wave.append([])
            size = 0
        wave[batch_index].append((held, job))
        batch_indexes[_incident(job)] = batch_index
        count, size = count + 1, size + bytes_of
    if count:
        yield wave


# Bounds the time until a Ctrl-C takes effect.
LONGEST_SLEEP_SECONDS = 0.5
# Stands for the status of a job without one, in filters and in lists.
NO_STATUS = "-"


@dataclass(frozen=True)
class Filter:
    """A choice of dead-lettered jobs: those that match all of its attributes; None in an attribute means any.

    Attributes:
        channel: Name of the channel.
        incident: BigPanda's id of the incident.
        kind: Kind of the job.
        status: Status of the incident in the share, in lower case; `-` for a job without a status.
        reason: Reason for which the job was dead-lettered.
        since: Earliest arrival of the share (epoch seconds).
        until: Latest arrival of the share (epoch seconds).
    """

    channel: str | None = None
    incident: str | None = None
    kind: str | None = None
    status: str | None = None
    reason: str | None = None
    since: float | None = None
    until: float | None = None

    def matches(self, job: Job) -> bool:
        """True if a job meets all conditions of the filter."""
        wanted = (self.channel, self.incident, self.kind, self.status, self.reason)
        found = (job.channel, job.incident_id, job.kind, job.stamps.status or NO_STATUS, job.stamps.reason)
        if any(want is not None and want != have for want, have in zip(wanted, found, strict=True)):
            return False
        came = seconds_of(job.received_at)
        return (self.since is None or came >= self.since) and (self.until is None or came <= self.until)


class Became(StrEnum):
    """Outcome of a dead-lettered job that an operator chose for a replay.

    Attributes:
        DELIVERED: xMatters accepted its signal.
        NOT_OWED: The worker found that its state need not be announced any more.
        WAITING: It waits for its next attempt.
        MOVED: It is on the retry queue. It is not a signal, or its body is not a share, so only the worker's log has
            its outcome.
        DEAD_LETTERED: It came back to the dead-letter queue.
        FAILED: It could not be moved.
    """

    DELIVERED = "delivered"
    NOT_OWED = "not_owed"
    WAITING = "waiting"
    MOVED = "moved"
    DEAD_LETTERED = "dead_lettered"
    FAILED = "failed"


class Fate(NamedTuple):
    """Outcome of a replayed job, and the reason.

    Attributes:
        became: The outcome.
        reason: Reason for which the job waits, or was dead-lettered again; None if there is none or it is unknown.
        request_id: xMatters' id of the delivered signal; None if it was not delivered or the id is unknown.
    """

    became: Became
    reason: str | None = None
    request_id: str | None = None

    @property
    def is_settled(self) -> bool:
        """True if the outcome of the replayed job will not change any more."""
        return self.became != Became.WAITING


@dataclass(frozen=True)
class Moved:
    """Result of moving a dead-lettered job's message to the retry queue.

    Attributes:
        job: The job, without its body.
        state: The state that it announces; None if it is not a signal, or its body is not a share.
        move_error: Error if it was not moved, and so is still dead-lettered; None if it was moved.
        deletion_error: Error if it was moved, but not deleted from the dead-letter queue; None if it was deleted.
    """

    job: Job
    state: State | None
    move_error: str | None = None
    deletion_error: str | None = None

    @property
    def is_to_follow(self) -> bool:
        """True if the ledger will show the job's further outcome: it has a state, and its message was moved."""
        return self.move_error is None and self.state is not None

    @property
    def first_fate(self) -> Fate:
        """The job's outcome right after its message was moved, or could not be moved."""
        if self.move_error is not None:
            return Fate(Became.FAILED, self.job.stamps.reason)
        return Fate(Became.MOVED if self.state is None else Became.WAITING)


class _Item(NamedTuple):
    """A message in a batch that is being moved.

    Attributes:
        held: The message on the dead-letter queue, invisible to other readers.
        message: Its copy for the retry queue.
        moved: Its result if it can be moved.
    """

    held: HeldMessage
    message: Message
    moved: Moved


@dataclass(frozen=True)
class DeadLetterMover:
    """Moves messages that a DeadLetters object holds (received and invisible) to the retry queue.

    Attributes:
        dead_letters: The dead-letter queue.
        retry_queue: The retry queue.
        clock: The time in epoch seconds.
        sleep: Waits for a number of seconds.
        rate: Rate limit (messages a second); None for no limit.
        run: Calls a function for each batch, maybe in parallel threads.
    """

    dead_letters: DeadLetters
    retry_queue: Queue
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], object] = time.sleep
    rate: float | None = None
    run: Run = map

    def move(
        self, held_messages: Iterable[HeldMessage], stopping: Callable[[], bool] = lambda: False
    ) -> Iterator[Moved]:
        """Move held messages in the order of `in_order`, within the rate limit. Yield each one's result.

        A message that is no longer held is skipped, since another reader may have it. Batches that are in progress when
        `stopping` returns True are completed.
        """
        most = MAX_BATCH * PARALLEL_BATCHES
        if self.rate is not None:
            most = max(1, min(most, int(self.rate)))
        next_at = self.clock()
        for wave in waves(in_order(held_messages), most):
            self._wait_until(next_at, stopping)
            if stopping():
                return
            self.dead_letters.renew()
            batches = [self._opened(batch) for batch in wave]
            count = sum(map(len, batches))
            next_at = self.clock() + (count / self.rate if self.rate else 0.0)
            for moved in self.run(self._move, [batch for batch in batches if batch]):
                yield from moved

    def _wait_until(self, moment: float, stopping: Callable[[], bool]) -> None:
        # At a low rate the wait is longer than a hold, so the holds are renewed during the wait.
        while (left := moment - self.clock()) > 0 and not stopping():
            self.sleep(min(left, LONGEST_SLEEP_SECONDS))
            self.dead_letters.renew()

    def _opened(self, batch: Sequence[tuple[HeldMessage, Job]]) -> list[_Item]:
        """Return the messages of a batch that are still held (invisible to other readers), with their copies."""
        return [self._item(held, job) for held, job in batch if self.dead_letters.is_held(held)]

    def _item(self, held: HeldMessage, job: Job) -> _Item:
        envelope = self.dead_letters.envelope(held)
        return _Item(held, Message(envelope, attributes_of(job)), Moved(job, state_of(job, envelope)))

    def _move(self, batch: Sequence[_Item]) -> list[Moved]:
        problems = self.retry_queue.send_batch([item.message for item in batch])
        taken = [item for item, problem in zip(batch, problems, strict=True) if problem is None]
        deletion_errors = dict(zip((item.held.message_id for item in taken), self._deleted(taken), strict=True))
        return [
            replace(item.moved, move_error=problem, deletion_error=deletion_errors.get(item.held.message_id))
            for item, problem in zip(batch, problems, strict=True)
        ]

    def _deleted(self, taken: Sequence[_Item]) -> list[str | None]:
        if not taken:
            return []
        problems = self.dead_letters.delete_batch([item.held for item in taken])
        left = "moved, but not deleted from the dead-letter queue: {}; the ledger keeps it from paging twice"
        return [None if problem is None else left.format(problem) for problem in problems]


def state_of(job: Job, envelope: str) -> State | None:
    """Return the state that a job announces, without alerts.

    `envelope` is the job as message text, with the body. Returns None if the job is not a signal, or its body is not a
    share.
    """
    if job.kind != JobKind.SIGNAL:
        return None
    try:
        state = State.of(parse_share(read_envelope(envelope).body), seconds_of(job.received_at))
    except BadRequest:
        return None
    return replace(recorded_state(job, state), alerts=frozenset())
