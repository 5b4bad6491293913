"""Faults of services over time: each schedule has a weather of its own, which is fair at the end."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.simulation.world import World

# Faults of each service; a repeated fault is chosen more often.
FAULTS = {
    "xmatters": (
        "503",
        "429",
        "429 for long",
        "refused",
        "redirect",
        "gone",
        # Twice, since this fault is the worst: three attempts may ring before the relay knows of any.
        "reset rang",
        "reset rang",
        # A proxy answers in place of a trigger that accepted the signal, or did not.
        "504",
        "504 rang",
        "timeout",
        "timeout rang",
        "slow",
    ),
    # xMatters' OAuth tokens: "refused" is the answer to a wrong password, "empty" one without a token.
    "token": ("503", "timeout", "refused", "empty"),
    # xMatters' REST API.
    "rest": ("503", "timeout", "credentials"),
    "bigpanda": ("503", "429", "timeout", "timeout did it"),
    "sqs": ("refuses", "answer lost", "slow"),
    # The dead-letter queue alone.
    "dead-letters": ("refuses",),
    "dynamodb": ("refuses", "refuses writes", "answer lost", "slow"),
    # "bug" is an unexpected exception.
    "secrets": ("refuses", "bug", "bug", "slow"),
    "sns": ("refuses", "answer lost", "slow", "slow"),
    # Lambda receives a message, and no worker gets it.
    "lambda": ("throttled",),
}


@dataclass(frozen=True)
class Spell:
    """A time in which a service has one fault. Times are in seconds since the beginning.

    Attributes:
        share: fraction of calls that fail; 0 for throttling, which depends on the write units of a key.
    """

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
    """Faults and crashes of a schedule.

    Attributes:
        crashes_end: end of the crashes, in seconds since the beginning.
        skips_runs: True if some of the sweeper's runs never start.
    """

    world: World
    spells: Sequence[Spell]
    crashes: float
    crashes_end: float
    skips_runs: bool = False

    def __post_init__(self) -> None:
        self._spells_of: dict[str, list[Spell]] = {}
        for spell in self.spells:
            self._spells_of.setdefault(spell.service, []).append(spell)

    def fault(self, service: str) -> str | None:
        """Return the fault of a call at this time, or None."""
        now = self.world.now - self.world.began
        for spell in self._spells_of.get(service, ()):
            if spell.begins <= now < spell.ends and self.world.chance(spell.share):
                return spell.fault
        return None

    def is_bad(self, service: str) -> bool:
        """Return True if a service may fail at this time."""
        now = self.world.now - self.world.began
        spells = self._spells_of.get(service)
        return spells is not None and any(spell.share and spell.begins <= now < spell.ends + 1 for spell in spells)

    def fair_from(self) -> float:
        """Return the time after which no service fails and no process dies, in epoch seconds."""
        return self.world.began + max([self.crashes_end if self.crashes else 0.0, *(each.ends for each in self.spells)])

    def strike(self) -> None:
        """Kill the current process, with the schedule's probability."""
        if self.world.now - self.world.began < self.crashes_end and self.world.chance(self.crashes):
            self.world.die()
