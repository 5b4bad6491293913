"""The BigPanda stand-in: incidents, comments, assignments, activities, users, the callback service, and sharing.

Documented by BigPanda (docs/vendors.md, "BigPanda's API"):

- requests that change an incident: comment, assignment, resolve and snooze (`sandbox.bigpanda.writes`);
- incidents of an environment by folder, and one incident (`sandbox.bigpanda.incidents`);
- an incident's activities (`sandbox.bigpanda.store`);
- a user's API key as bearer token;
- ``GET /scim/v2/Users``;
- 5 requests a second for each endpoint, 2 for users; above that 429 without a header (only if `is_paced`);
- the callback service: its path, the members of its body, and its API key;
- the error object, ``{"status", "errors"}``.

Guesses, to be checked against an organisation:

- every caller with a key sees everything; 403 is answered only when scripted;
- a read of an unknown incident or environment is 404; only activities can be listed for an unknown incident;
- an unknown key is answered 401 before anything else is checked;
- a body without a required text is 400;
- the callback service answers 403 to an unknown app key, and 200 to any event: no incident has a callback lock here;
- SCIM takes ``filter``; an unknown filter is 400 (`sandbox.bigpanda.users`);
- the rate limit counts by seconds of the clock, refused requests included.
"""

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from aiohttp import web

from sandbox.bigpanda import incidents, users
from sandbox.bigpanda.incidents import Incident
from sandbox.bigpanda.live import Live
from sandbox.bigpanda.store import Activities, Store
from sandbox.bigpanda.users import User
from sandbox.bigpanda.writes import Writes
from sandbox.http import answers
from sandbox.http.answers import VendorAnswer
from sandbox.http.calls import Api, Call, CallLog, text
from sandbox.http.faults import Script

INCIDENTS_PATH = "/resources/v2.0/environments/{environment}/incidents"
INCIDENT_PATH = f"{INCIDENTS_PATH}/{{incident}}"
ACTIVITIES_PATH = "/resources/v2.0/incidents/{incident}/activities"
USERS_PATH = "/scim/v2/Users"
RELEASE_PATH = "/resources/v2.1/outbound/callback"
RELEASE_TEXTS = ("event_type", "incident_id", "app_key")
# Requests a second.
LIMIT, LIMIT_OF_USERS = 5, 2


class BigPanda:
    """The stand-in's state and routes. Its methods may be called from any thread.

    With `is_paced`, requests above the rate limits are answered 429.

    Attributes:
        url: Base URL of the API.
        calls: Log of every request, refused requests included.
        live: Incidents that people and callers of the API open and change, and their sharing.
    """

    def __init__(self, url: str, script: Script, now: Callable[[], datetime], *, is_paced: bool = False) -> None:
        self.url = url
        self.calls = CallLog[Call]()
        self._api = Api(script, now, answers.bigpanda_error, self._refused)
        self._now = now
        self._is_paced = is_paced
        self._lock = threading.Lock()
        self._keys: frozenset[str] = frozenset()
        self._apps: frozenset[str] = frozenset()
        self._users: Sequence[User] = users.USERS
        self._store = Store()
        self._activity_log = Activities()
        self.live = Live(self._store, self._activity_log, now)
        self._writes = Writes(self._store, self.live, self.users, now)
        self._asked: Counter[tuple[str, int]] = Counter()

    def application(self) -> web.Application:
        """Return BigPanda's routes as a web application."""
        app = web.Application(client_max_size=0, middlewares=[answers.unknown_routes_with(answers.bigpanda_error)])
        for method, path, route, answer in (
            ("GET", INCIDENTS_PATH, "incidents", self._incidents_found),
            ("GET", INCIDENT_PATH, "incident", self._incident_found),
            ("POST", f"{INCIDENT_PATH}/comments", "comment", self._writes.comment),
            ("PUT", f"{INCIDENT_PATH}/assignment", "assignment", self._writes.assignment),
            ("POST", f"{INCIDENT_PATH}/resolve", "resolve", self._writes.resolve),
            ("PUT", f"{INCIDENT_PATH}/snooze", "snooze", self._writes.snooze),
            ("GET", ACTIVITIES_PATH, "activities", self._activities),
            ("GET", USERS_PATH, "users", self._users_found),
            ("POST", RELEASE_PATH, "release", self._released),
        ):
            app.router.add_route(method, path, self._api.handler(route, answer, self.calls))
        return app

    def let_in(self, api_key: str) -> None:
        """Add an API key that is accepted."""
        with self._lock:
            self._keys |= {api_key}

    def let_app_in(self, app_key: str) -> None:
        """Add an app key that the callback service accepts."""
        with self._lock:
            self._apps |= {app_key}

    def users(self) -> Sequence[User]:
        """Return all users; incidents can be assigned to them."""
        return self._users

    def declare_users(self, declared: Sequence[object]) -> None:
        """Replace all users. Raises InvalidError if an entry is invalid."""
        self._users = users.parse(declared)

    def incidents(self) -> Mapping[str, Sequence[Incident]]:
        """Return all incidents, by environment."""
        return self._store.environments()

    def declare_incidents(self, environment: str, declared: object) -> None:
        """Replace the incidents of an environment. Raises InvalidError if an entry is invalid.

        The activities of new ones say with whom they were shared, unless they have a past (`remember`).
        """
        found = incidents.parse(declared, environment)
        known = {each["id"] for each in self._store.of(environment) or ()}
        self._store.replace_all(environment, found)
        self.live.forget_missing()
        for each in found:
            has_past = bool(self._activity_log.page(each["id"], {}))
            if each["shared"] and each["id"] not in known and not has_past:
                self.live.note_shared(each["id"])

    def remember(self, incident_id: str, kind: str, params: Mapping[str, Any], timestamp: int) -> None:
        """Add an activity of the past; `timestamp` is in epoch seconds."""
        self._activity_log.add(incident_id, kind, params, timestamp)

    def story(self) -> dict[str, Any]:
        """Return BigPanda's data for the sandbox's web page: channel, incidents with their logs, newest webhooks."""
        return self.live.story()

    def comments(self) -> list[Call]:
        """Return the accepted comments, oldest first."""
        return self._done("comment")

    def assignments(self) -> list[Call]:
        """Return the accepted assignments, oldest first."""
        return self._done("assignment")

    def releases(self) -> list[Call]:
        """Return the accepted calls that end a callback lock, oldest first."""
        return self._done("release")

    def clear(self) -> None:
        """Forget calls, live incidents and their sharing; keep keys, users and declared incidents."""
        self.calls.clear()
        self._activity_log.clear()
        self.live.clear()

    def _refused(self, route: str, request: web.Request) -> VendorAnswer | None:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or key.strip() not in self._keys:
            return answers.bigpanda_error(401, "The API key is missing or wrong")
        with self._lock:
            second = int(self._now().timestamp())
            self._asked[route, second] += 1
            is_too_much = self._asked[route, second] > (LIMIT_OF_USERS if route == "users" else LIMIT)
        return answers.bigpanda_error(429, "Too many requests") if self._is_paced and is_too_much else None

    def _incidents_found(self, request: web.Request, _: Any) -> VendorAnswer:
        known = self._store.of(request.match_info["environment"])
        if known is None:
            return answers.bigpanda_error(404, "There is no such environment")
        return answers.document(200, incidents.page(known, request.query))

    def _incident_found(self, request: web.Request, _: Any) -> VendorAnswer:
        known = self._store.of(request.match_info["environment"]) or ()
        found = incidents.one(known, request.match_info["incident"], request.query)
        return answers.document(200, found) if found else answers.bigpanda_error(404, "There is no such incident")

    def _activities(self, request: web.Request, _: Any) -> VendorAnswer:
        return answers.document(200, self._activity_log.page(request.match_info["incident"], request.query))

    def _users_found(self, request: web.Request, _: Any) -> VendorAnswer:
        return answers.document(200, users.listed(users.found(self._users, request.query.get("filter"))))

    def _released(self, _: web.Request, document: Any) -> VendorAnswer:
        missing = next((name for name in RELEASE_TEXTS if not text(document, name)), None)
        if missing:
            return answers.bigpanda_error(400, f"{missing} must be a text")
        if document["app_key"] not in self._apps:
            return answers.bigpanda_error(403, "The app key is not known")
        return answers.document(200, {"status": 200})

    def _done(self, route: str) -> list[Call]:
        return [call for call in self.calls.all() if call.route == route and call.accepted]
