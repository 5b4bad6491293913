"""Replay of dead-lettered jobs: move their messages to the retry queue, then follow their entries in the ledger.

The retry queue has a message before the dead-letter queue loses it. A crash in between leaves the message on both; the
ledger lets one of the two ring. The worker, not this module, decides what is still owed.
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
from relay.jobs.envelope import Job, seconds_of
from relay.jobs.queue import MAX_BATCH, MAX_MESSAGE_BYTES, Message, Queue
from relay.ledger.entry import Entry
from relay.ledger.ledger import Ledger

# Batches that are on their way at once: botocore keeps ten connections.
PARALLEL_BATCHES = 8
# A Ctrl-C is heeded so soon.
LONGEST_SLEEP_SECONDS = 0.5
POLL_SECONDS = 2.0
# A replay is followed until nothing changed for so long.
STILL_SECONDS = 60.0
# Polls in a row in which the ledger can't be read at all.
MAX_FAILED_POLLS = 5


@dataclass(frozen=True)
class Filter:
    """A choice of jobs; None means any.

    Attributes:
        channel: Name of the channel.
        incident: BigPanda's id of the incident.
        reason: Reason for which the job was dead-lettered.
        since: Earliest arrival of the share, in epoch seconds.
    """

    channel: str | None = None
    incident: str | None = None
    reason: str | None = None
    since: float | None = None

    def matches(self, job: Job) -> bool:
        """True if the job is chosen."""
        wanted = (self.channel, self.incident, self.reason)
        found = (job.channel, job.incident_id, job.reason)
        if any(want is not None and want != have for want, have in zip(wanted, found, strict=True)):
            return False
        return self.since is None or seconds_of(job.received_at) >= self.since


class Became(StrEnum):
    """Outcome of a dead-lettered job that an operator chose."""

    DELIVERED = "delivered"
    NOT_OWED = "not_owed"
    WAITING = "waiting"
    MOVED = "moved"
    DEAD_LETTERED = "dead_lettered"
    FAILED = "failed"


class Fate(NamedTuple):
    """Outcome of a replayed job, and the reason.

    Attributes:
        became: What became of it.
        reason: Reason for which it waits or was dead-lettered again; None if there is none, or it is not known.
        request_id: xMatters' id of the signal; None unless it was delivered, and if it is not known.
    """

    became: Became
    reason: str | None = None
    request_id: str | None = None

    @property
    def is_settled(self) -> bool:
        """True if nothing more will become of the job by itself."""
        return self.became != Became.WAITING


@dataclass(frozen=True)
class Moved:
    """A job whose message was moved to the retry queue, or could not be.

    Attributes:
        job: The job, without its body.
        state: The state that it announces; None for a job that is no signal.
        problem: Why it was not moved, so that it is dead-lettered still; None if it was moved.
        note: Why it is on the dead-letter queue besides; None if it is not.
    """

    job: Job
    state: State | None
    problem: str | None = None
    note: str | None = None

    @property
    def is_to_follow(self) -> bool:
        """True if the ledger will tell what becomes of it."""
        return self.problem is None and self.state is not None

    @property
    def first_fate(self) -> Fate:
        """Result of moving one message, or of the failure to."""
        if self.problem is not None:
            return Fate(Became.FAILED, self.job.reason)
        return Fate(Became.MOVED if self.state is None else Became.WAITING)


class _Item(NamedTuple):
    held: Held
    message: Message
    moved: Moved


@dataclass(frozen=True)
class Replay:
    """Moves held messages to the retry queue.

    Attributes:
        dead_letters: The queue that holds them.
        retries: The retry queue.
        clock: Epoch seconds.
        sleep: Waits for so many seconds.
        rate: Messages a second at most; None for no limit.
        run: Moves several batches, maybe in threads.
    """

    dead_letters: DeadLetters
    retries: Queue
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], object] = time.sleep
    rate: float | None = None
    run: Run = map

    def move(self, helds: Iterable[Held], stopping: Callable[[], bool] = lambda: False) -> Iterator[Moved]:
        """Move the held messages in the order of `in_order`, at no more than the rate, until `stopping` says so.

        A message that is no longer held is left alone: another reader may have it. What is under way when `stopping`
        says so is ended.
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
        # At a low rate the wait is longer than a hold, so holds are renewed meanwhile.
        while (left := moment - self.clock()) > 0 and not stopping():
            self.sleep(min(left, LONGEST_SLEEP_SECONDS))
            self.dead_letters.renew()

    def _opened(self, batch: Sequence[tuple[Held, Job]]) -> list[_Item]:
        """The messages of a batch that are still held, with their envelopes."""
        return [self._item(held, job) for held, job in batch if self.dead_letters.is_held(held)]

    def _item(self, held: Held, job: Job) -> _Item:
        envelope = self.dead_letters.envelope(held)
        return _Item(held, Message(envelope, job.attributes()), Moved(job, _state_of(job, envelope)))

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
        left = "moved, but not deleted from the dead-letter queue: {}; the ledger keeps it from ringing twice"
        return [None if problem is None else left.format(problem) for problem in problems]


def in_order(helds: Iterable[Held]) -> list[tuple[Held, Job]]:
    """Jobs by the time at which their shares came, oldest first; but those of one incident in the order of its states.

    Shares may overtake each other on their way, and the last to be replayed is what people believe.
    """
    jobs = [(held, held.job) for held in helds if held.job is not None]
    jobs.sort(key=lambda pair: seconds_of(pair[1].received_at))
    states: dict[tuple[str, str], deque[tuple[Held, Job]]] = defaultdict(deque)
    for pair in sorted(jobs, key=lambda pair: _version(pair[1])):
        states[_incident(pair[1])].append(pair)
    return [states[_incident(job)].popleft() for _, job in jobs]


def _version(job: Job) -> tuple[float, float]:
    came = seconds_of(job.received_at)
    return job.version or (came, came)


def _incident(job: Job) -> tuple[str, str]:
    return job.channel, job.incident_id


def waves(pairs: Iterable[tuple[Held, Job]], most: int) -> Iterator[list[list[tuple[Held, Job]]]]:
    """Cut jobs into waves of batches that may be moved at once, with `most` messages or fewer in each wave.

    A batch fits into one call of SQS. Messages of one incident are in one batch of a wave, or in different waves, so
    that their order is kept.
    """
    wave: list[list[tuple[Held, Job]]] = [[]]
    places: dict[tuple[str, str], int] = {}
    count = size = 0
    for held, job in pairs:
        bytes_of = held.place[1] + sum(len(name + value) + 8 for name, value in job.attributes().items()) * 4
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
    """The state that a job announces, as the worker will compare it; None for a job that is no signal."""
    if job.kind != "signal":
        return None
    try:
        state = State.of(parse_share(Job.from_json(envelope).body), seconds_of(job.received_at))
    except BadRequest:
        return None
    return replace(kept_state(job, state), alerts=frozenset())


def fate(moved: Moved, entry: Entry) -> Fate:
    """Tell from the entry of its incident what became of a job whose message was moved."""
    state, job = moved.state, moved.job
    if state is None:
        return moved.first_fate
    mark = seconds_of(job.dead_lettered_at) if job.dead_lettered_at else None
    is_received = mark is None or entry.revived_at > mark
    if state.is_of_same_share(entry.announced):
        return Fate(Became.DELIVERED, request_id=_request_id(entry)) if is_received else Fate(Became.NOT_OWED)
    if state.precedes(entry.announced) or state.precedes(entry.kept) or state.is_same(entry.announced):
        return Fate(Became.NOT_OWED)
    if state.is_of_same_share(entry.dead_lettered):
        # The same mark is that of the message itself, which no worker has received yet.
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
        ledger: The ledger; one read is a batch of entries.
        clock: Epoch seconds.
        sleep: Waits for so many seconds.
        problem: Why the ledger could not be read the last time; None if it could.
    """

    ledger: Ledger
    clock: Callable[[], float]
    sleep: Callable[[float], object]
    problem: str | None = field(default=None, init=False)

    def follow(
        self, jobs: Sequence[Moved], stopping: Callable[[], bool] = lambda: False
    ) -> Iterator[Mapping[int, Fate]]:
        """Give after each poll the fates that changed, by the jobs' places in the sequence.

        It ends when all are settled, when nothing changed for STILL_SECONDS, when the ledger can't be read for
        MAX_FAILED_POLLS, or when `stopping` says so.
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
