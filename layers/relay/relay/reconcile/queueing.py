"""Queueing of what a comparison found: jobs for missed states, for ended snoozes and for disputed ends.

An end is disputed if the ledger has a resolve of an incident that BigPanda shows as open.
"""

import json
from collections.abc import Callable
from copy import replace
from dataclasses import dataclass

from relay.bigpanda.listing import Lister
from relay.channels.channel import Channel
from relay.channels.kept_facts import with_facts
from relay.delivery.task import new_job
from relay.failures.errors import ChannelError, QueueError, SendError
from relay.jobs.job import Flag, seconds_of, timestamp
from relay.jobs.outbox import FIRST_EVENT, Outbox, release_job
from relay.reconcile.comparison import Comparison
from relay.reconcile.findings import Cause, Compared, Seen, StateToQueue, as_seen
from relay.reconcile.piece import Member
from relay.reconcile.run import PieceProgress
from relay.telemetry.telemetry import Telemetry

# With less time left, no further state is queued.
LAST_SECONDS = 1.5
# With less time left, no details are requested, so that the states can still be queued.
DETAILS_SECONDS = 3.0
# Incidents of a run whose details are requested, one call each. The others are queued without details.
MAX_DETAILS = 20


@dataclass(frozen=True)
class Queueing:
    """Queues the states that a piece of a reconcile run found.

    Attributes:
        lister: Reads details of incidents from BigPanda.
        comparison: Reads channels.
        outbox: The queues of jobs.
        telemetry: Log and metrics.
        clock: The time in epoch seconds.
    """

    lister: Lister
    comparison: Comparison
    outbox: Outbox
    telemetry: Telemetry
    clock: Callable[[], float]

    def queue(self, run: PieceProgress) -> None:
        """Queue jobs for what the comparison found, criticals first, while there is time.

        `run` records if states are left for a later piece. Raises QueueError and LedgerError.
        """
        run.takes_all = run.cursor.takes_all or run.is_last
        findings = [(finding, compared) for compared in run.compared for finding in compared.findings]
        count = 0
        for finding, compared in sorted(findings, key=lambda each: _urgency(each[0])):
            if not run.takes_all and not finding.seen.state.is_critical:
                run.has_postponed = True
                return
            if count and run.deadline.remaining() < LAST_SECONDS:
                run.is_unfinished = True
                return
            if self._put(run, finding, compared):
                count += 1
                if finding.cause != Cause.DISPUTED_END:
                    run.counts[finding.cause] += 1

    def _put(self, run: PieceProgress, finding: StateToQueue, compared: Compared) -> bool:
        """Put the jobs for a finding on the retry queue.

        Returns False if the channel was removed, left the group, or can't be read. Also returns False if the ledger has
        no entry of the incident, and the channel's `bigpanda.reconcile` is not `ring` any more. Raises LedgerError, and
        QueueError if the queue does not accept a job.
        """
        channel = self._channel(run, finding)
        if channel is None:
            return False
        now, (whole, state) = self.clock(), self._whole(run, finding.seen)
        for recipients, entry in finding.entries:
            if not all(map(channel.permits, recipients)):
                continue
            share, trail = with_facts(whole, entry.facts), f"reconcile-{whole.incident_id}"[:100]
            job = new_job(channel, share, json.dumps(share.document).encode(), recipients, trail, state.came)
            # The disputed end has later timestamps than BigPanda's open state, so that state is ordered by its arrival.
            version = None if finding.cause == Cause.DISPUTED_END else job.version
            job = replace(job, version=version).with_flags(Flag.FOUND)
            if not self.outbox.enqueue(job, run.deadline, until=now):
                raise QueueError("the retry queue did not take what was missed")
            if finding.is_first and channel.bigpanda and channel.bigpanda.callbacks:
                # BigPanda withholds later updates until the first share is reported as received.
                self.outbox.enqueue(release_job(job, FIRST_EVENT), run.deadline, until=now)
        compared.queued(finding, seconds_of(timestamp(state.came)))
        return True

    def _channel(self, run: PieceProgress, finding: StateToQueue) -> Channel | None:
        try:
            channel = self.comparison.channel(run.group, finding.member)
        except ChannelError as error:
            notice_unread(self.telemetry, finding.member, error)
            return None
        signals = channel is not None and channel.bigpanda is not None and channel.bigpanda.reconcile == "ring"
        return channel if signals or not finding.is_first else None

    def _whole(self, run: PieceProgress, seen: Seen) -> Seen:
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
            found = self.lister.details(run.group.access, run.group.environment_id, share, run.deadline)
        except SendError:
            # No further details in this run: failing requests would use up the time for owed states.
            run.asked, found = MAX_DETAILS, share
        run.whole[share.incident_id] = seen if found is share else as_seen(found, now)
        return run.whole[share.incident_id]


def notice_unread(telemetry: Telemetry, member: Member, error: ChannelError) -> None:
    """Count and log that a reconcile run leaves out a channel whose secret can't be read."""
    telemetry.notice("reconcile_failed", f"channel {member.name}: {type(error).__name__}")


def _urgency(finding: StateToQueue) -> tuple[bool, bool]:
    """Return a sort key for findings: criticals first, then open incidents, then resolved ones."""
    return not finding.seen.state.is_critical, not finding.seen.state.is_open
