"""xMatters' REST API, as far as the relay asks what became of its signals: pages are found, and ended.

Facts and what is not known of them: docs/vendors.md, "The REST API".
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

from relay.channel import Rest
from relay.deadline import Deadline
from relay.errors import BadAnswer, Reason, reason_for_status
from relay.fields import Fields, scalar
from relay.http import Answer
from relay.logins import Login, Logins
from relay.outward import Outward

EVENTS_PATH = "/api/xm/1/events"
# A signal makes one page, or as many as its flow has steps that make one.
MAX_PAGES = 10
# Asked to end what is over already, or what is not there: done.
_DONE = {404, 409}


class Page(NamedTuple):
    """What xMatters made of a signal: its UUID, the number that people see, and whether it is active still."""

    id: str
    number: str
    is_active: bool


class Pages:
    """Asks xMatters about pages. Every method raises NoAnswer or BadAnswer when xMatters does not say."""

    def __init__(self, outward: Outward) -> None:
        self._outward = outward
        self._logins = Logins(outward)

    def of_request(self, rest: Rest, request_id: str, deadline: Deadline) -> list[Page]:
        """The pages that a signal made so far; none, as long as its flow has not got there."""
        query = urlencode({"requestId": request_id, "limit": MAX_PAGES})
        answer = self._do(rest, "GET", f"{EVENTS_PATH}?{query}", None, deadline)
        return list(_pages(answer))

    def end(self, rest: Rest, page_id: str, deadline: Deadline) -> None:
        """Terminate a page: nobody else is notified of it."""
        try:
            self._do(rest, "POST", EVENTS_PATH, {"id": page_id, "status": "TERMINATED"}, deadline)
        except BadAnswer as error:
            if error.http_status not in _DONE:
                raise

    def _do(self, rest: Rest, method: str, path: str, document: Mapping[str, Any] | None, deadline: Deadline) -> Answer:
        login = Login(rest.auth, rest.base_url)
        body = None if document is None else json.dumps(document).encode()
        while True:
            shown = self._logins.headers(login, deadline)
            headers = {"Content-Type": "application/json"} | shown
            answer = self._outward.ask(method, rest.base_url + path, body, headers, deadline)
            if 200 <= answer.status < 300:
                return answer
            reason = reason_for_status(answer.status)
            if reason == Reason.CREDENTIALS and self._logins.renew(login):
                continue
            secrets = {value.partition(" ")[2] for value in shown.values()} | set(rest.auth.members.values())
            raise self._outward.bad_answer(answer, reason, secrets)


def _pages(answer: Answer) -> list[Page]:
    try:
        found = json.loads(answer.body).get("data", [])
    except (ValueError, RecursionError, AttributeError):
        return []
    pages = []
    for each in found if isinstance(found, list) else []:
        fields = Fields(each) if isinstance(each, dict) else Fields({})
        page_id = scalar(fields.first("id"))
        if page_id:
            status = (scalar(fields.first("status")) or "").upper()
            pages.append(Page(page_id, scalar(fields.first("eventid")) or "", status != "TERMINATED"))
    return pages
