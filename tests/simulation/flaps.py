"""Flaps: the rule of `policy.flap`, written a second time, and a judge of the signals of flapping incidents.

The judge knows when a share arrived, but not the time that a function noted for it. So the judge works with a margin of
NOTED_SECONDS: a flap is certain if the rule holds with a shorter calm time, and possible if it holds with a longer one.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tests.simulation.conduct import seconds_of
from tests.simulation.oracle import changed
from tests.simulation.phones import Ring
from tests.simulation.played import CautiousJudge
from tests.simulation.story import SharedState
from tests.simulation.world import Time

# From the arrival of a share or a callback to the time that a function notes for it; Secrets Manager may be slow.
NOTED_SECONDS = 7.0
# From a signal's acceptance to its record in the ledger.
RECORDED_SECONDS = 8.0
# The sweeper's interval, its lateness and the duration of a run; the worker that it wakes.
SWEPT_SECONDS = 140.0
WORSE = {"opened", "worsened", "reopened"}


def span(policy: Mapping[str, Any]) -> float:
    """Return the seconds without a change after which an incident is calm; 0 without a rule for flaps."""
    return float(policy["flap"]["minutes"]) * 60 if policy.get("flap") else 0.0


def may_wait_until(policy: Mapping[str, Any], states: Sequence[SharedState], state: SharedState, change: str) -> float:
    """Return the time until which a state may wait for the end of a flap; 0 if it may not wait.

    `states` are all states of the same incident. Each of their arrivals counts as a change, since it may have been one.
    """
    if change in WORSE or not policy.get("flap"):
        return 0.0
    calm = span(policy) + NOTED_SECONDS
    times = sorted(at for other in states for at in other.arrivals if at <= max(state.arrivals))
    # After a calm time an earlier flap is over.
    begins = max((place for place, (one, other) in enumerate(pairwise(times), 1) if other - one > calm), default=0)
    times = times[begins:]
    enough = policy["flap"]["transitions"]
    is_possible = any(later - earlier <= calm for earlier, later in zip(times, times[enough - 1 :], strict=False))
    return times[-1] + calm if is_possible else 0.0


def certain(policy: Mapping[str, Any], states: Sequence[SharedState]) -> Iterator[Time]:
    """Yield the times in which an incident flaps for certain; `states` are its states in order of arrival."""
    calm, enough = span(policy) - NOTED_SECONDS, policy["flap"]["transitions"]
    changes: list[float] = []
    begins, ends = math.inf, 0.0
    for before, state in pairwise(states):
        at = min(state.arrivals)
        if at >= ends and begins < math.inf:
            yield Time(begins, ends)
            begins, changes = math.inf, []
        if (before.is_open, before.status) != (state.is_open, state.status):
            changes = [other for other in changes if other > at - calm] + [at]
            if begins < math.inf or len(changes) >= enough:
                begins, ends = min(begins, at), at + calm
    if begins < math.inf:
        yield Time(begins, ends)


@dataclass
class Flaps(CautiousJudge):
    """Judge of the signals of flapping incidents in a finished schedule."""

    def problems(self) -> Iterator[str]:
        """Yield needless signals of flapping incidents, and states that expired while they waited for a flap to end."""
        if self.has_operators or self.weather.crashes:
            return
        for channel in self.policies:
            for incident, states in self.incidents_of(channel).items() if self.policies[channel].get("flap") else ():
                states.sort(key=lambda state: min(state.arrivals))
                are_known = {ring.share for ring in self.rings_of(incident)} <= {state.number for state in states}
                if incident not in self.untrusted and are_known and _is_in_turn(states):
                    for time in certain(self.policies[channel], states):
                        yield from self._of(incident, states, time)

    def _of(self, incident: str, states: Sequence[SharedState], time: Time) -> Iterator[str]:
        """Check the signals and the dead letters of a flap.

        Once a signal has said that the incident flaps, only a worse state is signalled. The age of a state that waits
        for the end of the flap does not count before that end.
        """
        by_number, rings = {state.number: state for state in states}, self.rings_of(incident)
        said_at = _said_at(rings, time)
        for earlier, later in pairwise(rings):
            told, state = by_number[earlier.share], by_number[later.share]
            is_quiet = said_at + RECORDED_SECONDS < later.began < time.ends
            if is_quiet and changed(told, state) not in WORSE:
                yield f"noisy: {state} rang although its incident flaps and {told} was known"
        for message in self.dead_letters.messages.values():
            job, body = message.job, message.incident
            found = by_number.get(body["share"]) if body and body["entry"] == incident else None
            if found is None or job["reason"] != "expired" or job["dead_lettered_at"] is None:
                continue
            came, at = min(found.arrivals), seconds_of(job["dead_lettered_at"])
            last = next((by_number[ring.share] for ring in reversed(rings) if ring.began < at), None)
            change = changed(last, found)
            is_held = said_at + RECORDED_SECONDS < came < time.ends and change not in WORSE
            is_held = is_held and change in self.wanted(incident)
            max_age: float = self.policies[found.channel]["max_age_seconds"]
            if is_held and at < time.ends + max_age - NOTED_SECONDS:
                yield f"early: {found} expired while it waited for the end of its flap"


def _said_at(rings: Sequence[Ring], time: Time) -> float:
    """Return the time at which xMatters first accepted a signal during the flap (epoch seconds); infinity if never."""
    return min((ring.at for ring in rings if time.begins + NOTED_SECONDS < ring.began), default=math.inf)


def _is_in_turn(states: Sequence[SharedState]) -> bool:
    """Return True if each state was answered before the next one arrived, and their time stamps have that order."""
    versions = [state.version for state in states]
    is_stamped = None not in versions and all(
        one is not None and other is not None and one < other for one, other in pairwise(versions)
    )
    return is_stamped and all(
        one.answered and max(*one.arrivals, *one.answered) + 1 < min(other.arrivals) for one, other in pairwise(states)
    )
