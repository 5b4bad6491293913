"""Reports of a reconcile run about open incidents that no channel knows.

BigPanda's API does not name the channels that an incident is shared with. Such an incident may belong to none of the
channels that compare the listing, so a signal could page the wrong people. It is reported instead.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import replace
from dataclasses import dataclass
from functools import partial

from relay.channels.cache import ChannelCache
from relay.delivery.fallback import Fallback, UnknownCritical
from relay.failures import ChannelError
from relay.incidents.details import details_of
from relay.incidents.share import Share
from relay.reconcile.comparison import SETTLES_SECONDS
from relay.reconcile.findings import Progress, Seen
from relay.reconcile.history import Difference
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

    def report(self, run: Progress) -> None:
        """Report open incidents that no channel of the listing knows: to the log, criticals to the fallback topic, too.

        A channel knows an incident that has an entry in its ledger. An incident that did not change since the last
        complete run is not reported: an earlier run reported it, or it changed before the comparisons began.
        """
        now, noted = self.clock(), run.history.unknown
        unknown = {name: seen for part in run.parts for name, seen in part.unknown.items() if name not in run.known}
        came = [name for name in run.known & noted.keys() if noted[name].queued]
        for name in run.listed - unknown.keys():
            noted.pop(name, None)
        since = min(part.since for part in run.parts)
        found: list[Seen] = []
        for name, seen in sorted(unknown.items()):
            known, version = noted.get(name), seen.state.version
            is_recent = version is None or version[0] >= since or name in run.history.snoozed_at
            if known is None and not is_recent:
                continue
            if known is None or known.summary != seen.summary:
                noted[name] = Difference(seen.summary, now)
            elif not known.queued and now - known.since >= SETTLES_SECONDS:
                found.append(seen)
        for seen in found:
            # Renewed, since a history forgets an incident after a day, and a pause may delay the report for longer.
            noted[seen.name] = replace(noted[seen.name], since=now - SETTLES_SECONDS)
        channels = [each for part in run.parts for each in part.group.members]
        reported = self._notified(run, [each.name for each in channels if not each.signals], found)
        for seen in reported:
            noted[seen.name] = replace(noted[seen.name], queued=now)
            share = seen.share
            self.telemetry.unknown_incident(share.incident_id, share.status, [each.name for each in channels])
            for part in run.parts:
                part.counts["unknown"] += seen.name in part.unknown
        run.history.count(now, found=len(reported), came=len(came))

    def _notified(self, run: Progress, channels: Sequence[str], found: Sequence[Seen]) -> list[Seen]:
        """Notify the fallback topic of the criticals in `found`. Return the incidents that count as reported.

        `channels` are those that may own them. The criticals do not count as reported if the notification failed, or if
        all of these channels are paused or in shadow mode. Then a later run reports them.
        """
        criticals = [each for each in found if each.state.is_critical]
        others = [each for each in found if not each.state.is_critical]
        channels = [name for name in channels if not self._is_silent(name)] if criticals else []
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
