"""Reconcile: BigPanda is asked for its shared incidents, and what the ledger never heard of goes on the retry queue.

A webhook may be lost on its way, or before it, and nobody notices. So each channel with a key of BigPanda's is looked
at every few minutes. What differs at two looks was missed; it takes the way of all jobs, by which nothing that the
ledger knows rings twice.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import replace
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from relay import incident
from relay.bigpanda import BigPanda, Incident, as_webhook
from relay.channel import Access, Channel
from relay.channel_cache import ChannelCache
from relay.deadline import Deadline
from relay.errors import BadRequest, ChannelError, LedgerError, NoAnswer, QueueError, Reason, SendError
from relay.incident import Share
from relay.keeping import Keeper, new_job, release_job, trusted
from relay.ledger import Entry, Ledger, key
from relay.look import Difference, Look, Span, short
from relay.message import seconds_of, timestamp
from relay.outcome import Found
from relay.owed import Standing, is_known, judge_change
from relay.shares import FIRST_EVENT
from relay.sources import Recipients, Sources
from relay.table import Table
from relay.telemetry import Telemetry
from relay.transition import State
from relay.turns import Turns

CHANNEL_SECONDS = 60.0
# Of the function's 240 seconds; what is left then is enough for one channel's last call.
ALL_SECONDS = 220.0
# One question to BigPanda must not take the time of all the others.
CALL_SECONDS = 10.0
# BigPanda's seconds need not be ours.
SLOWER_SECONDS = 1.0
# Longer than any look takes.
LEASE_SECONDS = 110.0
# BigPanda's own webhook has so much time to come, and a ledger that was down to hear of what was sent without it.
SETTLES_SECONDS = 90.0
# What was queued is not queued again as long as a worker may be about to see to it.
QUEUED_SECONDS = 3600.0
# What ended is looked for so far back, before the last look that was whole.
OVERLAP_SECONDS = 900.0
# A place that nobody looked at for so long is looked at as if for the first time.
FORGOTTEN_SECONDS = 24 * 3600.0
MAX_PAGES = 30
MAX_RACES = 6


class _Place(NamedTuple):
    """An environment, its name in a note, the recipients for whom it shares, and since when it is compared."""

    environment_id: str
    name: str
    recipients: tuple[Recipients, ...]
    span: Span


@dataclass
class _View:
    """A look at a channel, and what becomes of its note.

    `names_recipients` says whether shares may have named any; `has_details` whether BigPanda told those of an incident
    when it was asked last; `is_waiting` whether something that is over must be seen once more.
    """

    channel: Channel
    access: Access
    deadline: Deadline
    names_recipients: bool
    spans: dict[str, Span]
    asleep: dict[str, float]
    differing: dict[str, Difference]
    counts: Counter[str] = field(default_factory=Counter)
    has_details: bool = True
    is_waiting: bool = False


class _Known(NamedTuple):
    """An incident that the ledger knows, by the recipients that shares of it named."""

    recipients: Recipients
    entry: Entry


@dataclass(frozen=True)
class Reconciler:
    """Looks at channels.

    `names` gives all of them, `clock` epoch seconds, `random` a number from 0 to 1, `deadlines` a deadline of so many
    seconds.
    """

    names: Callable[[], Iterable[str]]
    channels: ChannelCache
    bigpanda: BigPanda
    turns: Turns
    sources: Sources
    table: Table
    ledger: Ledger
    keeper: Keeper
    telemetry: Telemetry
    clock: Callable[[], float]
    random: Callable[[], float]
    deadlines: Callable[[float], Deadline]

    def reconcile(self) -> dict[str, Any]:
        """Look at every channel that has a key of BigPanda's, in any order, so that each comes first at times.

        Returns what was found, by channel, as plain data; one channel's failure does not keep the others.
        """
        whole = self.deadlines(ALL_SECONDS)
        found: dict[str, Any] = {}
        for channel in sorted(self._channels(), key=lambda _: self.random()):
            if not whole.remaining(CHANNEL_SECONDS):
                self.telemetry.notice("reconcile_failed", "there was no time for all channels")
                break
            deadline = self.deadlines(CHANNEL_SECONDS)
            try:
                seen = self._looked_at(channel, deadline)
            except Exception as error:  # noqa: BLE001 - it must not keep the other channels
                self.telemetry.crashed(error)
                continue
            if seen is not None:
                self.telemetry.reconciled(channel.name, seen, deadline.spent)
                found[channel.name] = {name: value for name, value in seen._asdict().items() if value is not None}
        return found

    def _channels(self) -> list[Channel]:
        try:
            names = list(self.names())
        except ChannelError as error:
            self.telemetry.notice("reconcile_failed", str(error))
            return []
        return [channel for name in names if (channel := self._channel(name))]

    def _channel(self, name: str) -> Channel | None:
        try:
            channel = self.channels.get(name)
        except ChannelError as error:
            self.telemetry.notice("reconcile_failed", f"channel {name}: {type(error).__name__}")
            return None
        except Exception as error:  # noqa: BLE001 - it must not keep the other channels
            self.telemetry.crashed(error)
            return None
        return channel if channel.bigpanda and channel.bigpanda.reconcile else None

    def _looked_at(self, channel: Channel, deadline: Deadline) -> Found | None:
        """What a look at a channel found; None where another one is at it, or nothing is known of where to look."""
        now, access = self.clock(), channel.bigpanda
        try:
            places, before = self.sources.of(channel), Look.read(self.table, channel.name)
            if access is None or not places or before.until > now:
                return None
            look = replace(before, until=now + LEASE_SECONDS).write(self.table, channel.name)
        except LedgerError as error:
            return Found(failure=str(error), reason=Reason.INTERNAL)
        if look is None:
            return None
        named = any(recipients for each in places.values() for recipients in each)
        recent = {name: each for name, each in look.differing.items() if now - each.since < FORGOTTEN_SECONDS}
        view = _View(channel, access, deadline, named, dict(look.spans), dict(look.asleep), recent)
        found = self._found(view, places)
        after = replace(look, until=0.0, spans=view.spans, asleep=view.asleep, differing=view.differing)
        try:
            after.write(self.table, channel.name)
        except LedgerError as error:
            return replace(found, failure=found.failure or str(error), reason=found.reason or Reason.INTERNAL)
        return found

    def _found(self, view: _View, places: Mapping[str, tuple[Recipients, ...]]) -> Found:
        """What there is in all environments; one that can't be seen does not keep the others."""
        failed: SendError | QueueError | LedgerError | None = None
        for environment_id, recipients in places.items():
            now, name = self.clock(), span_name(view.access, environment_id)
            span = view.spans.get(name)
            if span is None or now - span.last > FORGOTTEN_SECONDS:
                span = Span(now, now)
            view.spans[name], view.is_waiting = span, False
            try:
                self._compare(view, _Place(environment_id, name, recipients, span))
                # What is over is not shown for long.
                view.spans[name] = span if view.is_waiting else replace(span, last=now)
            except (SendError, QueueError, LedgerError) as error:
                failed = failed or error
        view.spans = {name: each for name, each in view.spans.items() if self.clock() - each.last < FORGOTTEN_SECONDS}
        if view.counts["unreadable"]:
            self.telemetry.notice("reconcile_failed", f"{view.counts['unreadable']} incidents can't be read")
        found = Found(view.counts["compared"], view.counts["missed"], view.counts["woken"])
        if failed is None:
            return found
        detail = failed.detail if isinstance(failed, SendError) else str(failed)
        return replace(found, failure=detail, reason=failed.reason)

    def _compare(self, view: _View, place: _Place) -> None:
        """Compare an environment's incidents with the ledger. Raises SendError, QueueError and LedgerError."""
        now = self.clock()
        resting = {share.incident_id for share in self._shares(view, place, "snoozed") if _is_asleep(share)}
        view.asleep.update(dict.fromkeys(map(short, resting), now))
        for folder, since in (("shared", None), ("resolved", place.span.last - OVERLAP_SECONDS)):
            for share in self._shares(view, place, folder, since):
                if not view.deadline.remaining():
                    raise NoAnswer(Reason.TIMEOUT, "there was no time to compare them all", asked=False)
                # What lies in a folder need not be what the folder is called.
                if _is_asleep(share):
                    view.asleep[short(share.incident_id)] = now
                elif share.incident_id not in resting:
                    view.counts["compared"] += 1
                    self._compare_one(view, place, share)

    def _shares(self, view: _View, place: _Place, folder: str, since: float | None = None) -> Iterator[Share]:
        """The shared incidents of a folder; what is over `since` then is not waited for, and may be among them.

        Raises SendError when BigPanda does not tell them all.
        """
        ids: set[str] = set()
        for page in range(1, MAX_PAGES + 1):
            ask = partial(self.bigpanda.incidents, view.access, place.environment_id, folder, page, since)
            listing = self._asked(view, "incidents", ask)
            shares = [share for item in listing.items if (share := _share(item, place.environment_id))]
            view.counts["unreadable"] += len(listing.items) - len(shares)
            fresh = [share for share in shares if share.incident_id not in ids]
            ids |= {share.incident_id for share in fresh}
            yield from (share for share in fresh if _is_shared(share))
            is_old = all(share.version is not None and share.version[0] < (since or 0.0) for share in shares)
            # Whoever does not know pages answers with the first one again.
            if not fresh or is_old or (listing.total is not None and len(ids) >= listing.total):
                return
        self.telemetry.notice("reconcile_failed", f"folder {folder} holds more than {len(ids)} incidents")

    def _asked[T](self, view: _View, endpoint: str, ask: Callable[[Deadline], T]) -> T:
        """What BigPanda answers, once it is this one's turn to ask, and once more if that was too early."""
        try:
            return self._asked_once(view, endpoint, ask)
        except SendError as error:
            if error.reason != Reason.RATE_LIMITED:
                raise
        self.turns.sleep(SLOWER_SECONDS)
        return self._asked_once(view, endpoint, ask)

    def _asked_once[T](self, view: _View, endpoint: str, ask: Callable[[Deadline], T]) -> T:
        self.turns.wait(view.access, endpoint)
        spent, brief = view.deadline.spent, self.deadlines(min(CALL_SECONDS, view.deadline.remaining()))
        try:
            return ask(brief)
        finally:
            spent.update({part: spent.get(part, 0.0) + milliseconds for part, milliseconds in brief.spent.items()})

    def _compare_one(self, view: _View, place: _Place, share: Share) -> None:
        """Compare one incident with what the ledger knows of it; what was missed goes on the retry queue."""
        state, name = _state(share, self.clock()), short(f"{place.name[:6]}:{share.incident_id}")
        known = list(self._known(view, place, share))
        woken = [each.recipients for each in known if self._is_woken(view, share, state, each)]
        differing = [each for each in known if each.recipients not in woken and self._is_missed(view, state, each)]
        missed = [each.recipients for each in differing]
        # What has no time stamp may well have happened since the place was looked at first.
        is_ours = state.version is None or state.version[0] >= place.span.since
        if not known and state.is_open and is_ours:
            missed = list(place.recipients)
        if missed and not self._is_settled(view, name, state, differing):
            view.is_waiting |= not state.is_open and not view.differing[name].queued
            missed = []
        elif not missed:
            view.differing.pop(name, None)
        if woken or missed:
            queued = self._keep(view, place, share, [*woken, *missed], is_first=not known)
            view.counts["missed" if missed else "woken"] += 1
            if missed:
                view.differing[name] = replace(view.differing[name], queued=queued)
        view.asleep.pop(short(share.incident_id), None)

    def _is_settled(self, view: _View, name: str, state: State, differing: Sequence[_Known]) -> bool:
        """True if the difference was seen by an earlier reconcile run, too, and no job for it is on the retry queue.

        A job was queued for an earlier difference of the same kind, if the ledger has since kept that job's state or a
        later one: an incident that resolved, reopened and resolved again differs anew.
        """
        now, mark = self.clock(), f"{state.is_open:d}{state.rank}"
        known = view.differing.get(name)
        is_new = known is None or known.mark != mark or (known.queued > 0 and _has_moved_on(differing, known.queued))
        difference = Difference(mark, now) if known is None or is_new else known
        view.differing[name] = difference
        return now - difference.since >= SETTLES_SECONDS and now - difference.queued >= QUEUED_SECONDS

    def _is_missed(self, view: _View, state: State, known: _Known) -> bool:
        if is_known(known.entry, state, self.clock()):
            return False
        # A resolve that nobody announces ends pages all the same.
        leaves_pages = view.channel.rest is not None and not state.is_open and known.entry.has_live_pages()
        is_owed = judge_change(known.entry, state, view.channel.policy.notify_on).standing == Standing.OWED
        return is_owed or leaves_pages

    def _is_woken(self, view: _View, share: Share, state: State, known: _Known) -> bool:
        """Whether a snooze ended on what is critical, and people were not told since; its entry says so then."""
        slept_at = view.asleep.get(short(share.incident_id))
        if slept_at is None or not state.is_critical:
            return False
        name, entry = key(view.channel.name, known.recipients, share.incident_id), known.entry
        for _ in range(MAX_RACES):
            is_told_open = entry.announced is not None and entry.announced.is_open
            if not is_told_open or (entry.signals and entry.signals[-1] > slept_at):
                return False
            if written := self.ledger.write(name, entry, entry.woken()):
                return judge_change(written, state, view.channel.policy.notify_on).standing == Standing.OWED
            entry = self.ledger.read(name)
        raise LedgerError("the entry was changed each time it was read")

    def _known(self, view: _View, place: _Place, share: Share) -> Iterator[_Known]:
        """The entries of an incident: its shares may have named recipients."""
        named = self.sources.of_incident(view.channel, share.incident_id) if view.names_recipients else ()
        for recipients in dict.fromkeys(((), *place.recipients, *named)):
            entry = self.ledger.read(key(view.channel.name, recipients, share.incident_id))
            if entry.sequence:
                yield _Known(recipients, entry)

    def _keep(
        self, view: _View, place: _Place, share: Share, recipients: Iterable[Recipients], *, is_first: bool
    ) -> float:
        """Put a job for a missed share on the retry queue; return the arrival time that the job carries.

        Raises QueueError when the retry queue does not take it.
        """
        # What comes while BigPanda is asked for the details is newer than this.
        now = self.clock()
        whole = self._whole(view, place, share)
        body = json.dumps(whole.document).encode()
        for each in recipients:
            trail = f"reconcile-{share.incident_id}"[:100]
            job = replace(new_job(view.channel, whole, body, each, trail, now), found=True)
            if not self.keeper.keep(job, view.deadline, until=now):
                raise QueueError("the retry queue did not take what was missed")
            if is_first and view.access.callbacks:
                # BigPanda holds what comes after a first share until it hears that it arrived.
                self.keeper.keep(release_job(job, FIRST_EVENT), view.deadline, until=now)
        return seconds_of(timestamp(now))

    def _whole(self, view: _View, place: _Place, share: Share) -> Share:
        """The share with the details of its alerts; as it is, where BigPanda does not tell them: a page needs none."""
        if not view.has_details:
            return share
        ask = partial(self.bigpanda.incident, view.access, Incident(place.environment_id, share.incident_id))
        try:
            found = _share(self._asked(view, "incident", ask), place.environment_id)
        except SendError:
            view.has_details = False
            return share
        is_better = found is not None and found.incident_id == share.incident_id and found.status is not None
        is_newer = found is not None and (found.version or (0, 0)) >= (share.version or (0, 0))
        return found if found and is_better and is_newer else share


def span_name(access: Access, environment_id: str) -> str:
    """A name for what is compared: another query or environment is another place."""
    named = [access.base_url, access.reconcile_query, environment_id]
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:16]


def _share(item: Mapping[str, Any], environment_id: str) -> Share | None:
    try:
        return incident.parse(as_webhook(item, environment_id))
    except BadRequest:
        return None


def _is_shared(share: Share) -> bool:
    """Whether BigPanda does not say that nobody was told of it."""
    return share.document["incident"].get("shared") is not False


def _has_moved_on(differing: Sequence[_Known], queued: float) -> bool:
    """True if the ledger kept a state that came no earlier than the job that was queued then."""
    return any(each.entry.kept is not None and each.entry.kept.came >= queued for each in differing)


def _is_asleep(share: Share) -> bool:
    return share.snoozed is True and share.active is not False


def _state(share: Share, now: float) -> State:
    """The state that a look compares. That its alerts have the names that they have in webhooks is not known."""
    return replace(State.of(share, now), version=trusted(share.version, now), alerts=frozenset())
