"""Reports of a reconcile run: open incidents that no channel of a group knows.

BigPanda does not say with whom an incident is shared, so such an incident may be none of the channels'. To ring for it
would wake people for what is shared with others alone.
"""

from collections.abc import Callable, Sequence
from copy import replace
from dataclasses import dataclass
from functools import partial

from relay.delivery.fallback import Fallback, Missed
from relay.incidents.details import details_of
from relay.incidents.share import Share
from relay.reconcile.comparison import SETTLES_SECONDS, Seen, mark_of
from relay.reconcile.notes import Difference, short
from relay.reconcile.run import Run
from relay.telemetry import Telemetry

FALLBACK_SECONDS = 3.0


@dataclass(frozen=True)
class Reporter:
    """Reports to the log and the fallback topic. `clock` gives epoch seconds."""

    fallback: Fallback
    telemetry: Telemetry
    clock: Callable[[], float]

    def report(self, run: Run) -> None:
        """Report open incidents that no channel of the group knows: in the log, and criticals to the fallback topic.

        An incident that another channel of the group knows was relayed to somebody. One that did not change since the
        last complete run was reported by an earlier run, or was none of the channels' business then.
        """
        now, names = self.clock(), {short(name): seen for name, seen in run.incidents.items()}
        came = [name for name in run.known & run.unannounced.keys() if run.unannounced.pop(name).queued]
        for name in names.keys() - run.unknown:
            run.unannounced.pop(name, None)
        found: list[Seen] = []
        for name in sorted(run.unknown - run.known & names.keys()):
            state, known = names[name].state, run.unannounced.get(name)
            is_recent = state.version is None or state.version[0] >= run.since or name in run.asleep
            if known is None and not is_recent:
                continue
            if known is None or known.mark != mark_of(state):
                run.unannounced[name] = Difference(mark_of(state), now)
            elif not known.queued and now - known.since >= SETTLES_SECONDS:
                found.append(names[name])
        told = self._told(run, found)
        for share, _ in told:
            name = short(share.incident_id)
            run.unannounced[name] = replace(run.unannounced[name], queued=now)
            self.telemetry.unannounced(share.incident_id, share.status, [each.name for each in run.members])
        run.counts["unannounced"] += len(told)
        run.note = run.note.counting(now, found=len(told), came=len(came))

    def _told(self, run: Run, found: Sequence[Seen]) -> list[Seen]:
        """Notify the fallback topic of the criticals among these; return those that need no other attempt."""
        criticals = [each for each in found if each.state.is_critical]
        others = [each for each in found if not each.state.is_critical]
        if not criticals:
            return others
        channels = [member.name for member in run.members if not member.rings]
        tell = partial(self.fallback.missed, channels, [_missed(each.share) for each in criticals])
        try:
            is_told = run.deadline.run(tell, part="fallback", at_least=FALLBACK_SECONDS, at_most=FALLBACK_SECONDS)
        except TimeoutError:
            is_told = False
        if not is_told:
            self.telemetry.notice("fallback_failed", "the fallback topic could not be told of a missed critical")
        return [*criticals, *others] if is_told else others


def _missed(share: Share) -> Missed:
    found = details_of(share)
    described = (*(alert.description for alert in found.alerts), found.description)
    return Missed(share.incident_id, next(filter(None, described), ""), found.link)
