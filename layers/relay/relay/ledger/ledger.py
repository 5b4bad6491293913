"""The ledger: entries of incidents in DynamoDB, and the stored jobs of their debts.

A changed entry is written only if the item is still the one that was read. So of two senders that meet one wins, and
nothing is ever locked.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from copy import replace
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from relay.deadline import Deadline
from relay.incidents.transition import ALERT_NAME_LENGTH, State
from relay.ledger.entry import Entry, Lease, Raised, Slot
from relay.ledger.row import ATTRIBUTES, Row, stored_key
from relay.ledger.table import Table, Text, until_written

# The ledger is asked in milliseconds; when it takes this long, it is down.
LEDGER_SECONDS = 1.0
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Ledger:
    """Entries by key. Every method raises LedgerError when DynamoDB fails."""

    table: Table

    def within(self, deadline: Deadline) -> "Ledger":
        """Return the ledger with calls that get LEDGER_SECONDS each, even after the deadline."""
        return Ledger(self.table.within(deadline, "ledger", at_least=LEDGER_SECONDS, at_most=LEDGER_SECONDS))

    def read(self, name: str) -> Entry:
        """Return the entry of a key: an empty one if there is none, a new one if the item is unreadable."""
        found = self.table.read(name)
        if found is None:
            return Entry()
        return _entry(found)

    def store(self, name: str, stored_name: str, envelope: str, *, lasts: float) -> None:
        """Store the job of an entry's debt for `lasts` seconds."""
        self.table.store(stored_key(name, stored_name), envelope, lasts=lasts)

    def stored(self, name: str, stored_name: str) -> str | None:
        """Return the envelope of a stored job, None if there is none."""
        found = self.table.read(stored_key(name, stored_name))
        return found.text if found else None

    def due(self, shard: str, most: int) -> Iterator[tuple[str, Entry]]:
        """Yield keys and entries of a shard of the index, the earliest first, `most` at most: maybe out of date."""
        for found in self.table.due(shard, most):
            yield found.key, _entry(found)

    def read_many(self, names: Collection[str]) -> dict[str, Entry]:
        """Return the entries by key: empty ones for missing keys, none for keys that DynamoDB did not process."""
        found = self.table.read_many(names)
        return {name: Entry() if text is None else _entry(text) for name, text in found.items()}

    def write(self, name: str, before: Entry, after: Entry) -> Entry | None:
        """Write `after` if the item is still `before`. Return the written entry; None if the item had changed."""
        others: Mapping[str, str | float] = _NOTHING
        if after.row:
            others = after.row.attributes(name)
        text = json.dumps(_encoded(after), separators=(",", ":"))
        remove = ATTRIBUTES if before.row and not after.row else ()
        sequence = self.table.write(name, before.sequence, text, others=others, remove=remove)
        return replace(after, sequence=sequence, is_unreadable=False) if sequence else None

    def change(self, name: str, change: Callable[[Entry], Entry], entry: Entry | None = None) -> Entry:
        """Change an entry with optimistic locking; return the written entry.

        `entry` is the entry as it was read last; None if it was not read. Raises LedgerError, also if other writers
        change the entry each time.
        """

        def write(before: Entry) -> Entry | None:
            after = change(before)
            return before if after == before else self.write(name, before, after)

        return until_written(lambda: self.read(name), write, entry)


def _entry(found: Text) -> Entry:
    row = Row.of(found.others)
    try:
        return replace(_decoded(json.loads(found.text)), sequence=found.sequence, row=row)
    except (ValueError, TypeError, AttributeError, LookupError):
        # Another version or an operator wrote it. A state may have been announced, so a resolve is owed and the debt
        # stays.
        owed_since = row.due if row else None
        return Entry(doubtful=(_UNKNOWN,), sequence=found.sequence, row=row, owed_since=owed_since, is_unreadable=True)


_MEMBERS = frozenset(Entry._fields) - {"row", "others", "sequence", "is_unreadable"}
# Stands for a state that may have been announced, and of which nothing else is known.
_UNKNOWN = State(None, "", 0.0, is_open=True, rank=None, alerts=frozenset())


def _encoded(entry: Entry) -> dict[str, Any]:
    lease, slot = entry.lease, entry.slot
    members = {
        "kept": _encoded_state(entry.kept),
        "seen": entry.seen,
        "announced": _encoded_state(entry.announced),
        "doubtful": [_encoded_state(state) for state in entry.doubtful],
        "eased": _encoded_state(entry.eased),
        "is_woken": entry.is_woken,
        "dead_lettered": _encoded_state(entry.dead_lettered),
        "dead_lettered_at": entry.dead_lettered_at,
        "revived_at": entry.revived_at,
        "reason": entry.reason,
        "lease": [lease.owner, lease.until, lease.began, _encoded_state(lease.state)] if lease else None,
        "slot": [slot.at, slot.urgent] if slot else None,
        "signals": entry.signals,
        "owed_since": entry.owed_since,
        "is_notified": entry.is_notified,
        "asked": entry.asked,
        "raised": entry.raised,
        "environment_id": entry.environment_id,
        "acknowledged_by": entry.acknowledged_by,
        "rests_until": entry.rests_until,
        "over_at": entry.over_at,
        "confirmed_at": entry.confirmed_at,
        "refuted_since": entry.refuted_since,
        "unconfirmed": entry.unconfirmed,
    }
    return {**entry.others, **{name: value for name, value in members.items() if value}}


def _decoded(members: Mapping[str, Any]) -> Entry:
    lease, slot = members.get("lease"), members.get("slot")
    return Entry(
        kept=_decoded_state(members.get("kept")),
        seen=tuple(members.get("seen", ())),
        announced=_decoded_state(members.get("announced")),
        doubtful=tuple(_state(state) for state in members.get("doubtful", ())),
        eased=_decoded_state(members.get("eased")),
        is_woken=members.get("is_woken", False),
        dead_lettered=_decoded_state(members.get("dead_lettered")),
        dead_lettered_at=members.get("dead_lettered_at", 0.0),
        revived_at=members.get("revived_at", 0.0),
        reason=members.get("reason", ""),
        lease=Lease(lease[0], lease[1], lease[2], _state(lease[3])) if lease else None,
        slot=Slot(slot[0], slot[1]) if slot else None,
        signals=tuple(members.get("signals", ())),
        owed_since=members.get("owed_since"),
        is_notified=members.get("is_notified", False),
        asked=members.get("asked", 0),
        raised=tuple(_raised(each) for each in members.get("raised", ())),
        environment_id=members.get("environment_id", ""),
        acknowledged_by=members.get("acknowledged_by", ""),
        rests_until=members.get("rests_until", 0.0),
        over_at=members.get("over_at", 0.0),
        confirmed_at=members.get("confirmed_at", 0.0),
        refuted_since=members.get("refuted_since", 0.0),
        unconfirmed=members.get("unconfirmed", False),
        others={name: value for name, value in members.items() if name not in _MEMBERS},
    )


def _raised(members: list[Any]) -> Raised:
    # A newer version may know more of a signal.
    request_id, at, is_open, pages, *others = members[: len(Raised._fields)]
    return Raised(request_id, at, is_open, tuple(pages), *others)


def _encoded_state(state: State | None) -> list[Any] | None:
    if state is None:
        return None
    members = [state.version, state.digest, state.came, state.is_open, state.rank, "".join(sorted(state.alerts))]
    return [*members, True] if state.is_dated_by_another else members


def _decoded_state(members: list[Any] | None) -> State | None:
    return None if members is None else _state(members)


def _state(members: list[Any]) -> State:
    version, digest, came, is_open, rank, alerts, *dated = members
    names = (alerts[start : start + ALERT_NAME_LENGTH] for start in range(0, len(alerts), ALERT_NAME_LENGTH))
    known = (version[0], version[1]) if version else None
    return State(known, digest, came, is_open, rank, frozenset(names), is_dated_by_another=dated == [True])
