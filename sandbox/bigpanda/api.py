"""The BigPanda stand-in: incidents, comments, assignments, activities, users and the callback service.

Documented by BigPanda (docs/vendors.md, "BigPanda's API"):

- comments and assignments: paths, methods and bodies; 204 without a body; a comment written twice is two comments;
- incidents of an environment by folder, and one incident (`sandbox.bigpanda.incidents`);
- an incident's activities, newest first, with ``types``, ``page`` and ``per_page`` (20 by default);
- a user's API key as bearer token;
- ``GET /scim/v2/Users``;
- 5 requests a second for each endpoint, 2 for users; above that 429 without a header (only if `is_paced`);
- the callback service: its path, the members of its body, and its API key;
- the error object, ``{"status", "errors"}``.

Guesses, to be checked against an organisation:

- every caller with a key sees everything; 403 is answered only when scripted;
- comments and assignments are accepted for every incident in every environment, and change no incident; 404 and 409 are
  answered only when scripted;
- reads know declared incidents and environments only; anything else is 404;
- an unknown key is answered 401 before anything else is checked;
- a body without a required text is 400, and so is an unknown assignee;
- an unknown app key of a callback is 403; any event is 200, and so is an incident without a lock;
- activities are a list, and a comment is in ``params.comment``;
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
from sandbox.bigpanda.incidents import Incident, count
from sandbox.bigpanda.users import User
from sandbox.http import answers, transport
from sandbox.http.answers import Answer
from sandbox.http.calls import Call, CallLog
from sandbox.http.faults import Script
from sandbox.http.schema import InvalidError, json_or_none

INCIDENTS_PATH = "/resources/v2.0/environments/{environment}/incidents"
INCIDENT_PATH = f"{INCIDENTS_PATH}/{{incident}}"
ACTIVITIES_PATH = "/resources/v2.0/incidents/{incident}/activities"
USERS_PATH = "/scim/v2/Users"
RELEASE_PATH = "/resources/v2.1/outbound/callback"
RELEASE_TEXTS = ("event_type", "incident_id", "app_key")
# Requests a second, by route.
LIMITS = {"incidents": 5, "incident": 5, "comment": 5, "assignment": 5, "activities": 5, "users": 2, "release": 5}
# Activities on a page, by default.
PAGE_SIZE = 20
# Type of the activity that a request becomes, by route; the other routes make none.
ACTIVITY_TYPES = {"comment": "incident_commented", "assignment": "incident_assigned"}


class BigPanda:
    """The stand-in's state and routes. Its methods may be called from any thread.

    With `is_paced`, requests above the rate limits are answered 429.

    Attributes
    ----------
    url
        Base URL of the API.
    calls
        Every request, done or not.
    """

    def __init__(self, url: str, script: Script, now: Callable[[], datetime], *, is_paced: bool = False) -> None:
        self.url = url
        self.calls = CallLog[Call]()
        self._script = script
        self._now = now
        self._is_paced = is_paced
        self._lock = threading.Lock()
        self._keys: frozenset[str] = frozenset()
        self._apps: frozenset[str] = frozenset()
        self._users: Sequence[User] = users.USERS
        self._incidents: Mapping[str, Sequence[Incident]] = incidents.ENVIRONMENTS
        self._asked: Counter[tuple[str, int]] = Counter()

    def application(self) -> web.Application:
        """Return BigPanda's routes as a web application."""
        app = web.Application(client_max_size=0)
        app.router.add_get(INCIDENTS_PATH, self.find_incidents)
        app.router.add_get(INCIDENT_PATH, self.incident)
        app.router.add_post(f"{INCIDENT_PATH}/comments", self.comment)
        app.router.add_put(f"{INCIDENT_PATH}/assignment", self.assign)
        app.router.add_get(ACTIVITIES_PATH, self.activities)
        app.router.add_get(USERS_PATH, self.find_users)
        app.router.add_post(RELEASE_PATH, self.release)
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

    def declare_users(self, declared: object) -> None:
        """Replace all users. Raises InvalidError if an entry is invalid."""
        self._users = users.parse(declared)

    def incidents(self) -> Mapping[str, Sequence[Incident]]:
        """Return the declared incidents, by environment."""
        return self._incidents

    def declare_incidents(self, environment: str, declared: object) -> None:
        """Replace the incidents of an environment. Raises InvalidError if an entry is invalid."""
        checked = incidents.parse(declared, environment)
        with self._lock:
            self._incidents = {**self._incidents, environment: checked}

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
        """Forget all calls, comments and assignments included; keep keys, users and incidents."""
        self.calls.clear()

    async def find_incidents(self, request: web.Request) -> web.Response:
        """Route: list the incidents of an environment."""
        return await self._serve("incidents", request, self._incidents_found)

    async def incident(self, request: web.Request) -> web.Response:
        """Route: one incident."""
        return await self._serve("incident", request, self._incident_found)

    async def comment(self, request: web.Request) -> web.Response:
        """Route: comment on an incident."""
        return await self._serve("comment", request, _written)

    async def assign(self, request: web.Request) -> web.Response:
        """Route: assign an incident to a user."""
        return await self._serve("assignment", request, self._assigned)

    async def activities(self, request: web.Request) -> web.Response:
        """Route: list the activities of an incident."""
        return await self._serve("activities", request, self._activities)

    async def find_users(self, request: web.Request) -> web.Response:
        """Route: list users."""
        return await self._serve("users", request, self._users_found)

    async def release(self, request: web.Request) -> web.Response:
        """Route: the callback service, which ends the callback lock of an incident."""
        return await self._serve("release", request, self._released)

    async def _serve(
        self, route: str, request: web.Request, honest: Callable[[web.Request, Any], Answer]
    ) -> web.Response:
        document = json_or_none(await request.read())
        verdict = self._refused(route, request) or honest(request, document)
        fault = self._script.take(route)
        answer = fault.changed(verdict, answers.errors) if fault else verdict
        self.calls.add(
            lambda index: Call(
                index=index,
                received_at=self._now(),
                route=route,
                environment_id=request.match_info.get("environment"),
                incident_id=request.match_info.get("incident") or _text(document, "incident_id"),
                query=dict(request.query),
                document=_without_app_key(document),
                status=None if fault and fault.cuts_before_answer else answer.status,
                accepted=verdict.status < 300 and (fault is None or fault.accept),
                fault=fault.kind if fault else None,
            )
        )
        return await transport.send(answer, fault, request)

    def _refused(self, route: str, request: web.Request) -> Answer | None:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or key.strip() not in self._keys:
            return answers.errors(401, "The API key is missing or wrong")
        with self._lock:
            second = int(self._now().timestamp())
            self._asked[route, second] += 1
            is_too_much = self._asked[route, second] > LIMITS[route]
        return answers.errors(429, "Too many requests") if self._is_paced and is_too_much else None

    def _incidents_found(self, request: web.Request, _: Any) -> Answer:
        known = self._incidents.get(request.match_info["environment"])
        if known is None:
            return answers.errors(404, "There is no such environment")
        try:
            return answers.document(200, incidents.page(known, request.query))
        except InvalidError as error:
            return answers.errors(400, str(error))

    def _incident_found(self, request: web.Request, _: Any) -> Answer:
        known = self._incidents.get(request.match_info["environment"], ())
        try:
            found = incidents.one(known, request.match_info["incident"], request.query)
        except InvalidError as error:
            return answers.errors(400, str(error))
        return answers.document(200, found) if found else answers.errors(404, "There is no such incident")

    def _assigned(self, _: web.Request, document: Any) -> Answer:
        assignee = _text(document, "assignee")
        if all(assignee != user["id"] for user in self._users):
            return answers.errors(400, "assignee must be the id of a user")
        return Answer(204)

    def _activities(self, request: web.Request, _: Any) -> Answer:
        try:
            page, per_page = count(request.query, "page", 1), count(request.query, "per_page", PAGE_SIZE)
        except InvalidError as error:
            return answers.errors(400, str(error))
        types = [name.strip() for name in request.query.get("types", "").split(",") if name.strip()]
        happened = [
            _activity(call)
            for call in reversed(self.calls.all())
            if call.accepted and call.route in ACTIVITY_TYPES and call.incident_id == request.match_info["incident"]
        ]
        wanted = [each for each in happened if not types or each["type"] in types]
        return answers.document(200, wanted[(page - 1) * per_page : page * per_page])

    def _users_found(self, request: web.Request, _: Any) -> Answer:
        try:
            return answers.document(200, users.listed(users.found(self._users, request.query.get("filter"))))
        except InvalidError as error:
            return answers.errors(400, str(error))

    def _released(self, _: web.Request, document: Any) -> Answer:
        missing = next((name for name in RELEASE_TEXTS if not _text(document, name)), None)
        if missing:
            return answers.errors(400, f"{missing} must be a text")
        if document["app_key"] not in self._apps:
            return answers.errors(403, "The app key is not known")
        return answers.document(200, {"status": 200})

    def _done(self, route: str) -> list[Call]:
        return [call for call in self.calls.all() if call.route == route and call.accepted]


def _written(_: web.Request, document: Any) -> Answer:
    return Answer(204) if _text(document, "comment") else answers.errors(400, "comment must be a text")


def _activity(call: Call) -> Mapping[str, Any]:
    return {
        "id": f"activity-{call.index}",
        "type": ACTIVITY_TYPES[call.route],
        "timestamp": int(call.received_at.timestamp()),
        "params": call.document,
    }


def _without_app_key(document: Any) -> Any:
    return document | {"app_key": "****"} if isinstance(document, dict) and "app_key" in document else document


def _text(document: Any, name: str) -> str | None:
    value = document.get(name) if isinstance(document, dict) else None
    return value if isinstance(value, str) and value.strip() else None
