"""Entry of the ledger: the record of one incident's states, signals, debt and end. Pure code.

A channel has one entry for each incident and set of recipients that the webhook's URL names. Entries are immutable:
each change returns a new one. Methods of `Debt` and `End` change only the debt or the end.
"""

import hashlib
import json
from collections.abc import Mapping
from copy import replace
from functools import lru_cache
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from relay.channels.policy import FlapRule, Policy
from relay.incidents.share import State, Transition, Version, compare
from relay.ledger.accepted_signal import NOBODY_NAMED, AcceptedSignal, Audience, with_signal
from relay.ledger.debt import Debt, Row
from relay.ledger.receipt import Missed, Receipt

if TYPE_CHECKING:
    from relay.incidents.callback import Callback

# Pages of a signal about which xMatters is asked: a workflow may have several steps that create one.
MAX_ASKED_PAGES = 3
# BigPanda's API may lag behind its webhook. By how much is not documented, so an answer "open" counts only after this
# time. An owed signal waits at most as long for the answer (docs/decisions.md, D-ask-first).
CLAIM_SECONDS = 60.0
# A resolve that comes later than this after the claim is asked about anew: the first question may be lost, or wait.
CLAIM_AGAIN_SECONDS = 120.0


class End(NamedTuple):
    """Last end of an incident, and its claim: resolves that BigPanda has yet to confirm. Times are epoch seconds.

    Attributes:
        at: When the incident ended last; 0 for never. Pages of earlier signals have to be terminated.
        claimed_at: Arrival of the resolve that began the claim; 0 if there is no claim now.
        version: BigPanda's timestamps of the latest claimed resolve; its arrival, twice, if it has none. They stay
            after BigPanda refuted the claim. None if there was no claim since the last end.
        silent_since: When the first question was asked that BigPanda left unanswered since its last answer; 0 for none.
    """

    at: float = 0.0
    claimed_at: float = 0.0
    version: Version | None = None
    silent_since: float = 0.0

    @property
    def is_claimed(self) -> bool:
        """True if a resolve waits for BigPanda to confirm or refute it."""
        return self.claimed_at > 0

    @property
    def last_claimed_at(self) -> float:
        """Time of the latest claimed resolve (epoch seconds), also of a refuted one; 0 if none is known."""
        return max(self.claimed_at, self.version[0] if self.version else 0.0)

    def has_refuted(self, version: Version | None) -> bool:
        """True if BigPanda refuted a resolve whose timestamps are `version` or later. False if `version` is None."""
        if version is None or self.version is None or self.is_claimed:
            return False
        return version <= self.version

    def begins_claim(self, came: float) -> bool:
        """True if BigPanda has to be asked anew about a resolve that came at `came` (epoch seconds).

        False if a claim that began less than CLAIM_AGAIN_SECONDS before covers the resolve.
        """
        return not self.is_claimed or came - self.claimed_at >= CLAIM_AGAIN_SECONDS

    def claimed(self, came: float, version: Version | None) -> "End":
        """Return the end with one more claimed resolve: its arrival (epoch seconds), and its timestamps, if any."""
        known, version = self.version if self.is_claimed else None, version or (came, came)
        return replace(
            self,
            claimed_at=came if self.begins_claim(came) else self.claimed_at,
            version=max(known, version) if known else version,
            silent_since=self.silent_since if self.is_claimed else 0.0,
        )

    def answered_open(self, asked_at: float) -> "End":
        """Return the end after BigPanda answered "open" to a question that was asked at `asked_at` (epoch seconds).

        The claim ends only if its latest resolve came CLAIM_SECONDS or more before the question.
        """
        is_refuted = self.is_claimed and asked_at - self.last_claimed_at >= CLAIM_SECONDS
        return replace(self, claimed_at=0.0 if is_refuted else self.claimed_at, silent_since=0.0)

    def silence_reset(self) -> "End":
        """Return the end with `silent_since` 0, for a question that a rate limit delayed."""
        return replace(self, silent_since=0.0)

    def unanswered(self, asked_at: float) -> "End":
        """Return the end after BigPanda left a question of `asked_at` (epoch seconds) unanswered."""
        return replace(self, silent_since=self.silent_since or asked_at)

    def closed_by(self, came: float, version: Version | None) -> "End":
        """Return the end after a closed state: its arrival `came` (epoch seconds), and its timestamps, if it has any.

        The claim ends, but not if its latest resolve is newer than the state.
        """
        is_newer = self.claimed_at > came
        if self.version is not None and version is not None:
            is_newer = self.version > version
        return self if self.is_claimed and is_newer else End(self.at)


# The end of an incident of which no resolve came.
NEVER_ENDED = End()


class Flap(NamedTuple):
    """Memory of an incident's last changes, by which the relay sees that it flaps. Times are epoch seconds.

    Attributes:
        changes: Times of the last changes (opened, over, or another status), oldest first, announced or not.
        calm_at: When the flapping incident counts as calm, unless it changes again; 0 if it does not flap.
        is_signalled: True if a signal said that the incident flaps. Until it is calm, only a worse state is announced.
    """

    changes: tuple[float, ...] = ()
    calm_at: float = 0.0
    is_signalled: bool = False

    def after_state(self, before: State | None, state: State, rule: FlapRule, *, is_flagged: bool) -> "Flap":
        """Return the memory after `state` came. `before` is the state before it; None if it is the first.

        The incident flaps if it changed as often as `rule` says, or if it is open and BigPanda says so (`is_flagged`).
        """
        known = self if state.came < self.calm_at else Flap(self.changes)
        changes = tuple(at for at in known.changes if at > state.came - rule.seconds)
        is_change = before is not None and _differ(before, state)
        if is_change:
            changes = tuple(sorted((*changes, round(state.came, 3))))[-rule.transitions :]
        is_flapping = is_change and (known.calm_at > 0 or len(changes) >= rule.transitions)
        is_flapping = is_flapping or (is_flagged and state.is_open)
        calm_at = max(known.calm_at, round(state.came + rule.seconds, 3)) if is_flapping else known.calm_at
        return Flap(changes, calm_at, known.is_signalled)

    def announcing(self) -> "Flap":
        """Return the memory after xMatters accepted a signal. If the incident flaps, that signal said so."""
        return replace(self, is_signalled=True) if self.calm_at else self


def _differ(before: State, state: State) -> bool:
    """True if the incident opened, ended or changed its status between the two states."""
    if before.is_open != state.is_open:
        return True
    return state.is_open and before.rank != state.rank


# Longer than any sender works, so that a lease expires only if its sender died.
LEASE_SECONDS = 15.0


class Lease(NamedTuple):
    """A sender's exclusive right to send for an incident. Times are epoch seconds.

    Attributes:
        owner: Unique name of the sender.
        state: The state that the sender announces.
    """

    owner: str
    until: float
    began: float
    state: State


# Distance between two leases of an incident. It keeps their order although clocks of functions differ.
TICK_SECONDS = 0.0005
MAX_SEEN_DIGESTS = 16
MAX_SIGNAL_TIMES = 8
# After these transitions an earlier acknowledgement counts no more.
_ANEW = frozenset({Transition.OPENED, Transition.WORSENED, Transition.REOPENED, Transition.RESOLVED})
_BETTER = frozenset({Transition.EASED, Transition.RESOLVED})
_NO_MEMBERS: Mapping[str, Any] = MappingProxyType({})


class Acknowledgement(NamedTuple):
    """Acknowledgement of an announced state.

    Attributes:
        by: xMatters' name of the person.
        rank: Severity of the state, a higher one is worse; 0 if the state has none.
        at: Arrival of the acknowledgement (epoch seconds); 0 if unknown.
    """

    by: str
    rank: int
    at: float = 0.0


class About(NamedTuple):
    """Members that an entry keeps of the incident's last share besides its state.

    Attributes:
        title: Title for operators; empty if unknown. Nothing is decided by it.
        environment_id: BigPanda's id of the incident's environment; empty if unknown.
        facts: Values of facts that BigPanda's API lacks, for routes and pauses, by fact (`channels.kept_facts`).
    """

    title: str = ""
    environment_id: str = ""
    facts: Mapping[str, tuple[str, ...]] = _NO_MEMBERS


_NOTHING_KEPT = About()


class Entry(NamedTuple):
    """Ledger entry of an incident: an immutable record.

    Attributes:
        newest: The newest known state, announced or not; None for none. A resolve that BigPanda has yet to confirm does
            not count.
        seen_digests: Hashes (`State.marked_digest`) of the states with `newest`'s timestamps, to recognise late copies.
        announced: The newest state that xMatters accepted; None if there is none.
        doubtful: States that xMatters may have accepted: its answer was ambiguous, or the sender died.
        eased: A better state that came after `announced`, and was not announced. A state that is worse than this one
            counts as worsened. At a snooze's end, this is `announced` as over: an open state then counts as reopened.
        acknowledgement: That of `announced`; None if nobody acknowledged it.
        lease: The lease of the sender that works now, or that died.
        signal_times: Times of the last signals that xMatters accepted or may have, oldest first (epoch seconds).
        accepted_signals: The last accepted signals, oldest first.
        others: Members of the stored JSON that this version does not know. They are written back unchanged.
        sequence: Version of the table item, for optimistic locking; 0 if there is no item.
        is_unreadable: True if the stored item could not be parsed, and this entry replaces it.
    """

    newest: State | None = None
    seen_digests: tuple[str, ...] = ()
    announced: State | None = None
    doubtful: tuple[State, ...] = ()
    eased: State | None = None
    acknowledgement: Acknowledgement | None = None
    receipt: Receipt = Receipt()
    lease: Lease | None = None
    signal_times: tuple[float, ...] = ()
    accepted_signals: tuple[AcceptedSignal, ...] = ()
    debt: Debt = Debt()
    end: End = NEVER_ENDED
    flap: Flap = Flap()
    about: About = _NOTHING_KEPT
    others: Mapping[str, Any] = _NO_MEMBERS
    sequence: int = 0
    is_unreadable: bool = False

    @property
    def acknowledged_by(self) -> str:
        return self.acknowledgement.by if self.acknowledgement else ""

    def is_busy(self, now: float) -> bool:
        """True if a sender has a lease that has not expired at `now` (epoch seconds)."""
        return self.lease is not None and now < self.lease.until

    def next_start(self, now: float) -> float:
        """Return when the next lease starts (epoch seconds): `now`, or a later time.

        It is later than the start of each known lease and than the incident's last end, although clocks differ.
        """
        return max(now, self._last_start() + 2 * TICK_SECONDS, self.end.at + TICK_SECONDS)

    def _last_start(self) -> float:
        return max([0.0, *(signal.at for signal in self.accepted_signals), *([self.lease.began] if self.lease else [])])

    @property
    def has_pages(self) -> bool:
        """True if a signal of an open state may still have an active page, also one from before the last end."""
        return any(each.is_open and not each.is_over for each in self.accepted_signals)

    def has_live_pages(self) -> bool:
        """True if a signal of an open state, sent since the incident's last end, may still have an active page."""
        return any(each.is_open and not each.is_over and each.at >= self.end.at for each in self.accepted_signals)

    @property
    def is_over(self) -> bool:
        return self.newest is not None and not self.newest.is_open

    @property
    def opens_again(self) -> bool:
        """True if an open state is owed, not dead-lettered, and only pages from before the last end may be active."""
        is_owed = self.debt.is_owed and not self.debt.is_given_up and not self.is_over
        return is_owed and self.has_pages and not self.has_live_pages()

    def claiming(self, state: State) -> "Entry":
        """Return the entry with the resolve `state` noted as claimed. The caller queues the question to BigPanda."""
        return replace(self, end=self.end.claimed(state.came, state.version if state.has_own_version else None))

    def claim_hold(self, state: State) -> float:
        """Return until when `state` waits for BigPanda's answer about a claimed resolve (epoch seconds); 0 for no wait.

        Only an open state that is not newer than the resolve waits, and a debt waits only once.
        """
        if not self.end.is_claimed or not state.is_open or self.is_after_claim(state):
            return 0.0
        return self.debt.claim_hold_until or self.end.claimed_at + CLAIM_SECONDS

    def is_after_claim(self, state: State) -> bool:
        """True if `state` is newer than the latest claimed resolve, or if none is known.

        Timestamps are compared, or the arrivals if a state has none of its own.
        """
        if state.version is None or state.has_borrowed_version or self.end.version is None:
            # The version of a resolve without timestamps is its arrival.
            return state.came > self.end.last_claimed_at
        return state.version > self.end.version

    @property
    def is_snooze_over(self) -> bool:
        """True from a snooze's end until a state is announced, or found to need no signal."""
        return self.announced is not None and self.eased == _as_over(self.announced)

    def is_eased_by(self, state: State) -> bool:
        """True if `state` is better than the announced one: a lower status, or over. False if none was announced."""
        return self.announced is not None and compare(self.announced, state).transition in _BETTER

    def maybe_announced(self) -> tuple[State | None, ...]:
        """Return the states that may have been announced last: `announced` (or None), `doubtful`, and the lease's."""
        in_flight = (self.lease.state,) if self.lease else ()
        return (self.announced, *self.doubtful, *in_flight)

    def has_seen(self, state: State) -> bool:
        """True if `state` came before, and has the same timestamps as the newest state."""
        is_as_old = self.newest is not None and self.newest.version == state.version
        return is_as_old and state.marked_digest in self.seen_digests

    def may_have_paged(self, state: State) -> bool:
        """True if exactly this state is doubtful: xMatters may have accepted it."""
        return any(state.is_same(doubtful) for doubtful in self.doubtful)

    @property
    def delay_start(self) -> float | None:
        """Time from which the delay of the owed signal counts (epoch seconds); None if nothing is owed.

        It is the latest of the debt's begin, the end of its last pause, and `quiet_until` of the newest state.
        """
        if self.debt.since is None:
            return None
        return max(self.debt.since, self.debt.paused_until, self.quiet_until(self.newest) if self.newest else 0.0)

    def quiet_until(self, state: State) -> float:
        """Return until when `state` is not announced, since the incident flaps (epoch seconds); 0 if it need not wait.

        A state need not wait if it is worse than one of `maybe_announced`.
        """
        is_worse = any(told is None or state.is_worse_than(told) for told in self.maybe_announced())
        return self.flap.calm_at if self.flap.is_signalled and not is_worse else 0.0

    def owing(self, state: State, plan: int = 0) -> "Entry":
        """Return the entry with `state` as its newest state, and owed. A debt that began earlier keeps its `since`.

        `plan` is the number of the message that wakes the state, 0 for none. A higher one of the same share stays.
        """
        entry = self._with_newest(state)
        known = self.debt.plan if state.is_of_same_share(self.newest) else 0
        since = state.came if entry.debt.since is None else entry.debt.since
        return replace(entry, debt=replace(entry.debt, since=since, plan=max(plan, known)))

    def owing_by_row(self, state: State, row: Row, plan: int = 0) -> "Entry":
        """Return the entry with `state` owed, as `owing` does, and with `row`, by which the sweeper finds the state.

        The entry stays as it is if the state was superseded, announced or dead-lettered meanwhile.
        """
        is_announced = self.announced is not None and not self.announced.precedes(state) and not self.eased
        is_newest = state.is_of_same_share(self.newest)
        # A state that people know may be owed to further recipients.
        is_announced = is_announced and not (is_newest and self.debt.is_owed)
        is_dead = self.debt.is_given_up and is_newest
        if state.precedes(self.newest) or is_announced or is_dead:
            return self
        entry = self.owing(state, plan)
        return replace(entry, debt=replace(entry.debt, row=row))

    def unchanged(self, state: State, *, is_left_out: bool = False) -> "Entry":
        """Return the entry with a newer state that the policy does not announce: nothing is owed any more.

        A closed state ends the incident. `is_left_out` is True if only a pause or shadow mode prevents a signal of
        `state`. Then a better state stays in `eased`, so that the next share as bad as `state` is announced.
        """
        eased = state.without_alerts() if self.is_eased_by(state) else None
        if is_left_out and self.eased and state.is_worse_than(self.eased):
            eased = self.eased
        entry = self._settled_with(state)
        entry = replace(entry, eased=eased, debt=entry.debt.settled())
        if self.is_over or not state.is_open:
            # It ended and may reopen, although people are not told of either.
            entry = replace(entry, acknowledgement=None)
        return entry if state.is_open else entry._ended_by(state)

    def ended_unannounced(self, state: State) -> "Entry":
        """Return the entry after a resolve (`state`) that is not announced yet: pages and receipt have to end now.

        If the incident opens before the resolve is announced, the open state counts as reopened.
        """
        eased = state.without_alerts() if self.is_eased_by(state) else self.eased
        return replace(self._ended_by(state), eased=eased, receipt=self.receipt.ended())

    def _ended_by(self, state: State) -> "Entry":
        # Every page until now has to end, although clocks of senders differ, but for that of a newer state in flight.
        is_older = self.lease is not None and state.precedes(self.lease.state)
        last_start = replace(self, lease=None)._last_start() if is_older else self._last_start()
        return replace(self, end=replace(self.end, at=max(self.end.at, state.came, last_start + TICK_SECONDS)))

    def with_snooze_over(self) -> "Entry":
        """Return the entry after the end of a snooze: an open announced state will be announced again."""
        announced = self.announced
        return replace(self, eased=_as_over(announced)) if announced and announced.is_open else self

    def _with_newest(self, state: State) -> "Entry":
        same_version = self.newest is not None and self.newest.version == state.version
        is_reopened = self.is_over and state.is_open
        newest, digest = state.without_alerts(), state.marked_digest
        seen_digests = (*[each for each in (self.seen_digests if same_version else ()) if each != digest], digest)
        end = self.end if state.is_open else self.end.closed_by(state.came, state.version)
        debt = self.debt
        if not state.is_of_same_share(self.newest):
            debt = replace(debt, attempts=0, reason="", dead_lettered_at=0.0, revived_at=0.0)
        if is_reopened and (debt.is_notified or self.eased):
            # The debt was that of a resolve, or the fallback topic was notified of it: this state's delay counts anew.
            debt = replace(debt, since=state.came, is_notified=False)
        seen_digests = seen_digests[-MAX_SEEN_DIGESTS:]
        return replace(self, newest=newest, seen_digests=seen_digests, end=end, debt=debt)

    def _settled_with(self, state: State) -> "Entry":
        """Return the entry with `state` as its newest, which is not owed. A receipt ends unless `state` is critical."""
        entry = self._with_newest(state)
        return entry if state.is_critical else replace(entry, receipt=self.receipt.ended())

    def leased(self, lease: Lease, tries: int, plan: int | None = None) -> "Entry":
        """Return the entry with the lease of a sender that is about to send, in at most `tries` attempts.

        All `tries` count as signals until the sender records its result, since it may die before. `plan` is the number
        of the queued message for the lease's state, which becomes the newest one, and owed. `plan` None means that
        there is no message: the newest state and the debt stay.
        """
        entry = replace(self._without_lease()._counting(lease, tries, lease.began), lease=lease)
        entry = entry if plan is None else entry.owing(lease.state, plan)
        return replace(entry, debt=replace(entry.debt, slot=None))

    def accepted(
        self,
        lease: Lease,
        request_id: str | None,
        maybe_accepted: int,
        *,
        until: float,
        audience: Audience = NOBODY_NAMED,
    ) -> "Entry":
        """Return the entry after xMatters accepted the signal of the lease's state. The lease ends.

        `request_id` is None if xMatters' answer had none. `maybe_accepted` is the number of attempts that xMatters
        accepted, or may have accepted, by `until` (epoch seconds).
        """
        entry = self._released(lease)._counting(lease, maybe_accepted, until)
        return entry.announcing(lease.state, request_id, lease.began, audience)

    def announcing(self, state: State, request_id: str | None, at: float, audience: Audience = NOBODY_NAMED) -> "Entry":
        """Return the entry with `state` announced. `at` is the start of the sender's lease (epoch seconds).

        `request_id` is None if xMatters' answer had none.

        - Nothing is owed any more, except a newer state. No state is doubtful any more.
        - A resolve ends the incident.
        - A state that opened, worsened, reopened or resolved drops the acknowledgement. A critical one begins a
          receipt, if `audience` awaits one. A signal of an open state to the acknowledger alone does neither.
        - If a newer state is announced already, that one stays announced, and `state` becomes doubtful.
        """
        newest, entry = self.newest, self
        if newest and not newest.is_open and self.end.at >= newest.came and state.precedes(newest):
            # The newest state is a resolve that came later than this state. This state's page must end, although the
            # record comes late.
            at = min(at, self.end.at - TICK_SECONDS)
        if request_id:
            signal = AcceptedSignal.of(state, request_id, at, audience)
            entry = replace(self, accepted_signals=with_signal(self.accepted_signals, signal))
        if not state.is_open:
            # A resolve that was superseded in flight must not end the pages of the newer state.
            is_old = state.precedes(newest) or state.precedes(entry.announced)
            ended = max(entry.end.at, min(at, state.came) if is_old else max(at, state.came))
            entry = replace(entry, end=replace(entry.end, at=ended))
        if state.precedes(entry.announced):
            return entry._doubting(state)
        known = (*entry.maybe_announced(), *([entry.eased] if entry.eased else []))
        is_anew = any(compare(told, state).transition in _ANEW for told in known)
        newer = newest if newest and state.precedes(newest) else None
        entry = entry if newer else entry._settled_with(state)
        if is_anew and not (audience.is_for_acknowledger and state.is_open):
            entry = replace(entry, acknowledgement=None)
        receipt = entry.receipt
        # One that is open since an earlier critical says nothing of a critical that comes anew.
        begins = audience.awaits_receipt and not audience.is_for_acknowledger
        if begins and state.is_critical and (newer is None or newer.is_critical) and (is_anew or not receipt.since):
            receipt = Receipt.begun(at, audience.recipients)
        if audience.has_others and receipt.awaits_others:
            receipt = replace(receipt, others_at=at)
        # The newer state came while this one was sent. It could not count as eased then: nothing was announced yet.
        is_settled = newer is not None and (not entry.debt.is_owed or entry.end.at >= newer.came)
        is_eased = newer is not None and is_settled and compare(state, newer).transition in _BETTER
        # It ended and opened again while this state was sent: the state's page has to end.
        is_reopened = newer is not None and newer.is_open and state.is_open and entry.end.at > at
        meanwhile = replace(_as_over(state), came=entry.end.at)
        return replace(
            entry,
            announced=state,
            doubtful=(),
            eased=newer if is_eased else meanwhile if is_reopened else None,
            debt=replace(entry.debt if newer else replace(entry.debt.settled(), slot=entry.debt.slot), reason=""),
            flap=entry.flap.announcing(),
            receipt=receipt,
        )

    def acknowledged(self, target: str, came: float, answered: AcceptedSignal | None = None) -> "Entry":
        """Return the entry with an acknowledgement by the person `target`, which came at `came` (epoch seconds).

        `answered` is the signal whose page `target` answered; None if unknown. The entry stays as it is in three cases:
        no open state is announced, the entry has a later acknowledgement, or this one is out of date (`is_overtaken`).
        """
        announced = self.announced
        if announced is None or not announced.is_open:
            return self
        is_recorded = any(signal.at >= announced.came for signal in self.accepted_signals)
        is_early = came < announced.came and not is_recorded
        is_second = self.acknowledgement is not None and came < self.acknowledgement.at
        if is_early or is_second or self.is_overtaken(came, answered, as_acknowledgement=True):
            return self
        return replace(self, acknowledgement=Acknowledgement(target, announced.rank or 0, came))

    def has_signal(self, signal: AcceptedSignal) -> bool:
        return signal.request_id in {each.request_id for each in self.accepted_signals}

    def awaits_proof_by(self, signal: AcceptedSignal) -> bool:
        """True if an answer to `signal` counts for the receipt: the entry has the signal, and no newer receipt."""
        return signal.at >= self.receipt.since and self.has_signal(signal)

    def after_dead_end(self, callback: "Callback", signal: AcceptedSignal | None, policy: Policy) -> "Entry":
        """Return the entry after xMatters reported a failed recipient or a page's end (`Callback.is_dead_end`).

        `signal` is the one whose page the callback names: the entry changes only if that is the critical's newest
        signal. `signal` None means that xMatters was not asked about the page: then only a failed recipient of an
        incident's single signal counts.

        The step that the receipt awaits counts as missed once xMatters notifies nobody else of the critical.
        """
        signals = self.open_signals
        if not signals or signals[-1].at < self.receipt.since:
            return self
        *earlier, newest = (each for each in signals if each.at >= self.receipt.since)
        if signal is None:
            is_its = len(signals) == 1 and not callback.is_page_end()
        else:
            is_its = signal.request_id == newest.request_id
        if not is_its:
            return self
        is_last = all(map(newest.reaches_all_of, earlier))
        entry, is_whole = self, len(newest.pages) == 1 and newest.has_page(callback.page_id, callback.page_number)
        if not callback.is_page_end():
            names = [name for name in (callback.target, callback.group) if name]
            # xMatters ignores letter case, and may spell a name in another way than the channel's settings.
            lower = {name.lower() for name in names}
            failed = newest.with_failed([*names, *(each for each in self.receipt.recipients if each.lower() in lower)])
            others = (failed if each == newest else each for each in self.accepted_signals)
            entry, is_whole = replace(self, accepted_signals=tuple(others)), failed.failed_for_all
        return replace(entry, receipt=self.receipt.after_dead_end(policy)) if is_whole and is_last else entry

    def pages_to_ask_about(self) -> list[str]:
        """Return the pages about which to ask xMatters: those of the critical's first and newest signals with pages."""
        signals = [each for each in self.accepted_signals if each.is_critical and each.at >= self.receipt.since]
        pages = [each.pages[:MAX_ASKED_PAGES] for each in signals if each.pages]
        return list(dict.fromkeys(chain(*pages[:1], *pages[-1:])))

    def page_missing(self, since: float, *, is_suppressed: bool = False) -> "Entry":
        """Return the entry whose receipt notes that a critical signal, sent at `since` (epoch seconds), made no page.

        `is_suppressed` is True if xMatters' flood control suppressed pages at that time.
        """
        step = Missed.PAGE_SUPPRESSED if is_suppressed else Missed.PAGE_MISSING
        return replace(self, receipt=self.receipt.missing(step, since))

    @property
    def is_awaited(self) -> bool:
        """True if the fallback topic has to be notified unless proof comes that somebody heard the announced critical.

        The receipt is open then. The newest state is critical or unknown, or xMatters made no page of the signal.
        """
        if not self.receipt.is_open or self.receipt.has_no_page:
            return self.receipt.is_open
        return self.newest is None or self.newest.is_critical

    def awaits_others(self, state: State) -> bool:
        """True if the policy's `unanswered_recipients` have to be signalled of the critical `state`.

        The fallback topic was notified that nobody is known to have heard of it, and no signal went to those recipients
        yet.
        """
        announced = self.announced
        # A critical that comes after a better state is another one.
        is_same = announced is not None and announced.is_critical and self.eased is None
        return is_same and state.is_critical and self.receipt.awaits_others

    def owing_others(self, row: Row | None, now: float) -> "Entry":
        """Return the entry with its newest state owed to `unanswered_recipients` since `now` (epoch seconds).

        The sweeper finds the debt by `row`. If a state is owed already, `row` is not used: the debt's own row becomes
        due now. The entry stays as it is in three cases: `awaits_others` is False for the newest state, that state is
        dead-lettered, or nothing is owed and `row` is None.
        """
        if self.newest is None or not self.awaits_others(self.newest) or self.debt.is_given_up:
            return self
        if self.debt.is_owed:
            own = self.debt.row
            return replace(self, debt=replace(self.debt, row=replace(own, due=min(own.due, now)))) if own else self
        if row is None:
            return self
        return replace(self, debt=replace(self.debt, since=now, is_notified=True, row=row, reason=""))

    @property
    def open_signals(self) -> tuple[AcceptedSignal, ...]:
        """The accepted signals of open states since the incident's last end."""
        return tuple(each for each in self.accepted_signals if each.is_open and each.at >= self.end.at)

    def failed(
        self,
        lease: Lease,
        attempts: int,
        maybe_accepted: int,
        *,
        until: float,
        reason: str = "",
    ) -> "Entry":
        """Return the entry after the signal of the lease's state was not accepted. The lease ends.

        xMatters may still have accepted `maybe_accepted` of the `attempts`, which ended at `until` (epoch seconds).
        """
        entry = self._released(lease)
        # Only once: the write may have succeeded before, with its answer lost.
        if entry is not self and lease.state.is_of_same_share(entry.newest):
            debt = replace(entry.debt, attempts=entry.debt.attempts + attempts, reason=reason)
            entry = replace(entry, debt=debt)
        entry = entry._counting(lease, maybe_accepted, until)
        if maybe_accepted:
            entry = entry._doubting(lease.state)
        return entry

    def is_overtaken(
        self, came: float, answered: AcceptedSignal | None = None, *, as_acknowledgement: bool = False
    ) -> bool:
        """True if a person's answer to a page, which came at `came` (epoch seconds), is out of date.

        `answered` is the signal whose page was answered; None if unknown. The answer is out of date if the incident
        ended or was signalled after `came`, or if an open state was signalled after `answered`. Signals to further
        recipients alone do not count; for an acknowledgement, those to the acknowledger alone do not either.
        """
        signals = [
            signal
            for signal in self.accepted_signals
            if not signal.is_further and not (signal.is_for_acknowledger and as_acknowledgement)
        ]
        known = [signal for signal in self.accepted_signals if answered and signal.request_id == answered.request_id]
        # Nobody answers a page before its signal: clocks of functions differ.
        others = [signal for signal in signals if signal not in known]
        if came < max([self.end.at, *(signal.at for signal in others)]):
            return True
        return any(later.is_open and later.at > signal.at for signal in known for later in others)

    @property
    def owes_worse(self) -> bool:
        """True if the newest state is open, owed, and worse than a state that an answering person may know.

        The person may know `eased`, or one of `maybe_announced`. A dead-lettered state counts as owed.
        """
        newest = self.newest
        if newest is None or not newest.is_open or not self.debt.is_owed:
            return False
        return any(each is not None and newest.is_worse_than(each) for each in (*self.maybe_announced(), self.eased))

    def followed(self, found: Mapping[str, AcceptedSignal]) -> "Entry":
        """Return the entry with the pages that a follow-up job found. `found` has the signals by request id."""
        followed = (known.merged(found.get(known.request_id, known)) for known in self.accepted_signals)
        return replace(self, accepted_signals=tuple(followed))

    def dead_lettering(self, state: State, at: float, reason: str, *, plan: int) -> "Entry":
        """Return the entry with `state` dead-lettered at `at` (epoch seconds), by the message with the number `plan`.

        The entry stays as it is if a newer state came, or if an operator replayed the message meanwhile.
        """
        is_revived = state.is_of_same_share(self.newest) and self.debt.revived_at > at
        if state.precedes(self.newest) or is_revived:
            return self
        entry = self.owing(state, plan)
        return replace(entry, debt=replace(entry.debt, reason=reason).dead_lettered(state, at))

    def reviving(self, state: State, at: float, plan: int = 0) -> "Entry":
        """Return the entry with a dead-lettered state that is owed again since its replay at `at` (epoch seconds).

        `plan` is the number of the replayed message. It replaces even a higher one: no other message wakes the state.
        """
        entry = self.owing(state)
        return replace(entry, debt=replace(entry.debt, reason="", plan=plan, dead_lettered_at=0.0, revived_at=at))

    def dropped(self, at: float) -> "Entry":
        """Return the entry after an operator deleted the message that was dead-lettered at `at` (epoch seconds).

        Nothing is owed any more, but the state stays marked as dead-lettered, so that a copy of the message is not
        sent. A state that was dead-lettered later stays owed.
        """
        is_dropped = self.debt.is_given_up and self.debt.dead_lettered_at <= at
        return replace(self, debt=replace(self.debt, since=None, row=None)) if is_dropped else self

    def fallback_notified(self, about: "Entry", missed: str, at: float) -> "Entry":
        """Return the entry after the fallback topic was notified at `at` (epoch seconds).

        `about` is the entry that the message described: a debt or critical that began since does not count as notified.
        `missed` is the receipt's step (`Missed`) that the message names; empty for none. A row without a stored job is
        removed, except that of a given-up state.
        """
        is_told = self.debt.is_owed and self.debt.since == about.debt.since
        debt = replace(
            self.debt, is_notified=self.debt.is_notified or is_told, row=self.debt.row if self.debt.job else None
        )
        if self.debt.is_given_up and self.newest and debt.is_owed:
            debt = debt.dead_lettered(self.newest, debt.dead_lettered_at)
        is_missed = bool(missed) and self.receipt.since == about.receipt.since
        return replace(
            self, debt=debt, receipt=self.receipt.fallback_notified(missed, at) if is_missed else self.receipt
        )

    def _counting(self, lease: Lease, maybe_accepted: int, at: float) -> "Entry":
        """Return the entry with `maybe_accepted` signal times `at`, in place of those counted at the lease's start."""
        others = (time for time in self.signal_times if time not in {lease.began, at})
        return replace(self, signal_times=tuple(sorted([*others, *[at] * maybe_accepted])[-MAX_SIGNAL_TIMES:]))

    def _doubting(self, state: State) -> "Entry":
        """Return the entry with `state` among the doubtful ones, merged with those of the same status.

        Those with another status stay, since without them the incident's resolve would not become owed.
        """
        alike = [other for other in self.doubtful if (other.is_open, other.rank) == (state.is_open, state.rank)]
        alerts = state.alerts.intersection(*(other.alerts for other in alike))
        others = tuple(other for other in self.doubtful if other not in alike)
        return replace(self, doubtful=(*others, replace(state, alerts=alerts)))

    def _without_lease(self) -> "Entry":
        """Return the entry without a lease. The sender that left it has died, so the lease's state becomes doubtful."""
        return self if self.lease is None else replace(self, lease=None)._doubting(self.lease.state)

    def _released(self, lease: Lease) -> "Entry":
        return replace(self, lease=None) if self.lease and self.lease.owner == lease.owner else self


def _as_over(state: State) -> State:
    return replace(state.without_alerts(), is_open=False)


# ---- Keys ------------------------------------------------------------------------------------------------------------

# A key has 2,048 bytes at most; an incident's id stands in it beside a channel and a hash of recipients.
MAX_KEY_BYTES = 1024


def entry_key(channel: str, recipients: tuple[str, ...], incident_id: str) -> str:
    """Return an incident's key in the ledger's table. `recipients` are those of the webhook's URL, in any order."""
    return f"incident/{channel}/{recipients_name(recipients)}/{legal_id(incident_id)}"


def shadow_key(name: str) -> str:
    """Return the key that shadow mode uses in place of the entry's key `name`."""
    return f"shadow/{name.removeprefix('incident/')}"


def channel_of(name: str) -> str:
    return name.split("/", 2)[1]


def incident_id_of(name: str) -> str:
    """Return the incident's id in an entry's key; its hash if the id is too long for a key (see `legal_id`)."""
    return name.split("/", 3)[3]


def page_key(name: str) -> str:
    """Return a hash of an entry's key `name`, by which a workflow in xMatters finds the entry's pages."""
    # xMatters' searches ignore letter case, and may take a comma in the key itself for a separator.
    return hashlib.sha256(name.encode()).hexdigest()[:32]


# Cached, since a channel's shares have the same recipients again and again.
@lru_cache(maxsize=256)
def recipients_name(recipients: tuple[str, ...]) -> str:
    """Return a hash of a set of recipients (16 hexadecimal digits), the same for any order."""
    return hashlib.sha256(json.dumps(sorted(recipients)).encode()).hexdigest()[:16]


def legal_id(incident_id: str) -> str:
    """Return the incident's id for a key, or its hash if DynamoDB refuses the id (too long, or a lone surrogate)."""
    encoded = incident_id.encode("utf-8", "surrogatepass")
    is_text = encoded.decode("utf-8", "replace") == incident_id
    return incident_id if is_text and len(encoded) <= MAX_KEY_BYTES else f"sha256/{hashlib.sha256(encoded).hexdigest()}"
