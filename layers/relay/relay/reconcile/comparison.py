"""Comparison of BigPanda's incidents with a channel's ledger: finds missed states and ended snoozes.

The ledger is read in batches. The channel's secret is read only if its ledger differs from BigPanda.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import replace
from dataclasses import dataclass

from relay.channels.cache import ChannelCache
from relay.channels.channel import Channel
from relay.delivery.needs_signal import Standing, judge_change, was_shared
from relay.failures.errors import LedgerError, UnknownChannel
from relay.incidents.transition import State
from relay.ledger.entry import Entry
from relay.ledger.entry_key import key, shadow_of
from relay.ledger.ledger import Ledger
from relay.ledger.sources import Recipients, Sources
from relay.reconcile.findings import Cause, Compared, KnownEntry, Seen, StateToQueue
from relay.reconcile.group import Group
from relay.reconcile.notes import ChannelNote, Difference, short_name
from relay.reconcile.piece import Member

# A difference counts only after this time: the webhook may be on its way, or the ledger may lack a signal that was sent
# while it was down.
SETTLES_SECONDS = 90.0
# A queued state is not queued again for this time, since its job may still be at work.
QUEUED_SECONDS = 3600.0
# If no run compared a channel's listing for this time, its note is outdated and the comparison starts anew.
LAST_RUN_FORGOTTEN_SECONDS = 24 * 3600.0


# Entries by the incident's id.
type Entries = Mapping[str, list[KnownEntry]]


@dataclass(frozen=True)
class Comparison:
    """Compares BigPanda's incidents with the ledger entries of channels.

    Attributes:
        channels: The cached channels.
        sources: Store of the recipients in webhook URLs, by the incident that was shared with them.
        ledger: The entries of incidents.
        clock: The time in epoch seconds.
    """

    channels: ChannelCache
    sources: Sources
    ledger: Ledger
    clock: Callable[[], float]

    def read(self, members: Sequence[Member], incidents: Sequence[Seen]) -> dict[str, Entries]:
        """Return the ledger entries of these incidents, by channel and incident. Raises LedgerError."""
        keys: dict[tuple[str, str, Recipients], str] = {}
        for member in members:
            ids = [each.share.incident_id for each in incidents]
            named = self.sources.of_incidents(member.name, ids) if member.names_recipients else dict.fromkeys(ids, ())
            # A missing answer must not count as a missing entry.
            if len(named) < len(ids):
                raise LedgerError("DynamoDB did not answer for all incidents")
            for incident_id in ids:
                # Each set of recipients in webhook URLs has an entry of its own.
                for each in ((), *named[incident_id]):
                    keys[member.name, incident_id, each] = key(member.name, each, incident_id)
        found = self._read_all(set(keys.values()))
        # A sender with the webhook's token can name any recipients. Only recipients of an announced state count, or of
        # one that would have been announced but for shadow mode.
        unannounced = {
            name
            for (*_, recipients), name in keys.items()
            if recipients and found[name].sequence and not found[name].announced
        }
        shadows = self._read_all(set(map(shadow_of, unannounced)))
        entries: dict[str, dict[str, list[KnownEntry]]] = {member.name: {} for member in members}
        for (channel, incident_id, recipients), name in keys.items():
            is_known = name not in unannounced or shadows[shadow_of(name)].announced
            if found[name].sequence and is_known:
                entries[channel].setdefault(incident_id, []).append(KnownEntry(recipients, found[name]))
        return dict(entries)

    def _read_all(self, names: set[str]) -> dict[str, Entry]:
        found = self.ledger.read_many(names)
        if any(name not in found for name in names):
            raise LedgerError("DynamoDB did not answer for all incidents")
        return found

    def compare(
        self,
        group: Group,
        member: Member,
        before: ChannelNote,
        incidents: Sequence[Seen],
        entries: Entries,
        snoozed_at: Mapping[str, float],
    ) -> Compared:
        """Compare one channel's ledger entries with BigPanda's incidents.

        `before` is the channel's note (the stored state of its comparisons) from earlier runs. `snoozed_at` has the
        time at which an incident was last seen snoozed (epoch seconds), by its short name. Raises LedgerError. Raises
        ChannelError if an incident differs and the channel can't be read.
        """
        now = self.clock()
        is_forgotten = now - before.seen >= LAST_RUN_FORGOTTEN_SECONDS
        note = replace(before, since=now, seen=now, differing={}) if is_forgotten else before
        recent = {name: each for name, each in note.differing.items() if now - each.since < LAST_RUN_FORGOTTEN_SECONDS}
        compared = Compared(member, before, note, recent)
        for seen in incidents:
            self._compare_one(group, compared, seen, entries.get(seen.share.incident_id, []), snoozed_at)
        return compared

    def channel(self, group: Group, member: Member) -> Channel | None:
        """Return the channel that a member of the run names; None if it was removed or left the group meanwhile.

        Raises ChannelError.
        """
        try:
            channel = self.channels.get(member.name)
        except UnknownChannel:
            return None
        return channel if group.has(channel) else None

    def _compare_one(
        self, group: Group, compared: Compared, seen: Seen, known: list[KnownEntry], snoozed_at: Mapping[str, float]
    ) -> None:
        state, name, member = seen.state, short_name(seen.share.incident_id), compared.member
        if known:
            compared.known.add(name)
        snooze_over = [each for each in known if self._is_snooze_over(group, member, seen, each, snoozed_at)]
        others = [each for each in known if each not in snooze_over]
        differing = missed = [each for each in others if self._is_missed(group, member, state, each)]
        ended = disputed = [each for each in others if self._is_end_disputed(group, member, state, each)]
        # A state without timestamps may be newer than the channel's first comparison, so it counts.
        is_ours = state.version is None or state.version[0] >= compared.note.since
        if not known and state.is_open and is_ours and member.signals:
            missed = [KnownEntry()]
            # This channel signals the incident, so no other channel has to report it.
            compared.known.add(name)
        elif not known and state.is_open and is_ours:
            compared.unknown.add(name)
        if (missed or disputed) and not self._has_lasted(compared, name, state, [*differing, *ended]):
            compared.waits |= not state.is_open and not compared.differing[name].queued
            missed, disputed = [], []
        elif not (missed or disputed):
            compared.differing.pop(name, None)
        by_cause = {Cause.SNOOZE_OVER: snooze_over, Cause.MISSED: missed, Cause.DISPUTED_END: disputed}
        compared.findings += [
            StateToQueue(cause, member, seen, tuple(entries), not known)
            for cause, entries in by_cause.items()
            if entries
        ]

    def _has_lasted(self, compared: Compared, name: str, state: State, differing: Sequence[KnownEntry]) -> bool:
        """True if the incident's state differs from the ledger for long enough to be queued as a job.

        Long enough is SETTLES_SECONDS. False if a job for the difference was queued within QUEUED_SECONDS. Records the
        difference in `compared`. `name` is the incident's short name, `state` BigPanda's state, and `differing` the
        ledger entries that differ from it. The difference counts as new if BigPanda's state has changed. It is also new
        if one of these entries has recorded a state since the job was queued: an incident can resolve, reopen and
        resolve again.
        """
        now, known = self.clock(), compared.differing.get(name)
        summary = summary_of(state)
        is_new = (
            known is None or known.summary != summary or (known.queued > 0 and _has_moved_on(differing, known.queued))
        )
        difference = Difference(summary, now) if known is None or is_new else known
        compared.differing[name] = difference
        return now - difference.since >= SETTLES_SECONDS and now - difference.queued >= QUEUED_SECONDS

    def _is_missed(self, group: Group, member: Member, state: State, known: KnownEntry) -> bool:
        if was_shared(known.entry, state, self.clock()):
            return False
        channel = self.channel(group, member)
        if channel is None:
            return False
        # A resolve terminates pages even if the policy does not announce it.
        entry, newest = known.entry, known.entry.newest
        leaves_pages = channel.rest is not None and not state.is_open and entry.has_live_pages()
        # The debt of an incident that is over would announce a state that has passed.
        is_stale = entry.debt.since is not None and newest is not None and newest.is_open and not state.is_open
        is_owed = judge_change(entry, state, channel.policy.notify_on).standing == Standing.OWED
        return is_owed or leaves_pages or is_stale

    def _is_end_disputed(self, group: Group, member: Member, state: State, known: KnownEntry) -> bool:
        """True if the ledger has a resolve that is later than the open state that BigPanda shows for the incident.

        The resolve may be forged, with timestamps that its sender chose. A resolve that is still owed does not count.
        """
        entry = known.entry
        is_over = entry.is_over and entry.debt.since is None
        if not (state.is_open and is_over and was_shared(entry, state, self.clock())) or entry.is_busy(self.clock()):
            return False
        channel = self.channel(group, member)
        if channel is None or not channel.policy.confirm_resolve:
            return False
        return judge_change(entry, state, channel.policy.notify_on).standing == Standing.OWED

    def _is_snooze_over(
        self, group: Group, member: Member, seen: Seen, known: KnownEntry, snoozed_at: Mapping[str, float]
    ) -> bool:
        """True if the snooze of a critical ended, and no signal of the incident was sent since then.

        The end of the snooze is recorded in the incident's ledger entry. `snoozed_at` has the time at which an incident
        was last seen snoozed (epoch seconds), by its short name.
        """
        state, last_snoozed_at = seen.state, snoozed_at.get(short_name(seen.share.incident_id))
        channel = self.channel(group, member) if last_snoozed_at is not None and state.is_critical else None
        if last_snoozed_at is None or channel is None:
            return False
        name, since = key(member.name, known.recipients, seen.share.incident_id), last_snoozed_at

        def was_signalled(entry: Entry) -> bool:
            return bool(entry.signal_times) and entry.signal_times[-1] > since

        entry = self.ledger.change(
            name, lambda each: each if was_signalled(each) else each.with_snooze_over(), known.entry
        )
        if was_signalled(entry) or not entry.is_snooze_over:
            return False
        return judge_change(entry, state, channel.policy.notify_on).standing == Standing.OWED


def summary_of(state: State) -> str:
    """Return a state as a short text, to see in a later run if BigPanda's state of the incident changed.

    The text holds the parts that are compared: open or not, and status.
    """
    return f"{state.is_open:d}{state.rank}"


def _has_moved_on(differing: Sequence[KnownEntry], queued: float) -> bool:
    """True if one of the ledger entries has a state that came after the incident's job was queued.

    `queued` is the time at which the job was queued (epoch seconds).
    """
    return any(each.entry.newest is not None and each.entry.newest.came >= queued for each in differing)
