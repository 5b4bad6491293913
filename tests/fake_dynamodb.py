"""A DynamoDB client in memory for the calls that the library makes; any other call fails."""

import re
from bisect import bisect_right
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from itertools import chain
from typing import Any

from botocore.exceptions import ClientError

from relay.ledger.table import Table

type Item = dict[str, Any]

MAX_ITEM_BYTES = 400 * 1024
MAX_KEY_BYTES = 2048
MAX_BATCH_KEYS = 100


class FakeDynamoDb:
    """One table with the key `pk`."""

    def __init__(self) -> None:
        # Items by key.
        self.items: dict[str, Item] = {}
        # Names of all operations that were called, in order.
        self.calls: list[str] = []
        # Raised by every call while it is set.
        self.failure: Exception | None = None
        # True if reads work and writes fail.
        self.refuses_writes = False
        # Number of keys that BatchGetItem answers for; it leaves the others unprocessed.
        self.batch_size = MAX_BATCH_KEYS
        # Number of items in a page of Query.
        self.page_size = 2
        self._expires_by: Callable[[], float] = lambda: 0.0

    def table(self, clock: Callable[[], float]) -> Table:
        """Return the library's table over this client, whose items expire by the same clock."""
        client: Any = self
        self._expires_by = clock
        return Table(client, "ledger", clock)

    def get_item(self, *, TableName: str, Key: Item, ConsistentRead: bool) -> Item:
        self._called("get_item")
        assert ConsistentRead, "a stale read could send a signal twice"
        item = self._item(Key["pk"]["S"])
        return {"Item": _copied(item)} if item else {}

    def batch_get_item(self, *, RequestItems: Mapping[str, Any]) -> Item:
        """Answer for `batch_size` keys at most; leave the others unprocessed, as DynamoDB does when it is busy."""
        self._called("batch_get_item")
        [(table, request)] = RequestItems.items()
        keys = request["Keys"]
        assert request["ConsistentRead"] is True
        if not 0 < len(keys) <= MAX_BATCH_KEYS:
            raise invalid("BatchGetItem", "too many keys, or none")
        if len({key["pk"]["S"] for key in keys}) < len(keys):
            raise invalid("BatchGetItem", "a key is named twice")
        asked, left = keys[: self.batch_size], keys[self.batch_size :]
        found = [_copied(item) for key in asked if (item := self._item(key["pk"]["S"]))]
        return {"Responses": {table: found}, "UnprocessedKeys": {table: {"Keys": left}} if left else {}}

    def put_item(self, *, TableName: str, Item: Item) -> Item:
        self._called("put_item")
        item = _stored(Item)
        _check_item(item, "PutItem")
        self.items[Item["pk"]["S"]] = item
        return {}

    def update_item(
        self,
        *,
        TableName: str,
        Key: Item,
        UpdateExpression: str,
        ExpressionAttributeNames: Mapping[str, str],
        ExpressionAttributeValues: Mapping[str, Any],
        ReturnValues: str,
        ConditionExpression: str = "",
    ) -> Item:
        self._called("update_item")
        assert ReturnValues in {"ALL_NEW", "NONE"}
        names, values = _stored_placeholders(
            f"{UpdateExpression} {ConditionExpression}", ExpressionAttributeNames, ExpressionAttributeValues
        )
        there = self._item(Key["pk"]["S"])
        if ConditionExpression and not _holds(ConditionExpression, there, names, values):
            raise condition_failed("UpdateItem")
        item = _copied(there or Key)
        touched: list[str] = []
        for verb, name, value in _actions(UpdateExpression):
            touched.append(names[name])
            _change(item, verb, names[name], values.get(value))
        assert len(touched) == len(set(touched)), "DynamoDB refuses an attribute that is named twice"
        _check_item(item, "UpdateItem")
        self.items[Key["pk"]["S"]] = item
        return {"Attributes": _copied(item)} if ReturnValues == "ALL_NEW" else {}

    def query(
        self,
        *,
        TableName: str,
        IndexName: str,
        KeyConditionExpression: str,
        ExpressionAttributeNames: Mapping[str, str],
        ExpressionAttributeValues: Mapping[str, Any],
        Limit: int,
        ExclusiveStartKey: Item | None = None,
    ) -> Item:
        """Return one batch of query results: items of one shard of the index `due`, ordered by time."""
        self._called("query")
        assert (IndexName, KeyConditionExpression) == ("due", "#shard = :shard")
        assert ExpressionAttributeNames == {"#shard": "due"}
        there = [item for item in self.shown() if item["due"] == ExpressionAttributeValues[":shard"]]
        if not there:
            return {"Items": []}
        there.sort(key=_place)
        start = bisect_right(there, _place(ExclusiveStartKey), key=_place) if ExclusiveStartKey else 0
        page = there[start : start + min(Limit, self.page_size)]
        answer: Item = {"Items": [_copied(item) for item in page]}
        if start + len(page) < len(there):
            answer["LastEvaluatedKey"] = {name: page[-1][name] for name in ("pk", "due", "due_at")}
        return answer

    def indexed(self) -> list[Item]:
        """Return the items that have both keys of the index `due`."""
        return [item for item in self.items.values() if "due" in item and "due_at" in item]

    def shown(self) -> list[Item]:
        """Return the items that a query of the index `due` finds. The real index lags behind the table."""
        return self.indexed()

    def _item(self, key: str) -> Item:
        """Return the item with that key; empty if there is none. DynamoDB deletes an expired item later than this."""
        item = self.items.get(key, {})
        if "expires" in item and self._expires_by() >= float(item["expires"]["N"]):
            del self.items[key]
            return {}
        return item

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.failure:
            raise self.failure
        if self.refuses_writes and name not in {"get_item", "batch_get_item", "query"}:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, name)


def condition_failed(operation: str) -> ClientError:
    return ClientError({"Error": {"Code": "ConditionalCheckFailedException", "Message": "no"}}, operation)


def invalid(operation: str, why: str) -> ClientError:
    return ClientError({"Error": {"Code": "ValidationException", "Message": why}}, operation)


def size(item: Item) -> int:
    """Return an item's bytes that count for DynamoDB's size limit: names and values, numbers at their longest."""
    return len("".join(chain(item, *(value.values() for value in item.values()))).encode())


def _check_item(item: Item, operation: str) -> None:
    try:
        if not 0 < len(item["pk"]["S"].encode()) <= MAX_KEY_BYTES:
            raise invalid(operation, "the key is empty, or too long")
        if size(item) > MAX_ITEM_BYTES:
            raise invalid(operation, "the item is too large")
    except UnicodeEncodeError:
        raise invalid(operation, "a text is not UTF-8") from None


def _stored_placeholders(
    expressions: str, names: Mapping[str, str], values: Mapping[str, Any]
) -> tuple[Mapping[str, str], Mapping[str, Any]]:
    """Return the placeholders' names, and their values in the form that DynamoDB stores.

    Fail unless the expressions use each of these placeholders, and no other.
    """
    used = _used(expressions)
    assert used[0] == names.keys(), "DynamoDB refuses names that are not used"
    assert used[1] == values.keys(), "DynamoDB refuses values that are not used"
    return names, _stored(values)


@lru_cache(maxsize=1024)
def _used(expressions: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the placeholders of names, and those of values, in expressions."""
    return frozenset(re.findall(r"#\w+", expressions)), frozenset(re.findall(r":\w+", expressions))


def _place(item: Item) -> tuple[Decimal, str]:
    """Return the place of an item, or of a page's last key, in the index."""
    return Decimal(item["due_at"]["N"]), item["pk"]["S"]


def _copied(item: Item) -> Item:
    # A value is replaced as a whole, since the library's items have no lists and no maps.
    return dict(item)


def _stored(values: Mapping[str, Any]) -> Item:
    return {name: {"N": _plain(value["N"])} if "N" in value else value for name, value in values.items()}


@lru_cache(maxsize=4096)
def _plain(number: str) -> str:
    # Equal numbers in different spellings must compare as equal.
    return format(Decimal(number).normalize(), "f")


def _holds(condition: str, item: Item, names: Mapping[str, str], values: Mapping[str, Any]) -> bool:
    if condition == "attribute_not_exists(pk)":
        return not item
    comparison, name, value = _comparison(condition)
    there = item.get(names[name])
    if comparison == "=":
        return bool(there == values[value])
    return there is None or Decimal(there["N"]) < Decimal(values[value]["N"])


@lru_cache(maxsize=1024)
def _comparison(condition: str) -> tuple[str, str, str]:
    """Return the operator of a condition, the name's placeholder and the value's placeholder."""
    found = re.fullmatch(r"(?:attribute_not_exists\((#\w+)\) OR \1 (<)|(#\w+) (=)) (:\w+)", condition)
    assert found, f"the fake does not know this condition: {condition}"
    return found[2] or found[4], found[1] or found[3], found[5]


@lru_cache(maxsize=1024)
def _actions(expression: str) -> list[tuple[str, str, str]]:
    """Return the verb, the name's placeholder and the value's placeholder of each action of an update."""
    pieces = re.split(r"(?:^| )(ADD|SET|REMOVE) ", expression)[1:]
    actions = []
    for verb, text in zip(pieces[::2], pieces[1::2], strict=True):
        for part in text.split(", "):
            name, _, value = part.partition(" = " if verb == "SET" else " ")
            actions.append((verb, name, value))
    return actions


def _change(item: Item, verb: str, name: str, value: Any) -> None:
    match verb:
        case "SET":
            item[name] = value
        case "REMOVE":
            item.pop(name, None)
        case _:
            item[name] = {"N": _plain(str(Decimal(item.get(name, {"N": "0"})["N"]) + Decimal(value["N"])))}
