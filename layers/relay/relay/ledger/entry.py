"""Entry of the ledger: the states, signals, pages and lease of one incident. Pure code.

There is one entry for each channel, set of recipients of the webhook's URL, and incident. An entry is immutable: each
change returns a new one.
"""

import hashlib
import json
from collections.abc import Mapping
from copy import replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from relay.errors import Reason
from relay.incidents.transition import State, Transition, compare
from relay.ledger.row import Row

# A key has 2,048 bytes at most; an incident's id stands in it beside a channel and a hash of recipients.
MAX_KEY_BYTES = 1024
# Longer than any sender works, so that a lease expires only if its sender died.
LEASE_SECONDS = 15.0
# Distance between two claims of an incident. It keeps their order although clocks of functions differ.
TICK_SECONDS = 0.0005
MAX_SEEN = 16
MAX_SIGNALS = 8
MAX_RAISED = 16
# After these transitions an earlier acknowledgement counts no more.
_ANEW = frozenset({Transition.OPENED, Transition.WORSENED, Transition.REOPENED, Transition.RESOLVED})
_BETTER = frozenset({Transition.EASED, Transition.RESOLVED})
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Slot(NamedTuple):
    """A reserved time for a signal, within the rate limit.

    Attributes:
        at: The time (epoch seconds).
        urgent: True in the line of critical signals.
    """

    at: float
    urgent: bool


class Wait(NamedTuple):
    """A wait before the next attempt.

    Attributes:
        reason: The reason for the wait.
        until: The end of the wait (epoch seconds).
        slot: The slot that the rate limiter reserved; None if it reserved none.
    """

    reason: Reason
    until: float
    slot: Slot | None = None


class Lease(NamedTuple):
    """A sender's exclusive right to send for an incident.

    Attributes:
        owner: Name of the sender.
        until: The end of the lease (epoch seconds).
        began: The time of the claim (epoch seconds).
        state: The state that the sender announces.
    """

    owner: str
    until: float
    began: float
    state: State


class Audience(NamedTuple):
    """Recipients of a signal.

    Attributes:
        recipients: Names of the job's recipients; empty if the workflow chooses them.
        is_for_one: True if the signal was for the acknowledger alone.
    """

    recipients: tuple[str, ...] = ()
    is_for_one: bool = False


NOBODY_NAMED = Audience()


class Raised(NamedTuple):
    """A signal that xMatters accepted, and its pages.

    Attributes:
        request_id: xMatters' id of the signal.
        at: The time of the sender's claim (epoch seconds).
        is_open: True if the announced state was open.
        pages: UUIDs of the signal's pages; empty as long as none is known.
        number: The first page's number, as people see it; empty if unknown.
        is_over: True if none of the pages is active any more.
        is_lost: True if no page was found in time.
        is_for_one: True if the signal was for the acknowledger alone.
        recipients: Short hashes of the recipients' names, concatenated, as `hashes_of` makes them; empty if the
            workflow chooses the recipients.
        is_critical: True if the announced state was open and critical.
    """

    request_id: str
    at: float
    is_open: bool
    pages: tuple[str, ...] = ()
    number: str = ""
    is_over: bool = False
    is_lost: bool = False
    is_for_one: bool = False
    recipients: str = ""
    is_critical: bool = False

    def notified(self, name: str) -> bool:
        """True if the name is a recipient of the signal."""
        return hashes_of((name,)) in _split(self.recipients)

    def reaches_all_of(self, older: "Raised") -> bool:
        """True if every recipient of the older signal is one of this signal; False if the workflow chooses them."""
        if self.is_for_one:
            return False
        if not older.recipients:
            return not self.recipients
        return set(_split(older.recipients)) <= set(_split(self.recipients))


class Entry(NamedTuple):
    """Entry of an incident. Times are epoch seconds, 0 for never.

    Attributes:
        kept: The newest state that is announced, on a queue, or changed nothing; None if there is none.
        seen: Names of the states with the kept state's version that came before.
        announced: The newest state that xMatters accepted; None if there is none.
        doubtful: States that xMatters may have accepted: the answer to the signal was ambiguous, or the sender died.
        eased: A state better than the announced one that the policy did not announce; None if there is none.
        is_woken: True if the incident is open after a snooze, and is announced again for that.
        dead_lettered: The last dead-lettered state; None if there is none, or it was revived.
        dead_lettered_at: The mark of the dead-lettered state's message: when it was dead-lettered.
        revived_at: When the kept state came back from the dead-letter queue; 0 if it did not, or did not stay.
        reason: The reason of the last failed attempt, or of a revived state's wait; empty if there is none.
        lease: The lease of the sender that works now, or that died; None if there is none.
        slot: The slot that the rate limiter reserved for the incident; None if there is none.
        signals: Times of the last signals that xMatters accepted, or may have accepted, oldest first.
        owed_since: When the first owed state came; None if nothing is owed.
        is_notified: True if the fallback topic was notified of the debt.
        asked: Number of attempts of the kept state.
        raised: The last accepted signals and their pages, oldest first.
        environment_id: Id of the incident's environment in BigPanda; empty if unknown.
        acknowledged_by: Name of the person who acknowledged the announced state; empty if nobody did.
        rests_until: After an ambiguous attempt, the time before which the same state is not sent again.
        over_at: When the incident was resolved last. Pages of signals that were claimed before have to end.
        confirmed_at: The newest `over_at` that BigPanda confirmed, or that BigPanda could not be asked about in time.
        refuted_since: When BigPanda first answered that the incident is open after all.
        row: The debt's row in the table's index; None if nothing is owed, or the first attempts are not over.
        unconfirmed: True if a critical signal has no page, and the fallback topic is not notified of that yet.
        others: Members that this version does not know, kept as they are.
        sequence: Number of changes of the item; 0 if there is none.
        is_unreadable: True if the item could not be read, and this entry replaces it.
    """

    kept: State | None = None
    seen: tuple[str, ...] = ()
    announced: State | None = None
    doubtful: tuple[State, ...] = ()
    eased: State | None = None
    is_woken: bool = False
    dead_lettered: State | None = None
    dead_lettered_at: float = 0.0
    revived_at: float = 0.0
    reason: str = ""
    lease: Lease | None = None
    slot: Slot | None = None
    signals: tuple[float, ...] = ()
    owed_since: float | None = None
    is_notified: bool = False
    asked: int = 0
    raised: tuple[Raised, ...] = ()
    environment_id: str = ""
    acknowledged_by: str = ""
    rests_until: float = 0.0
    over_at: float = 0.0
    confirmed_at: float = 0.0
    refuted_since: float = 0.0
    row: Row | None = None
    unconfirmed: bool = False
    others: Mapping[str, Any] = _NOTHING
    sequence: int = 0
    is_unreadable: bool = False

    @property
    def is_critical(self) -> bool:
        """True if the debt is critical."""
        return self.row is not None and self.row.is_critical

    @property
    def row_due(self) -> float:
        """Time from which the sweeper acts on the debt (epoch seconds); 0 if there is no row."""
        return self.row.due if self.row else 0.0

    @property
    def row_begun(self) -> int:
        """Number of the sweeper's last job that a worker began without a recorded result; 0 if there is none."""
        return self.row.begun if self.row else 0

    @property
    def row_job(self) -> str:
        """Name of the debt's stored job; empty if there is none."""
        return self.row.job if self.row else ""

    def is_busy(self, now: float) -> bool:
        """Return True if a sender has a lease that is not over."""
        return self.lease is not None and now < self.lease.until

    def next_claim(self, now: float) -> float:
        """Return the time to record for the next claim (epoch seconds).

        It is later than every earlier claim and the last resolve, even if this function's clock is behind.
        """
        return max(now, self._last_claim() + 2 * TICK_SECONDS, self.over_at + TICK_SECONDS)

    def _last_claim(self) -> float:
        return max([0.0, *(raised.at for raised in self.raised), *([self.lease.began] if self.lease else [])])

    def has_live_pages(self) -> bool:
        """True if a signal may have an active page, and no resolve came since."""
        return any(raised.is_open and not raised.is_over and raised.at >= self.over_at for raised in self.raised)

    @property
    def is_end_in_doubt(self) -> bool:
        """True if the newest state is over, and the end is not confirmed."""
        return self.over_at > self.confirmed_at and self.kept is not None and not self.kept.is_open

    @property
    def was_better(self) -> bool:
        """True if the incident was better since it was announced, so that the announced state is news again."""
        return self.eased is not None or self.is_woken

    def maybe_announced(self) -> tuple[State | None, ...]:
        """Return the states that may have been announced last; None stands for no state."""
        in_flight = (self.lease.state,) if self.lease else ()
        return (self.announced, *self.doubtful, *in_flight)

    def may_have_paged(self, state: State) -> bool:
        """True if exactly this state may have been announced."""
        return any(state.is_same(doubtful) for doubtful in self.doubtful)

    def keeping(self, state: State, *, slot: Slot | None = None) -> "Entry":
        """Return the entry with a newer owed state, which is on a queue."""
        since = state.came if self.owed_since is None else self.owed_since
        return replace(self._knowing(state), owed_since=since, slot=slot or self.slot)

    def unchanged(self, state: State) -> "Entry":
        """Return the entry with a newer state that the policy does not announce: nothing is owed any more."""
        is_better = self.announced is not None and compare(self.announced, state).transition in _BETTER
        # A body without a status does not contradict the known status.
        is_silent = state.is_open and state.rank is None
        eased = _without_alerts(state) if is_better else self.eased if is_silent else None
        is_woken = self.is_woken and is_silent and not is_better
        entry = replace(self._knowing(state), eased=eased, is_woken=is_woken).without_debt()
        if state.is_of_same_share(entry.dead_lettered):
            entry = replace(entry, dead_lettered=None)
        if state.is_open:
            return entry
        # The newest state is over, so every page until now has to end, although clocks of senders differ.
        entry = entry._over(max(state.came, self._last_claim() + TICK_SECONDS))
        is_sure = self.kept is not None and not self.kept.is_open and 0 < self.over_at <= self.confirmed_at
        return replace(entry, confirmed_at=entry.over_at) if is_sure else entry

    def end_confirmed(self) -> "Entry":
        """Return the entry with its end confirmed, or accepted without an answer; unchanged if it is open again."""
        return replace(self, confirmed_at=self.over_at, refuted_since=0.0) if self.is_end_in_doubt else self

    def end_doubted(self, now: float) -> "Entry":
        """Return the entry after BigPanda answered that the incident is open. The first such answer counts."""
        return replace(self, refuted_since=self.refuted_since or now) if self.is_end_in_doubt else self

    def end_refuted(self) -> "Entry":
        """Return the entry after BigPanda refuted the resolve: the incident counts as open, and its pages stay."""
        return replace(self, over_at=0.0, refuted_since=0.0) if self.is_end_in_doubt else self

    def claimed(self, lease: Lease, tries: int, *, queued: bool) -> "Entry":
        """Return the entry with a sender's lease. `queued`: the state is on a queue, so that it counts as kept.

        All `tries` that the sender may make count as signals until it records how many were accepted: it may die.
        """
        entry = self._without_lease(lease.owner)
        entry = entry.keeping(lease.state) if queued else entry
        return replace(entry._counting(lease, tries, lease.began), lease=lease, slot=None)

    def accepted(
        self,
        lease: Lease,
        request_id: str | None,
        maybe_accepted: int,
        *,
        until: float,
        audience: Audience = NOBODY_NAMED,
    ) -> "Entry":
        """Return the entry after xMatters accepted the lease's state.

        `maybe_accepted` counts the attempts that were accepted, or may have been, by `until` (epoch seconds). The rate
        limit counts from that time, since xMatters counts from when it accepted a signal.
        """
        entry = self._released(lease)._counting(lease, maybe_accepted, until)
        return entry.announcing(lease.state, request_id, lease.began, audience)

    def announcing(self, state: State, request_id: str | None, at: float, audience: Audience = NOBODY_NAMED) -> "Entry":
        """Return the entry with an accepted state; `at` is the time of the claim (epoch seconds).

        If a newer state is announced already, it stays, and this state is doubtful: people may have heard it last.
        """
        raised = self.raised
        if self.kept and not self.kept.is_open and self.over_at >= self.kept.came and state.precedes(self.kept):
            # The kept resolve came later than this state. Its page must end, although the record comes late.
            at = min(at, self.over_at - TICK_SECONDS)
        if request_id and all(request_id != each.request_id for each in raised):
            # Sorted by claims: a slow sender may record its signal after later ones.
            is_for_one, names = audience.is_for_one, hashes_of(audience.recipients)
            one = Raised(
                request_id, at, state.is_open, is_for_one=is_for_one, recipients=names, is_critical=state.is_critical
            )
            known = sorted((*raised, one), key=lambda each: each.at)
            raised = tuple(known[-MAX_RAISED:])
        entry = replace(self, raised=raised)
        if not state.is_open:
            # A resolve that was superseded in flight must not end the pages of the newer state.
            is_old = state.precedes(entry.kept) or state.precedes(entry.announced)
            entry = entry._over(min(at, state.came) if is_old else max(at, state.came))
        if state.precedes(entry.announced):
            return entry._doubting(state)
        is_anew = any(compare(told, state).transition in _ANEW for told in entry.maybe_announced())
        entry = entry if state.precedes(entry.kept) else entry._knowing(state)
        is_owed = state.precedes(entry.kept)
        entry = entry if is_owed else entry._without_debt()
        return replace(
            entry,
            announced=state,
            doubtful=(),
            eased=None,
            is_woken=False,
            dead_lettered=None,
            reason="",
            owed_since=entry.owed_since if is_owed else None,
            is_notified=entry.is_notified and is_owed,
            acknowledged_by="" if is_anew else entry.acknowledged_by,
        )

    def acknowledged(self, target: str, came: float) -> "Entry":
        """Return the entry with an acknowledgement, unless the incident is over.

        An acknowledgement that `came` (epoch seconds) before the last signal belongs to an earlier one, and is ignored.
        """
        announced = self.announced
        if announced is None or not announced.is_open:
            return self
        if came < max([announced.came, *(each.at for each in self.raised)]):
            return self
        return replace(self, acknowledged_by=target)

    def failed(
        self,
        lease: Lease,
        attempts: int,
        maybe_accepted: int,
        *,
        until: float,
        reason: str = "",
        dead_lettered_at: float | None = None,
        rests_until: float = 0.0,
    ) -> "Entry":
        """Return the entry after the lease's state was not accepted.

        `maybe_accepted` counts the attempts that may have been accepted all the same, by `until` (epoch seconds).
        `dead_lettered_at` is the mark of the state's dead-lettered message; None if it was not dead-lettered.
        """
        entry = self._released(lease)
        # Only once: the write may have succeeded before, with its answer lost.
        if entry is not self and lease.state.is_same(entry.kept):
            entry = replace(entry, asked=entry.asked + attempts, reason=reason)
        entry = entry._counting(lease, maybe_accepted, until)
        if maybe_accepted:
            entry = replace(entry._doubting(lease.state), rests_until=rests_until)
        return entry if dead_lettered_at is None else entry.dead_lettering(lease.state, dead_lettered_at, reason)

    def woken(self) -> "Entry":
        """Return the entry of an open incident whose snooze is over, so that its state is announced again."""
        return replace(self, is_woken=True) if self.announced and self.announced.is_open else self

    def followed(self, seen: Mapping[str, Raised]) -> "Entry":
        """Return the entry with the pages that were found; `seen` has the signals by request id."""
        return replace(self, raised=tuple(_followed(each, seen.get(each.request_id, each)) for each in self.raised))

    def dead_lettering(self, state: State, at: float, reason: str) -> "Entry":
        """Return the entry with a dead-lettered state; `at` is the mark of its message."""
        if state.is_of_same_share(self.kept) and self.revived_at > at:
            # An operator moved the message back before its sender recorded it.
            return self
        at = max(at, self.dead_lettered_at) if state.is_of_same_share(self.dead_lettered) else at
        entry = replace(self, dead_lettered=_without_alerts(state), dead_lettered_at=at, revived_at=0.0, reason=reason)
        if self.kept and not state.is_of_same_share(self.kept):
            return entry
        # A dead-lettered critical stays owed, so that the fallback topic is notified in time.
        owed_since = state.came if entry.owed_since is None else entry.owed_since
        row = Row(at, is_critical=True) if state.is_critical and not entry.is_notified else None
        return replace(entry, owed_since=owed_since, row=row)._with_alarm()

    def reviving(self, state: State, at: float) -> "Entry":
        """Return the entry with a dead-lettered state that is owed again; `at` is the time of its revival."""
        return replace(self.keeping(state), dead_lettered=None, revived_at=at, reason="")

    def waiting(self, state: State, row: Row) -> "Entry":
        """Return the entry with the row of a state that is owed, unless the state is no longer owed."""
        is_announced = self.announced is not None and not self.announced.precedes(state) and not self.was_better
        if state.precedes(self.kept) or is_announced or state.is_of_same_share(self.dead_lettered):
            return self
        return replace(self.keeping(state), row=row)._with_alarm()

    def postponed(self, until: float) -> "Entry":
        """Return the entry with a debt that its worker lets wait until a time (epoch seconds)."""
        return replace(self, row=replace(self.row, due=max(self.row.due, until), begun=0, sent=0)) if self.row else self

    def healing(self, until: float, number: int) -> "Entry":
        """Return the entry after the sweeper sent the debt's job of that number; the next check is at `until`."""
        return replace(self, row=replace(self.row, due=until, sent=number)) if self.row else self

    def begun(self, number: int) -> "Entry":
        """Return the entry once a worker began the job of that number that the sweeper sent."""
        return replace(self, row=replace(self.row, begun=max(self.row.begun, number))) if self.row else self

    def unconfirming(self, now: float) -> "Entry":
        """Return the entry of a critical signal without a page, with a row so that the fallback topic is notified."""
        return replace(self, unconfirmed=True, row=replace(self.row or Row(now), is_critical=True))

    def notified(self) -> "Entry":
        """Return the entry once the fallback topic was notified of its debt."""
        is_owed = self.owed_since is not None
        row = self.row if self.row and self.row.job else None
        if row and self.kept:
            row = replace(row, is_critical=self.kept.is_critical)
        return replace(self, is_notified=self.is_notified or is_owed, unconfirmed=False, row=row)

    def without_debt(self) -> "Entry":
        """Return the entry with nothing owed."""
        return replace(self, owed_since=None, is_notified=False, slot=None)._without_debt()

    def _without_debt(self) -> "Entry":
        """Return the entry without a row, except for the notice that a signal has no page."""
        return replace(self, row=None)._with_alarm()

    def _with_alarm(self) -> "Entry":
        if not self.unconfirmed:
            return self
        return replace(self, row=replace(self.row or Row(0.0), is_critical=True))

    def _knowing(self, state: State) -> "Entry":
        same_version = self.kept is not None and self.kept.version == state.version
        seen = (*(name for name in (self.seen if same_version else ()) if name != state.name), state.name)
        is_same = state.is_same(self.kept)
        # A doubt about an end is void once the incident is open again.
        refuted_since = 0.0 if state.is_open else self.refuted_since
        known = replace(self, kept=_without_alerts(state), seen=seen[-MAX_SEEN:], refuted_since=refuted_since)
        return known if is_same else replace(known, asked=0, revived_at=0.0, reason="")

    def _counting(self, lease: Lease, maybe_accepted: int, at: float) -> "Entry":
        """Return the entry with `maybe_accepted` signals for a lease; they replace the lease's earlier ones."""
        others = (time for time in self.signals if time not in {lease.began, at})
        return replace(self, signals=tuple(sorted([*others, *[at] * maybe_accepted])[-MAX_SIGNALS:]))

    def _doubting(self, state: State) -> "Entry":
        """Return the entry with one more doubtful state.

        No doubtful state may be dropped, or its resolve would never be owed. To keep them few, states with the same
        status are merged: the newest stands for all, with the alerts that all of them had.
        """
        alike = [other for other in self.doubtful if (other.is_open, other.rank) == (state.is_open, state.rank)]
        alerts = state.alerts.intersection(*(other.alerts for other in alike))
        others = tuple(other for other in self.doubtful if other not in alike)
        return replace(self, doubtful=(*others, replace(state, alerts=alerts)))

    def _without_lease(self, owner: str) -> "Entry":
        """Return the entry without its lease; the state of another owner's lease becomes doubtful."""
        if self.lease is None:
            return self
        lease, entry = self.lease, replace(self, lease=None)
        return entry._counting(lease, 0, lease.began) if lease.owner == owner else entry._doubting(lease.state)

    def _over(self, at: float) -> "Entry":
        return replace(self, over_at=max(self.over_at, at))

    def _released(self, lease: Lease) -> "Entry":
        return replace(self, lease=None) if self.lease and self.lease.owner == lease.owner else self


def hashes_of(recipients: tuple[str, ...]) -> str:
    """Return short hashes of recipients' names, concatenated: an entry stores those of several signals."""
    return "".join(sorted(hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8] for name in recipients))


def _split(hashes: str) -> list[str]:
    return [hashes[start : start + 8] for start in range(0, len(hashes), 8)]


def _followed(known: Raised, seen: Raised) -> Raised:
    """Merge two jobs' findings about a signal: a page that one of them found or ended stays so."""
    found = known if known.pages and not seen.pages else seen
    return replace(found, is_over=known.is_over or seen.is_over)


def _without_alerts(state: State) -> State:
    """Return the state without alerts, which only announced states need."""
    return replace(state, alerts=frozenset())


def key(channel: str, recipients: tuple[str, ...], incident_id: str) -> str:
    """Return the key of an entry. `recipients` are those of the webhook's URL: each set has an entry of its own."""
    return f"incident/{channel}/{named(recipients)}/{legal(incident_id)}"


def channel_of(name: str) -> str:
    """Return the channel in an entry's key."""
    return name.split("/", 2)[1]


def incident_of(name: str) -> str:
    """Return the incident's id in an entry's key; its hash if the id is too long for a key (see `legal`)."""
    return name.split("/", 3)[3]


# Cached, since a channel's shares have the same recipients again and again.
@lru_cache(maxsize=256)
def named(recipients: tuple[str, ...]) -> str:
    """Return a short name of a set of recipients: 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(sorted(recipients)).encode()).hexdigest()[:16]


def legal(incident_id: str) -> str:
    """Return the id, or its hash if DynamoDB refuses the id: too long, or with a lone surrogate."""
    encoded = incident_id.encode("utf-8", "surrogatepass")
    is_text = encoded.decode("utf-8", "replace") == incident_id
    return incident_id if is_text and len(encoded) <= MAX_KEY_BYTES else f"sha256/{hashlib.sha256(encoded).hexdigest()}"
