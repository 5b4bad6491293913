"""Annotations, audits and suppressions of events in xMatters' REST API.

Documented by xMatters, or recorded from a tenant (docs/vendors.md, "The REST API"):

- annotations: a POST with ``comment``, whose author is the authenticated user; a GET lists them;
- audits: ``eventId`` and ``auditType``, with several types separated by commas; the members of a response's audit;
- suppressions: ``event``; the members of one, of which two public clients disagree where ``at`` and ``filters`` are;
- listings have ``limit`` and ``offset``; the form of the times; the error object; credentials as for events.

python-xmatters, which tests/clients runs against this stand-in, differs from the recordings in one point: in a
response's audit it looks for a listing ``options``, not for ``option``. That is not imitated.

Guesses, to be checked against a tenant:

- 201 for a new annotation; audits without ``eventId`` are 400; audits are listed newest first;
- the audit types that `sandbox.xmatters.pages` lists, other than EVENT_ANNOTATED and RESPONSE_RECEIVED;
- a suppression's ``match`` is the suppressed event; ``event`` finds the suppressions in which it is either;
- an unknown parameter is 400; an unknown event is 404.
"""

from typing import Any

from aiohttp import web

from sandbox.http import answers
from sandbox.http.answers import VendorAnswer
from sandbox.http.calls import Change
from sandbox.http.schema import InvalidError, compiled
from sandbox.xmatters.access import Rest
from sandbox.xmatters.events import EVENT_PATH, Events, no_such_event
from sandbox.xmatters.notifying import Notifier
from sandbox.xmatters.pages import AUDIT_TYPES, Pages
from sandbox.xmatters.paging import limit_and_offset, page

ANNOTATIONS_PATH = EVENT_PATH + "/annotations"
ANNOTATION_PATH = ANNOTATIONS_PATH + "/{annotation}"
AUDITS_PATH = "/api/xm/1/audits"
SUPPRESSIONS_PATH = "/api/xm/1/event-suppressions"
_COMMENT = compiled({"comment": {"type": "string", "minLength": 1, "maxLength": 4000}}, {})


class Records:
    """Routes of annotations, audits and suppressions."""

    def __init__(self, pages: Pages, events: Events, notifier: Notifier, rest: Rest) -> None:
        self._pages = pages
        self._events = events
        self._notifier = notifier
        self._rest = rest

    def add_to(self, app: web.Application) -> None:
        """Add the routes to the application of the xMatters stand-in."""
        log = self._events.calls
        app.router.add_get(ANNOTATIONS_PATH, self._rest.handler("annotations", self._annotations, log))
        app.router.add_post(ANNOTATIONS_PATH, self._rest.handler("annotation", self._annotated, log))
        app.router.add_get(ANNOTATION_PATH, self._rest.handler("annotations", self._annotation, log))
        app.router.add_get(AUDITS_PATH, self._rest.handler("audits", self._audits, log))
        app.router.add_get(SUPPRESSIONS_PATH, self._rest.handler("suppressions", self._suppressions, log))

    def _annotations(self, request: web.Request, _: Any) -> VendorAnswer:
        limit, offset = limit_and_offset(request.query, ())
        event = self._events.visible(request.match_info["event"])
        if event is None:
            return no_such_event()
        return answers.document(
            200, page(request.path, request.query, self._pages.annotations(event.id), limit, offset)
        )

    def _annotation(self, request: web.Request, _: Any) -> VendorAnswer:
        event = self._events.visible(request.match_info["event"])
        found = self._pages.annotations(event.id) if event else []
        wanted = next((each for each in found if each["id"] == request.match_info["annotation"]), None)
        return answers.document(200, wanted) if wanted else answers.xmatters_error(404, "There is no such annotation")

    def _annotated(self, request: web.Request, document: Any) -> VendorAnswer | Change:
        comment = _COMMENT(document, "annotation")["comment"]
        event = self._events.visible(request.match_info["event"])
        if event is None:
            return no_such_event()
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
        event = self._events.visible(query["eventId"])
        if event is None:
            return no_such_event()
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
