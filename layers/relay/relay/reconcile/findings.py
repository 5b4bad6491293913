"""Findings of a comparison: incidents of BigPanda's listing, and the states of them to queue. Pure code."""

from copy import replace
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from relay.incidents.share import Share
from relay.incidents.transition import State
from relay.ledger.entry import Entry
from relay.ledger.sources import Recipients
from relay.reconcile.notes import ChannelNote, Difference, short_name
from relay.reconcile.piece import Member


class Seen(NamedTuple):
    """An incident in BigPanda's listing.

    Attributes:
        share: The incident, converted into a share.
        state: Its state, as it is compared with the ledger. It came when BigPanda was asked for it.
    """

    share: Share
    state: State


class Cause(StrEnum):
    """Cause for queueing a state that BigPanda shows. MISSED and SNOOZE_OVER are counted in a run's metrics."""

    # No share of the state came.
    MISSED = "missed"
    # A snooze of the incident ended.
    SNOOZE_OVER = "snooze_over"
    # The ledger has a later resolve of the open incident. It may be forged.
    DISPUTED_END = "disputed_end"


class KnownEntry(NamedTuple):
    """A ledger entry of an incident. An incident has one for each set of recipients in webhook URLs.

    Attributes:
        recipients: Recipients in the webhook's URL; empty if it names none.
        entry: The entry.
    """

    recipients: Recipients = ()
    entry: Entry = Entry()


class StateToQueue(NamedTuple):
    """A state to queue as jobs for a channel.

    Attributes:
        cause: Cause of queueing it.
        member: The channel.
        seen: The incident in BigPanda's listing.
        entries: Ledger entries for which it is queued: one job for each.
        is_first: True if the channel's ledger has no entry of the incident.
    """

    cause: Cause
    member: Member
    seen: Seen
    entries: tuple[KnownEntry, ...]
    is_first: bool


@dataclass
class Compared:
    """Result of the comparison for one channel.

    Attributes:
        member: The channel.
        before: Its note (the state of its comparisons) as it was read.
        note: Its note as it will be written, apart from `differing`.
        differing: Incidents whose state differs from the ledger, by their short names.
        findings: States to queue.
        known: Short names of incidents that have an entry in its ledger, or that the channel signals without an entry.
        unknown: Short names of open incidents without an entry that changed after the channel's first comparison. Only
            for channels that report such incidents.
        waits: True if a resolved incident differs, but for less than SETTLES_SECONDS, so that the next run must list it
            again.
    """

    member: Member
    before: ChannelNote
    note: ChannelNote
    differing: dict[str, Difference]
    findings: list[StateToQueue] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    waits: bool = False

    @property
    def changed(self) -> ChannelNote | None:
        """The channel's note to write; None if it did not change. The note keeps the state of its comparisons."""
        note = replace(self.note, differing=self.differing)
        return None if note == self.before else note

    def queued(self, finding: StateToQueue, at: float) -> None:
        """Record in `differing` that the jobs of a finding were queued at `at` (epoch seconds).

        An ended snooze is no difference of states, so nothing is recorded for it here.
        """
        name = short_name(finding.seen.share.incident_id)
        if finding.cause != Cause.SNOOZE_OVER:
            self.differing[name] = replace(self.differing[name], queued=at)


def as_seen(share: Share, now: float) -> Seen:
    """Return an incident of the listing with its state as of `now` (epoch seconds).

    The state has no alerts: it is not documented if their ids in the API and in webhooks are the same.
    """
    return Seen(share, State.of(share, now).without_alerts())
