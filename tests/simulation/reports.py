"""Judge of reconcile runs that report what no share brought."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.simulation.played import NEEDED, Played
from tests.simulation.services import Notice
from tests.simulation.story import NOC, SharedState

# A difference settles for 90 s. A run takes some time, and two workers may have to wait for BigPanda's rate limit.
SETTLES_SECONDS, RUN_SECONDS = 90.0, 120.0
_REPORT = "BigPanda shows these incidents as critical"


@dataclass
class Reports(Played):
    """Judge of the reports to the fallback topic about criticals of which no share came.

    Attributes:
        until: time of the last run, in epoch seconds.
    """

    until: float

    def problems(self) -> Iterator[str]:
        """Yield the incidents that rang unasked, that nobody was told of, and that people were told of too often."""
        if not self.story.reports:
            return
        reports = [notice for notice in self.sns.told if notice.text.startswith(_REPORT)]
        for name in sorted({state.id for state in self.states.values() if state.channel == NOC}):
            states = self.states_of(name)
            came = min(
                (at for state in states for at in state.arrivals if at not in state.shown), default=self.world.now
            )
            if any(ring.began < came for ring in self.rings_of(name)):
                yield f"report: {name} rang, and no share of it had come"
            told = [notice for notice in reports if re.search(rf"^- Incident {name}\b", notice.text, re.MULTILINE)]
            # SNS may take a message whose publication timed out, and a run may not record its message.
            if len(told) > len(states) and not self.spells("sns", "dynamodb") and not self.weather.crashes:
                yield f"report: people were told {len(told)} times of {name}"
            if self.is_steady(*NEEDED, "bigpanda"):
                yield from self._untold(name, states, came, told)

    def _untold(self, name: str, states: Sequence[SharedState], came: float, told: Sequence[Notice]) -> Iterator[str]:
        """Check that people are told of an open critical that stays the same for three runs, if no share comes.

        The runs count while the fallback topic takes messages, and the channel is not paused.
        """
        deaf = max((spell.ends for spell in self.spells("sns")), default=0.0)
        ordered = sorted(states, key=lambda state: state.at)
        ends = [*(state.at for state in ordered[1:]), self.until - self.world.began]
        for state, end in zip(ordered, ends, strict=True):
            runs = 3 * (self.story.reconcile_interval or 0.0) + SETTLES_SECONDS + RUN_SECONDS
            by = max(self.world.began + max(state.at, deaf), self.quiet_until(NOC)) + runs
            is_told = any(self.world.began + ordered[0].at < notice.at <= by for notice in told)
            is_excused = is_told or any(nap.incident == name for nap in self.naps)
            is_known = state.is_critical and state.version is not None
            if is_known and by < min(came, self.world.began + end) and not is_excused:
                yield f"report: nobody was told of {state} by {self.moment(by)}"
