"""Versioned documents in DynamoDB with optimistic locking, atomic counters, and one sparse index.

The sparse index `due` lists items by a shard and a time. An item is in the index while it has both attributes.

A write can succeed although its answer is lost. Its repetition then fails the version check. So a failed check means
"read the item again", not "another writer changed it".
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from relay.deadline import Run
from relay.failures import LedgerError
from relay.ledger.debt import INDEX, SHARD

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
    """A document (text) in a table item, with its version.

    Attributes:
        text: The document.
        sequence: Version of the item: a number that grows with each conditional write, for optimistic locking.
        others: The item's other attributes by name; numbers as floats.
        key: Key of the item.
    """

    text: str
    sequence: int
    others: Mapping[str, Any] = _NO_ATTRIBUTES
    key: str = ""


def until_written[T, W](read: Callable[[], T], write: Callable[[T], W | None], known: T | None = None) -> W:
    """Read and write an item with optimistic locking. Repeat both if another writer changed the item in between.

    `write` gets the item as it was read, and returns None if the item was changed since. `known` is the item as it was
    read before; None to read it first. Returns the result of `write`. Raises LedgerError if other writers changed the
    item in each of MAX_RACES attempts.
    """
    for _ in range(MAX_RACES):
        found, known = read() if known is None else known, None
        written = write(found)
        if written is not None:
            return written
    raise LedgerError("the item was changed each time it was read")


class Table:
    """The ledger's table. Every method raises LedgerError when DynamoDB fails or is too slow.

    `clock` gives epoch seconds. `run` makes each call to DynamoDB, and may limit its time.
    """

    def __init__(
        self, client: "DynamoDBClient", name: str, clock: Callable[[], float], run: Run = lambda call: call()
    ) -> None:
        self._client = client
        self._name = name
        self._clock = clock
        self._run = run

    def limited(self, run: Run) -> "Table":
        """Return a copy of the table, each of whose calls `run` makes within a time limit."""
        return Table(self._client, self._name, self._clock, run)

    def read(self, key: str) -> Text | None:
        """Return the document at the key (strongly consistent read); None if there is none."""
        item = self._item(key)
        return _document(item) if item else None

    def numbers(self, key: str) -> dict[str, Any]:
        """Return all attributes of an item that `update` wrote (strongly consistent read); empty without an item."""
        return {name: _plain(value) for name, value in self._item(key).items()}

    def read_many(self, keys: Collection[str]) -> dict[str, Text | None]:
        """Return the documents at these keys (strongly consistent reads); None for a key without a document.

        Unprocessed keys are read again as long as each answer makes progress. Keys that stay unprocessed are missing
        from the result.
        """
        found: dict[str, Text | None] = {}
        left = list(keys)
        while left:
            asked, left = left[:MAX_BATCH], left[MAX_BATCH:]
            keys_asked: list[Any] = [{"pk": {"S": key}} for key in asked]
            answer = self._get_batch({self._name: {"Keys": keys_asked, "ConsistentRead": True}})
            unprocessed = {each["pk"]["S"] for each in answer["UnprocessedKeys"].get(self._name, {"Keys": []})["Keys"]}
            found |= {key: None for key in asked if key not in unprocessed}
            for item in answer["Responses"].get(self._name, ()):
                found[item["pk"]["S"]] = _document(item)
            if len(unprocessed) < len(asked):
                left += unprocessed
        return found

    def change(self, key: str, change: Callable[[Text | None], str | None]) -> None:
        """Replace the document at the key by `change(document)` with optimistic locking.

        `change` gets None if there is no document, and returns None to leave it as it is. If another writer changes the
        document in between, it is read and changed again. Raises LedgerError, too, if that happens each time.
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

        `before` 0 means that there is no document yet. `others` are further attributes to set, `remove` attributes to
        delete. All other attributes stay unchanged, since a newer version of this code may have written them.
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
        """Yield up to `most` documents of a shard of the `due` index, the earliest due time first.

        Those that are not due yet are included. The index is eventually consistent and may lag by seconds. Read a
        document again before you change it.
        """
        start: dict[str, Any] = {}
        while most > 0:
            page = self._query(shard, most, start)
            yield from map(_document, page["Items"])
            most -= len(page["Items"])
            if not page.get("LastEvaluatedKey"):
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def _query(self, shard: str, most: int, start: Mapping[str, Any]) -> Mapping[str, Any]:
        answer: Mapping[str, Any] | None = self._asked(
            self._client.query,
            TableName=self._name,
            IndexName=INDEX,
            KeyConditionExpression="#shard = :shard",
            ExpressionAttributeNames={"#shard": SHARD},
            ExpressionAttributeValues={":shard": {"S": shard}},
            Limit=most,
            **start,
        )
        return answer or {"Items": []}

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

        `add` adds to numbers, `put` sets numbers, `remove` deletes attributes. An attribute may occur in only one of
        these three. The condition is `only_if` or `below`, each a pair of an attribute's name and a number. With
        `only_if`, the attribute must equal the number. With `below`, it must be smaller than the number, or missing.
        The item's time to live is `lasts` seconds.
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

    def _get_batch(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = self._asked(self._client.batch_get_item, RequestItems=request) or {}
        return {"Responses": {}, "UnprocessedKeys": {}} | dict(answer)

    def _item(self, key: str) -> Mapping[str, Any]:
        request = {"TableName": self._name, "Key": {"pk": {"S": key}}, "ConsistentRead": True}
        answer = self._asked(self._client.get_item, **request) or {}
        item: Mapping[str, Any] = answer.get("Item") or {}
        return item

    def _asked(self, call: Callable[..., Any], **request: Any) -> Any:
        """Make a call, and return DynamoDB's answer; None if the call's condition failed."""
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
