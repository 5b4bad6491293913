"""Client for xMatters' REST API with a channel's credentials, and the pages of signals, which it finds and terminates.

Facts and open questions: docs/vendors.md, "The REST API".
"""

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

from relay.channels.channel import Rest
from relay.deadline import Deadline
from relay.failures import Reason, reason_for_status
from relay.http.client import HttpClient, json_object
from relay.http.session import HttpAnswer
from relay.incidents.share import Fields, nested, scalar
from relay.ledger.receipt import Heard
from relay.xmatters.logins import Login, Logins

# A workflow makes one page of a signal for each step that creates one.
MAX_PAGES = 10
# Longer than any UUID or number of a page. Bounded, since the ledger stores them.
MAX_NAME = 100
# The page does not exist, or is terminated already: nothing is left to do.
_DONE = frozenset({404, 409})


class Page(NamedTuple):
    """A page that xMatters made of a signal.

    Attributes:
        id: UUID of the page.
        number: Number of the page that people see; empty if unknown.
        is_active: True if it is not terminated.
    """

    id: str
    number: str
    is_active: bool


class Pages:
    """Client for xMatters' pages. Every method raises NoAnswer or BadAnswer when a request fails."""

    def __init__(self, outward: HttpClient) -> None:
        self._api = RestApi(outward)

    def of_request(self, rest: Rest, request_id: str, deadline: Deadline) -> list[Page]:
        """Return the pages that xMatters has made of a signal until now. xMatters' request id identifies the signal.

        The list is empty while xMatters' workflow has not made a page.
        """
        query = urlencode({"requestId": request_id, "limit": MAX_PAGES}, errors="replace")
        answer = self._api.ask(rest, "GET", f"{EVENTS_PATH}?{query}", None, deadline, says=listed)
        return _pages(listed(answer) or [], request_id)[:MAX_PAGES]

    def names_of_request(self, rest: Rest, request_id: str, deadline: Deadline) -> set[str]:
        """Return the UUIDs and numbers of a signal's pages so far, by xMatters' request id."""
        pages = self.of_request(rest, request_id, deadline)
        return {name for page in pages for name in (page.id, page.number) if name}

    def heard_of(self, rest: Rest, pages: Collection[str], deadline: Deadline) -> Heard:
        """Return whom xMatters notified with these pages, and who answered, by the audits of each page.

        The audits are not filtered by type: xMatters' names of most types are not documented (docs/vendors.md).
        """
        audits: list[Any] = []
        for page in pages:
            query = urlencode({"eventId": page, "limit": MAX_AUDITS}, errors="replace")
            audits += listed(self._api.ask(rest, "GET", f"{AUDITS_PATH}?{query}", None, deadline, says=listed)) or []
        return _heard([Fields(each) for each in audits if isinstance(each, dict)])

    def terminate(self, rest: Rest, page_id: str, deadline: Deadline) -> None:
        """Terminate a page, so that xMatters notifies no further people."""
        document = {"id": page_id, "status": "TERMINATED"}
        self._api.ask(rest, "POST", EVENTS_PATH, document, deadline, also=_DONE)


def _heard(audits: list[Fields]) -> Heard:
    is_notified, answers = False, []
    for each in audits:
        kind = (scalar(each.first("audittype", "type")) or "").upper()
        response = each.first("response")
        notification = each.first("notification") or nested(response, "notification")
        status = (scalar(nested(notification, "deliverystatus")) or "").upper()
        is_notified = is_notified or status in _GOT_IT or kind == "NOTIFICATION_DELIVERED"
        if kind == "RESPONSE_RECEIVED":
            device = nested(notification, "recipient")
            name = scalar(nested(nested(device, "owner"), "targetname")) or scalar(nested(device, "targetname")) or ""
            answers.append((name[:MAX_NAME], (scalar(nested(response, "response")) or "")[:MAX_NAME]))
    return Heard(is_notified, tuple(answers))


def _pages(found: list[Any], request_id: str) -> list[Page]:
    """Read the pages of a signal from a list of xMatters' events.

    Pages of other signals are left out. The request asks xMatters for one signal's events, but xMatters could ignore
    this filter and list the events of all signals.
    """
    pages = []
    for each in found:
        fields = Fields(each) if isinstance(each, dict) else Fields({})
        page_id, made_by = scalar(fields.first("id")), scalar(fields.first("requestid"))
        is_ours = made_by is None or made_by.lower() == request_id.lower()
        if is_ours and page_id and len(page_id) <= MAX_NAME:
            status = (scalar(fields.first("status")) or "").upper()
            number = (scalar(fields.first("eventid")) or "")[:MAX_NAME]
            pages.append(Page(page_id, number, status != "TERMINATED"))
    return pages


EVENTS_PATH, AUDITS_PATH = "/api/xm/1/events", "/api/xm/1/audits"
# Audits of a page that are read: xMatters' default, and more than a page of an incident has.
MAX_AUDITS = 100
# Delivery statuses of a notification that reached a device.
_GOT_IT = frozenset({"DELIVERED", "RESPONDED"})


class RestApi:
    """Client for xMatters' REST API. If an old OAuth token was refused, a request is repeated with a new one."""

    def __init__(self, outward: HttpClient) -> None:
        self._outward = outward
        self._logins = Logins(outward)

    def ask(
        self,
        rest: Rest,
        method: str,
        path: str,
        document: Mapping[str, Any] | None,
        deadline: Deadline,
        *,
        says: Callable[[HttpAnswer], object] = lambda _: True,
        also: Collection[int] = (),
    ) -> HttpAnswer:
        """Send a request, and return its answer if the status is 2xx or one of `also`.

        `rest` has the credentials. `path` begins with a slash; its special characters are quoted already. `document` is
        the JSON body; None for no body. `says` is called with a 2xx answer; if it returns None, the answer is refused
        with BadAnswer and the reason UPSTREAM. Raises NoAnswer or BadAnswer.
        """
        login = Login(rest.auth, rest.base_url)
        body = None if document is None else json.dumps(document).encode()
        while True:
            shown = self._logins.headers(login, deadline)
            headers = {"Content-Type": "application/json"} | shown
            answer = self._outward.ask(method, rest.base_url + path, body, headers, deadline)
            is_accepted = 200 <= answer.status < 300
            if answer.status in also or (is_accepted and says(answer) is not None):
                return answer
            reason = Reason.UPSTREAM if is_accepted else reason_for_status(answer.status)
            if reason == Reason.CREDENTIALS and self._logins.renew(login):
                continue
            secrets = {value.partition(" ")[2] for value in shown.values()} | set(rest.auth.members.values())
            raise self._outward.bad_answer(answer, reason, secrets)


def listed(answer: HttpAnswer) -> list[Any] | None:
    """Return the items of a list in xMatters' answer; None if the answer has no list, or was truncated."""
    found = json_object(answer.body).get("data")
    return found if isinstance(found, list) else None
