"""Versioned documents in DynamoDB with optimistic locking, and items of numbers that are counted without it.

DynamoDB counts a write that reached it although its answer was lost: who repeats it is told that the item was changed
meanwhile. So "not written" means "read it again", never "another one won".
"""

import hashlib
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from relay.errors import LedgerError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# What nobody speaks of for so long is forgotten; an incident's next share opens it anew.
KEPT_SECONDS = 90 * 24 * 3600
# A key has 2,048 bytes at most; an incident's id stands in it beside a channel and a hash of recipients.
MAX_KEY_BYTES = 1024
# What one BatchGetItem may ask for.
MAX_BATCH = 100
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Text(NamedTuple):
    """What stands at a key; `sequence` counts its changes."""

    text: str
    sequence: int


class Table:
    """One table. `clock` gives epoch seconds. Every method raises LedgerError when DynamoDB fails."""

    def __init__(self, client: "DynamoDBClient", name: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._name = name
        self._clock = clock

    def read(self, key: str) -> Text | None:
        """The text at the key, as it is after all writes that were answered."""
        item = _asked(
            lambda: self._client.get_item(TableName=self._name, Key={"pk": {"S": key}}, ConsistentRead=True).get("Item")
        )
        return Text(item["text"]["S"], int(item["sequence"]["N"])) if item else None

    def read_many(self, keys: Collection[str]) -> dict[str, Text | None]:
        """Return the texts at these keys, as after all answered writes; None where there is none.

        Keys that DynamoDB leaves unprocessed are asked for again as long as each answer has some; the rest is missing.
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
                found[item["pk"]["S"]] = Text(item["text"]["S"], int(item["sequence"]["N"]))
            if len(unprocessed) < len(asked):
                left += unprocessed
        return found

    def write(self, key: str, before: int, text: str) -> int | None:
        """Write the text if its sequence is still `before` (0: there is none): the new sequence, else None."""
        item: dict[str, Any] = {
            "pk": {"S": key},
            "text": {"S": text},
            "sequence": {"N": str(before + 1)},
            "expires": {"N": self._expiry()},
        }
        written = _asked(
            lambda: self._client.put_item(
                TableName=self._name,
                Item=item,
                **_still(before),
            )
        )
        return None if written is None else before + 1

    def update(
        self,
        key: str,
        *,
        add: Mapping[str, float] = _NOTHING,
        put: Mapping[str, float] = _NOTHING,
        remove: Collection[str] = (),
        only_if: tuple[str, float] | None = None,
        below: tuple[str, float] | None = None,
        lasts: float = KEPT_SECONDS,
    ) -> Mapping[str, Any] | None:
        """Change numbers of an item and return all of its attributes as they are now; None if a condition fails.

        `add` counts numbers up or down, `put` sets them, `remove` forgets attributes; an attribute may be named once.
        `only_if` wants an attribute to be that number, `below` to be missing or smaller. The item is forgotten after
        `lasts` seconds.
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
        answer = _asked(
            lambda: self._client.update_item(
                TableName=self._name,
                Key={"pk": {"S": key}},
                UpdateExpression=" ".join(f"{verb} {', '.join(parts)}" for verb, parts in clauses.items() if parts),
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=values,
                ReturnValues="ALL_NEW",
                **condition,
            )
        )
        return None if answer is None else {name: _plain(value) for name, value in answer["Attributes"].items()}

    def _get_batch(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = _asked(lambda: self._client.batch_get_item(RequestItems=request)) or {}
        return {"Responses": {}, "UnprocessedKeys": {}} | dict(answer)

    def _expiry(self, lasts: float = KEPT_SECONDS) -> str:
        return str(int(self._clock() + lasts))


def legal(incident_id: str) -> str:
    """The id itself, or its hash where DynamoDB would not take it: too long, or with a lone surrogate."""
    encoded = incident_id.encode("utf-8", "surrogatepass")
    is_text = encoded.decode("utf-8", "replace") == incident_id
    return incident_id if is_text and len(encoded) <= MAX_KEY_BYTES else f"sha256/{hashlib.sha256(encoded).hexdigest()}"


def _still(before: int) -> dict[str, Any]:
    """The condition that an item is as it was."""
    if before == 0:
        return {"ConditionExpression": "attribute_not_exists(pk)"}
    return {
        "ConditionExpression": "#sequence = :before",
        "ExpressionAttributeNames": {"#sequence": "sequence"},
        "ExpressionAttributeValues": {":before": {"N": str(before)}},
    }


def _asked[T](call: Callable[[], T]) -> T | None:
    """What DynamoDB answers; None when a condition did not hold."""
    try:
        return call()
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code")
        if code == "ConditionalCheckFailedException":
            return None
        raise LedgerError(f"DynamoDB refused: {code}") from error
    except BotoCoreError as error:
        raise LedgerError(f"DynamoDB could not be reached: {type(error).__name__}") from error


def _number(value: float) -> str:
    return repr(value)


def _plain(value: Mapping[str, Any]) -> Any:
    return float(value["N"]) if "N" in value else value.get("S")
