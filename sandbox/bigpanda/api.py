"""The BigPanda stand-in: incidents, comments, assignments, activities, users, the callback service, and sharing.

Facts: docs/vendors.md, "BigPanda's API".

Guesses, to be checked against an organisation:

- every caller with a key sees everything; 403 is answered only when scripted;
- a read of an unknown incident or environment is 404; only activities can be listed for an unknown incident;
- an unknown key is answered 401 before anything else is checked;
- a body without a required text is 400;
- comments and assignments are taken for unknown incidents, too; an unknown assignee is 400;
- a resolve is done at once; its ``comments`` may be null;
- the snooze of a snoozed or resolved incident is 409;
- the callback service answers 403 to an unknown app key, and 200 to any event: no incident has a callback lock here;
- SCIM takes ``filter``; an unknown filter is 400 (`sandbox.bigpanda.users`).
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from aiohttp import web

from sandbox.bigpanda import incidents, life, users
from sandbox.bigpanda.life import Impossible
from sandbox.bigpanda.live import Live, UnknownIncident
from sandbox.bigpanda.store import Store
from sandbox.bigpanda.users import User
from sandbox.http import answers
from sandbox.http.answers import VendorAnswer, bigpanda_error
from sandbox.http.calls import Api, Call, CallLog, Change, text
from sandbox.http.faults import Script

INCIDENTS_PATH = "/resources/v2.0/environments/{environment}/incidents"
INCIDENT_PATH = f"{INCIDENTS_PATH}/{{incident}}"
ACTIVITIES_PATH = "/resources/v2.0/incidents/{incident}/activities"
USERS_PATH = "/scim/v2/Users"
RELEASE_PATH = "/resources/v2.1/outbound/callback"
RELEASE_TEXTS = ("event_type", "incident_id", "app_key")


class BigPanda:
    """The stand-in's state and routes. Its methods may be called from any thread.

    Attributes:
        url: Base URL of the API.
        calls: Log of every request, refused requests included.
        live: Incidents that people and callers of the API open and change, and their sharing.
    """

    def __init__(self, url: str, script: Script, now: Callable[[], datetime]) -> None:
        self.url = url
        self.calls = CallLog[Call]()
        self._api = Api(script, now, bigpanda_error, self._refused)
        self._now = now
        self._keys: set[str] = set()
        self._apps: set[str] = set()
        self._users: Sequence[User] = users.USERS
        self._store = Store()
        self.live = Live(self._store, now)

    def application(self) -> web.Application:
        """Return BigPanda's routes as a web application."""
        app = web.Application(client_max_size=0, middlewares=[answers.unknown_routes_with(bigpanda_error)])
        for method, path, route, answer in (
            ("GET", INCIDENTS_PATH, "incidents", self._incidents_found),
            ("GET", INCIDENT_PATH, "incident", self._incident_found),
            ("POST", f"{INCIDENT_PATH}/comments", "comment", self._comment),
            ("PUT", f"{INCIDENT_PATH}/assignment", "assignment", self._assignment),
            ("POST", f"{INCIDENT_PATH}/resolve", "resolve", self._resolve),
            ("PUT", f"{INCIDENT_PATH}/snooze", "snooze", self._snooze),
            ("GET", ACTIVITIES_PATH, "activities", self._activities),
            ("GET", USERS_PATH, "users", self._users_found),
            ("POST", RELEASE_PATH, "release", self._released),
        ):
            app.router.add_route(method, path, self._api.handler(route, answer, self.calls))
        return app

    def let_in(self, api_key: str) -> None:
        """Add an API key that is accepted."""
        self._keys.add(api_key)

    def let_app_in(self, app_key: str) -> None:
        """Add an app key that the callback service accepts."""
        self._apps.add(app_key)

    def users(self) -> Sequence[User]:
        """Return all users; incidents can be assigned to them."""
        return self._users

    def declare_users(self, declared: Sequence[object]) -> None:
        """Replace all users. Raises InvalidError if an entry is invalid."""
        self._users = users.parse(declared)

    def declare_incidents(self, environment: str, declared: object) -> None:
        """Replace the incidents of an environment. Raises InvalidError if an entry is invalid.

        The activities of new ones say with whom they were shared, unless they have a past (`remember`).
        """
        found = incidents.parse(declared, environment)
        known = {each["id"] for each in self._store.of(environment) or ()}
        self._store.replace_all(environment, found)
        for each in found:
            has_past = bool(self._store.activities(each["id"], {}))
            if each["shared"] and each["id"] not in known and not has_past:
                self.live.note_shared(each["id"])

    def remember(self, incident_id: str, kind: str, params: Mapping[str, Any], timestamp: int) -> None:
        """Add an activity of the past; `timestamp` is in epoch seconds."""
        self._store.note(incident_id, kind, params, timestamp)

    def story(self) -> dict[str, Any]:
        """Return BigPanda's data for the sandbox's web page: channel, incidents with their logs, newest webhooks."""
        return self.live.story()

    def done(self, route: str) -> list[Call]:
        """Return the accepted requests to a route, such as `comment`, oldest first."""
        return [call for call in self.calls.all() if call.route == route and call.accepted]

    def clear(self) -> None:
        """Forget calls, incidents and their sharing; keep keys and users."""
        self.calls.clear()
        self.live.clear()

    def _refused(self, _route: str, request: web.Request) -> VendorAnswer | None:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or key.strip() not in self._keys:
            return bigpanda_error(401, "The API key is missing or wrong")
        return None

    def _incidents_found(self, request: web.Request, _: Any) -> VendorAnswer:
        known = self._store.of(request.match_info["environment"])
        if known is None:
            return bigpanda_error(404, "There is no such environment")
        return answers.document(200, incidents.page(known, request.query))

    def _incident_found(self, request: web.Request, _: Any) -> VendorAnswer:
        known = self._store.of(request.match_info["environment"]) or ()
        found = incidents.one(known, request.match_info["incident"], request.query)
        return answers.document(200, found) if found else bigpanda_error(404, "There is no such incident")

    def _activities(self, request: web.Request, _: Any) -> VendorAnswer:
        return answers.document(200, self._store.activities(request.match_info["incident"], request.query))

    def _users_found(self, request: web.Request, _: Any) -> VendorAnswer:
        return answers.document(200, users.listed(users.found(self._users, request.query.get("filter"))))

    def _released(self, _: web.Request, document: Any) -> VendorAnswer:
        missing = next((name for name in RELEASE_TEXTS if not text(document, name)), None)
        if missing:
            return bigpanda_error(400, f"{missing} must be a text")
        if document["app_key"] not in self._apps:
            return bigpanda_error(403, "The app key is not known")
        return answers.document(200, {"status": 200})

    def _comment(self, request: web.Request, document: Any) -> VendorAnswer | Change:
        said = text(document, "comment")
        if said is None:
            return bigpanda_error(400, "comment must be a text")
        return Change(VendorAnswer(204), lambda: self.live.comment(request.match_info["incident"], said))

    def _assignment(self, request: web.Request, document: Any) -> VendorAnswer | Change:
        assignee = text(document, "assignee")
        user = next((user for user in self._users if user["id"] == assignee), None)
        if user is None:
            return bigpanda_error(400, "assignee must be the id of a user")
        return Change(VendorAnswer(204), lambda: self.live.assign(request.match_info["incident"], user))

    def _resolve(self, request: web.Request, document: Any) -> VendorAnswer | Change:
        if not isinstance(document, dict) or not isinstance(document.get("comments", 0), str | None):
            return bigpanda_error(400, "comments must be a text")
        done = answers.document(202, {"status": 202, "data": {}})
        return self._acted(request, "resolve", {"comments": document["comments"]}, done)

    def _snooze(self, request: web.Request, document: Any) -> VendorAnswer | Change:
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
                self.live.act(incident_id, action, options)

        return Change(done, change)
