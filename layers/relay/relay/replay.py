"""Replay: what lies in the dead-letter queue is handed to the worker again, and leaves the queue when it arrived.

The order is: the worker tries, then the message is deleted. A job that failed again is put on the queue anew, with its
new reason and counts, before the old message goes. So a crash anywhere leaves a message twice rather than not at all.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import replace
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from relay.dead_letters import DeadLetters, Held
from relay.errors import QueueError, Reason
from relay.message import MAX_EXCERPT, Job, seconds_of, timestamp
from relay.outcome import Outcome
from relay.queues import Queue

# What leaves nothing to be done.
SETTLED = frozenset({Outcome.DELIVERED, Outcome.DUPLICATE, Outcome.SUPERSEDED, Outcome.UNCHANGED})
# Holds are renewed in between.
LONGEST_SLEEP_SECONDS = 30.0

# Gives the worker's result for an envelope, or raises WorkerError.
type Invoke = Callable[[str], Mapping[str, Any]]


class WorkerError(Exception):
    """The worker did not say what became of a job. The message says why."""


@dataclass(frozen=True)
class Filter:
    """Which jobs are meant. None means any; `since` is in epoch seconds, against when BigPanda's share came."""

    channel: str | None = None
    incident: str | None = None
    reason: str | None = None
    since: float | None = None

    def matches(self, job: Job) -> bool:
        """Whether the job is meant."""
        wanted = (self.channel, self.incident, self.reason)
        found = (job.channel, job.incident_id, job.reason)
        if any(want is not None and want != have for want, have in zip(wanted, found, strict=True)):
            return False
        return self.since is None or seconds_of(job.received_at) >= self.since


@dataclass(frozen=True)
class Replayed:
    """What became of one job: its outcome, and the job with its new reason and counts where it is not over.

    `outcome` is `delivered`; `duplicate`, `superseded` or `unchanged` when nothing of it is owed any more; `queued`
    when it is on the `queue` named: `retry`, where it waits for its turn, or `dead_letter`, for it failed again;
    `unsafe` when nobody knows. `note` says what went wrong.
    """

    job: Job
    outcome: Outcome
    request_id: str | None = None
    queue: str | None = None
    note: str | None = None

    @property
    def is_failure(self) -> bool:
        """Whether it is, or may be, among the dead letters still."""
        return self.note is not None or self.outcome == Outcome.UNSAFE or self.queue == "dead_letter"


@dataclass(frozen=True)
class Replay:
    """Replays jobs. `clock` gives epoch seconds; `rate` is in jobs a second."""

    letters: DeadLetters
    queue: Queue
    invoke: Invoke
    clock: Callable[[], float]
    sleep: Callable[[float], object]
    rate: float

    def run(self, helds: Iterable[Held], stopping: Callable[[], bool]) -> Iterator[Replayed]:
        """Replay the held messages in the order of `in_order`, at no more than the rate, until `stopping` says so.

        A message that is no longer held is left alone: someone else may have it.
        """
        wait = 0.0
        for held, job in in_order(helds):
            self._wait(wait, stopping)
            if stopping():
                return
            wait = 0.0
            self.letters.renew()
            if self.letters.is_held(held):
                started = self.clock()
                yield self._one(held, job)
                # The clock may be set meanwhile, either way.
                wait = min(1 / self.rate, max(0.0, 1 / self.rate - (self.clock() - started)))

    def _wait(self, seconds: float, stopping: Callable[[], bool]) -> None:
        while seconds > 0 and not stopping():
            asleep = min(seconds, LONGEST_SLEEP_SECONDS)
            self.sleep(asleep)
            self.letters.renew()
            seconds -= asleep

    def _one(self, held: Held, job: Job) -> Replayed:
        try:
            result = self.invoke(job.to_json())
        except WorkerError as error:
            # It may have rung; the message stays as it is, and is visible again when the replay ends.
            return Replayed(job, Outcome.UNSAFE, note=str(error))
        outcome = result.get("outcome")
        if outcome in SETTLED:
            return self._let_go(held, Replayed(job, Outcome(str(outcome)), result.get("request_id")))
        if (outcome, result.get("queue")) == (Outcome.QUEUED, "retry"):
            waiting = replace(job, reason=str(result.get("reason", Reason.INTERNAL)))
            return self._let_go(held, Replayed(waiting, Outcome.QUEUED, queue="retry"))
        return self._put_back(held, _failed_again(job, result, self.clock()), str(result.get("detail", "")))

    def _let_go(self, held: Held, done: Replayed) -> Replayed:
        try:
            self.letters.delete(held)
        except (ClientError, BotoCoreError) as error:
            note = f"{done.outcome}, but it could not be deleted ({type(error).__name__}): it is still on the queue"
            return replace(done, note=note)
        return done

    def _put_back(self, held: Held, job: Job, detail: str) -> Replayed:
        try:
            self.queue.send(job)
            self.letters.delete(held)
        except (QueueError, ClientError, BotoCoreError) as error:
            note = f"{detail}; its old message stays on the queue: {error}"
            return Replayed(job, Outcome.QUEUED, queue="dead_letter", note=note)
        return Replayed(job, Outcome.QUEUED, queue="dead_letter", note=detail)


def in_order(helds: Iterable[Held]) -> list[tuple[Held, Job]]:
    """Jobs by the time at which their shares came, oldest first; but those of one incident in the order of its states.

    Shares may overtake each other on their way, and the last to be replayed is what people believe.
    """
    jobs = [(held, held.job) for held in helds if held.job is not None]
    jobs.sort(key=lambda pair: seconds_of(pair[1].received_at))
    states: dict[tuple[str, str], deque[tuple[Held, Job]]] = defaultdict(deque)
    for pair in sorted(jobs, key=lambda pair: _version(pair[1])):
        states[pair[1].channel, pair[1].incident_id].append(pair)
    return [states[job.channel, job.incident_id].popleft() for _, job in jobs]


def _version(job: Job) -> tuple[float, float]:
    came = seconds_of(job.received_at)
    return job.version or (came, came)


def _failed_again(job: Job, result: Mapping[str, Any], now: float) -> Job:
    status = result.get("http_status")
    failed_at = timestamp(now)
    return replace(
        job,
        attempts=job.attempts + int(result.get("attempts", 0)),
        reason=str(result.get("reason", Reason.INTERNAL)),
        http_status=status if isinstance(status, int) else None,
        response_excerpt=str(result.get("response_excerpt", ""))[:MAX_EXCERPT],
        first_failed_at=job.first_failed_at or failed_at,
        last_failed_at=failed_at,
        buried_at=failed_at,
        replays=job.replays + 1,
        may_have_rung=job.may_have_rung or result.get("may_have_rung") is True,
    )
