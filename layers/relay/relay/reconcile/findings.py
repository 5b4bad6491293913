"""Findings of a reconcile run's comparison, its progress, and its lease: of two runs that overlap, only one works."""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Self

from relay.channels.channel import BigPandaAccess
from relay.deadline import Clock, Deadline
from relay.failures import LedgerError, QueueError, SendError
from relay.incidents.share import Share, State
from relay.ledger.entry import Entry
from relay.ledger.sources import Recipients
from relay.ledger.table import Table
from relay.reconcile.history import History, Listing, Member, short_name

LEASE_KEY = "reconcile/run"
# The longest step of a run is two calls to BigPanda that wait for the rate limit (about 30 s). The lease of a run that
# died is over before the next schedule, which comes after two minutes at the earliest.
LEASE_SECONDS, RENEW_SECONDS = 90.0, 20.0


class LeaseLost(LedgerError):
    """Another reconcile run has taken the lease, the exclusive right to work."""


@dataclass
class RunLease:
    """Exclusive right to make a reconcile run, renewed during the run. Times are in epoch seconds.

    Attributes:
        taken_at: Time at which this run took the lease, which identifies the run.
        start: The next run begins with the listing of this `Listing.number`, or with the next higher number.
    """

    table: Table
    clock: Clock
    taken_at: float
    renewed_at: float
    start: float

    @classmethod
    def take(cls, table: Table, clock: Clock) -> Self | None:
        """Take the lease of reconcile runs; return None if another run has it. Raises LedgerError."""
        now = clock()
        put = {"until": now + LEASE_SECONDS, "taken_at": now}
        taken = table.update(LEASE_KEY, put=put, below=("until", now))
        return None if taken is None else cls(table, clock, now, now, taken.get("start", 0.0))

    def renew(self) -> None:
        """Renew the lease if that is due. Raises LeaseLost, and LedgerError if the table fails."""
        now = self.clock()
        if now - self.renewed_at < RENEW_SECONDS:
            return
        self._put(now + LEASE_SECONDS)
        self.renewed_at = now

    def release(self) -> None:
        """Give the lease back, so that the next run can begin at once. If the table fails, the lease ends by itself."""
        with suppress(LedgerError):
            self._put(0.0)

    def _put(self, until: float) -> None:
        put = {"until": until, "start": self.start}
        if self.table.update(LEASE_KEY, put=put, only_if=("taken_at", self.taken_at)) is None:
            raise LeaseLost("another reconcile run took over")


class Seen(NamedTuple):
    """An incident in BigPanda's listing, in the form of a webhook's share. `state.came` is when BigPanda was asked."""

    share: Share
    state: State

    @property
    def name(self) -> str:
        return short_name(self.share.incident_id)

    @property
    def summary(self) -> str:
        """The state in short (open or not, and rank), to see in a later run if BigPanda's state changed."""
        return f"{self.state.is_open:d}{self.state.rank}"


class Cause(StrEnum):
    """Cause for queueing a state that BigPanda shows."""

    # No share of the state came.
    MISSED = "missed"
    # A snooze of the incident ended.
    SNOOZE_OVER = "snooze_over"
    # The ledger has a later resolve of the open incident. It may be forged.
    DISPUTED_END = "disputed_end"


class KnownEntry(NamedTuple):
    """A ledger entry of an incident, and the recipients that the webhook's URL named; empty if it named none."""

    recipients: Recipients = ()
    entry: Entry = Entry()


class Finding(NamedTuple):
    """State to queue for a channel: one job for each of `entries`.

    An incident has one entry for each set of recipients that webhook URLs name. If the channel's ledger does not know
    the incident, `entries` is one empty entry.
    """

    cause: Cause
    member: Member
    seen: Seen
    entries: tuple[KnownEntry, ...]

    @property
    def is_first(self) -> bool:
        """True if the channel's ledger has no entry of the incident."""
        return not any(each.entry.sequence for each in self.entries)

    @property
    def urgency(self) -> tuple[bool, bool]:
        return not self.seen.state.is_critical, not self.seen.state.is_open


@dataclass
class Progress:
    """Progress of a reconcile run with one listing of incidents. Short names are ids or hashes of incidents.

    Attributes:
        began: Start of the run with this listing (epoch seconds).
        since: Resolved incidents are listed if they were active after this time (epoch seconds).
        counts: Numbers of incidents, by `compared`, `missed`, `snooze_over`, `unknown` and `unreadable`.
        findings: States that are not queued yet, by channel and short name.
        firsts: Findings about unknown incidents, by channel and short name. `Ownership.judge` moves those that are the
            channel's to `findings`.
        listed: Short names of the listed incidents that are not snoozed.
        known: Short names of incidents that are not to be reported: a channel knows them, or this run signals them.
        known_to: Incidents that have a ledger entry of a channel, by channel.
        unknown: Incidents of which a channel that only reports them has no ledger entry, by short name.
        unjudged: Incidents of which a channel that would signal them has no ledger entry, by channel and short name.
            `Ownership.judge` removes those whose owner it finds.
        asked: Number of incidents whose details the run requested.
        whole: Incidents with the details of their alerts, by id.
        targets: BigPanda's names of the targets (such as webhooks) with which it shared an incident, by short name.
        spent: Milliseconds of the listing's calls, by part.
        waits: True if this run did not settle a resolved incident, so that the next run must list it again.
        failure: The run's first failure with this listing.
    """

    listing: Listing
    access: BigPandaAccess
    history: History
    began: float
    deadline: Deadline
    lease: RunLease
    since: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    findings: dict[tuple[str, str], list[Finding]] = field(default_factory=dict)
    firsts: dict[tuple[str, str], Finding] = field(default_factory=dict)
    listed: set[str] = field(default_factory=set)
    known: set[str] = field(default_factory=set)
    known_to: dict[str, list[Seen]] = field(default_factory=dict)
    unknown: dict[str, Seen] = field(default_factory=dict)
    unjudged: dict[tuple[str, str], Seen] = field(default_factory=dict)
    asked: int = 0
    whole: dict[str, Seen] = field(default_factory=dict)
    targets: dict[str, frozenset[str]] = field(default_factory=dict)
    spent: dict[str, float] = field(default_factory=dict)
    waits: bool = False
    failure: SendError | QueueError | LedgerError | None = None

    @property
    def to_report(self) -> dict[str, Seen]:
        """Unknown incidents of which no channel is known to be the owner, by their short names."""
        # If AWS failed, nobody could judge those that a channel may own: the next run does.
        unjudged = {} if isinstance(self.failure, (LedgerError, QueueError)) else self.unjudged
        return self.unknown | {name: seen for (_, name), seen in unjudged.items()}

    def go_on(self) -> None:
        """Renew the run's lease if that is due. Raises LeaseLost, and LedgerError if the run's time is over."""
        if not self.deadline.remaining():
            raise LedgerError("the run took too long")
        self.lease.renew()


def as_seen(share: Share, now: float) -> Seen:
    """Return an incident that BigPanda's list showed at `now` (epoch seconds), with its state, without alerts."""
    # BigPanda's API and its webhooks may have different ids for the same alert.
    return Seen(share, State.of(share, now).without_alerts())
