"""The ledger's table in DynamoDB (`Table`), and the entries of incidents in it (`Ledger`).

`Table` has versioned documents with optimistic locking, atomic counters, and one sparse index, `due`, of the items that
have a shard and a time. A failed version check means "read the item again", not "another writer changed it". A
write can succeed although its answer is lost: its repetition then fails.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from copy import replace
from dataclasses import dataclass
from functools import lru_cache, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from relay.deadline import Clock, Run
from relay.failures import LedgerError
from relay.incidents.share import ALERT_NAME_LENGTH, State, Version
from relay.ledger.accepted_signal import AcceptedSignal
from relay.ledger.debt import ATTRIBUTES, INDEX, SHARD, Debt, Row, Slot, stored_key
from relay.ledger.entry import About, Acknowledgement, End, Entry, Flap, Lease
from relay.ledger.receipt import Receipt

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


# Time to live of an item after its last write. A later share of the incident creates a new entry.
KEPT_SECONDS = 90 * 24 * 3600
# Keys of one BatchGetItem at most.
MAX_BATCH = 100
# Writes of one change before a LedgerError. Few writers change an item at the same time, and each wins only once.
MAX_RACES = 6
_NO_ATTRIBUTES: Mapping[str, Any] = MappingProxyType({})
_DOCUMENT = frozenset({"pk", "text", "sequence", "expires"})


class Text(NamedTuple):
    """A document (text) in a table item.

    Attributes:
        sequence: Version of the item, for optimistic locking: it grows with each conditional write.
        others: The item's other attributes by name; numbers as floats.
    """

    text: str
    sequence: int
    others: Mapping[str, Any] = _NO_ATTRIBUTES
    key: str = ""


def parsed[T](found: Text | None, read: Callable[[Any], T], otherwise: T) -> T:
    """Return `read(decoded JSON of the item)`; `otherwise` if there is no item (None), or if it can't be read."""
    try:
        return otherwise if found is None else read(json.loads(found.text))
    except (ValueError, TypeError, LookupError, AttributeError):
        return otherwise


def until_written[T, W](read: Callable[[], T], write: Callable[[T], W | None], known: T | None = None) -> W:
    """Read and write an item with optimistic locking, until no other writer interferes. Return the result of `write`.

    `write` gets the item, and returns None if another writer changed it meanwhile. `known` is the item as it was read
    before; None to read it first. Raises LedgerError after MAX_RACES attempts.
    """
    for _ in range(MAX_RACES):
        found, known = read() if known is None else known, None
        written = write(found)
        if written is not None:
            return written
    raise LedgerError("the item was changed each time it was read")


class Table:
    """The ledger's table. Every method raises LedgerError when DynamoDB fails or is too slow.

    `run` makes each call to DynamoDB, and may limit its time.
    """

    def __init__(self, client: "DynamoDBClient", name: str, clock: Clock, run: Run = lambda call: call()) -> None:
        self._client = client
        self._name = name
        self._clock = clock
        self._run = run

    def limited(self, run: Run) -> "Table":
        """Return a copy of the table that makes its calls by `run`, which limits their time."""
        return Table(self._client, self._name, self._clock, run)

    def read(self, key: str) -> Text | None:
        """Return the document at the key (strongly consistent read); None if there is none."""
        item = self._item(key)
        return _document(item) if item else None

    def attributes(self, key: str) -> dict[str, Any]:
        """Return an item's attributes by name, numbers as floats; empty without an item (strongly consistent read)."""
        return {name: _plain(value) for name, value in self._item(key).items()}

    def read_many(self, keys: Collection[str]) -> dict[str, Text | None]:
        """Return the documents at these keys (strongly consistent reads); None for a key without a document."""
        found: dict[str, Text | None] = {}
        left = list(keys)
        while left:
            asked, left = left[:MAX_BATCH], left[MAX_BATCH:]
            request = {self._name: {"Keys": [{"pk": {"S": key}} for key in asked], "ConsistentRead": True}}
            answer = self._asked(self._client.batch_get_item, RequestItems=request) or {}
            again = answer.get("UnprocessedKeys", {}).get(self._name, {"Keys": []})["Keys"]
            unprocessed = {each["pk"]["S"] for each in again}
            found |= {key: None for key in asked if key not in unprocessed}
            for item in answer.get("Responses", {}).get(self._name, ()):
                found[item["pk"]["S"]] = _document(item)
            if len(unprocessed) == len(asked):
                raise LedgerError("DynamoDB processed none of the keys")
            left += unprocessed
        return found

    def change(self, key: str, change: Callable[[Text | None], str | None]) -> None:
        """Replace the document at the key by `change(document)` with optimistic locking.

        `change` gets None if there is no document, and returns None to leave it as it is. It is called again if another
        writer was faster; after MAX_RACES such calls a LedgerError is raised.
        """

        def write(found: Text | None) -> int | None:
            text = change(found)
            return 0 if text is None else self.write(key, found.sequence if found else 0, text)

        until_written(lambda: self.read(key), write)

    def write(
        self,
        key: str,
        before: int,
        text: str,
        *,
        others: Mapping[str, str | float] = _NO_ATTRIBUTES,
        remove: Collection[str] = (),
    ) -> int | None:
        """Write a document if its version is still `before`. Return its new version, or None if the item was changed.

        `before` is 0 for a new document. `others` are attributes to set, and `remove` names those to delete; all others
        stay.
        """
        names = {"#text": "text", "#sequence": "sequence", "#expires": "expires"}
        values: dict[str, Any] = {
            ":text": {"S": text},
            ":sequence": {"N": str(before + 1)},
            ":expires": {"N": self._expiry()},
        }
        sets = ["#text = :text", "#sequence = :sequence", "#expires = :expires"]
        for name, value in others.items():
            names[f"#{name}"] = name
            values[f":{name}"] = {"S": value} if isinstance(value, str) else {"N": _number(value)}
            sets.append(f"#{name} = :{name}")
        names |= {f"#{name}": name for name in remove}
        removes = f" REMOVE {', '.join(f'#{name}' for name in remove)}" if remove else ""
        condition = "attribute_not_exists(pk)"
        if before:
            condition, values[":before"] = "#sequence = :before", {"N": str(before)}
        written = self._asked(
            self._client.update_item,
            TableName=self._name,
            Key={"pk": {"S": key}},
            UpdateExpression=f"SET {', '.join(sets)}{removes}",
            ConditionExpression=condition,
            ExpressionAttributeNames=names,
            ExpressionAttributeValues=values,
            ReturnValues="NONE",
        )
        return None if written is None else before + 1

    def store(self, key: str, text: str, *, lasts: float) -> None:
        """Write a document unconditionally, with a time to live of `lasts` seconds."""
        item: dict[str, Any] = {
            "pk": {"S": key},
            "text": {"S": text},
            "sequence": {"N": "1"},
            "expires": {"N": self._expiry(lasts)},
        }
        self._asked(self._client.put_item, TableName=self._name, Item=item)

    def due(self, shard: str, most: int) -> Iterator[Text]:
        """Yield up to `most` documents of a shard of the `due` index, the earliest due time first, also if not due yet.

        The index may lag by seconds: read a document again before you change it.
        """
        start: dict[str, Any] = {}
        while most > 0:
            page = self._asked(
                self._client.query,
                TableName=self._name,
                IndexName=INDEX,
                KeyConditionExpression="#shard = :shard",
                ExpressionAttributeNames={"#shard": SHARD},
                ExpressionAttributeValues={":shard": {"S": shard}},
                Limit=most,
                **start,
            )
            yield from map(_document, page["Items"])
            most -= len(page["Items"])
            if not page.get("LastEvaluatedKey"):
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def update(
        self,
        key: str,
        *,
        add: Mapping[str, float] = _NO_ATTRIBUTES,
        put: Mapping[str, float] = _NO_ATTRIBUTES,
        remove: Collection[str] = (),
        only_if: tuple[str, float] | None = None,
        below: tuple[str, float] | None = None,
        lasts: float = KEPT_SECONDS,
    ) -> Mapping[str, Any] | None:
        """Update numbers of an item atomically, and return all of its attributes; None if the condition fails.

        An attribute may be in only one of `add`, `put` (which sets it) and `remove`. At most one condition is given, as
        an attribute's name and a number: `only_if` demands equality, `below` that the attribute is smaller or missing.
        `lasts` is the item's time to live in seconds.
        """
        names: dict[str, str] = {}
        values: dict[str, Any] = {}

        def named(attribute: str, joint: str, value: float) -> str:
            names[f"#{attribute}"] = attribute
            values[f":{attribute}"] = {"N": _number(value)}
            return f"#{attribute}{joint}:{attribute}"

        adds = [named(name, " ", value) for name, value in add.items()]
        sets = [named(name, " = ", value) for name, value in put.items()]
        names["#expires"], values[":expires"] = "expires", {"N": self._expiry(lasts)}
        sets.append("#expires = :expires")
        names |= {f"#{name}": name for name in remove}
        clauses = {"ADD": adds, "SET": sets, "REMOVE": [f"#{name}" for name in remove]}
        condition: dict[str, Any] = {}
        if wanted := only_if or below:
            names["#condition"], values[":condition"] = wanted[0], {"N": _number(wanted[1])}
            smaller = "attribute_not_exists(#condition) OR #condition < :condition"
            condition = {"ConditionExpression": "#condition = :condition" if only_if else smaller}
        answer = self._asked(
            self._client.update_item,
            TableName=self._name,
            Key={"pk": {"S": key}},
            UpdateExpression=" ".join(f"{verb} {', '.join(parts)}" for verb, parts in clauses.items() if parts),
            ExpressionAttributeNames=names,
            ExpressionAttributeValues=values,
            ReturnValues="ALL_NEW",
            **condition,
        )
        return None if answer is None else {name: _plain(value) for name, value in answer["Attributes"].items()}

    def _item(self, key: str) -> Mapping[str, Any]:
        request = {"TableName": self._name, "Key": {"pk": {"S": key}}, "ConsistentRead": True}
        answer = self._asked(self._client.get_item, **request) or {}
        item: Mapping[str, Any] = answer.get("Item") or {}
        return item

    def _asked(self, call: Callable[..., Any], **request: Any) -> Any:
        try:
            return self._run(partial(call, **request))
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code")
            if code == "ConditionalCheckFailedException":
                return None
            raise LedgerError(f"DynamoDB refused: {code}") from error
        except BotoCoreError as error:
            raise LedgerError(f"DynamoDB could not be reached: {type(error).__name__}") from error
        except TimeoutError:
            raise LedgerError("no answer in time") from None

    def _expiry(self, lasts: float = KEPT_SECONDS) -> str:
        return str(int(self._clock() + lasts))


def _document(item: Mapping[str, Any]) -> Text:
    others = {name: _plain(value) for name, value in item.items() if name not in _DOCUMENT}
    return Text(item["text"]["S"], int(item["sequence"]["N"]), others, item["pk"]["S"])


def _number(value: float) -> str:
    return repr(value)


def _plain(value: Mapping[str, Any]) -> Any:
    return float(value["N"]) if "N" in value else value.get("S")


# Stands for a state that may have been announced, and of which nothing else is known.
_UNKNOWN = State(None, "", 0.0, is_open=True, rank=None, alerts=frozenset())
_COMPACT = json.JSONEncoder(separators=(",", ":"))
# Members of a state that are always written.
_MEMBERS_OF_A_STATE = 5
# Members of a debt that are stored under their own names. `since` is `owed_since`, and the index has the row.
_OF_A_DEBT = tuple(name for name in Debt._fields if name not in {"since", "row"})


def encoded(entry: Entry) -> str:
    """Return the JSON of an entry, without the row of its debt and without members that have a default value."""
    members = {name: value for name, value in _members(entry).items() if value}
    return _COMPACT.encode({**entry.others, **members})


def stored_row(entry: Entry) -> Row | None:
    """Return the row with which an entry is stored in the `due` index; None if the index need not have the entry.

    While a critical awaits proof (`Entry.is_awaited`) and the debt has no stored job, the row is due since the
    critical's signal. Otherwise it is the debt's row. It is critical if the newest state is, or while proof is awaited.
    """
    row = entry.debt.row
    if row is None and not entry.receipt.is_open:
        return None
    if entry.is_awaited and not entry.debt.job:
        # The row of a given-up state is due long after it.
        row = Row(entry.receipt.since)
    if row is None:
        return None
    # The state of an entry that could not be read is unknown: its row is as it was.
    is_critical = entry.newest.is_critical if entry.newest else row.is_critical
    return replace(row, is_critical=is_critical or entry.is_awaited)


def decoded(found: Text) -> Entry:
    """Read an entry from its table item.

    If that can't be parsed, `is_unreadable` is True, and a doubtful state makes the incident's resolve owed.
    """
    row = Row.of(found.others)
    try:
        return _entry(found.text, row, found.sequence)
    except (ValueError, TypeError, AttributeError, LookupError):
        # Another version or an operator wrote it. A state may have been announced, so a resolve is owed and the debt
        # stays.
        debt = Debt(since=row.due if row else None, row=row)
        return Entry(doubtful=(_UNKNOWN,), debt=debt, sequence=found.sequence, is_unreadable=True)


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
        **{name: getattr(debt, name) for name in _OF_A_DEBT},
        "over_at": end.at,
        "claim": end[1:] if any(end[1:]) else None,
        "flap": entry.flap if entry.flap != Flap() else None,
        "about": {name: value for name, value in entry.about._asdict().items() if value},
    }


# Cached, since reconcile runs and the sweeper read the same entries again and again.
@lru_cache(maxsize=256)
def _entry(text: str, row: Row | None, sequence: int) -> Entry:
    members: Mapping[str, Any] = json.loads(text)
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
        end=_end(members.get("over_at", 0.0), members.get("claim")),
        flap=_flap(members.get("flap")),
        about=_about(members.get("about", {})),
        others={name: value for name, value in members.items() if name not in _MEMBERS},
        sequence=sequence,
    )


def _debt(members: Mapping[str, Any], row: Row | None) -> Debt:
    found = {name: members[name] for name in _OF_A_DEBT if name in members}
    if slot := found.get("slot"):
        found["slot"] = Slot(slot[0], slot[1])
    # An item without a debt has the row of its receipt.
    return Debt(members.get("owed_since"), row=row if "owed_since" in members else None, **found)


def _end(at: float, claim: Sequence[Any] | None) -> End:
    if not claim:
        return End(at)
    claimed_at, version, silent_since = claim[: len(End._fields) - 1]
    return End(at, claimed_at, _version(version), silent_since)


def _flap(members: Sequence[Any] | None) -> Flap:
    if not members:
        return Flap()
    changes, calm_at, is_signalled = members[: len(Flap._fields)]
    return Flap(tuple(changes), calm_at, bool(is_signalled))


def _acknowledgement(members: Sequence[Any] | None) -> Acknowledgement | None:
    return Acknowledgement(*members[: len(Acknowledgement._fields)]) if members else None


def _receipt(members: Sequence[Any] | None) -> Receipt:
    if not members:
        return Receipt()
    found = Receipt(*members[: len(Receipt._fields)])
    return found._replace(recipients=tuple(found.recipients))


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
    """Return the members of a state as a JSON list, without those at its end that are empty; None for None."""
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
    """Reader and writer of entries by key (`entry.entry_key`). Every method raises LedgerError when DynamoDB fails."""

    table: Table

    def read(self, name: str) -> Entry:
        """Return the entry with the key `name` (see `decoded`); an empty one if the table has no item."""
        found = self.table.read(name)
        if found is None:
            return Entry()
        return decoded(found)

    def store(self, name: str, stored_name: str, envelope: str, *, lasts: float) -> None:
        """Store a job's envelope (message text) for `lasts` seconds, in an item of its own (`stored_key`)."""
        self.table.store(stored_key(name, stored_name), envelope, lasts=lasts)

    def stored(self, name: str, stored_name: str) -> str | None:
        """Return the envelope that `store` wrote; None if there is none."""
        found = self.table.read(stored_key(name, stored_name))
        return found.text if found else None

    def due(self, shard: str, most: int) -> Iterator[tuple[str, Entry]]:
        """Yield up to `most` keys and entries of a shard, in the order of `Table.due`. They may be out of date."""
        for found in self.table.due(shard, most):
            yield found.key, decoded(found)

    def read_many(self, names: Collection[str]) -> dict[str, Entry]:
        """Return the entries with the keys `names`, by key: an empty one if the table has no item."""
        found = self.table.read_many(names)
        return {name: Entry() if text is None else decoded(text) for name, text in found.items()}

    def write(self, name: str, before: Entry, after: Entry) -> Entry | None:
        """Write `after` and return it; return None if the table item changed since `before` was read."""
        row = stored_row(after)
        others = row.attributes(name) if row else {}
        # The item may have the row of a debt, or of a receipt, even if a step has ended that receipt since.
        remove = ATTRIBUTES if (before.debt.row or before.receipt.since) and not row else ()
        sequence = self.table.write(name, before.sequence, encoded(after), others=others, remove=remove)
        return replace(after, sequence=sequence, is_unreadable=False) if sequence else None

    def change(self, name: str, change: Callable[[Entry], Entry], entry: Entry | None = None) -> Entry:
        """Replace an entry by `change(entry)` with optimistic locking; return the written entry.

        `entry` is the entry as it was read last; None to read it first. `change` is called again with the new entry if
        another writer was faster; after MAX_RACES such calls a LedgerError is raised.
        """

        def write(before: Entry) -> Entry | None:
            after = change(before)
            return before if after == before else self.write(name, before, after)

        return until_written(lambda: self.read(name), write, entry)
