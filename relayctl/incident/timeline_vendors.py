"""Events of an incident from xMatters' and BigPanda's APIs, and the history of a page."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from relay.bigpanda.client import BigPanda, Incident
from relay.channels.channel import BigPandaAccess, Rest
from relay.deadline import Deadline
from relay.failures.errors import BadRequest, SendError
from relay.foreign_text import identifier, quoted
from relay.http.client import HttpClient, json_object
from relay.incidents.json_fields import Fields, fields_of, nested, scalar
from relay.incidents.share import parse_share
from relay.xmatters.rest import EVENTS_PATH, RestApi, listed
from relayctl.incident.timeline import BIGPANDA, XMATTERS, Event

AUDITS_PATH = "/api/xm/1/audits"
# The types that recordings of a tenant have.
AUDIT_TYPES = "EVENT_ANNOTATED,RESPONSE_RECEIVED"
# Audits of a page that are read, the newest. An answer is read up to 64 KiB.
MAX_AUDITS = 40
# Characters of a text that are kept.
MAX_TEXT = 300


class PersonAnswer(NamedTuple):
    """An answer or a comment of a person.

    Attributes:
        at: Time of the answer (epoch seconds); None if unknown.
        person: Name of the person in xMatters; empty if unknown.
        device: Name of the device; empty for a comment, or if unknown.
        said: Text of the chosen response; empty for a comment.
        comment: Text that the person wrote; empty if there is none.
    """

    at: float | None
    person: str
    device: str
    said: str
    comment: str


class PageHistory(NamedTuple):
    """History of a page.

    Attributes:
        id: UUID of the page.
        number: Number that people see; empty if unknown.
        status: `ACTIVE`, `SUSPENDED` or `TERMINATED`; empty if unknown.
        created: Time at which the page was made (epoch seconds); None if unknown.
        terminated: Time at which the page ended (epoch seconds); None if it did not, or the time is unknown.
        recipients: Names of the page's recipients: people and groups.
        answers: Answers and comments, oldest first; at most the newest MAX_AUDITS.
    """

    id: str
    number: str
    status: str
    created: float | None
    terminated: float | None
    recipients: tuple[str, ...]
    answers: tuple[PersonAnswer, ...]


class Histories:
    """Reader of pages' histories."""

    def __init__(self, outward: HttpClient) -> None:
        self._api = RestApi(outward)

    def of_page(self, rest: Rest, page_id: str, deadline: Deadline) -> PageHistory:
        """Return the history of a page, with two requests. Raises NoAnswer or BadAnswer."""
        path = f"{EVENTS_PATH}/{quote(page_id, safe='', errors='replace')}?embed=recipients"
        page = Fields(json_object(self._api.ask(rest, "GET", path, None, deadline, says=_is_object).body))
        query = urlencode({"eventId": page_id, "auditType": AUDIT_TYPES, "limit": MAX_AUDITS}, errors="replace")
        audits = listed(self._api.ask(rest, "GET", f"{AUDITS_PATH}?{query}", None, deadline, says=listed)) or []
        return PageHistory(
            page_id,
            _text(page.first("eventid")),
            _text(page.first("status")).upper(),
            _time(page.first("created")),
            _time(page.first("terminated")),
            tuple(_recipients(page.first("recipients"))),
            tuple(sorted(_answers(audits), key=lambda each: each.at or 0.0)),
        )


def _is_object(answer: Any) -> bool | None:
    return True if json_object(answer.body) else None


def _recipients(value: Any) -> Iterator[str]:
    found = value if isinstance(value, list) else nested(value, "data")
    for each in found if isinstance(found, list) else []:
        if name := _text(nested(each, "targetname") or nested(each, "name") or nested(each, "id")):
            yield name


def _answers(audits: list[Any]) -> Iterator[PersonAnswer]:
    for audit in audits:
        if isinstance(response := nested(audit, "response"), dict):
            yield _response(fields_of(audit), fields_of(response))
        elif isinstance(annotation := nested(audit, "annotation"), dict):
            fields = fields_of(annotation)
            at = _time(fields.first("created")) or _time(nested(audit, "at"))
            yield PersonAnswer(at, _person(fields.first("author")), "", "", _text(fields.first("comment")))


def _response(audit: Fields, response: Fields) -> PersonAnswer:
    recipient = nested(response.first("notification"), "recipient")
    at = _time(response.first("received")) or _time(audit.first("at"))
    said = _text(response.first("response")) or _text(nested(response.first("option"), "text"))
    # The recipient of a notification is a device, which belongs to a person.
    owner = nested(recipient, "owner")
    person, device = _person(owner or recipient), _text(nested(recipient, "name")) if owner else ""
    return PersonAnswer(at, person, device, said, _text(response.first("comment")))


def _person(value: Any) -> str:
    return _text(nested(value, "targetname") or nested(value, "name"))


def _text(value: Any) -> str:
    return (scalar(value) or "").strip()[:MAX_TEXT]


def _time(value: Any) -> float | None:
    """Return the epoch seconds of a time such as `2026-03-04T02:58:14.301+0000`; None if it is no such time."""
    try:
        return datetime.fromisoformat(scalar(value) or "").timestamp()
    except (ValueError, OverflowError):
        return None


_MAX_TEXT = 200
_MAX_NAMES = 10
# Epoch milliseconds are larger than this, and epoch seconds smaller until the year 5138.
_MILLISECONDS = 1e11


def of_page(channel: str, history: PageHistory) -> Iterator[Event]:
    """Yield the events of a page in xMatters. Events without a time are left out."""
    page = f"page {identifier(history.number or history.id)}"
    details = {"page": history.number, "page_id": history.id}
    if history.created is not None:
        names = [identifier(name) for name in history.recipients]
        more = len(names) - _MAX_NAMES
        rang = ", ".join(names[:_MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
        text = f"{page} made; recipients: {rang}" if rang else f"{page} made; xMatters names no recipients"
        yield Event(history.created, XMATTERS, "page", text, channel, details | {"recipients": history.recipients})
    for answer in history.answers:
        if answer.at is not None:
            yield _answer(channel, page, answer, details)
    if history.terminated is not None:
        yield Event(history.terminated, XMATTERS, "page", f"{page} ended", channel, details)


def _answer(channel: str, page: str, answer: PersonAnswer, details: Mapping[str, Any]) -> Event:
    who = identifier(answer.person) if answer.person else "somebody"
    device = f" on {quoted(answer.device, _MAX_TEXT)}" if answer.device else ""
    said = f" {quoted(answer.said, _MAX_TEXT)}" if answer.said else ""
    text = f"{who} answered{said} to {page}{device}" if said or device else f"{who} commented on {page}"
    comment = f": {quoted(answer.comment, _MAX_TEXT)}" if answer.comment else ""
    members = {"person": answer.person, "device": answer.device, "response": answer.said, "comment": answer.comment}
    kind = "answer" if said or device else "comment"
    return Event(answer.at or 0.0, XMATTERS, kind, text + comment, channel, {**details, **members})


def of_activities(channel: str, activities: Iterable[Mapping[str, Any]]) -> Iterator[Event]:
    """Yield the events of BigPanda's activities. Activities without a time or a type are left out.

    BigPanda does not document which member has the comment (docs/vendors.md), so the likely members are tried.
    """
    for each in activities:
        at = _moment(nested(each, "timestamp", "createdat", "time"))
        kind = scalar(nested(each, "type", "activitytype"))
        if at is None or not kind:
            continue
        comment = scalar(nested(nested(each, "params"), "comment")) or scalar(nested(each, "comment"))
        words = identifier(kind.removeprefix("incident_").replace("_", "-")).replace("-", " ")
        text = f"{words}: {quoted(comment, _MAX_TEXT)}" if comment else words
        yield Event(at, BIGPANDA, "activity", text, channel, {"activity": kind, "comment": comment})


def state_of(client: BigPanda, access: BigPandaAccess, incident_id: str, deadline: Deadline) -> Event | None:
    """Return the incident's state in the first of the channel's environments that has it; None if none has it."""
    for environment_id in access.environments:
        with suppress(SendError, BadRequest):
            document = client.incident(access, Incident(environment_id, incident_id), deadline)
            share = parse_share(json.dumps(document).encode())
            if share.version:
                text = f"the incident's state: {identifier(share.status or 'unknown')}"
                return Event(share.version[0], BIGPANDA, "state", text)
    return None


def _moment(value: Any) -> float | None:
    """Return epoch seconds for a time in epoch seconds, epoch milliseconds or ISO 8601; None for other values."""
    text = scalar(value) or ""
    try:
        seconds = float(text)
    except ValueError:
        try:
            return datetime.fromisoformat(text).timestamp()
        except (ValueError, OverflowError):
            return None
    seconds = seconds / 1000 if seconds > _MILLISECONDS else seconds
    # Years beyond 9999 cannot be shown.
    return seconds if 0 <= seconds < 2e11 else None
