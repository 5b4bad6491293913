"""Reports of a reconcile run about open incidents that no channel of a group knows.

A group is the channels that are compared with the same listing of BigPanda's incidents (`reconcile.group`). BigPanda's
API does not name the channels that an incident is shared with. Such an incident may belong to none of them, so a signal
could page the wrong people. It is reported instead.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import replace
from dataclasses import dataclass
from functools import partial

from relay.channels.cache import ChannelCache
from relay.delivery.fallback import Fallback, UnknownCritical
from relay.failures.errors import ChannelError
from relay.incidents.details import details_of
from relay.incidents.share import Share
from relay.reconcile.comparison import SETTLES_SECONDS, summary_of
from relay.reconcile.findings import Seen
from relay.reconcile.notes import Difference, short_name
from relay.reconcile.run import PieceProgress
from relay.telemetry.telemetry import Telemetry

# Time limit of the publication to the fallback topic.
FALLBACK_SECONDS = 3.0


@dataclass(frozen=True)
class Reporter:
    """Reports open incidents that no channel knows, to the log and to the fallback topic.

    Attributes:
        channels: The cached channels, for their pauses.
        fallback: Publisher to the fallback topic.
        telemetry: Log and metrics.
        clock: The time in epoch seconds.
    """

    channels: ChannelCache
    fallback: Fallback
    telemetry: Telemetry
    clock: Callable[[], float]

    def report(self, run: PieceProgress) -> None:
        """Report open incidents that no channel of the group knows: all to the log, criticals to the fallback topic.

        A channel knows an incident that has an entry in its ledger. An incident that did not change since the last
        complete run is not reported: an earlier run reported it, or it changed before the comparisons began.
        """
        now, names = self.clock(), {short_name(name): seen for name, seen in run.incidents.items()}
        came = [name for name in run.known & run.noted_unknown.keys() if run.noted_unknown.pop(name).queued]
        for name in names.keys() - run.unknown:
            run.noted_unknown.pop(name, None)
        found: list[Seen] = []
        for name in sorted(run.unknown - run.known & names.keys()):
            state, known = names[name].state, run.noted_unknown.get(name)
            is_recent = state.version is None or state.version[0] >= run.since or name in run.snoozed_at
            if known is None and not is_recent:
                continue
            if known is None or known.summary != summary_of(state):
                run.noted_unknown[name] = Difference(summary_of(state), now)
            elif not known.queued and now - known.since >= SETTLES_SECONDS:
                found.append(names[name])
        reported = self._notified(run, found)
        for each in found:
            # Renewed, since a note forgets an incident after a day, and a pause may delay the report for longer.
            name = short_name(each.share.incident_id)
            run.noted_unknown[name] = replace(run.noted_unknown[name], since=now - SETTLES_SECONDS)
        for share, _ in reported:
            name = short_name(share.incident_id)
            run.noted_unknown[name] = replace(run.noted_unknown[name], queued=now)
            self.telemetry.unknown_incident(share.incident_id, share.status, [each.name for each in run.members])
        run.counts["unknown"] += len(reported)
        run.note = run.note.counting(now, found=len(reported), came=len(came))

    def _notified(self, run: PieceProgress, found: Sequence[Seen]) -> list[Seen]:
        """Notify the fallback topic of the criticals in `found`. Return the incidents that count as reported.

        The criticals do not count as reported if the notification failed, or if all channels that they may belong to
        are paused or in shadow mode. Then a later run reports them.
        """
        criticals = [each for each in found if each.state.is_critical]
        others = [each for each in found if not each.state.is_critical]
        if not criticals:
            return others
        channels = [each.name for each in run.members if not each.signals and not self._is_silent(each.name)]
        if not channels:
            return others
        publish = partial(self.fallback.notify_of_unknown, channels, [_missed(each.share) for each in criticals])
        try:
            is_notified = run.deadline.run(
                publish, part="fallback", at_least=FALLBACK_SECONDS, at_most=FALLBACK_SECONDS
            )
        except TimeoutError:
            is_notified = False
        if not is_notified:
            self.telemetry.notice("fallback_failed", "the fallback topic could not be notified of a missed critical")
        return [*criticals, *others] if is_notified else others

    def _is_silent(self, name: str) -> bool:
        """True if the channel sends nothing now: in shadow mode, or wholly paused. False if it can't be read."""
        with suppress(ChannelError):
            return self.channels.for_work(name).policy.stops_all(self.clock())
        return False


def _missed(share: Share) -> UnknownCritical:
    found = details_of(share)
    described = (*(alert.description for alert in found.alerts), found.description)
    return UnknownCritical(share.incident_id, next(filter(None, described), ""), found.link)
