"""Progress of one piece of a reconcile run, and the start of the next piece."""

from collections import Counter
from copy import replace
from dataclasses import dataclass, field

from relay.bigpanda.listing import Position
from relay.deadline import Deadline
from relay.failures.errors import SendError
from relay.failures.reasons import Reason
from relay.reconcile.findings import Compared, Seen
from relay.reconcile.group import Group
from relay.reconcile.notes import ChannelNote, Difference, GroupNote
from relay.reconcile.piece import Cursor, Member, Piece

# The order of Cursor.counts.
COUNTS = ("compared", "missed", "snooze_over", "unknown", "unreadable")


@dataclass
class PieceProgress:
    """Progress of one piece of a reconcile run: the part of it that one job works.

    Attributes:
        piece: The piece, as its job describes it.
        group: The group of channels, which share a listing.
        note: The group's note (stored state of its runs), with this run's lease.
        deadline: Deadline of the piece.
        snoozed_at: Time at which an incident was last seen snoozed (epoch seconds), by its short name.
        noted_unknown: Open incidents that no channel of the group knows, as its note records them, by their short
            names.
        notes: Notes (stored states) of the channels, by channel.
        since: Start of the time for which resolved incidents are listed (epoch seconds).
        counts: Numbers of incidents in the whole run so far, by the names in COUNTS.
        incidents: Incidents on the pages of this piece that are not snoozed, by id.
        after: First page after this piece; None if there is none.
        compared: Results of the channels that this piece compared.
        done: Number of channels that this and earlier pieces have compared with the pages of this piece.
        known: Short names of incidents of these pages that one of those channels knows.
        unknown: Short names of incidents of these pages that one of those channels should know, and does not.
        takes_all: True if states that are not critical may be queued.
        has_postponed: True if a state was not queued yet because it is not critical.
        is_unfinished: True if there was no time to queue all states.
        waits: True if the next run must list a resolved incident again.
        asked: Number of incidents whose details the run requested.
        whole: Incidents with details, by id.
        trouble: Failure of the request for the page `after`; None if it did not fail.
    """

    piece: Piece
    group: Group
    note: GroupNote
    deadline: Deadline
    snoozed_at: dict[str, float]
    noted_unknown: dict[str, Difference]
    notes: dict[str, ChannelNote] = field(default_factory=dict)
    since: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    incidents: dict[str, Seen] = field(default_factory=dict)
    after: Position | None = None
    compared: list[Compared] = field(default_factory=list)
    done: int = 0
    known: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    takes_all: bool = False
    has_postponed: bool = False
    is_unfinished: bool = False
    waits: bool = False
    asked: int = 0
    whole: dict[str, Seen] = field(default_factory=dict)
    trouble: SendError | None = None

    @property
    def cursor(self) -> Cursor:
        return self.piece.cursor

    @property
    def members(self) -> tuple[Member, ...]:
        return self.piece.members

    @property
    def failure(self) -> SendError | None:
        """The error of a failed request, which ends the run; None if none failed, or only the rate limit was used up.

        BigPanda's rate limit, if used up, only delays the next piece.
        """
        return None if self.trouble is None or self.trouble.reason == Reason.PACED else self.trouble

    @property
    def is_last(self) -> bool:
        """True if this piece is the whole run, or the run ends with it because of a failure."""
        is_first = self.cursor.position == Position() and not self.cursor.members
        return self.failure is not None or (is_first and self.after is None and self.done == len(self.members))

    @property
    def is_counted(self) -> bool:
        """True if this piece has to count the incidents that it lists, since no earlier piece counted them."""
        return not (self.cursor.takes_all or self.cursor.members or self.cursor.is_again)

    def next(self) -> Cursor | None:
        """Return the start of the run's next piece; None if the run is complete."""
        now, all_of = self.cursor, len(self.members)
        kept = replace(
            now,
            piece=now.piece + 1,
            has_postponed=now.has_postponed or self.has_postponed,
            waits=now.waits or self.waits,
            details=self.asked,
            counts=tuple(self.counts[name] for name in COUNTS),
        )
        if self.is_unfinished:
            return replace(kept, is_again=True)
        if self.done < all_of:
            known, unknown = tuple(sorted(self.known)), tuple(sorted(self.unknown))
            return replace(kept, members=self.done, known=known, unknown=unknown, is_again=False)
        fresh = replace(kept, members=0, known=(), unknown=(), is_again=False)
        if self.after is not None:
            return replace(fresh, position=self.after)
        if kept.has_postponed and not now.takes_all:
            return replace(fresh, position=Position(), takes_all=True)
        return None
