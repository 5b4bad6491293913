"""Queueing of what a comparison found: jobs for missed states, for ended snoozes and for disputed ends.

An end is disputed if the ledger has a resolve of an incident that BigPanda shows as open.
"""

import json
from collections.abc import Callable
from copy import replace
from dataclasses import dataclass

from relay.bigpanda.listing import Lister
from relay.channels.cache import ChannelCache
from relay.channels.channel import Channel
from relay.channels.kept_facts import with_facts
from relay.delivery.task import new_job
from relay.failures import ChannelError, QueueError, SendError, UnknownChannel
from relay.jobs.job import Flag, seconds_of, timestamp
from relay.jobs.queue import FIRST_EVENT, Outbox, release_job
from relay.reconcile.findings import Cause, Finding, GroupProgress, Progress, Seen, as_seen
from relay.reconcile.plan import is_ringing, notice_unread
from relay.telemetry.telemetry import Telemetry

# Incidents of a listing whose details are requested, one call each. The others are queued without details.
MAX_DETAILS = 20
# With less time left in the run, no details are requested, so that the other listings are compared.
DETAILS_SECONDS = 300.0


@dataclass(frozen=True)
class Queueing:
    """Queues the states that a comparison found.

    Attributes:
        lister: Reads details of incidents from BigPanda.
        channels: The cached channels.
        outbox: The queues of jobs.
        telemetry: Log and metrics.
        clock: The time in epoch seconds.
    """

    lister: Lister
    channels: ChannelCache
    outbox: Outbox
    telemetry: Telemetry
    clock: Callable[[], float]

    def queue(self, run: Progress, part: GroupProgress, *, criticals_alone: bool) -> None:
        """Queue jobs for the findings of a group: criticals first, then open incidents, then resolved ones.

        Raises QueueError, and LedgerError if the lease or the time is over. Findings that are not queued stay.
        """
        found = [(place, finding) for place, findings in part.findings.items() for finding in findings]
        for place, finding in sorted(found, key=lambda each: _urgency(each[1])):
            if criticals_alone and not finding.seen.state.is_critical:
                return
            run.go_on()
            if self._put(run, part, finding) and finding.cause != Cause.DISPUTED_END:
                part.counts[finding.cause] += 1
            part.findings[place].remove(finding)
            if not part.findings[place]:
                del part.findings[place]

    def _put(self, run: Progress, part: GroupProgress, finding: Finding) -> bool:
        """Put the jobs for a finding on the retry queue. Raises QueueError if the queue does not accept a job.

        Returns False if the channel was removed, left the group, or can't be read. Also returns False if the ledger has
        no entry of the incident, and the channel's `bigpanda.reconcile` is not `ring` any more.
        """
        channel = self._channel(part, finding)
        if channel is None:
            return False
        now, (whole, state) = self.clock(), self._whole(run, part, finding.seen)
        for recipients, entry in finding.entries:
            if not all(map(channel.permits, recipients)):
                continue
            share, trail = with_facts(whole, entry.about.facts), f"reconcile-{whole.incident_id}"[:100]
            job = new_job(channel, share, json.dumps(share.document).encode(), recipients, trail, state.came)
            # The disputed end has later timestamps than BigPanda's open state, so that state is ordered by its arrival.
            version = None if finding.cause == Cause.DISPUTED_END else job.version
            job = replace(job, version=version).with_flags(Flag.FOUND)
            if not self.outbox.enqueue(job, until=now):
                raise QueueError("the retry queue did not take what was missed")
            if finding.is_first and channel.bigpanda and channel.bigpanda.callbacks:
                # BigPanda withholds later updates until the first share is reported as received.
                self.outbox.enqueue(release_job(job, FIRST_EVENT), until=now)
        if finding.cause != Cause.SNOOZE_OVER:
            # An ended snooze is no difference of states.
            differing, name = run.history.channels[channel.name].differing, finding.seen.name
            differing[name] = replace(differing[name], queued=seconds_of(timestamp(state.came)))
        return True

    def _channel(self, part: GroupProgress, finding: Finding) -> Channel | None:
        try:
            channel = self.channels.get(finding.member.name)
        except UnknownChannel:
            return None
        except ChannelError as error:
            notice_unread(self.telemetry, finding.member.name, error)
            return None
        return channel if part.group.has(channel) and (is_ringing(channel) or not finding.is_first) else None

    def _whole(self, run: Progress, part: GroupProgress, seen: Seen) -> Seen:
        """Return the incident with details of its alerts from BigPanda, if the run may still request them.

        Else the incident is returned unchanged.
        """
        share = seen.share
        if share.incident_id in run.whole:
            return run.whole[share.incident_id]
        if run.asked >= MAX_DETAILS or run.deadline.remaining() < DETAILS_SECONDS:
            return seen
        run.asked += 1
        # Taken before the request: a share that arrives during the request is newer than the answer.
        now = self.clock()
        try:
            found = self.lister.details(part.group.access, run.listing.environment_id, share, run.deadline)
        except SendError:
            # No further details in this run: failing requests would use up the time for owed states.
            run.asked, found = MAX_DETAILS, share
        run.whole[share.incident_id] = seen if found is share else as_seen(found, now)
        return run.whole[share.incident_id]


def _urgency(finding: Finding) -> tuple[bool, bool]:
    """Return a sort key for findings: criticals first, then open incidents, then resolved ones."""
    return not finding.seen.state.is_critical, not finding.seen.state.is_open
