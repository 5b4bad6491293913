"""Requests to the API that change an incident: comment, assignment, resolve, snooze.

Documented by BigPanda (docs/vendors.md, "BigPanda's API"):

- comments and assignments: paths, methods and bodies; 204 without a body; a comment written twice is two comments;
- resolve: the text ``comments``, and 202, since BigPanda resolves later; 409 for a resolved incident;
- snooze: ``end_time`` in epoch seconds, ``comment`` and ``cancel_on_incident_updates``; a snooze is 204;
- the resolve or snooze of an unknown incident is 404.

Guesses, to be checked against an organisation:

- comments and assignments are taken for unknown incidents, too; an unknown assignee is 400;
- a resolve is done at once; its ``comments`` may be null;
- the snooze of a snoozed or resolved incident is 409.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from aiohttp import web

from sandbox.bigpanda import life
from sandbox.bigpanda.life import Impossible
from sandbox.bigpanda.live import Live, UnknownIncident
from sandbox.bigpanda.store import Store
from sandbox.bigpanda.users import User
from sandbox.http import answers
from sandbox.http.answers import VendorAnswer, bigpanda_error
from sandbox.http.calls import Change, text


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

    def comment(self, request: web.Request, document: Any) -> VendorAnswer | Change:
        """Check a request that adds a comment to the incident."""
        said = text(document, "comment")
        if said is None:
            return bigpanda_error(400, "comment must be a text")
        return Change(VendorAnswer(204), lambda: self._live.comment(request.match_info["incident"], said))

    def assignment(self, request: web.Request, document: Any) -> VendorAnswer | Change:
        """Check a request that assigns the incident to a user."""
        assignee = text(document, "assignee")
        user = next((user for user in self._users() if user["id"] == assignee), None)
        if user is None:
            return bigpanda_error(400, "assignee must be the id of a user")
        return Change(VendorAnswer(204), lambda: self._live.assign(request.match_info["incident"], user))

    def resolve(self, request: web.Request, document: Any) -> VendorAnswer | Change:
        """Check a request that resolves the incident."""
        if not isinstance(document, dict) or not isinstance(document.get("comments", 0), str | None):
            return bigpanda_error(400, "comments must be a text")
        done = answers.document(202, {"status": 202, "data": {}})
        return self._acted(request, "resolve", {"comments": document["comments"]}, done)

    def snooze(self, request: web.Request, document: Any) -> VendorAnswer | Change:
        """Check a request that snoozes the incident until a time."""
        said = document if isinstance(document, dict) else {}
        end, now = said.get("end_time"), self._now().timestamp()
        if type(end) is not int or not now < end < now + life.MOST_SNOOZE_SECONDS:
            return bigpanda_error(400, "end_time must be a time within 90 days, in epoch seconds")
        is_cancelled = said.get("cancel_on_incident_updates", False)
        if not isinstance(is_cancelled, bool):
            return bigpanda_error(400, "cancel_on_incident_updates must be true or false")
        options = {"end_time": end, "cancel_on_incident_updates": is_cancelled}
        return self._acted(request, "snooze", options, VendorAnswer(204))

    def _acted(
        self, request: web.Request, action: str, options: life.Options, done: VendorAnswer
    ) -> VendorAnswer | Change:
        incident_id = request.match_info["incident"]
        place = self._store.find(incident_id)
        if place is None or place.environment_id != request.match_info["environment"]:
            return bigpanda_error(404, "There is no such incident")
        if why_not := life.ACTIONS[action].why_not(place.incident):
            return bigpanda_error(409, why_not)

        def change() -> None:
            # A person may have done the same meanwhile.
            with suppress(Impossible, UnknownIncident):
                self._live.act(incident_id, action, options)

        return Change(done, change)
