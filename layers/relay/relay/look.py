"""How far a channel was compared with BigPanda: a note in the table, from one look to the next."""

import json
from collections.abc import Mapping
from copy import replace
from types import MappingProxyType
from typing import NamedTuple, Self

from relay.table import Table

# The note must fit into an item, however many incidents are snoozed, and whatever they are called.
MAX_REMEMBERED = 500
MAX_NAME_LENGTH = 128


class Look(NamedTuple):
    """How far a channel was compared; times are in epoch seconds.

    What changed before `since` is none of the relay's business; 0: it was never compared. `last` is when the last look
    began that saw all; until `until` another one is at it. `asleep` are incidents that were snoozed, with when that was
    seen last; `left` those that are over and had a page left, with when somebody was asked to end it.
    """

    since: float = 0.0
    last: float = 0.0
    until: float = 0.0
    asleep: Mapping[str, float] = MappingProxyType({})
    left: Mapping[str, float] = MappingProxyType({})
    sequence: int = 0

    @classmethod
    def read(cls, table: Table, channel: str) -> Self:
        """How far it got; as if it was never compared where that can't be read. Raises LedgerError."""
        found = table.read(_key(channel))
        if found is None:
            return cls()
        try:
            since, last, until, asleep, left = json.loads(found.text)
            return cls(float(since), float(last), float(until), _moments(asleep), _moments(left), found.sequence)
        except (ValueError, TypeError, AttributeError):
            return cls(sequence=found.sequence)

    def write(self, table: Table, channel: str) -> "Look | None":
        """Put it in the place of the one it was made of; None when another one stands there. Raises LedgerError."""
        members = [self.since, self.last, self.until, _latest(self.asleep), _latest(self.left)]
        sequence = table.write(_key(channel), self.sequence, json.dumps(members, separators=(",", ":")))
        return replace(self, sequence=sequence) if sequence else None


def _moments(members: Mapping[str, float]) -> dict[str, float]:
    return {str(name): float(at) for name, at in members.items()}


def _latest(moments: Mapping[str, float]) -> dict[str, float]:
    short = ((name, at) for name, at in moments.items() if len(name) <= MAX_NAME_LENGTH)
    return dict(sorted(short, key=lambda each: -each[1])[:MAX_REMEMBERED])


def _key(channel: str) -> str:
    return f"reconcile/{channel}"
