"""Reconcile runs: BigPanda's shared incidents are compared with the ledger, and missed ones are relayed or reported.

A webhook may be lost before the relay has it. So every few minutes a run lists the incidents of an environment once for
all channels that share the listing. A run is a chain of chores. Each chore works a bounded piece, and the next chore
goes on where it ended; a run that was interrupted is begun anew by the next schedule. A missed state takes the way of
all jobs, by which nothing that the ledger knows rings twice.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from copy import replace
from dataclasses import dataclass
from itertools import batched

from relay.bigpanda.listing import Lister, Position
from relay.channels.cache import ChannelCache
from relay.channels.channel import Channel
from relay.deadline import Deadline
from relay.delivery.task import new_job
from relay.errors import ChannelError, LedgerError, QueueError, SendError, UnknownChannel
from relay.incidents.share import Share
from relay.jobs.envelope import Job, seconds_of, timestamp
from relay.jobs.outbox import FIRST_EVENT, Keeper, release_job
from relay.jobs.outcome import Found
from relay.ledger.table import Table
from relay.reconcile.chore import Chore, Cursor, Member
from relay.reconcile.comparison import (
    FORGOTTEN_SECONDS,
    Compared,
    Comparison,
    Entries,
    Finding,
    Group,
    Seen,
    seen_at,
)
from relay.reconcile.notes import GroupNote, channel_key, read_channel_notes, short
from relay.reconcile.report import Reporter
from relay.reconcile.run import COUNTS, Run
from relay.telemetry import Telemetry

# Of a piece's 15 seconds: the listing, the comparison until this much is left, and the queue until that.
LISTING_SECONDS, RELAY_SECONDS, LAST_SECONDS = 5.0, 5.0, 1.5
# Details are worth a call only while there is time for it and the queue.
DETAILS_SECONDS = 3.0
# Entries that one piece reads, 200 calls of BatchGetItem, some 3 seconds; and those between two looks at the time.
MAX_ENTRIES, ENTRIES_AT_ONCE = 20_000, 1_000
# A call each; the other incidents are relayed as the listing has them.
MAX_DETAILS = 20
# Longer than the chore worker's time-out, so that a piece has one worker.
PIECE_SECONDS = 35.0
# Longer than the queue hides a message whose worker died.
WAIT_SECONDS = 240.0
# A run that takes longer is given up: the next schedule begins anew.
RUN_SECONDS = 900.0
# While others call BigPanda as often as it allows.
PACED_SECONDS = 10.0
# What ended is listed back to so long before the last complete run.
OVERLAP_SECONDS = 900.0
# The time of a complete run is noted for each channel no more often.
NOTED_SECONDS = 3600.0


@dataclass(frozen=True)
class Reconciler:
    """Works the chores of reconcile runs.

    Attributes:
        channels: The channels, as long as their secrets are cached.
        lister: Asks BigPanda.
        comparison: Compares with the ledger.
        table: The table with the notes of runs.
        keeper: Takes the jobs of missed states, and the next chore.
        reporter: Reports what no channel knows.
        telemetry: Log and metrics.
        clock: Gives epoch seconds.
    """

    channels: ChannelCache
    lister: Lister
    comparison: Comparison
    table: Table
    keeper: Keeper
    reporter: Reporter
    telemetry: Telemetry
    clock: Callable[[], float]

    def work(self, job: Job, deadline: Deadline) -> Found | None:
        """Work a piece of a run, and keep the next piece as a chore; return what the run found, once it is over.

        None if the run goes on, or another one has the group. A failure ends the run: the next schedule begins anew, so
        the chore need not be tried again. Raises UnreadableMessage.
        """
        chore = Chore.of(job)
        try:
            group = self._group(chore)
            run = self._begun(chore, group, deadline) if group else None
        except LedgerError as error:
            return self._said(chore, Found(failure=str(error), reason=error.reason), deadline)
        except Exception as error:  # noqa: BLE001 - the message would come back for an hour, for a run that is over
            self.telemetry.crashed(error)
            return None
        return self._worked(run) if run else None

    def _worked(self, run: Run) -> Found | None:
        cursor: Cursor | None = None
        failed: SendError | QueueError | LedgerError | None = None
        try:
            self._piece(run)
            cursor, failed = (None, run.failure) if run.failure else (run.next(), None)
        except (QueueError, LedgerError) as error:
            failed = error
        except Exception as error:  # noqa: BLE001 - as above
            self.telemetry.crashed(error)
            failed = LedgerError("the relay's own fault; the line before says where")
        if cursor and self.clock() - run.note.began > RUN_SECONDS:
            cursor, failed = None, LedgerError("the run took too long")
        return self._ended(run, cursor, failed)

    def _group(self, chore: Chore) -> Group | None:
        """Return the group, as the first channel's secret has it that can be read; None if none has reconcile on."""
        for member in chore.members:
            try:
                channel = self.channels.get(member.name)
            except UnknownChannel:
                continue
            except ChannelError as error:
                self._not_compared(member, error)
                continue
            if channel.bigpanda and channel.bigpanda.reconcile:
                return Group(channel.bigpanda, chore.environment_id)
        return None

    def _begun(self, chore: Chore, group: Group, deadline: Deadline) -> Run | None:
        """Take the group's lease for a piece; return None if another run or another worker has it, or it is done."""
        note, now, cursor = GroupNote.read(self.table, group.name), self.clock(), chore.cursor
        is_expected = note.run == chore.run and note.piece == cursor.piece
        if now < note.until and (note.is_working or not is_expected):
            return None
        if not is_expected:
            if cursor.piece or seconds_of(chore.planned_at) < note.began:
                return None
            note = replace(note, began=now)
        leased = replace(note, run=chore.run, piece=cursor.piece, is_working=True, until=now + PIECE_SECONDS)
        taken = leased.write(self.table, group.name)
        if taken is None:
            return None
        recent = {name: each for name, each in taken.unannounced.items() if now - each.since < FORGOTTEN_SECONDS}
        counts = Counter(dict(zip(COUNTS, cursor.counts, strict=True)))
        run = Run(chore, group, taken, deadline, dict(taken.asleep), recent, counts=counts)
        run.done, run.known, run.unknown = cursor.members, set(cursor.known), set(cursor.unknown)
        run.asked = cursor.details
        return run

    def _piece(self, run: Run) -> None:
        """Work a piece. Raises QueueError and LedgerError."""
        keys = {member.name: channel_key(run.group.place, member.name) for member in run.members}
        run.notes = read_channel_notes(self.table, keys)
        if len(run.notes) < len(keys):
            raise LedgerError("DynamoDB did not answer for all channels")
        run.since = self._last(run) - OVERLAP_SECONDS
        self._list(run)
        self._compare(run)
        if run.done == len(run.members):
            self.reporter.report(run)
        self._relay(run)
        if run.done == len(run.members) and not run.is_unfinished:
            for incident_id in run.incidents:
                run.asleep.pop(short(incident_id), None)

    def _last(self, run: Run) -> float:
        """Return the time of the last complete run; for a new group, as of another key, its channels' own."""
        now = self.clock()
        if now - run.note.last < FORGOTTEN_SECONDS:
            return run.note.last
        return min(note.seen if now - note.seen < FORGOTTEN_SECONDS else now for note in run.notes.values())

    def _list(self, run: Run) -> None:
        """List pages, as long as there is time for them and for the comparison; keep the incidents that are awake.

        Raises LedgerError.
        """
        at: Position | None = run.cursor.position
        ids: set[str] = set()
        until = run.deadline.remaining() - LISTING_SECONDS
        while at is not None:
            try:
                page = self.lister.page(run.group.access, run.group.environment_id, at, run.since, ids, run.deadline)
            except SendError as error:
                # What was listed before is true all the same.
                run.trouble = error
                break
            now = self.clock()
            run.counts["unreadable"] += page.unreadable if run.is_counted else 0
            if page.is_cut and run.is_counted:
                self.telemetry.notice("reconcile_failed", f"folder {page.folder} holds more than BigPanda shows")
            for share in page.shares:
                # What lies in a folder need not be what the folder is called.
                if share.snoozed is True and share.active is not False:
                    run.asleep[short(share.incident_id)] = now
                elif page.folder != "snoozed":
                    run.incidents[share.incident_id] = seen_at(share, now)
            ids = ids if page.after and page.after.folder == at.folder else set()
            at = page.after
            if run.deadline.remaining() < until or len(run.incidents) * len(run.members) >= MAX_ENTRIES:
                break
        run.after = at
        awake = {name for name in run.incidents if run.asleep.get(short(name), 0.0) < run.note.began}
        run.incidents = {name: seen for name, seen in run.incidents.items() if name in awake}
        run.counts["compared"] += len(run.incidents) if run.is_counted else 0

    def _compare(self, run: Run) -> None:
        """Compare channels with the incidents of this piece, some at least, until too little time is left."""
        incidents = list(run.incidents.values())
        at_once = max(1, ENTRIES_AT_ONCE // max(1, len(incidents)))
        for members in batched(run.members[run.cursor.members :], at_once, strict=False):
            if run.done > run.cursor.members and run.deadline.remaining() < RELAY_SECONDS:
                return
            entries = self.comparison.read(members, incidents)
            for member in members:
                self._compare_one(run, member, incidents, entries[member.name])
                run.done += 1

    def _compare_one(self, run: Run, member: Member, incidents: Sequence[Seen], entries: Entries) -> None:
        note = run.notes[member.name]
        try:
            compared = self.comparison.compare(run.group, member, note, incidents, entries, run.asleep)
        except ChannelError as error:
            self._not_compared(member, error)
        except LedgerError:
            raise
        except Exception as error:  # noqa: BLE001 - it must not keep the other channels
            self.telemetry.crashed(error)
        else:
            run.compared.append(compared)
            run.known |= compared.known
            run.unknown |= compared.unknown
            run.waits |= compared.waits

    def _relay(self, run: Run) -> None:
        """Queue what was missed, criticals first; as much as there is time for. Raises QueueError and LedgerError."""
        run.takes_all = run.cursor.takes_all or run.is_last
        findings = [(finding, compared) for compared in run.compared for finding in compared.findings]
        count = 0
        for finding, compared in sorted(findings, key=lambda each: _urgency(each[0])):
            if not run.takes_all and not finding.seen.state.is_critical:
                run.holds = True
                return
            if count and run.deadline.remaining() < LAST_SECONDS:
                run.is_unfinished = True
                return
            if self._keep(run, finding, compared):
                count += 1
                run.counts["woken" if finding.is_woken else "missed"] += 1

    def _keep(self, run: Run, finding: Finding, compared: Compared) -> bool:
        """Put jobs for a finding on the retry queue; return False if the channel does not want it any more.

        Raises QueueError if the retry queue does not take it.
        """
        channel = self._channel(run, finding)
        if channel is None:
            return False
        # What comes while BigPanda is asked for the details is newer than this.
        now = self.clock()
        whole = self._whole(run, finding.seen.share)
        body = json.dumps(whole.document).encode()
        for each in finding.recipients:
            if not all(map(channel.permits, each)):
                continue
            trail = f"reconcile-{whole.incident_id}"[:100]
            job = replace(new_job(channel, whole, body, each, trail, now), found=True)
            if not self.keeper.keep(job, run.deadline, until=now):
                raise QueueError("the retry queue did not take what was missed")
            if finding.is_first and channel.bigpanda and channel.bigpanda.callbacks:
                # BigPanda holds what comes after a first share until it hears that it arrived.
                self.keeper.keep(release_job(job, FIRST_EVENT), run.deadline, until=now)
        compared.queued(finding, seconds_of(timestamp(now)))
        return True

    def _channel(self, run: Run, finding: Finding) -> Channel | None:
        try:
            channel = self.comparison.channel(run.group, finding.member)
        except ChannelError as error:
            self._not_compared(finding.member, error)
            return None
        rings = channel is not None and channel.bigpanda is not None and channel.bigpanda.reconcile == "ring"
        return channel if rings or not finding.is_first else None

    def _whole(self, run: Run, share: Share) -> Share:
        """Return the share with the details of its alerts, if the run may ask for them still: a page needs none."""
        if share.incident_id in run.whole:
            return run.whole[share.incident_id]
        if run.asked >= MAX_DETAILS or run.deadline.remaining() < DETAILS_SECONDS:
            return share
        run.asked += 1
        try:
            found = self.lister.details(run.group.access, run.group.environment_id, share, run.deadline)
        except SendError:
            # BigPanda does not tell them now; to ask for the others would take the time of what is owed.
            run.asked, found = MAX_DETAILS, share
        run.whole[share.incident_id] = found
        return found

    def _ended(
        self, run: Run, cursor: Cursor | None, failed: SendError | QueueError | LedgerError | None
    ) -> Found | None:
        """Write the notes; keep the next piece, or say what the run found. A failure is said, and ends the run."""
        now = self.clock()
        try:
            self._write_channel_notes(run, now)
            note = replace(run.note, asleep=run.asleep, unannounced=run.unannounced, is_working=False)
            is_complete = cursor is None and failed is None
            # What is over is not listed for long.
            is_seen = is_complete and not (run.waits or run.cursor.waits)
            last = note.began if is_seen else self._last(run) if run.notes else note.last
            if cursor:
                note = replace(note, piece=cursor.piece, until=now + WAIT_SECONDS)
            else:
                note = replace(note, run="", piece=0, until=0.0, last=last)
            if note.write(self.table, run.group.name) is None:
                # The lease was over, and another run has the group.
                return None
        except LedgerError as error:
            cursor, failed = None, failed or error
        if cursor and failed is None:
            delay = PACED_SECONDS if run.trouble else 0.0
            if self.keeper.keep(run.chore.going_on(cursor).job(), run.deadline, until=now + delay):
                return None
            failed = QueueError("the chore queue did not take the rest of the run")
        counts = run.counts
        found = Found(counts["compared"], counts["missed"], counts["woken"], counts["unannounced"])
        if counts["unreadable"]:
            self.telemetry.notice("reconcile_failed", f"{counts['unreadable']} incidents can't be read")
        if failed:
            detail = failed.detail if isinstance(failed, SendError) else str(failed)
            found = replace(found, failure=detail, reason=failed.reason)
        return self._said(run.chore, found, run.deadline)

    def _write_channel_notes(self, run: Run, now: float) -> None:
        """Write the notes that changed; and now and then, of the others, that a complete run compared the channel."""
        for compared in run.compared:
            if run.note.last > compared.note.seen and now - compared.note.seen > NOTED_SECONDS:
                compared.note = replace(compared.note, seen=run.note.last)
            if changed := compared.changed:
                changed.write(self.table, channel_key(run.group.place, compared.member.name))

    def _said(self, chore: Chore, found: Found, deadline: Deadline) -> Found:
        names = [member.name for member in chore.members]
        self.telemetry.reconciled(names, chore.environment_id, found, deadline.spent)
        return found

    def _not_compared(self, member: Member, error: ChannelError) -> None:
        self.telemetry.notice("reconcile_failed", f"channel {member.name}: {type(error).__name__}")


def _urgency(finding: Finding) -> tuple[bool, bool]:
    """Sort criticals first, then what is open, then what is over."""
    return not finding.seen.state.is_critical, not finding.seen.state.is_open
