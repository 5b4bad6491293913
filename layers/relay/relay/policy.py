"""What a channel wants announced, and how fast: the `policy` of its secret. docs/install.md explains each key."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from relay.transition import PRESETS, Transition


@dataclass(frozen=True)
class Policy:
    """The settings of a channel that decide what rings, and when. Numbers are in seconds or signals a minute."""

    notify_on: frozenset[Transition] = PRESETS["parity"]
    min_seconds_between_signals: float = 15.0
    max_per_minute: int = 60
    max_per_minute_per_recipients: int | None = None
    max_age_seconds: float = 21_600.0
    fallback_after_seconds: float = 300.0

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> Self:
        """Read the (valid) members of a secret's policy; `notify_on` goes before `preset`."""
        chosen = {name: members[name] for name in cls.__dataclass_fields__ if name in members}
        chosen["notify_on"] = (
            frozenset(map(Transition, members["notify_on"]))
            if "notify_on" in members
            else PRESETS[members.get("preset", "parity")]
        )
        return cls(**chosen)
