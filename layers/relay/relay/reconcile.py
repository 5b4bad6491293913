"""Reconcile: BigPanda is asked for its shared incidents, and what the ledger never heard of goes on the retry queue.

A webhook may be lost on its way, or before it, and nobody notices. So each channel with a key of BigPanda's is looked
at every few minutes. What was missed takes the way of all jobs, by which nothing that the ledger knows rings twice.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import replace
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

from relay import incident
from relay.bigpanda import BigPanda, Incident, as_webhook
from relay.channel import Access, Channel
from relay.channel_cache import ChannelCache
from relay.deadline import Deadline
from relay.errors import BadRequest, ChannelError, LedgerError, NoAnswer, QueueError, Reason, SendError
from relay.followup import FORGOTTEN_SECONDS, to_end
from relay.incident import Share
from relay.keeping import Keeper, new_job, release_job, trusted
from relay.ledger import Entry, Ledger, key
from relay.look import Look
from relay.message import Job, timestamp
from relay.outcome import Found
from relay.owed import Standing, is_known, judge_change
from relay.shares import FIRST_EVENT
from relay.sources import Source, Sources
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
# BigPanda's own webhook, or a share that waits, has so much time to come.
GRACE_SECONDS = 120.0
# What ended is looked for so far back, before the last look that was whole.
OVERLAP_SECONDS = 900.0
# A page that must end is ended by who signals; this long after it nobody is at it.
LEFT_OPEN_SECONDS = 600.0
# Whoever is asked to end a page tries it for so long.
ENDS_SECONDS = 24 * 3600.0
MAX_PAGES = 30
MAX_RACES = 6


@dataclass(frozen=True)
class _View:
    """A look at a channel: `look` is its note, as it was when it began.

    `everywhere` are the recipients that any of the channel's shares named; `counts` what was found so far; `asleep` and
    `left` become those of the next note.
    """

    channel: Channel
    access: Access
    everywhere: tuple[tuple[str, ...], ...]
    look: Look
    deadline: Deadline
    counts: Counter[str] = field(default_factory=Counter)
    asleep: dict[str, float] = field(default_factory=dict)
    left: dict[str, float] = field(default_factory=dict)


class _Place(NamedTuple):
    """An environment, and the recipients that shares from there named."""

    environment_id: str
    recipients: tuple[tuple[str, ...], ...]


class _Known(NamedTuple):
    """An incident that the ledger knows, by the recipients that shares of it named."""

    recipients: tuple[str, ...]
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
            sources, before = self.sources.of(channel), Look.read(self.table, channel.name)
            if access is None or not sources or before.until > now:
                return None
            look = replace(before, since=before.since or now, until=now + LEASE_SECONDS).write(self.table, channel.name)
            if look is None:
                return None
            everywhere = tuple(sorted({source.recipients for source in sources}))
            left = {name: at for name, at in look.left.items() if now - at < ENDS_SECONDS}
            view = _View(channel, access, everywhere, look, deadline, Counter(), dict(look.asleep), left)
            found = self._found(view, sources)
            last = look.last if found.failure else now
            replace(look, last=last, until=0.0, asleep=view.asleep, left=view.left).write(self.table, channel.name)
        except LedgerError as error:
            return Found(failure=str(error), reason=Reason.INTERNAL)
        return found

    def _found(self, view: _View, sources: Iterable[Source]) -> Found:
        """What there is in all environments; one that can't be seen does not keep the others."""
        failed: SendError | QueueError | LedgerError | None = None
        for environment_id, group in groupby(sorted(sources), key=lambda source: source.environment_id):
            place = _Place(environment_id, tuple(source.recipients for source in group))
            try:
                self._compare(view, place)
            except (SendError, QueueError, LedgerError) as error:
                failed = failed or error
        counts = view.counts
        found = Found(counts["compared"], counts["missed"], counts["woken"], counts["left_open"])
        if failed is None:
            return found
        detail = failed.detail if isinstance(failed, SendError) else str(failed)
        return replace(found, failure=detail, reason=failed.reason)

    def _compare(self, view: _View, place: _Place) -> None:
        """Compare an environment's incidents with the ledger. Raises SendError, QueueError and LedgerError."""
        now, look = self.clock(), view.look
        resting = {share.incident_id for share in self._shares(view, place, "snoozed") if share.snoozed}
        view.asleep.update(dict.fromkeys(resting, now))
        since = look.last - OVERLAP_SECONDS if look.last else look.since
        shares = {share.incident_id: share for share in self._shares(view, place, "resolved", since)}
        shares |= {share.incident_id: share for share in self._shares(view, place, "shared")}
        for share in shares.values():
            if not view.deadline.remaining():
                raise NoAnswer(Reason.TIMEOUT, "there was no time to compare them all", asked=False)
            # What lies in a folder need not be what the folder is called.
            if share.snoozed and share.active is not False:
                view.asleep[share.incident_id] = now
            elif share.incident_id not in resting and not _is_fresh(share, now):
                view.counts["compared"] += 1
                self._compare_one(view, place, share)
                view.asleep.pop(share.incident_id, None)

    def _shares(self, view: _View, place: _Place, folder: str, since: float | None = None) -> Iterator[Share]:
        """The shared incidents of a folder; what is over `since` then is not waited for, and may be among them.

        Raises SendError when BigPanda does not tell them all.
        """
        ids: set[str] = set()
        for page in range(1, MAX_PAGES + 1):
            ask = partial(self.bigpanda.incidents, view.access, place.environment_id, folder, page, since)
            listing = self._asked(view, "incidents", ask)
            shares = [share for item in listing.items if (share := _share(item, place.environment_id))]
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
        """Compare one incident with what the ledger knows of it."""
        state, known = _state(share, self.clock()), list(self._known(view, share))
        for each in known:
            self._compare_known(view, place, share, state, each)
        # What has no time stamp may well have happened since the channel was looked at first.
        is_ours = state.version is None or state.version[0] >= view.look.since
        if known or not is_ours or not state.is_open:
            return
        for recipients in place.recipients:
            job = self._keep(view, place, share, recipients)
            if view.access.callbacks:
                # BigPanda holds what comes after a first share until it hears that it arrived.
                self.keeper.keep(release_job(job, FIRST_EVENT), view.deadline, until=self.clock())
        view.counts["missed"] += 1

    def _compare_known(self, view: _View, place: _Place, share: Share, state: State, known: _Known) -> None:
        recipients, entry = known
        woken = self._woken(view, share, known) if state.is_critical else None
        if woken or not is_known(entry, state, self.clock()):
            judgement = judge_change(woken or entry, state, view.channel.policy.notify_on)
            if judgement.standing == Standing.OWED:
                self._keep(view, place, share, recipients)
                view.counts["woken" if woken else "missed"] += 1
                return
        if self._is_left_open(view, share, state, entry):
            self._follow(view, share, recipients)
            view.left[share.incident_id] = self.clock()
            view.counts["left_open"] += 1

    def _woken(self, view: _View, share: Share, known: _Known) -> Entry | None:
        """The entry, once it says that a snooze is over; None where there was none, or people were told of it since."""
        slept_at = view.asleep.get(share.incident_id)
        if slept_at is None:
            return None
        name, entry = key(view.channel.name, known.recipients, share.incident_id), known.entry
        for _ in range(MAX_RACES):
            is_told_open = entry.announced is not None and entry.announced.is_open
            if not is_told_open or (entry.signals and entry.signals[-1] > slept_at):
                return None
            if written := self.ledger.write(name, entry, entry.woken()):
                return written
            entry = self.ledger.read(name)
        raise LedgerError("the entry was changed each time it was read")

    def _known(self, view: _View, share: Share) -> Iterator[_Known]:
        """The entries of an incident: its shares may have named any of the channel's recipients."""
        for recipients in view.everywhere:
            entry = self.ledger.read(key(view.channel.name, recipients, share.incident_id))
            if entry.sequence:
                yield _Known(recipients, entry)

    def _keep(self, view: _View, place: _Place, share: Share, recipients: tuple[str, ...]) -> Job:
        """Put a job for what was missed on the retry queue. Raises QueueError when it does not take it."""
        # What comes while BigPanda is asked for the details is newer than this.
        now = self.clock()
        whole = self._whole(view, place, share)
        body = json.dumps(whole.document).encode()
        job = new_job(view.channel, whole, body, recipients, _trail(share), now)
        if not self.keeper.keep(job, view.deadline, until=now):
            raise QueueError("the retry queue did not take what was missed")
        return job

    def _whole(self, view: _View, place: _Place, share: Share) -> Share:
        """The share with the details of its alerts; as it is, where BigPanda does not tell them: a page needs none."""
        ask = partial(self.bigpanda.incident, view.access, Incident(place.environment_id, share.incident_id))
        try:
            found = _share(self._asked(view, "incident", ask), place.environment_id)
        except SendError:
            return share
        return found if found and found.incident_id == share.incident_id else share

    def _is_left_open(self, view: _View, share: Share, state: State, entry: Entry) -> bool:
        """Whether a page may go on although its incident is over, and whoever had to end it gave up."""
        is_over = not state.is_open and entry.announced is not None and not entry.announced.is_open
        if not is_over or view.channel.rest is None or share.incident_id in view.left:
            return False
        now = self.clock()
        is_quiet = all(now - raised.at > LEFT_OPEN_SECONDS for raised in entry.raised)
        unseen = (raised for raised in entry.raised if raised.is_open and not raised.pages and not raised.is_lost)
        is_followed = any(now - raised.at < FORGOTTEN_SECONDS for raised in unseen)
        return is_quiet and (is_followed or any(to_end(entry, replaces=view.channel.policy.replace)))

    def _follow(self, view: _View, share: Share, recipients: tuple[str, ...]) -> None:
        """Ask the worker to end pages. Raises QueueError when the retry queue does not take it."""
        now = self.clock()
        job = new_job(view.channel, share, b"{}", recipients, _trail(share), now)
        followup = replace(job, kind="followup", revived_at=timestamp(now))
        if not self.keeper.keep(followup, view.deadline, until=now):
            raise QueueError("the retry queue did not take what ends a page")


def _share(item: Mapping[str, Any], environment_id: str) -> Share | None:
    try:
        return incident.parse(as_webhook(item, environment_id))
    except BadRequest:
        return None


def _is_shared(share: Share) -> bool:
    """Whether BigPanda does not say that nobody was told of it."""
    return share.document["incident"].get("shared") is not False


def _is_fresh(share: Share, now: float) -> bool:
    """Whether it changed just now, so that its own share may be on its way."""
    version = trusted(share.version, now)
    return version is not None and now - (share.changed_on or version[0]) < GRACE_SECONDS


def _state(share: Share, now: float) -> State:
    """The state that a look compares. That its alerts have the names that they have in webhooks is not known."""
    return replace(State.of(share, now), version=trusted(share.version, now), alerts=frozenset())


def _trail(share: Share) -> str:
    """What leads from a line in a log to the look that found something."""
    return f"reconcile-{share.incident_id}"[:100]
