"""History of a page over xMatters' REST API: the recipients, the answers, and the comments. Reads only.

Facts and open questions: docs/vendors.md, "The REST API". Members that cannot be read count as missing.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from relay.channels.channel import Rest
from relay.deadline import Deadline
from relay.http.client import HttpClient, json_object
from relay.incidents.json_fields import Fields, fields_of, nested, scalar
from relay.xmatters.rest import EVENTS_PATH, RestApi, listed

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
            _moment(page.first("created")),
            _moment(page.first("terminated")),
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
            at = _moment(fields.first("created")) or _moment(nested(audit, "at"))
            yield PersonAnswer(at, _person(fields.first("author")), "", "", _text(fields.first("comment")))


def _response(audit: Fields, response: Fields) -> PersonAnswer:
    recipient = nested(response.first("notification"), "recipient")
    at = _moment(response.first("received")) or _moment(audit.first("at"))
    said = _text(response.first("response")) or _text(nested(response.first("option"), "text"))
    # The recipient of a notification is a device, which belongs to a person.
    owner = nested(recipient, "owner")
    person, device = _person(owner or recipient), _text(nested(recipient, "name")) if owner else ""
    return PersonAnswer(at, person, device, said, _text(response.first("comment")))


def _person(value: Any) -> str:
    return _text(nested(value, "targetname") or nested(value, "name"))


def _text(value: Any) -> str:
    return (scalar(value) or "").strip()[:MAX_TEXT]


def _moment(value: Any) -> float | None:
    """Return the epoch seconds of a time such as `2026-03-04T02:58:14.301+0000`; None if it is no such time."""
    try:
        return datetime.fromisoformat(scalar(value) or "").timestamp()
    except (ValueError, OverflowError):
        return None
