"""Numbers of pages in xMatters by time and by incident, over its REST API. Reads only.

Facts and open questions: docs/vendors.md, "The REST API". Each request has `limit=1`: the answer has at most one page,
and the number of all pages that match. Pages can be large, and the relay reads at most 64 KiB of an answer.
"""

from typing import Any, NamedTuple
from urllib.parse import urlencode

from relay.channels.channel import Rest
from relay.deadline import Deadline
from relay.http.client import HttpClient, json_object
from relay.incidents.json_fields import Fields, scalar
from relay.jobs.job import timestamp
from relay.xmatters.rest import EVENTS_PATH, RestApi, listed

# Text properties carry a language in searches.
LANGUAGE = "#en"
# An id that no incident has. If pages are found for it, xMatters does not filter by the property.
NO_INCIDENT = "relayctl-no-such-incident"


class Span(NamedTuple):
    """A span of time.

    Attributes:
        since: Start (epoch seconds).
        until: End (epoch seconds).
    """

    since: float
    until: float


class PageCounts:
    """Counter of pages. Every method raises NoAnswer or BadAnswer when a request fails."""

    def __init__(self, outward: HttpClient) -> None:
        self._api = RestApi(outward)

    def in_span(self, rest: Rest, span: Span, deadline: Deadline) -> int:
        """Return the number of pages that were made in the span, by the relay or by any other sender.

        `rest` has the credentials of a user of xMatters. Only the pages that this user may see are counted.
        """
        return self._count(rest, span, {}, deadline)

    def of_incident(self, rest: Rest, name: str, incident_id: str, span: Span, deadline: Deadline) -> int:
        """Return the number of pages of the span whose text property `name` is the incident's id."""
        named = {"propertyName": f"{name}{LANGUAGE}", "propertyValue": incident_id}
        return self._count(rest, span, named, deadline)

    def _count(self, rest: Rest, span: Span, filters: dict[str, str], deadline: Deadline) -> int:
        times = {"from": timestamp(span.since), "to": timestamp(span.until)}
        query = urlencode({**filters, **times, "limit": 1}, errors="replace")
        answer = self._api.ask(rest, "GET", f"{EVENTS_PATH}?{query}", None, deadline, says=_total)
        return _total(answer) or 0


def _total(answer: Any) -> int | None:
    """Return the number of all matching pages that an answer of xMatters states; None if it states none."""
    text = scalar(Fields(json_object(answer.body)).first("total")) or ""
    return int(text) if listed(answer) is not None and text.isascii() and text.isdigit() else None
