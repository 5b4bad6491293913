"""Intake of xMatters' callbacks: those that the channel uses are queued for the chore worker, which writes them back.

Their credentials are checked before, in `entrypoints.authenticated_endpoint`.
"""

from collections.abc import Callable
from copy import replace
from dataclasses import dataclass

from relay.channels.api_gateway import Request, read_body
from relay.channels.channel import Channel
from relay.deadline import Deadline
from relay.failures import Reason
from relay.incidents.callback import Callback, parse_callback
from relay.jobs.job import Job, JobKind, Stamps, timestamp
from relay.jobs.outbox import Outbox, last_copy
from relay.jobs.outcome import Outcome, Result, Subject

# Many times the size of known callbacks, and small enough for a queue message.
MAX_CALLBACK_BYTES = 256 * 1024


@dataclass(frozen=True)
class CallbackIntake:
    """Takes callbacks, the requests of xMatters.

    Attributes:
        outbox: The queues of jobs.
        clock: The time in epoch seconds.
    """

    outbox: Outbox
    clock: Callable[[], float]

    def take(self, channel: Channel, request: Request, _: Deadline) -> Result:
        """Queue the callback in a request's body for the chore worker. Raises BadRequest if the body is no callback.

        The result is `queued`, `unchanged` if the channel does not use such callbacks, or `unsafe` if no queue took it.
        """
        body = read_body(request, MAX_CALLBACK_BYTES)
        callback = parse_callback(body)
        job = _job(channel, callback, body, request.id, self.clock())
        subject = Subject.of_job(job, transition=callback.kind)
        result = Result(Outcome.QUEUED, replace(subject, person=callback.target, answer=callback.text))
        if not channel.wants_callback(callback):
            return replace(result, outcome=Outcome.UNCHANGED)
        if self.outbox.enqueue(job, until=self.clock()):
            return result.queued("retry")
        if self.outbox.dead_letter(job):
            return result.queued("dead_letter")
        return replace(result, outcome=Outcome.UNSAFE, reason=Reason.INTERNAL).with_last_copy(last_copy(job))


def _job(channel: Channel, callback: Callback, body: bytes, correlation_id: str, came: float) -> Job:
    # With its digest, a callback that arrives twice has the same delivery id: it is written once.
    stamps = Stamps(Reason.IN_FLIGHT, correlation_id, transition=callback.kind)
    return Job(
        JobKind.WRITEBACK,
        channel.name,
        (),
        callback.incident_id,
        timestamp(came),
        body,
        digest=callback.digest,
        stamps=stamps,
    )
