"""Replay of dead-lettered jobs: move their messages to the retry queue, then follow their entries in the ledger.

A message is on the retry queue before it is deleted from the dead-letter queue. After a crash in between it is on both,
and the ledger lets only one of them page. The worker decides what is still owed (`delivery.decision.judge_job`).
"""

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import replace
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from relay.delivery.task import entry_of, kept_state
from relay.errors import BadRequest, LedgerError, Reason
from relay.incidents.share import parse_share
from relay.incidents.transition import State
from relay.jobs.dead_letters import DeadLetters, Held, Run
from relay.jobs.envelope import attributes_of, read_envelope
from relay.jobs.job import Job, JobKind, seconds_of
from relay.jobs.queue import MAX_BATCH, MAX_MESSAGE_BYTES, Message, Queue
from relay.ledger.entry import Entry
from relay.ledger.ledger import Ledger

# Batches that are moved in parallel. botocore keeps ten connections.
PARALLEL_BATCHES = 8
# Bounds the time until a Ctrl-C takes effect.
LONGEST_SLEEP_SECONDS = 0.5
# Time between two reads of the entries.
POLL_SECONDS = 2.0
# The follower stops when no entry changed for this time.
STILL_SECONDS = 60.0
# The follower stops after this many failed reads in a row.
MAX_FAILED_POLLS = 5


@dataclass(frozen=True)
class Filter:
    """A choice of jobs; None in an attribute means any.

    Attributes:
        channel: Name of the channel.
        incident: BigPanda's id of the incident.
        reason: Reason for which the job was dead-lettered.
        since: Earliest arrival of the share (epoch seconds).
    """

    channel: str | None = None
    incident: str | None = None
    reason: str | None = None
    since: float | None = None

    def matches(self, job: Job) -> bool:
        """True if the job is chosen."""
        wanted = (self.channel, self.incident, self.reason)
        found = (job.channel, job.incident_id, job.failures.reason)
        if any(want is not None and want != have for want, have in zip(wanted, found, strict=True)):
            return False
        return self.since is None or seconds_of(job.received_at) >= self.since


class Became(StrEnum):
    """Outcome of a dead-lettered job that an operator chose for a replay.

    Attributes:
        DELIVERED: xMatters accepted its signal.
        NOT_OWED: The worker found that its state need not be announced any more.
        WAITING: It waits for its next attempt.
        MOVED: It is on its queue again. It is no readable signal, so its outcome is in its worker's log only.
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
        """True if the outcome will not change any more."""
        return self.became != Became.WAITING


@dataclass(frozen=True)
class Moved:
    """Result of moving a job's message to the retry queue.

    Attributes:
        job: The job, without its body.
        state: The state that it announces; None for a job that is not a signal.
        problem: Error if it was not moved, and so is still dead-lettered; None if it was moved.
        note: Error if it was moved, but not deleted from the dead-letter queue; None if it was deleted.
    """

    job: Job
    state: State | None
    problem: str | None = None
    note: str | None = None

    @property
    def is_to_follow(self) -> bool:
        """True if the job's further outcome can be read from the ledger."""
        return self.problem is None and self.state is not None

    @property
    def first_fate(self) -> Fate:
        """The outcome right after the move, or after its failure."""
        if self.problem is not None:
            return Fate(Became.FAILED, self.job.failures.reason)
        return Fate(Became.MOVED if self.state is None else Became.WAITING)


class _Item(NamedTuple):
    """A held message, its copy for the retry queue, and its result if it is moved."""

    held: Held
    message: Message
    moved: Moved


@dataclass(frozen=True)
class Replay:
    """Moves held messages to the retry queue.

    Attributes:
        dead_letters: The dead-letter queue.
        retries: The retry queue.
        clock: The time in epoch seconds.
        sleep: Waits for a number of seconds.
        rate: Rate limit (messages a second); None for no limit.
        run: Calls a function for each batch, maybe in parallel threads.
    """

    dead_letters: DeadLetters
    retries: Queue
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], object] = time.sleep
    rate: float | None = None
    run: Run = map

    def move(self, helds: Iterable[Held], stopping: Callable[[], bool] = lambda: False) -> Iterator[Moved]:
        """Move held messages in the order of `in_order`, within the rate limit, until `stopping` returns True.

        A message that is no longer held is skipped, since another reader may have it. Batches that are in progress when
        `stopping` returns True are completed.
        """
        most = MAX_BATCH * PARALLEL_BATCHES
        if self.rate is not None:
            most = max(1, min(most, int(self.rate)))
        next_at = self.clock()
        for wave in waves(in_order(helds), most):
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

    def _opened(self, batch: Sequence[tuple[Held, Job]]) -> list[_Item]:
        """Return the messages of a batch that are still held, with their envelopes."""
        return [self._item(held, job) for held, job in batch if self.dead_letters.is_held(held)]

    def _item(self, held: Held, job: Job) -> _Item:
        envelope = self.dead_letters.envelope(held)
        return _Item(held, Message(envelope, attributes_of(job)), Moved(job, _state_of(job, envelope)))

    def _move(self, batch: Sequence[_Item]) -> list[Moved]:
        problems = self.retries.send_batch([item.message for item in batch])
        taken = [item for item, problem in zip(batch, problems, strict=True) if problem is None]
        notes = dict(zip((item.held.message_id for item in taken), self._deleted(taken), strict=True))
        return [
            replace(item.moved, problem=problem, note=notes.get(item.held.message_id))
            for item, problem in zip(batch, problems, strict=True)
        ]

    def _deleted(self, taken: Sequence[_Item]) -> list[str | None]:
        if not taken:
            return []
        problems = self.dead_letters.delete_batch([item.held for item in taken])
        left = "moved, but not deleted from the dead-letter queue: {}; the ledger keeps it from paging twice"
        return [None if problem is None else left.format(problem) for problem in problems]


def in_order(helds: Iterable[Held]) -> list[tuple[Held, Job]]:
    """Sort jobs by the arrival of their shares, oldest first, and the jobs of each incident by its states' versions.

    Shares can arrive out of order. The newest state of an incident must be replayed last.
    """
    jobs = [(held, held.job) for held in helds if held.job is not None]
    jobs.sort(key=lambda pair: seconds_of(pair[1].received_at))
    states: dict[tuple[str, str], deque[tuple[Held, Job]]] = defaultdict(deque)
    for pair in sorted(jobs, key=lambda pair: _version(pair[1])):
        states[_incident(pair[1])].append(pair)
    return [states[_incident(job)].popleft() for _, job in jobs]


def _version(job: Job) -> tuple[float, float]:
    came = seconds_of(job.received_at)
    return job.payload.version or (came, came)


def _incident(job: Job) -> tuple[str, str]:
    return job.channel, job.incident_id


def waves(pairs: Iterable[tuple[Held, Job]], most: int) -> Iterator[list[list[tuple[Held, Job]]]]:
    """Split jobs into waves of at most `most` messages. The batches of a wave can be moved in parallel.

    A batch fits into one call to SQS. To keep their order, messages of one incident are in one batch of a wave, or in
    different waves.
    """
    wave: list[list[tuple[Held, Job]]] = [[]]
    places: dict[tuple[str, str], int] = {}
    count = size = 0
    for held, job in pairs:
        bytes_of = held.place[1] + sum(len(name + value) + 8 for name, value in attributes_of(job).items()) * 4
        is_full = bool(wave[-1]) and (len(wave[-1]) == MAX_BATCH or size + bytes_of > MAX_MESSAGE_BYTES)
        place = len(wave) - 1 + is_full
        if count == most or place == PARALLEL_BATCHES or places.get(_incident(job), place) != place:
            yield wave
            wave, places, count, size, place = [[]], {}, 0, 0, 0
        elif is_full:
            wave.append([])
            size = 0
        wave[place].append((held, job))
        places[_incident(job)] = place
        count, size = count + 1, size + bytes_of
    if count:
        yield wave


def _state_of(job: Job, envelope: str) -> State | None:
    """Return the state that a job announces, as the worker compares it; None for a job that is not a signal."""
    if job.kind != JobKind.SIGNAL:
        return None
    try:
        state = State.of(parse_share(read_envelope(envelope).payload.body), seconds_of(job.received_at))
    except BadRequest:
        return None
    return replace(kept_state(job, state), alerts=frozenset())


def fate(moved: Moved, entry: Entry) -> Fate:
    """Return the outcome of a moved job, read from its incident's entry."""
    state, job = moved.state, moved.job
    if state is None:
        return moved.first_fate
    mark = job.revival.mark
    is_received = mark is None or entry.revived_at > mark
    if state.is_of_same_share(entry.announced):
        return Fate(Became.DELIVERED, request_id=_request_id(entry)) if is_received else Fate(Became.NOT_OWED)
    if state.precedes(entry.announced) or state.precedes(entry.kept) or state.is_same(entry.announced):
        return Fate(Became.NOT_OWED)
    if state.is_of_same_share(entry.dead_lettered):
        # An equal mark is that of the moved message: no worker has received it yet.
        is_again = mark is None or entry.dead_lettered_at > mark
        return Fate(Became.DEAD_LETTERED, entry.reason or None) if is_again else Fate(Became.WAITING)
    if state.is_of_same_share(entry.kept):
        if entry.owed_since is None:
            return Fate(Became.NOT_OWED)
        if is_received:
            return Fate(Became.WAITING, Reason.IN_FLIGHT if entry.lease else entry.reason or None)
    return Fate(Became.WAITING)


def _request_id(entry: Entry) -> str | None:
    newest = entry.raised[-1] if entry.raised else None
    return newest.request_id if newest and newest.at >= entry.revived_at else None


@dataclass
class Follower:
    """Follows the entries of moved jobs.

    Attributes:
        ledger: The ledger; one read gets a batch of entries.
        clock: The time in epoch seconds.
        sleep: Waits for a number of seconds.
        problem: Error of the last read of the ledger; None if it succeeded.
    """

    ledger: Ledger
    clock: Callable[[], float]
    sleep: Callable[[float], object]
    problem: str | None = field(default=None, init=False)

    def follow(
        self, jobs: Sequence[Moved], stopping: Callable[[], bool] = lambda: False
    ) -> Iterator[Mapping[int, Fate]]:
        """Yield after each poll the fates that changed, by the jobs' indexes in the sequence.

        The iteration ends when all fates are settled, when none changed for STILL_SECONDS, after MAX_FAILED_POLLS
        failed reads of the ledger, or when `stopping` returns True.
        """
        fates = {place: moved.first_fate for place, moved in enumerate(jobs) if moved.is_to_follow}
        changed_at, failed = self.clock(), 0
        while fates and not stopping():
            changed = self._changed(jobs, fates)
            failed = failed + 1 if self.problem else 0
            fates = {place: changed.get(place, known) for place, known in fates.items()}
            fates = {place: known for place, known in fates.items() if not known.is_settled}
            changed_at = self.clock() if changed else changed_at
            yield changed
            if failed == MAX_FAILED_POLLS or self.clock() - changed_at >= STILL_SECONDS:
                return
            if fates:
                self._sleep(stopping)

    def _changed(self, jobs: Sequence[Moved], fates: Mapping[int, Fate]) -> dict[int, Fate]:
        try:
            entries = self.ledger.read_many({entry_of(jobs[place].job) for place in fates})
        except LedgerError as error:
            self.problem = str(error)
            return {}
        self.problem = None
        changed = {}
        for place, known in fates.items():
            entry = entries.get(entry_of(jobs[place].job))
            if entry is not None and (now := fate(jobs[place], entry)) != known:
                changed[place] = now
        return changed

    def _sleep(self, stopping: Callable[[], bool]) -> None:
        until = self.clock() + POLL_SECONDS
        while (left := until - self.clock()) > 0 and not stopping():
            self.sleep(min(left, LONGEST_SLEEP_SECONDS))
