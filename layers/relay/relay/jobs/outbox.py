"""Outbox: puts jobs on the retry, chore or dead-letter queue, and reduces those that are too large for it."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any

from relay.failures import LONGEST_WAIT_SECONDS, BadRequest, QueueError, Reason
from relay.incidents.share import Share, parse_share
from relay.jobs.job import Flag, Job, JobKind, Stamps, timestamp
from relay.jobs.queue import envelope_of, fits

if TYPE_CHECKING:
    from relay.deadline import Run
    from relay.jobs.queue import Queue


MAX_TEXT = 1024
MAX_REDUCED_BYTES = 60 * 1024


def reduced_body(share: Share) -> bytes:
    """Return a share's body that always fits into a message: long texts are cut, alerts have id and status only."""
    wrapped = share.document.get("incident")
    outside = _small_members(share.document)
    small = _small_members(wrapped) if isinstance(wrapped, dict) else outside
    # These come first, since the first of two spellings of a name is read.
    kept = {
        "id": share.incident_id,
        "alerts": [{"id": alert.id[:100], "status": (alert.status or "unknown")[:20]} for alert in share.alerts[:300]],
        "relay_note": "cut to fit: alerts are here by id and status alone",
    }
    incident = kept | {name: value for name, value in small.items() if name not in kept}
    return json.dumps(outside | {"incident": incident} if isinstance(wrapped, dict) else incident).encode()


def _small_members(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the small members of a JSON object, in order, until MAX_REDUCED_BYTES are used.

    Texts are cut to MAX_TEXT characters. Larger members are left out.
    """
    small, room = {}, MAX_REDUCED_BYTES
    for name, value in members.items():
        cut = value[:MAX_TEXT] if isinstance(value, str) else value
        with suppress(ValueError, RecursionError):
            size = len(json.dumps({name[:100]: cut}, allow_nan=False))
            if size <= min(room, 8 * MAX_TEXT):
                small[name[:100]] = cut
                room -= size
    return small


# Time limit of a send, whatever time its caller has left: only the queued message makes a share durable.
QUEUE_SECONDS = 2.0
# Kinds of jobs for the chore queue. Unknown kinds, which a newer version may add, go to the retry queue as signals do.
CHORES = frozenset(JobKind) - {JobKind.SIGNAL, JobKind.RECOVERY}
# Time from a signal that closes a circuit until the states that waited for it are woken. Circuits that close meanwhile
# need no recovery of their own.
RECOVERY_SECONDS = 1.0
# BigPanda's name of the event of a first share, for bodies that do not contain it.
FIRST_EVENT = "incident#new"
# Time from a resolve to the first question about it: BigPanda's API may lag behind its webhook.
FIRST_QUESTION_SECONDS = 3.0
# Bodies up to this size always fit into a message, even if they do not compress.
SURELY_FITS_BYTES = 512 * 1024
# A DynamoDB item may have 400 KB with its key and all attributes. In base64 a body grows to 4/3 of its size at most.
MAX_STORED_BYTES = 390 * 1024
SURELY_STORED_BYTES = 224 * 1024
# CloudWatch cuts longer log events, and an envelope that was cut can't be replayed.
MAX_LOGGED_CHARACTERS = 200_000


def release_job(job: Job, event: str) -> Job:
    """Return the `release` job for an incident's first share, which reports the share to BigPanda as received.

    `job` is the share's own job, and `event` BigPanda's name of the event that caused the share.
    """
    made = job._replace(kind=JobKind.RELEASE, body=json.dumps({"event": event}).encode(), not_before=None)
    return made.stamped(status=None)


def followup_job(job: Job, now: float) -> Job:
    """Return the `followup` job for a signal's job: it finds the signal's page, and terminates pages of past states.

    Its age counts from `now` (epoch seconds), since its signal may have waited for hours or was dead-lettered.
    """
    made = job.fresh()._replace(kind=JobKind.FOLLOWUP, attempts=0, dead_lettered_at=None, revived_at=timestamp(now))
    return made.without_flags(Flag.ACCEPTED)


def recovery_job(job: Job, now: float) -> Job:
    """Return the `recovery` job after the signal of a job closed its channel's circuit at `now` (epoch seconds)."""
    stamps = Stamps(Reason.CIRCUIT_OPEN, job.stamps.correlation_id)
    return Job(JobKind.RECOVERY, job.channel, (), job.incident_id, timestamp(now), b"", stamps=stamps)


def question_job(job: Job, now: float) -> Job:
    """Return the `question` job for a resolve's job: it asks BigPanda if the incident is over. Its age counts from now.

    `now` is in epoch seconds.
    """
    made = job.fresh()._replace(kind=JobKind.QUESTION, attempts=0, dead_lettered_at=None, revived_at=timestamp(now))
    return made.waiting(Reason.CLAIMED, now + FIRST_QUESTION_SECONDS)


@dataclass(frozen=True)
class Outbox:
    """The queues of jobs: puts a job on the one for its kind, or on the dead-letter queue.

    Attributes:
        retries: The retry queue, for signals.
        chores: The chore queue, for all other kinds. Separate, so that an API that hangs does not delay signals.
        dead_letters: The dead-letter queue, for jobs of all kinds.
        clock: The time in epoch seconds.
        run: Makes each send within QUEUE_SECONDS.
    """

    retries: "Queue"
    chores: "Queue"
    dead_letters: "Queue"
    clock: Callable[[], float]
    run: "Run"

    def enqueue(self, job: Job, *, until: float) -> bool:
        """Put a job on the queue for its kind. Return False if the queue does not accept it.

        The message becomes visible at `until` (epoch seconds), but after 15 minutes at the latest.
        """
        delay = min(int(LONGEST_WAIT_SECONDS), max(0, ceil(until - self.clock())))
        return self._put(self.chores if job.kind in CHORES else self.retries, job, delay)

    def dead_letter(self, job: Job) -> Job | None:
        """Put a job on the dead-letter queue. Return it with a new `dead_lettered_at`; None if the queue fails."""
        marked = job.dead_lettered(self.clock())
        return marked if self._put(self.dead_letters, marked, 0) else None

    def _put(self, queue: "Queue", job: Job, delay: int) -> bool:
        try:
            self.run(partial(queue.send, fitting(job), delay_seconds=delay))
        except (QueueError, TimeoutError):
            return False
        return True


def fitting(job: Job) -> Job:
    """Return the job, or, if it is too large for a message, the job without alert details (`body_reduced`)."""
    # Small bodies are not measured: compressing a body only for its size costs more than the rest of a share's work.
    is_small = len(job.body) <= SURELY_FITS_BYTES
    return job if is_small or fits(envelope_of(job)) else _reduced(job)


def storable(job: Job) -> Job:
    """Return the job, or, if it is too large for a DynamoDB item, the job without alert details (`body_reduced`)."""
    is_small = len(job.body) <= SURELY_STORED_BYTES
    return job if is_small or len(envelope_of(job)) <= MAX_STORED_BYTES else _reduced(job)


def last_copy(job: Job) -> str:
    """Return a job as JSON text for a log line, after no queue accepted it: the line is then its only copy.

    A long job loses its alert details, so that the log does not cut it.
    """
    envelope = envelope_of(job)
    return envelope if len(envelope) <= MAX_LOGGED_CHARACTERS else envelope_of(_reduced(job))


def _reduced(job: Job) -> Job:
    try:
        share = parse_share(job.body)
    except BadRequest:
        # Should not happen, since the body was parsed before. Try to store the whole job then.
        return job
    # Imported here, since most bodies are small: this keeps the import out of cold starts.
    return job.with_body(reduced_body(share), is_reduced=True)
