"""What DynamoDB counts: the size of an item, and the units that it costs to read or write one. Pure code.

As in "DynamoDB item sizes and formats" and "capacity unit consumption" of AWS's developer guide.
"""

from collections.abc import Mapping
from math import ceil
from typing import Any

READ_UNIT_BYTES = 4096
WRITE_UNIT_BYTES = 1024


def item_bytes(item: Mapping[str, Mapping[str, Any]]) -> int:
    """The bytes of an item as the API writes it: strings, numbers and sets of them."""
    return sum(len(name.encode()) + _value_bytes(value) for name, value in item.items())


def read_units(size: int) -> int:
    """What one strongly consistent read costs; one of nothing costs the same as a small one."""
    return max(1, ceil(size / READ_UNIT_BYTES))


def write_units(before: int, after: int) -> int:
    """What one write costs: the larger of what was there and what is there then."""
    return max(1, ceil(max(before, after) / WRITE_UNIT_BYTES))


def _value_bytes(value: Mapping[str, Any]) -> int:
    match dict(value):
        case {"S": text}:
            return len(text.encode())
        case {"N": number}:
            return _number_bytes(number)
    raise NotImplementedError(f"a value of another kind: {value}")


def _number_bytes(number: str) -> int:
    # A byte for two digits that mean something, one more, and one for a minus.
    digits = number.lstrip("-").replace(".", "").strip("0")
    return ceil(len(digits) / 2) + 1 + number.startswith("-")
