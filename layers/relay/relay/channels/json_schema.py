"""Checker of decoded JSON against a JSON Schema. It implements the keywords that `channels.schema` uses, no others."""

import json
import re
from collections.abc import Iterator, Mapping
from math import inf
from typing import Any

# Compared with the exact type of a value, since bool is a subclass of int in Python.
_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}


def faults(value: Any, schema: Mapping[str, Any], place: str) -> Iterator[str]:
    """Yield each violation of the schema, which names the key at fault but never its value.

    `place` is the dotted key of the value in the secret, such as `xmatters.auth`; empty for the whole secret.
    """
    if not schema:
        return  # An empty schema allows any value, however deeply nested.
    if "type" in schema:
        wanted = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        if not any(_is_of_type(value, name) for name in wanted):
            yield _fault(place, f"must be of type {' or '.join(wanted)}")
            return
    # In Python, 1 and 1.0 equal True.
    if "enum" in schema and not any(type(value) is type(each) and value == each for each in schema["enum"]):
        choices = (each if isinstance(each, str) else json.dumps(each) for each in schema["enum"])
        yield _fault(place, f"must be one of {', '.join(choices)}")
        return
    match value:
        case dict():
            yield from _object_faults(value, schema, place)
        case list():
            yield from _array_faults(value, schema, place)
        case str():
            yield from _text_faults(value, schema, place)
        case int() | float():
            yield from _number_faults(value, schema, place)


def _is_of_type(value: Any, name: str) -> bool:
    is_whole = isinstance(value, float) and value.is_integer()
    return type(value) in _TYPES[name] or (name == "integer" and is_whole)


def _object_faults(members: dict[str, Any], schema: Mapping[str, Any], place: str) -> Iterator[str]:
    if len(members) < schema.get("minProperties", 0):
        yield _fault(place, "must not be empty")
    if len(members) > schema.get("maxProperties", inf):
        yield _fault(place, f"must have {schema['maxProperties']} keys at most")
    if missing := [key for key in schema.get("required", ()) if key not in members]:
        yield _fault(place, f"needs {', '.join(missing)}")
    for key, member in members.items():
        if (wanted := _schema_of(key, schema)) is False:
            yield _fault(place, f"unknown key {key}")
        else:
            yield from faults(member, wanted, f"{place}.{key}" if place else key)


def _schema_of(key: str, schema: Mapping[str, Any]) -> Any:
    """Return the schema of an object's member; False if the object must not have the member."""
    if key in schema.get("properties", {}):
        return schema["properties"][key]
    for pattern, wanted in schema.get("patternProperties", {}).items():
        if re.search(pattern, key):
            return wanted
    return schema.get("additionalProperties", {})


def _array_faults(items: list[Any], schema: Mapping[str, Any], place: str) -> Iterator[str]:
    if len(items) > schema.get("maxItems", inf):
        yield _fault(place, f"must have {schema['maxItems']} items at most")
    for index, item in enumerate(items):
        yield from faults(item, schema.get("items", {}), f"{place}.{index}")
    texts = [item for item in items if isinstance(item, str)]
    if schema.get("uniqueItems") and len(set(texts)) < len(texts):
        yield _fault(place, "must not name anything twice")


def _text_faults(text: str, schema: Mapping[str, Any], place: str) -> Iterator[str]:
    if len(text) < schema.get("minLength", 0):
        yield _fault(place, "must not be empty")
    # Before the pattern, whose work the length bounds.
    if len(text) > schema.get("maxLength", inf):
        yield _fault(place, f"must have {schema['maxLength']} characters at most")
    elif "pattern" in schema and not re.search(schema["pattern"], text):
        yield _fault(place, schema["patternErrorMessage"])


def _number_faults(number: float, schema: Mapping[str, Any], place: str) -> Iterator[str]:
    if number < schema.get("minimum", -inf):
        yield _fault(place, f"must be {schema['minimum']} or more")
    if number > schema.get("maximum", inf):
        yield _fault(place, f"must be {schema['maximum']} or less")


def _fault(place: str, complaint: str) -> str:
    return f"{place or 'the secret'}: {complaint}"
