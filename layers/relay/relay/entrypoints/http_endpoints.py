"""HTTP endpoints that check credentials: BigPanda's webhook, which takes shares, and xMatters' callbacks.

They answer 401 if the credentials are missing or wrong. They answer 503 if the credentials can't be checked now, or if
the work for a request does not end in time.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import replace
from dataclasses import dataclass, field
from functools import partial

from relay.channels.authentication import Authenticator, Reply, Request
from relay.channels.channel import Channel
from relay.channels.token import EndpointName
from relay.deadline import Clock, Deadline, Deadlines, Watch, times_collected
from relay.delivery.delivery import Delivery
from relay.failures import BadRequest, ChannelUnreadable, Reason, UncheckableSender
from relay.incidents.callback import parse_callback
from relay.incidents.share import MAX_BODY_BYTES, parse_share
from relay.jobs.job import Job, JobKind, Stamps, timestamp
from relay.jobs.queue import FIRST_EVENT, Outbox, release_job
from relay.jobs.result import Outcome, Result, Subject
from relay.ledger.credentials import Uses, use_key
from relay.ledger.sources import Sources
from relay.telemetry import Telemetry

# Many times the size of known callbacks, and small enough for a queue message.
MAX_CALLBACK_BYTES = 256 * 1024


def take_callback(outbox: Outbox, clock: Clock, channel: Channel, request: Request, _: Deadline) -> Result:
    """Queue the callback in a request's body for the chore worker. Raises BadRequest if the body is no callback.

    The result is `queued`, `unchanged` if the channel does not use such callbacks, or `unsafe` if no queue took it.
    """
    body, now = read_body(request, MAX_CALLBACK_BYTES), clock()
    callback = parse_callback(body)
    # With its digest, a callback that arrives twice has the same delivery id: it is written once.
    job = Job(
        JobKind.WRITEBACK,
        channel.name,
        (),
        callback.incident_id,
        timestamp(now),
        body,
        digest=callback.digest,
        stamps=Stamps(Reason.IN_FLIGHT, request.id, transition=callback.kind),
    )
    result = Result(Outcome.QUEUED, replace(Subject.of_job(job), person=callback.target, answer=callback.text))
    if not channel.wants_callback(callback):
        return replace(result, outcome=Outcome.UNCHANGED)
    if outbox.enqueue(job, until=now):
        return result.queued("retry")
    if outbox.dead_letter(job):
        return result.queued("dead_letter")
    return replace(result, outcome=Outcome.UNSAFE, reason=Reason.INTERNAL, job=job)


def take_share(delivery: Delivery, sources: Sources, channel: Channel, request: Request, deadline: Deadline) -> Result:
    """Announce the share in a request's body, and return the delivery's result. Raises BadRequest if it is no share.

    Recipients in the URL that the channel does not permit, or that do not fit into a signal, are left out and counted.
    `sources` stores the environments and recipients that shares name. With `bigpanda.callbacks`, an incident's first
    share also queues a job that reports it to BigPanda as received.
    """
    body = read_body(request)
    share = parse_share(body)
    recipients = tuple(filter(channel.permits, request.recipients))
    result = delivery.relay(channel, share, body, recipients=recipients, correlation_id=request.id, deadline=deadline)
    is_held = channel.bigpanda is not None and channel.bigpanda.callbacks
    # Without the ledger only the event tells, if the body has one. A report too many delays comments. Without a report,
    # BigPanda withholds a worse state for minutes.
    may_be_first = result.notices.unguarded is not None and share.event in {None, FIRST_EVENT}
    is_first = result.subject.is_first or may_be_first
    if is_held and is_first and result.outcome != Outcome.UNSAFE and result.job:
        # BigPanda withholds further updates until the chore worker reports the first share to it as received. If the
        # job can't be queued, BigPanda continues after a time-out.
        release = release_job(result.job, share.event or FIRST_EVENT)
        delivery.services.outbox.enqueue(release, until=delivery.services.clock())
    if result.subject.is_first:
        sources.record_recipients(channel, share.incident_id, recipients, deadline)
    sources.record(channel, share.environment_id, recipients, deadline)
    rung = result.job.stamps.recipients if result.job else recipients
    refused = len({*request.recipients} - {*rung})
    return replace(result, notices=replace(result.notices, refused_recipients=refused))


# Time limit of the work for a request.
INLINE_SECONDS = 8.0
# Time by which a request is answered, whatever hangs. A call that began before the deadline may need the last second.
ANSWER_SECONDS = 9.0
# A queued callback is answered 200: xMatters only needs to know that it arrived.
_STATUS: Mapping[EndpointName, Mapping[Outcome, int]] = {
    "inbound": {Outcome.QUEUED: 202, Outcome.UNSAFE: 503},
    "callback": {Outcome.UNSAFE: 503},
}

# Processes an authenticated request. Raises BadRequest if the request is wrong.
type Take = Callable[[Channel, Request, Deadline], Result]


@dataclass
class _Progress:
    """State of the work for a request, as the watching thread sees it. `spent` has milliseconds by part."""

    channel: Channel | None = None
    result: Result | None = None
    spent: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Endpoint:
    """Serves the requests at one of the two HTTP endpoints. `uses` records when each credential was used last."""

    authenticator: Authenticator
    take: Take
    telemetry: Telemetry
    deadlines: Deadlines
    uses: Uses
    watch: Watch

    @property
    def name(self) -> EndpointName:
        return self.authenticator.endpoint

    def serve(self, request: Request) -> Reply:
        """Answer a request. Raises nothing. A 2xx means that the content is processed, or safely queued."""
        progress = _Progress()
        try:
            # A result counts, too, if the record of the credential's use hangs afterwards.
            with suppress(TimeoutError):
                self.watch(partial(self._work, request, progress), ANSWER_SECONDS)
            if (result := progress.result) is None:
                raise TimeoutError("no result in time")
        except BadRequest as error:  # also Unauthorized, which has status 401
            self.telemetry.refused(request, error)
            return Reply(error.status, {"error": error.error, "detail": str(error)})
        except UncheckableSender as error:
            # Only a notice: a sender without valid credentials must not trigger the alarm for lost shares.
            self.telemetry.notice(error.notice, str(error))
            return self._reply(Result(Outcome.UNSAFE, Subject(request.channel), error.reason))
        except ChannelUnreadable as error:
            result = Result(Outcome.UNSAFE, Subject(request.channel), error.reason, str(error))
        except Exception as error:  # noqa: BLE001 - API Gateway would answer 502, and the share would be lost
            # The body is logged only for an admitted request, which may be the only copy of a share.
            channel = progress.channel
            self.telemetry.crashed(error, raw_body=request.body if channel else None)
            name = channel.name if channel else "(not known)"
            result = Result(Outcome.UNSAFE, Subject(name), Reason.INTERNAL)
        log = self.telemetry.share if self.name == "inbound" else self.telemetry.called_back
        # A copy, since an abandoned thread may go on.
        log(result, dict(progress.spent), correlation_id=request.id)
        return self._reply(result)

    def _work(self, request: Request, progress: _Progress) -> None:
        deadline = self.deadlines(INLINE_SECONDS)
        with times_collected(progress.spent):
            channel = progress.channel = self.authenticator.authenticate(request)
            progress.result = self.take(channel, request, deadline)
            self._record_use(channel, request, deadline)

    def _record_use(self, channel: Channel, request: Request, deadline: Deadline) -> None:
        """Record that the request's credential was used. A failure here does not change the answer."""
        # Called last: relayctl tries a new credential with an empty request, which `take` refuses, so that the request
        # does not count as a use.
        try:
            if fingerprint := channel.matching_fingerprint(
                request.headers, self.authenticator.clock(), endpoint=self.name
            ):
                self.uses.record(use_key(channel.name, self.name, fingerprint), deadline)
        except Exception as error:  # noqa: BLE001 - the share is processed already
            self.telemetry.crashed(error)

    def _reply(self, result: Result) -> Reply:
        subject = result.subject
        always = {
            "outcome": result.outcome,
            "incident_id": subject.incident_id,
            "channel": subject.channel,
            "transition": subject.transition,
            "delivery_id": subject.delivery_id,
        }
        sometimes = {"request_id": result.exchange.request_id, "reason": result.reason, "queue": result.queue}
        document = always | {name: value for name, value in sometimes.items() if value is not None}
        return Reply(_STATUS[self.name].get(result.outcome, 200), document)


def read_body(request: Request, limit: int = MAX_BODY_BYTES) -> bytes:
    """Return the body's bytes. Raises BadRequest: 413 above `limit` bytes, 415 if the content type is not JSON."""
    encoded = limit * 4 // 3 + 4 if request.is_base64 else limit
    if len(request.body) > encoded:
        raise _too_large(limit)
    try:
        body = base64.b64decode(request.body, validate=True) if request.is_base64 else request.body.encode()
    except (binascii.Error, ValueError):
        raise BadRequest("body", "is marked as base64, and is not") from None
    if len(body) > limit:
        raise _too_large(limit)
    if not _is_json_type(request.headers.get("content-type", "")):
        raise BadRequest(
            "content-type", "must be application/json, or missing", status=415, error="unsupported_media_type"
        )
    return body


def _too_large(limit: int) -> BadRequest:
    return BadRequest("body", f"has more than {limit} bytes", status=413, error="too_large")


def _is_json_type(value: str) -> bool:
    kind = value.partition(";")[0].strip().lower()
    return kind in {"", "application/json", "text/json"} or (kind.startswith("application/") and kind.endswith("+json"))
