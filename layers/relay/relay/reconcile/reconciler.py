"""Reconcile runs: compare BigPanda's shared incidents with the ledger, and queue or report missed ones.

A webhook can be lost before it reaches the relay. So every few minutes a run lists an environment's incidents, once for
all channels that share the listing. A run is a chain of chores. Each chore works one piece of bounded size, and the
next chore continues after it. If a run is interrupted, the next schedule starts a new one. A missed state is queued as
a job. The worker compares it with the ledger, so that no announced state pages twice.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from copy import replace
from dataclasses import dataclass
from itertools import batched

from relay.bigpanda.listing import Lister, Position
from relay.channels.cache import ChannelCache
from relay.deadline import Deadline
from relay.failures.errors import ChannelError, LedgerError, QueueError, SendError, UnknownChannel
from relay.jobs.job import Job, seconds_of
from relay.jobs.outbox import Outbox
from relay.jobs.outcome import Found
from relay.ledger.table import Table
from relay.reconcile.comparison import LAST_RUN_FORGOTTEN_SECONDS, Comparison, Entries
from relay.reconcile.findings import Seen, as_seen
from relay.reconcile.group import Group
from relay.reconcile.notes import GroupNote, channel_key, read_channel_notes, short_name
from relay.reconcile.piece import Cursor, Member, Piece
from relay.reconcile.queueing import Queueing, notice_unread
from relay.reconcile.report import Reporter
from relay.reconcile.run import COUNTS, PieceProgress
from relay.telemetry.telemetry import Telemetry

# A piece has 15 seconds. The listing takes 5 s at most, and 5 s are left for the queueing.
LISTING_SECONDS, QUEUEING_SECONDS = 5.0, 5.0
# Entries that a piece reads (200 calls of BatchGetItem, about 3 s), and entries between two checks of the time.
MAX_ENTRIES, ENTRIES_AT_ONCE = 20_000, 1_000
# Lease of a piece. Longer than the chore worker's time-out, so that a piece has one worker.
PIECE_SECONDS = 35.0
# Lease between two pieces. Longer than the visibility timeout of a message whose worker died.
WAIT_SECONDS = 240.0
# A run that takes longer is abandoned. The next schedule starts a new one.
RUN_SECONDS = 900.0
# Delay of the next piece while other calls use up BigPanda's rate limit.
PACED_SECONDS = 10.0
# Resolved incidents are listed from this time before the last complete run.
OVERLAP_SECONDS = 900.0
# Shortest time between two records of a complete run in a channel's note.
NOTED_SECONDS = 3600.0


@dataclass(frozen=True)
class Reconciler:
    """Worker for the chores of reconcile runs. A run is done in pieces, one chore each.

    Attributes:
        channels: The cached channels.
        lister: Reads incidents from BigPanda.
        comparison: Compares incidents with the ledger.
        table: The ledger's table, which has the notes (the stored state) of runs.
        queueing: Queues the states that the comparison found.
        outbox: The queues of jobs, for the next chore.
        reporter: Reports incidents that no channel knows.
        telemetry: Log and metrics.
        clock: The time in epoch seconds.
    """

    channels: ChannelCache
    lister: Lister
    comparison: Comparison
    table: Table
    queueing: Queueing
    outbox: Outbox
    reporter: Reporter
    telemetry: Telemetry
    clock: Callable[[], float]

    def work(self, job: Job, deadline: Deadline) -> Found | None:
        """Work one piece of a run, and queue the next piece. Return the run's findings after its last piece.

        Returns None if the run continues, or another run has the group's lease. A failure ends the run. Its chore is
        not retried, since the next schedule starts a new run. Raises UnreadableMessage if the job is no piece.
        """
        piece = Piece.of(job)
        try:
            group = self._group(piece)
            run = self._begun(piece, group, deadline) if group else None
        except LedgerError as error:
            return self._said(piece, Found(failure=str(error), reason=error.reason), deadline)
        except Exception as error:  # noqa: BLE001 - else SQS would redeliver the message of an ended run for an hour
            self.telemetry.crashed(error)
            return None
        return self._worked(run) if run else None

    def _worked(self, run: PieceProgress) -> Found | None:
        cursor: Cursor | None = None
        failed: SendError | QueueError | LedgerError | None = None
        try:
            self._piece(run)
            cursor, failed = (None, run.failure) if run.failure else (run.next(), None)
        except (QueueError, LedgerError) as error:
            failed = error
        except Exception as error:  # noqa: BLE001 - as above
            self.telemetry.crashed(error)
            failed = LedgerError("a fault of the relay; the log line before has its stack frames")
        if cursor and self.clock() - run.note.began > RUN_SECONDS:
            cursor, failed = None, LedgerError("the run took too long")
        return self._ended(run, cursor, failed)

    def _group(self, piece: Piece) -> Group | None:
        """Return the piece's group of channels, with its access to BigPanda's API; None if there is no such access.

        The access is from the first secret that can be read and has `bigpanda.reconcile` on, in whatever mode.
        """
        for member in piece.members:
            try:
                channel = self.channels.get(member.name)
            except UnknownChannel:
                continue
            except ChannelError as error:
                notice_unread(self.telemetry, member, error)
                continue
            if channel.bigpanda and channel.bigpanda.reconcile:
                return Group(channel.bigpanda, piece.environment_id)
        return None

    def _begun(self, piece: Piece, group: Group, deadline: Deadline) -> PieceProgress | None:
        """Take the group's lease for a piece, and return its progress.

        Returns None if another run or worker has the lease, or the piece is done already. Raises LedgerError.
        """
        note, now, cursor = GroupNote.read(self.table, group.name), self.clock(), piece.cursor
        is_expected = note.run == piece.run and note.piece == cursor.piece
        if now < note.until and (note.is_working or not is_expected):
            return None
        if not is_expected:
            if cursor.piece or seconds_of(piece.planned_at) < note.began:
                return None
            note = replace(note, began=now)
        leased = replace(note, run=piece.run, piece=cursor.piece, is_working=True, until=now + PIECE_SECONDS)
        taken = leased.write(self.table, group.name)
        if taken is None:
            return None
        recent = {name: each for name, each in taken.unknown.items() if now - each.since < LAST_RUN_FORGOTTEN_SECONDS}
        counts = Counter(dict(zip(COUNTS, cursor.counts, strict=True)))
        run = PieceProgress(piece, group, taken, deadline, dict(taken.snoozed_at), recent, counts=counts)
        run.done, run.known, run.unknown = cursor.members, set(cursor.known), set(cursor.unknown)
        run.asked = cursor.details
        return run

    def _piece(self, run: PieceProgress) -> None:
        """Work a piece: list incidents, compare, report, and queue missed states. Raises QueueError and LedgerError."""
        keys = {member.name: channel_key(run.group.listing_name, member.name) for member in run.members}
        run.notes = read_channel_notes(self.table, keys)
        if len(run.notes) < len(keys):
            raise LedgerError("DynamoDB did not answer for all channels")
        run.since = self._last(run) - OVERLAP_SECONDS
        if not (run.note.last or run.cursor.piece):
            self._inherit(run)
        self._list(run)
        self._compare(run)
        if run.done == len(run.members):
            self.reporter.report(run)
        self.queueing.queue(run)
        if run.done == len(run.members) and not run.is_unfinished:
            for incident_id in run.incidents:
                run.snoozed_at.pop(short_name(incident_id), None)

    def _last(self, run: PieceProgress) -> float:
        """Return the time from which on a change of an unknown incident is new to the run (epoch seconds).

        It is the start of the group's last complete run. If the group had none within LAST_RUN_FORGOTTEN_SECONDS, as
        after a change of the API key, it is the oldest start of such a run of one of its channels; a channel without
        one counts as now.
        """
        now = self.clock()
        if now - run.note.last < LAST_RUN_FORGOTTEN_SECONDS:
            return run.note.last
        return min(note.seen if now - note.seen < LAST_RUN_FORGOTTEN_SECONDS else now for note in run.notes.values())

    def _inherit(self, run: PieceProgress) -> None:
        """Take over what the channels' earlier groups noted: before a change of the API key, they reported incidents.

        Raises LedgerError.
        """
        for group in {note.group for note in run.notes.values()} - {"", run.group.name}:
            earlier = GroupNote.read(self.table, group)
            run.noted_unknown = {**earlier.unknown, **run.noted_unknown}
            run.snoozed_at = {**earlier.snoozed_at, **run.snoozed_at}

    def _list(self, run: PieceProgress) -> None:
        """Read the next pages of BigPanda's list of incidents, while there is time for them and for the comparison.

        The incidents that are not snoozed are kept in `run`. Raises LedgerError.
        """
        at: Position | None = run.cursor.position
        group, ids = run.group, set[str]()
        until = run.deadline.remaining() - LISTING_SECONDS
        while at is not None:
            # Taken before the request: a share that arrives during the request is newer than what is listed.
            now = self.clock()
            try:
                listed = self.lister.listing_page(group.access, group.environment_id, at, run.since, ids, run.deadline)
            except SendError as error:
                # The pages before the failure are still compared.
                run.trouble = error
                break
            run.counts["unreadable"] += listed.unreadable if run.is_counted else 0
            if listed.is_cut and run.is_counted:
                self.telemetry.notice("reconcile_failed", f"folder {listed.folder} holds more than BigPanda shows")
            for share in listed.shares:
                # The folder does not decide alone: the incident's own members may differ from the folder's name.
                if share.snoozed is True and share.active is not False:
                    run.snoozed_at[short_name(share.incident_id)] = now
                elif listed.folder != "snoozed":
                    run.incidents[share.incident_id] = as_seen(share, now)
            ids = ids if listed.after and listed.after.folder == at.folder else set()
            at = listed.after
            if run.deadline.remaining() < until or len(run.incidents) * len(run.members) >= MAX_ENTRIES:
                break
        run.after = at
        not_snoozed = {name for name in run.incidents if run.snoozed_at.get(short_name(name), 0.0) < run.note.began}
        run.incidents = {name: seen for name, seen in run.incidents.items() if name in not_snoozed}
        run.counts["compared"] += len(run.incidents) if run.is_counted else 0

    def _compare(self, run: PieceProgress) -> None:
        """Compare the channels with the incidents of this piece, in batches, until too little time is left.

        At least one batch is compared. Raises LedgerError.
        """
        incidents = list(run.incidents.values())
        at_once = max(1, ENTRIES_AT_ONCE // max(1, len(incidents)))
        for members in batched(run.members[run.cursor.members :], at_once, strict=False):
            if run.done > run.cursor.members and run.deadline.remaining() < QUEUEING_SECONDS:
                return
            entries = self.comparison.read(members, incidents)
            for member in members:
                self._compare_one(run, member, incidents, entries[member.name])
                run.done += 1

    def _compare_one(self, run: PieceProgress, member: Member, incidents: Sequence[Seen], entries: Entries) -> None:
        note = run.notes[member.name]
        try:
            compared = self.comparison.compare(run.group, member, note, incidents, entries, run.snoozed_at)
        except ChannelError as error:
            notice_unread(self.telemetry, member, error)
        except LedgerError:
            raise
        except Exception as error:  # noqa: BLE001 - a fault in one channel must not stop the others
            self.telemetry.crashed(error)
        else:
            run.compared.append(compared)
            run.known |= compared.known
            run.unknown |= compared.unknown
            run.waits |= compared.waits

    def _ended(
        self, run: PieceProgress, cursor: Cursor | None, failed: SendError | QueueError | LedgerError | None
    ) -> Found | None:
        """Write the notes (the stored state of runs), and queue the next piece, which begins at `cursor`.

        `cursor` is None if the run is over, and `failed` is the error that ended it. Then the run's findings are logged
        and returned. Returns None if the run continues, or if another run has taken the group's lease.
        """
        now = self.clock()
        try:
            self._write_channel_notes(run, now)
            note = replace(run.note, snoozed_at=run.snoozed_at, unknown=run.noted_unknown, is_working=False)
            is_complete = cursor is None and failed is None
            # If a resolved incident is not settled, the next run must list it again: `last` stays as it is.
            is_seen = is_complete and not (run.waits or run.cursor.waits)
            last = note.began if is_seen else self._last(run) if run.notes else note.last
            if cursor:
                note = replace(note, piece=cursor.piece, until=now + WAIT_SECONDS)
            else:
                note = replace(note, run="", piece=0, until=0.0, last=last)
            if note.write(self.table, run.group.name) is None:
                # The lease expired, and another run has taken the group.
                return None
        except LedgerError as error:
            cursor, failed = None, failed or error
        if cursor and failed is None:
            delay = PACED_SECONDS if run.trouble else 0.0
            if self.outbox.enqueue(run.piece.going_on(cursor).job(), run.deadline, until=now + delay):
                return None
            failed = QueueError("the chore queue did not take the rest of the run")
        counts = run.counts
        found = Found(counts["compared"], counts["missed"], counts["snooze_over"], counts["unknown"])
        if counts["unreadable"]:
            self.telemetry.notice("reconcile_failed", f"{counts['unreadable']} incidents can't be read")
        if failed:
            detail = failed.detail if isinstance(failed, SendError) else str(failed)
            found = replace(found, failure=detail, reason=failed.reason)
        return self._said(run.piece, found, run.deadline)

    def _write_channel_notes(self, run: PieceProgress, now: float) -> None:
        """Write the channels' notes (the stored state of runs) that changed.

        Once in NOTED_SECONDS, the time of the last complete run is also written into notes that did not change; and so
        is the group, once it has a complete run.
        """
        for compared in run.compared:
            is_old = run.note.last > compared.note.seen and now - compared.note.seen > NOTED_SECONDS
            if is_old or (run.note.last and compared.note.group != run.group.name):
                seen = max(compared.note.seen, run.note.last)
                compared.note = replace(compared.note, seen=seen, group=run.group.name)
            if changed := compared.changed:
                changed.write(self.table, channel_key(run.group.listing_name, compared.member.name))

    def _said(self, piece: Piece, found: Found, deadline: Deadline) -> Found:
        names = [member.name for member in piece.members]
        self.telemetry.reconciled(names, piece.environment_id, found, deadline.spent)
        return found
