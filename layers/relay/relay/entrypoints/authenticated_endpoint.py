"""HTTP endpoint that checks credentials: used for BigPanda's webhook, and for xMatters' callbacks.

It answers 401 if they are missing or wrong, and 503 if they can't be checked now. It also answers 503 if the work for
the request does not end in time.
`channels.authentication` checks the credentials. Then `entrypoints.share_intake` or `entrypoints.callback_intake`
processes the request.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from relay.channels.api_gateway import Reply, Request
from relay.channels.authentication import Authenticator
from relay.channels.channel import Channel
from relay.channels.token import EndpointName
from relay.deadline import Deadline, times_collected
from relay.entrypoints.watchdog import Watch
from relay.failures import BadRequest, ChannelUnreadable, LookupsLimited, Reason, UncheckableSender
from relay.jobs.outcome import Outcome, Result, Subject
from relay.ledger.credentials import Uses
from relay.telemetry.telemetry import Telemetry

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
    """State of the work for a request, as the watching thread sees it.

    Attributes:
        channel: The channel of the authenticated request; None before that.
        result: The result of the work; None before the end.
        spent: Time that the calls took, by part (milliseconds).
    """

    channel: Channel | None = None
    result: Result | None = None
    spent: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Endpoint:
    """Serves the requests at one of the two HTTP endpoints.

    Attributes:
        authenticator: Authenticates requests.
        take: Processes an authenticated request, and returns its result. Raises BadRequest.
        telemetry: Log and metrics.
        deadlines: Returns a deadline of a number of seconds.
        uses: Records the uses of credentials.
        watch: Does the work, and raises TimeoutError if it takes too long.
    """

    authenticator: Authenticator
    take: Take
    telemetry: Telemetry
    deadlines: Callable[[float], Deadline]
    uses: Uses
    watch: Watch

    @property
    def name(self) -> EndpointName:
        """The endpoint: `inbound` (BigPanda's webhook) or `callback` (xMatters')."""
        return self.authenticator.endpoint

    def serve(self, request: Request) -> Reply:
        """Answer a request, without raising. A 2xx means that its content is processed, or safely queued."""
        deadline, progress = self.deadlines(INLINE_SECONDS), _Progress()
        try:
            result = self._watched(request, deadline, progress)
        except BadRequest as error:  # also Unauthorized, which has status 401
            self.telemetry.refused(request, error)
            return Reply(error.status, {"error": error.error, "detail": str(error)})
        except (LookupsLimited, UncheckableSender) as error:
            # Only a notice: a sender without valid credentials must not trigger the alarm for lost shares.
            is_limited = isinstance(error, LookupsLimited)
            self.telemetry.notice("lookups_limited" if is_limited else "undecided_request", str(error))
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

    def _watched(self, request: Request, deadline: Deadline, progress: _Progress) -> Result:
        """Do the work for a request. Raises TimeoutError if there is no result in time."""
        # A result counts, too, if the record of the credential's use hangs afterwards.
        with suppress(TimeoutError):
            self.watch(partial(self._work, request, deadline, progress), ANSWER_SECONDS)
        if progress.result is None:
            raise TimeoutError("no result in time")
        return progress.result

    def _work(self, request: Request, deadline: Deadline, progress: _Progress) -> None:
        with times_collected(progress.spent):
            channel = progress.channel = self.authenticator.authenticate(request)
            progress.result = self.take(channel, request, deadline)
            self._record_use(channel, request, deadline)

    def _record_use(self, channel: Channel, request: Request, deadline: Deadline) -> None:
        """Record that the request's credential was used. Called last; a failure here does not change the answer.

        The empty request with which relayctl tries a new credential is refused before, so it is no use by the vendor.
        """
        try:
            if fingerprint := channel.matching_fingerprint(
                request.headers, self.authenticator.clock(), endpoint=self.name
            ):
                self.uses.record(channel.name, fingerprint, deadline)
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
