"""A schedule as it was played: the story, and the simulated world that the judges look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from tests.simulation.cloud import Cloud
from tests.simulation.console import Console
from tests.simulation.phones import Phones, Ring
from tests.simulation.services import SimulatedSns, SimulatedSqs
from tests.simulation.story import Nap, Quiet, SharedState, Story
from tests.simulation.weather import Spell, Weather
from tests.simulation.world import World

# The person who acknowledges in the stories, and the forger's name.
ACKNOWLEDGER, FORGER = ("jdoe",), ("mallory",)


@dataclass
class Played:
    """Knowledge that all judges of a schedule share. Each judge adds what it alone needs.

    Attributes:
        story: choices of the seed.
        states: all states that BigPanda shared, by entry and number.
        world: clock and processes.
        weather: faults of the schedule.
        phones: the simulated xMatters.
        queues: the queues whose messages wake workers.
        dead_letters: the dead-letter queue.
        sns: the topics.
        console: the simulated BigPanda.
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

    @property
    def played(self) -> dict[str, Any]:
        """The members that all judges have, by name."""
        return {each.name: getattr(self, each.name) for each in fields(Played)}

    @cached_property
    def policies(self) -> Mapping[str, Mapping[str, Any]]:
        """Policy of each channel."""
        return self.story.policies

    @cached_property
    def quiet(self) -> Mapping[str, Quiet]:
        """The time in which a channel sends nothing, by channel."""
        return {**self.story.quiet, **self.story.varied}

    @cached_property
    def confirms_ends(self) -> bool:
        """True if BigPanda is asked about resolves of the first channel before they are believed."""
        return self.story.confirms_ends

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
    def replays(self) -> Sequence[float]:
        """Times at which operators replayed dead letters, in epoch seconds."""
        deeds = self.story.operations
        return [self.world.began + moment for moment, deed in deeds if deed in {"replay", "redrive"}]

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
