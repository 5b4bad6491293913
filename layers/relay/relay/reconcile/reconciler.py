"""Reconcile runs: compare BigPanda's shared incidents with the ledger, and queue or report missed ones.

A webhook can be lost before it reaches the relay. So every few minutes a run lists the incidents of each environment,
and queues a job for each missed state. A run ends within the function's time; the next one begins with another listing.

An incident that no channel knows is reported, since a signal could page the wrong people. A channel with `reconcile:
ring` signals it if BigPanda's activities say that it was shared with the channel's webhook (`reconcile.ownership`).
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import replace
from dataclasses import dataclass
from functools import partial
from typing import Any

from relay.bigpanda.listing import Lister, Position
from relay.channels.cache import ChannelCache
from relay.channels.channel import Channel
from relay.channels.kept_facts import with_facts
from relay.deadline import Clock, Deadline, Deadlines, times_collected
from relay.delivery.fallback_messages import Fallback
from relay.failures import ChannelError, LedgerError, QueueError, Reason, SendError, UnknownChannel
from relay.jobs.job import Flag, new_job, seconds_of, timestamp
from relay.jobs.queue import FIRST_EVENT, Outbox, release_job
from relay.ledger.table import Table
from relay.reconcile.comparison import SETTLES_SECONDS, Comparison
from relay.reconcile.findings import Cause, Finding, LeaseLost, Progress, RunLease, Seen, as_seen
from relay.reconcile.history import Difference, History, Listing, Planner, is_ringing, notice_unread, short_name
from relay.reconcile.ownership import Ownership
from relay.telemetry import Telemetry, channel_list

FALLBACK_SECONDS = 3.0


@dataclass(frozen=True)
class Reporter:
    """Reports open incidents that no channel knows, to the log and to the fallback topic."""

    channels: ChannelCache
    fallback: Fallback
    telemetry: Telemetry
    clock: Clock

    def report(self, run: Progress, told: dict[str, set[str]]) -> None:
        """Report open incidents that no channel of the listing knows: to the log, criticals to the fallback topic, too.

        An incident is reported once: if it changed since the last complete run, and its state has then lasted for
        SETTLES_SECONDS. `told` has the channels that this run's earlier reports named, by the incident's short name.
        The channels of this report are added.
        """
        now, noted = self.clock(), run.history.unknown
        unknown = {name: seen for name, seen in run.to_report.items() if name not in run.known}
        for name in run.listed - unknown.keys():
            noted.pop(name, None)
        found: list[Seen] = []
        for name, seen in sorted(unknown.items()):
            known, version = noted.get(name), seen.state.version
            is_recent = version is None or version[0] >= run.since or name in run.history.snoozed_at
            if known is None and not is_recent:
                continue
            if known is None or known.summary != seen.summary:
                noted[name] = Difference(seen.summary, now)
            elif now - known.since >= SETTLES_SECONDS:
                # Renewed while it is listed: a history forgets an incident after a day, and a report is made once.
                noted[name] = replace(known, since=now - SETTLES_SECONDS)
                if not known.queued:
                    found.append(seen)
        channels = [each.name for each in run.listing.members]
        known_to_all = {seen.name for seen in found if told.get(seen.name, set()).issuperset(channels)}
        for name in known_to_all:
            noted[name] = replace(noted[name], queued=now)
        new = [seen for seen in found if seen.name not in known_to_all]
        reported = self._notified(run, channels, new)
        for seen in reported:
            told.setdefault(seen.name, set()).update(channels)
            noted[seen.name] = replace(noted[seen.name], queued=now)
            share = seen.share
            self.telemetry.count("unknown_incident")
            self.telemetry.logger.warning(
                "unknown incident: open in BigPanda, and no share of it came; it is reported, not signalled",
                incident_id=share.incident_id,
                status=share.status,
                channel=channel_list(channels),
            )
        run.counts["unknown"] += len(reported)

    def _notified(self, run: Progress, channels: Sequence[str], found: Sequence[Seen]) -> list[Seen]:
        """Notify the fallback topic of the criticals in `found`. Return the incidents that count as reported.

        `channels` are those that may own them. If the notification failed, or all of these channels are paused or in
        shadow mode, a later run reports the criticals.
        """
        criticals = [each for each in found if each.state.is_critical]
        others = [each for each in found if not each.state.is_critical]
        channels = [name for name in channels if not self._is_silent(name)] if criticals else []
        if not channels:
            return others
        publish = partial(self.fallback.notify_of_unknown, channels, [each.share for each in criticals])
        try:
            is_notified = run.deadline.run(
                publish, part="fallback", at_least=FALLBACK_SECONDS, at_most=FALLBACK_SECONDS
            )
        except TimeoutError:
            is_notified = False
        if not is_notified:
            self.telemetry.notice("fallback_failed", "the fallback topic could not be notified of a missed critical")
        return [*criticals, *others] if is_notified else others

    def _is_silent(self, name: str) -> bool:
        """True if the channel sends nothing now: in shadow mode, or wholly paused. False if it can't be read."""
        with suppress(ChannelError):
            return self.channels.for_work(name).policy.stops_all(self.clock())
        return False


# Incidents of a listing whose details are requested, one call each. The others are queued without details.
MAX_DETAILS = 20
# With less time left in the run, no details are requested, so that the other listings are compared.
DETAILS_SECONDS = 300.0


@dataclass(frozen=True)
class Queueing:
    """Queues, as jobs, the states that a comparison found (`Finding`)."""

    lister: Lister
    channels: ChannelCache
    outbox: Outbox
    telemetry: Telemetry
    clock: Clock

    def queue(self, run: Progress, *, criticals_alone: bool) -> None:
        """Queue jobs for the findings, and remove them from `run`: criticals first, resolved incidents last.

        Raises QueueError, and LedgerError if the run's lease is lost or its time is over.
        """
        found = [(place, finding) for place, findings in run.findings.items() for finding in findings]
        for place, finding in sorted(found, key=lambda each: each[1].urgency):
            if criticals_alone and not finding.seen.state.is_critical:
                return
            run.go_on()
            if self._put(run, finding) and finding.cause != Cause.DISPUTED_END:
                run.counts[finding.cause] += 1
            run.findings[place].remove(finding)
            if not run.findings[place]:
                del run.findings[place]

    def _put(self, run: Progress, finding: Finding) -> bool:
        """Put the jobs for a finding on the retry queue. Return False if its channel wants none. Raises QueueError."""
        channel = self._channel(run.listing, finding)
        if channel is None:
            return False
        now, (whole, state) = self.clock(), self._whole(run, finding.seen)
        for recipients, entry in finding.entries:
            if not all(map(channel.permits, recipients)):
                continue
            share, trail = with_facts(whole, entry.about.facts), f"reconcile-{whole.incident_id}"[:100]
            job = new_job(channel, share, state, json.dumps(share.document).encode(), recipients, trail)
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

    def _channel(self, listing: Listing, finding: Finding) -> Channel | None:
        try:
            channel = self.channels.get(finding.member.name)
        except UnknownChannel:
            return None
        except ChannelError as error:
            notice_unread(self.telemetry, finding.member.name, error)
            return None
        return channel if listing.has(channel) and (is_ringing(channel) or not finding.is_first) else None

    def _whole(self, run: Progress, seen: Seen) -> Seen:
        """Return the incident with details of its alerts from BigPanda, if the run may still request them."""
        share = seen.share
        if share.incident_id in run.whole:
            return run.whole[share.incident_id]
        if run.asked >= MAX_DETAILS or run.deadline.remaining() < DETAILS_SECONDS:
            return seen
        run.asked += 1
        # Taken before the request: a share that arrives during the request is newer than the answer.
        now = self.clock()
        try:
            found = self.lister.details(run.access, run.listing.environment_id, share, run.deadline)
        except SendError:
            # No further details in this run: failing requests would use up the time for owed states.
            run.asked, found = MAX_DETAILS, share
        run.whole[share.incident_id] = seen if found is share else as_seen(found, now)
        return run.whole[share.incident_id]


# Time limit of a run. The function's time-out is 900 seconds: a last step, the histories and the log have the rest.
RUN_SECONDS = 810.0
# Resolved incidents are listed from this time before the last complete run.
OVERLAP_SECONDS = 900.0
# Time for which a listing waits while other calls use up BigPanda's rate limit.
PACED_SECONDS = 120.0


@dataclass(frozen=True)
class Reconciler:
    """Makes a reconcile run of all channels. `table` has the lease and the histories of listings."""

    planner: Planner
    lister: Lister
    comparison: Comparison
    ownership: Ownership
    queueing: Queueing
    reporter: Reporter
    table: Table
    telemetry: Telemetry
    clock: Clock
    deadlines: Deadlines

    def handle(self) -> dict[str, int]:
        """Make a run; return the numbers of listings (`runs`) and of `channels`: 0 while another run goes on.

        Raises RuntimeError if the run failed in part, so that Lambda counts an error (ReconcileAlarm).
        """
        compared = self.run()
        if self.telemetry.has_counted("reconcile_failed"):
            raise RuntimeError("the run is not complete: see its lines `reconciled` and `reconcile_failed`")
        channels = {member.name for listing in compared for member in listing.members}
        return {"runs": len(compared), "channels": len(channels)}

    def run(self) -> list[Listing]:
        """Compare all listings, also after one failed. Return the compared listings; none while another run works."""
        whole, lease, done = self.deadlines(RUN_SECONDS), None, list[Listing]()
        try:
            listings = self.planner.listings(whole)
            lease = RunLease.take(self.table, self.clock) if listings else None
            if lease:
                self._work(listings, lease, whole, done)
        except (ChannelError, LedgerError) as error:
            self.telemetry.notice("reconcile_failed", str(error))
        finally:
            if lease:
                lease.release()
        return done

    def _work(self, listings: Sequence[Listing], lease: RunLease, whole: Deadline, done: list[Listing]) -> None:
        """Compare the listings, and add them to `done`. Raises LeaseLost.

        Criticals of all are queued before anything else. The next run begins after the last listing that this run
        began, or after the first one whose calls hung.
        """
        later: list[Progress] = []
        told: dict[str, set[str]] = {}
        hangs = False
        in_turn = sorted(listings, key=lambda each: (each.number < lease.start, each.number))
        for number, listing in enumerate(in_turn):
            if not whole.remaining():
                left = len(listings) - number
                self.telemetry.notice("reconcile_failed", f"there was no time for {left} of {len(listings)} listings")
                break
            lease.start = lease.start if hangs else listing.number + 1.0
            run = self._compared(listing, lease, whole, told)
            hangs = hangs or (run.failure is not None and run.failure.reason in {Reason.TIMEOUT, Reason.CIRCUIT_OPEN})
            if run.findings:
                later.append(run)
            else:
                self._end(run, done)
        for run in later:
            self._end(run, done)

    def _compared(self, listing: Listing, lease: RunLease, deadline: Deadline, told: dict[str, set[str]]) -> Progress:
        """Compare a listing with its channels, queue criticals, and report incidents that no channel knows."""
        now = self.clock()
        run = Progress(listing, listing.accesses[0], History(), now, deadline, lease)
        with self._failing(run), times_collected(run.spent):
            run.history = History.read(self.table, listing.name)
            run.history.begin((each.name for each in listing.members), now)
            run.since = min(run.history.channels[each.name].seen for each in listing.members) - OVERLAP_SECONDS
            with self._failing(run):
                for incidents in self._pages(run):
                    self.comparison.compare(run, incidents)
                    self.queueing.queue(run, criticals_alone=True)
            with self._failing(run):
                names = self.ownership.learn(run)
                self.ownership.judge(run, names, criticals_alone=True)
                self.queueing.queue(run, criticals_alone=True)
                self.ownership.judge(run, names, criticals_alone=False)
            self.comparison.recognize(run)
            self.reporter.report(run, told)
            if run.findings:
                run.history.write(self.table, listing.name)
        return run

    def _pages(self, run: Progress) -> Iterator[list[Seen]]:
        """Yield BigPanda's list of incidents by page, without the snoozed ones. Raises SendError and LedgerError."""
        at: Position | None = Position()
        began, others = self.clock(), run.listing.accesses[1:]
        while at is not None:
            run.go_on()
            # Taken before the request: a share that arrives during the request is newer than what is listed.
            now = self.clock()
            try:
                listed = self.lister.listing_page(run.access, run.listing.environment_id, at, run.since, run.deadline)
            except SendError as error:
                if error.reason == Reason.PACED and now - began < PACED_SECONDS:
                    continue
                if error.reason not in {Reason.CREDENTIALS, Reason.REFUSED} or not others:
                    raise
                self.telemetry.notice("reconcile_failed", f"another channel's key is tried: {error.detail}")
                run.access = others.pop(0)
                continue
            run.counts["unreadable"] += listed.unreadable
            if listed.is_cut:
                self.telemetry.notice("reconcile_failed", f"folder {listed.folder} holds more than BigPanda shows")
            incidents: list[Seen] = []
            for share in listed.shares:
                # The folder does not decide alone: the incident's own members may differ from the folder's name.
                name = short_name(share.incident_id)
                if share.snoozed is True and share.active is not False:
                    run.history.snoozed_at[name] = now
                elif listed.folder != "snoozed" and run.history.snoozed_at.get(name, 0.0) < run.began:
                    incidents.append(as_seen(share, now))
            run.listed |= {each.name for each in incidents}
            run.counts["compared"] += len(incidents)
            yield incidents
            at = listed.after

    def _end(self, run: Progress, done: list[Listing]) -> None:
        with self._failing(run), times_collected(run.spent):
            self.queueing.queue(run, criticals_alone=False)
        if run.failure is None:
            # If a resolved incident is not settled, the next run must list it again.
            for member in run.listing.members if not run.waits else ():
                run.history.channels[member.name].seen = run.began
            for name in run.listed:
                run.history.snoozed_at.pop(name, None)
        if run.history.channels:
            with self._failing(run):
                run.history.write(self.table, run.listing.name)
        self._log(run)
        done.append(run.listing)

    def _log(self, run: Progress) -> None:
        counts, failure = run.counts, run.failure
        if counts["unreadable"]:
            self.telemetry.notice("reconcile_failed", f"{counts['unreadable']} incidents can't be read")
        fields: dict[str, Any] = {name: counts[name] for name in ("compared", "missed", "snooze_over", "unknown")}
        if failure:
            fields["failure"] = failure.detail if isinstance(failure, SendError) else str(failure)
            fields["reason"] = failure.reason
            self.telemetry.count("reconcile_failed")
        if counts["missed"]:
            self.telemetry.count("share_missed", counts["missed"])
        log = self.telemetry.logger.error if failure or counts["missed"] else self.telemetry.logger.info
        fields["channel"] = channel_list([each.name for each in run.listing.members])
        fields["environment_id"] = run.listing.environment_id
        fields["milliseconds"] = {part: round(exact) for part, exact in run.spent.items()}
        log("reconciled", extra=fields)

    @contextmanager
    def _failing(self, run: Progress) -> Iterator[None]:
        """Record a failure of the `with` block in `run.failure`, and do not raise it. LeaseLost is raised."""
        failure: SendError | QueueError | LedgerError | None = None
        try:
            yield
        except LeaseLost:
            raise
        except (SendError, QueueError, LedgerError) as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - a fault in one listing must not stop the others
            self.telemetry.crashed(error)
            failure = LedgerError("a fault of the relay; the log line before has its stack frames")
        run.failure = run.failure or failure
