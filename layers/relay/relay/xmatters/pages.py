"""xMatters' REST API, as far as the relay asks what became of its signals: pages are found, and ended.

Facts and what is not known of them: docs/vendors.md, "The REST API".
"""

from typing import Any, NamedTuple
from urllib.parse import urlencode

from relay.channels.channel import Rest
from relay.deadline import Deadline
from relay.http.client import Outward
from relay.incidents.json_fields import Fields, scalar
from relay.xmatters.rest import EVENTS_PATH, RestApi, listed

# A signal makes one page, or as many as its flow has steps that make one.
MAX_PAGES = 10
# Longer than any UUID or number of a page; the ledger keeps them.
MAX_NAME = 100
# Asked to end what is over already, or what is not there: done.
_DONE = frozenset({404, 409})


class Page(NamedTuple):
    """Page of a signal: its UUID, the number that people see, and if it is active still."""

    id: str
    number: str
    is_active: bool


class Pages:
    """Asks xMatters about pages. Every method raises NoAnswer or BadAnswer when xMatters does not say."""

    def __init__(self, outward: Outward) -> None:
        self._api = RestApi(outward)

    def of_request(self, rest: Rest, request_id: str, deadline: Deadline) -> list[Page]:
        """The pages that a signal made so far; none, as long as its flow has not got there."""
        query = urlencode({"requestId": request_id, "limit": MAX_PAGES}, errors="replace")
        answer = self._api.ask(rest, "GET", f"{EVENTS_PATH}?{query}", None, deadline, says=listed)
        return _pages(listed(answer) or [], request_id)[:MAX_PAGES]

    def names_of_request(self, rest: Rest, request_id: str, deadline: Deadline) -> set[str]:
        """Return the ids and the numbers of the pages that a signal made so far."""
        pages = self.of_request(rest, request_id, deadline)
        return {name for page in pages for name in (page.id, page.number) if name}

    def end(self, rest: Rest, page_id: str, deadline: Deadline) -> None:
        """Terminate a page: nobody else is notified of it."""
        document = {"id": page_id, "status": "TERMINATED"}
        self._api.ask(rest, "POST", EVENTS_PATH, document, deadline, also=_DONE)


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
