"""Comparison of BigPanda's incidents with the ledgers of channels: finds missed states and ended snoozes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import batched

from relay.deadline import Clock
from relay.delivery.rules import Standing, judge_change, was_shared
from relay.ledger.entry import Entry, entry_key, shadow_key
from relay.ledger.sources import Recipients, Sources
from relay.ledger.table import Ledger
from relay.reconcile.findings import Cause, Finding, KnownEntry, Progress, Seen
from relay.reconcile.history import ChannelHistory, Difference, Member

# A difference counts only after this time: the webhook may be on its way, or the ledger may lack a signal that was sent
# while it was down.
SETTLES_SECONDS = 90.0
# A queued state is not queued again for this time, since its job may still be at work.
QUEUED_SECONDS = 3600.0
# Entries between two checks of the time.
ENTRIES_AT_ONCE = 1_000


@dataclass(frozen=True)
class Comparison:
    """Compares BigPanda's incidents with the ledger entries of channels."""

    sources: Sources
    ledger: Ledger
    clock: Clock

    def compare(self, run: Progress, incidents: Sequence[Seen]) -> None:
        """Compare `incidents`, a part of a listing, with the ledger entries of the listing's channels.

        The findings replace those of `run` for the same channel and incident. Raises LedgerError.
        """
        for seen in incidents:
            run.unknown.pop(seen.name, None)
            for member in run.listing.members:
                run.firsts.pop((member.name, seen.name), None)
                run.unjudged.pop((member.name, seen.name), None)
        at_once = max(1, ENTRIES_AT_ONCE // max(1, len(incidents)))
        for members in batched(run.listing.members, at_once, strict=False):
            run.go_on()
            entries = self._read(members, incidents)
            for member in members:
                for seen in incidents:
                    known = entries.get((member.name, seen.share.incident_id), [])
                    found = self._compare_one(run, member, seen, known)
                    run.findings.pop((member.name, seen.name), None)
                    if found:
                        run.findings[member.name, seen.name] = found

    def recognize(self, run: Progress) -> None:
        """Add to `run.known` the incidents of which a channel that this run did not compare has a ledger entry.

        A channel is not compared if its secret can't be read. If the run failed, no channel of the listing counts as
        compared. Raises LedgerError.
        """
        failed = [each.name for each in run.listing.members if run.failure]
        unknown = {seen.share.incident_id: name for name, seen in run.to_report.items()}
        for channel in (*failed, *run.listing.unread) if unknown else ():
            run.go_on()
            named = self.sources.of_incidents(channel, list(unknown))
            keys = {entry_key(channel, each, name): name for name in unknown for each in ((), *named.get(name, ()))}
            found = self.ledger.read_many(set(keys))
            run.known |= {unknown[keys[name]] for name, entry in found.items() if entry.sequence}

    def _read(self, members: Sequence[Member], incidents: Sequence[Seen]) -> dict[tuple[str, str], list[KnownEntry]]:
        """Return the entries by channel and incident id."""
        keys: dict[tuple[str, str, Recipients], str] = {}
        for member in members:
            ids = [each.share.incident_id for each in incidents]
            named = self.sources.of_incidents(member.name, ids) if member.names_recipients else dict.fromkeys(ids, ())
            for incident_id in ids:
                # Each set of recipients in webhook URLs has an entry of its own.
                for each in ((), *named[incident_id]):
                    keys[member.name, incident_id, each] = entry_key(member.name, each, incident_id)
        found = self.ledger.read_many(set(keys.values()))
        # A sender with the webhook's token can name any recipients. Only recipients of an announced state count, or of
        # one that would have been announced but for shadow mode.
        unannounced = {
            name
            for (*_, recipients), name in keys.items()
            if recipients and found[name].sequence and not found[name].announced
        }
        shadows = self.ledger.read_many(set(map(shadow_key, unannounced)))
        entries: dict[tuple[str, str], list[KnownEntry]] = {}
        for (channel, incident_id, recipients), name in keys.items():
            is_known = name not in unannounced or shadows[shadow_key(name)].announced
            if found[name].sequence and is_known:
                entries.setdefault((channel, incident_id), []).append(KnownEntry(recipients, found[name]))
        return entries

    def _compare_one(self, run: Progress, member: Member, seen: Seen, known: list[KnownEntry]) -> list[Finding]:
        """Compare an incident with a channel's ledger entries of it (`known`). Return the findings, to be queued."""
        state, history = seen.state, run.history.channels[member.name]
        snoozed_at = run.history.snoozed_at.get(seen.name)
        snooze_over = [each for each in known if self._is_snooze_over(member, seen, each, snoozed_at)]
        others = [each for each in known if each not in snooze_over]
        missed = [each for each in others if self._is_missed(member, seen, each)]
        disputed = [each for each in others if self._is_end_disputed(member, seen, each)]
        # A state without timestamps may be newer than the channel's first comparison, so it counts.
        is_ours = not known and state.is_open and (state.version is None or state.version[0] >= history.since)
        is_ours = is_ours and seen.name not in history.others
        if is_ours and member.signals:
            missed = [KnownEntry()]
            run.unjudged[member.name, seen.name] = seen
        elif is_ours:
            run.unknown[seen.name] = seen
        if known:
            run.known.add(seen.name)
            run.known_to.setdefault(member.name, []).append(seen)
        if (missed or disputed) and not self._has_lasted(history, seen, [*missed, *disputed]):
            is_queued = history.differing[seen.name].queued > 0
            run.waits |= not state.is_open and not is_queued
            if is_queued and (member.name, seen.name) in run.unjudged:
                del run.unjudged[member.name, seen.name]
                run.known.add(seen.name)
            missed, disputed = [], []
        elif not (missed or disputed):
            history.differing.pop(seen.name, None)
        if missed and not known:
            run.firsts[member.name, seen.name] = Finding(Cause.MISSED, member, seen, tuple(missed))
            missed = []
        by_cause = {Cause.SNOOZE_OVER: snooze_over, Cause.MISSED: missed, Cause.DISPUTED_END: disputed}
        return [Finding(cause, member, seen, tuple(entries)) for cause, entries in by_cause.items() if entries]

    def _has_lasted(self, history: ChannelHistory, seen: Seen, differing: Sequence[KnownEntry]) -> bool:
        """Record a difference in the channel's history. Return True if it has lasted for SETTLES_SECONDS.

        False if a job for it was queued within QUEUED_SECONDS. The difference begins anew if BigPanda's state changed,
        or if a differing entry recorded a state after that job was queued.
        """
        now, known = self.clock(), history.differing.get(seen.name)
        is_new = (
            known is None
            or known.summary != seen.summary
            or (known.queued > 0 and _has_moved_on(differing, known.queued))
        )
        difference = Difference(seen.summary, now) if known is None or is_new else known
        history.differing[seen.name] = difference
        return now - difference.since >= SETTLES_SECONDS and now - difference.queued >= QUEUED_SECONDS

    def _is_missed(self, member: Member, seen: Seen, known: KnownEntry) -> bool:
        state, entry, channel = seen.state, known.entry, member.channel
        if was_shared(entry, state, self.clock()):
            return False
        # A resolve terminates pages even if the policy does not announce it.
        newest = entry.newest
        leaves_pages = channel.rest is not None and not state.is_open and entry.has_live_pages()
        # The debt of an incident that is over would announce a state that has passed.
        is_stale = entry.debt.is_owed and newest is not None and newest.is_open and not state.is_open
        return _is_owed(member, seen, entry) or leaves_pages or is_stale

    def _is_end_disputed(self, member: Member, seen: Seen, known: KnownEntry) -> bool:
        """True if the ledger has a resolve that is later than the open state that BigPanda shows for the incident.

        The resolve may be forged, with timestamps that its sender chose. An owed resolve counts, too: it may have ended
        pages. False if the policy does not confirm resolves, or does not announce that open state.
        """
        state, entry, now = seen.state, known.entry, self.clock()
        is_shared_end = entry.is_over and was_shared(entry, state, now)
        if not (state.is_open and is_shared_end) or entry.is_busy(now):
            return False
        return member.channel.policy.confirm_resolve and _is_owed(member, seen, entry)

    def _is_snooze_over(self, member: Member, seen: Seen, known: KnownEntry, snoozed_at: float | None) -> bool:
        """True if the snooze of a critical ended, and no signal of the incident was sent since then.

        The end of the snooze is recorded in the incident's ledger entry. `snoozed_at` is the time at which the incident
        was last seen snoozed (epoch seconds); None if it never was.
        """
        if snoozed_at is None or not seen.state.is_critical:
            return False

        def was_signalled(entry: Entry) -> bool:
            return bool(entry.signal_times) and entry.signal_times[-1] > snoozed_at

        name = entry_key(member.name, known.recipients, seen.share.incident_id)
        entry = self.ledger.change(
            name, lambda each: each if was_signalled(each) else each.with_snooze_over(), known.entry
        )
        return not was_signalled(entry) and entry.is_snooze_over and _is_owed(member, seen, entry)


def _is_owed(member: Member, seen: Seen, entry: Entry) -> bool:
    return judge_change(entry, seen.state, member.channel.policy.notify_on).standing == Standing.OWED


def _has_moved_on(differing: Sequence[KnownEntry], queued: float) -> bool:
    """True if an entry has a state that came after the incident's job was queued, at `queued` (epoch seconds)."""
    return any(each.entry.newest is not None and each.entry.newest.came >= queued for each in differing)
