"""Where a share is kept while it is not announced: the retry queue, the dead-letter queue, and at last the log."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import ceil

from relay import incident
from relay.deadline import Deadline
from relay.errors import BadRequest, QueueError, Reason
from relay.incident import Share
from relay.message import Job, fits, reduced_body, timestamp
from relay.queues import MAX_DELAY_SECONDS, Queue

# A queue gets so much time, whatever else took long: it is what keeps the share.
QUEUE_SECONDS = 2.0
# However badly it packs.
SURELY_FITS_BYTES = 512 * 1024
# Longer log lines are cut, and a cut envelope is worth nothing.
MAX_LOGGED_CHARACTERS = 200_000


def new_job(
    channel: str, share: Share, body: bytes, recipients: tuple[str, ...], correlation_id: str, came: float
) -> Job:
    """The job of a share that just came; it is kept before its first try. `came` is in epoch seconds."""
    return Job(
        kind="signal",
        delivery_id=delivery_id(channel, recipients, share),
        channel=channel,
        incident_id=share.incident_id,
        version=share.version,
        transition=None,
        status=share.status,
        recipients=recipients,
        body=body,
        received_at=timestamp(came),
        first_failed_at=None,
        last_failed_at=None,
        attempts=0,
        reason=Reason.IN_FLIGHT,
        http_status=None,
        response_excerpt="",
        correlation_id=correlation_id,
        digest=share.digest,
    )


def delivery_id(channel: str, recipients: tuple[str, ...], share: Share) -> str:
    """What names a share's delivery: the same over all tries and replays, 32 hexadecimal digits."""
    named = [channel, list(recipients), share.incident_id, share.version, share.digest]
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Keeper:
    """Puts jobs where they are safe. `clock` gives epoch seconds."""

    retries: Queue
    dead_letters: Queue
    clock: Callable[[], float]

    def keep(self, job: Job, deadline: Deadline, *, until: float) -> bool:
        """Put a job on the retry queue, to wake at `until` (epoch seconds), or in 15 minutes; false if it can't."""
        delay = min(MAX_DELAY_SECONDS, max(0, ceil(until - self.clock())))
        return self._put(self.retries, job, deadline, delay)

    def bury(self, job: Job, deadline: Deadline) -> bool:
        """Put a job on the dead-letter queue, where it rests until an operator replays it; false if it can't."""
        return self._put(self.dead_letters, replace(job, buried_at=timestamp(self.clock())), deadline, 0)

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


def last_copy(job: Job) -> str:
    """The envelope for a log line, where it is the only copy there is."""
    envelope = job.to_json()
    return envelope if len(envelope) <= MAX_LOGGED_CHARACTERS else _reduced(job).to_json()


def _reduced(job: Job) -> Job:
    try:
        share = incident.parse(job.body)
    except BadRequest:
        # Only what was parsed once gets here; whatever this is, it must not stand in the way.
        return job
    return replace(job, body=reduced_body(share), body_reduced=True)
