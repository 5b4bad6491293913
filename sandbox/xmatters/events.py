"""Events in xMatters' REST API: list the events that signals made, and change their status. An event is a page.

Documented by xMatters, or recorded from a tenant (docs/vendors.md, "The REST API"):

- the routes, and the parameters that are read here; a listing has ``links``, 100 events by default, 1,000 at most;
- the members of an event that are here, and the form of its times; xMatters has some more members;
- ``propertyName`` with a language suffix; names and values are compared without regard to letter case;
- ``embed`` with properties, annotations, and for one event recipients, responseOptions, messages;
- ``status`` by POST, with the event as answer; UUID or number names an event; a terminated event stays terminated;
- 404 for an unknown id, 409 for a terminated event; the error object, ``invalid_token``;
- credentials as for triggers, without the key in the URL.

Seen in the public clients that tests/clients runs against this stand-in: python-xmatters adds the parameter
``responseOptions.translations``, without a value, to one event with ``embed=responseOptions``. It is ignored.

In two points the clients differ from the facts above, or from those in `sandbox.xmatters.triggers`. The stand-in does
not imitate these points:

- xmtoolbox's ``events.create`` fails with a TypeError after a 202, because it expects an ``id`` or ``data``;
- python-xmatters' ``Event.get_annotations`` looks for the listing in a member ``annotations``, and finds none.

Guesses, to be checked against a tenant:

- one signal makes one event, at once, unless `Events.make` says otherwise; an event that is not found yet is 404;
- every caller with credentials sees every event, newest first; 403 is only answered if scripted;
- wrong credentials are answered 401 before anything else is checked; where a password is declared, an API key is wrong;
- ``plan`` and ``form`` are ids or names; ``search`` finds parts of the name; all three without regard to letter case;
- an unknown parameter, member or status is 400, and so is a limit outside of 1 to 1,000;
- the member ``terminated`` of an event; the members of embedded recipients and messages;
- no rate limit, unless `sandbox.xmatters.rate_limits` has one.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web

from sandbox.http import answers
from sandbox.http.answers import VendorAnswer
from sandbox.http.faults import Script
from sandbox.http.schema import InvalidError, compiled
from sandbox.xmatters.directory import shown
from sandbox.xmatters.notifications import response_option
from sandbox.xmatters.notifying import Notifier
from sandbox.xmatters.pages import EVENTS_PATH, RESPONSES, STATUSES, Page, Pages
from sandbox.xmatters.paging import LARGEST_PAGE, limit_and_offset, moment, page
from sandbox.xmatters.people import PRIORITIES, People
from sandbox.xmatters.rate_limits import RateLimits
from sandbox.xmatters.rest import Rest, Verdict
from sandbox.xmatters.tokens import Tokens

EVENT_PATH = EVENTS_PATH + "/{event}"

_MAKING = compiled(
    {},
    {
        "per_signal": {"type": "integer", "minimum": 0, "maximum": LARGEST_PAGE, "default": 1},
        "delay_seconds": {"type": "number", "minimum": 0, "maximum": 366 * 86400, "default": 0},
    },
)
_CHANGE = compiled({"id": {"type": "string", "minLength": 1}, "status": {"enum": STATUSES}}, {})
_FILTERS = {
    *("requestId", "status", "priority", "propertyName", "propertyValue", "from", "to"),
    *("eventType", "plan", "form", "search"),
}
_SORTS: Mapping[str, Callable[[Page], Any]] = {
    "EVENT_ID": lambda each: int(each.number),
    "START_TIME": lambda each: (each.created, int(each.number)),
    "STATUS": lambda each: each.status,
    "NAME": lambda each: each.order.subject,
}
_LISTED_EMBEDS = {"properties", "annotations"}
_EMBEDS = _LISTED_EMBEDS | {"recipients", "responseOptions", "messages"}


class Events(Rest):
    """All events, and the credentials of the REST API. Safe to use from several threads.

    `now` returns the time for the log of calls, `page_now` the time on the clock of pages, which can be turned ahead.
    """

    def __init__(
        self,
        pages: Pages,
        people: People,
        notifier: Notifier,
        script: Script,
        tokens: Tokens,
        limits: RateLimits,
        now: Callable[[], datetime],
        page_now: Callable[[], datetime],
    ) -> None:
        super().__init__(script, tokens, limits, now)
        self._pages = pages
        self._people = people
        self._notifier = notifier
        self._page_now = page_now
        self._making = _MAKING({}, "making")

    def make(self, *, per_signal: object = 1, delay_seconds: object = 0) -> None:
        """Set how many events each later signal makes, and after how many seconds the REST API finds any event.

        Raises
        ------
        InvalidError
            If a number is invalid; the message names it, and nothing has changed.
        """
        self._making = _MAKING({"per_signal": per_signal, "delay_seconds": delay_seconds}, "making")

    def making(self) -> Mapping[str, Any]:
        """Return the settings that `make` set."""
        return dict(self._making)

    def all(self) -> list[Page]:
        """Return every event, oldest first, those that the REST API does not find yet included."""
        return self._pages.all()

    def of_incident(self, incident_id: str) -> list[Page]:
        """Return the events for a BigPanda incident, oldest first."""
        return [event for event in self.all() if event.incident_id == incident_id]

    def clear(self) -> None:
        """Forget events and calls; keep credentials and the settings of `make`. Event numbers go on counting."""
        self.calls.clear()
        self._notifier.clear()

    async def find(self, request: web.Request) -> web.Response:
        """Answer a request for the list of events."""
        return await self.serve("events", request, self._found)

    async def one(self, request: web.Request) -> web.Response:
        """Answer a request for one event."""
        return await self.serve("one_event", request, self._one)

    async def change(self, request: web.Request) -> web.Response:
        """Answer a request that changes the status of an event."""
        return await self.serve("event", request, self._changed)

    def visible(self) -> list[Page]:
        """Return the events that the REST API finds already, oldest first (see `make`)."""
        latest = self._page_now() - timedelta(seconds=self._making["delay_seconds"])
        return [event for event in self.all() if event.created <= latest]

    def visible_one(self, name: str) -> Page | None:
        """Return the event with this UUID or number; None if the REST API does not find it, or not yet."""
        found = self._pages.get(name)
        latest = self._page_now() - timedelta(seconds=self._making["delay_seconds"])
        return found if found and found.created <= latest else None

    def _found(self, request: web.Request, _: Any) -> Verdict:
        query = request.query
        limit, offset = limit_and_offset(query, _FILTERS | {"sortBy", "sortOrder", "embed"})
        embeds = _words(query, "embed", _LISTED_EMBEDS)
        wanted = _filter(query)
        key, ascends = _sort(query)
        found = sorted((each for each in self.visible() if wanted(each)), key=key, reverse=not ascends)
        # Embedded members only for the page that is sent, since they are large.
        sheet = page(EVENTS_PATH, query, found, limit, offset)
        sheet["data"] = [self._document(each, embeds) for each in sheet["data"]]
        return Verdict(answers.document(200, sheet))

    def _one(self, request: web.Request, _: Any) -> Verdict:
        unknown = sorted(set(request.query) - {"embed", "targeted", "responseOptions.translations"})
        if unknown:
            raise InvalidError(f"{unknown[0]} is an unknown parameter")
        embeds = _words(request.query, "embed", _EMBEDS)
        found = self.visible_one(request.match_info["event"])
        if found is None:
            return Verdict(no_such_event())
        return Verdict(answers.document(200, self._document(found, embeds)))

    def _changed(self, request: web.Request, document: Any) -> Verdict:
        change = _CHANGE(document, "event")
        event = self.visible_one(change["id"])
        if event is None:
            return Verdict(no_such_event())
        if event.status == "TERMINATED":
            return Verdict(answers.xmatters_error(409, "The event is terminated"))
        username = self.username(request)

        def apply() -> VendorAnswer:
            try:
                after = self._notifier.set_status(event.id, change["status"], username)
            except InvalidError:
                # It has that status, or ended by itself since it was looked up.
                after = self._pages.get(event.id) or event
            return answers.document(200, after.document())

        return Verdict(answers.document(200, event.document()), apply)

    def _document(self, event: Page, embeds: set[str]) -> dict[str, Any]:
        document = event.document()
        if "properties" in embeds:
            document["properties"] = {f"{name}#en": text for name, text in event.properties.items()}
        if "annotations" in embeds:
            document["annotations"] = listing(self._pages.annotations(event.id))
        if "recipients" in embeds:
            document["recipients"] = listing(self._recipients(event))
        if "responseOptions" in embeds:
            responses = () if event.order.is_over else RESPONSES
            document["responseOptions"] = listing([response_option(each) for each in responses])
        if "messages" in embeds:
            body = "\n".join(f"{label}: {text}" for label, text in event.order.details)
            document["messages"] = listing([{"messageType": "EMAIL", "subject": event.order.subject, "body": body}])
        return document

    def _recipients(self, event: Page) -> list[dict[str, Any]]:
        names = [each.partition("|")[0].strip() for each in event.order.recipients]
        found = [self._people.person(name) or self._people.group(name) for name in names]
        return [shown(each) for each in found if each]


def no_such_event() -> VendorAnswer:
    """Return the answer for an unknown event."""
    return answers.xmatters_error(404, "There is no such event")


def listing(data: list[Any]) -> dict[str, Any]:
    """Return a list, as the REST API embeds it in another object: whole, without links to further pages."""
    return {"count": len(data), "total": len(data), "data": data}


def _filter(query: Mapping[str, str]) -> Callable[[Page], bool]:
    statuses = _words(query, "status", STATUSES) or set(STATUSES)
    priorities = _words(query, "priority", PRIORITIES) or set(PRIORITIES)
    request_id, properties = query.get("requestId"), _properties(query)
    earliest, latest = moment(query, "from"), moment(query, "to")
    types = _words(query, "eventType", ["USER", "SYSTEM"]) or {"USER"}

    def wanted(event: Page) -> bool:
        return (
            "USER" in types
            and _is_of_workflow(event, query)
            and request_id in (None, event.request_id)
            and event.status in statuses
            and event.order.priority in priorities
            and all(event.properties.get(name, "").lower() == value for name, value in properties)
            and (earliest is None or earliest <= event.created)
            and (latest is None or event.created <= latest)
        )

    return wanted


def _is_of_workflow(event: Page, query: Mapping[str, str]) -> bool:
    """Return True if the event matches ``plan``, ``form`` and ``search`` of the query."""
    document = event.document()
    names = [(query[name].lower(), document[name].values()) for name in ("plan", "form") if name in query]
    is_named = all(name in {each.lower() for each in known} for name, known in names)
    return is_named and query.get("search", "").lower() in event.order.subject.lower()


def _properties(query: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the names and values of properties that the query asks for, in lower case."""
    names = [name for name in query.get("propertyName", "").lower().split(",") if name]
    values = query.get("propertyValue", "").lower().split(",")
    if not names:
        return []
    if len(names) != len(values):
        raise InvalidError("propertyName and propertyValue must have the same number of entries")
    return [
        (name.rpartition(">")[2].strip().partition("#")[0], value) for name, value in zip(names, values, strict=True)
    ]


def _words(query: Mapping[str, str], name: str, known: Any) -> set[str]:
    found = {word for word in query.get(name, "").split(",") if word}
    if not found <= set(known):
        raise InvalidError(f"{name} must be of {', '.join(sorted(known))}")
    return found


def _sort(query: Mapping[str, str]) -> tuple[Callable[[Page], Any], bool]:
    sort, order = query.get("sortBy", "EVENT_ID"), query.get("sortOrder", "DESCENDING")
    if sort not in _SORTS:
        raise InvalidError(f"sortBy must be of {', '.join(_SORTS)}")
    if order not in ("ASCENDING", "DESCENDING"):
        raise InvalidError("sortOrder must be ASCENDING or DESCENDING")
    return _SORTS[sort], order == "ASCENDING"
