"""Queues that keep jobs: the retry queue and the chore queue, the dead-letter queue, and the log as the last resort."""

import json
from collections.abc import Callable
from copy import replace
from dataclasses import dataclass
from functools import partial
from math import ceil

from relay.deadline import Deadline
from relay.errors import BadRequest, QueueError
from relay.incidents.share import parse_share
from relay.jobs.envelope import MILLISECOND, Job, fits, reduced_body, seconds_of, timestamp
from relay.jobs.queue import MAX_DELAY_SECONDS, Queue

# A queue gets so much time, whatever else took long: it is what keeps the share.
QUEUE_SECONDS = 2.0
# A job of any other kind is a signal, or of a kind that a newer version knows: people may wait for it.
CHORES = frozenset({"followup", "writeback", "release", "reconcile"})
# How BigPanda names the event of a first share, where a body does not say it.
FIRST_EVENT = "incident#new"
# However badly it packs.
SURELY_FITS_BYTES = 512 * 1024
# An item of DynamoDB takes 400 KB with its key and all attributes. A body packs to no more than 4/3 of its size.
MAX_STORED_BYTES = 390 * 1024
SURELY_STORED_BYTES = 256 * 1024
# Longer log lines are cut, and a cut envelope is worth nothing.
MAX_LOGGED_CHARACTERS = 200_000


def release_job(job: Job, event: str) -> Job:
    """The job that tells BigPanda that the first share of an incident arrived; `job` is that share's own."""
    body = json.dumps({"event": event}).encode()
    return replace(job, kind="release", body=body, status=None, not_before=None)


def followup_job(job: Job) -> Job:
    """The job that finds the pages of an incident's signals and ends those that must end; `job` is a signal's."""
    return replace(job, kind="followup", not_before=None, rounds=0, dead_lettered_at=None, revived_at=None)


@dataclass(frozen=True)
class Keeper:
    """Durable storage of jobs on queues.

    Attributes:
        retries: The retry queue, for signals.
        chores: The chore queue, for follow-ups, write-backs, releases and reconcile runs: an API that hangs must not
            hold up signals.
        dead_letters: The dead-letter queue, for jobs of all kinds.
        clock: Gives epoch seconds.
    """

    retries: Queue
    chores: Queue
    dead_letters: Queue
    clock: Callable[[], float]

    def keep(self, job: Job, deadline: Deadline, *, until: float) -> bool:
        """Put a job on the queue of its kind; return False if the queue does not take it.

        The job wakes at `until` (epoch seconds), or in 15 minutes if that is earlier.
        """
        delay = min(MAX_DELAY_SECONDS, max(0, ceil(until - self.clock())))
        return self._put(self.chores if job.kind in CHORES else self.retries, job, deadline, delay)

    def dead_letter(self, job: Job, deadline: Deadline) -> Job | None:
        """Put a job on the dead-letter queue; return it as it is there, with its mark, or None if the queue fails.

        The mark is later than the job's revival, whatever the clocks of the two functions say.
        """
        revived = seconds_of(job.revived_at) if job.revived_at else 0.0
        marked = replace(job, dead_lettered_at=timestamp(max(self.clock(), revived + MILLISECOND)), spare=False)
        return marked if self._put(self.dead_letters, marked, deadline, 0) else None

    def _put(self, queue: Queue, job: Job, deadline: Deadline, delay: int) -> bool:
        try:
            send = partial(queue.send, fitting(job), delay_seconds=delay)
            deadline.run(send, part="keep", at_least=QUEUE_SECONDS, at_most=QUEUE_SECONDS)
        except (QueueError, TimeoutError):
            return False
        return True


def fitting(job: Job) -> Job:
    """The job as a queue takes it: one that is too large goes without the details of its alerts, and says so."""
    # To pack most bodies twice, just to measure them, would cost more than all else that is done for a share.
    is_small = len(job.body) <= SURELY_FITS_BYTES
    return job if is_small or fits(job.to_json()) else _reduced(job)


def storable(job: Job) -> Job:
    """Return the job as an item of DynamoDB takes it; one that is too large goes without the details of its alerts."""
    is_small = len(job.body) <= SURELY_STORED_BYTES
    return job if is_small or len(job.to_json()) <= MAX_STORED_BYTES else _reduced(job)


def last_copy(job: Job) -> str:
    """The envelope for a log line, where it is the only copy there is."""
    envelope = job.to_json()
    return envelope if len(envelope) <= MAX_LOGGED_CHARACTERS else _reduced(job).to_json()


def _reduced(job: Job) -> Job:
    try:
        share = parse_share(job.body)
    except BadRequest:
        # Only what was parsed once gets here; whatever this is, it must not stand in the way.
        return job
    return replace(job, body=reduced_body(share), body_reduced=True)
