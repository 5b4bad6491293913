"""Comparison of the checker with fastjsonschema: secrets with wrong values in every place, missing and unknown keys."""

import copy
from collections.abc import Iterator
from typing import Any

import fastjsonschema
import pytest

from relay.channels.schema import AUTH, CHANNEL, faults
from tests.every_setting import every_setting

SCHEMAS = {"channel": CHANNEL} | AUTH
SAMPLES = {"channel": every_setting("payments")} | {
    kind: every_setting("payments", kind)["xmatters"]["auth"] for kind in AUTH
}
REFERENCES = {name: fastjsonschema.compile(schema) for name, schema in SCHEMAS.items()}


def nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield each object in a schema, the schema first."""
    if isinstance(schema, dict):
        yield schema
    if isinstance(schema, dict | list):
        for each in schema.values() if isinstance(schema, dict) else schema:
            yield from nodes(each)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of a value and of each value in it."""
    yield path
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(each, (*path, key))


def place_in(document: Any, path: tuple[Any, ...]) -> tuple[dict[str, Any], Any, Any]:
    """Return a copy of a document as the member `root` of an object; also the container and the key of a value."""
    root: dict[str, Any] = {"root": copy.deepcopy(document)}
    holder: Any = root
    *way, key = ("root", *path)
    for step in way:
        holder = holder[step]
    return root, holder, key


def wrong_values() -> list[Any]:
    """Return values of each type, and texts, lists, objects and numbers around each bound that the schema has."""
    bounds = {each for node in nodes(CHANNEL) for each in node.values() if type(each) in {int, float}}
    numbers = [bound + step for bound in bounds for step in (-1, 0, 0.5, 1)]
    sizes = {int(bound) + step for bound in bounds if 0 < bound <= 20_000 for step in (0, 1)}
    return [
        *(None, True, False, 0.0, 60.0, 1e308, float("inf")),
        *([], {}, [None], [[]], [{}], ["a", 1], ["opened", "opened"]),
        *("", " ", "\t\n", "a,b", "a b", "a\n", "é", "-a", "a", " a", "http://a", "http://a b", "ftp://a", "opened"),
        *({"x": None}, {"status\n": "a"}, {"status": ["a", ""]}, {"tag.": "a"}, {"tag. ": "a"}, {"tag.a b": "a"}),
        *numbers,
        *("x" * size for size in sizes),
        *([f"e{number}" for number in range(size)] for size in sizes if size <= 101),
        *({f"tag.{number}": "a" for number in range(size)} for size in sizes if size <= 101),
        *({f"tag.{'a' * size}": "a"} for size in sizes if size <= 101),
    ]


VALUES = wrong_values()
# For a place that holds no number, three numbers are as good as all.
FEW_NUMBERS = [value for value in VALUES if type(value) not in {int, float}] + [0, 0.5, 1.0]


def is_accepted(name: str, document: Any) -> bool:
    return not any(faults(document, SCHEMAS[name], ""))


def is_accepted_by_reference(name: str, document: Any) -> bool:
    try:
        REFERENCES[name](document)
    except fastjsonschema.JsonSchemaValueException:
        return False
    return True


def is_judged_alike(name: str, document: Any) -> bool:
    return is_accepted(name, document) is is_accepted_by_reference(name, document)


@pytest.mark.parametrize("name", SAMPLES)
def test_secret_is_refused_if_and_only_if_fastjsonschema_refuses_it(name: str) -> None:
    for path in places(SAMPLES[name]):
        root, holder, key = place_in(SAMPLES[name], path)
        for value in VALUES if type(holder[key]) in {int, float} else FEW_NUMBERS:
            holder[key] = value
            assert is_judged_alike(name, root["root"]), (path, value)
        if path:
            holder.pop(key)
            assert is_judged_alike(name, root["root"]), path
            root, holder, key = place_in(SAMPLES[name], path)
            if isinstance(holder, dict):
                holder["unknown"] = 1
                assert is_judged_alike(name, root["root"]), path


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_each_pattern_has_a_bound_on_the_text_and_an_error_message(schema: dict[str, Any]) -> None:
    for node in nodes(schema):
        if isinstance(node.get("pattern"), str):
            assert node.keys() >= {"maxLength", "patternErrorMessage"}
