"""What goes wrong, where and when: each schedule has a weather of its own, and fair weather at the end."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.simulation.world import World

# What can go wrong with each service, and how often it is chosen.
FAULTS = {
    "xmatters": (
        "503",
        "429",
        "429 for long",
        "refused",
        "redirect",
        "gone",
        # Twice, for it is the worst: three tries may ring before anybody can say so.
        "reset rang",
        "reset rang",
        # A proxy answers for a trigger that took the signal, or did not.
        "504",
        "504 rang",
        "timeout",
        "timeout rang",
        "slow",
    ),
    # xMatters' REST API.
    "rest": ("503", "timeout", "credentials"),
    "bigpanda": ("503", "429", "timeout", "timeout did it"),
    "sqs": ("refuses", "answer lost", "slow"),
    "dynamodb": ("refuses", "refuses writes", "answer lost", "slow"),
    # "bug" is an exception that nobody thought of.
    "secrets": ("refuses", "bug", "bug", "slow"),
    "sns": ("refuses", "slow"),
    # A message is received, and no worker gets it.
    "lambda": ("throttled",),
}


@dataclass(frozen=True)
class Spell:
    """For a while, a service fails in one way, as often as `share` says; 0 if that depends on what it is asked."""

    service: str
    fault: str
    begins: float
    ends: float
    share: float

    def __str__(self) -> str:
        often = "always" if self.share == 1 else f"{self.share:.0%} of the time"
        return f"{self.service}: {self.fault}, {often}, from {self.begins:.0f} s to {self.ends:.0f} s"


@dataclass
class Weather:
    """The spells of a schedule, and how often processes die; times count from the beginning of the world."""

    world: World
    spells: Sequence[Spell]
    crashes: float
    crashes_end: float
    # Some of the sweeper's runs do not begin.
    skips_runs: bool = False

    def fault(self, service: str) -> str | None:
        """What goes wrong with a call that is made now."""
        now = self.world.now - self.world.began
        for spell in self.spells:
            if spell.service == service and spell.begins <= now < spell.ends and self.world.chance(spell.share):
                return spell.fault
        return None

    def is_bad(self, service: str) -> bool:
        """Whether a service may fail now."""
        now = self.world.now - self.world.began
        spells = (spell for spell in self.spells if spell.service == service and spell.share)
        return any(spell.begins <= now < spell.ends + 1 for spell in spells)

    def is_fair_from(self) -> float:
        """The moment from which on nothing goes wrong any more."""
        return self.world.began + max([self.crashes_end if self.crashes else 0.0, *(each.ends for each in self.spells)])

    def strike(self) -> None:
        """Let the process that runs now die, sometimes."""
        if self.world.now - self.world.began < self.crashes_end and self.world.chance(self.crashes):
            self.world.die()
