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
class News:
    """Something that a workflow calls back about.

    Attributes
    ----------
    kind
        One of `KINDS`.
    person, device
        Who answered, wrote, or was notified, and where; None if the news has none.
    word
        The response, the delivery status (`DELIVERED` or `FAILED`), or the page's status in the legacy words.
    note
        Text that the person wrote; None without one.
    group, reason
        Group of an escalation or a failure, and the cause; None for other kinds.
    username
        User of the REST API who changed the status; "" for none.
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


def body_of(news: News, shape: str) -> dict[str, Any]:
    """Return the body of a callback, in one of `SHAPES`."""
    return _flow(news) if shape == "flow" else _legacy(news)


def _legacy(news: News) -> dict[str, Any]:
    properties = news.page.properties
    common: dict[str, Any] = {
        "xmatters_callback_type": {"delivery": "deliveryStatus"}.get(news.kind, news.kind),
        "eventIdentifier": news.page.number,
        "date": news.at.astimezone(UTC).isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00"),
        "eventProperties": [{name: properties[name]} for name in OUTBOUND if name in properties],
    }
    return common | dict(_legacy_members(news))


def _legacy_members(news: News) -> Mapping[str, Any]:
    target = news.person.name if news.person else news.group
    device = news.device.name if news.device else None
    match news.kind:
        case "response":
            annotation = news.note or "null"
            return {"recipient": target, "device": device, "response": news.word, "annotation": annotation}
        case "delivery":
            identifier = shown_device(news.person, news.device)["id"] if news.person and news.device else None
            return {
                "recipient": target,
                "device": device,
                "deviceId": identifier,
                "deliveryStatus": (news.word or "").capitalize(),
                "message": news.page.order.subject,
                "eventType": "USER",
            }
        case "status":
            return {"status": news.word, "username": news.username}
        case "annotation":
            author = {"firstName": news.person.first_name, "lastName": news.person.last_name} if news.person else {}
            return {"author": {"targetName": target, **author}, "comment": news.note}
    return {"recipient": target, "group": news.group, "reason": news.reason}


def _flow(news: News) -> dict[str, Any]:
    page, word = news.page, news.word
    members = {
        "relay": 1,
        "kind": news.kind,
        "incident_id": page.incident_id,
        "environment_id": page.order.environment_id,
        "event": {"id": page.id, "number": page.number},
        "person": _flow_person(news.person),
        "device": news.device.name if news.device else None,
        "response": word if news.kind == "response" else None,
        "note": news.note,
        "status": (word or "").partition("_")[0].upper() if news.kind == "status" else None,
        "delivery_status": word if news.kind == "delivery" else None,
        "group": news.group,
        "reason": news.reason,
        "at": rest_time(news.at),
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
