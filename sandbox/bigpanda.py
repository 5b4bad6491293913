"""The BigPanda stand-in: incidents, comments, assignments, activities, users and the callback service.

Documented by BigPanda (docs/vendors.md, "BigPanda's API"):

- paths, methods and bodies of comments and assignments, 204 without a body, and that a comment written twice is two;
- incidents of an environment by folder, and one of them (`sandbox.incidents`);
- an incident's activities, the newest first, with ``types``, ``page`` and ``per_page`` (20 if nothing is said);
- a user's API key as bearer token;
- ``GET /scim/v2/Users``;
- 5 requests a second for each endpoint, 2 for users, above it 429 without a header (kept to only when asked);
- the callback service: its path and the members of its body, and that it is shown an API key, too;
- the error object, ``{"status", "errors"}``.

Our guesses, to be checked against an organisation:

- whoever may ask at all sees all: 403 comes only when scripted;
- comments and assignments: every incident is there, in every environment, and stays as it is; 404 and 409 come only
  when scripted. To be looked at, incidents and their environments have to be declared; what was not is 404;
- an unknown key is 401, and is told before all else;
- a body without the texts that it must have, and an assignee whom nobody knows, are 400;
- a callback's app key that is not known is 403; any event, and an incident that is not held, are 200;
- activities are a list, and the comment stands in ``params.comment``;
- SCIM takes ``filter``; one that is not known here is 400 (`sandbox.users`);
- a second of the limit is one of the clock, and what was refused counts, too.
"""

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from aiohttp import web

from sandbox import answers, incidents, users, wire
from sandbox.answers import Answer
from sandbox.calls import Call
from sandbox.faults import Script
from sandbox.incidents import Incident, count
from sandbox.log import Log
from sandbox.schema import InvalidError, parse_json
from sandbox.users import User

INCIDENTS_PATH = "/resources/v2.0/environments/{environment}/incidents"
INCIDENT_PATH = f"{INCIDENTS_PATH}/{{incident}}"
ACTIVITIES_PATH = "/resources/v2.0/incidents/{incident}/activities"
USERS_PATH = "/scim/v2/Users"
RELEASE_PATH = "/resources/v2.1/outbound/callback"
RELEASE_TEXTS = ("event_type", "incident_id", "app_key")
# How often each may be asked in a second.
LIMITS = {"incidents": 5, "incident": 5, "comment": 5, "assignment": 5, "activities": 5, "users": 2, "release": 5}
A_PAGE = 20
# What becomes an activity, and of which type.
TYPES = {"comment": "incident_commented", "assignment": "incident_assigned"}


class BigPanda:
    """All that the stand-in knows. Its methods may be called from any thread.

    `is_paced`: whether who asks too often is refused.
    """

    def __init__(self, url: str, script: Script, now: Callable[[], datetime], *, is_paced: bool = False) -> None:
        self.url = url
        self.calls = Log[Call]()
        self._script = script
        self._now = now
        self._is_paced = is_paced
        self._lock = threading.Lock()
        self._keys: frozenset[str] = frozenset()
        self._apps: frozenset[str] = frozenset()
        self._users: Sequence[User] = users.USERS
        self._incidents: Mapping[str, Sequence[Incident]] = incidents.ENVIRONMENTS
        self._asked: Counter[tuple[str, int]] = Counter()

    def let_in(self, api_key: str) -> None:
        """Let in whoever shows this key, too."""
        with self._lock:
            self._keys |= {api_key}

    def let_app_in(self, app_key: str) -> None:
        """Let the app of this key, too, say that an incident's updates need not be held any longer."""
        with self._lock:
            self._apps |= {app_key}

    def users(self) -> Sequence[User]:
        """Everybody who can be assigned."""
        return self._users

    def declare_users(self, declared: object) -> None:
        """Have these users, in place of all others. Raises InvalidError when they can't be used."""
        self._users = users.parse(declared)

    def incidents(self) -> Mapping[str, Sequence[Incident]]:
        """All that was declared, by environment."""
        return self._incidents

    def declare_incidents(self, environment: str, declared: object) -> None:
        """Have this environment, and these incidents in it. Raises InvalidError when they can't be used."""
        checked = incidents.parse(declared, environment)
        with self._lock:
            self._incidents = {**self._incidents, environment: checked}

    def comments(self) -> list[Call]:
        """The comments that stand in BigPanda, the oldest first."""
        return self._done("comment")

    def assignments(self) -> list[Call]:
        """The assignments that were made, the oldest first."""
        return self._done("assignment")

    def releases(self) -> list[Call]:
        """The calls after which an incident's updates are held no longer, the oldest first."""
        return self._done("release")

    def clear(self) -> None:
        """Forget what was asked and written; keys, users and incidents stay."""
        self.calls.clear()

    async def find_incidents(self, request: web.Request) -> web.Response:
        """Route: a page of an environment's incidents."""
        return await self._serve("incidents", request, self._incidents_found)

    async def incident(self, request: web.Request) -> web.Response:
        """Route: one incident."""
        return await self._serve("incident", request, self._incident_found)

    async def comment(self, request: web.Request) -> web.Response:
        """Route: a comment on an incident."""
        return await self._serve("comment", request, _written)

    async def assign(self, request: web.Request) -> web.Response:
        """Route: an incident is given to somebody."""
        return await self._serve("assignment", request, self._assigned)

    async def activities(self, request: web.Request) -> web.Response:
        """Route: what happened to an incident."""
        return await self._serve("activities", request, self._activities)

    async def find_users(self, request: web.Request) -> web.Response:
        """Route: who there is."""
        return await self._serve("users", request, self._users_found)

    async def release(self, request: web.Request) -> web.Response:
        """Route: an incident's updates need not be held any longer."""
        return await self._serve("release", request, self._released)

    async def _serve(
        self, route: str, request: web.Request, honest: Callable[[web.Request, Any], Answer]
    ) -> web.Response:
        document = _document(await request.read())
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
        return await wire.send(answer, fault, request)

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
            page, per_page = count(request.query, "page", 1), count(request.query, "per_page", A_PAGE)
        except InvalidError as error:
            return answers.errors(400, str(error))
        types = [name.strip() for name in request.query.get("types", "").split(",") if name.strip()]
        happened = [
            _activity(call)
            for call in reversed(self.calls.all())
            if call.accepted and call.route in TYPES and call.incident_id == request.match_info["incident"]
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


def application(bigpanda: BigPanda) -> web.Application:
    """What BigPanda's API shows the world."""
    app = web.Application(client_max_size=0)
    app.router.add_get(INCIDENTS_PATH, bigpanda.find_incidents)
    app.router.add_get(INCIDENT_PATH, bigpanda.incident)
    app.router.add_post(f"{INCIDENT_PATH}/comments", bigpanda.comment)
    app.router.add_put(f"{INCIDENT_PATH}/assignment", bigpanda.assign)
    app.router.add_get(ACTIVITIES_PATH, bigpanda.activities)
    app.router.add_get(USERS_PATH, bigpanda.find_users)
    app.router.add_post(RELEASE_PATH, bigpanda.release)
    return app


def _written(_: web.Request, document: Any) -> Answer:
    return Answer(204) if _text(document, "comment") else answers.errors(400, "comment must be a text")


def _activity(call: Call) -> Mapping[str, Any]:
    return {
        "id": f"activity-{call.index}",
        "type": TYPES[call.route],
        "timestamp": int(call.received_at.timestamp()),
        "params": call.document,
    }


def _document(body: bytes) -> Any:
    try:
        return parse_json(body)
    except InvalidError:
        return None


def _without_app_key(document: Any) -> Any:
    return document | {"app_key": "****"} if isinstance(document, dict) and "app_key" in document else document


def _text(document: Any, name: str) -> str | None:
    value = document.get(name) if isinstance(document, dict) else None
    return value if isinstance(value, str) and value.strip() else None
