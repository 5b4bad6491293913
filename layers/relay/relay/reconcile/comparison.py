"""Comparison of BigPanda's incidents with a channel's ledger: what was missed, and what woke from a snooze.

The ledger is read in batches. The channel's secret is read only if its ledger differs from what BigPanda says.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import replace
from dataclasses import dataclass, field
from typing import NamedTuple

from relay.channels.cache import ChannelCache
from relay.channels.channel import Access, Channel
from relay.delivery.decision import Standing, is_known, judge_change
from relay.errors import LedgerError, UnknownChannel
from relay.incidents.share import Share
from relay.incidents.transition import State
from relay.ledger.entry import Entry, key
from relay.ledger.ledger import Ledger
from relay.ledger.sources import Recipients, Sources
from relay.reconcile.chore import Member
from relay.reconcile.notes import ChannelNote, Difference, group_name, place_name, short

# BigPanda's own webhook has so much time to come, and a ledger that was down to hear of what was sent without it.
SETTLES_SECONDS = 90.0
# What was queued is not queued again as long as a worker may be about to see to it.
QUEUED_SECONDS = 3600.0
# A place that no run compared for so long is compared as if for the first time.
FORGOTTEN_SECONDS = 24 * 3600.0


class Group(NamedTuple):
    """The channels that share a listing: their access to BigPanda, and the environment."""

    access: Access
    environment_id: str

    @property
    def name(self) -> str:
        """The name of the group's note."""
        return group_name(self.access, self.environment_id)

    @property
    def place(self) -> str:
        """The name of the place, in the notes of its channels."""
        return place_name(self.access, self.environment_id)

    def has(self, channel: Channel) -> bool:
        """True if the channel is still compared by the group's key, base URL and query."""
        return group_of(channel) == _common(self.access)


class Seen(NamedTuple):
    """An incident as BigPanda lists it, and its state."""

    share: Share
    state: State


class Finding(NamedTuple):
    """Something that a channel did not hear of.

    Attributes:
        member: The channel.
        seen: The incident as BigPanda lists it.
        recipients: The sets of recipients for which it is relayed.
        is_first: The channel's ledger knows nothing of the incident.
        is_woken: A snooze ended on it.
    """

    member: Member
    seen: Seen
    recipients: tuple[Recipients, ...]
    is_first: bool
    is_woken: bool


@dataclass
class Compared:
    """The result for one channel.

    Attributes:
        member: The channel.
        before: Its note as it was read.
        note: Its note as it is to be written, but for `differing`.
        differing: What its ledger does not have.
        findings: What is to be relayed.
        known: Incidents of which its ledger has something, or for which it rings.
        unknown: Open incidents of which it has nothing, and that changed since the channel is compared; only where
            such an incident is reported, not relayed.
        waits: Something that is over is not settled yet.
    """

    member: Member
    before: ChannelNote
    note: ChannelNote
    differing: dict[str, Difference]
    findings: list[Finding] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    waits: bool = False

    @property
    def changed(self) -> ChannelNote | None:
        """The note to write; None if it is as it was."""
        note = replace(self.note, differing=self.differing)
        return None if note == self.before else note

    def queued(self, finding: Finding, at: float) -> None:
        """Note that a missed state was put on the retry queue at a time (epoch seconds)."""
        name = short(finding.seen.share.incident_id)
        if not finding.is_woken:
            self.differing[name] = replace(self.differing[name], queued=at)


class Known(NamedTuple):
    """An incident that the ledger knows, by the recipients that shares of it named."""

    recipients: Recipients
    entry: Entry


# By incident.
type Entries = Mapping[str, list[Known]]


@dataclass(frozen=True)
class Comparison:
    """Compares incidents with ledgers. `clock` gives epoch seconds."""

    channels: ChannelCache
    sources: Sources
    ledger: Ledger
    clock: Callable[[], float]

    def read(self, members: Sequence[Member], incidents: Sequence[Seen]) -> dict[str, Entries]:
        """Return what the ledgers of channels have of incidents, by channel: one batch for many. Raises LedgerError."""
        keys: dict[tuple[str, str, Recipients], str] = {}
        for member in members:
            ids = [each.share.incident_id for each in incidents]
            named = self.sources.of_incidents(member.name, ids) if member.names_recipients else dict.fromkeys(ids, ())
            # An answer that is missing must not pass for one that there is nothing.
            if len(named) < len(ids):
                raise LedgerError("DynamoDB did not answer for all incidents")
            for incident_id in ids:
                # Webhooks' URLs may have named recipients, and each set of them has an entry.
                for each in ((), *named[incident_id]):
                    keys[member.name, incident_id, each] = key(member.name, each, incident_id)
        found = self.ledger.read_many(set(keys.values()))
        if any(name not in found for name in keys.values()):
            raise LedgerError("DynamoDB did not answer for all incidents")
        entries: dict[str, dict[str, list[Known]]] = {member.name: {} for member in members}
        for (channel, incident_id, recipients), name in keys.items():
            # Whoever has the webhook's token may name anybody. Only who was told of the incident is told more of it.
            if found[name].sequence and (not recipients or found[name].announced):
                entries[channel].setdefault(incident_id, []).append(Known(recipients, found[name]))
        return dict(entries)

    def compare(
        self,
        group: Group,
        member: Member,
        before: ChannelNote,
        incidents: Sequence[Seen],
        entries: Entries,
        asleep: Mapping[str, float],
    ) -> Compared:
        """Compare a channel's entries with incidents; `asleep` has when each was seen snoozed (epoch seconds).

        Raises LedgerError, and ChannelError if something differs and the channel can't be read.
        """
        now = self.clock()
        note = before if now - before.seen < FORGOTTEN_SECONDS else ChannelNote(now, now, {}, before.sequence)
        recent = {name: each for name, each in note.differing.items() if now - each.since < FORGOTTEN_SECONDS}
        compared = Compared(member, before, note, recent)
        for seen in incidents:
            self._compare_one(group, compared, seen, entries.get(seen.share.incident_id, []), asleep)
        return compared

    def channel(self, group: Group, member: Member) -> Channel | None:
        """Return a member's channel, or None if it left the group since the run was planned. Raises ChannelError."""
        try:
            channel = self.channels.get(member.name)
        except UnknownChannel:
            return None
        return channel if group.has(channel) else None

    def _compare_one(
        self, group: Group, compared: Compared, seen: Seen, known: list[Known], asleep: Mapping[str, float]
    ) -> None:
        state, name, member = seen.state, short(seen.share.incident_id), compared.member
        if known:
            compared.known.add(name)
        woken = [each.recipients for each in known if self._is_woken(group, member, seen, each, asleep)]
        differing = [
            each for each in known if each.recipients not in woken and self._is_missed(group, member, state, each)
        ]
        missed = [each.recipients for each in differing]
        # What has no time stamp may well have happened since the channel is compared.
        is_ours = state.version is None or state.version[0] >= compared.note.since
        if not known and state.is_open and is_ours and member.rings:
            missed = [()]
            # It rings here, so no other channel need report it.
            compared.known.add(name)
        elif not known and state.is_open and is_ours:
            compared.unknown.add(name)
        if missed and not self._is_settled(compared, name, state, differing):
            compared.waits |= not state.is_open and not compared.differing[name].queued
            missed = []
        elif not missed:
            compared.differing.pop(name, None)
        for recipients, is_woken in ((woken, True), (missed, False)):
            if recipients:
                compared.findings.append(Finding(member, seen, tuple(recipients), not known, is_woken))

    def _is_settled(self, compared: Compared, name: str, state: State, differing: Sequence[Known]) -> bool:
        """True if the difference was seen by an earlier reconcile run, too, and no job for it is on the retry queue.

        A job was queued for an earlier difference of the same kind, if the ledger has since kept that job's state or a
        later one: an incident that resolved, reopened and resolved again differs anew.
        """
        now, known = self.clock(), compared.differing.get(name)
        mark = mark_of(state)
        is_new = known is None or known.mark != mark or (known.queued > 0 and _has_moved_on(differing, known.queued))
        difference = Difference(mark, now) if known is None or is_new else known
        compared.differing[name] = difference
        return now - difference.since >= SETTLES_SECONDS and now - difference.queued >= QUEUED_SECONDS

    def _is_missed(self, group: Group, member: Member, state: State, known: Known) -> bool:
        if is_known(known.entry, state, self.clock()):
            return False
        channel = self.channel(group, member)
        if channel is None:
            return False
        # A resolve that nobody announces ends pages all the same.
        leaves_pages = channel.rest is not None and not state.is_open and known.entry.has_live_pages()
        is_owed = judge_change(known.entry, state, channel.policy.notify_on).standing == Standing.OWED
        return is_owed or leaves_pages

    def _is_woken(self, group: Group, member: Member, seen: Seen, known: Known, asleep: Mapping[str, float]) -> bool:
        """True if a snooze ended on a critical, and no signal was sent since; its entry says so then."""
        state, slept_at = seen.state, asleep.get(short(seen.share.incident_id))
        channel = self.channel(group, member) if slept_at is not None and state.is_critical else None
        if slept_at is None or channel is None:
            return False
        name, since = key(member.name, known.recipients, seen.share.incident_id), slept_at

        def is_told(entry: Entry) -> bool:
            return bool(entry.signals) and entry.signals[-1] > since

        entry = self.ledger.change(name, lambda each: each if is_told(each) else each.woken(), known.entry)
        if is_told(entry) or not entry.is_woken:
            return False
        return judge_change(entry, state, channel.policy.notify_on).standing == Standing.OWED


def group_of(channel: Channel) -> tuple[str, str, str | None] | None:
    """Return what a channel has in common with its group, besides the environment; None if it is not compared."""
    return _common(channel.bigpanda) if channel.bigpanda and channel.bigpanda.reconcile else None


def _common(access: Access) -> tuple[str, str, str | None]:
    return access.base_url, access.api_key, access.reconcile_query


def seen_at(share: Share, now: float) -> Seen:
    """Return an incident as it is compared at `now` (epoch seconds).

    Its alerts are not compared: that the API gives them the ids that they have in webhooks is not documented.
    """
    return Seen(share, replace(State.of(share, now), alerts=frozenset()))


def mark_of(state: State) -> str:
    """Return a short name of a state, as far as two runs must see the same."""
    return f"{state.is_open:d}{state.rank}"


def _has_moved_on(differing: Sequence[Known], queued: float) -> bool:
    """True if the ledger kept a state that came no earlier than the job that was queued then."""
    return any(each.entry.kept is not None and each.entry.kept.came >= queued for each in differing)
