"""Requests to the API that change an incident: comment, assignment, resolve, snooze.

Documented by BigPanda (docs/vendors.md, "BigPanda's API"):

- comments and assignments: paths, methods and bodies; 204 without a body; a comment written twice is two comments;
- resolve: the text ``comments``, and 202, since BigPanda resolves later; 409 for a resolved incident;
- snooze: ``end_time`` in epoch seconds, ``comment`` and ``cancel_on_incident_updates``; a snooze and its end are 204;
- the end of an assignment is 204, or 400;
- an unknown incident is 404.

Guesses, to be checked against an organisation:

- in an environment in which no incident was opened, comments and assignments are taken for unknown incidents, too;
- an unknown assignee is 400, and so is the end of an assignment if the incident has no assignee;
- a resolve is done at once; its ``comments`` may be null;
- the snooze of a snoozed or resolved incident is 409, and so is the end of a snooze if the incident is not snoozed.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

from aiohttp import web

from sandbox.bigpanda import life
from sandbox.bigpanda.life import Impossible
from sandbox.bigpanda.live import Live, UnknownIncident
from sandbox.bigpanda.store import Store
from sandbox.bigpanda.users import User
from sandbox.http import answers
from sandbox.http.answers import VendorAnswer


class Verdict(NamedTuple):
    """The answer to a request, and a function that makes the change; the caller calls it if the answer is a success."""

    answer: VendorAnswer
    change: Callable[[], object] = lambda: None


class Writes:
    """Checks of the requests that change an incident, one method for each route.

    A method changes nothing: it returns the answer together with a function that makes the change.
    """

    def __init__(
        self, store: Store, live: Live, users: Callable[[], Sequence[User]], now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._live = live
        self._users = users
        self._now = now

    def comment(self, request: web.Request, document: Any) -> Verdict:
        """Check a request that adds a comment to the incident."""
        said = text(document, "comment")
        if said is None:
            return _refused(400, "comment must be a text")
        return self._unknown(request) or Verdict(
            VendorAnswer(204), lambda: self._live.comment(_incident_id(request), said)
        )

    def assignment(self, request: web.Request, document: Any) -> Verdict:
        """Check a request that assigns the incident to a user."""
        assignee = text(document, "assignee")
        user = next((user for user in self._users() if user["id"] == assignee), None)
        if user is None:
            return _refused(400, "assignee must be the id of a user")
        return self._unknown(request) or Verdict(
            VendorAnswer(204), lambda: self._live.assign(_incident_id(request), user)
        )

    def unassign(self, request: web.Request, _: Any) -> Verdict:
        """Check a request that ends the incident's assignment."""
        place = self._store.find(_incident_id(request))
        if place is None or place.environment_id != request.match_info["environment"]:
            return _refused(404, "There is no such incident")
        if place.incident["assignee"] is None:
            return _refused(400, "The incident is assigned to nobody")
        return Verdict(VendorAnswer(204), lambda: self._live.assign(_incident_id(request), None))

    def resolve(self, request: web.Request, document: Any) -> Verdict:
        """Check a request that resolves the incident."""
        if not isinstance(document, dict) or not isinstance(document.get("comments", 0), str | None):
            return _refused(400, "comments must be a text")
        done = answers.document(202, {"status": 202, "data": {}})
        return self._acted(request, "resolve", {"comments": document["comments"]}, done)

    def snooze(self, request: web.Request, document: Any) -> Verdict:
        """Check a request that snoozes the incident until a time."""
        said = document if isinstance(document, dict) else {}
        end, now = said.get("end_time"), self._now().timestamp()
        if type(end) is not int or not now < end < now + life.MOST_SNOOZE_SECONDS:
            return _refused(400, "end_time must be a time within 90 days, in epoch seconds")
        is_cancelled = said.get("cancel_on_incident_updates", False)
        if not isinstance(is_cancelled, bool):
            return _refused(400, "cancel_on_incident_updates must be true or false")
        options = {"end_time": end, "cancel_on_incident_updates": is_cancelled}
        return self._acted(request, "snooze", options, VendorAnswer(204))

    def unsnooze(self, request: web.Request, _: Any) -> Verdict:
        """Check a request that ends the incident's snooze."""
        return self._acted(request, "unsnooze", {}, VendorAnswer(204))

    def _acted(self, request: web.Request, action: str, options: life.Options, done: VendorAnswer) -> Verdict:
        incident_id = _incident_id(request)
        place = self._store.find(incident_id)
        if place is None or place.environment_id != request.match_info["environment"]:
            return _refused(404, "There is no such incident")
        if why_not := self._live.why_not(incident_id, action):
            return _refused(409, why_not)

        def change() -> None:
            # A person may have done the same meanwhile.
            with suppress(Impossible, UnknownIncident):
                self._live.act(incident_id, action, options)

        return Verdict(done, change)

    def _unknown(self, request: web.Request) -> Verdict | None:
        environment_id = request.match_info["environment"]
        known = self._store.of(environment_id) or ()
        if not self._live.has_opened(environment_id) or any(each["id"] == _incident_id(request) for each in known):
            return None
        return _refused(404, "There is no such incident")


def text(document: Any, name: str) -> str | None:
    """Return the text in the member `name` of a JSON object; None if the member is missing, blank or no text."""
    value = document.get(name) if isinstance(document, dict) else None
    return value if isinstance(value, str) and value.strip() else None


def _refused(status: int, message: str) -> Verdict:
    return Verdict(answers.bigpanda_error(status, message))


def _incident_id(request: web.Request) -> str:
    return request.match_info["incident"]
