"""What becomes of a share that was let in: it is signalled, or kept."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial

from relay.channel import Channel
from relay.channel_cache import ChannelCache
from relay.deadline import Deadline
from relay.errors import ChannelError, QueueError, Reason
from relay.incident import Share
from relay.message import Job, fits, reduced_body, timestamp
from relay.queues import Queue
from relay.sending import Sender, Sent
from relay.xmatters import Signal

# Of the time that BigPanda waits, so much is kept back for the queue.
QUEUE_SECONDS = 2.0
# Longer log lines are cut, and a cut envelope is worth nothing.
MAX_LOGGED_CHARACTERS = 200_000


class Outcome(StrEnum):
    """What became of a share."""

    DELIVERED = "delivered"
    QUEUED = "queued"
    DUPLICATE = "duplicate"
    SUPERSEDED = "superseded"
    UNCHANGED = "unchanged"
    UNSAFE = "unsafe"


@dataclass(frozen=True)
class Result:
    """What became of a share, and why.

    `queue` is `retry` or `dead_letter` where it is queued. `last_copy` is an envelope that no queue took: the only
    copy there is. `attempts` counts what xMatters was really asked; `fault` is a fault of our own that came in between.
    """

    outcome: Outcome
    channel: str
    incident_id: str | None = None
    transition: str | None = None
    delivery_id: str | None = None
    request_id: str | None = None
    reason: Reason | None = None
    queue: str | None = None
    attempts: int = 0
    http_status: int | None = None
    response_excerpt: str = ""
    detail: str | None = None
    may_have_rung: bool = False
    fault: BaseException | None = None
    last_copy: str | None = None


@dataclass(frozen=True)
class Delivery:
    """Delivers shares. `clock` gives epoch seconds."""

    sender: Sender
    dead_letters: Queue
    clock: Callable[[], float]

    def relay(
        self,
        channel: Channel,
        share: Share,
        body: bytes,
        *,
        recipients: tuple[str, ...],
        correlation_id: str,
        deadline: Deadline,
    ) -> Result:
        """Signal a share; put it on the dead-letter queue when that fails.

        `body` is what BigPanda sent and what xMatters gets, byte for byte; `recipients` are the webhook URL's, which
        join the channel's own. The result is `delivered`, `queued`, or `unsafe` when the queue refuses too.
        """
        received_at = self.clock()
        names = tuple(dict.fromkeys((*channel.recipients, *recipients)))
        signal = Signal(body, names, delivery_id(channel.name, names, share), correlation_id)
        sent = self.sender.send(channel, signal, deadline, reserve=QUEUE_SECONDS)
        result = _judged(Result(Outcome.UNSAFE, channel.name, share.incident_id, delivery_id=signal.delivery_id), sent)
        if sent.failure is None:
            return result
        return self._keep(self._job(result, share, signal, received_at), result, share, deadline)

    def _job(self, result: Result, share: Share, signal: Signal, received_at: float) -> Job:
        failed_at = timestamp(self.clock())
        return Job(
            kind="signal",
            delivery_id=signal.delivery_id,
            channel=result.channel,
            incident_id=share.incident_id,
            version=share.version,
            transition=result.transition,
            status=share.status,
            recipients=signal.recipients,
            body=signal.body,
            received_at=timestamp(received_at),
            first_failed_at=failed_at,
            last_failed_at=failed_at,
            attempts=result.attempts,
            reason=result.reason or Reason.INTERNAL,
            http_status=result.http_status,
            response_excerpt=result.response_excerpt,
            correlation_id=signal.correlation_id,
            may_have_rung=result.may_have_rung,
        )

    def _keep(self, job: Job, result: Result, share: Share, deadline: Deadline) -> Result:
        whole = job.to_json()
        kept = job if fits(whole) else replace(job, body=reduced_body(share), body_reduced=True)
        try:
            deadline.run(partial(self.dead_letters.send, kept), part="keep", at_least=QUEUE_SECONDS)
        except (QueueError, TimeoutError) as error:
            if len(whole) > MAX_LOGGED_CHARACTERS:
                whole = replace(job, body=reduced_body(share), body_reduced=True).to_json()
            return replace(
                result,
                detail=f"{result.detail}; the dead-letter queue did not take it: {error}",
                last_copy=whole,
            )
        return replace(result, outcome=Outcome.QUEUED, queue="dead_letter")


@dataclass(frozen=True)
class Redelivery:
    """Delivers jobs that were kept."""

    sender: Sender
    channels: ChannelCache

    def redeliver(self, job: Job, deadline: Deadline) -> Result:
        """Try a job again, as its channel's secret says now, for the recipients that it had then.

        The result is `delivered`, or `unsafe` with a reason.

        Nothing is put on a queue: the job stays where the caller has it.
        """
        result = Result(Outcome.UNSAFE, job.channel, job.incident_id, job.transition, job.delivery_id)
        try:
            channel = self.channels.get(job.channel)
        except ChannelError as error:
            return replace(result, reason=error.reason, detail=f"{type(error).__name__}: {error}")
        signal = Signal(
            job.body,
            job.recipients,
            job.delivery_id,
            job.correlation_id,
            attempt=job.attempts + 1,
            may_repeat=job.may_have_rung and job.attempts > 0,
        )
        return _judged(result, self.sender.send(channel, signal, deadline))


def delivery_id(channel: str, recipients: tuple[str, ...], share: Share) -> str:
    """What names a share's delivery: the same over all tries and replays, 32 hexadecimal digits."""
    named = [channel, list(recipients), share.incident_id, share.version, share.digest]
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:32]


def _judged(result: Result, sent: Sent) -> Result:
    failure = sent.failure
    if failure is None:
        return replace(result, outcome=Outcome.DELIVERED, attempts=sent.attempts, request_id=sent.request_id)
    return replace(
        result,
        attempts=sent.attempts,
        reason=failure.reason,
        http_status=failure.http_status,
        response_excerpt=failure.excerpt,
        detail=failure.detail,
        may_have_rung=sent.may_have_rung,
        fault=failure.__cause__ if failure.reason == Reason.INTERNAL else None,
    )
