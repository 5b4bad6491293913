"""A piece of a reconcile run, as it is worked: what it listed, compared and found, and where the next piece begins."""

from collections import Counter
from copy import replace
from dataclasses import dataclass, field

from relay.bigpanda.listing import Position
from relay.deadline import Deadline
from relay.errors import Reason, SendError
from relay.incidents.share import Share
from relay.reconcile.chore import Chore, Cursor, Member
from relay.reconcile.comparison import Compared, Group, Seen
from relay.reconcile.notes import ChannelNote, Difference, GroupNote

# The order of Cursor.counts.
COUNTS = ("compared", "missed", "woken", "unannounced", "unreadable")


@dataclass
class Run:
    """A piece of a run, as it is worked.

    Attributes:
        chore: The chore.
        group: Key, base URL, query and environment.
        note: The group's note, with this run's lease.
        deadline: The time for this piece.
        asleep: By incident, the time at which a snoozed one was seen last.
        unannounced: By incident, those that no channel knows.
        notes: The notes of the channels.
        since: Incidents that ended later are listed, in epoch seconds.
        counts: What the run found so far.
        incidents: Those on the pages of this piece that are not snoozed, by id.
        after: The first page after this piece; None if there is none.
        compared: The channels that are compared with these.
        done: The number of the channels that are compared with these pages, earlier pieces included.
        known, unknown: As in the cursor.
        takes_all: What is not critical may be queued.
        holds: Something was not queued for that.
        is_unfinished: There was no time to queue all.
        waits, asked: As `waits` and `details` in the cursor.
        whole: Shares with details, by incident.
        trouble: The reason why BigPanda did not tell the page `after`; None if it did.
    """

    chore: Chore
    group: Group
    note: GroupNote
    deadline: Deadline
    asleep: dict[str, float]
    unannounced: dict[str, Difference]
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
    holds: bool = False
    is_unfinished: bool = False
    waits: bool = False
    asked: int = 0
    whole: dict[str, Share] = field(default_factory=dict)
    trouble: SendError | None = None

    @property
    def cursor(self) -> Cursor:
        return self.chore.cursor

    @property
    def members(self) -> tuple[Member, ...]:
        return self.chore.members

    @property
    def failure(self) -> SendError | None:
        """The trouble, if it ends the run; others may use BigPanda's whole rate for a while."""
        return None if self.trouble is None or self.trouble.reason == Reason.PACED else self.trouble

    @property
    def is_last(self) -> bool:
        """True if nothing of the run comes after this piece, or before it."""
        is_first = self.cursor.position == Position() and not self.cursor.members
        return self.failure is not None or (is_first and self.after is None and self.done == len(self.members))

    @property
    def is_counted(self) -> bool:
        """True if no earlier piece counted what this one lists."""
        return not (self.cursor.takes_all or self.cursor.members or self.cursor.is_again)

    def next(self) -> Cursor | None:
        """Return where the next piece begins; None if the run is complete."""
        now, all_of = self.cursor, len(self.members)
        kept = replace(
            now,
            piece=now.piece + 1,
            holds=now.holds or self.holds,
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
        if kept.holds and not now.takes_all:
            return replace(fresh, position=Position(), takes_all=True)
        return None
