"""Judge of the signals after an acknowledgement: what is no worse is for the acknowledger alone."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.simulation.answers import ACTS_SECONDS, FOUND_SECONDS, Answer
from tests.simulation.flaps import WORSE
from tests.simulation.oracle import changed
from tests.simulation.phones import Ring
from tests.simulation.played import ALONE, NEEDED, CautiousJudge
from tests.simulation.story import NOC, RANKS


@dataclass
class Quiet(CautiousJudge):
    """Judge of the signals after an acknowledgement, in a finished schedule."""

    answers: Sequence[Answer]

    def problems(self) -> Iterator[str]:
        """Yield signals to everybody of what an acknowledger knows already, or what is no worse."""
        is_fair = not self.spells(*NEEDED, "bigpanda", "rest", "token") and not self.weather.crashes
        if not is_fair or self.has_operators or NOC in self.story.timelines or not self.are_pages_followed:
            return
        for answer in self.answers:
            # Without xMatters' REST API nobody knows which of two webhooks' pages was acknowledged.
            own = (each for each in self.states.values() if each.channel == NOC and each.id == answer.said.incident)
            names = {each.incident for each in own}
            # The relay may not verify an answer to a page that comes later.
            is_seen = answer.page is not None and answer.page.found_from < answer.came + FOUND_SECONDS
            is_known = (
                is_seen
                and answer.is_credible
                and not names & {*self.untrusted}
                and (self.story.has_rest or len(names) == 1)
            )
            if is_known and answer.said.response == "Acknowledge":
                yield from self._disturbed(answer)

    def _disturbed(self, answer: Answer) -> Iterator[str]:
        assert answer.page
        rings, first = self.rings_of(answer.page.ring.incident), answer.page.ring
        known = self.told_by(first)
        noted = max(answer.arrivals[0], answer.page.found_from) + ACTS_SECONDS
        later = [ring for ring in rings if ring.began > first.began]
        # An answer that is confirmed after the incident's end counts for nothing.
        ends = [at for each in self.states_of(known.incident) if not each.is_open for at in each.arrivals]
        if not known.is_open or any(first.began < at < noted for at in (*ends, *(ring.began for ring in later))):
            return
        for before, ring in pairwise([first, *later]):
            if not self._is_for_the_acknowledger(before, ring, RANKS[known.status]):
                return
            if ring.recipients not in ALONE:
                yield f"disturbed: {self.told_by(ring)} rang everybody, though {answer.said.person} knew of {known}"

    def _is_for_the_acknowledger(self, before: Ring, ring: Ring, known: int) -> bool:
        """Return True if the second of two signals is no worse than all that came since the first one.

        With a rule for flaps, it is for the acknowledger also if it is no worse than what that person knows.
        """
        told, state = self.told_by(before), self.told_by(ring)
        # Only their arrivals order states without timestamps.
        since = [
            each
            for each in self.states_of(state.incident)
            if told.at <= each.at <= state.at
            or (each.version is None and before.began < min(each.arrivals, default=math.inf) < ring.began)
        ]
        changes = {changed(each, state) for each in (told, *since)}
        if "flap" in self.policy(state.incident) and RANKS[state.status] <= known:
            changes -= {"worsened"}
        return not changes & WORSE
