"""The ledger: entries of incidents in DynamoDB, their JSON, and the stored jobs of their debts.

Writes use optimistic locking: an entry is written only if its item did not change since it was read. Of two concurrent
writers one succeeds, and the other reads the entry again.

The members of the JSON are flat. Members that this version does not know are kept and written back. The row of the
entry's debt is not part of the JSON: it is stored in separate attributes of the table item.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from copy import replace
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from relay.incidents.share import Version
from relay.incidents.transition import ALERT_NAME_LENGTH, State
from relay.ledger.accepted_signal import AcceptedSignal
from relay.ledger.debt import ATTRIBUTES, Debt, Row, Slot, stored_key
from relay.ledger.entry import About, Acknowledgement, End, Entry, Flap, Lease
from relay.ledger.receipt import Receipt
from relay.ledger.table import Table, Text, until_written

# A key has 2,048 bytes at most; an incident's id stands in it beside a channel and a hash of recipients.
MAX_KEY_BYTES = 1024


def key(channel: str, recipients: tuple[str, ...], incident_id: str) -> str:
    """Return the table's key for an incident's ledger entry.

    `recipients` are those that the webhook's URL names, in any order. Each set of recipients has an entry of its own.
    """
    return f"incident/{channel}/{named(recipients)}/{legal(incident_id)}"


def shadow_of(name: str) -> str:
    """Return the key of an incident's ledger entry for a channel in shadow mode.

    In shadow mode a channel records the incident in a separate entry. `name` is the key of the ordinary entry.
    """
    return f"shadow/{name.removeprefix('incident/')}"


def channel_of(name: str) -> str:
    """Return the channel's name in an entry's key (`name`)."""
    return name.split("/", 2)[1]


def incident_of(name: str) -> str:
    """Return the incident's id in an entry's key (`name`); its hash if the id is too long for a key (see `legal`)."""
    return name.split("/", 3)[3]


def page_key(name: str) -> str:
    """Return the key by which a workflow in xMatters finds the pages of an entry; `name` is the entry's key.

    A hash, since xMatters' searches ignore letter case and may take a comma in an incident's id for a separator.
    """
    return hashlib.sha256(name.encode()).hexdigest()[:32]


# Cached, since a channel's shares have the same recipients again and again.
@lru_cache(maxsize=256)
def named(recipients: tuple[str, ...]) -> str:
    """Return a short name of a set of recipients, in any order: 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(sorted(recipients)).encode()).hexdigest()[:16]


def legal(incident_id: str) -> str:
    """Return the incident's id for a key, or its hash if DynamoDB refuses the id (too long, or a lone surrogate)."""
    encoded = incident_id.encode("utf-8", "surrogatepass")
    is_text = encoded.decode("utf-8", "replace") == incident_id
    return incident_id if is_text and len(encoded) <= MAX_KEY_BYTES else f"sha256/{hashlib.sha256(encoded).hexdigest()}"


# Stands for a state that may have been announced, and of which nothing else is known.
_UNKNOWN = State(None, "", 0.0, is_open=True, rank=None, alerts=frozenset())
# Members of a state that are always written.
_MEMBERS_OF_A_STATE = 5


def encoded(entry: Entry) -> str:
    """Return the JSON of an entry, without the row of its debt. Members with a default value are left out."""
    members = {name: value for name, value in _members(entry).items() if value}
    return json.dumps({**entry.others, **members}, separators=(",", ":"))


def decoded(found: Text) -> Entry:
    """Read an entry from its table item.

    If the item can't be parsed, the result stands for an incident of which an unknown state may have been announced: so
    its resolve will be signalled. Its `is_unreadable` is True.
    """
    row = Row.of(found.others)
    try:
        entry = _entry(json.loads(found.text), row)
    except (ValueError, TypeError, AttributeError, LookupError):
        # Another version or an operator wrote it. A state may have been announced, so a resolve is owed and the debt
        # stays.
        debt = Debt(since=row.due if row else None, row=row)
        return Entry(doubtful=(_UNKNOWN,), debt=debt, sequence=found.sequence, is_unreadable=True)
    return replace(entry, sequence=found.sequence)


def _members(entry: Entry) -> dict[str, Any]:
    lease, debt, end = entry.lease, entry.debt, entry.end
    return {
        "newest": _state_members(entry.newest),
        "seen_digests": entry.seen_digests,
        "announced": _state_members(entry.announced),
        "doubtful": [_state_members(state) for state in entry.doubtful],
        "eased": _state_members(entry.eased),
        "acknowledged": entry.acknowledgement,
        "receipt": entry.receipt if entry.receipt != Receipt() else None,
        "lease": [lease.owner, lease.until, lease.began, _state_members(lease.state)] if lease else None,
        "times": entry.signal_times,
        "accepted": entry.accepted_signals,
        "owed_since": debt.since,
        "is_notified": debt.is_notified,
        "plan": debt.plan,
        "attempts": debt.attempts,
        "reason": debt.reason,
        "slot": debt.slot,
        "paused_until": debt.paused_until,
        "paused_by": debt.paused_by,
        "claim_hold_until": debt.claim_hold_until,
        "dead_lettered_at": debt.dead_lettered_at,
        "revived_at": debt.revived_at,
        "over_at": end.at,
        "claimed_at": end.claimed_at,
        "end_version": end.version,
        "silent_since": end.silent_since,
        "flap": entry.flap if entry.flap != Flap() else None,
        "about": {name: value for name, value in entry.about._asdict().items() if value},
    }


def _entry(members: Mapping[str, Any], row: Row | None) -> Entry:
    return Entry(
        newest=_known_state(members.get("newest")),
        seen_digests=tuple(members.get("seen_digests", ())),
        announced=_known_state(members.get("announced")),
        doubtful=tuple(_state(state) for state in members.get("doubtful", ())),
        eased=_known_state(members.get("eased")),
        acknowledgement=_acknowledgement(members.get("acknowledged")),
        receipt=_receipt(members.get("receipt")),
        lease=_lease(members.get("lease")),
        signal_times=tuple(members.get("times", ())),
        accepted_signals=tuple(_accepted_signal(signal) for signal in members.get("accepted", ())),
        debt=_debt(members, row),
        end=End(
            at=members.get("over_at", 0.0),
            claimed_at=members.get("claimed_at", 0.0),
            version=_version(members.get("end_version")),
            silent_since=members.get("silent_since", 0.0),
        ),
        flap=_flap(members.get("flap")),
        about=_about(members.get("about", {})),
        others={name: value for name, value in members.items() if name not in _MEMBERS},
    )


def _debt(members: Mapping[str, Any], row: Row | None) -> Debt:
    slot = members.get("slot")
    return Debt(
        since=members.get("owed_since"),
        is_notified=members.get("is_notified", False),
        plan=members.get("plan", 0),
        attempts=members.get("attempts", 0),
        reason=members.get("reason", ""),
        slot=Slot(slot[0], slot[1]) if slot else None,
        # An item without a debt has the row of its receipt.
        row=row if "owed_since" in members else None,
        paused_until=members.get("paused_until", 0.0),
        paused_by=members.get("paused_by", ""),
        claim_hold_until=members.get("claim_hold_until", 0.0),
        dead_lettered_at=members.get("dead_lettered_at", 0.0),
        revived_at=members.get("revived_at", 0.0),
    )


def _flap(members: Sequence[Any] | None) -> Flap:
    if not members:
        return Flap()
    changes, calm_at, is_signalled = members[: len(Flap._fields)]
    return Flap(tuple(changes), calm_at, bool(is_signalled))


def _acknowledgement(members: Sequence[Any] | None) -> Acknowledgement | None:
    return Acknowledgement(members[0], members[1]) if members else None


def _receipt(members: Sequence[Any] | None) -> Receipt:
    if not members:
        return Receipt()
    *known, recipients = members[: len(Receipt._fields)]
    return Receipt._make([*known, tuple(recipients)])


def _about(members: Mapping[str, Any]) -> About:
    facts = {fact: tuple(values) for fact, values in members.get("facts", {}).items()}
    return About(members.get("title", ""), members.get("environment_id", ""), facts)


def _lease(members: Sequence[Any] | None) -> Lease | None:
    return Lease(members[0], members[1], members[2], _state(members[3])) if members else None


def _accepted_signal(members: Sequence[Any]) -> AcceptedSignal:
    # A newer version may know more of a signal.
    request_id, at, is_open, pages, *others = members[: len(AcceptedSignal._fields)]
    return AcceptedSignal(request_id, at, is_open, tuple(pages), *others)


def _state_members(state: State | None) -> list[Any] | None:
    """Return the members of a state as a JSON list; None for None.

    To save bytes, flags are 1 or 0, and the last members are left out if they are empty.
    """
    if state is None:
        return None
    members = [state.version, state.digest, state.came, int(state.is_open), state.rank]
    members += ["".join(sorted(state.alerts)), int(state.has_borrowed_version)]
    while len(members) > _MEMBERS_OF_A_STATE and not members[-1]:
        members.pop()
    return members


def _known_state(members: Sequence[Any] | None) -> State | None:
    return None if members is None else _state(members)


def _state(members: Sequence[Any]) -> State:
    version, digest, came, is_open, rank, *more = members
    alerts, is_borrowed, *_ = (*more, "", 0)
    names = (alerts[start : start + ALERT_NAME_LENGTH] for start in range(0, len(alerts), ALERT_NAME_LENGTH))
    return State(
        _version(version), digest, came, bool(is_open), rank, frozenset(names), has_borrowed_version=bool(is_borrowed)
    )


def _version(members: Sequence[float] | None) -> Version | None:
    return (members[0], members[1]) if members else None


# Names of the members that this version knows.
_MEMBERS = frozenset(_members(Entry()))


# Time limit of a call for a share or job. DynamoDB answers in milliseconds: the ledger counts as down after this time.
LEDGER_SECONDS = 1.0


@dataclass(frozen=True)
class Ledger:
    """Reader and writer of entries by key (`entry_key.key`). Every method raises LedgerError when DynamoDB fails.

    Attributes:
        table: The ledger's table.
    """

    table: Table

    def read(self, name: str) -> Entry:
        """Return the entry with the key `name`; an entry without any state if there is no item.

        For an item that can't be parsed, the entry stands for an unknown announced state, and its `is_unreadable` is
        True.
        """
        found = self.table.read(name)
        if found is None:
            return Entry()
        return decoded(found)

    def store(self, name: str, stored_name: str, envelope: str, *, lasts: float) -> None:
        """Store the envelope (the queue message's text) of a job for `lasts` seconds, as a table item of its own.

        `name` is the entry's key. `stored_name` tells the stored jobs of one entry apart (see `stored_key`).
        """
        self.table.store(stored_key(name, stored_name), envelope, lasts=lasts)

    def stored(self, name: str, stored_name: str) -> str | None:
        """Return the envelope (the queue message's text) that `store` wrote; None if there is none."""
        found = self.table.read(stored_key(name, stored_name))
        return found.text if found else None

    def due(self, shard: str, most: int) -> Iterator[tuple[str, Entry]]:
        """Yield keys and entries of one shard of the `due` index, at most `most`, the earliest due time first.

        The index lags by seconds, so an entry may be out of date.
        """
        for found in self.table.due(shard, most):
            yield found.key, decoded(found)

    def read_many(self, names: Collection[str]) -> dict[str, Entry]:
        """Return the entries by key. A key without an item gives an entry without any state.

        Keys that DynamoDB did not process are missing from the result.
        """
        found = self.table.read_many(names)
        return {name: Entry() if text is None else decoded(text) for name, text in found.items()}

    def write(self, name: str, before: Entry, after: Entry) -> Entry | None:
        """Write `after` if the table item is still the one that `before` was read from.

        Returns the written entry; None if another writer changed the item. `name` is the entry's key.
        """
        row = after.row
        others = row.attributes(name) if row else {}
        remove = ATTRIBUTES if before.row and not row else ()
        sequence = self.table.write(name, before.sequence, encoded(after), others=others, remove=remove)
        return replace(after, sequence=sequence, is_unreadable=False) if sequence else None

    def change(self, name: str, change: Callable[[Entry], Entry], entry: Entry | None = None) -> Entry:
        """Replace an entry by `change(entry)` with optimistic locking; return the written entry.

        `name` is the entry's key. `entry` is the entry as it was read last; None to read it first. If another writer
        changed it, it is read and changed again. Raises LedgerError, also if that happens each time.
        """

        def write(before: Entry) -> Entry | None:
            after = change(before)
            return before if after == before else self.write(name, before, after)

        return until_written(lambda: self.read(name), write, entry)
