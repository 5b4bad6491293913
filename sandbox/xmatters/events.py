"""Events in xMatters' REST API, their annotations and audits, and suppressions. An event is a page.

Facts: docs/vendors.md, "The REST API". Documented by xMatters: a listing has ``links``, 100 events by default, 1,000 at
most.

Seen in a public client that tests/clients runs against this stand-in: python-xmatters adds the parameter
``responseOptions.translations``, without a value, to one event with ``embed=responseOptions``. It is ignored.

In three points the clients differ from the facts above, or from those in `sandbox.xmatters.triggers`. The stand-in does
not imitate these points:

- xmtoolbox's ``events.create`` fails with a TypeError after a 202, because it expects an ``id`` or ``data``;
- python-xmatters' ``Event.get_annotations`` looks for the listing in a member ``annotations``, and finds none;
- python-xmatters looks in a response's audit for a listing ``options``, not for ``option``.

Guesses, to be checked against a tenant:

- one signal makes one event, at once;
- every caller with credentials sees every event, newest first; 403 and 429 are answered only when scripted;
- wrong credentials are answered 401 before anything else is checked; where a password is declared, an API key is wrong;
- an unknown parameter, member or status is 400, and so is a limit outside of 1 to 1,000;
- the member ``terminated`` of an event; the members of embedded recipients and messages;
- 201 for a new annotation; audits without ``eventId`` are 400; audits are listed newest first;
- the audit types that `sandbox.xmatters.pages` lists, other than EVENT_ANNOTATED and RESPONSE_RECEIVED;
- a suppression's ``match`` is the suppressed event; ``event`` finds the suppressions in which it is either.
"""

from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from sandbox.http import answers
from sandbox.http.answers import VendorAnswer
from sandbox.http.calls import Call, CallLog, Change
from sandbox.http.schema import InvalidError, compiled
from sandbox.xmatters.access import Rest
from sandbox.xmatters.directory import shown
from sandbox.xmatters.listing import check_parameters, limit_and_offset, moment, page
from sandbox.xmatters.notifications import response_option
from sandbox.xmatters.notifying import Notifier
from sandbox.xmatters.pages import AUDIT_TYPES, EVENTS_PATH, RESPONSES, STATUSES, Page, Pages
from sandbox.xmatters.people import People

EVENT_PATH = EVENTS_PATH + "/{event}"
ANNOTATIONS_PATH = EVENT_PATH + "/annotations"
ANNOTATION_PATH = ANNOTATIONS_PATH + "/{annotation}"
AUDITS_PATH = "/api/xm/1/audits"
SUPPRESSIONS_PATH = "/api/xm/1/event-suppressions"

_CHANGE = compiled({"id": {"type": "string", "minLength": 1}, "status": {"enum": STATUSES}})
_COMMENT = compiled({"comment": {"type": "string", "minLength": 1, "maxLength": 4000}})
_FILTERS = {"requestId", "status", "propertyName", "propertyValue", "from", "to"}
_LISTED_EMBEDS = {"properties", "annotations"}
_EMBEDS = _LISTED_EMBEDS | {"recipients", "responseOptions", "messages"}


class Events:
    """REST API of events. Safe to use from several threads.

    Attributes:
        calls: Log of every request to the routes about events.
    """

    def __init__(self, pages: Pages, people: People, notifier: Notifier, rest: Rest) -> None:
        self.calls = CallLog[Call]()
        self.declare = rest.declare
        self._pages = pages
        self._people = people
        self._notifier = notifier
        self._rest = rest

    def add_to(self, app: web.Application) -> None:
        """Add the routes to the application of the xMatters stand-in."""
        add = {"GET": app.router.add_get, "POST": app.router.add_post}
        for method, path, route, answer in (
            ("GET", EVENTS_PATH, "events", self._found),
            ("POST", EVENTS_PATH, "event", self._changed),
            ("GET", EVENT_PATH, "one_event", self._one),
            ("GET", ANNOTATIONS_PATH, "annotations", self._annotations),
            ("POST", ANNOTATIONS_PATH, "annotation", self._annotated),
            ("GET", ANNOTATION_PATH, "annotations", self._annotation),
            ("GET", AUDITS_PATH, "audits", self._audits),
            ("GET", SUPPRESSIONS_PATH, "suppressions", self._suppressions),
        ):
            add[method](path, self._rest.handler(route, answer, self.calls))

    def all(self) -> list[Page]:
        """Return every event, oldest first."""
        return self._pages.all()

    def clear(self) -> None:
        """Forget events and calls; keep credentials. Event numbers go on counting."""
        self.calls.clear()
        self._notifier.clear()

    def _found(self, request: web.Request, _: Any) -> VendorAnswer:
        query = request.query
        limit, offset = limit_and_offset(query, _FILTERS | {"embed"})
        embeds, wanted = _words(query, "embed", _LISTED_EMBEDS), _filter(query)
        found = [each for each in reversed(self.all()) if wanted(each)]
        # Embedded members only for the page that is sent, since they are large.
        sheet = page(EVENTS_PATH, query, found, limit, offset)
        sheet["data"] = [self._document(each, embeds) for each in sheet["data"]]
        return answers.document(200, sheet)

    def _one(self, request: web.Request, _: Any) -> VendorAnswer:
        check_parameters(request.query, {"embed", "targeted", "responseOptions.translations"})
        embeds = _words(request.query, "embed", _EMBEDS)
        found = self._pages.get(request.match_info["event"])
        return answers.document(200, self._document(found, embeds)) if found else _no_such_event()

    def _changed(self, request: web.Request, document: Any) -> VendorAnswer | Change:
        change = _CHANGE(document, "event")
        event = self._pages.get(change["id"])
        if event is None:
            return _no_such_event()
        if event.status == "TERMINATED":
            return answers.xmatters_error(409, "The event is terminated")
        username = self._rest.username(request)

        def apply() -> VendorAnswer:
            try:
                after = self._notifier.set_status(event.id, change["status"], username)
            except InvalidError:
                # It has that status, or ended by itself since it was looked up.
                after = self._pages.get(event.id) or event
            return answers.document(200, after.document())

        return Change(answers.document(200, event.document()), apply)

    def _annotations(self, request: web.Request, _: Any) -> VendorAnswer:
        limit, offset = limit_and_offset(request.query, ())
        event = self._pages.get(request.match_info["event"])
        if event is None:
            return _no_such_event()
        return answers.document(
            200, page(request.path, request.query, self._pages.annotations(event.id), limit, offset)
        )

    def _annotation(self, request: web.Request, _: Any) -> VendorAnswer:
        event = self._pages.get(request.match_info["event"])
        found = self._pages.annotations(event.id) if event else []
        wanted = next((each for each in found if each["id"] == request.match_info["annotation"]), None)
        return answers.document(200, wanted) if wanted else answers.xmatters_error(404, "There is no such annotation")

    def _annotated(self, request: web.Request, document: Any) -> VendorAnswer | Change:
        comment = _COMMENT(document, "annotation")["comment"]
        event = self._pages.get(request.match_info["event"])
        if event is None:
            return _no_such_event()
        author = self._rest.username(request)
        return Change(
            answers.document(201, {}),
            lambda: answers.document(201, self._notifier.annotate(event, comment, author)),
        )

    def _audits(self, request: web.Request, _: Any) -> VendorAnswer:
        query = request.query
        limit, offset = limit_and_offset(query, {"eventId", "auditType", "sortOrder"})
        types = [word for word in query.get("auditType", "").split(",") if word]
        unknown = next((word for word in types if word not in AUDIT_TYPES), None)
        if "eventId" not in query or unknown:
            raise InvalidError("auditType must be of " + ", ".join(AUDIT_TYPES) if unknown else "eventId is missing")
        order = query.get("sortOrder", "DESCENDING")
        if order not in ("ASCENDING", "DESCENDING"):
            raise InvalidError("sortOrder must be ASCENDING or DESCENDING")
        event = self._pages.get(query["eventId"])
        if event is None:
            return _no_such_event()
        found = [each for each in self._pages.audits(event.id) if not types or each["auditType"] in types]
        found = found if order == "ASCENDING" else found[::-1]
        return answers.document(200, page(request.path, query, found, limit, offset))

    def _suppressions(self, request: web.Request, _: Any) -> VendorAnswer:
        limit, offset = limit_and_offset(request.query, {"event"})
        named = request.query.get("event")
        found = [
            each
            for each in self._pages.suppressions()
            if named in {None, *(each[part][name] for part in ("event", "match") for name in ("id", "eventId"))}
        ]
        return answers.document(200, page(request.path, request.query, found, limit, offset))

    def _document(self, event: Page, embeds: set[str]) -> dict[str, Any]:
        document = event.document()
        if "properties" in embeds:
            document["properties"] = {f"{name}#en": text for name, text in event.properties.items()}
        if "annotations" in embeds:
            document["annotations"] = _listing(self._pages.annotations(event.id))
        if "recipients" in embeds:
            document["recipients"] = _listing(self._recipients(event))
        if "responseOptions" in embeds:
            responses = () if event.order.is_over else RESPONSES
            document["responseOptions"] = _listing([response_option(each) for each in responses])
        if "messages" in embeds:
            body = "\n".join(f"{label}: {text}" for label, text in event.order.details)
            document["messages"] = _listing([{"messageType": "EMAIL", "subject": event.order.subject, "body": body}])
        return document

    def _recipients(self, event: Page) -> list[dict[str, Any]]:
        names = [each.partition("|")[0].strip() for each in event.order.recipients]
        found = [self._people.person(name) or self._people.group(name) for name in names]
        return [shown(each) for each in found if each]


def _no_such_event() -> VendorAnswer:
    """Return the answer for an unknown event."""
    return answers.xmatters_error(404, "There is no such event")


def _listing(data: list[Any]) -> dict[str, Any]:
    """Return a list, as the REST API embeds it in another object: whole, without links to further pages."""
    return {"count": len(data), "total": len(data), "data": data}


def _filter(query: Mapping[str, str]) -> Callable[[Page], bool]:
    statuses = _words(query, "status", STATUSES) or set(STATUSES)
    request_id, properties = query.get("requestId"), _properties(query)
    earliest, latest = moment(query, "from"), moment(query, "to")

    def wanted(event: Page) -> bool:
        return (
            request_id in (None, event.request_id)
            and event.status in statuses
            and all(event.properties.get(name, "").lower() == value for name, value in properties)
            and (earliest is None or earliest <= event.created)
            and (latest is None or event.created <= latest)
        )

    return wanted


def _properties(query: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the names and values of properties that the query asks for, in lower case."""
    names = [name for name in query.get("propertyName", "").lower().split(",") if name]
    values = query.get("propertyValue", "").lower().split(",")
    if not names:
        return []
    if len(names) != len(values):
        raise InvalidError("propertyName and propertyValue must have the same number of entries")
    return [(name.strip().partition("#")[0], value) for name, value in zip(names, values, strict=True)]


def _words(query: Mapping[str, str], name: str, known: Any) -> set[str]:
    found = {word for word in query.get(name, "").split(",") if word}
    if not found <= set(known):
        raise InvalidError(f"{name} must be of {', '.join(sorted(known))}")
    return found
