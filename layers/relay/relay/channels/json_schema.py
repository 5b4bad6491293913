"""Checker of decoded JSON against a JSON Schema. It implements the keywords that `channels.schema` uses, no others."""

import json
import re
from collections.abc import Mapping
from math import inf
from typing import Any, Never

from relay.failures.errors import InvalidChannel

# Compared with the exact type of a value, since bool is a subclass of int in Python.
_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}


def check(value: Any, schema: Mapping[str, Any], place: str) -> None:
    """Raise InvalidChannel, which names the key at fault but never its value, if the value violates the schema.

    `place` is the dotted key of the value in the secret, such as `xmatters.auth`; empty for the whole secret.
    """
    if not schema:
        return  # An empty schema allows any value, however deeply nested.
    if "type" in schema:
        wanted = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        if not any(_is_of_type(value, name) for name in wanted):
            _refuse(place, f"must be of type {' or '.join(wanted)}")
    # In Python, 1 and 1.0 equal True.
    if "enum" in schema and not any(type(value) is type(each) and value == each for each in schema["enum"]):
        choices = (each if isinstance(each, str) else json.dumps(each) for each in schema["enum"])
        _refuse(place, f"must be one of {', '.join(choices)}")
    match value:
        case dict():
            _check_object(value, schema, place)
        case list():
            _check_array(value, schema, place)
        case str():
            _check_text(value, schema, place)
        case int() | float():
            _check_number(value, schema, place)


def _is_of_type(value: Any, name: str) -> bool:
    is_whole = isinstance(value, float) and value.is_integer()
    return type(value) in _TYPES[name] or (name == "integer" and is_whole)


def _check_object(members: dict[str, Any], schema: Mapping[str, Any], place: str) -> None:
    if len(members) < schema.get("minProperties", 0):
        _refuse(place, "must not be empty")
    if len(members) > schema.get("maxProperties", inf):
        _refuse(place, f"must have {schema['maxProperties']} keys at most")
    if missing := [key for key in schema.get("required", ()) if key not in members]:
        _refuse(place, f"needs {', '.join(missing)}")
    unknown = []
    for key, member in members.items():
        if (wanted := _schema_of(key, schema)) is False:
            unknown.append(key)
        else:
            check(member, wanted, f"{place}.{key}" if place else key)
    if unknown:
        _refuse(place, f"unknown key {', '.join(sorted(unknown))}")


def _schema_of(key: str, schema: Mapping[str, Any]) -> Any:
    """Return the schema of an object's member; False if the object must not have the member."""
    if key in schema.get("properties", {}):
        return schema["properties"][key]
    for pattern, wanted in schema.get("patternProperties", {}).items():
        if re.search(pattern, key):
            return wanted
    return schema.get("additionalProperties", {})


def _check_array(items: list[Any], schema: Mapping[str, Any], place: str) -> None:
    if len(items) > schema.get("maxItems", inf):
        _refuse(place, f"must have {schema['maxItems']} items at most")
    for index, item in enumerate(items):
        check(item, schema.get("items", {}), f"{place}.{index}")
    # The items are texts, by their own schema, so they can be hashed.
    if schema.get("uniqueItems") and len(set(items)) < len(items):
        _refuse(place, "must not name anything twice")


def _check_text(text: str, schema: Mapping[str, Any], place: str) -> None:
    if len(text) < schema.get("minLength", 0):
        _refuse(place, "must not be empty")
    # Before the pattern, whose work the length bounds.
    if len(text) > schema.get("maxLength", inf):
        _refuse(place, f"must have {schema['maxLength']} characters at most")
    if "pattern" in schema and not re.search(schema["pattern"], text):
        _refuse(place, schema["patternErrorMessage"])


def _check_number(number: float, schema: Mapping[str, Any], place: str) -> None:
    if number < schema.get("minimum", -inf):
        _refuse(place, f"must be {schema['minimum']} or more")
    if number > schema.get("maximum", inf):
        _refuse(place, f"must be {schema['maximum']} or less")


def _refuse(place: str, complaint: str) -> Never:
    raise InvalidChannel(f"{place or 'the secret'}: {complaint}")
