"""A webhook of ours: from a request at one of the doors to its reply."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from relay.channels.channel import Channel
from relay.channels.gate import Gate
from relay.channels.inbound import Reply, Request
from relay.channels.token import Door
from relay.deadline import Deadline
from relay.errors import BadRequest, ChannelUnreadable, LookupsLimited, Reason, UndecidedSender
from relay.jobs.outcome import Outcome, Result
from relay.ledger.credentials import Uses
from relay.telemetry import Telemetry

INLINE_SECONDS = 8.0
# relayctl shows a new credential before the vendor does; that is no use of it.
_OPERATORS_AGENT = "relayctl"
# xMatters is told no more than that its callback arrived.
_STATUS: Mapping[Door, Mapping[Outcome, int]] = {
    "inbound": {Outcome.QUEUED: 202, Outcome.UNSAFE: 503},
    "callback": {Outcome.UNSAFE: 503},
}

# What becomes of a request that was let in. Raises BadRequest for one that can't be served.
type Take = Callable[[Channel, Request, Deadline], Result]


@dataclass(frozen=True)
class Webhook:
    """Serves the requests of one door.

    Attributes:
        gate: Lets requests in.
        take: Does what a request is for.
        telemetry: Logs and metrics.
        deadlines: Gives a deadline of so many seconds.
        uses: Notes which credential was used.
    """

    gate: Gate
    take: Take
    telemetry: Telemetry
    deadlines: Callable[[float], Deadline]
    uses: Uses

    @property
    def door(self) -> Door:
        """The door."""
        return self.gate.door

    def serve(self, request: Request) -> Reply:
        """Answer a request: 2xx only when what it brought is done with, or on a queue; never an exception."""
        deadline = self.deadlines(INLINE_SECONDS)
        channel: Channel | None = None
        try:
            with deadline.timed("admit"):
                channel = self.gate.admit(request)
            result = self.take(channel, request, deadline)
        except BadRequest as error:
            self.telemetry.refused(request, error)
            return Reply(error.status, {"error": error.error, "detail": str(error)})
        except (LookupsLimited, UndecidedSender) as error:
            # A stranger must not be able to raise the alarm for lost shares.
            is_limited = isinstance(error, LookupsLimited)
            self.telemetry.notice("lookups_limited" if is_limited else "undecided_request", str(error))
            return self._reply(Result(Outcome.UNSAFE, request.channel, reason=error.reason))
        except ChannelUnreadable as error:
            result = Result(Outcome.UNSAFE, request.channel, reason=error.reason, detail=str(error))
        except Exception as error:  # noqa: BLE001 - a crash would be answered 502, and the share would be gone
            # The body of one who was not let in is not worth a line of the log.
            self.telemetry.crashed(error, raw_body=request.body if channel else None)
            name = channel.name if channel else "(not known)"
            result = Result(Outcome.UNSAFE, name, reason=Reason.INTERNAL)
        tell = self.telemetry.share if self.door == "inbound" else self.telemetry.called_back
        tell(result, deadline.spent, correlation_id=request.id)
        if channel:
            self._note_use(channel, request, deadline)
        return self._reply(result)

    def _note_use(self, channel: Channel, request: Request, deadline: Deadline) -> None:
        """Note which credential was used, when all else is done: nothing that happens here changes the answer."""
        if request.headers.get("user-agent", "").startswith(_OPERATORS_AGENT):
            return
        try:
            if fingerprint := channel.used(request.headers, self.gate.clock(), door=self.door):
                self.uses.note(channel.name, fingerprint, deadline)
        except Exception as error:  # noqa: BLE001 - the share is done with
            self.telemetry.crashed(error)

    def _reply(self, result: Result) -> Reply:
        always = {
            "outcome": result.outcome,
            "incident_id": result.incident_id,
            "channel": result.channel,
            "transition": result.transition,
            "delivery_id": result.delivery_id,
        }
        sometimes = {"request_id": result.request_id, "reason": result.reason, "queue": result.queue}
        document = always | {name: value for name, value in sometimes.items() if value is not None}
        return Reply(_STATUS[self.door].get(result.outcome, 200), document)
