"""Entry of the ledger: what is known of an incident, what was announced of it, and who is announcing now. Pure code.

One entry per channel, recipients of the webhook's URL, and incident. An entry is a value; a change of it is a new
value.
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
# Longer than any sender works, so that a lease ends only when its holder is gone.
LEASE_SECONDS = 15.0
# Between two claims of an incident, so that their order is known whatever the clocks of their senders say.
TICK_SECONDS = 0.0005
MAX_SEEN = 16
MAX_SIGNALS = 8
MAX_RAISED = 16
# After these it is somebody's turn once more, or nobody's.
_ANEW = frozenset({Transition.OPENED, Transition.WORSENED, Transition.REOPENED, Transition.RESOLVED})
_BETTER = frozenset({Transition.EASED, Transition.RESOLVED})
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Slot(NamedTuple):
    """A moment, in epoch seconds, that the pace set aside; `urgent` says in which line."""

    at: float
    urgent: bool


class Wait(NamedTuple):
    """Do not send now, but from `until` on (epoch seconds).

    Attributes:
        reason: the reason for the wait.
        until: the end of the wait.
        slot: the moment that the pace set aside.
    """

    reason: Reason
    until: float
    slot: Slot | None = None


class Lease(NamedTuple):
    """A sender's right to announce a state, until a moment in epoch seconds. `began` is when it was given."""

    owner: str
    until: float
    began: float
    state: State


class Audience(NamedTuple):
    """The people whom a signal is for.

    Attributes:
        recipients: the names that its job is for; empty if the workflow chooses them.
        is_for_one: it went to the person who had acknowledged, and to nobody else.
    """

    recipients: tuple[str, ...] = ()
    is_for_one: bool = False


NOBODY_NAMED = Audience()


class Raised(NamedTuple):
    """A signal that xMatters accepted, and what became of it.

    Attributes:
        request_id: xMatters' id for the signal.
        at: the time at which its sender claimed it, in epoch seconds.
        is_open: the signal told of an open incident.
        pages: UUIDs of the pages that xMatters made of it; empty as long as none is known.
        number: the number that people see on the first page.
        is_over: none of its pages is active any more.
        is_lost: no page was found in time.
        is_for_one: it went to the person who had acknowledged, and to nobody else.
        recipients: short hashes of the names that its job is for, one after the other, as `hashes_of` makes them; empty
            if there are none, so that the workflow chooses them.
        is_critical: the signal told of an open incident of status critical.
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
        """True if the signal's job is for that name."""
        return hashes_of((name,)) in _split(self.recipients)

    def reaches_all_of(self, older: "Raised") -> bool:
        """True if the signal notified every recipient of the older one; whom a workflow chooses is not known."""
        if self.is_for_one:
            return False
        if not older.recipients:
            return not self.recipients
        return set(_split(older.recipients)) <= set(_split(self.recipients))


class Entry(NamedTuple):
    """Entry of an incident. Times are epoch seconds, 0 for never.

    Attributes:
        kept: the newest state that is announced, on a queue, or was found to change nothing.
        seen: names of the states of the kept state's version.
        announced: the newest state that xMatters accepted.
        doubtful: states that may have been announced: nobody can tell.
        eased: a state better than the announced one, of which nobody wanted to hear.
        is_woken: the incident is open after a snooze, and people are to be told of it as if it had been over.
        dead_lettered: the state that was dead-lettered last and is not revived.
        dead_lettered_at: the mark of its message.
        revived_at: when the kept state came back from the dead-letter queue; 0 if it was dead-lettered again.
        reason: why the last attempt failed, or why a revived state waits.
        lease: the right of the sender that is announcing now, or was when it died.
        slot: the moment that the pace set aside for the incident.
        signals: the times of those signals that rang or may have.
        owed_since: when the first state came that is owed and not announced; None if nothing is owed.
        is_notified: the fallback topic was notified of the debt.
        asked: how often xMatters was asked to take the kept state.
        raised: the last signals that xMatters accepted, oldest first.
        environment_id: where BigPanda has the incident, if that is known.
        acknowledged_by: who took on what was announced.
        rests_until: until then nobody can tell whether the state that was sent last will ring yet.
        over_at: pages of signals that were claimed before belong to an incident that was resolved since, and must end.
        confirmed_at: the newest `over_at` that BigPanda confirmed, or that nobody could ask about.
        refuted_since: when BigPanda first said that the incident is open after all.
        row: the debt's row in the table's index; an entry without one owes nothing, or has not been tried yet.
        unconfirmed: no page came of a critical state's signal, and the fallback topic has to be notified of that.
        others: members that this version does not know, kept as they are.
        sequence: counts the changes of the item.
        is_unreadable: the entry was lost, and this one stands for it.
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
        """True if the debt is a critical one."""
        return self.row is not None and self.row.is_critical

    @property
    def row_due(self) -> float:
        """The time from which the sweeper acts on the debt, in epoch seconds; 0 if there is no row."""
        return self.row.due if self.row else 0.0

    @property
    def row_begun(self) -> int:
        """The number of the last job of the sweeper's that a worker began without a recorded result."""
        return self.row.begun if self.row else 0

    @property
    def row_job(self) -> str:
        """Name of the debt's stored job; empty if there is none."""
        return self.row.job if self.row else ""

    def is_busy(self, now: float) -> bool:
        """Return True if a sender has a lease that is not over."""
        return self.lease is not None and now < self.lease.until

    def next_claim(self, now: float) -> float:
        """When the next sender's lease begins, in epoch seconds: after all others', whatever their clocks said."""
        return max(now, self._last_claim() + 2 * TICK_SECONDS, self.over_at + TICK_SECONDS)

    def _last_claim(self) -> float:
        return max([0.0, *(raised.at for raised in self.raised), *([self.lease.began] if self.lease else [])])

    def has_live_pages(self) -> bool:
        """True if a signal may have an active page that no known resolve has ended."""
        return any(raised.is_open and not raised.is_over and raised.at >= self.over_at for raised in self.raised)

    @property
    def is_end_in_doubt(self) -> bool:
        """True if the newest state says that the incident is over, and nobody confirmed that."""
        return self.over_at > self.confirmed_at and self.kept is not None and not self.kept.is_open

    @property
    def was_better(self) -> bool:
        """True if the incident was better since it was announced: to be as announced again is news."""
        return self.eased is not None or self.is_woken

    def last_told(self) -> tuple[State | None, ...]:
        """The states that people may have been told of last; None stands for nothing."""
        in_flight = (self.lease.state,) if self.lease else ()
        return (self.announced, *self.doubtful, *in_flight)

    def may_have_rung(self, state: State) -> bool:
        """Return True if this very state may have been announced."""
        return any(state.is_same(doubtful) for doubtful in self.doubtful)

    def keeping(self, state: State, *, slot: Slot | None = None) -> "Entry":
        """The entry with a newer state on a queue that is owed."""
        since = state.came if self.owed_since is None else self.owed_since
        return replace(self._knowing(state), owed_since=since, slot=slot or self.slot)

    def unchanged(self, state: State) -> "Entry":
        """The entry with a newer state that nobody wants to hear of, so that nothing is owed any more."""
        is_better = self.announced is not None and compare(self.announced, state).transition in _BETTER
        # A body that says nothing of its status says nothing against what is known.
        is_silent = state.is_open and state.rank is None
        eased = _without_alerts(state) if is_better else self.eased if is_silent else None
        is_woken = self.is_woken and is_silent and not is_better
        entry = replace(self._knowing(state), eased=eased, is_woken=is_woken).without_debt()
        if state.is_of_same_share(entry.dead_lettered):
            entry = replace(entry, dead_lettered=None)
        if state.is_open:
            return entry
        # The newest state is over: so is every page that was signalled until now, whatever the clocks of its senders.
        entry = entry._over(max(state.came, self._last_claim() + TICK_SECONDS))
        is_sure = self.kept is not None and not self.kept.is_open and 0 < self.over_at <= self.confirmed_at
        return replace(entry, confirmed_at=entry.over_at) if is_sure else entry

    def end_confirmed(self) -> "Entry":
        """The entry once its incident is over for sure, or nobody can be asked; one that is open again stays."""
        return replace(self, confirmed_at=self.over_at, refuted_since=0.0) if self.is_end_in_doubt else self

    def end_doubted(self, now: float) -> "Entry":
        """The entry once BigPanda said that its incident is open; the first time counts."""
        return replace(self, refuted_since=self.refuted_since or now) if self.is_end_in_doubt else self

    def end_refuted(self) -> "Entry":
        """The entry once its end was refuted: no page ends for it."""
        return replace(self, over_at=0.0, refuted_since=0.0) if self.is_end_in_doubt else self

    def claimed(self, lease: Lease, tries: int, *, queued: bool) -> "Entry":
        """The entry with its sender's lease. Only a state that is on a queue may be called kept.

        All of the `tries` that the sender may make are taken for signals until it says how many rang: it may die.
        """
        entry = self._without_lease(lease.owner)
        entry = entry.keeping(lease.state) if queued else entry
        return replace(entry._rung(lease, tries, lease.began), lease=lease, slot=None)

    def accepted(
        self, lease: Lease, request_id: str | None, rings: int, *, until: float, audience: Audience = NOBODY_NAMED
    ) -> "Entry":
        """The entry once xMatters accepted the lease's state; `rings` counts the tries that may have rung.

        They rang by `until` (epoch seconds): xMatters, which is slow at times, counts them from when it took them.
        """
        entry = self._released(lease)._rung(lease, rings, until)
        return entry.announcing(lease.state, request_id, lease.began, audience)

    def announcing(self, state: State, request_id: str | None, at: float, audience: Audience = NOBODY_NAMED) -> "Entry":
        """The entry with a state that xMatters accepted; `at` is when it was asked, in epoch seconds.

        A newer one that is announced already stays, and then this one is what people may have been told last.
        """
        raised = self.raised
        if self.kept and not self.kept.is_open and self.over_at >= self.kept.came and state.precedes(self.kept):
            # That resolve is announced, or will not be: the page must end, though its sender notes it late.
            at = min(at, self.over_at - TICK_SECONDS)
        if request_id and all(request_id != each.request_id for each in raised):
            # Whoever was slow to say what it sent sent it before those that began after it.
            is_for_one, names = audience.is_for_one, hashes_of(audience.recipients)
            one = Raised(
                request_id, at, state.is_open, is_for_one=is_for_one, recipients=names, is_critical=state.is_critical
            )
            known = sorted((*raised, one), key=lambda each: each.at)
            raised = tuple(known[-MAX_RAISED:])
        entry = replace(self, raised=raised)
        if not state.is_open:
            # A resolve that was superseded while it was sent must not end the pages of the newer state.
            is_old = state.precedes(entry.kept) or state.precedes(entry.announced)
            entry = entry._over(min(at, state.came) if is_old else max(at, state.came))
        if state.precedes(entry.announced):
            return entry._doubting(state)
        is_anew = any(compare(told, state).transition in _ANEW for told in entry.last_told())
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
        """The entry once somebody took its incident on; of one that is over nobody need take care.

        What `came` (epoch seconds) before the last signal was sent answers another, which says nothing of this one.
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
        rings: int,
        *,
        until: float,
        reason: str = "",
        dead_lettered_at: float | None = None,
        rests_until: float = 0.0,
    ) -> "Entry":
        """The entry once the lease's state was not accepted.

        `rings` counts those of the attempts that may have rung all the same, by `until`. `dead_lettered_at` is the mark
        of the state's message on the dead-letter queue, None if it is not there.
        """
        entry = self._released(lease)
        # Once only: a write may have been done although its answer was lost.
        if entry is not self and lease.state.is_same(entry.kept):
            entry = replace(entry, asked=entry.asked + attempts, reason=reason)
        entry = entry._rung(lease, rings, until)
        if rings:
            entry = replace(entry._doubting(lease.state), rests_until=rests_until)
        return entry if dead_lettered_at is None else entry.dead_lettering(lease.state, dead_lettered_at, reason)

    def woken(self) -> "Entry":
        """The entry of an incident whose snooze is over: it is as bad as before, and nobody looks after it any more."""
        return replace(self, is_woken=True) if self.announced and self.announced.is_open else self

    def followed(self, seen: Mapping[str, Raised]) -> "Entry":
        """The entry with what became of signals, by their request ids."""
        return replace(self, raised=tuple(_followed(each, seen.get(each.request_id, each)) for each in self.raised))

    def dead_lettering(self, state: State, at: float, reason: str) -> "Entry":
        """Return the entry with a dead-lettered state; `at` is the mark of its message."""
        if state.is_of_same_share(self.kept) and self.revived_at > at:
            # An operator moved the message before its sender noted it.
            return self
        at = max(at, self.dead_lettered_at) if state.is_of_same_share(self.dead_lettered) else at
        entry = replace(self, dead_lettered=_without_alerts(state), dead_lettered_at=at, revived_at=0.0, reason=reason)
        if self.kept and not state.is_of_same_share(self.kept):
            return entry
        # The fallback topic has to be notified of it all the same, once it is owed for too long.
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
        """Return the entry whose debt waits until a time (epoch seconds) that a worker knows."""
        return replace(self, row=replace(self.row, due=max(self.row.due, until), begun=0, sent=0)) if self.row else self

    def healing(self, until: float, number: int) -> "Entry":
        """Return the entry for whose debt the sweeper sent the job of that number; it comes back at `until`."""
        return replace(self, row=replace(self.row, due=until, sent=number)) if self.row else self

    def begun(self, number: int) -> "Entry":
        """Return the entry once a worker began the job of that number that the sweeper sent."""
        return replace(self, row=replace(self.row, begun=max(self.row.begun, number))) if self.row else self

    def unconfirming(self, now: float) -> "Entry":
        """Return the entry of a critical state that has no page: the fallback topic has to be notified."""
        return replace(self, unconfirmed=True, row=replace(self.row or Row(now), is_critical=True))

    def notified(self) -> "Entry":
        """Return the entry once the fallback topic was notified of its debt."""
        is_owed = self.owed_since is not None
        row = self.row if self.row and self.row.job else None
        if row and self.kept:
            row = replace(row, is_critical=self.kept.is_critical)
        return replace(self, is_notified=self.is_notified or is_owed, unconfirmed=False, row=row)

    def without_debt(self) -> "Entry":
        """Return the entry of a state that turned out to be announced: nothing is owed."""
        return replace(self, owed_since=None, is_notified=False, slot=None)._without_debt()

    def _without_debt(self) -> "Entry":
        """Nothing is owed any more; what is left is the notice that no page came."""
        return replace(self, row=None)._with_alarm()

    def _with_alarm(self) -> "Entry":
        if not self.unconfirmed:
            return self
        return replace(self, row=replace(self.row or Row(0.0), is_critical=True))

    def _knowing(self, state: State) -> "Entry":
        same_version = self.kept is not None and self.kept.version == state.version
        seen = (*(name for name in (self.seen if same_version else ()) if name != state.name), state.name)
        is_same = state.is_same(self.kept)
        # An end that was in doubt is of no account once the incident is open again.
        refuted_since = 0.0 if state.is_open else self.refuted_since
        known = replace(self, kept=_without_alerts(state), seen=seen[-MAX_SEEN:], refuted_since=refuted_since)
        return known if is_same else replace(known, asked=0, revived_at=0.0, reason="")

    def _rung(self, lease: Lease, rings: int, at: float) -> "Entry":
        """Return the entry with that many signals of a lease, in place of those it had: a write may be done twice."""
        others = (time for time in self.signals if time not in {lease.began, at})
        return replace(self, signals=tuple(sorted([*others, *[at] * rings])[-MAX_SIGNALS:]))

    def _doubting(self, state: State) -> "Entry":
        """One more state that may have rung.

        None of them may be forgotten, or its resolve would be, so they are told apart by no more than what is compared:
        there are few. Of those that are alike the newest stands for all, with the alerts that all of them had.
        """
        alike = [other for other in self.doubtful if (other.is_open, other.rank) == (state.is_open, state.rank)]
        alerts = state.alerts.intersection(*(other.alerts for other in alike))
        others = tuple(other for other in self.doubtful if other not in alike)
        return replace(self, doubtful=(*others, replace(state, alerts=alerts)))

    def _without_lease(self, owner: str) -> "Entry":
        """Return the entry without its lease; the state of another owner's lease may have rung."""
        if self.lease is None:
            return self
        lease, entry = self.lease, replace(self, lease=None)
        return entry._rung(lease, 0, lease.began) if lease.owner == owner else entry._doubting(lease.state)

    def _over(self, at: float) -> "Entry":
        return replace(self, over_at=max(self.over_at, at))

    def _released(self, lease: Lease) -> "Entry":
        return replace(self, lease=None) if self.lease and self.lease.owner == lease.owner else self


def hashes_of(recipients: tuple[str, ...]) -> str:
    """Short hashes of recipients' names, one after the other: an entry keeps those of several signals."""
    return "".join(sorted(hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8] for name in recipients))


def _split(hashes: str) -> list[str]:
    return [hashes[start : start + 8] for start in range(0, len(hashes), 8)]


def _followed(known: Raised, seen: Raised) -> Raised:
    """Merge what two jobs saw of a signal at the same time: a page that was found, or ended, stays so."""
    found = known if known.pages and not seen.pages else seen
    return replace(found, is_over=known.is_over or seen.is_over)


def _without_alerts(state: State) -> State:
    """Alerts are compared with those that people were told of, and nowhere else."""
    return replace(state, alerts=frozenset())


def key(channel: str, recipients: tuple[str, ...], incident_id: str) -> str:
    """Return the key of an entry. Shares whose URL names other recipients have an entry of their own."""
    return f"incident/{channel}/{named(recipients)}/{legal(incident_id)}"


# A channel's shares come for the same people, again and again.
@lru_cache(maxsize=256)
def named(recipients: tuple[str, ...]) -> str:
    """A short name of a set of recipients: 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(sorted(recipients)).encode()).hexdigest()[:16]


def legal(incident_id: str) -> str:
    """Return the id itself, or its hash where DynamoDB would not take it: too long, or with a lone surrogate."""
    encoded = incident_id.encode("utf-8", "surrogatepass")
    is_text = encoded.decode("utf-8", "replace") == incident_id
    return incident_id if is_text and len(encoded) <= MAX_KEY_BYTES else f"sha256/{hashlib.sha256(encoded).hexdigest()}"
