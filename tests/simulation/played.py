"""A schedule as it was played: the story, and the simulated world that the judges look at."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from tests.simulation.cloud import Cloud
from tests.simulation.console import Act, Console
from tests.simulation.oracle import wanted
from tests.simulation.phones import Phones, Ring
from tests.simulation.services import HealthMessage, SimulatedSns, SimulatedSqs
from tests.simulation.story import Nap, SharedState, Story
from tests.simulation.weather import Spell, Weather
from tests.simulation.world import World

# Services that every signal needs.
NEEDED = ("sqs", "dynamodb", "secrets", "lambda")
# A signal may be in flight for its sender's lease, or for as long as BigPanda waits.
IN_FLIGHT_SECONDS = 16.0
# The person who acknowledges in the stories, and the forger's name.
ACKNOWLEDGER, OTHER, FORGER = ("jdoe",), ("ed",), ("mallory",)
ALONE = frozenset({ACKNOWLEDGER, OTHER, FORGER})


@dataclass
class Played:
    """Knowledge that all judges of a schedule share. Each judge adds what it alone needs.

    Attributes:
        states: all states that BigPanda shared, by entry and number.
        queues: the queues whose messages wake workers.
        naps: snoozes in BigPanda, those by answers included.
    """

    story: Story
    states: dict[tuple[str, int], SharedState]
    world: World
    weather: Weather
    phones: Phones
    queues: Sequence[SimulatedSqs]
    dead_letters: SimulatedSqs
    sns: SimulatedSns
    console: Console
    naps: Sequence[Nap]
    _states_of: dict[str, list[SharedState]] = field(init=False, default_factory=dict)
    _grouped: int = field(init=False, default=0)

    @property
    def played(self) -> dict[str, Any]:
        """The members that all judges have, by name."""
        return {each.name: getattr(self, each.name) for each in fields(Played) if each.init}

    def states_of(self, incident: str) -> Sequence[SharedState]:
        """Return the states of an incident. New ones come while a schedule runs."""
        if self._grouped != len(self.states):
            self._states_of, self._grouped = {}, len(self.states)
            for state in self.states.values():
                self._states_of.setdefault(state.incident, []).append(state)
        return self._states_of.get(incident, [])

    def incidents_of(self, channel: str) -> dict[str, list[SharedState]]:
        """Return the states of a channel that arrived, by incident."""
        found: dict[str, list[SharedState]] = {}
        for state in self.states.values():
            if state.channel == channel and state.arrivals:
                found.setdefault(state.incident, []).append(state)
        return found

    def rings_of(self, incident: str) -> Sequence[Ring]:
        """Return the signals of an incident that xMatters accepted, oldest first."""
        return self.phones.rings_of.get(incident, [])

    def told_by(self, ring: Ring) -> SharedState:
        """Return the state that a signal announced."""
        return self.states[ring.incident, ring.share]

    def moment(self, at: float) -> str:
        """Return a time (epoch seconds) in words."""
        return f"{at - self.world.began:.0f} s"

    def is_steady(self, *services: str) -> bool:
        """Return True if no process dies, and these services never fail."""
        return not self.weather.crashes and not self.spells(*services)

    def is_dead_lettered(self, state: SharedState) -> bool:
        """Return True if a signal of the state is on the dead-letter queue."""
        found = ((body["entry"], body["share"]) for body in self.dead_letters.bodies())
        return (state.incident, state.number) in found

    def channel_of(self, incident: str) -> str:
        """Return the channel of an incident, by the name of its ledger entry."""
        return self.states_of(incident)[0].channel

    def policy(self, incident: str) -> Mapping[str, Any]:
        """Return the policy of an incident's channel."""
        return self.policies[self.channel_of(incident)]

    def wanted(self, incident: str) -> set[str]:
        """Return the transitions that the policy of an incident's channel announces."""
        return wanted(self.policy(incident))

    @cached_property
    def policies(self) -> Mapping[str, Mapping[str, Any]]:
        """Policy of each channel."""
        return self.story.policies

    def quiet_until(self, channel: str) -> float:
        """Return the time after which a channel holds and leaves out nothing (epoch seconds); 0 if it never does."""
        line = self.story.timelines.get(channel)
        return self.world.began + line.quiet_until if line else 0.0

    @property
    def cloud(self) -> Cloud:
        """Conditions of AWS and of xMatters' log-in."""
        return self.story.cloud

    @property
    def has_operators(self) -> bool:
        """True if an operator moved messages."""
        return bool(self.story.operations)

    @cached_property
    def renewed_at(self) -> float | None:
        """Time from which xMatters and the secret have the first channel's new key; None: it never changes."""
        story = self.story
        return None if story.rotates_at is None else self.world.began + max(story.rotates_at, story.learns_at)

    @cached_property
    def has_vanishing(self) -> bool:
        """True if messages vanish."""
        return any(queue.vanishing for queue in self.queues)

    @property
    def are_pages_followed(self) -> bool:
        """False if messages vanish or can't be read: a follow-up has no row that the sweeper could replace."""
        return not self.has_vanishing and not self.cloud.has_newer_schema

    def is_accepted(self, ring: Ring) -> bool:
        """Return True if the relay knows that xMatters accepted the signal."""
        return any(
            post.is_accepted and post.delivery == ring.delivery and post.began == ring.began
            for post in self.phones.posts
        )

    def spells(self, *services: str) -> list[Spell]:
        """Return the faults of these services."""
        return [spell for spell in self.weather.spells if spell.service in services]


@dataclass
class CautiousJudge(Played):
    """Judge that leaves out incidents of which it can know too little.

    Attributes:
        untrusted: those incidents: the ledger, a queue or a sender failed, or a signal has an unknown result.
    """

    untrusted: Collection[str]


def may_be_unrecorded(deed: Act | HealthMessage) -> bool:
    """Return True if the process may not know the result of its deed, or may not have recorded it in the ledger."""
    return deed.is_in_doubt or deed.process.is_dead or "ledger" in deed.process.troubles
