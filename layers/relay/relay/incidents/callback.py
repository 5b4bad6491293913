"""Parser of xMatters' callbacks about a page, in all known formats. Pure code.

xMatters publishes no complete sample (docs/vendors.md, "What xMatters calls back with"). Only an incident id and the
members that determine the kind are required. Unreadable members count as missing.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from relay.failures import BadRequest
from relay.incidents.share import MAX_ID_LENGTH, Fields, environment_id, nested, scalar

FLOW_VERSION = 1
MAX_NAME = 200
MAX_NOTE = 2000
# Defaults of a channel: kinds that are written into BigPanda, and response texts that acknowledge or escalate.
WRITTEN = ("response", "annotation", "delivery", "escalation", "failure")
ACKNOWLEDGE = frozenset({"acknowledge", "acknowledged", "ack", "accept", "accepted"})
ESCALATE = frozenset({"escalate", "escalated"})
_INCIDENT_NAMES = ("incidentid", "bigpandaincidentid", "bigpandaid", "bpincidentid")
_ENVIRONMENT_NAMES = ("environmentid", "bigpandaenvironmentid", "bpenvironmentid")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class Kind(StrEnum):
    """Kind of a callback, with which xMatters reports an event of a page.

    Attributes:
        RESPONSE: A person chose a response, such as an acknowledgement.
        ANNOTATION: A person wrote a comment.
        STATUS: The status of the page changed, such as to `terminated`.
        DELIVERY: A device got the notification, or did not.
        ESCALATION: xMatters escalated the page to further people.
        FAILURE: A recipient could not be notified.
    """

    RESPONSE = "response"
    ANNOTATION = "annotation"
    STATUS = "status"
    DELIVERY = "delivery"
    ESCALATION = "escalation"
    FAILURE = "failure"


_KINDS = {kind.value: kind for kind in Kind} | {
    "comment": Kind.ANNOTATION,
    "deliverystatus": Kind.DELIVERY,
    "targetedrecipientfailure": Kind.FAILURE,
}


class Callback(NamedTuple):
    """A person's answer to a page, or another event of the page. None in an attribute means that it is missing.

    Attributes:
        page_id: UUID of the page (xMatters: event).
        page_number: Number of the page, as people see it.
        target: xMatters' name of the person or group (`targetName`).
        name: First and last name of the person.
        text: Text of the chosen response, or the status.
        note: Comment that the person wrote.
        reason: Reason of a failure or an escalation, in xMatters' words.
        at: Time of the event, as xMatters wrote it.
    """

    kind: Kind
    incident_id: str
    environment_id: str | None
    page_id: str | None
    page_number: str | None
    target: str | None
    name: str | None
    email: str | None
    device: str | None
    text: str | None
    note: str | None
    group: str | None
    reason: str | None
    at: str | None

    @property
    def digest(self) -> str:
        """Hash of the callback's content (32 hexadecimal digits), the same for a callback that arrives twice."""
        return hashlib.sha256(json.dumps(self).encode()).hexdigest()[:32]

    @property
    def response(self) -> str:
        """The text of the chosen response, in lower case; empty if the callback is no response."""
        return _plain(self.text) if self.kind == Kind.RESPONSE else ""

    def is_failed_delivery(self) -> bool:
        return self.kind == Kind.DELIVERY and _plain(self.text) in {"failed", "failure", "undeliverable"}

    def is_delivered(self) -> bool:
        """True if the callback reports that a device got the notification."""
        return self.kind == Kind.DELIVERY and _plain(self.text) in {"delivered", "responded"}

    def is_page_end(self) -> bool:
        """True if the callback reports that the page ended: by an answer, a person, xMatters or the relay."""
        return self.kind == Kind.STATUS and _plain(self.text) in {"terminated", "terminated_external"}

    def is_dead_end(self) -> bool:
        """True if the callback may mean that xMatters notifies nobody else: a recipient failed, or the page ended."""
        return self.kind == Kind.FAILURE or self.is_page_end()


class Deed(StrEnum):
    """Change that a person's response makes to the incident in BigPanda. COMMENT makes none: a comment is written."""

    RESOLVE = "resolve"
    SNOOZE = "snooze"
    COMMENT = "comment"


class ResponseAction(NamedTuple):
    """Effect of a person's response on the incident in BigPanda. `minutes` is the duration of a snooze, else 0."""

    deed: Deed
    minutes: int = 0

    @property
    def changes_incident(self) -> bool:
        return self.deed != Deed.COMMENT


class ResponseMeanings(NamedTuple):
    """The response texts (in lower case) that acknowledge or escalate. The author of a workflow chooses the texts."""

    acknowledge: Collection[str] = ACKNOWLEDGE
    escalate: Collection[str] = ESCALATE

    def is_acknowledgement(self, callback: Callback) -> bool:
        return callback.kind == Kind.RESPONSE and _plain(callback.text) in self.acknowledge

    def is_escalation(self, callback: Callback) -> bool:
        return callback.kind == Kind.RESPONSE and _plain(callback.text) in self.escalate


def parse_callback(body: bytes) -> Callback:
    """Parse the body of a callback. Raises BadRequest, with the field at fault, if it is no known kind of callback."""
    document = _decode(body)
    fields = Fields(document)
    version = fields.first("relay")
    if version is not None and version != FLOW_VERSION:
        raise BadRequest("relay", f"is {str(scalar(version))[:20]!r}; this version reads {FLOW_VERSION}")
    kind = _kind(fields)
    properties = Fields(dict(_properties(fields.first("eventproperties", "properties", "additionaltokens"))))
    page_id, page_number = _event(fields)
    incident_id = _first_text(properties, _INCIDENT_NAMES) or _first_text(fields, _INCIDENT_NAMES)
    if incident_id is None:
        raise BadRequest("incident_id", "is missing; include the property of that name in callbacks")
    if len(incident_id) > MAX_ID_LENGTH:
        raise BadRequest("incident_id", f"is longer than {MAX_ID_LENGTH} characters")
    named_environment = _first_text(properties, _ENVIRONMENT_NAMES) or _first_text(fields, _ENVIRONMENT_NAMES)
    person = fields.first("person", "recipient", "author", "respondedby")
    return Callback(
        kind=kind,
        incident_id=incident_id,
        environment_id=environment_id(named_environment),
        page_id=page_id,
        page_number=page_number,
        target=_name(person)
        or _name(nested(person, "target", "targetname", "name"))
        or _name(fields.first("username")),
        name=_full_name(person),
        email=_name(nested(person, "email")),
        device=_device(fields.first("device", "devicename")),
        text=_name(fields.first(_TEXT.get(kind, "status"))),
        note=_note(fields.first("annotation", "note", "comment", "message")),
        group=_device(fields.first("group", "groupname")),
        reason=_note(fields.first("reason", "failurereason", "escalationreason")),
        at=_name(fields.first("at", "date")),
    )


# Member with the text of a callback; `status` for the other kinds.
_TEXT = {Kind.RESPONSE: "response", Kind.ANNOTATION: "response", Kind.DELIVERY: "deliverystatus"}


def _decode(body: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("body", "is not JSON") from None
    if not isinstance(document, dict):
        raise BadRequest("body", "must be a JSON object")
    return document


def _kind(fields: Fields) -> Kind:
    named = fields.first("kind", "xmatterscallbacktype", "callbacktype")
    if named is not None:
        word = (scalar(named) or "").replace("_", "").replace("-", "").replace(" ", "").lower()
        if word not in _KINDS:
            raise BadRequest("kind", f"must be one of {', '.join(Kind)}")
        return _KINDS[word]
    # The fixed JSON may have no kind. Then the members that are present determine it.
    for names, kind in _SHAPES:
        if fields.first(*names) is not None:
            return kind
    raise BadRequest("body", f"is no callback that the relay knows: {', '.join(Kind)}")


_SHAPES = (
    (("deliverystatus",), Kind.DELIVERY),
    (("response",), Kind.RESPONSE),
    (("comment", "author"), Kind.ANNOTATION),
    (("status",), Kind.STATUS),
    (("group", "groupname"), Kind.ESCALATION),
    (("reason", "failurereason"), Kind.FAILURE),
)


def _properties(value: Any) -> Iterable[tuple[str, Any]]:
    """Yield pairs of name and value, from one object or several. Names lose language suffix (`#en`) and spaces."""
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, dict):
            yield from ((str(name).partition("#")[0].replace(" ", ""), value) for name, value in each.items())


def _event(fields: Fields) -> tuple[str | None, str | None]:
    """Return the UUID and the number of the page that a callback is about; None for each that is missing."""
    event = fields.first("event", "eventidentifier", "eventid")
    names = (event, nested(event, "id"), nested(event, "number", "eventid"), fields.first("eventnumber"))
    texts = [text for value in names if (text := _name(value))]
    ids = [text for text in texts if _UUID.fullmatch(text)]
    numbers = [text for text in texts if not _UUID.fullmatch(text)]
    return ids[0].lower() if ids else None, numbers[0] if numbers else None


def _device(value: Any) -> str | None:
    return _name(value) or _name(nested(value, "name", "targetname"))


def _full_name(person: Any) -> str | None:
    parts = (_name(nested(person, "firstname")), _name(nested(person, "lastname")))
    return " ".join(part for part in parts if part) or None


def _first_text(fields: Fields, names: Iterable[str]) -> str | None:
    """Return the first non-empty text in the members with these names; None if there is none."""
    # Not cut, since ids must stay whole. A text of dots is skipped: it would change the path of an API call.
    texts = ((scalar(fields.first(name)) or "").strip() for name in names)
    return next((text for text in texts if text.strip(".")), None)


def _plain(text: str | None) -> str:
    return (text or "").strip().lower()


def _name(value: Any) -> str | None:
    return (scalar(value) or "").strip()[:MAX_NAME] or None


def _note(value: Any) -> str | None:
    """Return a text that a person wrote; None if there is none. xMatters writes `null` then (docs/vendors.md)."""
    text = (scalar(value) or "").strip()[:MAX_NOTE]
    return text if text and text.lower() != "null" else None
