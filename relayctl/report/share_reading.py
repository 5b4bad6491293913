"""Origin of a share's parsed fields: the members of the body that the relay read, and those that it ignored. Pure code.

The relay's parser does not record where it read a field. So this module changes or removes one member of the body at a
time, and parses the body again. If a field differs then, the parser read it from that member. Thus there is no second
copy of the parser's rules.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from relay.failures.errors import BadRequest
from relay.incidents.details import AlertDetails, Details, details_of
from relay.incidents.share import Share, parse_share

# Bounds of the work for large bodies: members that are tried, items of each list, characters of each text, levels.
MAX_MEMBERS = 200
MAX_ITEMS = 25
MAX_TEXT = 600
MAX_LEVELS = 12
# Step from a list to each of its items.
_ITEMS = "[]"
_MISSING = object()

type Way = tuple[str, ...]


class Field(NamedTuple):
    """A parsed field.

    Attributes:
        name: Name of the field.
        value: Its value; None, or empty, if the body does not have it.
        read_from: Members of the body from which it was read, such as `incident.alerts[].id`.
    """

    name: str
    value: Any
    read_from: tuple[str, ...]


class Reading(NamedTuple):
    """Fields of a share.

    Attributes:
        state: Fields that give the incident's state, its place in the order of the states, and the environment.
        details: Other fields. They are used for routes, for the body that the relay itself writes for xMatters, and for
            messages to the fallback topic.
        ignored: Members of the body that the relay does not read, or cannot read.
        is_whole: False if only a part of the body was tried, since it exceeds MAX_MEMBERS, MAX_ITEMS or MAX_LEVELS.
    """

    state: tuple[Field, ...]
    details: tuple[Field, ...]
    ignored: tuple[str, ...]
    is_whole: bool


def read(share: Share) -> Reading:
    """Return the fields of a share with their origin."""
    left_out = list[str]()
    sample = _cut(share.document, left_out.append)
    before = _facts(sample)
    ways = list(_ways(sample, ()))
    origins: dict[str, list[str]] = {}
    ignored = []
    for way in ways[:MAX_MEMBERS]:
        changed = _changed(sample, way, before)
        for name in changed:
            origins.setdefault(name, []).append(path_text(way))
        if not changed:
            ignored.append(path_text(way))

    def with_origin(values: Mapping[str, Any]) -> tuple[Field, ...]:
        return tuple(Field(name, value, tuple(origins.get(name, ()))) for name, value in values.items())

    return Reading(
        with_origin(_state(share)),
        with_origin(_details(share)),
        tuple(ignored),
        len(ways) <= MAX_MEMBERS and not left_out,
    )


def path_text(way: Way) -> str:
    """Return the path of a member of the body as text, such as `incident.alerts[].id`."""
    return ".".join(way).replace(f".{_ITEMS}", _ITEMS)


def _state(share: Share) -> dict[str, Any]:
    members = {each.name: getattr(share, each.name) for each in fields(Share) if each.name != "document"}
    return members | {"alerts": tuple(map(tuple, share.alerts))}


def _details(share: Share) -> dict[str, Any]:
    """Return the fields of the incident and its alerts beyond its state, by name.

    The values of alerts are sorted, so that another order of the alerts does not count as a change.
    """
    found = details_of(share)
    own = {f"incident_{name}": getattr(found, name) for name in Details._fields if name != "alerts"}
    alerts = {
        f"alert_{name}": tuple(sorted(getattr(each, name) for each in found.alerts)) for name in AlertDetails._fields
    }
    return own | alerts


def _facts(document: Any) -> dict[str, Any] | None:
    """Return all parsed fields of a body; None if the parser refuses it."""
    try:
        share = parse_share(json.dumps(document).encode())
    except BadRequest:
        return None
    return {**_state(share), **_details(share)}


def _changed(sample: Mapping[str, Any], way: Way, before: dict[str, Any] | None) -> list[str]:
    """Return the names of the fields that differ from `before` if the member at `way` is changed or removed."""
    names = set[str]()
    for change in (_other, lambda _: _MISSING):
        document = json.loads(json.dumps(sample))
        _alter(document, way, change)
        after = _facts(document)
        if after is None or before is None:
            names.add("incident_id")
        else:
            names |= {name for name, value in before.items() if after[name] != value}
    return [name for name in before or () if name in names]


def _other(value: Any) -> Any:
    """Return another value of the same type; _MISSING for an object or null."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return f"{value}x"
        case list():
            return [*map(_other, value)]
    return _MISSING


def _alter(node: Any, way: Way, change: Callable[[Any], Any]) -> None:
    step, *rest = way
    if step == _ITEMS:
        for item in node if isinstance(node, list) else ():
            _alter(item, tuple(rest), change)
    elif isinstance(node, dict) and step in node:
        if rest:
            _alter(node[step], tuple(rest), change)
        elif (value := change(node[step])) is _MISSING:
            del node[step]
        else:
            node[step] = value


def _ways(node: Any, way: Way) -> Iterator[Way]:
    """Yield the path of each leaf of the body; the items of a list share one path."""
    if isinstance(node, dict) and (node or not way):
        for name, value in node.items():
            yield from _ways(value, (*way, name))
    elif isinstance(node, list) and any(isinstance(each, dict) and each for each in node):
        inner = (found for each in node if isinstance(each, dict) for found in _ways(each, (*way, _ITEMS)))
        yield from dict.fromkeys(inner)
    else:
        yield way


def _cut(node: Any, leave_out: Callable[[str], object], level: int = 0) -> Any:
    """Return the body cut to MAX_ITEMS, MAX_TEXT and MAX_LEVELS, so that it can be parsed some hundred times.

    `leave_out` is called if items or levels are cut.
    """
    if level > MAX_LEVELS:
        leave_out("levels")
        return None
    match node:
        case dict():
            return {name: _cut(value, leave_out, level + 1) for name, value in node.items()}
        case list():
            if len(node) > MAX_ITEMS:
                leave_out("items")
            return [_cut(each, leave_out, level + 1) for each in node[:MAX_ITEMS]]
        case str():
            return node[:MAX_TEXT]
    return node
