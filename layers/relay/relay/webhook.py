"""BigPanda's webhook: from a request to its reply."""

from collections.abc import Callable
from dataclasses import dataclass

from relay import incident
from relay.channel import Channel
from relay.channel_cache import ChannelCache
from relay.deadline import Deadline
from relay.delivery import Delivery
from relay.errors import BadRequest, ChannelUnreadable, LookupsLimited, Reason
from relay.inbound import Reply, Request, admit, read_body
from relay.outcome import Outcome, Result
from relay.telemetry import Telemetry

INLINE_SECONDS = 8.0
_STATUS = {Outcome.QUEUED: 202, Outcome.UNSAFE: 503}


@dataclass(frozen=True)
class Webhook:
    """Serves the webhook's requests. `clock` gives epoch seconds, `deadlines` one of so many seconds."""

    channels: ChannelCache
    delivery: Delivery
    telemetry: Telemetry
    clock: Callable[[], float]
    deadlines: Callable[[float], Deadline]

    def serve(self, request: Request) -> Reply:
        """Answer a request: 2xx only when xMatters or a queue has the share; never an exception."""
        deadline = self.deadlines(INLINE_SECONDS)
        channel: Channel | None = None
        try:
            with deadline.timed("admit"):
                channel = admit(request, self.channels, self.clock)
            result = self._relay(channel, request, deadline)
        except BadRequest as error:
            self.telemetry.refused(request, error)
            return Reply(error.status, {"error": error.error, "detail": str(error)})
        except LookupsLimited as error:
            # Whoever guesses names must not be able to raise the alarm for lost shares.
            self.telemetry.notice("lookups_limited", str(error))
            return _reply(Result(Outcome.UNSAFE, request.channel, reason=error.reason))
        except ChannelUnreadable as error:
            result = Result(Outcome.UNSAFE, request.channel, reason=error.reason, detail=str(error))
        except Exception as error:  # noqa: BLE001 - a crash would be answered 502, and the share would be gone
            # The body of one who was not let in is not worth a line of the log.
            self.telemetry.crashed(error, raw_body=request.body if channel else None)
            name = channel.name if channel else "(not known)"
            result = Result(Outcome.UNSAFE, name, reason=Reason.INTERNAL)
        self.telemetry.share(result, deadline.spent, correlation_id=request.id)
        return _reply(result)

    def _relay(self, channel: Channel, request: Request, deadline: Deadline) -> Result:
        with deadline.timed("parse"):
            body = read_body(request)
            share = incident.parse(body)
        return self.delivery.relay(
            channel,
            share,
            body,
            recipients=request.recipients,
            correlation_id=request.id,
            deadline=deadline,
        )


def _reply(result: Result) -> Reply:
    always = {
        "outcome": result.outcome,
        "incident_id": result.incident_id,
        "channel": result.channel,
        "transition": result.transition,
        "delivery_id": result.delivery_id,
    }
    sometimes = {"request_id": result.request_id, "reason": result.reason, "queue": result.queue}
    return Reply(_STATUS.get(result.outcome, 200), always | {k: v for k, v in sometimes.items() if v is not None})
