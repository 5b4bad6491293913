"""Events of an incident from xMatters' and BigPanda's APIs."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from relay.channels.channel import Rest
from relay.deadline import Deadline
from relay.foreign_text import identifier, quoted
from relay.http.client import json_object
from relay.incidents.share import Fields, fields_of, nested, scalar
from relay.xmatters.directory import EVENTS_PATH, RestApi, listed
from relayctl import moments
from relayctl.incident.timeline import BIGPANDA, XMATTERS, Event

AUDITS_PATH = "/api/xm/1/audits"
# The types that recordings of a tenant have.
AUDIT_TYPES = "EVENT_ANNOTATED,RESPONSE_RECEIVED"
# Audits of a page that are read, the newest. An answer is read up to 64 KiB.
MAX_AUDITS = 40
_MAX_TEXT = 200
_MAX_NAMES = 10


def of_page(api: RestApi, rest: Rest, channel: str, page_id: str, deadline: Deadline) -> Iterator[Event]:
    """Ask xMatters for a page and its answers, and yield the events that have a time. Raises NoAnswer or BadAnswer."""
    path = f"{EVENTS_PATH}/{quote(page_id, safe='', errors='replace')}?embed=recipients"
    page = Fields(json_object(api.ask(rest, "GET", path, None, deadline, says=_is_object).body))
    query = urlencode({"eventId": page_id, "auditType": AUDIT_TYPES, "limit": MAX_AUDITS}, errors="replace")
    audits = listed(api.ask(rest, "GET", f"{AUDITS_PATH}?{query}", None, deadline, says=listed)) or []
    number, created = _text(page.first("eventid")), moments.told(page.first("created"))
    name, details = f"page {identifier(number or page_id)}", {"page": number, "page_id": page_id}
    if created is not None:
        names = list(_recipients(page.first("recipients")))
        shown = ", ".join(map(identifier, names[:_MAX_NAMES]))
        more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
        text = f"{name} made; recipients: {shown}{more}" if names else f"{name} made; xMatters names no recipients"
        yield Event(created, XMATTERS, "page", text, channel, details | {"recipients": names})
    for audit in audits:
        yield from _answer(channel, name, fields_of(audit), details)
    if (ended := moments.told(page.first("terminated"))) is not None:
        yield Event(ended, XMATTERS, "page", f"{name} ended", channel, details)


def _is_object(answer: Any) -> bool | None:
    return True if json_object(answer.body) else None


def _recipients(value: Any) -> Iterator[str]:
    found = value if isinstance(value, list) else nested(value, "data")
    for each in found if isinstance(found, list) else []:
        if name := _text(nested(each, "targetname") or nested(each, "name") or nested(each, "id")):
            yield name


def _answer(channel: str, page: str, audit: Fields, details: Mapping[str, Any]) -> Iterator[Event]:
    response, annotation = audit.first("response"), audit.first("annotation")
    found = fields_of(response if isinstance(response, dict) else annotation)
    at = (
        moments.told(found.first("received")) or moments.told(found.first("created")) or moments.told(audit.first("at"))
    )
    recipient = nested(found.first("notification"), "recipient")
    # The recipient of a notification is a device, which belongs to a person.
    owner = nested(recipient, "owner")
    person = found.first("author") or owner or recipient
    members = {
        "person": _text(nested(person, "targetname") or nested(person, "name")),
        "device": _text(nested(recipient, "name")) if owner else "",
        "response": _text(found.first("response")) or _text(nested(found.first("option"), "text")),
        "comment": _text(found.first("comment")),
    }
    if at is None:
        return
    who = identifier(members["person"]) if members["person"] else "somebody"
    device = f" on {quoted(members['device'], _MAX_TEXT)}" if members["device"] else ""
    said = f" {quoted(members['response'], _MAX_TEXT)}" if members["response"] else ""
    is_answer = bool(said or device)
    text = f"{who} answered{said} to {page}{device}" if is_answer else f"{who} commented on {page}"
    comment = f": {quoted(members['comment'], _MAX_TEXT)}" if members["comment"] else ""
    yield Event(at, XMATTERS, "answer" if is_answer else "comment", text + comment, channel, {**details, **members})


def _text(value: Any) -> str:
    return (scalar(value) or "").strip()[:_MAX_TEXT]


def of_activities(activities: Iterable[Mapping[str, Any]]) -> Iterator[Event]:
    """Yield the events of BigPanda's activities. Activities without a time or a type are left out.

    BigPanda does not document which member has the comment (docs/vendors.md), so the likely members are tried.
    """
    for each in activities:
        at = moments.told(nested(each, "timestamp", "createdat", "time"))
        kind = scalar(nested(each, "type", "activitytype"))
        if at is None or not kind:
            continue
        comment = scalar(nested(nested(each, "params"), "comment")) or scalar(nested(each, "comment"))
        words = identifier(kind.removeprefix("incident_").replace("_", "-")).replace("-", " ")
        user = _text(nested(each, "createdby"))
        words = f"{words} by user {identifier(user)}" if user else words
        text = f"{words}: {quoted(comment, _MAX_TEXT)}" if comment else words
        yield Event(at, BIGPANDA, "activity", text, details={"activity": kind, "user": user, "comment": comment})
