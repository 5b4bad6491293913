"""xMatters' REST API, as far as the relay asks what became of its signals: pages are found, and ended.

Facts and what is not known of them: docs/vendors.md, "The REST API".
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

from relay.channel import Rest
from relay.deadline import Deadline
from relay.errors import BadAnswer, Reason, reason_for_status
from relay.fields import Fields, scalar
from relay.http import Answer
from relay.logins import Login, Logins
from relay.outward import Outward, json_object

EVENTS_PATH = "/api/xm/1/events"
# A signal makes one page, or as many as its flow has steps that make one.
MAX_PAGES = 10
# Longer than any UUID or number of a page; the ledger keeps them.
MAX_NAME = 100
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
        query = urlencode({"requestId": request_id, "limit": MAX_PAGES}, errors="replace")
        answer = self._do(rest, "GET", f"{EVENTS_PATH}?{query}", None, deadline, says=_listed)
        return _pages(_listed(answer) or [], request_id)[:MAX_PAGES]

    def end(self, rest: Rest, page_id: str, deadline: Deadline) -> None:
        """Terminate a page: nobody else is notified of it."""
        try:
            self._do(rest, "POST", EVENTS_PATH, {"id": page_id, "status": "TERMINATED"}, deadline)
        except BadAnswer as error:
            if error.http_status not in _DONE:
                raise

    def _do(
        self,
        rest: Rest,
        method: str,
        path: str,
        document: Mapping[str, Any] | None,
        deadline: Deadline,
        *,
        says: Callable[[Answer], object] = lambda _: True,
    ) -> Answer:
        login = Login(rest.auth, rest.base_url)
        body = None if document is None else json.dumps(document).encode()
        while True:
            shown = self._logins.headers(login, deadline)
            headers = {"Content-Type": "application/json"} | shown
            answer = self._outward.ask(method, rest.base_url + path, body, headers, deadline)
            is_accepted = 200 <= answer.status < 300
            if is_accepted and says(answer) is not None:
                return answer
            reason = Reason.UPSTREAM if is_accepted else reason_for_status(answer.status)
            if reason == Reason.CREDENTIALS and self._logins.renew(login):
                continue
            secrets = {value.partition(" ")[2] for value in shown.values()} | set(rest.auth.members.values())
            raise self._outward.bad_answer(answer, reason, secrets)


def _listed(answer: Answer) -> list[Any] | None:
    """What an answer lists; None where it is of another kind, or half of one: that does not say that there is none."""
    found = json_object(answer.body).get("data")
    return found if isinstance(found, list) else None


def _pages(found: list[Any], request_id: str) -> list[Page]:
    """The pages of that signal alone: a service that does not know the filter may answer with everybody's."""
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
