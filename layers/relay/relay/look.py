"""How far a channel was compared with BigPanda: a note in the table, from one look to the next."""

import hashlib
import json
import re
from collections.abc import Mapping
from copy import replace
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from relay.table import Table

# The note must fit into an item, however many incidents there are, and whatever they are called.
MAX_REMEMBERED = 2000
MAX_NAME_LENGTH = 48
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Span(NamedTuple):
    """How long a place is compared: what changed there before `since` is none of the relay's business.

    `last` is when the last look began that saw all of it.
    """

    since: float
    last: float


class Difference(NamedTuple):
    """What an incident was found to differ by: `mark` names its state; `since` is when that was seen first.

    `queued` is when it was put on the retry queue, 0 if it was not.
    """

    mark: str
    since: float
    queued: float = 0.0


class Look(NamedTuple):
    """How far a channel was compared; times are in epoch seconds.

    `spans` are by place; until `until` another look is at it. By incident: `asleep` has when those that are snoozed
    were seen so last, `differing` what those differ by that are not as the ledger knows them. Names are as `short`
    gives them.
    """

    until: float = 0.0
    spans: Mapping[str, Span] = _NOTHING
    asleep: Mapping[str, float] = _NOTHING
    differing: Mapping[str, Difference] = _NOTHING
    sequence: int = 0

    @classmethod
    def read(cls, table: Table, channel: str) -> Self:
        """How far it got; as if it was never compared where that can't be read. Raises LedgerError."""
        found = table.read(_key(channel))
        if found is None:
            return cls()
        try:
            members = json.loads(found.text)
            return cls(
                float(members.get("until", 0)),
                {name: Span(float(since), float(last)) for name, (since, last) in members.get("spans", {}).items()},
                {name: float(at) for name, at in members.get("asleep", {}).items()},
                {
                    name: Difference(str(mark), float(since), float(queued))
                    for name, (mark, since, queued) in members.get("differing", {}).items()
                },
                found.sequence,
            )
        except (ValueError, TypeError, AttributeError):
            return cls(sequence=found.sequence)

    def write(self, table: Table, channel: str) -> "Look | None":
        """Put it in the place of the one it was made of; None when another one stands there. Raises LedgerError."""
        latest = sorted(self.asleep.items(), key=lambda each: -each[1])
        newest = sorted(self.differing.items(), key=lambda each: -max(each[1].since, each[1].queued))
        members = {
            "until": self.until,
            "spans": self.spans,
            "asleep": dict(latest[:MAX_REMEMBERED]),
            "differing": dict(newest[:MAX_REMEMBERED]),
        }
        text = json.dumps({name: value for name, value in members.items() if value}, separators=(",", ":"))
        sequence = table.write(_key(channel), self.sequence, text)
        return replace(self, sequence=sequence) if sequence else None


def short(name: str) -> str:
    """A name for an incident that is never long: its id, or the hash of one that no BigPanda gives."""
    is_plain = re.fullmatch(r"[\w.:-]*", name, re.ASCII) and len(name) <= MAX_NAME_LENGTH
    return name if is_plain else hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:MAX_NAME_LENGTH]


def _key(channel: str) -> str:
    return f"reconcile/{channel}"
