"""Intake of shares, which BigPanda's webhook sends: each is parsed, and handed to the delivery.

Their credentials are checked before, in `entrypoints.authenticated_endpoint`.
"""

from copy import replace
from dataclasses import dataclass

from relay.channels.api_gateway import Request, read_body
from relay.channels.channel import Channel
from relay.deadline import Deadline
from relay.delivery.delivery import Delivery
from relay.incidents.share import Share, parse_share
from relay.jobs.outbox import FIRST_EVENT, release_job
from relay.jobs.outcome import Outcome, Result
from relay.ledger.sources import Sources


@dataclass(frozen=True)
class ShareIntake:
    """Takes shares, the requests of BigPanda's webhook.

    Attributes:
        delivery: Delivery of states to xMatters.
        sources: Store of the environments and recipients that shares name.
    """

    delivery: Delivery
    sources: Sources

    def take(self, channel: Channel, request: Request, deadline: Deadline) -> Result:
        """Announce the share in a request's body, and return the result. Raises BadRequest if the body is not a share.

        Recipients in the URL that the channel does not permit, or that do not fit into a signal, are left out and
        counted. The share is announced all the same.
        """
        body = read_body(request)
        share = parse_share(body)
        recipients = tuple(filter(channel.permits, request.recipients))
        result = self.delivery.relay(
            channel,
            share,
            body,
            recipients=recipients,
            correlation_id=request.id,
            deadline=deadline,
        )
        self._release(channel, share, result)
        if result.subject.is_first:
            self.sources.record_incident(channel, share.incident_id, recipients, deadline)
        self.sources.record(channel, share.environment_id, recipients, deadline)
        rung = result.job.stamps.recipients if result.job else recipients
        refused = len({*request.recipients} - {*rung})
        return replace(result, notices=replace(result.notices, refused_recipients=refused))

    def _release(self, channel: Channel, share: Share, result: Result) -> None:
        """Queue a release job for an incident's first share, if BigPanda withholds further updates of the incident.

        BigPanda does so until the chore worker reports the share to it as received. If the job can't be queued,
        BigPanda continues after a time-out.
        """
        is_held = channel.bigpanda is not None and channel.bigpanda.callbacks
        if is_held and result.subject.is_first and result.outcome != Outcome.UNSAFE and result.job:
            release = release_job(result.job, share.event or FIRST_EVENT)
            self.delivery.services.outbox.enqueue(release, until=self.delivery.services.clock())
