"""Bodies of xMatters' callbacks, in the two shapes in which a workflow can send them.

- legacy: the fixed JSON of an outbound integration webhook;
- flow: the JSON of the custom step in docs/xmatters/tell-relay.js, version 1.

Seen in scripts that read the legacy JSON (docs/vendors.md, "What xMatters calls back with"): its names; ``date``
without a zone; ``eventProperties`` as a list of objects with one member; "null" for a missing annotation; status words
in lower case, with ``terminated_external`` for a person who ended the page.

Guesses, to be checked against a tenant:

- ``xmatters_callback_type`` is in the HTTP body;
- the members of annotation, escalation and failure in the legacy JSON.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sandbox.xmatters.directory import shown_device
from sandbox.xmatters.pages import Page, rest_time
from sandbox.xmatters.people import Device, Person

SHAPES = ["legacy", "flow"]
KINDS = ["response", "delivery", "status", "annotation", "escalation", "failure"]
# Properties that the workflow flags as *include in outbound integrations*.
OUTBOUND = ("incident_id", "environment_id", "status")


@dataclass(frozen=True)
class CallbackFacts:
    """Facts that a callback reports, before they are written in one of `SHAPES`.

    Attributes
    ----------
    kind
        One of `KINDS`.
    person, device
        The person who answered, commented, escalated or was notified, and the device; None for kinds without them.
    word
        The response; the delivery status (`DELIVERED` or `FAILED`); or the page's status, as the legacy JSON writes it,
        such as `terminated_external`. None for other kinds.
    note
        Text that the person wrote; None without one.
    group, reason
        Group of an escalation or a failure, and the cause; None for other kinds.
    username
        User of the REST API who changed the page's status; "" for any other cause.
    """

    kind: str
    page: Page
    at: datetime
    person: Person | None = None
    device: Device | None = None
    word: str | None = None
    note: str | None = None
    group: str | None = None
    reason: str | None = None
    username: str = ""


def body_of(facts: CallbackFacts, shape: str) -> dict[str, Any]:
    """Return the body of a callback as a JSON object; `shape` is one of `SHAPES`."""
    return _flow(facts) if shape == "flow" else _legacy(facts)


def _legacy(facts: CallbackFacts) -> dict[str, Any]:
    properties = facts.page.properties
    common: dict[str, Any] = {
        "xmatters_callback_type": {"delivery": "deliveryStatus"}.get(facts.kind, facts.kind),
        "eventIdentifier": facts.page.number,
        "date": facts.at.astimezone(UTC).isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00"),
        "eventProperties": [{name: properties[name]} for name in OUTBOUND if name in properties],
    }
    return common | dict(_legacy_members(facts))


def _legacy_members(facts: CallbackFacts) -> Mapping[str, Any]:
    target = facts.person.name if facts.person else facts.group
    device = facts.device.name if facts.device else None
    match facts.kind:
        case "response":
            annotation = facts.note or "null"
            return {"recipient": target, "device": device, "response": facts.word, "annotation": annotation}
        case "delivery":
            identifier = shown_device(facts.person, facts.device)["id"] if facts.person and facts.device else None
            return {
                "recipient": target,
                "device": device,
                "deviceId": identifier,
                "deliveryStatus": (facts.word or "").capitalize(),
                "message": facts.page.order.subject,
                "eventType": "USER",
            }
        case "status":
            return {"status": facts.word, "username": facts.username}
        case "annotation":
            author = {"firstName": facts.person.first_name, "lastName": facts.person.last_name} if facts.person else {}
            return {"author": {"targetName": target, **author}, "comment": facts.note}
    return {"recipient": target, "group": facts.group, "reason": facts.reason}


def _flow(facts: CallbackFacts) -> dict[str, Any]:
    page, word = facts.page, facts.word
    members = {
        "relay": 1,
        "kind": facts.kind,
        "incident_id": page.incident_id,
        "environment_id": page.order.environment_id,
        "event": {"id": page.id, "number": page.number},
        "person": _flow_person(facts.person),
        "device": facts.device.name if facts.device else None,
        "response": word if facts.kind == "response" else None,
        "note": facts.note,
        "status": (word or "").partition("_")[0].upper() if facts.kind == "status" else None,
        "delivery_status": word if facts.kind == "delivery" else None,
        "group": facts.group,
        "reason": facts.reason,
        "at": rest_time(facts.at),
    }
    return {name: value for name, value in members.items() if value}


def _flow_person(person: Person | None) -> dict[str, str] | None:
    if person is None:
        return None
    members = {
        "target": person.name,
        "first_name": person.first_name,
        "last_name": person.last_name,
        "email": person.email,
    }
    return {name: value for name, value in members.items() if value}
