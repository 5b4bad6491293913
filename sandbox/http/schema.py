"""Validation of input: JSON, and checkers for JSON objects whose errors name the entry and the key."""

import copy
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import fastjsonschema

type Check = Callable[[object, str], dict[str, Any]]


def object_of(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the JSON Schema of objects with these keys and no others, each with its JSON Schema."""
    properties = required | (optional or {})
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


# Schemas of an address on this machine, since nothing real may be rung by accident, and of a header with credentials.
LOOPBACK_URL = {
    "type": "string",
    "maxLength": 4000,
    "pattern": r"^https?://(127\.0\.0\.1|\[::1\]|([a-z0-9-]{1,63}\.){0,4}localhost)(:[0-9]{1,5})?(/[\x21-\x7e]*)?$",
}
HEADER = object_of(
    {
        "name": {"type": "string", "pattern": "^[A-Za-z0-9-]{1,100}$"},
        "value": {"type": "string", "pattern": "^[\\x21-\\x7e]([\\x20-\\x7e]{0,4000}[\\x21-\\x7e])?$"},
    }
)


class InvalidError(ValueError):
    """Invalid input; the message names the entry and the key, never a value."""


def parse_json(content: bytes) -> Any:
    """Parse strict JSON: UTF-8, without NaN and Infinity, which Python would accept.

    Raises InvalidError if the content is not JSON, or nested too deep to be read.
    """
    try:
        return json.loads(content.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise InvalidError("the body is not JSON") from None


def json_or_none(content: bytes) -> Any:
    """Parse strict JSON; return None if the content is not JSON."""
    try:
        return parse_json(content)
    except InvalidError:
        return None


def compiled(required: dict[str, Any], optional: dict[str, Any] | None = None) -> Check:
    """Return a checker for JSON objects with these keys and no others, each with its JSON Schema.

    The checker takes the object and its name in messages. It returns a copy with the schemas' defaults filled in.

    Raises InvalidError from the checker, if the object does not fit.
    """
    validate = fastjsonschema.compile(object_of(required, optional))

    def check(document: object, name: str) -> dict[str, Any]:
        try:
            checked: dict[str, Any] = validate(copy.deepcopy(document), name_prefix=name)
        except fastjsonschema.JsonSchemaValueException as error:
            raise InvalidError(error.message) from None
        return checked

    return check


def by_kind(key: str, kinds: Mapping[str, Check]) -> Check:
    """Return a checker that chooses one of `kinds` by the value of `key`."""

    def check(document: object, name: str) -> dict[str, Any]:
        kind = document.get(key) if isinstance(document, dict) else None
        if not isinstance(kind, str) or kind not in kinds:
            raise InvalidError(f"{name}.{key} must be one of {', '.join(kinds)}")
        return kinds[kind](document, name)

    return check


def whole_number(query: Mapping[str, str], name: str, default: int, allowed: range) -> int:
    """Return the number in the query parameter `name`, or `default`. Raises InvalidError if it is not in `allowed`."""
    value = query.get(name, str(default))
    if not re.fullmatch("[0-9]{1,13}", value) or int(value) not in allowed:
        raise InvalidError(f"{name} must be a whole number from {allowed[0]} to {allowed[-1]}")
    return int(value)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)
