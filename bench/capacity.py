"""Capacity units of DynamoDB: the size of an item, and the units of a read or a write. Pure code.

Source: "DynamoDB item sizes and formats" and "capacity unit consumption" in AWS's developer guide.
"""

from collections.abc import Mapping
from math import ceil
from typing import Any

READ_UNIT_BYTES = 4096
WRITE_UNIT_BYTES = 1024


def item_bytes(item: Mapping[str, Mapping[str, Any]]) -> int:
    """Return the size of an item, given in the API's form. Attributes are strings or numbers."""
    return sum(len(name.encode()) + _value_bytes(value) for name, value in item.items())


def read_units(size: int) -> int:
    """Return the units of one strongly consistent read. A read that finds no item costs one unit."""
    return max(1, ceil(size / READ_UNIT_BYTES))


def write_units(before: int, after: int) -> int:
    """Return the units of one write: the larger of the item before and after it counts."""
    return max(1, ceil(max(before, after) / WRITE_UNIT_BYTES))


def _value_bytes(value: Mapping[str, Any]) -> int:
    match dict(value):
        case {"S": text}:
            return len(text.encode())
        case {"N": number}:
            return _number_bytes(number)
    raise NotImplementedError(f"a value of another kind: {value}")


def _number_bytes(number: str) -> int:
    # One byte for each two significant digits, one more, and one for a minus sign.
    digits = number.lstrip("-").replace(".", "").strip("0")
    return ceil(len(digits) / 2) + 1 + number.startswith("-")
