"""Reconcile runs: compare BigPanda's shared incidents with the ledger, and queue or report missed ones.

A webhook can be lost before it reaches the relay. So every few minutes a run lists the incidents of each environment,
once for all channels that share the listing. A missed state is queued as a job. The worker compares it with the ledger,
so that no announced state pages twice. A run ends within the function's time; the next one takes up what is left.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from relay.bigpanda.listing import Lister, Position
from relay.deadline import Deadline, times_collected
from relay.failures import ChannelError, LedgerError, QueueError, Reason, SendError
from relay.jobs.outcome import Found
from relay.ledger.table import Table
from relay.reconcile.comparison import Comparison
from relay.reconcile.findings import GroupProgress, Lease, LeaseLost, Progress, Seen, as_seen
from relay.reconcile.history import History, short_name
from relay.reconcile.plan import Listing, Planner
from relay.reconcile.queueing import Queueing
from relay.reconcile.report import Reporter
from relay.telemetry.telemetry import Telemetry

# Time limit of a run. The function's time-out is 900 seconds: a last step, the histories and the log have the rest.
RUN_SECONDS = 810.0
# Resolved incidents are listed from this time before the last complete run.
OVERLAP_SECONDS = 900.0
# Time for which a listing waits while other calls use up BigPanda's rate limit.
PACED_SECONDS = 120.0


class Ran(NamedTuple):
    """Result of a run for a group of channels.

    Attributes:
        channels: Names of the channels.
        found: What the run found.
    """

    channels: Sequence[str]
    found: Found


@dataclass(frozen=True)
class Reconciler:
    """Makes a reconcile run of all channels.

    Attributes:
        planner: Finds the listings to compare, and their channels.
        lister: Reads incidents from BigPanda.
        comparison: Compares incidents with the ledger.
        queueing: Queues the states that the comparison found.
        reporter: Reports incidents that no channel knows.
        table: The ledger's table, which has the lease and the histories of listings.
        telemetry: Log and metrics.
        clock: The time in epoch seconds.
        deadlines: Returns a deadline of a number of seconds.
    """

    planner: Planner
    lister: Lister
    comparison: Comparison
    queueing: Queueing
    reporter: Reporter
    table: Table
    telemetry: Telemetry
    clock: Callable[[], float]
    deadlines: Callable[[float], Deadline]

    def run(self) -> list[Ran]:
        """Compare all listings with their channels. Return the result of each group of channels.

        Does nothing while another run works. A failure of one listing does not stop the others.
        """
        whole, lease, done = self.deadlines(RUN_SECONDS), None, list[Ran]()
        try:
            listings = self.planner.listings(whole)
            lease = Lease.take(self.table, self.clock) if listings else None
            if lease:
                self._work(listings, lease, whole, done)
        except (ChannelError, LedgerError) as error:
            self.telemetry.notice("reconcile_failed", str(error))
        finally:
            if lease:
                lease.release()
        return done

    def _work(self, listings: Sequence[Listing], lease: Lease, whole: Deadline, done: list[Ran]) -> None:
        """Compare the listings, and add the results to `done`. Criticals of all are queued before anything else.

        The order of the listings turns: a run begins after the listing that the run before began last. Raises
        LeaseLost.
        """
        later: list[Progress] = []
        in_turn = sorted(listings, key=lambda each: (each.number < lease.start, each.number))
        for number, listing in enumerate(in_turn):
            if not whole.remaining():
                left = len(listings) - number
                self.telemetry.notice("reconcile_failed", f"there was no time for {left} of {len(listings)} listings")
                break
            lease.start = listing.number + 1.0
            run = self._compared(listing, lease, whole)
            if any(part.findings for part in run.parts):
                later.append(run)
            else:
                done += self._ended(run)
        for run in later:
            done += self._ended(run)

    def _compared(self, listing: Listing, lease: Lease, deadline: Deadline) -> Progress:
        """Compare a listing with its channels, queue criticals, and report incidents that no channel knows."""
        now = self.clock()
        parts = [GroupProgress(group, now) for group in listing.groups]
        run = Progress(listing, History(), now, deadline, lease, parts)
        with self._failing(run.parts), times_collected(run.spent):
            run.history = History.read(self.table, listing.name)
            run.history.begin((each.name for group in listing.groups for each in group.members), now)
            for part in run.parts:
                last = min(run.history.channels[each.name].seen for each in part.group.members)
                part.since = last - OVERLAP_SECONDS
                with self._failing([part]):
                    for incidents in self._pages(run, part):
                        self.comparison.compare(run, part, incidents)
                        self.queueing.queue(run, part, criticals_alone=True)
            self.reporter.report(run)
            if any(part.findings for part in run.parts):
                run.history.write(self.table, listing.name)
        return run

    def _pages(self, run: Progress, part: GroupProgress) -> Iterator[list[Seen]]:
        """Yield BigPanda's list of incidents by page, without the snoozed ones. Raises SendError and LedgerError."""
        at: Position | None = Position()
        began, ids = self.clock(), set[str]()
        access, environment_id = part.group.access, run.listing.environment_id
        while at is not None:
            run.go_on()
            # Taken before the request: a share that arrives during the request is newer than what is listed.
            now = self.clock()
            try:
                listed = self.lister.listing_page(access, environment_id, at, part.since, ids, run.deadline)
            except SendError as error:
                if error.reason == Reason.PACED and now - began < PACED_SECONDS:
                    continue
                raise
            part.counts["unreadable"] += listed.unreadable
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
            part.counts["compared"] += len(incidents)
            yield incidents
            ids = ids if listed.after and listed.after.folder == at.folder else set()
            at = listed.after

    def _ended(self, run: Progress) -> list[Ran]:
        """Queue what is left of a listing, write its history, and log and return the results."""
        for part in run.parts:
            with self._failing([part]), times_collected(run.spent):
                self.queueing.queue(run, part, criticals_alone=False)
            # If a resolved incident is not settled, the next run must list it again.
            if part.failure is None and not part.waits:
                for member in part.group.members:
                    run.history.channels[member.name].seen = run.began
        if all(part.failure is None for part in run.parts):
            for name in run.listed:
                run.history.snoozed_at.pop(name, None)
        if run.history.channels:
            with self._failing(run.parts):
                run.history.write(self.table, run.listing.name)
        return [self._logged(run, part) for part in run.parts]

    def _logged(self, run: Progress, part: GroupProgress) -> Ran:
        counts, failure = part.counts, part.failure
        if counts["unreadable"]:
            self.telemetry.notice("reconcile_failed", f"{counts['unreadable']} incidents can't be read")
        found = Found(counts["compared"], counts["missed"], counts["snooze_over"], counts["unknown"])
        if failure:
            detail = failure.detail if isinstance(failure, SendError) else str(failure)
            found = found._replace(failure=detail, reason=failure.reason)
        names = [each.name for each in part.group.members]
        self.telemetry.reconciled(names, run.listing.environment_id, found, run.spent)
        return Ran(names, found)

    @contextmanager
    def _failing(self, parts: Sequence[GroupProgress]) -> Iterator[None]:
        """Record a failure of the `with` block in these parts of a run. LeaseLost is raised."""
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
        for part in parts:
            part.failure = part.failure or failure
