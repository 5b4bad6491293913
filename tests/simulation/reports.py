"""BigPanda's other incidents in a schedule, and the judge of reconcile runs that report what no share brought."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from relay.bigpanda.client import as_webhook
from relay.incidents.share import State, parse_share
from relay.ledger.entry import Entry
from relay.ledger.entry_key import key
from relay.ledger.table import encoded
from tests.simulation.played import NEEDED, Played
from tests.simulation.services import Notice
from tests.simulation.story import NOC, SharedState
from tests.simulation.world import BEGINS_AT

# A difference settles for 90 s. A run takes some time, and two workers may have to wait for BigPanda's rate limit.
SETTLES_SECONDS, RUN_SECONDS = 90.0, 120.0
_REPORT = "BigPanda shows these incidents as critical"
# Incidents on a page of BigPanda's list, if it has thousands.
LARGE_PAGE = 100


@cache
def others(number: int) -> tuple[Sequence[Mapping[str, Any]], Mapping[str, Mapping[str, Any]]]:
    """Return so many incidents, as BigPanda's API shows them, and the items of their ledger entries by key.

    The ledger knows the state of each incident.
    """
    incidents, items = list[Mapping[str, Any]](), dict[str, Mapping[str, Any]]()
    for place in range(number):
        name, status, stamp = f"b{place}", ("Critical", "Warning")[place % 2], BEGINS_AT - 5000 - place
        found = {"id": name, "status": status, "changed_at": stamp, "updated_at": stamp, "alerts": []}
        found |= {"active": True, "shared": True, "end": None, "snooze": {"snoozed": False}}
        state = State.of(parse_share(as_webhook(found, "e")), float(stamp))
        incidents.append(found)
        pk = key(NOC, (), name)
        text = encoded(Entry(newest=state, announced=state))
        items[pk] = {"pk": {"S": pk}, "text": {"S": text}, "sequence": {"N": "1"}}
    return incidents, items


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
            # SNS may take a message whose publication timed out, and a run may die before it records the message.
            if len(told) > len(states) and not self.spells("sns") and not self.weather.crashes:
                yield f"report: people were told {len(told)} times of {name}"
            if self.is_steady(*NEEDED, "bigpanda"):
                yield from self._untold(name, states, came, told)
        for notice in reports:
            if stranger := re.search(r"^- Incident (b\d+)\b", notice.text, re.MULTILINE):
                yield f"report: people were told of {stranger[1]}, which the ledger knows"

    def _untold(self, name: str, states: Sequence[SharedState], came: float, told: Sequence[Notice]) -> Iterator[str]:
        """Check that people are told of an open critical that stays the same for three runs, if no share comes.

        The runs count while the fallback topic takes messages.
        """
        deaf = max((spell.ends for spell in self.spells("sns")), default=0.0)
        ordered = sorted(states, key=lambda state: state.at)
        ends = [*(state.at for state in ordered[1:]), self.until - self.world.began]
        for state, end in zip(ordered, ends, strict=True):
            runs = 3 * (self.story.reconcile_interval or 0.0) + SETTLES_SECONDS + RUN_SECONDS
            by = self.world.began + max(state.at, deaf) + runs
            is_told = any(self.world.began + ordered[0].at < notice.at <= by for notice in told)
            is_excused = is_told or any(nap.incident == name for nap in self.naps)
            is_known = state.is_critical and state.version is not None
            if is_known and by < min(came, self.world.began + end) and not is_excused:
                yield f"report: nobody was told of {state} by {self.moment(by)}"
